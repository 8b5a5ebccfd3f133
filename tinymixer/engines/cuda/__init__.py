"""The whole training step on a GPU: buffers planned ahead, launches recorded in a CUDA graph, numbers staged ahead.

Built of `tinymixer.kernels` below and used by `tinymixer.training.fused` above. `captured_step.py` is where to start.
"""
