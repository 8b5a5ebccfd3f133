"""Backward passes that break the contract of `tinymixer.gradcheck.contract`, or are wrong at other inputs alone.

Most of them give the right numbers for the inputs they are first asked for. Where nothing else is said the operation
is y = x^2, whose gradient is dx = 2 x dy.
"""

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
    """`dy *= 2 x` saves an array, but overwrites dy, which other layers may still need."""
    dy *= 2 * x
    return dy.copy()


@fault("square", _inputs, forward=_square_with_buffer)
def cache_used_up(dy: Array, cache: Cache) -> Array:
    """The backward multiplies an array of the cache in place: a second backward from the same cache is wrong."""
    cache["twice"] *= dy
    return cache["twice"].copy()


@fault("square", _inputs, forward=_square_in_place)
def input_overwritten_by_the_forward(dy: Array, x: Array) -> Array:
    """The forward squares x in place: the caller's input is changed."""
    return 2 * x * dy


@fault("square", _inputs, forward=_shifted)
def gradient_is_dy_itself(dy: Array, cache: Cache) -> Array:
    """The backward of y = x + 1 returns dy itself as dx: adding to one of them changes the other."""
    return dy


@fault("square", _inputs, forward=_flatten)
def output_is_a_view_of_the_input(dy: Array, shape: tuple[int, ...]) -> Array:
    """The forward returns a reshaped view of x: writing into the output changes the input."""
    return dy.reshape(shape).copy()


@fault("square", _inputs, forward=_square_remembering)
def cache_kept_outside(dy: Array, cache: Cache) -> Array:
    """The forward keeps x in a global variable: a second forward before the backward replaces it."""
    return 2 * _remembered["x"] * dy


_calls = itertools.count()


@fault("square", _inputs, forward=_square)
def another_answer_each_time(dy: Array, x: Array) -> Array:
    """The gradient changes from call to call, in its tenth digit."""
    return 2 * x * dy * (1 + 1e-10 * (next(_calls) % 7))


@fault("square", _inputs, forward=_square)
def gradient_clipped_on_the_way(dy: Array, x: Array) -> Array:
    """The backward clips dy to -1..1, so it is no longer linear in dy."""
    return 2 * x * np.clip(dy, -1.0, 1.0)


@fault("square", _inputs, forward=_square_as_stored)
def strides_ignored(dy: Array, x: Array) -> Array:
    """The backward reads elements in the order of memory: wrong for arrays that are not contiguous."""
    return (2 * x.ravel(order="K") * dy.ravel(order="K")).reshape(x.shape)


@fault("square", _inputs, forward=_square)
def not_a_number(dy: Array, x: Array) -> Array:
    """One element is NaN, which is neither larger nor smaller than any tolerance."""
    dx = 2 * x * dy
    dx[1, 2] = np.nan
    return dx


_buffers: dict[Any, np.ndarray] = {}


@fault("square", _inputs, forward=_square)
def gradient_in_a_buffer_used_again(dy: Array, x: Array) -> Array:
    """Every backward returns the same array: it overwrites the gradient that the previous call returned."""
    buffer = _buffers.setdefault((x.shape, x.dtype), np.empty(x.shape, x.dtype))
    return np.multiply(dy, 2 * x, out=buffer)


def _two(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(3, 4)), generator.normal(size=(3, 4))


@fault("square", _two, forward=lambda a, b: (a + b, None))
def one_array_for_two_gradients(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """y = a + b returns one array as both gradients: adding to one of them changes the other."""
    dx = dy.copy()
    return dx, dx


@fault("square", _inputs, forward=_square)
def gradient_clipped_where_the_input_is_large(dy: Array, x: Array) -> Array:
    """The backward clips x to -5..5, which inputs of the usual size do not show."""
    return 2 * dy * np.clip(x, -5.0, 5.0)


def _symmetric(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(5, 4)), np.eye(4)


@fault("square", _symmetric, forward=lambda x, weight: (x @ weight, (x, weight)))
def symmetric_weight_not_transposed(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """dx = dy W instead of dy W^T: the same where W is symmetric, such as the identity given here."""
    x, weight = cache
    return dy @ weight, x.T @ dy


@fault("square", _inputs, forward=_square)
def last_columns_left_out(dy: Array, x: Array) -> Array:
    """The backward works on four columns at a time and leaves out the rest: wrong unless 4 divides their number."""
    dx = 2 * dy * x
    dx[..., x.shape[-1] // 4 * 4 :] = 0
    return dx


def _tied(generator: np.random.Generator) -> tuple[Any, ...]:
    return (np.round(generator.normal(size=(6, 4))),)


@fault("square", _tied, forward=lambda x: (x.max(axis=1), x))
def tie_given_to_everyone(dy: Array, x: Array) -> Array:
    """The backward of a maximum gives the whole gradient to each of several equal elements, not a share."""
    return dy[:, None] * (x == x.max(axis=1, keepdims=True))


@fault("square", _inputs, forward=lambda x: (abs(x), x))
def divided_by_zero_at_the_kink(dy: Array, x: Array) -> Array:
    """The backward of |x| computes the sign as x / |x|, which is NaN at 0."""
    with np.errstate(all="ignore"):
        return dy * x / abs(x)


@fault("square", _inputs, forward=_square)
def broadcast_dy_read_as_if_whole(dy: Array, x: Array) -> Array:
    """A dy with strides of 0, such as a sum hands back, is read as zeros."""
    whole = dy if 0 not in dy.strides else np.zeros_like(x)
    return 2 * whole * x
