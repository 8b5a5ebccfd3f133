"""Sums over GPUs: the captured step on several ranks, on a stand-in GPU and a stand-in NCCL that really adds up."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.engines.cuda.test_captured_step import BATCH, CONFIG, OPTIMIZERS, SEED, data, host, learning_rate, start
from tests.engines.cuda.test_cuda_engine import dataset, gpu, recipe, rows
from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.kernels.fake_cupy import fake_gpu
from tests.parallel.fake_nccl import CALLS, Communicator, NCCLError, Result, TakingTurns, fake_nccl, here
from tests.parallel.thread_ranks import on_ranks
from tests.training.small_runs import Recorder
from tinymixer import MlpMixer, ops
from tinymixer.backend import CupyBackend
from tinymixer.data import Augmentation, epoch_order
from tinymixer.engines.cuda.captured_step import CapturedStep
from tinymixer.engines.cuda.failures import WayFailedError
from tinymixer.engines.cuda.staging import draw_step
from tinymixer.engines.guarded_cuda import CAPTURED, UNCAPTURED, GuardedCudaEngine
from tinymixer.errors import BackendError
from tinymixer.parallel.gpu import use_own_gpu
from tinymixer.parallel.nccl import device_sum
from tinymixer.parallel.ranks import ONE_RANK
from tinymixer.training import Trainer

pytestmark = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)
STEPS = 3
CROPS = Augmentation(2, True, 2)
MIXED = Augmentation(2, True, 2, transforms="rotate(20, 0.5) contrast", mixup=0.8, cutmix=1.0)
RANDOM = type(CONFIG)(**CONFIG.to_dict() | {"dropout": 0.2, "drop_path": 0.4})


def taking_turns(size, work):
    return on_ranks(size, work, patience=120, kind=TakingTurns)


def three_steps(cupy, ranks, optimizer="sgd decoupled", augmentation=CROPS, **options):
    """Weights, losses and the captured step after some steps of a part of every batch."""
    here.ranks = ranks
    model = MlpMixer(RANDOM, backend=CupyBackend("cupy", cupy, ops))
    start(model.parameters)
    step = CapturedStep(
        model, OPTIMIZERS[optimizer](model.parameters), batch_size=BATCH, fill=114, augmentation=augmentation,
        ranks=ranks, **data(CONFIG), **options,
    )  # fmt: skip
    order, share = epoch_order(SEED, 0, 30), ranks.part(BATCH)
    step.stage([
        draw_step(order[s * BATCH : (s + 1) * BATCH], augmentation, learning_rate(s), SEED, 0, s, share, (8, 8, 3),
                  mixed=s < 2)
        for s in range(STEPS)
    ])  # fmt: skip
    step.run(STEPS)
    return host(model.parameters.values), step.totals(), step


@pytest.fixture(scope="module")
def alone():
    with fake_gpu() as cupy:
        return three_steps(cupy, ONE_RANK)[:2]


@pytest.mark.parametrize(
    ("size", "captured", "nccl"),
    [(2, True, "nccl4py"), (2, False, "cupy"), (4, True, "cupy"), (2, True, None)],
)
def test_the_step_of_several_gpus_is_that_of_one(size, captured, nccl, alone):
    """Four ranks have 1, 2, 1 and 2 of six images. The masks are those of the images' places in the whole batch."""
    with fake_gpu() as cupy, fake_nccl(cupy, nccl4py=nccl == "nccl4py", cupys=nccl == "cupy"):
        results = taking_turns(size, lambda ranks: three_steps(cupy, ranks, captured=captured))
    for values, totals, step in results:
        np.testing.assert_allclose(values, alone[0], rtol=1e-5, atol=1e-6)
        assert totals.loss_sum == pytest.approx(alone[1].loss_sum, rel=1e-6)
        assert (totals.correct, totals.images) == (alone[1].correct, alone[1].images)
        assert step.captured == (captured and nccl is not None)
        assert ("added up on the host" in (step.note or "")) == (nccl is None and captured)
        np.testing.assert_array_equal(values, results[0][0])
    assert {call[1] for call in CALLS} == ({nccl} if nccl else set())
    if captured and nccl:  # one run before recording, and the recording; replays ask for nothing
        assert [call[3] for call in CALLS if call[0] == 0] == [False] * 3 + [True] * 3


