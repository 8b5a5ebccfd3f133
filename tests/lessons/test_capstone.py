"""Lesson 18: the learner's functions train a Mixer as the package's do, or the one that differs is named."""

import math
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.lessons.notebooks import write_notebook
from tinymixer import ops
from tinymixer.errors import ConfigError, DataError
from tinymixer.gradcheck.planted_faults import PLANTED_FAULTS
from tinymixer.lessons import collecting, examine, my_functions
from tinymixer.lessons.capstone import PARTS, backend_with, examine_in_training, train
from tinymixer.lessons.collecting import collect, compare_in_a_process, compare_trainings, with_functions
from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import find_exercise

SOURCES = Path(__file__).parents[2] / "lessons" / "source"
LINEAR = (
    "def my_linear_backward(dy, cache):\n    x, weight = cache\n    return dy @ weight.T, x.T @ dy, dy.sum(axis=0)\n"
)
LINEAR_FORWARD = "import numpy as np\ndef my_linear_forward(x, weight, bias):\n    return x @ weight + bias\n"
MEAN = """import numpy as np
def my_mean_over_tokens_backward(dy, shape):
    return np.broadcast_to(dy / shape[0], shape)
"""


def stem_of(number):
    return LESSONS[find_exercise(number).lesson].stem


def states(found):
    return {finding.part.number: finding.state for finding in found.findings if finding.state != "not yet"}


# --- Whole folders ---


def test_a_folder_of_right_answers_trains_as_the_package_does(tmp_path):
    for stem in {stem_of(part.number) for part in PARTS}:
        shutil.copy(SOURCES / f"{stem}.py", tmp_path)
    found, never_ending = collect(tmp_path)
    assert set(states(found).values()) == {"passed"}
    assert "yours: 13 of 13; the package's: mean_over_tokens_forward" in found.report()
    compared = compare_in_a_process(found, never_ending, epochs=2)
    assert compared.agrees, compared
    assert compared.accuracy == compared.package_accuracy
    assert compared.loss == pytest.approx(compared.package_loss, rel=1e-6)
    assert compared.steps == 70


FAULTS = {  # exercise -> right words in its solution, and what is planted instead
    "5.4": ("g - g.mean(axis=-1, keepdims=True) - x_hat * along_x_hat", "g - g.mean(axis=-1, keepdims=True)", "dx"),
    "4.3": ("dt_dx = (1 - t * t) * du_dx", "dt_dx = -(1 - t * t) * du_dx", "dx"),
    "2.3": ("dbias = dy.sum(axis=0)", "dbias = 0 * dy.sum(axis=0)", "dbias"),
}


@pytest.mark.parametrize(
    ("number", "right", "planted", "output"), [(number, *words) for number, words in FAULTS.items()]
)
def test_a_folder_with_a_planted_fault_is_told_which_function_it_is(tmp_path, number, right, planted, output):
    source = (SOURCES / f"{stem_of(number)}.py").read_text(encoding="utf-8")
    assert right in source
    (tmp_path / f"{stem_of(number)}.py").write_text(source.replace(right, planted), encoding="utf-8")
    found, never_ending = collect(tmp_path)
    (wrong,) = [finding for finding in found.findings if finding.state == "wrong"]
    assert wrong.part.number == number
    assert wrong.sentence.startswith("differs from the package's in training")
    assert output in wrong.sentence
    assert wrong.hint  # that of the exercise's own check
    assert f"✘ {number} {wrong.part.function}" in found.report()
    assert number not in with_functions(found, never_ending).functions  # the package's trains in its place


def test_a_half_filled_folder_is_completed_by_the_package(tmp_path):
    write_notebook(tmp_path / "02_linear.ipynb", LINEAR_FORWARD, "def my_linear_backward(dy, cache):\n    raise NotYet")
    write_notebook(tmp_path / "09_mixer.ipynb", MEAN)
    write_notebook(tmp_path / "05_layer_norm.ipynb", "my_layer_norm_forward = 3")
    found, never_ending = collect(tmp_path)
    mine = with_functions(found, never_ending)
    assert list(mine.functions) == ["2.1", "9.3"]
    assert "yours: 2 of 13; the package's: my_linear_backward, " in mine.summary()
    reasons = {finding.part.number: finding.sentence for finding in found.findings}
    assert "04_gelu.ipynb is not there" in reasons["4.3"]
    assert "has no such function" in reasons["5.4"]
    assert states(found)["5.1"] == "wrong"  # a number is no function
    compared = compare_trainings(mine.backend(), epochs=1)
    assert compared.agrees
    assert compared.largest_difference < 1e-6


