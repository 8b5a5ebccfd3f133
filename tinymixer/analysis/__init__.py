"""Pictures and experiments."""
