"""The whole training step on a GPU: planned buffers, launches recorded in a CUDA graph, random numbers copied ahead.

It is built on `tinymixer.kernels`; training uses it through `cuda_engine.py`. Start reading at `captured_step.py`.
"""
