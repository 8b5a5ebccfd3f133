"""Where the fused step is wrong or fails, a run goes on in the next way, says so, and computes the right numbers."""

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest

from tests.engines.cuda.proofs import planted, scaled
from tests.engines.cuda.test_cuda_engine import assert_same_run, dataset, recipe
from tests.kernels import emulator, fake_cupy
from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.kernels.fake_cuda import CUDARuntimeError, OutOfMemoryError
from tests.kernels.fake_cupy import fake_gpu
from tests.training.small_runs import Recorder
from tinymixer.backend import CupyBackend, get_backend
from tinymixer.engines.cuda import self_proof
from tinymixer.engines.cuda.bounds import Comparison
from tinymixer.engines.cuda.self_proof import Proof
from tinymixer.errors import BackendError, TrainingError
from tinymixer.kernels.operations import fused_operations
from tinymixer.training import Trainer
from tinymixer.training.recipe import load_recipe

pytestmark = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)


@contextmanager
def gpu(**options):
    """The stand-in GPU as the backend "cupy", with an empty cache folder."""
    with fake_gpu(**options) as cupy:

        def chosen(name="auto", kernels="auto"):
            on_gpu = CupyBackend("cupy", cupy, fused_operations(cupy))
            return on_gpu if name == "cupy" else get_backend(name, kernels)

        with (
            mock.patch("tinymixer.training.build.get_backend", chosen),
            mock.patch("tinymixer.kernels.products.WORKSPACE_BYTES", 1024),  # filled by the stand-in, which takes time
        ):
            yield cupy


@pytest.fixture(scope="module")
def on_numpy(tmp_path_factory):
    trainer = Trainer(recipe(backend="numpy", epochs=1), tmp_path_factory.mktemp("numpy") / "run", dataset())
    trainer.run()
    return trainer


def started(folder, **options):
    heard = Recorder()
    trainer = Trainer(recipe(backend="cupy", epochs=1, **options), folder / "run", dataset(), heard)
    return trainer, heard


def trained(folder, **options):
    trainer, heard = started(folder, **options)
    trainer.run()
    return trainer, "\n".join(heard.notes)


@contextmanager
def counted_proofs(real=True):
    """A list of the proofs made: whether each was of a captured step. Those that are not real compare nothing."""
    prove, made = self_proof.prove, []

    def counted(*arguments):
        made.append(arguments[3].captured)
        return prove(*arguments) if real else Proof((Comparison("loss", "distance", 0.0, 1.0),), 6, 0.0)

    with mock.patch.object(self_proof, "prove", counted):
        yield made


def outcomes(kind="*.json"):
    from tinymixer.data import cache_folder

    return sorted((cache_folder() / "gpu-proofs").glob(kind))


def ways():
    (path,) = outcomes()
    return json.loads(path.read_text())["ways"]


def test_a_right_step_is_proved_once_and_its_numbers_are_the_same_without_a_proof(tmp_path, on_numpy):
    with gpu(), counted_proofs() as proofs:
        first, _ = trained(tmp_path / "first")
        assert (first.engine.way, first.engine.note) == ("captured", None)
        assert "captured in a CUDA graph, held to the layers' gradients" in first.engine.description
        second, _ = trained(tmp_path / "second")
        unproved, _ = trained(tmp_path / "third", check_kernels="never")
        assert proofs == [True]
        assert ways()["captured"]["status"] == "passed"
        assert_same_run(first, on_numpy)
        for other in (second, unproved):
            np.testing.assert_array_equal(other.model.parameters.values, first.model.parameters.values)


def test_a_wrong_kernel_sends_the_run_through_the_layers(tmp_path, on_numpy):
    with gpu(), planted("bias_gelu_backward_rows", scaled(0)), counted_proofs() as proofs:
        trainer, notes = trained(tmp_path)
        assert trainer.engine.way == "layers"
        assert_same_run(trainer, on_numpy)
        assert proofs == [True, False]
        assert notes.startswith("steps go through the layers on CuPy, in float32, because the gradient of ")
        assert "is off by 5" in notes
        assert "where rounding explains" in notes
        reports = outcomes("*.txt")
        assert len(reports) == 2
        assert all(str(report) in notes for report in reports)
        text = reports[0].read_text()
        assert "Stand-in" in text
        assert "gradient of blocks.0.token_mixing.weight1, step 1" in text
        again, _ = started(tmp_path / "again")
        assert again.engine.way == "layers"
        assert "when this was checked before" in again.engine.note
        assert proofs == [True, False]
        started(tmp_path / "always", check_kernels="always")
        assert proofs == [True, False] * 2


