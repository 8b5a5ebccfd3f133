"""What a learner is told: passed, not yet, or the first wrong element with a hint."""

import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinymixer import ops
from tinymixer.errors import ConfigError
from tinymixer.lessons import NotYet, check, examine
from tinymixer.lessons.comparing import first_difference
from tinymixer.lessons.exercise import find_exercise
from tinymixer.lessons.notebook import notebook_remarks


def right_backward(dy, cache):
    x, weight = cache
    return dy @ weight.T, x.T @ dy, dy.sum(axis=0)


def test_a_right_answer_passes_and_says_what_was_compared(capsys):
    check("2.3", right_backward)
    assert capsys.readouterr().out == (
        "✔ 2.3 Linear backward: right. dx, dweight and dbias are as expected on 3 inputs.\n"
    )


def test_verdicts_agree_in_number():
    assert examine("10.1", lambda w, g, rate: w - rate * g).sentence == "right. weights are as expected on 4 inputs."
    assert examine("10.1", lambda w, g, rate: w + g).sentence == "weights are not right."
    assert examine("2.2", lambda dy: -dy.sum(axis=0)).sentence == "dbias is not right."


def test_a_verdict_on_conditions_lists_them():
    def unshuffled(count, size, generator):
        return [range(i * size, (i + 1) * size) for i in range(count // size)]

    said = examine("10.4", unshuffled).sentence
    assert said == "not as it should be: new batches in every epoch. Right so far: the batches' sizes; no image twice."

    def shuffled(count, size, generator):
        order = generator.permutation(count)
        return [order[i * size : (i + 1) * size] for i in range(count // size)]

    assert examine("10.4", shuffled).sentence.startswith("right on 3 inputs: the batches' sizes; no image twice; new")


def test_an_unwritten_answer_is_told_so_in_one_line(capsys):
    def unwritten(dy, cache):
        raise NotYet

    check("2.3", unwritten)
    said = capsys.readouterr().out
    assert said.startswith("· 2.3 Linear backward: not yet.")
    assert said.count("\n") == 1


def test_dots_in_place_of_a_body_are_not_yet_either():
    assert examine("2.3", lambda dy, cache: ...).state == "not yet"


def test_the_sentence_of_an_unwritten_function_takes_the_place_of_a_traceback():
    assert NotYet()._render_traceback_() == [str(NotYet())]
    assert "still to be written" in str(NotYet())


def test_the_first_wrong_element_is_shown_with_expected_and_got():
    def one_wrong(dy, cache):
        dx, dweight, dbias = right_backward(dy, cache)
        dweight[1, 0] += 1
        return dx, dweight, dbias

    verdict = examine("2.3", lambda dy, cache: one_wrong(dy, cache))  # a lambda, whose source no hint can look into
    assert verdict.sentence == "dx is right, dweight is not."
    assert verdict.details["at"] == "dweight[1, 0]"
    assert float(verdict.details["got"]) == pytest.approx(float(verdict.details["expected"]) + 1, abs=1e-4)
    assert "1 of 6 elements" in verdict.hint
    assert not verdict.known


def test_a_mistake_in_one_output_is_known_whatever_the_others_are():
    def two_mistakes(dy, cache):
        x, weight = cache
        return dy @ weight.T, x.T @ dy / 17, dy.mean(axis=0) * 3

    verdict = examine("2.3", two_mistakes)
    assert verdict.known
    assert "the 17 does not belong there" in verdict.hint

    def bias_as_a_mean_and_a_strange_last(dy, cache):
        x, weight = cache
        return dy @ weight.T, x.T @ dy / len(dy), dy.sum() * 3

    verdict = examine("2.3", bias_as_a_mean_and_a_strange_last)
    assert verdict.known
    assert "average over the batch" in verdict.hint


def test_an_error_in_the_answer_is_shown_with_its_line():
    def failing(dy, cache):
        return dy @ undefined_name  # noqa: F821

    verdict = examine("2.3", failing)
    assert "NameError" in verdict.sentence
    assert "dy @ undefined_name" in verdict.details["line"]


def test_shapes_that_do_not_fit_are_one_mistake_whoever_says_so():
    def with_the_package(x, weight, bias):
        return ops.linear_forward(x, weight.T, bias)[0]

    def with_numpy(x, weight, bias):
        return np.dot(x, weight.T) + bias

    for answer in (with_the_package, with_numpy):
        assert "The weight is transposed" in examine("2.1", answer).hint


def test_writing_into_an_input_is_refused_with_the_reason():
    def spoiling(dy, cache):
        dy *= 2
        return right_backward(dy / 2, cache)

    assert "`dy *= 2` writes into dy, an array that belongs to the caller" in examine("2.3", spoiling).hint


def test_too_few_values_are_told_by_name():
    verdict = examine("2.3", lambda dy, cache: (dy, dy))
    assert verdict.details["expected"] == "3 values: dx, dweight, dbias"
    assert "dx, dweight, dbias" in verdict.hint


def test_a_value_in_place_of_a_function_is_explained():
    verdict = examine("2.3", np.zeros(3))
    assert verdict.state == "wrong"
    assert verdict.details["expected"] == 'check("2.3", my_linear_backward)'


@pytest.mark.parametrize("number", ["2.99", "99.1", "two", 2.3, ""])
def test_an_unknown_exercise_is_a_sentence(number):
    if str(number) == "2.3":
        assert examine(number, right_backward).passed  # a number in place of a text is understood
    else:
        with pytest.raises(ConfigError, match="There is no exercise"):
            examine(number, right_backward)


def test_what_an_answer_prints_is_shown_below_the_verdict_once(capsys):
    def talkative(dy, cache):
        print("dy", dy.shape, "\nhello")
        return right_backward(dy, cache)

    check("2.3", talkative)
    assert capsys.readouterr().out == (
        "\u2714 2.3 Linear backward: right. dx, dweight and dbias are as expected on 3 inputs.\n"
        "    printed   dy (4, 2) \n"
        "              hello\n"
    )


def test_what_an_unwritten_and_a_failing_answer_print_is_shown_too():
    def unwritten(dy, cache):
        print("so far")
        raise NotYet

    def failing(dy, cache):
        print("so far")
        return dy.nothing

    assert examine("2.3", unwritten).printed == "so far"
    assert examine("2.3", failing).printed == "so far"


@pytest.mark.parametrize("text", ["line\n" * 1000, "x" * 100_000, "\x1b[2J\x00\ud800" * 100])
def test_what_is_printed_is_cut_to_size(text):
    verdict = examine("2.2", lambda dy: print(text) or dy.sum(axis=0))
    assert verdict.passed
    assert 10 < len(verdict.printed) < 2000
    assert len(verdict.printed.splitlines()) < 20
    assert verdict.printed.encode()  # nothing that a terminal or a file could not take
    assert "\x1b" not in verdict.printed


def test_printing_without_end_is_ended():
    def endless(dy):
        while True:
            try:
                print("x" * 1000)
            except Exception:
                return dy.sum(axis=0)

    verdict = examine("2.2", endless)
    assert verdict.state == "wrong"
    assert "characters were printed" in verdict.sentence


class Unbearable:
    """Breaks whatever looks at it."""

    def __init__(self, error):
        self.error = error

    def _raise(self, *_, **__):
        raise self.error("on purpose")

    __repr__ = __str__ = __array__ = __len__ = __eq__ = __float__ = __call__ = _raise
    __hash__ = None


ERRORS = [
    SystemExit,
    RuntimeError,
    NotImplementedError,
    UnicodeError,
    MemoryError,
    RecursionError,
    GeneratorExit,
    StopIteration,
    BaseException,
    EOFError,
    OSError,
    type("Mine", (Exception,), {"__str__": lambda self: 1 / 0}),
]


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_an_answer_raises_or_returns_is_a_verdict(error, capsys):
    def raising(dy):
        raise error

    for answer in (raising, lambda dy: Unbearable(error), lambda dy: [Unbearable(error)], Unbearable(error)):
        check("2.2", answer)
        assert "2.2" in capsys.readouterr().out
        assert examine("2.2", answer).state == "wrong"


def test_interrupting_is_the_users():
    def interrupted(dy):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("2.2", interrupted)


def test_in_a_notebook_exit_ends_the_answer_and_not_the_kernel():
    class Exit:  # IPython's ends the kernel and raises nothing
        _ip = object()

        def __call__(self):
            raise AssertionError("the kernel ends")

    names = {"exit": Exit()}
    exec("def my_bias_gradient(dy):\n    exit()", names)
    assert "SystemExit" in examine("2.2", names["my_bias_gradient"]).sentence
    assert isinstance(names["exit"], Exit)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "utf-8"])
def test_a_console_without_unicode_gets_the_verdict_too(encoding, monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding=encoding))
    for answer in (right_backward, lambda dy, cache: print("\u03c3 \u2714"), lambda dy, cache: ...):
        check("2.3", answer)
    sys.stdout.flush()
    assert content.getvalue().decode(encoding).count("2.3 Linear backward") == 3


class TestRemarks:
    """What check says at once, since status will not find it."""

    def remarks(self, *cells, answer=None, **more):
        names = {"get_ipython": lambda: None, "In": ["", *cells], **more}
        for cell in cells:
            if "get_ipython" not in cell:
                exec(cell, names)
        return notebook_remarks(find_exercise("2.2"), (answer or names["my_bias_gradient"],), names)

    def test_nothing_where_all_is_well(self):
        cell = "import numpy as np\neps = 0\ndef my_bias_gradient(dy): return np.sum(dy, axis=len([])) + eps"
        assert self.remarks(cell) == []
        assert notebook_remarks(find_exercise("2.2"), (print,), {}) == []  # no notebook

    def test_a_function_of_another_name(self):
        (remark,) = self.remarks("def my_bias_gradient(dy): ...", answer=lambda dy: dy.sum(axis=0))
        assert "looks for a function named my_bias_gradient" in remark

    def test_a_name_that_no_cell_defines(self):
        (remark,) = self.remarks("def my_bias_gradient(dy): return dy.sum(axis=AXIS)", AXIS=0)
        assert "No cell defines AXIS" in remark

    def test_a_command_of_the_notebook(self):
        cells = ("FILES = get_ipython().getoutput('ls')", "def my_bias_gradient(dy): return dy.sum(axis=len(FILES))")
        (remark,) = self.remarks(*cells, FILES=[])
        assert "% or !" in remark

    def test_only_the_last_definition_counts(self):
        cells = ("def my_bias_gradient(dy): return OLD", "def my_bias_gradient(dy): return dy.sum(axis=0)")
        assert self.remarks(*cells, OLD=0) == []

    def test_a_timed_cell_defines_what_is_in_it(self):
        timed = "get_ipython().run_cell_magic('time', '', 'AXIS = 0\\n')"
        assert self.remarks(timed, "def my_bias_gradient(dy): return dy.sum(axis=AXIS)", AXIS=0) == []

    def test_check_says_them_below_its_verdict(self, capsys):
        names = {"check": check, "get_ipython": None, "In": []}
        exec("check('2.2', lambda dy: dy.sum(axis=0))", names)
        said = capsys.readouterr().out
        assert ": right" in said
        assert "status    'tinymixer lessons status' looks for" in said


class TestDifferences:
    def hint(self, expected, got):
        found = first_difference("y", np.asarray(expected), got, 1e-6)
        assert found is not None
        return found.hint

    def test_a_transposed_matrix(self):
        matrix = np.arange(6.0).reshape(2, 3)
        assert "transpose" in self.hint(matrix, matrix.T)

    def test_an_axis_left_over(self):
        assert "sum missing" in self.hint(np.ones(3), np.ones((4, 3)))

    def test_a_flipped_sign_and_a_constant_factor(self):
        values = np.array([1.0, -2.0, 3.0])
        assert "sign" in self.hint(values, -values)
        assert "4 times" in self.hint(values, 4 * values)

    def test_not_a_number_and_infinity(self):
        assert "NaN" in self.hint(np.ones(3), np.array([np.nan, np.inf, 1.0]))

    def test_zeros(self):
        assert "zero" in self.hint(np.ones(3), np.zeros(3))

    def test_a_widened_dtype(self):
        assert "the dtype that went in did not come out" in self.hint(np.ones(3, np.float32), np.ones(3))

    def test_a_list(self):
        assert "np.array" in self.hint(np.ones(3), [1.0, 1.0, 1.0])
        assert first_difference("y", 1.0, [1.0], 1e-6) is not None

    def test_nothing_returned(self):
        assert "return" in self.hint(np.ones(3), None)

    def test_booleans(self):
        right = np.array([True, False])
        assert first_difference("y", right, np.array([True, False]), 1e-6) is None
        assert first_difference("y", right, np.array([True, True]), 1e-6).where == "y[1]"
        assert first_difference("y", np.array([1.0, 0.0]), right, 1e-6) is None

    @given(arrays(float, (3, 2), elements=st.floats(-10, 10)), st.floats(0.01, 5))
    def test_any_change_beyond_the_tolerance_is_seen_and_none_below(self, expected, change):
        assert first_difference("y", expected, expected.copy(), 1e-6) is None
        changed = expected.copy()
        changed[1, 1] += change
        assert first_difference("y", expected, changed, 1e-6) is not None

    @given(st.one_of(st.none(), st.text(), st.lists(st.integers()), st.dictionaries(st.text(), st.floats())))
    def test_anything_may_come_back(self, got):
        assert first_difference("y", np.ones((2, 2)), got, 1e-6) is not None
