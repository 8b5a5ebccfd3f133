"""Exercises of lesson 17: what a published network answers, and how sure a figure is."""

import math

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models.resolution import tokens_of_parts
from tinymixer.training.evaluate import accuracy_interval

# 17.3 ---------------------------------------------------------------------------------------------------------------


def _reordered(logits, names, wanted):
    return logits[:, [names.index(name) for name in wanted]]


def _name_cases(generator):
    """Logits, their classes, and the order that is wanted: none of the orders is its own opposite."""
    yield generator.normal(size=(3, 4)), ["cat", "dog", "bird", "frog"], ["bird", "cat", "dog", "frog"]
    yield generator.normal(size=(3, 3)), ["b", "c", "a"], ["a", "b", "c"]
    yield generator.normal(size=(2, 5)).astype("float32"), list("edcba"), list("caebd")
    yield generator.normal(size=(2, 4)), ["cat", "dog", "bird", "frog"], ["frog", "cat"]


exercise(
    "17.3",
    "Classes by name",
    "my_in_order",
    reference=_reordered,
    cases=_name_cases,
    returns="logits",
    mistakes=[
        Mistake(
            "The columns went the other way: column k of the result belongs to wanted[k]. In which column of `logits` "
            "does that name stand?",
            lambda logits, names, wanted: logits[:, [wanted.index(name) for name in names if name in wanted]],
        ),
        Mistake(
            "The logits came back in their old order.",
            lambda logits, names, wanted: logits,
        ),
        Mistake(
            "The columns are in alphabetical order of their names, whatever `wanted` says.",
            lambda logits, names, wanted: logits[:, np.argsort(names)],
        ),
        Mistake(
            "The logits of each image were sorted by size, so that nobody knows any more whose they were.",
            lambda logits, names, wanted: np.sort(logits, axis=1),
        ),
        Mistake(
            "These are the right columns, in the order of `names`: choosing by a mask keeps the old order.",
            lambda logits, names, wanted: logits[:, [name in wanted for name in names]],
        ),
        Mistake(
            "This is True where two lists have the same name at the same place, and not the logits.",
            lambda logits, names, wanted: np.array([one == other for one, other in zip(names, wanted, strict=False)]),
        ),
    ],
)

# 17.4 ---------------------------------------------------------------------------------------------------------------

_Z = 1.959963984540054


def _interval_cases(_generator):
    """Right answers, images: few images, all right, one right, ImageNet's number."""
    yield 17, 20
    yield 12, 12
    yield 1, 7
    yield 42_075, 50_000


def _interval(centre, half, scale=True):
    """centre(p, n) - half(p, n) and +, both divided by 1 + z^2 / n where `scale` is True."""

    def run(correct, images):
        p = correct / images
        divisor = 1 + _Z**2 / images if scale else 1
        return (centre(p, images) - half(p, images)) / divisor, (centre(p, images) + half(p, images)) / divisor

    return run


def _right_centre(p, n):
    return p + _Z**2 / (2 * n)


def _right_half(p, n):
    return _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n))


def _ends_at(z, correct, images):
    """Wilson's interval with another z."""
    p, scale = correct / images, 1 + z**2 / images
    half = z * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    return (p + z**2 / (2 * images) - half) / scale, (p + z**2 / (2 * images) + half) / scale


