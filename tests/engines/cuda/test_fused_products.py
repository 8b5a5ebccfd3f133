"""Each epilogue is decided by itself: a slow one neither hides a fast one nor comes along with it."""

import numpy as np
import pytest

from tests.engines.cuda.test_captured_step import CONFIG, OPTIMIZERS, host, make_step, numbers
from tests.kernels.fake_cupy import LAUNCHES, fake_gpu
from tinymixer.engines.cuda.fused_products import FusedProducts
from tinymixer.kernels.timing import DeviceTimer

FAST = {"GELU_AUX_BIAS": 1, "DGELU": 1, "BGRADA": 1, "column_sums": 2}
KERNELS = {"bias_gelu_forward_columns": 5, "bias_gelu_backward_columns": 5}


@pytest.fixture
def cupy(emulated):
    with fake_gpu() as module:
        yield module


@pytest.fixture
def costs(monkeypatch):
    """What each launch costs, by a part of its name: what the timer adds up instead of measuring."""
    found, timed = FAST | KERNELS, []

    def seconds(self, work, times=1, repeats=1):
        work()  # plans products, which is timed itself
        before = len(LAUNCHES)
        work()
        timed.append(LAUNCHES[before:])
        return sum(cost for name in LAUNCHES[before:] for part, cost in found.items() if part in name)

    monkeypatch.setattr(DeviceTimer, "seconds", seconds)
    found["timed"] = timed
    return found


@pytest.mark.parametrize(
    ("slow", "fused"),
    [
        ({}, (True, True, True)),
        ({"BGRADA": 9}, (True, True, False)),
        ({"DGELU": 9}, (True, False, False)),
        ({"column_sums": 9, "BGRADA": 9}, (True, False, False)),
        ({"GELU_AUX_BIAS": 9}, (False, False, False)),
    ],
    ids=["none", "the bias's", "GELU's", "both ways to the bias's", "the forward one"],
)
def test_a_slow_epilogue_is_left_out_alone(cupy, costs, slow, fused):
    timed = costs.pop("timed")
    costs |= slow
    _, _, plain = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16", epilogues="never")
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16")
    assert step._mixer.fused == FusedProducts(*fused)
    results = []
    for each in (plain, step):
        before = host(each._model.parameters.values)
        each.stage(numbers(each, 3))
        each.run(3)
        each.totals()
        results.append(host(each._model.parameters.values) - before)
    assert np.linalg.norm(results[0] - results[1]) < 0.02 * np.linalg.norm(results[0])
    timed.clear()  # the next step on this machine knows
    _, _, again = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16")
    assert again._mixer.fused == FusedProducts(*fused)
    assert timed == []


def test_the_second_stream_is_not_in_what_is_measured(cupy, costs):
    costs.pop("timed")
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16")
    assert step._mixer.weight_stream is not None
    assert step._mixer.weight_stream._unread == set()


def test_an_epilogue_that_fails_costs_only_itself(cupy, costs, monkeypatch):
    from nvmath.bindings import cublasLt

    costs.pop("timed")
    heuristic, said = cublasLt.matmul_algo_get_heuristic, []
    describe = cublasLt.matmul_desc_set_attribute

    def remember(description, attribute, buffer, size):
        describe(description, attribute, buffer, size)
        if attribute == cublasLt.MatmulDescAttribute.EPILOGUE:
            said.append(int(np.frombuffer((np.ctypeslib.ctypes.c_char * size).from_address(buffer), np.uint32)[0]))

    def refuses_bgrada(*arguments):
        if said[-1] == cublasLt.Epilogue.BGRADA:
            raise cublasLt.cuBLASLtError("CUBLAS_STATUS_NOT_SUPPORTED")
        heuristic(*arguments)

    monkeypatch.setattr(cublasLt, "matmul_desc_set_attribute", remember)
    monkeypatch.setattr(cublasLt, "matmul_algo_get_heuristic", refuses_bgrada)
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16")
    assert step._mixer.fused == FusedProducts(True, True, False)


def test_an_algorithm_that_fails_is_not_chosen(cupy, monkeypatch):
    from nvmath.bindings import cublasLt

    matmul = cublasLt.matmul

    def first_algorithm_fails(*arguments):
        if np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint64 * 8).from_address(arguments[12]))[2] == 0:
            raise cublasLt.cuBLASLtError("CUBLAS_STATUS_INTERNAL_ERROR")
        matmul(*arguments)

    monkeypatch.setattr(cublasLt, "matmul", first_algorithm_fails)
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16")
    assert step._mixer.fused == FusedProducts(True, True, True)  # by the stand-in's clock all are equally fast
