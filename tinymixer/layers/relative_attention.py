"""Self-attention over the places of an image with learned relative positions, as a layer."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.attention import require_heads
from tinymixer.layers.initialisation import normal
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification


class RelativeAttention(Layer):
    """Queries, keys and values of an image attend to each other: r_height (2*height - 1, D), r_width (2*width - 1, D).

    channels   of the queries, C = heads * D; a convolution before this layer makes queries, keys and values
    height, width   of the images, which the tables' sizes follow from

    The tables begin normal with deviation 1 / sqrt(D), as in the authors' code. See `ops/relative_attention.py`.
    """

    def __init__(self, channels: int, heads: int, height: int, width: int, **keywords: Any) -> None:
        require_heads(channels, heads, "channels")
        super().__init__(self.specification(channels, heads, height, width), **keywords)
        self.heads = heads

    @staticmethod
    def specification(channels: int, heads: int, height: int, width: int) -> Specification:
        depth = channels // heads  # D
        return {
            "r_height": ParameterSpec((2 * height - 1, depth), normal(depth**-0.5)),
            "r_width": ParameterSpec((2 * width - 1, depth), normal(depth**-0.5)),
        }

    def forward(self, qkv: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """qkv (B, height, width, 3*C)  ->  y (B, height, width, C), cache"""
        p = self.parameters
        return self.ops.relative_attention_forward(qkv, p["r_height"], p["r_width"], self.heads)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, height, width, C)  ->  dqkv (B, height, width, 3*C)"""
        dqkv, dr_height, dr_width = self.ops.relative_attention_backward(dy, cache)
        self.parameters.gradient("r_height")[...] += dr_height
        self.parameters.gradient("r_width")[...] += dr_width
        return dqkv
