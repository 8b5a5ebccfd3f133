"""Exercises of lesson 13: overfitting and its cures."""

import numpy as np

from tinymixer import ops
from tinymixer.analysis.validation import balanced_split, early_stop
from tinymixer.gradcheck.planted_faults import tokens
from tinymixer.lessons.exercise import Mistake, call_pair, exercise

# 13.1 ---------------------------------------------------------------------------------------------------------------


def _call_split(function, labels, share):
    """What is asked of a split, whatever its random choice: seeds 0, 0 once more, and 1."""
    training, validation = _whole_numbers(function(labels, share, 0))
    classes = np.unique(labels)
    numbers = not {*training, *validation} <= set(classes.tolist())
    if not numbers:  # the labels of the images came back
        return len(validation), False, False, False, False, False, False
    again, other = (_whole_numbers(function(labels, share, seed))[1] for seed in (0, 1))
    held_out = [int(np.sum(labels[validation] == label)) for label in classes]
    return (
        len(validation),
        True,
        {*training, *validation} == set(range(len(labels))),
        len({*training, *validation}) == len(training) + len(validation),
        held_out == [round(share * int(np.sum(labels == label))) for label in classes],
        set(validation) != set(other),
        validation == again,
    )


def _whole_numbers(parts):
    training, validation = parts
    return tuple([int(number) for number in np.asarray(part).ravel()] for part in (training, validation))


def _split_cases(generator):
    """Shuffled labels of three and of four classes, of which every share is a whole number of images."""
    for sizes, share in (((40, 60, 20), 0.25), ((50, 30, 20, 100), 0.1)):
        labels = np.repeat(np.arange(len(sizes)), sizes)  # (N,)
        yield generator.permutation(labels), share


def _class_by_class(labels, share, seed, take):
    """A split whose validation images of each class are chosen by take(members, held_out, generator)."""
    generator = np.random.default_rng(seed)
    validation = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        validation.extend(take(members, round(share * len(members)), generator))
    return np.setdiff1d(np.arange(len(labels)), validation), np.array(validation)


def _of_the_last_class(labels, share, seed):
    members = np.flatnonzero(labels == labels.max())
    held_out = round(share * len(members))
    return members[held_out:], members[:held_out]


def _not_balanced(labels, share, seed):
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out = round(share * len(labels))
    return order[held_out:], order[:held_out]


exercise(
    "13.1",
    "A balanced split",
    "my_split",
    reference=balanced_split,
    cases=_split_cases,
    returns=(
        "the number of validation images",
        "numbers of images, not their labels",
        "no image missing",
        "no image twice",
        "the same share of each class",
        "another split for another seed",
        "the same split for the same seed",
    ),
    call=_call_split,
    mistakes=[
        Mistake(
            "The classes do not keep their shares: chance decides how many of each are held out. Split each class by "
            "itself, then put the parts together.",
            _not_balanced,
        ),
        Mistake(
            "The parts are the wrong way round: the share is what goes to validation, and training comes first.",
            lambda labels, share, seed: balanced_split(labels, share, seed)[::-1],
        ),
        Mistake(
            "The labels of the images came back. The images themselves are asked for, by their numbers: where in "
            "`labels` is each label?",
            lambda labels, share, seed: tuple(labels[part] for part in balanced_split(labels, share, seed)),
        ),
        Mistake(
            "Only the last class was split: each round of the loop replaces what the one before it made.",
            lambda labels, share, seed: _of_the_last_class(labels, share, seed),
        ),
        Mistake(
            "From each class, the share of all images is held out. The share is one of the class's own images.",
            lambda labels, share, seed: _class_by_class(
                labels, share, seed, lambda members, n, _: members[: round(share * len(labels))]
            ),
        ),
        Mistake(
            "Some images are in both parts. Images that are held out must not be in training, or the validation "
            "accuracy is a training accuracy.",
            lambda labels, share, seed: (np.arange(len(labels)), balanced_split(labels, share, seed)[1]),
        ),
        Mistake(
            "The split is the same for every seed: of each class, the choice should be random, from the seed.",
            lambda labels, share, seed: _class_by_class(labels, share, 0, lambda members, n, _: members[:n]),
        ),
        Mistake(
            "The split differs from call to call. Make the random numbers from the seed.",
            lambda labels, share, seed: balanced_split(labels, share, int(np.random.default_rng().integers(2**31))),
        ),
        Mistake(
            "Some images come twice, and others are in no part: were they drawn with replacement, do slices overlap?",
            lambda labels, share, seed: (
                balanced_split(labels, share, seed)[0],
                _class_by_class(labels, share, seed, lambda members, n, generator: generator.choice(members, n))[1],
            ),
        ),
    ],
)

