"""Finds the hint for a wrong answer.

Detectors know nothing of the exercise. Each undoes the one mistake that it suspects and looks whether the answer is
then right, in every case; if not, it is silent. The order:

1. `returned.py`, `raised.py`: the form of what came back, and errors that leave no doubt;
2. the exercise's own known mistakes (`known.py`), which say more than a detector could, where they are met exactly;
3. `repairs.py`: one change to the learner's own code that makes it right; then the known mistakes that are met, but by
   so little (True or False) that another mistake may look the same;
4. `relations.py`: how the wrong numbers are related to the right ones;
5. `raised.py` again: any other error in plain words, with the expression and the values that met in it.

Where none of them speaks, `grading.py` has a general sentence.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from tinymixer.lessons.hints import raised, relations, repairs, returned
from tinymixer.lessons.hints.known import known_mistake
from tinymixer.lessons.hints.seen import Seen


def find_hint(seen: Seen, seed: int) -> str:
    """The hint that names the mistake in a wrong answer, or "". seed: of the cases."""
    for detector in _in_order(seed):
        with (
            contextlib.suppress(Exception),
            np.errstate(all="ignore"),
        ):  # what came back may be of a class whose methods fail
            if hint := detector(seen):
                return hint
    return ""


def _in_order(seed: int) -> Iterator[Callable[[Seen], str]]:
    yield from returned.DETECTORS
    for sure in raised.SURE:
        yield _where_it_failed(sure)
    yield lambda seen: raised.meaning(seen, seen.error) if isinstance(seen.error, TypeError) else ""
    yield from relations.FORM
    yield lambda seen: known_mistake(seen, seed, surely=True)
    yield from returned.LATER
    yield repairs.repaired
    yield lambda seen: known_mistake(seen, seed, surely=False)
    yield from relations.DETECTORS
    for explained in raised.EXPLAINED:
        yield _where_it_failed(explained)


def _where_it_failed(detector: Callable[[Seen, BaseException], str]) -> Callable[[Seen], str]:
    """A detector of errors as one of answers."""

    def detect(seen: Seen) -> str:
        return detector(seen, seen.error) if seen.error is not None else ""

    return detect


__all__ = ["Seen", "find_hint"]
