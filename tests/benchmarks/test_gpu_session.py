"""The parts of a session on a GPU, on the stand-ins: what is right is called right, and one failure costs one row."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from benchmarks import gpu_environment, gpu_references, gpu_sanitizer, gpu_steps, gpu_summary, gpu_table
from benchmarks.gpu_references import Setting
from benchmarks.rows import Guarded, Rows, failure_in, sentence_of
from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.kernels.fake_cuda import CUDARuntimeError
from tests.kernels.fake_cupy import fake_gpu
from tinymixer import MixerConfig, MlpMixer
from tinymixer.bench import ours_cupy
from tinymixer.bench.timing import interleaved
from tinymixer.data import Augmentation
from tinymixer.errors import BackendError

emulated = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)
SCRIPT = Path(gpu_table.__file__).with_name("gpu_session.sh")
SMALL = MixerConfig(
    image_size=8, patch_size=4, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=32, num_blocks=1, drop_path=0.2
)
SETTING = Setting(SMALL, 4, 3, Augmentation(crop_padding=2, flip=True, cutout=3))


# ------------------------------------------------------------------------------------------ references and losses


@pytest.fixture(scope="module")
def wanted():
    return gpu_references.compute(SETTING, 12, say=lambda line: None)


@emulated
@pytest.mark.parametrize("precision", gpu_steps.PRECISIONS)
def test_the_first_losses_are_held_to_references(wanted, precision):
    with fake_gpu():
        row = gpu_steps.first_losses(SETTING, wanted, precision, steps=12)
    assert "failed" not in row
    assert row["right"], row
    assert row["captured"]
    assert row["note"] is None
    assert len(row["losses"]) == 12
    assert 0 < row["weights_apart"] < gpu_steps.BOUNDS[precision][1]
    assert "right: 12 losses differ by at most" in gpu_steps.text([row])


@emulated
def test_losses_of_other_weights_are_wrong(wanted):
    """A reference whose losses are off by half a percent, or whose weights moved elsewhere, is not float32's."""
    with fake_gpu():
        off = wanted | {"losses": wanted["losses"] * 1.005}
        row = gpu_steps.first_losses(SETTING, off, "float32", steps=12)
        assert not row["right"]
        assert "WRONG" in gpu_steps.text([row])
        elsewhere = wanted | {name: -x for name, x in wanted.items() if name.startswith("moved/")}
        assert not gpu_steps.first_losses(SETTING, elsewhere, "float32", steps=12)["right"]
        nothing = wanted | {"losses": wanted["losses"] * np.nan}
        assert not gpu_steps.first_losses(SETTING, nothing, "float32", steps=2)["right"]


@emulated
def test_rates_of_the_variants_and_a_failure(monkeypatch):
    rows = []
    with fake_gpu() as cupy:
        for what, precision, options in gpu_steps.VARIANTS[:6]:
            rows.append(gpu_steps.rate(SMALL, 4, what, precision, options, seconds=0.003))
        from nvmath.bindings import cublas

        def refuses(*arguments):
            raise cublas.cuBLASError("CUBLAS_STATUS_INTERNAL_ERROR")

        monkeypatch.setattr(ours_cupy, "make_captured_step", refuses)
        rows.append(gpu_steps.rate(SMALL, 4, "as it is", "tf32", {}))
        assert cupy.__version__ == "stand-in"
    assert all(row["images_per_second"] > 0 for row in rows[:6])
    assert [row["captured"] for row in rows[:6]] == [True] * 5 + [False]
    assert rows[1]["fused"] == {"forward": False, "gelu_gradient": False, "bias_gradient": False}
    assert rows[2]["fused"] == {"forward": True, "gelu_gradient": True, "bias_gradient": True}
    assert rows[6]["failed"] == "cuBLASError: CUBLAS_STATUS_INTERNAL_ERROR"
    shown = gpu_steps.text(rows).splitlines()
    assert "forward+gelu_gradient+bias_gradient" in shown[2]
    assert shown[6].endswith("FAILED: cuBLASError: CUBLAS_STATUS_INTERNAL_ERROR")


def test_sketches_tell_distances():
    rng = np.random.default_rng(0)
    shapes = {"weight": (300, 70), "other": (128, 512), "bias": (40,)}
    before = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    after = {name: array + 0.1 * rng.standard_normal(array.shape) for name, array in before.items()}
    near = {name: array + 0.01 * rng.standard_normal(array.shape) for name, array in after.items()}
    found, wanted = gpu_references.sketches(before, near), gpu_references.sketches(before, after)
    assert all(sketch.shape == (64,) for sketch in found.values())
    references = {f"moved/{name}": sketch for name, sketch in wanted.items()}
    assert gpu_references.distance(found, references) == pytest.approx(0.1, rel=0.25)
    assert gpu_references.distance(wanted, references) == 0
    assert np.linalg.norm(wanted["bias"]) == pytest.approx(np.linalg.norm(after["bias"] - before["bias"]))


