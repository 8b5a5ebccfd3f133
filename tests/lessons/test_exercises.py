"""Every exercise: its reference and its solution pass, and each known mistake is refused with its own hint."""

from pathlib import Path

import numpy as np
import pytest

from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import all_exercises, as_tuple, find_exercise
from tinymixer.lessons.grading import examine
from tinymixer.lessons.progress import grade_folder

SOURCES = Path(__file__).parents[2] / "lessons" / "source"
EXERCISES = [pytest.param(exercise, id=exercise.task) for exercise in all_exercises()]


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
