"""Pictures of models and runs, and measurements of what a model has learned."""
