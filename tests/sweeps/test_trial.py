"""One trial: how it is stopped, goes on, fails; Optuna's part is played by a stand-in."""

from types import SimpleNamespace

import pytest

from tests.training.small_runs import small_dataset, small_recipe
from tinymixer.errors import CheckpointError
from tinymixer.sweeps.fields import parse_grid
from tinymixer.sweeps.plan import SweepPlan
from tinymixer.sweeps.trial import TrialProgress, run_trial
from tinymixer.training.history import read_rows
from tinymixer.training.run_folder import RunFolder

PLAN = SweepPlan.make(small_recipe(), [parse_grid("learning_rate=0.01,0.02,1e30")], None, "median")


class StandIn:
    """A trial that is pruned after an epoch, if one is given."""

    def __init__(self, rate=0.01, pruned_at=None):
        self.number, self.params, self.pruned_at = 0, {"optimizer.learning_rate": rate}, pruned_at
        self.reports = {}
        self.study = SimpleNamespace(get_trials=lambda deepcopy: [SimpleNamespace(intermediate_values=self.reports)])

    def report(self, value, step):
        self.reports[step] = value

    def should_prune(self):
        return len(self.reports) == self.pruned_at


@pytest.fixture(scope="module", autouse=True)
def without_curves():
    """A picture costs more time than such a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinymixer.training.reports.try_to_draw_curves", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A trial that ran to its end: the stand-in, the folder, the result."""
    trial, folder = StandIn(0.02), tmp_path_factory.mktemp("whole") / "run"
    return trial, folder, run_trial(trial, PLAN, folder, small_dataset(), {})


def test_a_trial_reports_each_epoch_and_is_judged_by_the_weights_that_the_run_recommends(whole):
    trial, folder, result = whole
    rows = read_rows(folder / "metrics.jsonl")
    assert trial.reports == {row["epoch"]: row["validation_accuracy"] for row in rows}
    assert (result.state, result.epochs) == ("finished", 3)
    assert result.accuracy == rows[-1]["validation_accuracy"]  # ten images are too few to choose an epoch by
    assert RunFolder(folder).read_config().optimizer.learning_rate == 0.02
    assert result.notes == ()


def test_no_trial_sees_a_test_image(whole):
    folder = RunFolder(whole[1])
    assert folder.read_description().test_images == 0
    assert not any(name.startswith("test") for row in read_rows(folder.metrics) for name in row)


def test_a_pruned_trial_stops_after_its_epoch_but_never_after_the_last(tmp_path):
    result = run_trial(StandIn(pruned_at=2), PLAN, tmp_path / "run", small_dataset(), {})
    assert (result.state, result.epochs) == ("pruned", 2)
    progress = TrialProgress(StandIn(pruned_at=1), lambda: False, lambda step, steps: None)
    progress.epochs = 3
    progress.on_epoch({"epoch": 3, "validation_accuracy": 0.1})
    assert not progress.stop_requested


def test_an_interrupted_trial_goes_on_and_one_that_had_ended_is_only_reported(whole, tmp_path):
    trial, again, steps = StandIn(0.02), StandIn(0.02), []
    folder = tmp_path / "parts"
    result = run_trial(
        trial, PLAN, folder, small_dataset(), {}, lambda: len(steps) >= 7, lambda step, of: steps.append((step, of))
    )
    assert (result.state, result.accuracy, steps[-1]) == ("interrupted", None, (7, 15))
    assert run_trial(trial, PLAN, folder, small_dataset(), {"training.threads": 1}).state == "finished"
    assert trial.reports == whole[0].reports
    assert run_trial(again, PLAN, folder, small_dataset(), {}).accuracy == whole[2].accuracy
    assert again.reports == whole[0].reports


def test_a_diverging_trial_fails_with_its_sentence_and_a_damaged_folder_ends_the_sweep(tmp_path):
    result = run_trial(StandIn(1e30), PLAN, tmp_path / "run", small_dataset(), {})
    assert (result.state, result.accuracy) == ("failed", None)
    assert "try a lower learning_rate" in result.message
    (tmp_path / "run" / "last.npz").write_bytes(b"damaged")
    (tmp_path / "run" / "previous.npz").unlink(missing_ok=True)
    with pytest.raises(CheckpointError):
        run_trial(StandIn(1e30), PLAN, tmp_path / "run", small_dataset(), {})


def test_values_that_do_not_fit_each_other_make_a_failed_trial(tmp_path):
    trial = StandIn()
    trial.params = {"schedule.warmup_epochs": 9.0}
    result = run_trial(trial, PLAN, tmp_path / "run", small_dataset(), {})
    assert (result.state, "warmup_epochs" in result.message) == ("failed", True)
