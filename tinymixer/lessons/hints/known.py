"""The exercises' own lists of known mistakes: an answer with the same results as one of them gets its hint."""

from functools import lru_cache

import numpy as np

from tinymixer.lessons.comparing import same
from tinymixer.lessons.exercise import Exercise, as_tuple, find_exercise
from tinymixer.lessons.hints.raised import about_shapes
from tinymixer.lessons.hints.seen import Seen
from tinymixer.lessons.running import Outcome, message_of, run


def known_mistake(seen: Seen, seed: int, surely: bool) -> str:
    """The hint of the first known mistake that gives the same results; "" where none does.

    surely   only where the results say enough to tell this mistake from others
    """
    if surely and _says_little(seen):
        return ""
    for hint, theirs in _results_of_mistakes(seen.exercise.number, seed):
        pairs = list(zip(seen.expected, theirs, seen.outcomes, strict=False))
        if all(_alike(seen.exercise, seen.output, *pair) for pair in pairs) and _is_evidence(seen, theirs):
            return hint
    return ""


@lru_cache(maxsize=256)
def _results_of_mistakes(number: str, seed: int) -> tuple[tuple[str, tuple[Outcome, ...]], ...]:
    """What each known mistake of an exercise does with the cases of a seed, computed once."""
    exercise = find_exercise(number)
    cases = list(exercise.cases(np.random.default_rng(seed)))
    return tuple(
        (mistake.hint, tuple(_without_frames(run(exercise, as_tuple(mistake.wrong), case)) for case in cases))
        for mistake in exercise.mistakes
    )


def _without_frames(outcome: Outcome) -> Outcome:
    """The outcome, without the frames of its error, which would keep all their variables alive."""
    if outcome.error is not None:
        outcome.error.__traceback__ = None
    return outcome


def _says_little(seen: Seen) -> bool:
    """Whether the wrong output is True or False, or 0 everywhere, which many mistakes have in common.

    An exercise that asks for nothing but verdicts has known mistakes made for it: those are taken first.
    """
    outputs = [value for right in seen.expected if right.outputs is not None for value in right.outputs.values()]
    if all(isinstance(value, bool) for value in outputs):
        return False
    wrong = [got for expected, got in seen.pairs if not seen.agree(expected, got)]
    return bool(wrong) and all(isinstance(got, bool | np.bool_) or _is_zero(got) for got in wrong)


def _is_evidence(seen: Seen, theirs: tuple[Outcome, ...]) -> bool:
    """Whether being alike says something: a wrong value that both have, or an error with the very same words.

    Two answers that both stop because shapes do not fit need not have made the same mistake.
    """
    for right, one, other in zip(seen.expected, theirs, seen.outcomes, strict=False):
        if other.error is not None and one.error is not None:
            if message_of(one.error) == message_of(other.error):
                return True
        elif other.outputs is None:
            return True
        elif seen.output is not None and right.outputs is not None:
            expected, got = right.outputs[seen.output], other.outputs[seen.output]
            if not seen.agree(expected, got):
                return True
    return False


def _is_zero(got: object) -> bool:
    try:
        array = np.asarray(got)
        return array.dtype.kind in "fiuc" and not np.any(array)
    except (TypeError, ValueError):
        return False


def _differ_later(exercise: Exercise, output: str, right: Outcome, one: Outcome, other: Outcome) -> bool:
    """Whether a later output is wrong in the known mistake and right in the answer, so that the cause is another."""
    if one.outputs is None or other.outputs is None or right.outputs is None:
        return False
    for name in exercise.compared[exercise.compared.index(output) + 1 :]:
        theirs, expected = one.outputs[name], right.outputs[name]
        theirs_wrong = not isinstance(theirs, bool | None) and not same(expected, theirs, exercise.tolerance)
        if theirs_wrong and same(expected, other.outputs[name], exercise.tolerance):
            return True
    return False


def _alike(exercise: Exercise, output: str | None, right: Outcome, one: Outcome, other: Outcome) -> bool:
    """Whether two answers give the same result for one case, up to the output that is wrong."""
    if one.error is not None or other.error is not None:
        return _gist(one.error) == _gist(other.error)
    if one.outputs is None or other.outputs is None:
        return one.outputs is other.outputs and one.shape_of_answer == other.shape_of_answer
    if output and len(exercise.functions) == 1 and _differ_later(exercise, output, right, one, other):
        return False
    compared = exercise.compared[: exercise.compared.index(output) + 1] if output else exercise.compared
    return all(
        same(one.outputs[name], other.outputs[name], exercise.tolerance)
        and _is_zero(one.outputs[name]) == _is_zero(other.outputs[name])
        for name in compared
    )


def _gist(error: BaseException | None) -> str:
    """What an error is about. NumPy and the package word errors about shapes differently, so those count as one."""
    return "shapes" if about_shapes(error) else "" if error is None else message_of(error)
