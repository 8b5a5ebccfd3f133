"""A budget of seconds, by a clock of the tests' own: what fits, that measuring leaves no trace, how a run goes on."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parallel.thread_ranks import on_ranks
from tests.training.small_runs import Recorder, StopAfter, assert_same_checkpoint, small_dataset, small_recipe
from tinymixer.errors import TrainingError
from tinymixer.training import RunFolder, Trainer, load_checkpoint, measuring, read_rows, read_step_rows
from tinymixer.training.budget import RESERVE, Budget, Costs, SavingPace
from tinymixer.training.reports import Reports
from tinymixer.training.stop import StopSignals

STEP = 0.25  # seconds of a step, by the test's clock; everything else takes no time
MEASURED = measuring.WARM_UP + measuring.STEPS
SECONDS, FITTING = 8.75, 9  # 25 steps are measured in 6.25 s; 2.325 s are left of 98 % of 8.75, 9 steps of 0.25 s


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    """Most of such a short run's time would be its picture's."""
    with (
        mock.patch.object(Reports, "draw_curves"),
        mock.patch.object(measuring, "try_to_draw_curves", return_value=None),
    ):
        yield


class Clock:
    """Goes on only when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Counted:
    """An engine's `steps`, each of which takes so many seconds of the clock."""

    def __init__(self, trainer, clock, seconds):
        self.inner, self.clock, self.seconds, self.taken = trainer.engine.steps, clock, seconds, 0

    def __call__(self, plan):
        for steps, totals in self.inner(plan):
            self.clock.now += self.seconds * steps
            self.taken += steps
            yield steps, totals


def on_a_clock(folder, progress=None, seconds=SECONDS, resume=False, step=STEP, ranks=None, **overrides):
    """A trainer of the small run whose steps take `step` seconds, on a clock of its own."""
    recipe, more = small_recipe(seconds=seconds, **overrides), {} if ranks is None else {"ranks": ranks}
    trainer = Trainer(recipe, folder, small_dataset(), progress or Recorder(), resume, **more)
    clock = Clock()
    if trainer.budget is not None:
        trainer.budget = Budget(seconds, clock=clock)
    trainer.engine.steps = trainer.counted = Counted(trainer, clock, step)
    return trainer


costs = st.builds(
    Costs,
    step=st.floats(0.01, 2),
    validate=st.floats(0, 3),
    save=st.floats(0, 1),
    best=st.booleans(),
    every=st.integers(0, 7),
    picture=st.floats(0, 2),
    test=st.floats(0, 5),
)


@given(costs=costs, seconds=st.floats(-5, 300), per_epoch=st.integers(1, 50))
def test_as_many_steps_as_fit(costs, seconds, per_epoch):
    steps = costs.steps_within(seconds, per_epoch)
    assert steps == 0 or costs.seconds_of(steps, per_epoch) <= seconds
    assert costs.seconds_of(steps + 1, per_epoch) > seconds


def test_the_parts_of_a_run():
    costs = Costs(step=0.5, validate=2, save=0.25, best=True, every=4, picture=1, test=3)
    # 10 steps, 3 epochs of 4: 3 validations; a checkpoint before, the best after each epoch, 2 within; last.npz one
    # time, and as often as 2 % of the time allow; a picture; the test
    training = 5 + 6 + 0.25 * (1 + 3 + 2)
    assert costs.seconds_of(10, 4) == training + 0.02 * training + 0.25 + 1 + 3
    assert Costs(step=5.0, save=0.25).seconds_of(10, 4) == 50 + 0.25 * (1 + 3)  # time enough to save after each epoch
    assert Costs(step=1.0, picture=2.0).seconds_of(130, 1000) == 130 + 2 * (1 + 2)  # one a minute and one at the end


def test_checkpoints_after_epochs_take_a_small_share_of_a_budget():
    clock = Clock()
    pace = SavingPace(limited=True, clock=clock)
    assert pace.is_due()
    with pace.saving():
        clock.now += 0.5
    for seconds, due in ((0, False), (24.9, False), (0.2, True)):
        clock.now += seconds
        assert pace.is_due() is due
    assert SavingPace(limited=False, clock=clock).is_due()


