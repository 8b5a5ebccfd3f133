"""Wrong answers to lesson 03, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def forward_difference(f, x, h):
    return (f(x + h) - f(x)) / h


def divided_by_one_step(f, x, h):
    rise = f(x + h) - f(x - h)
    return rise / h


def brackets_forgotten(f, x, h):
    rise = f(x + h) - f(x - h)
    return rise / 2 * h


def not_divided(f, x):
    h = 1e-30
    return f(x + h * 1j).imag


def the_real_part(f, x):
    h = 1e-30
    return f(x + complex(0, h)).real / h


def still_complex(f, x):
    h = 1e-30
    return f(x + 1j * h) / h


def a_real_step(f, x):
    h = 1e-30
    return np.asarray(f(x + h)).imag / h


def gradient_of_the_plain_sum(forward, x, dy, h=1e-5):
    dx = np.empty(x.shape)
    for index, _ in np.ndenumerate(x):
        right, left = x.copy(), x.copy()
        right[index] += h
        left[index] -= h
        dx[index] = (forward(right)[0].sum() - forward(left)[0].sum()) / (2 * h)
    return dx


def moved_all_at_once(forward, x, dy, h=1e-5):
    dx = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        up, _ = forward(x + h)
        down, _ = forward(x - h)
        dx[index] = (dy * (up - down)).sum() / (2 * h)
    return dx


def left_where_it_was(forward, x, dy, h=1e-5):
    dx = np.zeros_like(x)
    moved = np.array(x)
    for index in np.ndindex(x.shape):
        moved[index] = x[index] + h
        up = np.sum(dy * forward(moved)[0])
        moved[index] = x[index] - h
        down = np.sum(dy * forward(moved)[0])
        dx[index] = (up - down) / (2 * h)
    return dx


def one_h_for_two_steps(forward, x, dy, h=1e-5):
    dx = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        dx[index] = np.sum(dy * (forward(x + step)[0] - forward(x - step)[0])) / h
    return dx


def floor_forgotten(expected, got):
    return np.max(np.abs(got - expected) / np.maximum(np.abs(got), np.abs(expected)))


def absolute_error(expected, got):
    return np.abs(expected - got).max()


def averaged_error(expected, got):
    floor = 1e-3 * max(1.0, np.abs(expected).max())
    return (np.abs(expected - got) / np.maximum(floor, np.maximum(np.abs(expected), np.abs(got)))).mean()


def compared_with_signs(expected, got):
    floor = 1e-3 * max(1, np.abs(expected).max())
    return np.max(np.abs(expected - got) / np.maximum(np.maximum(expected, got), floor))


def everything_moved(forward, backward, x, dy, direction, h=1e-5):
    _, cache = forward(x)
    measured = ((forward(x + h)[0] - forward(x - h)[0]) * dy).sum() / (2 * h)
    return measured, (backward(dy, cache) * direction).sum()


def dy_left_out(forward, backward, x, dy, direction, h=1e-5):
    _, cache = forward(x)
    measured = (forward(x + h * direction)[0].sum() - forward(x - h * direction)[0].sum()) / (2 * h)
    return measured, (backward(dy, cache) * direction).sum()


def direction_left_out(forward, backward, x, dy, direction, h=1e-5):
    _, cache = forward(x)
    measured = ((forward(x + h * direction)[0] - forward(x - h * direction)[0]) * dy).sum() / (2 * h)
    return measured, backward(dy, cache).sum()


def products_not_added(forward, backward, x, dy, direction, h=1e-5):
    _, cache = forward(x)
    measured = ((forward(x + h * direction)[0] - forward(x - h * direction)[0]) * dy).sum() / (2 * h)
    return measured, backward(dy, cache) * direction


def _numerical(forward, x, dy, h=1e-5):
    dx = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        dx[index] = np.sum(dy * (forward(x + step)[0] - forward(x - step)[0])) / (2 * h)
    return dx


def _relative(expected, got):
    floor = 1e-3 * max(1, np.abs(expected).max())
    return np.abs(expected - got) / np.maximum(np.maximum(np.abs(expected), np.abs(got)), floor)


def with_all_ones(forward, backward, x):
    y, cache = forward(x)
    dy = np.ones(y.shape)
    return np.max(_relative(_numerical(forward, x, dy), backward(dy, cache))) < 1e-6


def one_random_index(forward, backward, x):
    generator = np.random.default_rng(12)
    y, cache = forward(x)
    dy = generator.standard_normal(y.shape)
    index = tuple(generator.integers(size - 1) for size in x.shape) if min(x.shape) > 1 else (0, 0)
    return bool(_relative(_numerical(forward, x, dy), backward(dy, cache))[index] < 1e-6)


def with_a_loose_tolerance(forward, backward, x):
    y, cache = forward(x)
    dy = np.random.default_rng(5).normal(size=y.shape)
    return bool(_relative(_numerical(forward, x, dy), backward(dy, cache)).max() < 1e-3)


def all_in_float32(forward, backward, x):
    x = x.astype(np.float32)
    y, cache = forward(x)
    dy = np.random.default_rng(5).normal(size=y.shape).astype(np.float32)
    worst = (abs(_numerical(forward, x, dy, 1e-2) - backward(dy, cache)) / (1 + abs(backward(dy, cache)))).max()
    return bool(worst < 1e-2)


def with_seed_zero(forward, backward, x):
    y, cache = forward(x)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    return bool(np.all(_relative(_numerical(forward, x, dy), backward(dy, cache)) < 1e-6))


def blind_to_nan(forward, backward, x):
    y, cache = forward(x)
    dy = np.random.default_rng(7).normal(size=y.shape)
    return not bool(np.any(_relative(_numerical(forward, x, dy), backward(dy, cache)) > 1e-6))


def by_absolute_errors(forward, backward, x):
    y, cache = forward(x)
    dy = np.random.default_rng(7).normal(size=y.shape)
    return bool(np.abs(_numerical(forward, x, dy) - backward(dy, cache)).max() < 1e-6)


def the_wrong_way_round(forward, backward, x):
    y, cache = forward(x)
    dy = np.random.default_rng(7).normal(size=y.shape)
    return bool(_relative(_numerical(forward, x, dy), backward(dy, cache)).max() > 1e-6)


WRONG_ANSWERS = {
    "3.1": [
        (forward_difference, "This is the forward difference"),
        (divided_by_one_step, "how far are they apart"),
        (brackets_forgotten, "reads from left to right"),
    ],
    "3.2": [
        (not_divided, "not divided by h"),
        (the_real_part, "stands in the other part"),
        (still_complex, "stands in the other part"),
        (a_real_step, "along the real axis"),
    ],
    "3.3": [
        (gradient_of_the_plain_sum, "dy is not used"),
        (moved_all_at_once, "moved at once"),
        (left_where_it_was, "stays moved"),
        (one_h_for_two_steps, "2h apart"),
    ],
    "3.4": [
        (floor_forgotten, "There is no floor"),
        (absolute_error, "This is the absolute error"),
        (averaged_error, "This is the mean"),
        (compared_with_signs, "compared with their signs"),
    ],
    "3.5": [
        (everything_moved, "moves every element by h"),
        (dy_left_out, "leaves dy out"),
        (direction_left_out, "predicted is the sum of dx"),
        (products_not_added, "predicted is still an array"),
    ],
    "3.6": [
        (with_all_ones, "dy is all ones"),
        (one_random_index, "one wrong element gets through"),
        (with_a_loose_tolerance, "tolerance is too loose"),
        (all_in_float32, "tolerance is too loose"),
        (with_seed_zero, "Draw from a seed that nobody else uses"),
        (blind_to_nan, "NaN in it gets through"),
        (by_absolute_errors, "A tiny gradient of the wrong sign"),
        (the_wrong_way_round, "Is the comparison the right way round"),
    ],
}
