"""Exercises of lesson 16: what an optimizer does to weights: averages, Newton-Schulz, SAM."""

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.optim import SGD, WeightAverage, newton_schulz, perturbed
from tinymixer.parameters import Parameters, ParameterSpec

# 16.5 ---------------------------------------------------------------------------------------------------------------


def _averaged(start, weights, decay):
    """The package's average after each update, (n, size)."""
    parameters = Parameters({"w": ParameterSpec(start.shape, lambda generator, shape: start)}, dtype=start.dtype)
    average, after = WeightAverage(parameters, decay, every=1), []
    for step, current in enumerate(weights):
        parameters["w"][...] = current
        average.step(step + 1)
        after.append(parameters.views_of(average.values)["w"].copy())
    return np.array(after)


def _average(start, weights, decay):
    left = _averaged(np.ones(1), np.zeros((len(weights), 1)), decay)[:, 0]  # what is left of a 1
    return _averaged(start, weights, decay), left


def _average_cases(generator):
    """start, weights, decay: a decay that is soon reached, one that never is, float32, a single update."""
    for updates, size, decay, dtype in (
        (6, 3, 0.05, "float64"),
        (5, 5, 0.9, "float64"),
        (8, 2, 0.1, "float32"),
        (1, 4, 0.5, "float64"),
    ):
        yield generator.normal(size=size).astype(dtype), generator.normal(size=(updates, size)).astype(dtype), decay


def _by_rule(
    decay_of, begin=lambda start, weights: start, mix=lambda average, current, d: d * average + (1 - d) * current
):
    """An average by another rule: decay_of(number of the update from 1, decay)."""

    def run(start, weights, decay):
        average, left, averages, lefts = begin(start, weights), 1.0, [], []
        for number, current in enumerate(weights, 1):
            d = decay_of(number, decay)
            average, left = mix(average, current, d), mix(left, 0.0, d)
            averages.append(average)
            lefts.append(left)
        return np.array(averages).astype(start.dtype), np.array(lefts)

    return run


def _warm(number, decay):
    return min(decay, number / (number + 50))


def _other_left(left_of):
    return lambda start, weights, decay: (
        _averaged(start, weights, decay),
        np.array([left_of(number, decay) for number in range(1, len(weights) + 1)]),
    )


exercise(
    "16.5",
    "An average of weights",
    "my_average",
    reference=_average,
    cases=_average_cases,
    returns=("averages", "left"),
    mistakes=[
        Mistake(
            "The decay comes out the same from the first update on. At first it should be n / (n + 50), with these "
            "brackets, so that the initial weights are soon forgotten.",
            _by_rule(lambda number, decay: decay),
        ),
        Mistake(
            "The updates are counted from 0 here, so the first one forgets everything. Count from 1.",
            _by_rule(lambda number, decay: _warm(number - 1, decay)),
        ),
        Mistake(
            "The larger of the two decays is taken. The warm-up keeps it small at first: take the smaller one.",
            _by_rule(lambda number, decay: max(decay, number / (number + 50))),
        ),
        Mistake(
            "The decay warms up and goes on rising above `decay`: it is the most that an update may keep.",
            _by_rule(lambda number, decay: number / (number + 50)),
        ),
        Mistake(
            "The two factors are exchanged: d belongs to the old average, 1 - d to the new weights.",
            _by_rule(_warm, mix=lambda average, current, d: (1 - d) * average + d * current),
        ),
        Mistake(
            "The new weights come in whole. The two factors must sum to 1, or the average of equal weights would not "
            "be those weights.",
            _by_rule(_warm, mix=lambda average, current, d: d * average + current),
        ),
        Mistake(
            "The average starts from zeros. It starts as a copy of `start`.",
            _by_rule(_warm, begin=lambda start, weights: np.zeros_like(start)),
        ),
        Mistake(
            "The average starts from the weights after the first step. It starts as a copy of `start`, and the first "
            "weights come in by the first update.",
            _by_rule(_warm, begin=lambda start, weights: weights[0]),
        ),
        Mistake(
            "The start is in averages as well, before the first update. Only what comes after an update is asked for, "
            "a row for each row of weights.",
            lambda start, weights, decay: (
                np.concatenate([start[None], _averaged(start, weights, decay)]),
                np.concatenate([[1.0], _average(start, weights, decay)[1]]),
            ),
        ),
        Mistake(
            "Every row of averages is the last one: the same array was kept each time, and then changed in place. Keep "
            "a copy, or make a new array in each update.",
            lambda start, weights, decay: (
                np.repeat(_averaged(start, weights, decay)[-1:], len(weights), axis=0),
                _average(start, weights, decay)[1],
            ),
        ),
        Mistake(
            "averages is right. Each update keeps its own share d of what is left of the start, and these shares "
            "differ: multiply those of all updates so far.",
            _other_left(lambda number, decay: _warm(number, decay) ** number),
        ),
        Mistake(
            "averages is right. This is the share that the last update keeps. What is left of the start after all of "
            "them?",
            _other_left(_warm),
        ),
        Mistake(
            "averages is right. left takes `decay` for every update. While it warms up, an update keeps less.",
            _other_left(lambda number, decay: decay**number),
        ),
        Mistake(
            "averages is right. left is what has come in since the start. What is left is the rest.",
            _other_left(lambda number, decay: 1 - np.prod([_warm(one, decay) for one in range(1, number + 1)])),
        ),
    ],
)

