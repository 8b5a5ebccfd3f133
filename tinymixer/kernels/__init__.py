"""CUDA kernels, how they are laid out and compiled, faster twins of operations, and products that can be captured.

Nothing here is imported before a GPU is asked for, and nothing but NumPy is imported at the top of its files.
"""
