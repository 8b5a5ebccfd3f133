"""The parts of the GPU benchmarks that run without a GPU: timing, arithmetic, our step as a peer, the profile."""

import numpy as np
import pytest

from benchmarks import gpu_kernels
from tests.kernels.emulator import COMPILER, NO_COMPILER, kernel_names
from tests.kernels.fake_cupy import fake_gpu
from tinymixer import MixerConfig
from tinymixer.bench import ceilings, ours_cupy, profile_cupy
from tinymixer.bench.models import MODELS, step_flops
from tinymixer.bench.timing import interleaved
from tinymixer.kernels.precision import get_precision

SMALL = MixerConfig(image_size=8, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=16, num_blocks=1)
emulated = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)


def test_turns_are_taken_and_the_median_counts(monkeypatch):
    clock, order = [0.0], []
    slow_turn = iter([1, 1, 1, 9, 1, 1, 1])

    def implementation(name, seconds):
        def run(steps):
            order.append(name)
            clock[0] += steps * seconds * (next(slow_turn, 1) if name == "a" else 1)

        return run

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    found = interleaved({"a": implementation("a", 0.1), "b": implementation("b", 0.2)}, seconds=1.0, turns=5)
    assert found == pytest.approx({"a": 0.1, "b": 0.2})
    assert order[4:] == ["a", "b"] * 5


def test_the_arithmetic_of_a_step():
    config, batch = MODELS["nano"]
    products = 8 * 2 * (64 * 128 * 512 + 64 * 128 * 64)  # multiplications of the blocks' products, per image
    assert step_flops(config, batch) == 512 * 2 * (3 * products + 2 * 64 * 48 * 128)


@emulated
def test_our_step_runs_behind_the_peers_interface():
    with fake_gpu():
        for captured_in_a_graph in (True, False):
            ours_cupy.make_step(SMALL, 4, "bfloat16", "cuda", captured=captured_in_a_graph)(3)
        ours_cupy.make_forward(SMALL, 4, "float32", "cuda")(2)
    with pytest.raises(ValueError, match="GPU"):
        ours_cupy.make_step(SMALL, 4, "float32", "cpu")


def profiled(precision, **options):
    with fake_gpu() as cupy:
        step = ours_cupy.make_captured_step(SMALL, 4, precision, captured=False, **options)
        ours_cupy.stage_steps(step, 1)
        recorder = profile_cupy.Recorder(cupy, step)
        step.run(1)
        return {name: tuple(rest) for name, *rest in recorder.rows()}, step


@emulated
def test_the_profile_sees_every_launch():
    rows, step = profiled("float32")
    size = step._model.parameters.values.nbytes
    state, settings = step._update.device_state.nbytes, step._update._settings[1].nbytes
    assert rows["sgd_update<float>"] == (
        1,
        100.0,
        5 * size + size // 32 + settings + state,
    )  # the stand-in's millisecond, for ten repetitions
    assert rows["gradient_squares<float>"][2] >= size
    name = next(name for name in rows if name.startswith("bias_gelu_backward_columns"))
    hidden = 4 * 4 * 16 * 4  # S * B * DC floats
    assert rows[name] == (1, 100.0, 3 * hidden)  # da and z read, dz written
    assert rows["gather_patches<float, 4>"][2] == 4 * 4 * 48 * (4 + 1)
    assert sum(name.startswith("product") for name in rows) >= 8


@emulated
def test_the_profile_sees_products_with_epilogues():
    rows, _ = profiled("bfloat16", epilogues="always")
    found = {name.rsplit(" ", 1)[1]: row[2] for name, row in rows.items() if " with " in name}
    residual_stream, hidden, weight = 4 * 4 * 16 * 2, 4 * 4 * 16 * 2, 16 * 16 * 2
    assert found == {
        "GELU_AUX_BIAS": residual_stream + weight + 2 * hidden,
        "DGELU": residual_stream + weight + 2 * hidden,
        "BGRADA": residual_stream + hidden + 2 * weight,
    }


@emulated
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_kernel_with_a_plain_form_is_on_the_ladder(precision):
    """And runs there on arguments that fit, in the order from plain to fast."""
    with fake_gpu() as cupy:
        rows = gpu_kernels.measure(cupy, SMALL, 4, precision, copy_rate=1e9)
    kernels = [row["kernel"].split("<")[0] for row in rows]
    number = get_precision(precision).number
    plain = {name.split("<")[0] for form in ("float", number) for name in kernel_names(form) if "_plain" in name}
    assert plain <= set(kernels)
    firsts = {row["what"]: kernel for row, kernel in zip(reversed(rows), reversed(kernels), strict=True)}
    assert {kernel for kernel in firsts.values() if not kernel.endswith("_plain")} == {
        "dropout",
        "column_sums",
        "augment_images",
        "mix_patches",
    }  # which have one form
    assert all(row["bytes"] > 0 for row in rows)
    assert gpu_kernels.text(rows, "title").count("\n") == len(rows) + len(firsts) + 2


@emulated
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_ceilings_draw_their_numbers_on_the_device(monkeypatch, precision):
    numbers = ceilings.scrambled(np, 100_000)
    assert numbers.dtype == np.float32
    assert abs(numbers.mean()) < 0.02
    assert numbers.std() == pytest.approx(1, abs=0.01)
    pairs = numbers[:-1] * numbers[1:]
    assert abs(pairs.mean()) < 0.02  # neighbours have nothing to do with each other
    for name, size in (("GPU_PRODUCT_SIZE", 16), ("GPU_COPY_BYTES", 1 << 12)):
        monkeypatch.setattr(ceilings, name, size)
    monkeypatch.setattr(ceilings, "interleaved", lambda runs, **options: {n: run(1) or 1e-3 for n, run in runs.items()})
    with fake_gpu():
        rates = ceilings.gpu_ceilings(precision)
    wanted = {"product_flops_per_second": 2 * 16**3 / 1e-3, "copy_bytes_per_second": 2 * 4096 / 1e-3}
    assert rates == pytest.approx(wanted)