def test_an_epoch_that_was_not_saved_is_computed_again(tmp_path):
    on_a_clock(tmp_path / "straight").run()

    def die(step):
        if step == 7:
            raise KeyError(step)

    run = on_a_clock(tmp_path / "run", Recorder(die))
    with mock.patch.object(run.pace, "is_due", return_value=False), pytest.raises(KeyError):
        run.run()
    assert [row["epoch"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")] == [1]
    assert load_checkpoint(tmp_path / "run" / "last.npz").state.epoch == 0
    on_a_clock(tmp_path / "run", resume=True).run()
    assert_same_checkpoint(tmp_path / "run" / "last.npz", tmp_path / "straight" / "last.npz")


def test_the_number_of_steps_that_fits_is_written_down(tmp_path):
    heard = Recorder()
    trainer = on_a_clock(tmp_path / "run", heard)
    result = trainer.run()
    assert trainer.counted.taken == MEASURED + FITTING
    assert trainer.total_steps == trainer.optimizer.steps == trainer.step == FITTING
    assert RunFolder(tmp_path / "run").read_config().training.steps == FITTING
    assert load_checkpoint(tmp_path / "run" / "best.npz").recipe.training.steps == FITTING
    assert (result.status, result.trained) == ("finished", "9 steps")
    assert [step[0] for step in heard.steps] == list(range(1, FITTING + 1))
    said = "9 steps of 250 ms fit into 8.75 seconds, 26 % of the time (6.2 s before the first step"
    assert heard.notes[0].startswith(said)
    assert heard.notes[-1] == "8.5 of 8.75 seconds were used, from the command to the test figure"
    assert all("measured" not in path.name for path in (tmp_path / "run").iterdir())


INGREDIENTS = {
    "cpu": {"engine": "cpu", "ema_decay": 0.9, "ema_every": 2, "step_rows": 2},
    "reference": {"engine": "reference", "optimizer": "muon", "ema_decay": 0.9, "mixup": 0.4, "cutout": 0},
    "sgd": {"engine": "cpu", "optimizer": "sgd", "micro_batches": 2, "checkpoint_every_steps": 3},
}


@pytest.mark.parametrize("name", INGREDIENTS)
def test_measuring_leaves_no_trace(tmp_path, name):
    measured = on_a_clock(tmp_path / "measured", **INGREDIENTS[name])
    measured.run()
    plain = Trainer(small_recipe(steps=FITTING, **INGREDIENTS[name]), tmp_path / "plain", small_dataset())
    plain.run()
    assert_same_checkpoint(tmp_path / "measured" / "last.npz", tmp_path / "plain" / "last.npz")
    one, two = (load_checkpoint(tmp_path / run / "last.npz") for run in ("measured", "plain"))
    assert one.average.keys() == two.average.keys()
    for part in one.average:
        np.testing.assert_array_equal(one.average[part], two.average[part])
    for run in (measured, plain):
        assert [row["loss"] for row in read_step_rows(run.folder.metrics)] == [
            row["loss"] for row in read_step_rows(plain.folder.metrics)
        ]
    assert measured.rows[-1]["test_loss"] == plain.rows[-1]["test_loss"]


def test_weights_are_put_back_where_measuring_fails(tmp_path):
    trainer = on_a_clock(tmp_path / "run", ema_decay=0.5, ema_every=1)
    before = trainer.model.parameters.values.copy()

    def fail():
        with measuring.unchanged(trainer):
            trainer.model.parameters.values[:9] = trainer.average.values[:9] = 7
            trainer.optimizer.steps = 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    np.testing.assert_array_equal(trainer.model.parameters.values, before)
    np.testing.assert_array_equal(trainer.average.values, before)
    assert trainer.optimizer.steps == 0


def test_a_resumed_run_does_not_measure_again(tmp_path):
    on_a_clock(tmp_path / "straight").run()
    assert on_a_clock(tmp_path / "run", StopAfter(4)).run().status == "interrupted"
    resumed = on_a_clock(tmp_path / "run", resume=True, step=0.05)
    assert resumed.budget is None
    resumed.run()
    assert resumed.counted.taken == FITTING - 4
    assert_same_checkpoint(tmp_path / "run" / "last.npz", tmp_path / "straight" / "last.npz")
    with pytest.raises(TrainingError, match=r"training.seconds \(8.75 then, 20.0 now\)"):
        on_a_clock(tmp_path / "run", resume=True, seconds=20.0)


def test_a_run_stopped_while_measuring_measures_when_it_goes_on(tmp_path):
    trainer = on_a_clock(tmp_path / "run")
    inner = trainer.counted.inner

    def stop_at_the_tenth(plan):
        for steps, totals in inner(plan):
            if trainer.counted.taken == 9:
                trainer.progress.stop()
            yield steps, totals

    trainer.counted.inner = stop_at_the_tenth
    result = trainer.run()
    assert result.status == "interrupted"
    assert result.message.startswith("stopped while measuring how many steps fit; everything is saved. Go on with: ")
    assert trainer.counted.taken == 10
    assert trainer.optimizer.steps == 0
    assert on_a_clock(tmp_path / "run", resume=True).run().trained == "9 steps"


def test_where_no_step_fits_a_sentence_says_what_would(tmp_path):
    with pytest.raises(TrainingError, match=r"no training step fits into 6 seconds: 6.2 s went by.*give --seconds 7 "):
        on_a_clock(tmp_path / "run", seconds=6.0).run()
    assert not (tmp_path / "run").exists()  # so that another number of seconds can be tried there
    on_a_clock(tmp_path / "run", seconds=7.0).run()


def test_short_steps_are_measured_for_a_share_of_the_budget(tmp_path):
    trainer = on_a_clock(tmp_path / "run", step=0.001, seconds=4.0)
    with StopSignals() as trainer.stop:
        assert measuring.measure(trainer, trainer.budget).step == pytest.approx(0.001)
    assert trainer.counted.taken == pytest.approx(measuring.WARM_UP + 4.0 * measuring.SHARE / 0.001, abs=1)


def test_one_pause_does_not_count_for_more_than_it_is():
    """The reserve is two hundredths: a mean that is wrong by less is not late."""
    budget = Budget(100.0, started=0.0, clock=lambda: 10.0)
    assert budget.steps(Costs(step=0.1), 1000) == round((100 * (1 - RESERVE) - 10) / 0.1)


def test_ranks_take_the_number_of_the_first(tmp_path):
    def work(ranks):
        trainer = on_a_clock(tmp_path / "run", step=STEP * (1 + ranks.rank), ranks=ranks, threads=1)
        trainer.run()
        return trainer

    trainers = on_ranks(2, work)
    assert [trainer.total_steps for trainer in trainers] == [FITTING, FITTING]
    assert [trainer.counted.taken for trainer in trainers] == [MEASURED + FITTING] * 2


def test_a_recipe_with_both_is_fitted_already(tmp_path):
    heard = Recorder()
    trainer = on_a_clock(tmp_path / "run", heard, steps=2)
    assert trainer.budget is None
    assert trainer.run().trained == "2 steps"
