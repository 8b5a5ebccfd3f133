"""The operations of one thread that computes slices of a batch."""

from functools import partial
from types import SimpleNamespace
from typing import Any

from tinymixer import ops
from tinymixer.engines.sliced.batch_norm import batch_norm_backward, batch_norm_forward
from tinymixer.engines.sliced.gelu import gelu_tanh_backward, gelu_tanh_forward
from tinymixer.engines.sliced.layer_norm import layer_norm_backward, layer_norm_forward
from tinymixer.engines.sliced.linear import linear_forward
from tinymixer.engines.sliced.self_attention import self_attention_backward, self_attention_forward
from tinymixer.engines.sliced.shared_sums import SharedSums


def sliced_operations(thread: int, sums: SharedSums) -> Any:
    """`tinymixer.ops` for NumPy, some of them in few passes, and batch norm over the images of all threads.

    thread   which of the threads computes with them
    sums     that the threads share
    """
    add_up = partial(sums, thread)
    faster = {
        "batch_norm_forward": partial(batch_norm_forward, add_up=add_up),
        "batch_norm_backward": partial(batch_norm_backward, add_up=add_up),
        "layer_norm_forward": layer_norm_forward,
        "layer_norm_backward": layer_norm_backward,
        "gelu_tanh_forward": gelu_tanh_forward,
        "gelu_tanh_backward": gelu_tanh_backward,
        "linear_forward": linear_forward,
        "self_attention_forward": self_attention_forward,
        "self_attention_backward": self_attention_backward,
    }
    return SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__} | faster)
