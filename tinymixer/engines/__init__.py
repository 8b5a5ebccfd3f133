"""How a step of a model is computed: by its layers, in slices on threads, or by fused kernels in a graph."""
