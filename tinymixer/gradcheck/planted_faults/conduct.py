"""Mistakes not in the numbers but in how a function behaves. The operation is y = x^2, whose gradient is 2 x dy."""

import itertools
from typing import Any

import numpy as np

from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache


def _inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    return (generator.normal(size=(3, 4)),)


def _square(x: Array) -> tuple[Array, Cache]:
    return x * x, x


def _square_in_place(x: Array) -> tuple[Array, Cache]:
    x *= x
    return x.copy(), x**0.5


def _square_with_buffer(x: Array) -> tuple[Array, Cache]:
    return x * x, {"x": x, "twice": 2 * x}


_remembered: dict[str, np.ndarray] = {}


def _square_remembering(x: Array) -> tuple[Array, Cache]:
    _remembered["x"] = x
    return x * x, None


def _flatten(x: Array) -> tuple[Array, Cache]:
    return x.reshape(-1), x.shape


def _shifted(x: Array) -> tuple[Array, Cache]:
    return x + 1.0, None


def _square_as_stored(x: Array) -> tuple[Array, Cache]:
    return x * x, x


@fault("square", _inputs, forward=_square)
def gradient_written_into_dy(dy: Array, x: Array) -> Array:
    """`dy *= 2 x` saves an array and spoils the gradient of whoever else receives the same dy."""
    dy *= 2 * x
    return dy.copy()


@fault("square", _inputs, forward=_square_with_buffer)
def cache_used_up(dy: Array, cache: Cache) -> Array:
    """The gradient is built in an array of the cache: a second backward from the same cache is wrong."""
    cache["twice"] *= dy
    return cache["twice"].copy()


@fault("square", _inputs, forward=_square_in_place)
def input_overwritten_by_the_forward(dy: Array, x: Array) -> Array:
    """The forward squares x where it lies."""
    return 2 * x * dy


@fault("square", _inputs, forward=_shifted)
def gradient_is_dy_itself(dy: Array, cache: Cache) -> Array:
    """y = x + 1 hands dy on as dx: one array under two names, and adding to one changes the other."""
    return dy


@fault("square", _inputs, forward=_flatten)
def output_is_a_view_of_the_input(dy: Array, shape: tuple[int, ...]) -> Array:
    """The output of a reshape is the input's own memory: writing into one changes the other."""
    return dy.reshape(shape).copy()


@fault("square", _inputs, forward=_square_remembering)
def cache_kept_outside(dy: Array, cache: Cache) -> Array:
    """The forward remembers x in a place of its own: a second forward before the backward replaces it."""
    return 2 * _remembered["x"] * dy


_calls = itertools.count()


@fault("square", _inputs, forward=_square)
def another_answer_each_time(dy: Array, x: Array) -> Array:
    """The gradient differs from call to call in its tenth digit."""
    return 2 * x * dy * (1 + 1e-10 * (next(_calls) % 7))


@fault("square", _inputs, forward=_square)
def gradient_clipped_on_the_way(dy: Array, x: Array) -> Array:
    """dy is clipped to -1..1 inside the backward, which is then no longer linear in it."""
    return 2 * x * np.clip(dy, -1.0, 1.0)


@fault("square", _inputs, forward=_square_as_stored)
def strides_ignored(dy: Array, x: Array) -> Array:
    """The elements are taken in the order they lie in memory: wrong for arrays that are not contiguous."""
    return (2 * x.ravel(order="K") * dy.ravel(order="K")).reshape(x.shape)


@fault("square", _inputs, forward=_square)
def not_a_number(dy: Array, x: Array) -> Array:
    """0 / 0 in one place: NaN is no gradient, and compares as neither larger nor smaller than a tolerance."""
    dx = 2 * x * dy
    dx[1, 2] = np.nan
    return dx


_buffers: dict[Any, np.ndarray] = {}


@fault("square", _inputs, forward=_square)
def gradient_in_a_buffer_used_again(dy: Array, x: Array) -> Array:
    """Every backward writes its gradient into the same array, and so over the gradient that the last one returned."""
    buffer = _buffers.setdefault((x.shape, x.dtype), np.empty(x.shape, x.dtype))
    return np.multiply(dy, 2 * x, out=buffer)


def _two(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(3, 4)), generator.normal(size=(3, 4))


@fault("square", _two, forward=lambda a, b: (a + b, None))
def one_array_for_two_gradients(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """y = a + b has equal gradients, but what is added to one of them is then added to the other."""
    dx = dy.copy()
    return dx, dx


@fault("square", _inputs, forward=_square)
def gradient_clipped_where_the_input_is_large(dy: Array, x: Array) -> Array:
    """x is clipped to -5..5 in the backward alone: inputs of the usual size do not show it."""
    return 2 * dy * np.clip(x, -5.0, 5.0)


def _symmetric(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(5, 4)), np.eye(4)


@fault("square", _symmetric, forward=lambda x, weight: (x @ weight, (x, weight)))
def symmetric_weight_not_transposed(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """dx = dy W instead of dy W^T, which an identity lets through."""
    x, weight = cache
    return dy @ weight, x.T @ dy


@fault("square", _inputs, forward=_square)
def last_columns_left_out(dy: Array, x: Array) -> Array:
    """Four columns are done at a time, and what is left over of an odd number is never reached."""
    dx = 2 * dy * x
    dx[..., x.shape[-1] // 4 * 4 :] = 0
    return dx


def _tied(generator: np.random.Generator) -> tuple[Any, ...]:
    return (np.round(generator.normal(size=(6, 4))),)


@fault("square", _tied, forward=lambda x: (x.max(axis=1), x))
def tie_given_to_everyone(dy: Array, x: Array) -> Array:
    """Of several equal maxima each receives the whole gradient, which thereby counts as often as there are of them."""
    return dy[:, None] * (x == x.max(axis=1, keepdims=True))


@fault("square", _inputs, forward=lambda x: (abs(x), x))
def divided_by_zero_at_the_kink(dy: Array, x: Array) -> Array:
    """The sign is taken as x / |x|, which is no number at 0."""
    with np.errstate(all="ignore"):
        return dy * x / abs(x)


@fault("square", _inputs, forward=_square)
def broadcast_dy_read_as_if_whole(dy: Array, x: Array) -> Array:
    """A dy with strides of 0, as the gradient of a sum has, is taken for its first element and zeros."""
    whole = dy if 0 not in dy.strides else np.zeros_like(x)
    return 2 * whole * x
