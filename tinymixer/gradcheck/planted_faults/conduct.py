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