def test_a_failing_capture_leaves_the_fused_step_uncaptured(tmp_path, on_numpy):
    with gpu() as cupy:
        from nvmath.bindings import cublas

        gemm = cublas.gemm_ex

        def refuses_captures(*arguments):
            if cupy.cuda.get_current_stream().is_capturing():
                raise cublas.cuBLASError("CUBLAS_STATUS_NOT_SUPPORTED")
            gemm(*arguments)

        with mock.patch.object(cublas, "gemm_ex", refuses_captures):
            trainer, notes = trained(tmp_path)
        assert trainer.engine.way == "uncaptured"
        assert_same_run(trainer, on_numpy)
        assert "steps are launched kernel by kernel, because the step could not be captured" in notes
        assert "CUBLAS_STATUS_NOT_SUPPORTED" in notes
        assert {way: outcome["status"] for way, outcome in ways().items()} == {
            "captured": "failed", "uncaptured": "passed",
        }  # fmt: skip


def test_a_missing_library_is_named_and_looked_for_again_at_the_next_start(tmp_path, on_numpy):
    with gpu(with_nvmath=False):
        trainer, notes = trained(tmp_path)
        assert trainer.engine.way == "uncaptured"
        assert_same_run(trainer, on_numpy)
        assert "nvmath-python cannot be used" in notes
        assert "pip install" in notes
        assert "captured" not in ways()


@pytest.mark.parametrize("check", ["never", "first"])
def test_out_of_memory_at_the_first_launch_is_survived(tmp_path, on_numpy, check):
    """With "never" it comes in the run itself, whose first steps are taken again."""
    launch, count = emulator.launch, iter(range(1_000_000))

    def short_of_memory(*arguments):
        if next(count) == 7:
            raise OutOfMemoryError("Out of memory allocating 512 bytes")
        return launch(*arguments)

    with gpu(), mock.patch.object(emulator, "launch", short_of_memory):
        trainer, notes = trained(tmp_path, check_kernels=check)
        assert trainer.engine.way == "uncaptured"
        assert_same_run(trainer, on_numpy)
        assert "Out of memory allocating 512 bytes" in notes
        assert all(outcome["status"] == "passed" for path in outcomes() for outcome in ways().values())


def test_a_driver_too_old_for_the_kernels_sends_the_run_through_the_layers(tmp_path, on_numpy):
    def refuse(*arguments, **keywords):
        raise RuntimeError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with another toolchain")

    with gpu() as cupy, mock.patch.object(cupy, "RawModule", refuse):
        trainer, notes = trained(tmp_path)
        assert trainer.engine.way == "layers"
        assert_same_run(trainer, on_numpy)
        assert "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" in notes


def test_a_driver_too_old_for_cupy_leaves_the_run_on_the_processor(tmp_path, on_numpy):
    def refuse():
        raise CUDARuntimeError(
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
        )

    with fake_gpu() as cupy, mock.patch.object(cupy.cuda.runtime, "getDeviceCount", refuse):
        trainer = Trainer(recipe(epochs=1), tmp_path / "run", dataset())
        assert "cudaErrorInsufficientDriver" in trainer.backend.reason
        trainer.run()
        assert_same_run(trainer, on_numpy)


@pytest.mark.parametrize(
    ("capability", "asked", "taken"),
    [
        ("75", "auto", "float16"), ("75", "bfloat16", "float16"), ("75", "tf32", "float32"), ("61", "auto", "float32"),
        ("80", "auto", "bfloat16"), ("120", "auto", "bfloat16"), ("90", "tf32", "tf32"),
    ],
)  # fmt: skip
def test_the_precision_follows_the_capability(tmp_path, monkeypatch, capability, asked, taken):
    monkeypatch.setitem(fake_cupy.CAPABILITY, "device", capability)
    with gpu():
        trainer, _ = started(tmp_path, precision=asked, check_kernels="never")
        assert trainer.engine.precision == trainer.recipe.training.precision == taken
        assert load_recipe(tmp_path / "run" / "config.toml").training.precision == taken
        if asked == "auto":
            assert f"{taken} was chosen for compute capability" in trainer.engine.description
        elif asked != taken:
            assert f"has no {asked}, so --precision {taken} is used instead" in trainer.engine.note


def test_a_run_is_resumed_in_the_precision_that_it_was_begun_in(tmp_path, monkeypatch):
    with gpu():
        begun, _ = trained(tmp_path, precision="auto", check_kernels="never")
        assert begun.recipe.training.precision == "bfloat16"
        monkeypatch.setitem(fake_cupy.CAPABILITY, "device", "75")
        options = recipe(backend="cupy", epochs=1, precision="auto", check_kernels="never")
        again = Trainer(options, tmp_path / "run", dataset(), resume=True)
        assert again.recipe.training.precision == "bfloat16"
        assert again.engine.precision == "float16"
        assert again.run().status == "already finished"


def test_a_damaged_outcome_is_found_out_anew(tmp_path):
    with gpu(), counted_proofs(real=False) as proofs:
        started(tmp_path / "first")
        (path,) = outcomes()
        for content in (b"", b"{", b'{"format": 1}', b"\xff\xfe", b'{"ways": {"captured": {"status": "passed"}}}'):
            path.write_bytes(content)
            started(tmp_path / str(len(proofs)))
        assert proofs == [True] * 6
        assert ways()["captured"]["status"] == "passed"