# 16.6 ---------------------------------------------------------------------------------------------------------------


def _newton_schulz_step(x, a, b, c):
    """The package divides by the norm first: with x = n x', the factors a n, b n^3, c n^5 of x' undo that."""
    n = float(np.sqrt(np.sum(x * x)))
    return newton_schulz(x[None], ((a * n, b * n**3, c * n**5),))[0]


def _matrix_cases(generator):
    """x of a norm, a, b, c: wide, tall, square, float32; of norm 1 before the first step, of others before the next."""
    for shape, norm, dtype in (
        ((3, 5), 1.0, "float64"),
        ((5, 2), 1.3, "float64"),
        ((4, 4), 1.7, "float64"),
        ((3, 4), 1.5, "float32"),
    ):
        x = generator.normal(size=shape)
        yield (norm * x / np.sqrt(np.sum(x * x))).astype(dtype), 3.4445, -4.775, 2.0315


def _divided_first(x, a, b, c):
    return _newton_schulz_step(x / np.sqrt(np.sum(x * x)), a, b, c)


def _from_the_other_side(x, a, b, c):
    gram = x.T @ x
    return a * x + (b * gram + c * gram @ gram) @ x


exercise(
    "16.6",
    "A Newton-Schulz step",
    "my_newton_schulz_step",
    reference=_newton_schulz_step,
    cases=_matrix_cases,
    returns="x",
    tolerance=1e-5,
    mistakes=[
        Mistake(
            "These are powers of the elements. The powers here are matrix products: `*` and `**` work on each element "
            "by itself.",
            lambda x, a, b, c: a * x + b * x**3 + c * x**5,
        ),
        Mistake(
            "The square of X X^T was taken element by element. It is a matrix product too.",
            lambda x, a, b, c: a * x + (b * (x @ x.T) + c * (x @ x.T) ** 2) @ x,
        ),
        Mistake(
            "The term with c has X X^T once only. It is squared there.",
            lambda x, a, b, c: a * x + (b * (x @ x.T) + c * (x @ x.T)) @ x,
        ),
        Mistake(
            "The term with c is missing.",
            lambda x, a, b, c: a * x + b * (x @ x.T) @ x,
        ),
        Mistake(
            "The term with b is missing.",
            lambda x, a, b, c: a * x + c * (x @ x.T) @ (x @ x.T) @ x,
        ),
        Mistake(
            "The term a X is missing.",
            lambda x, a, b, c: (b * (x @ x.T) + c * (x @ x.T) @ (x @ x.T)) @ x,
        ),
        Mistake(
            "In the first term stands X without its factor a.",
            lambda x, a, b, c: x + (b * (x @ x.T) + c * (x @ x.T) @ (x @ x.T)) @ x,
        ),
        Mistake(
            "X^T X stands to the left of X, where X X^T belongs. Only one of the two fits the shapes of a matrix that "
            "is not square.",
            _from_the_other_side,
        ),
        Mistake(
            "x was divided by its norm in the step. That is done once, before the first step: from the second on, it "
            "would push the singular values down again.",
            _divided_first,
        ),
        Mistake(
            "The result was divided by its norm once more. That is done once, before the first step, and not here.",
            lambda x, a, b, c: _newton_schulz_step(x, a, b, c) / np.linalg.norm(_newton_schulz_step(x, a, b, c)),
        ),
        Mistake(
            "The products X X^T are not multiplied with X at the end: the result should have the shape of X.",
            lambda x, a, b, c: a * x + b * (x @ x.T) + c * (x @ x.T) @ (x @ x.T),
        ),
    ],
)

# 16.7 ---------------------------------------------------------------------------------------------------------------


def _sam_gradient(gradient_of, weights, rho):
    parameters = Parameters({"w": ParameterSpec(weights.shape, lambda generator, shape: weights)}, dtype=weights.dtype)
    optimizer = SGD(parameters)
    parameters.gradient("w")[...] = gradient_of(parameters["w"].copy())
    with perturbed(optimizer, rho, optimizer.gradient_norm()):
        return gradient_of(parameters["w"].copy())


def _a_gradient(curvatures, minimum=0.0):
    """The gradient of L = sum(c * u^2) / 2 + sum(u^4) / 4, which is c * u + u^3 with u = w - minimum, at w."""

    def gradient_of(weights):
        away = weights - minimum
        return curvatures * away + away**3

    return gradient_of