# 13.2 ---------------------------------------------------------------------------------------------------------------


def _dropout_cases(generator):
    """dy, x, keep, rate: sizes all different, a square, float32, one number, a rate of zero."""
    for shape, rate, dtype in (
        ((4, 3), 0.25, "float64"),
        ((3, 3), 0.6, "float64"),
        ((2, 3, 4), 0.3, "float32"),
        ((1,), 0.5, "float64"),
        ((5,), 0.0, "float64"),
    ):
        dy, x = (generator.normal(size=shape).astype(dtype) for _ in range(2))
        keep = generator.random(shape) >= rate
        keep.flat[0] = True  # so that the single number stays
        yield dy, x, keep, rate


def _masked(factor):
    """Dropout both ways with a wrong factor(keep, rate)."""

    def forward(x, keep, rate):
        return (x * factor(keep, rate)).astype(x.dtype), (keep, rate)

    def backward(dy, cache):
        return (dy * factor(*cache)).astype(dy.dtype)

    return forward, backward


exercise(
    "13.2",
    "Dropout",
    ("my_dropout_forward", "my_dropout_backward"),
    reference=(ops.dropout_forward, ops.dropout_backward),
    cases=_dropout_cases,
    returns=("y", "dx"),
    call=call_pair,
    mistakes=[
        Mistake(
            "y is right. dx lacks the factor: the derivative of y = x * keep / (1 - rate) has it too.",
            (ops.dropout_forward, tokens.dropout_not_rescaled),
        ),
        Mistake(
            "y is right. dx forgets the mask: an entry that was zeroed has no influence on y, so its gradient is zero.",
            (ops.dropout_forward, lambda dy, cache: dy * (1 / (1 - cache[1]))),
        ),
        Mistake(
            "y is right. dy is handed on as it came: an entry that was zeroed has no influence on y, and the others "
            "were multiplied by something.",
            (ops.dropout_forward, lambda dy, cache: dy),
        ),
        Mistake(
            "y is right. dx was multiplied by 1 - rate where the forward pass divided by it. The derivative of a "
            "product with a constant is that constant.",
            (ops.dropout_forward, lambda dy, cache: dy * cache[0] * (1 - cache[1])),
        ),
        Mistake(
            "The kept numbers are not made larger, so y is too small on average. Which factor makes up for that?",
            _masked(lambda keep, rate: keep),
        ),
        Mistake(
            "The kept numbers are made smaller, not larger: divide by the probability of keeping.",
            _masked(lambda keep, rate: keep * (1 - rate)),
        ),
        Mistake(
            "This divides by the rate, the probability of dropping. An entry is kept with probability 1 - rate.",
            _masked(lambda keep, rate: keep / (rate if rate else np.inf)),
        ),
        Mistake(
            "The wrong entries are dropped: keep is True for those that stay.",
            _masked(lambda keep, rate: ~keep / (1 - rate)),
        ),
    ],
)

# 13.3 ---------------------------------------------------------------------------------------------------------------


def _drop_path_cases(generator):
    """dy, x (S, B, C), keep (B,), rate: sizes all different, all alike, float32, a single image."""
    for shape, rate, dtype in (
        ((4, 3, 2), 0.25, "float64"),
        ((3, 3, 3), 0.6, "float64"),
        ((2, 4, 3), 0.3, "float32"),
        ((3, 1, 2), 0.5, "float64"),
    ):
        dy, x = (generator.normal(size=shape).astype(dtype) for _ in range(2))
        keep = np.ones(shape[1], bool)  # (B,)
        keep[0] = shape[1] == 1  # one image dropped, but not the only one
        yield dy, x, keep, rate


def _drop_along(shape_of):
    """Stochastic depth with the mask on a wrong axis: shape_of(keep) is what it is reshaped to."""
    return _masked(lambda keep, rate: keep.reshape(shape_of) / (1 - rate))


