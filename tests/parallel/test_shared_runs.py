"""Whole runs on several ranks (threads here): the run of one process to rounding, and their own to the bit."""

import signal
from unittest import mock

import numpy as np
import pytest

from tests.engines.own_models import CONFIG, BatchCentred, TwiceTheLogits
from tests.layers.running_mean import CentredModel
from tests.parallel.thread_ranks import on_ranks
from tests.training.small_runs import (
    Recorder,
    assert_same_checkpoint,
    names_in,
    run_small,
    small_dataset,
    small_recipe,
    without_times,
)
from tinymixer.draws import Draws
from tinymixer.engines import EngineOptions, choose_engine, train_step
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.models import MlpMixer
from tinymixer.optim import SGD
from tinymixer.parallel.ranks import share_out
from tinymixer.training import Trainer, load_checkpoint, read_rows
from tinymixer.training.evaluate import predict_log_probabilities
from tinymixer.training.reports import Reports

SIZES = (2, 3)


def run_on(size, folder, progress=None, resume=False, model=None, **overrides):
    """The small run on so many ranks: every rank's trainer, rank 0 with this progress."""

    def work(ranks):
        mine = progress if ranks.rank == 0 and progress is not None else Recorder()
        own = None if model is None else model()
        trainer = Trainer(small_recipe(**overrides), folder, small_dataset(), mine, resume, own, ranks=ranks)
        trainer.result = trainer.run()
        return trainer

    return on_ranks(size, work)


def assert_nearly_the_same(path, other, tolerance=2e-5):
    one, two = load_checkpoint(path), load_checkpoint(other)
    for name, array in one.parameters.items():
        if not name.endswith("token_mixing.bias2"):  # its gradient is rounding alone, which Adam divides by its size
            np.testing.assert_allclose(array, two.parameters[name], rtol=tolerance, atol=tolerance, err_msg=name)
    assert one.state.loss_sum == pytest.approx(two.state.loss_sum, rel=1e-5)
    assert (one.state.epoch, one.state.step, one.state.images) == (two.state.epoch, two.state.step, two.state.images)


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    """Most of such a short run's time would be its picture's."""
    with mock.patch.object(Reports, "draw_curves"):
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder, recorder = tmp_path_factory.mktemp("alone") / "run", Recorder()
    run_small(folder, recorder, threads=1)
    return folder, recorder


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("size", SIZES)
def test_losses_rows_and_weights_are_those_of_one_process(size, engine, tmp_path, alone):
    folder, wanted = alone
    recorder = Recorder()
    trainers = run_on(size, tmp_path / "run", recorder, engine=engine)
    assert [step[0] for step in recorder.steps] == [step[0] for step in wanted.steps]
    for found, expected in zip(recorder.steps, wanted.steps, strict=True):
        assert found[1] == pytest.approx(expected[1], rel=1e-5)
        assert found[2] == expected[2]
    for found, expected in zip(without_times(recorder.rows), without_times(wanted.rows), strict=True):
        assert found.keys() == expected.keys()
        for name in found:
            assert found[name] == (expected[name] if name == "tested" else pytest.approx(expected[name], rel=1e-5))
    assert_nearly_the_same(tmp_path / "run" / "last.npz", folder / "last.npz")
    for trainer in trainers[1:]:  # every rank has the same weights and figures, to the bit
        np.testing.assert_array_equal(trainer.model.parameters.values, trainers[0].model.parameters.values)
        assert trainer.state.loss_sum == trainers[0].state.loss_sum
        assert without_times(trainer.rows) == without_times(trainers[0].rows)


def test_the_same_ranks_give_the_same_bits(tmp_path):
    for name in "ab":
        run_on(3, tmp_path / name)
    assert_same_checkpoint(tmp_path / "a" / "last.npz", tmp_path / "b" / "last.npz")


