"""Exercises of lesson 10: batches, the schedule, clipping (its steps: lesson_10_steps)."""

import math

import numpy as np

from tinymixer.data import steps_per_epoch
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.optim import clip_by_global_norm, cosine

# 10.4 ---------------------------------------------------------------------------------------------------------------


def _epoch_batches(count, batch_size, generator):
    order = generator.permutation(count)  # (count,)
    steps = steps_per_epoch(count, batch_size)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def _call_for_two_epochs(function, count, batch_size, seed):
    """What is asked of batches whatever the order of the random numbers: two epochs, then the first once more."""
    generator = np.random.default_rng(seed)
    first, second = ([_whole_numbers(batch) for batch in function(count, batch_size, generator)] for _ in range(2))
    again = [_whole_numbers(batch) for batch in function(count, batch_size, np.random.default_rng(seed))]
    numbers = [number for batch in first for number in batch]
    proper = len(set(numbers)) == len(numbers) and set(numbers) <= set(range(count))
    return (
        [len(batch) for batch in first],
        proper,
        {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second},
        first == again,
    )


def _whole_numbers(batch):
    return [int(number) for number in np.asarray(batch).ravel()]


def _cut(order, batch_size, start=0):
    return [order[i : i + batch_size] for i in range(start, len(order) // batch_size * batch_size, batch_size)]


def _with_a_small_last_one(count, batch_size, generator):
    order = generator.permutation(count)
    return [order[i : i + batch_size] for i in range(0, count, batch_size)]


def _with_replacement(count, batch_size, generator):
    return [generator.integers(count, size=batch_size) for _ in range(count // batch_size)]


exercise(
    "10.4",
    "The batches of an epoch",
    "my_epoch_batches",
    reference=_epoch_batches,
    cases=lambda generator: (
        (count, size, int(generator.integers(100))) for count, size in ((20, 6), (24, 4), (33, 8))
    ),
    returns=("the batches' sizes", "no image twice", "new batches in every epoch", "all chance from the generator"),
    call=_call_for_two_epochs,
    mistakes=[
        Mistake(
            "The last batch is smaller than the others. Leave it out: how many full batches are there?",
            _with_a_small_last_one,
        ),
        Mistake(
            "Some images come twice in an epoch and others never: is each batch drawn by itself, or do batches "
            "overlap? Draw one order of all images, then cut it into pieces, one after the other.",
            _with_replacement,
        ),
        Mistake(
            "Each batch goes on to the end of the order: a slice without an end takes everything that follows.",
            lambda count, batch_size, generator: [
                generator.permutation(count)[step * batch_size :] for step in range(count // batch_size)
            ],
        ),
        Mistake(
            "Every epoch has the same batches. Shuffle the images (not only the batches), and use the generator "
            "that you are given, which goes on from epoch to epoch.",
            lambda count, batch_size, generator: _cut(np.arange(count), batch_size),
        ),
        Mistake(
            "The order does not come from the generator that you are given, so a run could not be repeated.",
            lambda count, batch_size, generator: _cut(np.random.default_rng().permutation(count), batch_size),
        ),
        Mistake(
            "One batch is missing. How many full batches are there?",
            lambda count, batch_size, generator: _cut(generator.permutation(count), batch_size, start=batch_size),
        ),
    ],
)

# 10.5 ---------------------------------------------------------------------------------------------------------------


def _learning_rate(step, peak, total_steps, warmup_steps):
    return cosine(peak, total_steps, warmup_steps)(step)


def _call_for_every_step(function, peak, total_steps, warmup_steps):
    return np.array([function(step, peak, total_steps, warmup_steps) for step in range(total_steps)], dtype=float)


def _schedule(warmup, falling):
    """A wrong schedule from two parts, of (step, total, warm-up steps)."""

    def rate(step, peak, total, warm):
        return peak * (warmup(step, total, warm) if step < warm else falling(step, total, warm))

    return rate


def _rising(step, total, warm):
    return (step + 1) / warm


def _half_cosine(step, total, warm):
    return (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2


exercise(
    "10.5",
    "Warm-up and cosine",
    "my_learning_rate",
    reference=_learning_rate,
    cases=lambda generator: ((0.1, 10, 4), (2.0, 7, 0), (0.3, 12, 6), (1.0, 5, 1)),
    returns="rates",
    call=_call_for_every_step,
    mistakes=[
        Mistake(
            "The first step has a rate of zero, and the warm-up ends below the peak. Steps are counted from 0: the "
            "first one is already 1/n of the way.",
            _schedule(lambda step, total, warm: step / warm, _half_cosine),
        ),
        Mistake(
            "The cosine runs over all steps, so the rate drops when the warm-up ends. p must be 0 there: count "
            "its steps from the end of the warm-up.",
            _schedule(_rising, lambda step, total, warm: (1 + math.cos(math.pi * step / total)) / 2),
        ),
        Mistake(
            "p reaches the end too late: it counts from the end of the warm-up but divides by all steps.",
            _schedule(_rising, lambda step, total, warm: (1 + math.cos(math.pi * (step - warm) / total)) / 2),
        ),
        Mistake(
            "There is no warm-up: in the first steps the rate should rise to the peak along a straight line.",
            _schedule(
                lambda step, total, warm: (1 + math.cos(math.pi * step / total)) / 2,
                lambda step, total, warm: (1 + math.cos(math.pi * step / total)) / 2,
            ),
        ),
        Mistake(
            "The rate starts from twice the peak after the warm-up: 1 + cos goes from 2 to 0.",
            _schedule(_rising, lambda step, total, warm: 2 * _half_cosine(step, total, warm)),
        ),
        Mistake(
            "pi is missing in the cosine: with p from 0 to 1 the angle must go from 0 to half a turn.",
            _schedule(_rising, lambda step, total, warm: (1 + math.cos((step - warm) / (total - warm))) / 2),
        ),
        Mistake(
            "This cosine rises: it should start at 1, for p = 0, and fall.",
            _schedule(_rising, lambda step, total, warm: 1 - _half_cosine(step, total, warm)),
        ),
        Mistake(
            "After the warm-up the rate falls along a straight line. Half a cosine is asked for.",
            _schedule(_rising, lambda step, total, warm: 1 - (step - warm) / (total - warm)),
        ),
        Mistake(
            "1 + is missing: the cosine alone falls from 1 to -1, and a learning rate must not be negative.",
            _schedule(_rising, lambda step, total, warm: 2 * _half_cosine(step, total, warm) - 1),
        ),
        Mistake(
            "This divides by the number of warm-up steps even where there are none.",
            lambda step, peak, total, warm: peak * min((step + 1) / warm, _half_cosine(step, total, warm)),
        ),
    ],
)

# 10.6 ---------------------------------------------------------------------------------------------------------------


def _clip(gradients, max_norm):
    flat = np.concatenate([gradient.ravel() for gradient in gradients])
    norm = clip_by_global_norm(flat, max_norm)
    ends = np.cumsum([gradient.size for gradient in gradients])[:-1]
    parts = np.split(flat, ends)
    return tuple(part.reshape(one.shape) for part, one in zip(parts, gradients, strict=True)), float(norm)


def _scaled(gradients, max_norm, norm_of, bound=1.0):
    norm = norm_of(gradients)
    factor = min(bound, max_norm / (norm + 1e-6))
    return tuple(factor * gradient for gradient in gradients), norm


def _one_by_one(gradients, max_norm):
    return tuple(_clip((gradient,), max_norm)[0][0] for gradient in gradients), _clip(gradients, max_norm)[1]


def _element_by_element(gradients, max_norm):
    return tuple(np.clip(gradient, -max_norm, max_norm) for gradient in gradients), _clip(gradients, max_norm)[1]


def _always_scaled(gradients, max_norm):
    return _scaled(gradients, max_norm, lambda gradients: _clip(gradients, max_norm)[1], bound=math.inf)


def _norm_after(gradients, max_norm):
    clipped, norm = _clip(gradients, max_norm)
    return clipped, min(norm, max_norm)


def _sum_of_squares(gradients):
    return float(sum((gradient**2).sum() for gradient in gradients))


def _gradient_cases(generator):
    """Three parameters: too long a gradient, one within the bound, square ones, a single array, zeros."""
    for shapes, max_norm in (
        (((3, 4), (4,), (4, 2)), 1.5),
        (((3, 4), (4,), (4, 2)), 100.0),
        (((3, 3), (3,), (3, 3)), 0.5),
        (((5,),), 1.0),
    ):
        yield tuple(generator.normal(size=shape) for shape in shapes), max_norm
    yield (np.zeros((2, 3)), np.zeros(3)), 1.0


exercise(
    "10.6",
    "Clipping by the global norm",
    "my_clip_by_global_norm",
    reference=_clip,
    cases=_gradient_cases,
    returns=("clipped", "norm"),
    tolerance=1e-5,  # with the package's 1e-6 under the fraction or without
    mistakes=[
        Mistake(
            "Each array is clipped by a norm of its own, which changes the direction of the whole gradient. The norm "
            "is one number over all arrays, and so is the factor.",
            _one_by_one,
        ),
        Mistake(
            "Single elements are cut off, which changes the direction of the gradient. Multiply all of them by one "
            "factor.",
            _element_by_element,
        ),
        Mistake(
            "Short gradients are made longer. A gradient within the bound stays as it is: the factor is at most 1.",
            _always_scaled,
        ),
        Mistake(
            "This is the norm after clipping. Return the one before: it shows when something goes wrong.", _norm_after
        ),
        Mistake(
            "The root is missing: this is the sum of squares.",
            lambda gradients, max_norm: _scaled(gradients, max_norm, _sum_of_squares),
        ),
        Mistake(
            "The norms of the arrays were added up. Add their squares, and take one root at the end.",
            lambda gradients, max_norm: _scaled(
                gradients, max_norm, lambda arrays: float(sum(np.linalg.norm(array) for array in arrays))
            ),
        ),
        Mistake(
            "The norm comes from a sum of absolute values. A vector's length takes squares, and a root at the end.",
            lambda gradients, max_norm: _scaled(
                gradients, max_norm, lambda arrays: float(sum(np.abs(array).sum() for array in arrays))
            ),
        ),
        Mistake(
            "This is a division by zero when every gradient is zero: add a tiny number to the norm, or divide only "
            "where the norm is above the bound.",
            lambda gradients, max_norm: (
                tuple(gradient * min(1.0, max_norm / math.sqrt(_sum_of_squares(gradients))) for gradient in gradients),
                math.sqrt(_sum_of_squares(gradients)),
            ),
        ),
    ],
)