def test_the_stored_references_are_those_of_this_code():
    """Their first loss and norm, by the fast engine, which is held to the layers elsewhere."""
    stored, setting = gpu_references.load(), gpu_references.NANO
    assert stored["losses"].shape == stored["norms"].shape == (gpu_references.STEPS,)
    assert stored["losses"][-1] < 0.8 * stored["losses"][0]  # they tell something
    assert gpu_references.PATH.stat().st_size < 200_000
    found = gpu_references.compute(setting, 1, "float32", say=lambda line: None, engine="cpu")
    assert found["losses"] == pytest.approx(stored["losses"][:1], rel=1e-6)
    assert found["norms"] == pytest.approx(stored["norms"][:1], rel=1e-4)
    names = {name.removeprefix("moved/") for name in stored if name.startswith("moved/")}
    assert names == set(MlpMixer(setting.config, seed=None).parameters)


@pytest.mark.peers
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("engine", "steps"), [("layers", 1), ("cpu", gpu_references.MOVED_AFTER)])
def test_the_stored_references_are_those_of_this_code_in_more_steps(engine, steps):
    """In float32: one step of the layers, and as many of the fast engine as the stored sketches tell of."""
    stored = gpu_references.load()
    found = gpu_references.compute(gpu_references.NANO, steps, "float32", say=lambda line: None, engine=engine)
    assert found["losses"] == pytest.approx(stored["losses"][:steps], rel=1e-6)
    assert found["norms"] == pytest.approx(stored["norms"][:steps], rel=1e-4)
    sketches = {name.removeprefix("moved/"): x for name, x in found.items() if name.startswith("moved/")}
    if steps == gpu_references.MOVED_AFTER:
        assert gpu_references.distance(sketches, stored) < 1e-3


@emulated
def test_what_the_sanitizer_watches_runs():
    with fake_gpu():
        rows = [gpu_sanitizer.run(gpu_sanitizer.CASES[i]) for i in (1, 4, 5, 7)]
    assert [row.get("failed") for row in rows] == [None] * len(rows)
    assert all(np.isfinite(row["loss"]) for row in rows)


def test_the_environment_says_what_is_missing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu_environment", "--out", str(tmp_path)])
    with mock.patch.dict(sys.modules, {"cupy": None, "torch": None}), pytest.raises(SystemExit) as ended:
        gpu_environment.main()
    assert ended.value.code == 1
    rows = {row["what"]: row for row in json.loads((tmp_path / "environment.json").read_text())}
    assert rows["numpy"]["found"] == np.__version__
    assert "failed" in rows["cupy"]
    assert "failed" in rows["obstacle"]
    assert "FAILED" in capsys.readouterr().out


def test_the_properties_of_a_gpu_each_by_itself():
    refuse = mock.Mock(side_effect=CUDARuntimeError("cudaErrorUnknown: unknown error"))
    with fake_gpu() as cupy, mock.patch.object(cupy.cuda.runtime, "driverGetVersion", refuse):
        rows = {row["what"]: row for row in gpu_environment.device()}
    assert rows["GPU"]["found"] == "Stand-in"
    assert rows["multiprocessors"]["found"] == "3"
    assert rows["CUDA of the driver"]["failed"] == "CUDARuntimeError: cudaErrorUnknown: unknown error"
    assert rows["CUDA runtime"]["found"] == "13.0"


# ------------------------------------------------------------------------------------------ the table


class Library:
    """A peer on the host: its steps take as long as they are told to, or fail as a library would."""

    def __init__(self, seconds=0.0, at=None, error=None):
        self.seconds, self.at, self.error, self.calls = seconds, at, error, 0

    def make_step(self, config, batch, precision, device):
        if self.at == "making":
            raise self.error

        def run(steps):
            self.calls += 1
            if self.at is not None and self.calls >= self.at:
                raise self.error
            time.sleep(self.seconds * steps)

        return run

    reset_peak = versions = peak_bytes = staticmethod(lambda: None)

    def found(self):
        return self, self.make_step