def test_rank_0_alone_writes(tmp_path, alone):
    trainers = run_on(2, tmp_path / "run")
    assert names_in(tmp_path / "run") == names_in(alone[0])
    assert len(read_rows(tmp_path / "run" / "metrics.jsonl")) == 3
    assert load_checkpoint(tmp_path / "run" / "last.npz").arithmetic["ranks"] == 2
    assert "ranks" not in load_checkpoint(alone[0] / "last.npz").arithmetic
    assert trainers[1].progress.results[0].folder == tmp_path / "run"


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (3, 2), (2, 2)])
def test_a_run_goes_on_with_another_number_of_ranks(before, after, tmp_path, alone):
    class Stopping(Recorder):
        def on_step(self, step, *rest):
            super().on_step(step, *rest)
            if step == 7:
                self.stop()

    stopped = run_on(before, tmp_path / "run", Stopping()) if before > 1 else [None]
    if before == 1:
        run_small(tmp_path / "run", Stopping(), threads=1)
    else:
        assert [trainer.result.status for trainer in stopped] == ["interrupted"] * before
        assert {trainer.step for trainer in stopped} == {8}  # the request travels with the sum of the next step
        assert f"tinymixer launch -n {before} train" in stopped[0].result.message
    notes = Recorder()
    if after == 1:
        run_small(tmp_path / "run", notes, resume=True, threads=1)
    else:
        run_on(after, tmp_path / "run", notes, resume=True)
    assert_nearly_the_same(tmp_path / "run" / "last.npz", alone[0] / "last.npz")
    assert any("ranks" in note for note in notes.notes) == (before != after)


def test_an_interrupted_run_of_two_ranks_is_an_unbroken_one_to_the_bit(tmp_path):
    class StopsOnRank1(Recorder):
        def on_step(self, step, *rest):
            if step == 6:
                self.stop()

    run_on(2, tmp_path / "whole")

    def work(ranks):
        progress = StopsOnRank1() if ranks.rank else Recorder()
        return Trainer(small_recipe(), tmp_path / "parts", small_dataset(), progress, ranks=ranks).run().status

    assert on_ranks(2, work) == ["interrupted"] * 2
    run_on(2, tmp_path / "parts", resume=True)
    assert_same_checkpoint(tmp_path / "whole" / "last.npz", tmp_path / "parts" / "last.npz")


def test_a_signal_on_one_rank_is_in_every_ranks_result(tmp_path):
    def work(ranks):
        progress = Recorder(lambda step: setattr(progress.trainer.stop, "signal", signal.SIGTERM))
        mine = progress if ranks.rank else Recorder()
        return Trainer(small_recipe(), tmp_path / "run", small_dataset(), mine, ranks=ranks).run().signal

    assert on_ranks(2, work) == [signal.SIGTERM] * 2