exercise(
    "17.4",
    "Wilson's interval",
    "my_interval",
    reference=accuracy_interval,
    cases=_interval_cases,
    returns=("low", "high"),
    tolerance=1e-4,  # 1.96 will do for z
    mistakes=[
        Mistake(
            "This is p -+ z * sqrt(p (1 - p) / n), which is no interval at all where every answer is right. Solve the "
            "quadratic equation instead: p stands on both sides of it.",
            _interval(lambda p, n: p, lambda p, n: _Z * math.sqrt(p * (1 - p) / n), scale=False),
        ),
        Mistake(
            "The division by 1 + z^2 / n is missing: it is the factor of p^2 in the quadratic equation.",
            _interval(_right_centre, _right_half, scale=False),
        ),
        Mistake(
            "The middle is the measured accuracy itself. It should lie nearer to one half: what is the middle of the "
            "two solutions?",
            _interval(lambda p, n: p, _right_half),
        ),
        Mistake(
            "The middle is the measured accuracy itself. It should lie nearer to one half: what is the middle of the "
            "two solutions?",
            _interval(lambda p, n: p, lambda p, n: _right_half(p, n) / (1 + _Z**2 / n), scale=False),
        ),
        Mistake(
            "Below the root z^2 / (4 n^2) is missing.",
            _interval(_right_centre, lambda p, n: _Z * math.sqrt(p * (1 - p) / n)),
        ),
        Mistake(
            "Below the root stands z^2 / (4 n): n should be squared, too.",
            _interval(_right_centre, lambda p, n: _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n))),
        ),
        Mistake(
            "The middle adds z^2 / n: it should be half of that.",
            _interval(lambda p, n: p + _Z**2 / n, _right_half),
        ),
        Mistake(
            "The root is not multiplied by z.",
            _interval(_right_centre, lambda p, n: _right_half(p, n) / _Z),
        ),
        Mistake(
            "There is no root: a variance was added where a deviation belongs.",
            _interval(_right_centre, lambda p, n: _right_half(p, n) ** 2 / _Z),
        ),
        Mistake(
            "This z is 1.645, beyond which 5 % lie on one side. 5 % on both sides together need 1.96.",
            lambda correct, images: _ends_at(1.645, correct, images),
        ),
        Mistake(
            "The middle and half the width came back. The two ends are asked for.",
            lambda correct, images: (
                sum(accuracy_interval(correct, images)) / 2,
                (accuracy_interval(correct, images)[1] - accuracy_interval(correct, images)[0]) / 2,
            ),
        ),
        Mistake(
            "This is in per cent. Both ends lie between 0 and 1.",
            lambda correct, images: tuple(100 * end for end in accuracy_interval(correct, images)),
        ),
    ],
)

# 17.5 ---------------------------------------------------------------------------------------------------------------


def _grid_cases(_generator):
    """A part's height and width, K: a grid higher than wide, a square one, one row, a factor of 1."""
    yield from ((3, 2, 2), (2, 2, 2), (1, 3, 3), (2, 3, 1))


def _numbers(height, width, K):
    return np.arange(K * height * K * width).reshape(K, height, K, width)


exercise(
    "17.5",
    "The tokens of the parts",
    "my_parts",
    reference=lambda height, width, K: tokens_of_parts((height, width), K),
    cases=_grid_cases,
    returns="parts",
    mistakes=[
        Mistake(
            "These are tokens that follow each other in number. A row of the large grid runs through several parts: "
            "after the first `width` tokens of a row, the next part begins.",
            lambda height, width, K: np.arange(K * K * height * width).reshape(K * K, height * width),
        ),
        Mistake(
            "Each part is spread over the whole grid, every K-th token of it. A part is a piece of the picture: its "
            "tokens lie side by side.",
            lambda height, width, K: (
                np.arange(K * height * K * width)
                .reshape(height, K, width, K)
                .transpose(1, 3, 0, 2)
                .reshape(K * K, height * width)
            ),
        ),
        Mistake(
            "The parts go column by column. They should go row by row, as the tokens do.",
            lambda height, width, K: _numbers(height, width, K).transpose(2, 0, 1, 3).reshape(K * K, height * width),
        ),
        Mistake(
            "Within a part the tokens go column by column. They should go row by row.",
            lambda height, width, K: _numbers(height, width, K).transpose(0, 2, 3, 1).reshape(K * K, height * width),
        ),
        Mistake(
            "Going down by one row adds `width` to the number here, as in the small grid. A row of the large grid has "
            "K times as many tokens.",
            lambda height, width, K: np.array(
                [
                    [
                        (down * height + row) * width + across * width + column
                        for row in range(height)
                        for column in range(width)
                    ]
                    for down in range(K)
                    for across in range(K)
                ]
            ),
        ),
        Mistake(
            "Every part has the numbers of the first one. Where does the upper left token of the others stand?",
            lambda height, width, K: np.tile(tokens_of_parts((height, width), K)[0], (K * K, 1)),
        ),
        Mistake(
            "The axes have changed places: a row for each part is asked for.",
            lambda height, width, K: tokens_of_parts((height, width), K).T,
        ),
    ],
)
