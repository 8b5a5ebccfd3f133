"""Exercises of lesson 17: other resolutions and other classes."""

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models.resolution import block_diagonal, tokens_of_parts

# 17.6 ---------------------------------------------------------------------------------------------------------------


def _expanded(weight1, weight2, grid, K):
    fits = block_diagonal(grid, K)
    return fits["weight1"](weight1), fits["weight2"](weight2)


def _expansion_cases(generator):
    """weight1 (DS, S), weight2 (S, DS), grid, K: sizes all different, as many units as tokens, float32, K = 1."""
    for units, grid, factor, dtype in (
        (4, (3, 2), 2, "float64"),
        (4, (2, 2), 2, "float64"),
        (2, (1, 2), 3, "float32"),
        (3, (2, 2), 1, "float64"),
    ):
        tokens = grid[0] * grid[1]
        weight1, weight2 = (generator.normal(size=size).astype(dtype) for size in ((units, tokens), (tokens, units)))
        yield weight1, weight2, grid, factor


def _placed(rows1, filled=lambda one, other: one == other, factor=lambda K: 1.0):
    """Blocks at the tokens of rows1(parts), wherever `filled` for two parts, times factor(K)."""

    def run(weight1, weight2, grid, K):
        parts = rows1(tokens_of_parts(grid, K))
        units = np.arange(len(parts) * len(weight1)).reshape(len(parts), -1)
        large1 = np.zeros((units.size, parts.size), weight1.dtype)
        large2 = np.zeros((parts.size, units.size), weight1.dtype)
        for one in range(len(parts)):
            for other in range(len(parts)):
                if filled(one, other):
                    large1[np.ix_(units[one], parts[other])] = weight1 * weight1.dtype.type(factor(K))
                    large2[np.ix_(parts[other], units[one])] = weight2 * weight1.dtype.type(factor(K))
        return large1, large2

    return run


def _consecutive(parts):
    return np.arange(parts.size).reshape(parts.shape)


def _second_from(first, second):
    """weight1 by one way, weight2 by another."""
    return lambda *inputs: (first(*inputs)[0], second(*inputs)[1])


exercise(
    "17.6",
    "Block-diagonal token mixing",
    "my_block_diagonal",
    reference=_expanded,
    cases=_expansion_cases,
    returns=("weight1", "weight2"),
    mistakes=[
        Mistake(
            "The blocks stand at tokens that follow each other in number, which do not lie in one part of the picture. "
            "Use the parts' tokens.",
            _placed(_consecutive),
        ),
        Mistake(
            "Every part is connected with every other. Each should be mixed alone, with zeros between different parts.",
            _placed(lambda parts: parts, filled=lambda one, other: True),
        ),
        Mistake(
            "The old matrix is repeated everywhere, so that every part is connected with every other. Each should be "
            "mixed alone, with zeros between different parts.",
            _placed(_consecutive, filled=lambda one, other: True),
        ),
        Mistake(
            "The weights were divided by the number of parts. Each part should be mixed exactly as before.",
            _placed(lambda parts: parts, factor=lambda K: 1 / K**2),
        ),
        Mistake(
            "Only the first part has weights. Each of them gets a copy.",
            _placed(lambda parts: parts, filled=lambda one, other: one == other == 0),
        ),
        Mistake(
            "weight1 is right. In weight2 the blocks stand at rows that follow each other in number: its rows are "
            "tokens, so they go by the parts, too.",
            _second_from(_expanded, _placed(_consecutive)),
        ),
        Mistake(
            "weight1 is right, and weight2 is its transpose. Its blocks are copies of the old weight2.",
            lambda weight1, weight2, grid, K: (
                _expanded(weight1, weight2, grid, K)[0],
                np.ascontiguousarray(_expanded(weight1, weight2, grid, K)[0].T),
            ),
        ),
    ],
)

# 17.7 ---------------------------------------------------------------------------------------------------------------

_NAMES = (
    "stem.weight",
    "blocks.0.token_mixing.weight1",
    "pre_head_layer_norm.scale",
    "head.weight",
    "head.bias",
)


def _start(trained, fresh):
    return {name: np.zeros_like(fresh[name]) if name.startswith("head.") else trained[name] for name in fresh}


def _call_start(function, trained, fresh):
    """The names that came back, then the arrays by name, then which of the two dictionaries it has written to."""
    given = {"trained": (trained, dict(trained)), "fresh": (fresh, dict(fresh))}
    made = function(*(copy for _, copy in given.values()))
    written = [
        which
        for which, (before, after) in given.items()
        if list(before) != list(after) or any(before[name] is not after[name] for name in before)
    ]
    return (", ".join(sorted(made)), *(made.get(name, 0.0) for name in _NAMES), " and ".join(written) or "nothing")