def test_micro_batches_and_uneven_parts_give_the_same_gradient():
    images = np.random.default_rng(0).normal(size=(11, 8, 8, 1))
    labels = np.random.default_rng(1).integers(0, 10, 11)
    config = type(CONFIG)(**CONFIG.to_dict() | {"dropout": 0.2, "drop_path": 0.3})

    def step(ranks, size, micro_batches):
        model = MlpMixer(config, seed=1, dtype="float64")
        model.parameters.values[...] += np.random.default_rng(0).normal(0, 0.1, model.parameters.values.shape)
        engine = choose_engine(model, EngineOptions(threads=1, slice_images=3, dtype="float64"))
        part = share_out(11, ranks.rank if ranks else 0, size)
        draws = Draws(5, 1, 2, np.arange(11)).part(part)
        more = {"ranks": ranks, "batch_size": 11} if ranks else {}
        optimizer = SGD(model.parameters, clip_norm=0.5)
        result = train_step(engine, optimizer, images[part], labels[part], 0.1, 0.1, draws, micro_batches, **more)
        return result, model.parameters.values

    (wanted, values) = step(None, 1, 1)
    for size, micro_batches in ((2, 1), (4, 2), (3, 3), (11, 1)):
        for found, weights in on_ranks(size, lambda ranks, n=size, parts=micro_batches: step(ranks, n, parts)):
            assert found.loss == pytest.approx(wanted.loss, rel=1e-12)
            assert found.gradient_norm == pytest.approx(wanted.gradient_norm, rel=1e-12)
            assert found.correct == wanted.correct
            np.testing.assert_allclose(weights, values, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("images", [1, 2, 24])
def test_evaluation_is_shared_out_and_gives_the_same_figures(images):
    data, model = small_dataset(), MlpMixer(CONFIG, seed=1)
    model.parameters.values[...] += np.random.default_rng(0).normal(0, 0.1, model.parameters.values.shape)
    arguments = model, data.test_images[:images], data.mean, data.std, 5
    wanted = predict_log_probabilities(*arguments)
    seen = []

    def work(ranks):
        engine = choose_engine(model, EngineOptions(threads=1))
        original = engine.logits
        engine.logits = lambda x: seen.append(len(x)) or original(x)
        return predict_log_probabilities(engine, *arguments[1:], ranks=ranks)

    for found in on_ranks(3, work):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert sum(seen) == images


def test_a_stop_during_evaluation_stops_all():
    data, model = small_dataset(), MlpMixer(CONFIG, seed=1)

    def work(ranks):
        stopped = lambda: ranks.rank == 1  # noqa: E731
        found = predict_log_probabilities(model, data.test_images, data.mean, data.std, 5, stopped, ranks=ranks)
        return found, ranks.stop_agreed(False)

    assert on_ranks(2, work) == [(None, True)] * 2


def test_statistics_are_those_of_the_whole_batch(tmp_path):
    config = {"image_size": 8, "in_channels": 1, "patch_size": 8, "hidden_dim": 5, "num_classes": 10}
    from tinymixer.models.image_config import PatchConfig

    def model():
        return CentredModel(PatchConfig(**config))

    data = small_dataset()
    Trainer(small_recipe(threads=1), tmp_path / "one", data, model=model()).run()
    run_on(2, tmp_path / "two", model=model)
    one, two = (load_checkpoint(tmp_path / name / "last.npz") for name in ("one", "two"))
    assert one.buffers
    for name, buffer in one.buffers.items():
        assert np.abs(buffer).max() > 1e-3
        np.testing.assert_allclose(two.buffers[name], buffer, rtol=1e-4, atol=1e-6)


class SquaresItsMean(CentredModel):
    """A statistic that is not linear in the batch's mean."""

    independent_images = True

    def update_buffers(self, cache):
        buffer = self.parameters.buffer("body.mean.mean")
        buffer[...] = cache[1][1] ** 2 + 0.01


class Silent(TwiceTheLogits):
    def forward(self, images, train=False, rng=None):
        return super().forward(images, train, rng)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: Silent(CONFIG), "does not say independent_images = True"),
        (lambda: BatchCentred(CONFIG, seed=1), r"BatchCentred gives other numbers .* \(its gradients\)"),
        (
            lambda: SquaresItsMean(type(CentredModel().config)(
                image_size=8, in_channels=1, patch_size=8, hidden_dim=5, num_classes=10
            )),
            r"SquaresItsMean gives other numbers .* \(its buffers\)",
        ),
    ],
)  # fmt: skip
def test_a_model_whose_batch_cannot_be_shared_out_is_refused(model, words, tmp_path):
    with pytest.raises(TrainingError, match=words):
        run_on(2, tmp_path / "run", model=model)


def test_more_ranks_than_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="9 ranks cannot share out a batch of 8 images: start 8 or fewer"):
        run_on(9, tmp_path / "run")


def test_ranks_that_would_train_different_runs_are_refused(tmp_path):
    def another_recipe(ranks):
        recipe = small_recipe(learning_rate=0.01 * (1 + ranks.rank))
        Trainer(recipe, tmp_path / "recipe", small_dataset(), Recorder(), ranks=ranks)

    def other_images(ranks):
        data = small_dataset()
        data.train_images[0, 0, 0, 0] += ranks.rank
        Trainer(small_recipe(), tmp_path / "data", type(data)(*vars_of(data)), Recorder(), ranks=ranks)

    def other_weights(ranks):
        model = MlpMixer(CONFIG, seed=ranks.rank)
        Trainer(small_recipe(), tmp_path / "weights", small_dataset(), Recorder(), model=model, ranks=ranks)

    with pytest.raises(TrainingError, match=r"differ in the recipe: .*learning_rate.*0\.01.*0\.02"):
        on_ranks(2, another_recipe)
    with pytest.raises(TrainingError, match="differ in the images"):
        on_ranks(2, other_images)
    with pytest.raises(TrainingError, match="differ in the first weights"):
        on_ranks(2, other_weights)
    assert not list(tmp_path.iterdir())