exercise(
    "13.3",
    "Stochastic depth",
    ("my_drop_path_forward", "my_drop_path_backward"),
    reference=(ops.drop_path_forward, ops.drop_path_backward),
    cases=_drop_path_cases,
    returns=("y", "dx"),
    call=call_pair,
    mistakes=[
        Mistake(
            "y is right. dx forgets the mask: a branch that was left out gets no gradient.",
            (ops.drop_path_forward, tokens.dropped_paths_still_receive),
        ),
        Mistake(
            "y is right. dx lacks the factor 1 / (1 - rate) of the forward pass.",
            (ops.drop_path_forward, tokens.dropout_not_rescaled),
        ),
        Mistake(
            "The mask lies along the channels: NumPy aligns shapes from the last axis, but the images are the middle "
            "one.",
            _drop_along((1, 1, -1)),
        ),
        Mistake(
            "The mask lies along the tokens. The images are the middle axis of (S, B, C).", _drop_along((-1, 1, 1))
        ),
        Mistake(
            "The branches that stay are not made larger, so the block adds too little on average.",
            _masked(lambda keep, rate: keep.reshape(1, -1, 1)),
        ),
        Mistake(
            "This divides by the share of the images that happened to stay. Divide by the probability of staying, "
            "which does not depend on the draw.",
            _masked(lambda keep, rate: keep.reshape(1, -1, 1) / keep.mean()),
        ),
        Mistake(
            "This divides by the rate. A branch is kept with probability 1 - rate.",
            _masked(lambda keep, rate: keep.reshape(1, -1, 1) / rate),
        ),
    ],
)

# 13.4 ---------------------------------------------------------------------------------------------------------------


def _stop_cases(generator):
    """losses, patience: a dip too late, a count that starts again, ties, a fall to the end, noise, one epoch."""
    yield [1.0, 0.8, 0.6, 0.7, 0.75, 0.9, 0.5], 3
    yield [1.0, 0.6, 0.7, 0.5, 0.6, 0.7, 0.8], 3
    yield [0.9, 0.7, 0.7, 0.7, 0.7, 0.6], 2
    yield [0.9, 0.7, 0.6, 0.4], 1
    yield [0.9, 0.5, 0.8, 0.7, 0.6, 0.4], 4
    yield [round(float(loss), 2) for loss in 1 / np.arange(1, 21) + generator.random(20) / 4], 5
    yield [0.7], 2


def _walk(losses, patience, improved=lambda loss, lowest, previous: loss < lowest, late=0, reset=True, ties=False):
    best, bad = 0, 0
    for epoch in range(1, len(losses)):
        if improved(losses[epoch], losses[best], losses[epoch - 1]):
            best, bad = epoch, 0 if reset else bad
        else:
            bad += 1
            if bad >= patience + late:
                return best, epoch
    return best, len(losses) - 1


def _compares_with_the_previous(losses, patience):
    best, bad = 0, 0
    for epoch in range(1, len(losses)):
        bad = 0 if losses[epoch] < losses[epoch - 1] else bad + 1
        best = epoch if losses[epoch] < losses[best] else best
        if bad >= patience:
            return best, epoch
    return best, len(losses) - 1


exercise(
    "13.4",
    "Early stopping",
    "my_early_stop",
    reference=early_stop,
    cases=_stop_cases,
    returns=("best epoch", "last epoch"),
    mistakes=[
        Mistake(
            "This looks at losses that are never seen: when `patience` epochs in a row bring no new lowest loss, "
            "training ends. Walk through the epochs in order.",
            lambda losses, patience: (int(np.argmin(losses)), len(losses) - 1),
        ),
        Mistake(
            "The lowest loss came back. Its epoch is asked for: the place in the list, not the value.",
            lambda losses, patience: (losses[early_stop(losses, patience)[0]], None),
        ),
        Mistake(
            "It stops one epoch too late: the patience is used up when that many epochs in a row were no better.",
            lambda losses, patience: _walk(losses, patience, late=1),
        ),
        Mistake(
            "The count goes on after an improvement. Only epochs in a row without one count: start again from 0.",
            lambda losses, patience: _walk(losses, patience, reset=False),
        ),
        Mistake(
            "A loss equal to the lowest counts as an improvement here. It should not.",
            lambda losses, patience: _walk(losses, patience, lambda loss, lowest, previous: loss <= lowest),
        ),
        Mistake(
            "Each loss is compared with the one before it. An improvement is a loss below the lowest so far.",
            _compares_with_the_previous,
        ),
        Mistake(
            "Each loss is compared with the one before it, and the last fall is taken as the best. An improvement is "
            "a loss below the lowest so far.",
            lambda losses, patience: _walk(losses, patience, lambda loss, lowest, previous: loss < previous),
        ),
    ],
)
