"""GELU and its slope in one go, on pieces that stay in the cache.

A form says by which factor its input wants to be scaled (`input_scale`: x~ = input_scale * x), by which its output is
scaled then (`output_scale`), and by which its slope comes out too small (`slope_scale`); the weights before and after
carry all three, so that no pass over the activations is spent on a constant. What it computes is
y = output_scale * gelu(x) and slope = (dy/dx~) / slope_scale.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tinymixer.ops import gelu_erf_backward, gelu_erf_forward
from tinymixer.ops.gelu import TANH_CUBIC, TANH_SLOPE

# x, y, slope and two arrays of scratch; slope and the second are None where only y is wanted
Piece = tuple[np.ndarray, np.ndarray, Any, Any, Any]


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
        """y and slope from x~, which is spent; square and t are scratch, slope may be x.

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
    """The exact form, by the generic operation: NumPy has no erf that could be made faster."""

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


def gelu_pieces(x: np.ndarray, y: np.ndarray, slope: np.ndarray | None, scratch: tuple[Any, Any]) -> list[Piece]:
    """Pieces of GELU's arrays, some rows at a time, each with scratch of its size: what `activate` goes through.

    x, y, slope (rows, columns), slope None where only y is wanted; scratch a pair of flat arrays
    """
    rows, columns = x.shape
    step = max(1, scratch[0].size // columns)
    pieces: list[Piece] = []
    for start in range(0, rows, step):
        part = slice(start, start + step)
        first, second = (s if s is None else s[: x[part].size].reshape(x[part].shape) for s in scratch)
        pieces.append((x[part], y[part], None if slope is None else slope[part], first, second))
    return pieces


def activate(form: GeluForm, pieces: Sequence[Piece]) -> None:
    """y = gelu(x) and its slope where it is wanted, piece by piece; x is spent, and may be the slope's or y's array."""
    for x, y, slope, first, second in pieces:
        if slope is None:
            form.forward(x, y, first)
        else:
            form.forward_with_slope(x, y, slope, first, second)
