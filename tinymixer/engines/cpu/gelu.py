"""GELU and its slope (its derivative) in one pass, on chunks that stay in the cache.

From a scaled input x~ = input_scale * x, a form of GELU computes y = output_scale * gelu(x) and
slope = (dy/dx~) / slope_scale. It chooses the three constants so that it needs no pass over the activations to multiply
by them; the weights before and after GELU contain them instead (`folding.py`).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tinymixer.ops import gelu_erf_backward, gelu_erf_forward
from tinymixer.ops.gelu import TANH_CUBIC, TANH_SLOPE

# A chunk: x, y, slope and two scratch arrays; slope and the second scratch array are None where only y is wanted
Chunk = tuple[np.ndarray, np.ndarray, Any, Any, Any]


class GeluForm(Protocol):
    """What `TanhForm` and `ErfForm` have in common."""

    @property
    def input_scale(self) -> float: ...
    @property
    def output_scale(self) -> float: ...
    @property
    def slope_scale(self) -> float: ...
    def forward(self, x: np.ndarray, y: np.ndarray, t: np.ndarray) -> None: ...
    def forward_with_slope(
        self, x: np.ndarray, y: np.ndarray, slope: np.ndarray, square: np.ndarray, t: np.ndarray
    ) -> None: ...


class TanhForm:
    """gelu(x) = x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3).

    With x~ = input_scale * x, chosen so that the cubic's factor is 1, u = x~ (x~^2 + SHIFT).
    """

    input_scale = (TANH_SLOPE * TANH_CUBIC) ** (1 / 3)
    output_scale = 2 * input_scale
    slope_scale = 3.0
    SHIFT = TANH_SLOPE / input_scale

    @classmethod
    def forward(cls, x: np.ndarray, y: np.ndarray, t: np.ndarray) -> None:
        """y = x~ (1 + tanh(u)), with one scratch array t; y may be x."""
        np.multiply(x, x, t)
        cls._one_plus_tanh(x, t, t)
        np.multiply(x, t, y)

    @classmethod
    def forward_with_slope(
        cls, x: np.ndarray, y: np.ndarray, slope: np.ndarray, square: np.ndarray, t: np.ndarray
    ) -> None:
        """y and slope from x~, which is overwritten; square and t are scratch, slope may be x.

        With t = 1 + tanh(u), so that tanh' = t (2 - t), and u' = 3 (x~^2 + SHIFT / 3):

            dy/dx~ = t + x~ t (2 - t) u' = 3 t (1/3 + (2 - t) x~ (x~^2 + SHIFT / 3))
        """
        np.multiply(x, x, square)
        cls._one_plus_tanh(x, square, t)
        np.multiply(x, t, y)
        np.add(square, cls.SHIFT / 3, square)
        np.multiply(square, x, square)
        np.subtract(2.0, t, x)
        np.multiply(x, square, x)
        np.add(x, 1 / 3, x)
        np.multiply(x, t, slope)

    @classmethod
    def _one_plus_tanh(cls, x: np.ndarray, square: np.ndarray, t: np.ndarray) -> None:
        """t = 1 + tanh(x~ (x~^2 + SHIFT)); t may be the square."""
        np.add(square, cls.SHIFT, t)
        np.multiply(t, x, t)
        np.tanh(t, t)
        np.add(t, 1.0, t)


class ErfForm:
    """The exact form, by the operation of `tinymixer.ops`: NumPy has no erf to write a faster one with."""

    input_scale = output_scale = slope_scale = 1.0

    @staticmethod
    def forward(x: np.ndarray, y: np.ndarray, t: np.ndarray) -> None:
        np.copyto(y, gelu_erf_forward(x)[0])

    @staticmethod
    def forward_with_slope(x: np.ndarray, y: np.ndarray, slope: np.ndarray, square: np.ndarray, t: np.ndarray) -> None:
        value, cache = gelu_erf_forward(x)
        np.copyto(slope, gelu_erf_backward(np.ones_like(x), cache))
        np.copyto(y, value)


FORMS: dict[str, GeluForm] = {"tanh": TanhForm, "erf": ErfForm}


def gelu_chunks(x: np.ndarray, y: np.ndarray, slope: np.ndarray | None, scratch: tuple[Any, Any]) -> list[Chunk]:
    """Cut GELU's arrays into chunks of some rows, each with scratch arrays of its size, for `activate`.

    x, y, slope (rows, columns), slope None where only y is wanted; scratch a pair of flat arrays
    """
    rows, columns = x.shape
    step = max(1, scratch[0].size // columns)
    chunks: list[Chunk] = []
    for start in range(0, rows, step):
        part = slice(start, start + step)
        first, second = (s if s is None else s[: x[part].size].reshape(x[part].shape) for s in scratch)
        chunks.append((x[part], y[part], None if slope is None else slope[part], first, second))
    return chunks


def activate(form: GeluForm, chunks: Sequence[Chunk]) -> None:
    """y, and slope where it is wanted, chunk by chunk; x is overwritten, and may be the array of slope or y."""
    for x, y, slope, first, second in chunks:
        if slope is None:
            form.forward(x, y, first)
        else:
            form.forward_with_slope(x, y, slope, first, second)
