"""Faster twins of the operations and of the whole training step: CUDA kernels, and matrix products that can be captured.

Nothing here is imported before a GPU is asked for, and nothing but NumPy is imported at the top of its files.
"""