def test_a_process_that_dies_in_the_proof_counts_as_a_failure_of_that_way(tmp_path, on_numpy):
    with gpu(), counted_proofs(real=False) as proofs:
        with mock.patch.object(self_proof, "prove", side_effect=SystemExit):
            with pytest.raises(SystemExit):
                started(tmp_path / "stopped")
            assert ways() == {}  # a stop is no failure
        started(tmp_path / "first")
        (path,) = outcomes()
        content = json.loads(path.read_text())
        dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        content["ways"] = {"captured": content["ways"]["captured"] | {"status": "trying", "process": int(dead.stdout)}}
        content["ways"]["captured"]["machine"] = socket.gethostname()
        path.write_text(json.dumps(content))
        trainer, notes = trained(tmp_path / "second")
        assert trainer.engine.way == "uncaptured"
        assert "the program ended while it was checked, when this was checked before" in notes
        assert_same_run(trainer, on_numpy)
        assert proofs == [True, False]


class PoisonedError(RuntimeError):
    """What CuPy raises from now on."""


def poisoned(cupy, after):
    """From the launch with this number on, every use of the GPU fails, as after an illegal address."""
    launch, count, dead = emulator.launch, iter(range(1_000_000)), []

    def fails(*arguments, **keywords):
        if dead or next(count) >= after:
            dead.append(True)
            raise PoisonedError("cudaErrorIllegalAddress: an illegal memory access was encountered")
        return launch(*arguments, **keywords)

    def allocate(*arguments, real=cupy.zeros, **keywords):
        if dead:
            raise PoisonedError("cudaErrorIllegalAddress: an illegal memory access was encountered")
        return real(*arguments, **keywords)

    return mock.patch.multiple(emulator, launch=fails), mock.patch.object(cupy, "zeros", allocate)


def test_an_illegal_address_in_the_proof_ends_in_a_sentence_and_the_next_start_goes_on(tmp_path, on_numpy):
    with gpu() as cupy:
        launches, zeros = poisoned(cupy, 20)
        with launches, zeros, pytest.raises(BackendError) as caught:
            started(tmp_path)
        sentence = str(caught.value)
        assert "the GPU stopped working for this program" in sentence
        assert "cudaErrorIllegalAddress" in sentence
        assert "start the same command again" in sentence
        assert "--no-captured" in sentence
        assert not (tmp_path / "run").exists()
        trainer, notes = trained(tmp_path)
        assert trainer.engine.way == "uncaptured"
        assert "cudaErrorIllegalAddress" in notes
        assert_same_run(trainer, on_numpy)


def test_an_illegal_address_in_the_first_steps_leaves_the_next_way_to_the_next_start(tmp_path, on_numpy):
    with gpu() as cupy, counted_proofs(real=False):
        trainer, _ = started(tmp_path)
        launches, zeros = poisoned(cupy, 5)
        with launches, zeros, pytest.raises(BackendError, match=r"stopped working .* with --resume"):
            trainer.run()
        again = Trainer(recipe(backend="cupy", epochs=1), tmp_path / "run", dataset(), resume=True)
        assert again.engine.way == "uncaptured"
        again.run()
        assert_same_run(again, on_numpy)


def test_an_illegal_address_in_the_middle_of_a_run_leaves_it_to_be_resumed(tmp_path, on_numpy):
    with gpu() as cupy:
        trainer, _ = started(tmp_path, captured=False, check_kernels="never", checkpoint_every_steps=2)
        launches, zeros = poisoned(cupy, 110)
        with launches, zeros, pytest.raises(TrainingError, match=r"the GPU failed \(cudaErrorIllegalAddress.*--resume"):
            trainer.run()
        options = recipe(backend="cupy", epochs=1, captured=False, check_kernels="never", checkpoint_every_steps=2)
        again = Trainer(options, tmp_path / "run", dataset(), resume=True)
        again.run()
        assert_same_run(again, on_numpy)


def test_a_gpu_that_does_nothing_at_all_is_a_sentence(tmp_path):
    with gpu() as cupy:
        launches, zeros = poisoned(cupy, 0)
        with launches, zeros, pytest.raises(BackendError, match=r"the GPU (cannot be used|stopped working)"):
            started(tmp_path, captured=False)
        with (
            mock.patch.object(cupy.cuda.runtime, "driverGetVersion", side_effect=PoisonedError("no driver")),
            pytest.raises(BackendError, match=r"does not answer \(no driver\).*--backend numpy"),
        ):
            started(tmp_path)


def test_a_batch_that_does_not_fit_is_the_users_to_mend(tmp_path, monkeypatch):
    with gpu():
        monkeypatch.setattr(fake_cupy.MEMORY, "free", 20_000)
        with pytest.raises(BackendError, match=r"out of GPU memory: a step of 6 images in float32"):
            started(tmp_path)


def test_a_model_too_narrow_to_be_checked_goes_through_the_layers(tmp_path):
    with gpu():
        trainer, _ = started(tmp_path / "narrow", hidden_dim=7)
        assert trainer.engine.name == "reference"
        unchecked, _ = started(tmp_path / "unchecked", hidden_dim=7, check_kernels="never")
        assert unchecked.engine.way == "captured"