def test_a_damaged_notebook_costs_its_own_functions_only(tmp_path):
    (tmp_path / "02_linear.ipynb").write_text('{"cells": [')
    write_notebook(tmp_path / "04_gelu.ipynb", "def my_gelu_tanh(x:\n")
    write_notebook(tmp_path / "09_mixer.ipynb", MEAN)
    found, _ = collect(tmp_path)
    assert states(found) == {"2.1": "wrong", "2.3": "wrong", "4.3": "wrong", "4.4": "wrong", "9.3": "passed"}
    assert "is not a Jupyter notebook" in found.report()
    assert "is not Python yet" in found.report()


def test_an_endless_answer_and_an_endless_statement_are_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "EACH", (2.0,))
    write_notebook(
        tmp_path / "02_linear.ipynb",
        LINEAR_FORWARD,
        "def my_linear_backward(dy, cache):\n    while True:\n        pass",
    )
    forever = "SHARE = 1\nwhile SHARE:\n    SHARE = 1\n"
    write_notebook(tmp_path / "09_mixer.ipynb", forever, MEAN.replace("dy / shape[0]", "SHARE * dy / shape[0]"))
    found, never_ending = collect(tmp_path)
    assert states(found) == {"2.1": "passed", "2.3": "wrong", "9.3": "passed"}
    assert "did not end within 2 s" in found.report()
    assert list(with_functions(found, never_ending).functions) == ["2.1", "9.3"]  # and this ends


def test_a_fault_that_comes_later_in_training_is_seen_and_one_that_never_ends_is_named(tmp_path, monkeypatch):
    late = LINEAR_FORWARD + "CALLS = []\ndef later(y):\n    CALLS.append(1)\n    {}\n    return y\n"
    late = late.replace("x @ weight + bias", "later(x @ weight + bias)")
    write_notebook(tmp_path / "02_linear.ipynb", late.format("y = y * (1 + (len(CALLS) > 150))"))
    found, never_ending = collect(tmp_path)
    assert states(found) == {"2.1": "passed"}
    compared = compare_in_a_process(found, never_ending, epochs=1)
    assert not compared.agrees
    assert "more than rounding explains" in str(compared)
    write_notebook(tmp_path / "02_linear.ipynb", late.format("while len(CALLS) > 150: pass"))
    monkeypatch.setattr(collecting, "EACH", (2.0,))
    compared = compare_in_a_process(found, never_ending, epochs=1)
    assert not compared.agrees
    assert "did not end within 2 s" in compared.trouble
    assert "02_linear.ipynb, code cell 1" in compared.trouble
    assert "later" in compared.trouble


def test_a_training_that_is_too_slow_is_compared_as_far_as_it_went(tmp_path):
    slow = LINEAR_FORWARD.replace("    return", "    import time\n    time.sleep(0.005)\n    return")
    write_notebook(tmp_path / "02_linear.ipynb", slow)
    found, never_ending = collect(tmp_path)
    assert "times as long as the package's" in found.report()
    compared = compare_in_a_process(found, never_ending, epochs=8, altogether=1.0)
    assert 0 < compared.steps < 280
    assert compared.agrees
    assert compared.accuracy is None
    assert "the time was over" in str(compared)


def test_no_folder_and_no_notebook_are_sentences(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="There is no"):
            collect(folder)
    nothing = my_functions(tmp_path)
    assert "yours: 0 of 13; all are the package's" in nothing.report()
    assert "In Colab" in nothing.report()
    assert nothing.operations() == {}


# --- One function ---


def function_of(source, name):
    names = {"np": np, "math": math, "ops": ops}
    exec(textwrap.dedent(source), names)
    return names[name]


