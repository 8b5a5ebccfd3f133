"""What the tile kernels share: a product, and GELU with its derivative.

A *tile* is a small matrix that one block of a GPU keeps on the chip. Tile code is ordinary Python over tiles; the
functions of `ct` (`cuda.tile`, or `NumpyTiles` in its place) make and combine them. cuTile reads the source of these
functions and compiles it, so they use nothing but arithmetic, loops and `ct`.
"""

from collections.abc import Callable
from typing import Any

from tinymixer.ops.gelu import TANH_CUBIC, TANH_SLOPE

TileFunction = Callable[..., Any]


def tile_functions(ct: Any) -> tuple[TileFunction, TileFunction, TileFunction]:
    """The functions (product, gelu, gelu_and_slope) over the tiles of `ct`."""

    def product(a, b):
        """a (M, K), b (K, N)  ->  a @ b (M, N), added up in float32."""
        return ct.mma(a, b, ct.full((a.shape[0], b.shape[1]), 0.0, ct.float32))

    def gelu(z):
        """As `ops.gelu_tanh_forward`, with the hardware's tanh."""
        t = ct.tanh(TANH_SLOPE * (z + TANH_CUBIC * z * z * z), rounding_mode=ct.RoundingMode.APPROX)
        return 0.5 * z * (1.0 + t)

    def gelu_and_slope(z):
        """gelu(z), and its derivative as in `ops.gelu_tanh_backward`."""
        t = ct.tanh(TANH_SLOPE * (z + TANH_CUBIC * z * z * z), rounding_mode=ct.RoundingMode.APPROX)
        du_dz = TANH_SLOPE * (1.0 + 3.0 * TANH_CUBIC * z * z)
        return 0.5 * z * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * du_dz

    return product, gelu, gelu_and_slope
