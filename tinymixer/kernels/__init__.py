"""CUDA kernels: launch layouts, compilation, operations built on them, and products that a CUDA graph can record.

This package is imported only when a GPU is asked for, and its files import only NumPy at the top.
"""
