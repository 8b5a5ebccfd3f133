"""Every exercise: its reference and its solution pass, and plausible wrong answers get the hint written for them."""

import importlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import all_exercises, as_tuple, find_exercise
from tinymixer.lessons.grading import examine
from tinymixer.lessons.progress import grade_folder

SOURCES = Path(__file__).parents[2] / "lessons" / "source"
EXERCISES = [pytest.param(exercise, id=exercise.task) for exercise in all_exercises()]


def _wrong_answers():
    for path in sorted((Path(__file__).parent / "wrong_answers").glob("lesson_*.py")):
        module = importlib.import_module(f"tests.lessons.wrong_answers.{path.stem}")
        for number, answers in module.WRONG_ANSWERS.items():
            for answer, words in answers:
                name = "_and_".join(function.__name__ for function in as_tuple(answer))
                yield pytest.param(number, answer, words, id=f"{number}-{name}")


WRONG_ANSWERS = list(_wrong_answers())


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_reference_passes_whatever_the_random_numbers(exercise):
    for seed in range(3):
        verdict = examine(exercise.number, *as_tuple(exercise.reference), seed=seed)
        assert verdict.passed, str(verdict)


@pytest.fixture(scope="module")
def solutions():
    return {verdict.number: verdict for state in grade_folder(SOURCES) for verdict in state.verdicts}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_solution_of_the_lesson_passes(exercise, solutions):
    assert solutions[exercise.number].passed, str(solutions[exercise.number])


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_mistake_is_one_and_gets_its_own_hint(exercise):
    for mistake in exercise.mistakes:
        verdict = examine(exercise.number, *as_tuple(mistake.wrong))
        assert verdict.state == "wrong", f"this mistake passes: {mistake.hint}"
        assert verdict.hint == mistake.hint, f"another mistake's hint comes first:\n{verdict}\nnot: {mistake.hint}"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("number", "answer", "words"), WRONG_ANSWERS)
def test_a_wrong_answer_gets_the_hint_written_for_it(number, answer, words, seed):
    verdict = examine(number, *as_tuple(answer), seed=seed)
    assert verdict.state == "wrong"
    assert verdict.known, str(verdict)
    assert words in verdict.hint, str(verdict)


def test_every_exercise_has_two_wrong_answers_here():
    counted = Counter(case.values[0] for case in WRONG_ANSWERS)
    too_few = [exercise.number for exercise in all_exercises() if counted[exercise.number] < 2]
    assert not too_few, f"fewer than two wrong answers to {', '.join(too_few)}"


def test_exercises_are_numbered_without_gaps():
    for lesson in {exercise.lesson for exercise in all_exercises()}:
        numbers = [exercise.number for exercise in all_exercises() if exercise.lesson == lesson]
        assert numbers == [f"{lesson.removeprefix('0')}.{index + 1}" for index in range(len(numbers))]
        assert LESSONS[lesson].number == lesson
        assert len(numbers) < 10  # so that -k task_1_1 finds one exercise only


@pytest.mark.parametrize("exercise", EXERCISES)
def test_what_is_no_answer_gets_a_sentence(exercise):
    for nonsense in (lambda *_: None, lambda *_: "text", lambda *_: np.array([["a"]]), lambda *_: [[1], [2, 3]]):
        verdict = examine(exercise.number, *[nonsense] * len(exercise.functions))
        assert verdict.state == "wrong"
        assert str(verdict)


def test_the_course_has_forty_exercises():
    assert len(all_exercises()) >= 40


def test_find_exercise_knows_them_all():
    assert all(find_exercise(exercise.number) is exercise for exercise in all_exercises())