def vars_of(data):
    return (
        data.name, data.train_images, data.train_labels, data.test_images, data.test_labels, data.class_names,
        data.mean, data.std,
    )  # fmt: skip


def test_a_rank_whose_weights_have_gone_astray_ends_the_run(tmp_path):
    def work(ranks):
        def spoil(step):
            if ranks.rank == 1 and step == 3:
                mine.trainer.model.parameters.values[0] += 1e-6

        mine = Recorder(spoil)
        Trainer(small_recipe(), tmp_path / "run", small_dataset(), mine, ranks=ranks).run()

    with pytest.raises(TrainingError, match=r"the ranks differ in the weights after step 5: .* rounds otherwise"):
        on_ranks(2, work)


def test_all_ranks_average_the_same(tmp_path):
    ema = {"ema_decay": 0.9, "ema_every": 2, "epochs": 2}
    run_small(tmp_path / "alone", threads=1, **ema)
    one, other = (trainer.average for trainer in run_on(2, tmp_path / "run", **ema))
    np.testing.assert_array_equal(one.values, other.values)
    assert one.updates == other.updates == 5
    alone, together = (load_checkpoint(tmp_path / name / "last.npz").average for name in ("alone", "run"))
    assert alone.keys() == together.keys()
    for name, array in alone.items():
        if not name.endswith("token_mixing.bias2"):
            np.testing.assert_allclose(together[name], array, rtol=2e-5, atol=2e-5, err_msg=name)


def test_a_rank_whose_average_has_gone_astray_ends_the_run(tmp_path):
    def work(ranks):
        def spoil(step):
            if ranks.rank == 1 and step == 3:
                mine.trainer.average.values[0] += 1e-6

        mine = Recorder(spoil)
        Trainer(small_recipe(ema_decay=0.9), tmp_path / "run", small_dataset(), mine, ranks=ranks).run()

    with pytest.raises(TrainingError, match=r"the ranks differ in the averaged weights after step 5: .* rounds other"):
        on_ranks(2, work)


class Explodes(TwiceTheLogits):
    """Gives NaN from a certain batch on, where it is told to."""

    independent_images = True
    told = False

    def forward(self, images, train=False, rng=None):
        logits, cache = super().forward(images, train, rng)
        return logits * (np.nan if self.told else 1), cache


def test_a_loss_that_is_not_finite_on_one_rank_is_raised_by_all(tmp_path):
    def work(ranks):
        model = Explodes(CONFIG, seed=1)
        mine = Recorder(lambda step: setattr(model, "told", ranks.rank == 1 and step == 2))
        recipe = small_recipe(engine="reference", slice_images=64)
        trainer = Trainer(recipe, tmp_path / "run", small_dataset(), mine, model=model, ranks=ranks)
        trainer.engine._why_whole = "replicas would not be told"
        with pytest.raises(TrainingError) as caught:
            trainer.run()
        return str(caught.value)

    one, other = on_ranks(2, work)
    assert one == other
    assert "the loss became nan at step 3" in one
    assert load_checkpoint(tmp_path / "run" / "last.npz").state.step == 0


def test_a_full_disk_on_rank_0_ends_all_ranks_with_its_sentence(tmp_path, monkeypatch):
    def fails(path, checkpoint, say):
        raise TrainingError("there is no room")

    monkeypatch.setattr("tinymixer.training.saving.save_checkpoint", fails)

    def work(ranks):
        with pytest.raises(TrainingError, match="no room"):
            Trainer(small_recipe(), tmp_path / "run", small_dataset(), Recorder(), ranks=ranks).run()

    on_ranks(2, work)