class OutOfMemoryError(Exception):
    """As torch's and CuPy's, a class that no list of failures would have."""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table over three libraries, two of which fail, each in a way of its own; and our step as a library."""
    cublas_error = type("cuBLASError", (Exception,), {})
    peers = {
        "fine": Library(0.002),
        "fails when made": Library(at="making", error=BackendError("the CUDA kernels cannot be compiled (x)")),
        "fails in its turns": Library(0.001, at=4, error=cublas_error("CUBLAS_STATUS_EXECUTION_FAILED\nmore")),
        "no memory": Library(at=1, error=OutOfMemoryError("Tried to allocate 2 GiB")),
    }

    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))

    def no_ceilings(precision):
        raise OutOfMemoryError("a ceiling needs 2 GiB")

    monkeypatch.setattr(gpu_table, "ceilings", no_ceilings)
    monkeypatch.setattr(gpu_table, "ours", lambda **options: Library(0.001).found)
    monkeypatch.setattr(gpu_table, "interleaved", lambda runs, seconds: interleaved(runs, 0.01, 2))
    monkeypatch.setattr(
        gpu_table,
        "stages",
        lambda variants: [
            {name: peers[name].found for name in ("fine", "fails when made")},
            {name: peers[name].found for name in ("fails in its turns", "no memory")},
        ],
    )
    return Rows(tmp_path, "table", gpu_table.text)


def test_an_error_of_any_library_costs_its_own_row(table, tmp_path):
    gpu_table.fill_in(table, time.monotonic() + 600, ["nano"], ["bfloat16"])
    rows = {row["name"]: row for row in json.loads((tmp_path / "table.json").read_text())}
    assert list(rows) == ["tinymixer", "fine", "fails when made", "fails in its turns", "no memory"]
    assert rows["tinymixer"]["images_per_second"] == pytest.approx(512 / 0.001)
    assert rows["fine"]["ours_over_theirs"] == pytest.approx(2)
    assert rows["fails when made"]["failed"] == "BackendError: the CUDA kernels cannot be compiled (x)"
    assert rows["fails in its turns"]["failed"] == "cuBLASError: CUBLAS_STATUS_EXECUTION_FAILED more"
    assert rows["no memory"]["failed"] == "OutOfMemoryError: Tried to allocate 2 GiB"
    text = (tmp_path / "table.txt").read_text()
    assert "ceilings: FAILED: OutOfMemoryError: a ceiling needs 2 GiB" in text
    assert text.count("FAILED:") == 4  # one of them the ceiling


def test_the_table_is_written_after_every_row(table, tmp_path, monkeypatch):
    seen, make = [], gpu_table.Table._make

    def remember(self, row, find):
        seen.append(len(json.loads((tmp_path / "table.json").read_text())))
        return make(self, row, find)

    monkeypatch.setattr(gpu_table.Table, "_make", remember)
    gpu_table.fill_in(table, time.monotonic() + 600, ["nano"], ["bfloat16"])
    assert seen == [1, 2, 3, 3, 4, 5]


def test_where_no_time_is_left_the_table_says_so(table, tmp_path):
    gpu_table.fill_in(table, time.monotonic() - 1, ["nano"], ["tf32"])
    assert {row["left_out"] for row in table} == {"no time was left"}
    assert "left out: no time was left" in (tmp_path / "table.txt").read_text()


def test_the_order_of_the_real_table():
    stages = gpu_table.stages(variants=True)
    assert next(iter(stages[0])) == "JAX jit"
    assert list(stages[-1]) == ["torch.compile"]
    assert all(name.startswith("tinymixer, ") for name in list(stages[0])[1:])


def test_the_table_shows_figures():
    row = {"name": "tinymixer", "model": "nano", "precision": "tf32", "images_per_second": 1e5,
           "step_milliseconds": 5.12, "teraflops": 80.0, "share_of_product_ceiling": 0.2,
           "product_ceiling_teraflops": 400.0, "copy_ceiling_terabytes": 2.9, "peak_bytes": 2**30,
           "version": "tinymixer 0"}  # fmt: skip
    text = gpu_table.text([row, row | {"name": "JAX jit", "ours_over_theirs": 1.43}])
    assert "100,000" in text
    assert "1.00" in text
    assert "1.43 x" in text
    assert "product 400 TFLOP/s, copy 2.90 TB/s" in text


def test_a_guarded_function_fails_once_and_lets_go_of_its_memory():
    run = Guarded(mock.Mock(side_effect=ValueError("no\nmore")))
    run(1)
    run(1)
    assert run.failure == "ValueError: no more"  # in one line
    assert run._run is None


def test_a_stop_by_the_user_goes_on():
    with pytest.raises(KeyboardInterrupt), failure_in({}):
        raise KeyboardInterrupt
    assert sentence_of(ValueError()) == "ValueError"


# ------------------------------------------------------------------------------------------ the script


def run_script(*arguments, **environment):
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip


def fake_python(path, body):
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_session_script_is_valid():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    for arguments, code in (([], 2), (["--help"], 0), (["--quick"], 2)):
        done = run_script(*arguments)
        assert done.returncode == code
        assert "gpu_session.sh OUT [WHEELS] [CIFAR]" in (done.stderr if code else done.stdout)
    missing = run_script("out", "no-such-folder")
    assert (missing.returncode, missing.stderr) == (2, "error: there is no no-such-folder\n")


def test_the_session_goes_on_past_what_fails_and_packs_what_there_is(tmp_path):
    """With a Python that knows nothing, every part fails: there is a summary all the same, and one archive."""
    useless = fake_python(tmp_path / "python", "echo no such module >&2\nexit 3")
    (tmp_path / "wheels").mkdir()
    done = run_script(tmp_path / "out", tmp_path / "wheels", PYTHON=useless)
    assert done.returncode == 1
    parts = (tmp_path / "out" / "parts.txt").read_text()
    order = ["install", "environment", "proof", "steps", "racecheck", "memcheck", "profile-nano", "profile-small-4",
             "kernels", "table", "tests", "training"]  # fmt: skip
    assert [line.split()[1].rstrip(":") for line in parts.splitlines()] == order
    assert all("FAILED with exit code" in line for line in parts.splitlines())
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        names = archive.getnames()
    assert {"out/summary.md", "out/parts.txt", "out/steps.txt", "out/table.txt"} <= set(names)
    assert "steps: FAILED" in (tmp_path / "out" / "summary.md").read_text()
    assert "no such module" in (tmp_path / "out" / "table.txt").read_text()


def test_a_session_that_is_cut_off_leaves_an_archive(tmp_path):
    slow = fake_python(
        tmp_path / "python",
        f'case "$*" in *gpu_environment*) touch "{tmp_path}/begun"; sleep 30;;\n'
        f'*gpu_summary*) exec {sys.executable} "$@";; esac',
    )
    running = subprocess.Popen(
        ["bash", str(SCRIPT), str(tmp_path / "out")], env=os.environ | {"PYTHON": slow}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    for _ in range(1200):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(timeout=30) != 0
    assert (tmp_path / "out.tar.gz").exists()
    assert "# GPU session" in (tmp_path / "out" / "summary.md").read_text()


def test_the_session_asks_the_step_to_prove_itself_and_keeps_its_reports(tmp_path):
    body = (
        'case "$*" in *"doctor --gpu --json"*) mkdir -p "$TINYMIXER_CACHE/gpu-proofs";\n'
        'echo off by 5 > "$TINYMIXER_CACHE/gpu-proofs/x-captured.txt"; echo \'{"usable": true}\'; exit 1;;\n'
        f'*gpu_summary*) exec {sys.executable} "$@";; esac'
    )
    done = run_script(tmp_path / "out", PYTHON=fake_python(tmp_path / "python", body))
    assert done.returncode == 1  # a precision that went down to the layers
    page = (tmp_path / "out" / "summary.md").read_text()
    assert "- proof: FAILED with exit code 1" in page
    assert '{"usable": true}' in page
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        assert "out/proof-cache/gpu-proofs/x-captured.txt" in archive.getnames()


def test_the_session_keeps_to_its_time():
    """The limits of its parts together; the wheels' installation comes off the others."""
    text = SCRIPT.read_text()
    whole = int(re.search(r"^WHOLE=(\d+)", text, re.M)[1])
    names = re.findall(r'^(?:for .*; do )?\s*part ("?[$\w{}/\\-]+"?) (\d+) ', text, re.M)
    twice = {'"$tool"': 2, '"profile-${model/\\//-}"': 2}
    limits = [int(limit) * twice.get(name, 1) for name, limit in names]
    assert sum(limits) - 40 <= whole < 480  # the training is there twice, and one of them runs
    assert {"proof", "steps", "table", "tests", "training"} <= {name for name, _ in names}


def test_the_summary_shows_what_is_there_and_names_what_is_not(tmp_path):
    (tmp_path / "parts.txt").write_text("- steps: done in 3 s\n- table: FAILED, stopped after 100 s\n")
    (tmp_path / "steps.txt").write_text("bfloat16 losses right\n")
    (tmp_path / "tests.txt").write_text("\n".join(f"line {i}" for i in range(100)) + "\n= 3 passed =\n")
    (tmp_path / "table.txt").mkdir()
    page = gpu_summary.page(tmp_path)
    assert "**1 parts failed or were left out.**" in page
    assert "bfloat16 losses right" in page
    assert "= 3 passed =" in page
    assert "line 10\n" not in page
    assert "table.txt cannot be read" in page
    assert "## Training\n\nnothing was written" in page
    assert gpu_summary.page(tmp_path / "nowhere").startswith("# GPU session")


def test_the_peers_modules_have_what_the_table_asks_for():
    assert all(callable(getattr(ours_cupy, name)) for name in ("make_step", "versions", "reset_peak", "peak_bytes"))
