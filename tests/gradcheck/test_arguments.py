"""What may be passed to an operation and what it may return: constants of all forms, several outputs, numbers."""

from dataclasses import dataclass

import numpy as np
import pytest

from tinymixer.gradcheck import NotCheckableError, check_operation

RNG = np.random.default_rng(61)
X = RNG.standard_normal((3, 4))


def scaled(x, statistics):
    scale = 1 / np.sqrt(statistics["var"] + 1e-5)
    return (x - statistics["mean"]) * scale, scale


@dataclass
class Statistics:
    mean: np.ndarray
    scale: float


@pytest.mark.parametrize(
    "constants",
    [
        {"mean": np.zeros(4), "var": np.ones(4), "mode": "test"},
        {"mean": np.float64(0.5), "var": np.float64(2)},
        {"mean": 0.5, "var": np.array(2.0)},
    ],
)
def test_constants_in_a_dict_follow_the_dtype(constants):
    report = check_operation(scaled, lambda dy, scale: dy * scale, X, constants)
    assert report.passed, str(report)


def test_numpy_whole_numbers_are_as_good_as_pythons():
    report = check_operation(lambda x, n: (x * n, n), lambda dy, n: dy * n, X, np.int64(3))
    assert report.passed, str(report)


def test_constants_in_a_dataclass_and_a_list_follow_the_dtype():
    def forward(x, statistics, factors):
        return (x - statistics.mean) * statistics.scale * factors[0], statistics.scale * factors[0]

    report = check_operation(forward, lambda dy, s: dy * s, X, Statistics(np.ones(4), 2.0), [np.float64(3), np.ones(2)])
    assert report.passed, str(report)


def test_a_dict_that_is_written_into_by_name_is_fresh_for_each_call():
    def forward(x, state):
        state["calls"] = state.get("calls", 0) + 1
        return x * state["calls"], state["calls"]

    given = {}
    report = check_operation(forward, lambda dy, calls: dy * calls, X, given)
    assert report.passed, str(report)
    assert given == {}


def test_writing_into_a_constant_array_is_a_row():
    def forward(x, state):
        state["mean"] += 1
        return x * 2, None

    report = check_operation(forward, lambda dy, c: dy * 2, X, {"mean": np.zeros(4)})
    assert [row.check for row in report.failures] == ["inputs untouched"]


@pytest.mark.parametrize("keyword", ["seed", "samples", "tolerance", "name", "vary", "nondeterminism"])
def test_a_keyword_that_the_forward_has_too_is_the_forwards(keyword):
    seen = set()
    namespace = {"seen": seen}
    exec(f"def forward(x, *, {keyword}=None):\n    seen.add({keyword})\n    return x * 2, None", namespace)
    check_operation(namespace["forward"], lambda dy, c: dy * 2, X, **{keyword: 3})
    assert seen == {3}


def test_a_keyword_that_may_be_meant_for_either_is_refused_by_name():
    with pytest.raises(NotCheckableError, match="seed is an argument of check_operation, and the forward takes any"):
        check_operation(lambda x, **keywords: (x * 2, None), lambda dy, c: dy * 2, X, seed=3)


@pytest.mark.parametrize("generator", [np.random.default_rng(0), np.random.RandomState(0)])
def test_every_call_gets_the_generator_as_it_was_given(generator):
    def forward(x, options):
        keep = (options["rng"].uniform(size=x.shape) > 0.5).astype(x.dtype)
        return x * keep, keep

    report = check_operation(forward, lambda dy, keep: dy * keep, X, {"rng": generator})
    assert report.passed, str(report)


def test_a_loss_may_be_a_python_number():
    report = check_operation(lambda x: (float((x * x).sum()), x), lambda dy, x: 2 * dy * x, X)
    assert report.passed, str(report)
    assert not check_operation(lambda x: (float((x * x).sum()), x), lambda dy, x: dy * x, X).passed


@pytest.mark.parametrize("container", [tuple, list])
@pytest.mark.parametrize("size", [(3, 4), (30, 40)])
def test_several_outputs(container, size):
    x = RNG.standard_normal(size)

    def forward(x):
        return container((x * x, x.sum(axis=1))), x

    def backward(dy, x):
        return 2 * x * dy[0] + dy[1][:, None]

    report = check_operation(forward, backward, x)
    assert report.passed, str(report)
    wrong = check_operation(forward, lambda dy, x: 2 * x * dy[0] + 2 * dy[1][:, None], x)
    assert not wrong.passed
    if size == (3, 4):
        assert wrong.failures[0].where.startswith(("y2[", "x["))


def test_an_input_may_be_named_as_the_output_is():
    def backward(dy, cache):
        x, y = cache
        return dy * y, (dy * x).sum(0)

    report = check_operation(lambda x, y: (x * y, (x, y)), backward, X, RNG.standard_normal(4))
    assert report.passed, str(report)
    assert [one.name for one in report.checked] == ["x", "y"]


def test_what_the_functions_raise_is_in_the_report():
    def raises(*arguments):
        raise NotImplementedError("not yet")

    forward = check_operation(raises, lambda dy, c: dy, X, name="half")
    assert "the forward raised NotImplementedError: not yet (test_arguments.py, line" in str(forward)
    backward = check_operation(lambda x: (x * 2, None), raises, X)
    assert backward.failures[0].check == "runs"

    def leaves(dy, cache):
        raise SystemExit(3)

    assert "SystemExit" in str(check_operation(lambda x: (x * 2, None), leaves, X))