def _sam_cases(generator):
    """gradient_of, weights, rho: three weights, as many as a larger distance moves, one weight, the minimum itself."""
    for size, rho in ((3, 0.1), (5, 0.5), (1, 0.2)):
        yield _a_gradient(generator.uniform(0.5, 3, size)), generator.normal(size=size), rho
    minimum = generator.normal(size=4)
    yield _a_gradient(generator.uniform(0.5, 3, 4), minimum), minimum.copy(), 0.1


def _at(place):
    """The gradient at place(weights, its gradient, norm, rho)."""

    def run(gradient_of, weights, rho):
        gradient = gradient_of(weights)
        norm = np.sqrt(np.sum(gradient * gradient))
        return gradient_of(place(weights, gradient, norm or 1.0, rho))

    return run


def _without_a_guard(gradient_of, weights, rho):
    gradient = gradient_of(weights)
    with np.errstate(invalid="ignore"):
        return gradient_of(weights + rho * gradient / np.sqrt(np.sum(gradient * gradient)))


exercise(
    "16.7",
    "SAM's gradient",
    "my_sam_gradient",
    reference=_sam_gradient,
    cases=_sam_cases,
    returns="gradient",
    mistakes=[
        Mistake(
            "All is right but where the gradient is zero: there its direction is 0 / 0. No way leads uphill from "
            "there, so the weights stay.",
            _without_a_guard,
        ),
        Mistake(
            "This looks downhill. SAM asks where the loss nearby is largest.",
            _at(lambda w, g, norm, rho: w - rho * g / norm),
        ),
        Mistake(
            "The gradient is not divided by its norm, so that the distance is not rho.",
            _at(lambda w, g, norm, rho: w + rho * g),
        ),
        Mistake(
            "The gradient was divided by the sum of its squares. Its norm is the root of that.",
            _at(lambda w, g, norm, rho: w + rho * g / norm**2),
        ),
        Mistake(
            "The gradient was divided by the norm of the weights. Its own norm makes its length 1.",
            _at(lambda w, g, norm, rho: w + rho * g / (np.sqrt(np.sum(w * w)) or 1.0)),
        ),
        Mistake(
            "Every weight was moved by rho, by the sign of its gradient: then the distance is rho times the root of "
            "their number. Divide by the norm of the whole gradient.",
            _at(lambda w, g, norm, rho: w + rho * np.sign(g)),
        ),
        Mistake(
            "The gradient was divided by the sum of its absolute values. The norm is the root of the sum of squares.",
            _at(lambda w, g, norm, rho: w + rho * g / (np.sum(np.abs(g)) or 1.0)),
        ),
        Mistake(
            "The gradient is taken at the distance alone, not at the weights moved by it.",
            _at(lambda w, g, norm, rho: rho * g / norm),
        ),
        Mistake(
            "This is the gradient at the weights themselves. The second one, uphill of them, is asked for.",
            lambda gradient_of, weights, rho: gradient_of(weights),
        ),
        Mistake(
            "All is right but where the gradient is zero: there a single 0 came back. A gradient has the shape of the "
            "weights, there too.",
            lambda gradient_of, weights, rho: (
                _sam_gradient(gradient_of, weights, rho) if np.any(gradient_of(weights)) else 0
            ),
        ),
        Mistake(
            "All is right but where the gradient is zero: there the weights came back. The gradient is asked for.",
            lambda gradient_of, weights, rho: (
                _sam_gradient(gradient_of, weights, rho) if np.any(gradient_of(weights)) else weights.copy()
            ),
        ),
        Mistake(
            "The weights after a step came back. The gradient is asked for; the step is the optimizer's.",
            lambda gradient_of, weights, rho: weights - _sam_gradient(gradient_of, weights, rho),
        ),
        Mistake(
            "The weights after a step came back. The gradient is asked for; the step is the optimizer's.",
            lambda gradient_of, weights, rho: (
                weights - _sam_gradient(gradient_of, weights, rho) if np.any(gradient_of(weights)) else 0 * weights
            ),
        ),
        Mistake(
            "The moved weights came back. The gradient there is asked for.",
            lambda gradient_of, weights, rho: (
                weights + rho * gradient_of(weights) / (np.sqrt(np.sum(gradient_of(weights) ** 2)) or 1.0)
            ),
        ),
        Mistake(
            "The moved weights came back. The gradient there is asked for.",
            lambda gradient_of, weights, rho: (
                weights + rho * gradient_of(weights) / np.sqrt(np.sum(gradient_of(weights) ** 2))
                if np.any(gradient_of(weights))
                else 0 * weights
            ),
        ),
        Mistake(
            "The two gradients were added up. The first one only shows the way; the update uses the second alone.",
            lambda gradient_of, weights, rho: gradient_of(weights) + _sam_gradient(gradient_of, weights, rho),
        ),
        Mistake(
            "The mean of the two gradients came back. The first one only shows the way; the update uses the second "
            "alone.",
            lambda gradient_of, weights, rho: (gradient_of(weights) + _sam_gradient(gradient_of, weights, rho)) / 2,
        ),
    ],
)
