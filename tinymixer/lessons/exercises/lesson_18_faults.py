"""Exercises of lesson 18: predicting, searching for faults, saving."""

import json
import math
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.lessons.running import describe

# --- 18.4 ---

DIVERGES, NEVER, LESS, HIDES = "diverges", "never learns", "learns less", "hides"
OUTCOMES = {
    "1/B forgotten in the loss gradient": DIVERGES,
    "sign of dx flipped in Linear": NEVER,
    "third term of LayerNorm's dx missing": LESS,
    "GELU's slope taken at -x": LESS,
    "GELU's slope of the other form": HIDES,
    "dbias of Linear always zero": HIDES,
}
REASONS = (
    "B is 32, so every gradient is 32 times too long. What did lesson 10 say about a step that is longer than twice "
    "the inverse of the curvature?",
    "The head's own gradient is right, and each Linear that the gradient passes turns its sign. Which layers walk "
    "uphill then? Can the head alone read digits while these work against it?",
    "The term is a part of dx along x_hat. What is left still points downhill, but not straight. Does that "
    "throw the training off, stop it, slow it down, or do nothing?",
    "For a large positive x the slope is 1, and at -x it is near 0: hidden numbers that matter pass nothing back, "
    "and those that don't pass everything. The weights after GELU still learn.",
    "The tanh form and the erf form differ in the third or fourth digit (lesson 04), and so do their slopes. How much "
    "noisier than that is a gradient of 32 images?",
    "The biases of these Linears stay at zero then. How many of the parameters are they, and can the weights and "
    "LayerNorm's own bias do their work?",
)


def _one_wrong(index):
    """All predictions right but one."""
    names = list(OUTCOMES)
    wrong = HIDES if OUTCOMES[names[index]] != HIDES else NEVER
    return lambda: OUTCOMES | {names[index]: wrong}


def _run_predictions(function):
    predicted = function()
    if not isinstance(predicted, dict):
        raise TypeError(f"expected a dict with a word for each fault, got {describe(predicted)}")
    for name in OUTCOMES:
        if name not in predicted:
            raise ValueError(f"there is no prediction for {name}")
        if predicted[name] not in (DIVERGES, NEVER, LESS, HIDES):
            raise ValueError(f"{predicted[name]!r} is not one of the words {DIVERGES}, {NEVER}, {LESS}, {HIDES}")
    return tuple(predicted[name] == right for name, right in OUTCOMES.items())


exercise(
    "18.4",
    "Predict the curve",
    "my_predictions",
    reference=lambda: dict(OUTCOMES),
    cases=lambda generator: [()],
    returns=tuple(OUTCOMES),
    call=_run_predictions,
    mistakes=[Mistake(reason, _one_wrong(index)) for index, reason in enumerate(REASONS)],
)


# --- 18.5 ---

SPARE_QUESTIONS = 4  # beyond one for each name; an answer that asks more than that is stopped


def _suspects(generator):
    """Names, and which one is at fault: thirteen, eight, five, two, one."""
    for count in (13, 8, 5, 2, 1):
        names = tuple(f"function_{index}" for index in range(count))
        yield names, names[int(generator.integers(count))]
        yield names, names[-1]
        yield names, names[0]


def _run_bisection(function, names, faulty):
    asked: list[list[str]] = []

    def agrees(yours):
        if isinstance(yours, str):
            raise TypeError("agrees takes a list of names, and was given one text")
        if len(yours) > len(names):  # also stops an answer whose list grows
            raise ValueError(f"agrees was asked about {len(yours)} names, and there are {len(names)}")
        yours = list(yours)
        if unknown := [one for one in yours if one not in names]:
            raise ValueError(f"agrees was asked about {unknown[0]!r}, which is not one of the names")
        if len(asked) == len(names) + SPARE_QUESTIONS:
            raise RuntimeError(f"more questions were asked than there are names: {len(asked)}")
        asked.append(yours)
        return faulty not in yours

    found = function(names, agrees)
    return found, len(asked) <= math.ceil(math.log2(len(names)))


def _halving(names, agrees, turned=False):
    suspects = list(names)
    while len(suspects) > 1:
        half, rest = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
        suspects = rest if agrees(half) != turned else half
    return suspects[0]