def test_ranks_mix_with_the_partners_of_the_whole_batch():
    """Four ranks have 1, 2, 1 and 2 of six images; the last step is not mixed."""
    with fake_gpu() as cupy:
        wanted, totals, _ = three_steps(cupy, ONE_RANK, augmentation=MIXED)
    with fake_gpu() as cupy, fake_nccl(cupy):
        results = taking_turns(4, lambda ranks: three_steps(cupy, ranks, augmentation=MIXED))
    for values, found, _ in results:
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)
        assert found.loss_sum == pytest.approx(totals.loss_sum, rel=1e-6)
        assert found.correct == totals.correct


def test_one_rank_that_cannot_capture_takes_the_others_along(alone):
    def work(ranks):
        original = Communicator.allreduce

        def refuses(self, *arguments, stream=None):
            if ranks_that_refuse == here.ranks.rank and cupy.cuda.get_current_stream().is_capturing():
                raise NCCLError("ncclInvalidUsage")
            original(self, *arguments, stream=stream)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Communicator, "allreduce", refuses)
            ranks.gather(None)  # both have patched
            result = three_steps(cupy, ranks)
            ranks.gather(None)
        return result

    ranks_that_refuse = 1
    with fake_gpu() as cupy, fake_nccl(cupy):
        results = taking_turns(2, work)
    assert [step.captured for _, _, step in results] == [False, False]
    assert results[0][2].note == "another rank could not capture the step in a CUDA graph, so none replays one"
    assert results[1][2].note == "the step could not be captured in a CUDA graph: ncclInvalidUsage"
    for values, _, _ in results:
        np.testing.assert_allclose(values, alone[0], rtol=1e-5, atol=1e-6)


def test_a_whole_run_on_two_gpus_is_that_of_one_on_numpy(tmp_path):
    options = {"epochs": 2, "checkpoint_every_steps": 3}
    wanted = Trainer(recipe(backend="numpy", **options), tmp_path / "numpy", dataset())
    wanted.run()
    with gpu(), fake_nccl(__import__("cupy")):

        def work(ranks):
            trainer = Trainer(recipe(backend="cupy", **options), tmp_path / "run", dataset(), Recorder(), ranks=ranks)
            assert trainer.engine.name == "cuda"
            trainer.run()
            return rows(trainer), host(trainer.model.parameters.values)

        found = taking_turns(2, work)
    np.testing.assert_array_equal(found[0][1], found[1][1])
    for ours, theirs in zip(found[0][0], rows(wanted), strict=True):
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name


def test_ranks_take_the_way_that_proves_right_on_all_of_them(tmp_path, monkeypatch):
    """One rank's captured step is wrong: both launch kernel by kernel, since their sums must meet."""
    prove = GuardedCudaEngine._prove

    def wrong_on_the_second(engine, way, options):
        if engine._work.ranks.rank == 1 and way == CAPTURED:
            raise WayFailedError("planted")
        prove(engine, way, options)

    monkeypatch.setattr(GuardedCudaEngine, "_prove", wrong_on_the_second)
    wanted = Trainer(recipe(backend="numpy", epochs=1), tmp_path / "numpy", dataset())
    wanted.run()
    with gpu(), fake_nccl(__import__("cupy")):

        def work(ranks):
            options = recipe(backend="cupy", epochs=1, check_kernels="always")
            trainer = Trainer(options, tmp_path / "run", dataset(), Recorder(), ranks=ranks)
            trainer.run()
            return trainer.engine.way, trainer.engine.note, host(trainer.model.parameters.values)

        one, other = taking_turns(2, work)
    assert one[0] == other[0] == UNCAPTURED
    assert "another rank" in one[1]
    assert "planted" in other[1]
    np.testing.assert_array_equal(one[2], other[2])
    np.testing.assert_allclose(one[2], wanted.model.parameters.values, rtol=1e-3, atol=1e-4)


def test_a_stop_on_one_gpu_stops_both_after_the_same_step(tmp_path):
    with gpu(), fake_nccl(__import__("cupy")):

        def work(ranks):
            mine = Recorder(lambda step: mine.stop() if ranks.rank == 1 else None)
            options = recipe(backend="cupy", epochs=50)
            trainer = Trainer(options, tmp_path / "run", dataset(), mine, ranks=ranks)
            return trainer.run().status, trainer.step

        one, other = taking_turns(2, work)
    assert one == other
    assert one[0] == "interrupted"


