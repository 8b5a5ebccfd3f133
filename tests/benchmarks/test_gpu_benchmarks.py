"""The parts of the GPU benchmarks that run without a GPU: timing, arithmetic, our step as a peer, the profile."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import gpu_kernels, gpu_table
from tests.kernels.emulator import COMPILER, NO_COMPILER, kernel_names
from tests.kernels.fake_cupy import fake_gpu
from tinymixer import MixerConfig
from tinymixer.bench import ours_cupy, profile_cupy
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
    state = step._update.device_state.nbytes
    assert rows["sgd_update<float>"] == (1, 100.0, 6 * size + state)  # the stand-in's millisecond, for ten repetitions
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


def test_the_table_says_what_was_left_out():
    rows = [
        {"name": "tinymixer", "model": "nano", "precision": "tf32", "images_per_second": 1e5, "step_milliseconds": 5.12,
         "teraflops": 80.0, "share_of_product_ceiling": 0.2, "product_ceiling_teraflops": 400.0,
         "copy_ceiling_terabytes": 2.9, "peak_bytes": 2**30, "version": "tinymixer 0"},
        {"name": "JAX jit", "model": "nano", "precision": "tf32", "left_out": "no time was left"},
    ]  # fmt: skip
    text = gpu_table.text(rows)
    assert "100,000" in text
    assert "1.00" in text
    assert "left out: no time was left" in text


def test_the_session_script_is_valid():
    script = Path(gpu_table.__file__).with_name("gpu_session.sh")
    subprocess.run(["bash", "-n", str(script)], check=True)
    for arguments, code in (([], 2), (["--help"], 0), (["--quick"], 2)):
        done = subprocess.run(["bash", str(script), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert "gpu_session.sh OUT [WHEELS] [CIFAR]" in (done.stderr if code else done.stdout)
    missing = subprocess.run(
        ["bash", str(script), "out", "no-such-folder"], capture_output=True, text=True, check=False
    )
    assert (missing.returncode, missing.stderr) == (2, "error: there is no no-such-folder\n")


def test_the_session_goes_on_past_what_fails_and_reports_it(tmp_path):
    """With a Python that knows nothing, every part fails, and the summary at the end says so."""
    useless = tmp_path / "python"
    useless.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    useless.chmod(0o755)
    script = Path(gpu_table.__file__).with_name("gpu_session.sh")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "out"), str(wheels)],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHON": str(useless)},
    )  # fmt: skip
    assert done.returncode == 1
    summary = (tmp_path / "out" / "summary.txt").read_text()
    for part in ("install", "environment", "tests", "comparison", "kernels-nano", "profile-nano", "profile-small-4"):
        assert f"{part}: FAILED with exit code" in summary
    assert "training: left out, no CIFAR-10 was given" in summary
    assert done.stdout.endswith(summary)


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
        "dropout", "column_sums",
    }  # which have one form
    assert all(row["bytes"] > 0 for row in rows)
    assert gpu_kernels.text(rows, "title").count("\n") == len(rows) + len(firsts) + 2