def _arrays(generator, classes):
    shapes = ((4, 5), (3, 4), (5,), (5, classes), (classes,))
    return {name: generator.normal(size=shape) for name, shape in zip(_NAMES, shapes, strict=True)}


def _start_cases(generator):
    """Trained arrays and new ones: other numbers of classes; as many classes, which are others."""
    yield _arrays(generator, 6), _arrays(generator, 2)
    yield _arrays(generator, 3), _arrays(generator, 3)


def _written_to(which):
    """A right answer that is made in one of its inputs."""

    def run(trained, fresh):
        made = _start(trained, fresh)
        given = {"trained": trained, "fresh": fresh}[which]
        given.update(made)
        return given

    return run


def _with_head(head):
    return lambda trained, fresh: {
        name: head(trained, fresh, name) if name.startswith("head.") else trained[name] for name in fresh
    }


exercise(
    "17.7",
    "A new head",
    "my_start",
    reference=_start,
    cases=_start_cases,
    returns=("names", *_NAMES, "changed"),
    call=_call_start,
    mistakes=[
        Mistake(
            "Where the number of classes is the same, the old head was kept: its shape fits, but its columns belong to "
            "other classes. The head is new in any case.",
            _with_head(
                lambda trained, fresh, name: (
                    trained[name] if trained[name].shape == fresh[name].shape else np.zeros_like(fresh[name])
                )
            ),
        ),
        Mistake(
            "Where the number of classes is the same, the old head was kept: its shape fits, but its columns belong to "
            "other classes. The head is new in any case.",
            _with_head(
                lambda trained, fresh, name: trained[name] if trained[name].shape == fresh[name].shape else fresh[name]
            ),
        ),
        Mistake(
            "The head is the old one. It has as many columns as there were classes, and belongs to those.",
            _with_head(lambda trained, fresh, name: trained[name]),
        ),
        Mistake(
            "The head has the old number of classes. How many the new one has, `fresh` says.",
            _with_head(lambda trained, fresh, name: np.zeros_like(trained[name])),
        ),
        Mistake(
            "The head is the random one of `fresh`. It should start at zero, so that the first loss is log K.",
            _with_head(lambda trained, fresh, name: fresh[name]),
        ),
        Mistake(
            "The weight of the head is zero, but its bias is not: both belong to the head.",
            _with_head(
                lambda trained, fresh, name: np.zeros_like(fresh[name]) if name == "head.weight" else fresh[name]
            ),
        ),
        Mistake(
            "The weight of the head is zero, but its bias is still the old one: both belong to the head.",
            _with_head(
                lambda trained, fresh, name: np.zeros_like(fresh[name]) if name == "head.weight" else trained[name]
            ),
        ),
        Mistake(
            "The scale of `pre_head_layer_norm` is not the trained one. That LayerNorm stands before the head and "
            "belongs to the body: look at how the names begin.",
            lambda trained, fresh: {
                name: np.zeros_like(fresh[name]) if "head" in name else trained[name] for name in fresh
            },
        ),
        Mistake(
            "`pre_head_layer_norm` is missing in what came back. That LayerNorm stands before the head and belongs to "
            "the body: look at how the names begin.",
            lambda trained, fresh: {
                name: array for name, array in _start(trained, fresh).items() if not name.startswith("pre_head")
            },
        ),
        Mistake(
            "The arrays are right, but they were written into `trained`, and whoever passed it still needs the old "
            "head: begin with a dictionary of your own.",
            _written_to("trained"),
        ),
        Mistake(
            "The arrays are right, but they were written into `fresh`, which belongs to the caller: begin with a "
            "dictionary of your own.",
            _written_to("fresh"),
        ),
        Mistake(
            "Nothing of what was trained is left: this starts from scratch.",
            lambda trained, fresh: {
                name: np.zeros_like(fresh[name]) if name.startswith("head.") else fresh[name] for name in fresh
            },
        ),
        Mistake(
            "Everything is zero. Only the head should be.",
            lambda trained, fresh: {name: np.zeros_like(fresh[name]) for name in fresh},
        ),
        Mistake(
            "The head is missing in what came back. The new model needs all of its arrays.",
            lambda trained, fresh: {name: trained[name] for name in fresh if not name.startswith("head.")},
        ),
        Mistake(
            "The head is filled with ones. It should start at zero.",
            _with_head(lambda trained, fresh, name: np.ones_like(fresh[name])),
        ),
    ],
)
