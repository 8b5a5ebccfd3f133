"""Lesson 01b: unusual right answers pass, its engine is right, and what a learner's older folder knows stays true."""

import math

import numpy as np
import pytest

from tests.lessons.notebooks import write_notebook
from tinymixer.gradcheck import check_operation
from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import all_exercises, find_exercise
from tinymixer.lessons.grading import examine
from tinymixer.lessons.progress import notebook_of
from tinymixer.lessons.tape import Tape


def central_differences(f, a, b, h):
    return (f(a + h, b) - f(a - h, b)) / (2 * h), (f(a, b + h) - f(a, b - h)) / (2 * h)


def with_einsum(a, b):
    return np.einsum("ij,ij->", a, b), np.einsum("ij,ij->j", a, b)


def multiplied_out(x, w, b, t):
    """L = s^4 - 2 t s^2 + t^2, whose slope in s is 4 s^3 - 4 t s."""
    s = w * x + b
    return np.float64((4 * s**3 - 4 * t * s) * x), 4 * s**3 - 4 * t * s


def with_cosh(x, w):
    return np.array(1 + w / np.cosh(w * x) ** 2)


class OneWayForASquare:
    """Its own values and ways, one way where both factors are the same, factors in the other order, and no Tape."""

    def __init__(self):
        self.values, self.ways = [], []

    def write(self, value, *ways):
        self.values += [value]
        self.ways += [list(ways)]
        return np.int64(len(self.values) - 1)

    def add(self, a, b):
        return self.write(self.values[a] + self.values[b], (a, 1), (b, 1))

    def multiply(self, a, b):
        x, y = self.values[a], self.values[b]
        return self.write(x * y, (a, 2 * x)) if a == b else self.write(x * y, (b, x), (a, y))

    def tanh(self, a):
        x = self.values[a]
        return self.write(1 - 2 / (math.exp(2 * x) + 1), (a, math.cosh(x) ** -2))


def every_path_by_recursion(tape, last):
    """The sum over all ways, without the trick of going back once: slow, and right."""

    def slope(place, target):
        own = 1.0 if place == target else 0.0
        return own + sum(local * slope(part, target) for part, local in tape.ways[place])

    return tuple(slope(last, place) for place in range(len(tape.values)))


def without_loops(dy, x, weight):
    return (dy * weight).sum(-1), np.multiply.outer(x, dy), dy


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("1b.1", central_differences),
        ("1b.2", with_einsum),
        ("1b.3", multiplied_out),
        ("1b.4", with_cosh),
        ("1b.5", OneWayForASquare),
        ("1b.6", every_path_by_recursion),
        ("1b.7", without_loops),
    ],
)
def test_an_unusual_right_answer_passes(number, answer):
    verdict = examine(number, answer)
    assert verdict.passed, str(verdict)


def test_the_answers_given_in_the_text_are_right():
    found = {}
    for number in ("1b.3", "1b.7"):
        exercise = find_exercise(number)
        found[number] = exercise.reference(*next(iter(exercise.cases(np.random.default_rng(0)))))
    assert found["1b.3"] == (-192, -64)
    dx, dweight, _ = found["1b.7"]
    assert dx.tolist() == [7, -4]
    assert dweight[1, 2] == 15


def _ten_scalars(x, w, b, m):
    """The loss of the lesson's ten numbers and, by hand, its slopes with respect to the four that are put in."""
    s = w * x + b
    e = s * s + x + m
    return e * e, np.array([2 * e * (2 * s * w + 1), 2 * e * 2 * s * x, 2 * e * 2 * s, 2 * e])


def test_the_tape_finds_the_slopes_of_the_ten_scalars():
    def forward(numbers):
        tape = Tape()
        x, w, b, m = (tape.write(float(number)) for number in numbers)
        s = tape.add(tape.multiply(w, x), b)
        e = tape.add(tape.add(tape.multiply(s, s), x), m)
        loss = tape.multiply(e, e)
        return np.array([tape.values[tape.tanh(tape.multiply(tape.write(0.02), loss))]], numbers.dtype), tape

    def backward(dy, tape):
        return dy * np.array(tape.backward(len(tape.values) - 1)[:4], dy.dtype)

    given = np.array([3.0, -2.0, 10.0, -20.0])
    assert _ten_scalars(*given)[1].tolist() == [30, -48, -16, -2]
    check_operation(forward, backward, given, name="tape").raise_if_failed()
    y, tape = forward(given)
    expected = 0.02 * (1 - y**2) * _ten_scalars(*given)[1]
    np.testing.assert_allclose(backward(np.ones(1), tape), expected, rtol=1e-14)


def test_the_course_is_in_order_and_old_numbers_mean_what_they_meant():
    numbers = [lesson.number for lesson in LESSONS]
    assert numbers == sorted(numbers)
    assert numbers[:4] == ["00", "01", "01b", "02"]
    order = list(dict.fromkeys(exercise.lesson for exercise in all_exercises()))
    assert order == numbers
    assert find_exercise(2.3) is find_exercise("2.3")
    assert find_exercise("1b.3").task == "task_1b_3"


def test_a_folder_from_before_finds_its_lessons_by_the_line_that_it_has(tmp_path):
    """test_tasks.py in a learner's folder was written once and says LESSONS[exercise.lesson]."""
    right = "def my_bias_gradient(dy):\n    return dy.sum(axis=0)\n"
    path = write_notebook(tmp_path / "02_linear.ipynb", right)
    here = [exercise.number for exercise in all_exercises() if notebook_of(LESSONS[exercise.lesson], tmp_path)]
    assert here == ["2.1", "2.2", "2.3", "2.4"]
    assert notebook_of(LESSONS[find_exercise("2.2").lesson], tmp_path) == path