def test_the_layers_on_cupy_add_up_by_nccl_too(tmp_path, monkeypatch):
    """The reference engine, on ranks with two and three images. (The stand-in's arrays call themselves NumPy's.)"""
    with gpu(), fake_nccl(__import__("cupy")):
        monkeypatch.setattr("tinymixer.parallel.ranks.namespace", lambda vector: __import__("cupy"))

        def work(ranks):
            options = recipe(backend="cupy", kernels="reference", epochs=1, batch_size=5)
            trainer = Trainer(options, tmp_path / "run", dataset(), Recorder(), ranks=ranks)
            assert trainer.engine.name == "reference"
            trainer.run()
            return rows(trainer)

        found = taking_turns(2, work)
    wanted = Trainer(recipe(backend="numpy", epochs=1, batch_size=5), tmp_path / "numpy", dataset())
    wanted.run()
    assert found[0][0]["train_loss"] == pytest.approx(rows(wanted)[0]["train_loss"], rel=1e-4)
    assert CALLS


def test_an_nccl_that_cannot_connect_is_a_sentence_on_all_ranks(monkeypatch):
    def init(nranks, rank, unique_id, config=None):
        if rank == 1:
            raise NCCLError("ncclSystemError")
        return Communicator()

    def work(ranks):
        with pytest.raises(BackendError) as caught:
            device_sum(ranks, cupy)
        return str(caught.value)

    with fake_gpu() as cupy, fake_nccl(cupy):
        monkeypatch.setattr(Communicator, "init", init)
        found = taking_turns(2, work)
    assert found[0] == found[1]
    assert "NCCL cannot connect the GPUs of 2 ranks: rank 1 (here): ncclSystemError" in found[0]


def test_nccl_can_be_switched_off_and_a_failure_is_told_to_the_watchdog(monkeypatch):
    def work(ranks):
        found = device_sum(ranks, cupy)
        monkeypatch.setattr(Communicator, "failing", Result.SystemError)
        ranks.gather(None)
        return found.name, found.failure()

    with fake_gpu() as cupy, fake_nccl(cupy):
        assert taking_turns(2, work) == [("NCCL (nccl4py)", "NCCL, which failed (2)")] * 2
        monkeypatch.setenv("TINYMIXER_NCCL", "off")
        assert taking_turns(2, work) == [("MPI on the host", None)] * 2


def test_two_ranks_on_one_gpu_are_refused(monkeypatch):
    with fake_gpu() as cupy, fake_nccl(cupy):
        taking_turns(2, lambda ranks: use_own_gpu(ranks, cupy))  # one each
        monkeypatch.setattr(cupy.cuda.runtime, "deviceGetPCIBusId", lambda device: "0000:01:00.0")
        with pytest.raises(BackendError, match="2 ranks run on here, where they see 1 GPU: start one rank per GPU"):
            taking_turns(2, lambda ranks: use_own_gpu(ranks, cupy))


# ------------------------------------------------------------------------------------------ the real nccl4py's source


def signature(source: str, name: str, inside: str | None = None) -> list[str]:
    """The parameters of a function, or of a class's method, in Python source."""
    tree: ast.AST = ast.parse(source)
    if inside is not None:
        tree = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == inside)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    arguments = found[-1].args
    return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


@pytest.mark.peers
def test_the_stand_in_takes_what_the_real_nccl4py_takes():
    """Read as text: loading it takes a CUDA driver."""
    found = importlib.util.find_spec("nccl")
    if found is None or not found.submodule_search_locations:
        pytest.skip("nccl4py is not installed")
    folder, ours = Path(next(iter(found.submodule_search_locations))) / "core", Path(__file__).with_name("fake_nccl.py")
    stand_in = ours.read_text()
    real = (folder / "communicator.py").read_text()
    for name in ("init", "allreduce", "get_async_error"):
        assert signature(stand_in, name, "Communicator") == signature(real, name, "Communicator"), name
    utilities = (folder / "utils.py").read_text()
    assert signature(stand_in, "from_bytes", "UniqueId") == signature(utilities, "from_bytes", "UniqueId")
    assert signature(utilities, "get_unique_id") in ([], ["empty"])
    assert signature((folder / "group.py").read_text(), "group") == []
    exported = ast.literal_eval(
        next(
            ast.unparse(node.value)
            for node in ast.walk(ast.parse((folder / "__init__.py").read_text()))
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
    )
    assert {"Communicator", "UniqueId", "get_unique_id", "group", "SUM", "NcclInvalid"} <= set(exported)