FAULTS_THAT_ONLY_TRAINING_SHOWS = {
    "a shift that costs float32 its digits": ("5.4", """
        def my_layer_norm_backward(dy, cache):
            x_hat, inv_std, scale = cache
            g, far = dy * scale, 1e6
            mean = (g + far).mean(axis=-1, keepdims=True) - far
            dx = inv_std * (g - mean - x_hat * (g * x_hat).mean(axis=-1, keepdims=True))
            return dx, (dy * x_hat).sum(axis=(0, 1)), dy.sum(axis=(0, 1))""", "dx"),
    "only the first hundred rows": ("2.3", """
        def my_linear_backward(dy, cache):
            x, weight = cache
            dweight = np.zeros_like(weight)
            for n in range(min(100, len(x))):
                dweight += np.outer(x[n], dy[n])
            return dy @ weight.T, dweight, dy.sum(axis=0)""", "dweight"),
    "only the first eight tokens": ("8.3", """
        def my_token_linear_backward(dy, cache):
            x, weight = cache
            dx, dweight, dbias = ops.token_linear_backward(dy, cache)
            dweight[8:] = 0
            return dx, dweight, dbias""", "dweight"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "source", "output"), FAULTS_THAT_ONLY_TRAINING_SHOWS.values(), ids=FAULTS_THAT_ONLY_TRAINING_SHOWS
)
def test_a_fault_that_the_exercise_lets_through_is_told(number, source, output):
    function = function_of(source, find_exercise(number).functions[0])
    assert examine(number, function).passed
    verdict = examine_in_training(number, function)
    assert verdict.state == "wrong"
    assert f"{output} is not" in verdict.sentence
    assert f'It passes check("{number}")' in verdict.hint


SPOILING = {
    "writes into dy": ("2.3", """
        def my_linear_backward(dy, cache):
            x, weight = cache
            dbias = dy.sum(axis=0)
            dy *= 1.0
            return dy @ weight.T, x.T @ dy, dbias""", "read-only"),
    "a cache of its own": ("5.1", """
        def my_layer_norm_forward(x, scale, bias, eps=1e-6):
            centred = x - x.mean(axis=-1, keepdims=True)
            std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + eps)
            x_hat = centred / std
            return scale * x_hat + bias, (x_hat, std, scale)""", "inv_std is not"),
    "no cache": ("5.1", """
        def my_layer_norm_forward(x, scale, bias, eps=1e-6):
            centred, variance = x - x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
            return scale * centred / np.sqrt(variance + eps) + bias""", "something else"),
    "one array for all results": ("9.3", """
        KEPT = {}
        def my_mean_over_tokens_backward(dy, shape):
            kept = KEPT.setdefault(shape, np.zeros(shape, dy.dtype))
            kept[...] = dy / shape[0]
            return kept""", "dx is not"),
    "remembers the first input": ("5.4", """
        KEPT = []
        def my_layer_norm_backward(dy, cache):
            KEPT.append(cache)
            return ops.layer_norm_backward(dy, KEPT[0] if KEPT[0][0].shape == dy.shape else cache)""", "dx is not"),
}  # fmt: skip


@pytest.mark.parametrize(("number", "source", "words"), SPOILING.values(), ids=SPOILING)
def test_what_would_spoil_a_training_is_told(number, source, words):
    verdict = examine_in_training(number, function_of(source, find_exercise(number).functions[0]))
    assert verdict.state == "wrong"
    assert words in verdict.sentence


UNUSUAL = {
    "einsum": ("5.4", """
        def my_layer_norm_backward(dy, cache):
            x_hat, inv_std, scale = cache
            g, C = np.einsum("sbc,c->sbc", dy, scale), dy.shape[-1]
            jacobian = np.eye(C) - 1 / C - np.einsum("sbi,sbj->sbij", x_hat, x_hat) / C
            dx = np.einsum("sbk,sbj,sbij->sbi", inv_std, g, jacobian)
            return dx, np.einsum("sbc,sbc->c", dy, x_hat), np.einsum("sbc->c", dy)""", "float64"),
    "a loop over tokens": ("8.3", """
        def my_token_linear_backward(dy, cache):
            x, weight = cache
            dx, dweight = np.zeros_like(x), np.zeros_like(weight)
            for d in range(len(dy)):
                for s in range(len(x)):
                    dweight[d, s] = (dy[d] * x[s]).sum()
                    dx[s] += weight[d, s] * dy[d]
            return dx, dweight, np.array([one.sum() for one in dy])""", ""),
    "a loop over numbers": ("4.4", """
        def my_gelu_tanh(x):
            y = [0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x.ravel()]
            return np.array(y).reshape(x.shape).astype(x.dtype)""", "times as long"),
    "float64 inside": ("6.3", """
        def my_cross_entropy_gradient(logits, labels):
            z = logits.astype(np.float64)
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(labels)), labels] -= 1
            return (p / len(labels)).astype(logits.dtype)""", ""),
    "the result is a view of its input": ("7.3", """
        def my_patches_backward(dpatches, cache):
            (B, height, width, channels), P = cache
            split = dpatches.reshape(height // P, width // P, B, P, P, channels)
            return split.transpose(2, 0, 3, 1, 4, 5).reshape(B, height, width, channels)""", ""),
}  # fmt: skip