def _second_half_asked(names, agrees):
    """Asks about the second half, and keeps it if it agrees."""
    while len(names) > 1:
        half, rest = names[: len(names) // 2], names[len(names) // 2 :]
        names = rest if agrees(rest) else half
    return names[0]


def _one_by_one(names, agrees):
    return next(name for name in names if not agrees([name]))


def _asks_about_both(names, agrees):
    while len(names) > 1:
        half, rest = names[: len(names) // 2], names[len(names) // 2 :]
        if not agrees(half):
            names = half
        elif not agrees(rest):
            names = rest
    return names[0]


def _never_shrinks(names, agrees):
    low, high = 0, len(names)
    while high - low > 1:
        middle = (low + high) // 2
        agrees(names[low:middle])
    return names[low]


exercise(
    "18.5",
    "Find the faulty function by halves",
    "my_bisection",
    reference=lambda names, faulty: _halving(names, faulty),  # `call` makes the questions
    cases=_suspects,
    returns=("the faulty function", "few enough questions"),
    call=_run_bisection,
    mistakes=[
        Mistake(
            "The wrong half is kept. If the training agrees, none of those that were yours is at fault: it is among "
            "the others.",
            lambda names, agrees: _halving(names, agrees, turned=True),
        ),
        Mistake(
            "The wrong half is kept. If the training agrees, none of those that were yours is at fault: it is among "
            "the others.",
            lambda names, agrees: _second_half_asked(names, agrees),
        ),
        Mistake(
            "This is the number of the faulty function in the list. Its name is asked for.",
            lambda names, agrees: names.index(_halving(names, agrees)),
        ),
        Mistake(
            "The suspects never become fewer, so it never stops asking. What does each answer rule out?", _never_shrinks
        ),
        Mistake(
            "The right function, with too many questions: one for each function. Ask about half of those that are "
            "left.",
            _one_by_one,
        ),
        Mistake(
            "The right function, with too many questions: both halves are asked about. Once one half agrees, what is "
            "known of the other?",
            _asks_about_both,
        ),
    ],
)


# --- 18.6 ---


def _networks(generator):
    """Weights by name, as a Mixer has them."""
    for width in (3, 5):
        yield (
            {
                "stem.weight": generator.normal(size=(4, width)).astype(np.float32),
                "blocks.0.channel_mixing.bias1": generator.normal(size=2 * width).astype(np.float32),
                "head.weight": generator.normal(size=(width, 10)).astype(np.float32),
            },
        )


def _run_saving(save, load, weights):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, moved = Path(folder) / "mixer.npz", Path(folder) / "sent_to_a_friend.npz"
        save(str(path), weights)
        if not path.is_file():
            there = ", ".join(sorted(one.name for one in Path(folder).iterdir())) or "nothing"
            raise FileNotFoundError(f"my_save wrote no file at its path, .../mixer.npz; in that folder is {there}")
        path.rename(moved)
        opened, numpy_load = [], np.load

        def noting(*arguments, **options):
            opened.append(numpy_load(*arguments, **options))
            return opened[-1]

        with patch.object(np, "load", noting):
            loaded = load(str(moved))
        if not hasattr(loaded, "items"):
            raise TypeError(f"expected a dict of arrays from my_load, got {describe(loaded)}")
        found = isinstance(loaded, dict), sorted(loaded), dict(loaded.items())
        still_open = [reader for reader in opened if getattr(reader, "zip", None) and not reader.zip.fp.closed]
        for reader in still_open:
            reader.close()
        return *found, not still_open


def _save(path, weights):
    np.savez(path, **weights)


def _load(path):
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _read_too_late(path):
    with np.load(path) as stored:
        names = stored.files
    return {name: stored[name] for name in names}


def _save_as_text(path, weights):
    Path(path).write_text(json.dumps({name: array.tolist() for name, array in weights.items()}))


exercise(
    "18.6",
    "Save a network and load it",
    ("my_save", "my_load"),
    reference=(_save, _load),
    cases=_networks,
    returns=("a dict", "names", "weights", "the file closed"),
    call=_run_saving,
    mistakes=[
        Mistake(
            "np.load gives a reader, which keeps the file open and reads an array each time it is asked. Take all "
            "arrays out of it into a dict, and close it.",
            (_save, np.load),
        ),
        Mistake(
            "The file is closed where the with block ends, and an array is read only when it is asked for. Read the "
            "arrays inside the block.",
            (_save, lambda path: _read_too_late(path)),
        ),
        Mistake(
            "The arrays have lost their names: without names np.savez calls them arr_0 and so on. How does one hand "
            "over a dict as named arguments?",
            (lambda path, weights: np.savez(path, *weights.values()), _load),
        ),
        Mistake(
            "The names came back changed. In the file any text may be a name, one with dots too.",
            (
                lambda path, weights: np.savez(path, **{name.replace(".", "_"): one for name, one in weights.items()}),
                _load,
            ),
        ),
        Mistake(
            "Loading has lost the names and counts the arrays instead. What does `reader.files` hold?",
            (_save, lambda path: dict(enumerate(_load(path).values()))),
        ),
        Mistake(
            "The arrays came back flat. NumPy's format keeps an array's shape if it is saved as it is.",
            (lambda path, weights: np.savez(path, **{name: one.ravel() for name, one in weights.items()}), _load),
        ),
        Mistake(
            "The whole dict is one object in the file, which NumPy can only pickle. Hand over each array "
            "under its name.",
            (lambda path, weights: np.savez(path, weights), _load),
        ),
        Mistake(
            "np.save is for one array, and adds .npy to the name. For several there is np.savez.",
            (lambda path, weights: np.save(path, weights), _load),
        ),
        Mistake(
            "Lists came back where arrays went in, so that shapes and dtype are lost. NumPy's own format keeps both.",
            (_save_as_text, lambda path: json.loads(Path(path).read_text())),
        ),
        Mistake(
            "The numbers were rounded to float16 on their way: the file must hold them as they are.",
            (
                lambda path, weights: np.savez(path, **{name: one.astype(np.float16) for name, one in weights.items()}),
                lambda path: {name: one.astype(np.float32) for name, one in _load(path).items()},
            ),
        ),
        Mistake(
            "All is read, but the reader is left open, and with it the file. A `with` block closes it at its end.",
            (_save, lambda path: dict(np.load(path))),
        ),
        Mistake(
            "The arrays came back as float64: load them as they were stored.",
            (_save, lambda path: {name: one.astype(np.float64) for name, one in _load(path).items()}),
        ),
    ],
)