@pytest.mark.parametrize(("number", "source", "note"), UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_right_answers_pass_and_train(number, source, note):
    function = function_of(source, find_exercise(number).functions[0])
    verdict = examine_in_training(number, function)
    assert verdict.passed, verdict
    assert note in verdict.details.get("note", "")
    part = next(part for part in PARTS if part.number == number)
    after_two_steps = {}
    for name, operations in (("yours", {part.operation: part.adapted(function)}), ("package", {})):
        trained = train(backend_with(**operations), after_step=lambda step, loss: step == 2)
        assert {array.dtype for array in (trained.model.parameters.values, trained.model.parameters.gradients)} == {
            np.dtype(np.float32)
        }
        after_two_steps[name] = trained.losses
    assert after_two_steps["yours"] == pytest.approx(after_two_steps["package"], rel=1e-6)


HIDDEN = {"float64 from a constant", "float32 on the way", "odd sizes cut short"}  # no fault in this training


EXERCISES = {part.operation: part.number for part in PARTS}
PLANTED = [one for one in PLANTED_FAULTS if one.backward and f"{one.operation}_backward" in EXERCISES]


@pytest.mark.parametrize("fault", PLANTED, ids=lambda one: one.name)
def test_the_planted_faults_of_these_operations_are_told(fault):
    verdict = examine_in_training(EXERCISES[f"{fault.operation}_backward"], fault.backward)
    assert verdict.passed == (fault.name in HIDDEN)


def test_what_a_function_prints_is_not_printed_in_training(capsys):
    function = function_of(
        "def my_gelu_tanh(x):\n    print(x.shape)\n    return ops.gelu_tanh_forward(x)[0]", "my_gelu_tanh"
    )
    (part,) = [part for part in PARTS if part.number == "4.4"]
    train(backend_with(gelu_tanh_forward=part.adapted(function)), after_step=lambda step, loss: step == 1)
    assert capsys.readouterr().out == ""


def test_a_training_has_one_blas_thread_and_gives_the_others_back():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    before, during = threads(), []
    train(after_step=lambda step, loss: during.extend(threads()) or True)
    assert set(during) <= {1}
    assert threads() == before


def test_an_exit_in_training_is_a_sentence():
    compared = compare_trainings(backend_with(gelu_tanh_forward=lambda x: exit()), epochs=1)
    assert "ended at step 1: SystemExit" in str(compared)
    assert not compared.agrees


def test_a_name_that_is_no_operation_is_refused():
    with pytest.raises(ConfigError, match="layer_norm_backward"):
        backend_with(layer_norm_backwards=len)


def test_the_halves_of_the_loss_can_be_replaced_one_by_one():
    logits, labels = np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([0, 1])
    right = ops.softmax_cross_entropy(logits, labels)
    for operations in ({"loss": lambda *_: 7.0}, {"loss_gradient": lambda *_: 7.0}):
        got = backend_with(**operations).ops.softmax_cross_entropy(logits, labels)
        assert (got[0] == 7.0) == ("loss" in operations)
        assert np.all(got[1] == (7.0 if "loss_gradient" in operations else right[1]))
        smoothed = backend_with(**operations).ops.softmax_cross_entropy(logits, labels, 0.1)
        assert smoothed[0] == ops.softmax_cross_entropy(logits, labels, 0.1)[0]
