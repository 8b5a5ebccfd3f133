"""The plan of a sweep: what is refused before anything runs, and what its file keeps."""

import pytest

from tests.training.small_runs import small_recipe
from tinymixer.errors import ConfigError
from tinymixer.sweeps.fields import parse_grid, parse_search
from tinymixer.sweeps.plan import SweepPlan

RATES = parse_grid("learning_rate=1e-3,2e-3")
SEARCHED = parse_search("learning_rate=1e-4..1e-2:log")


def make(*fields, trials=None, pruner="median", **overrides):
    return SweepPlan.make(small_recipe(**overrides), fields, trials, pruner)


def test_a_grid_has_one_trial_for_each_combination_and_a_search_as_many_as_are_asked_for():
    assert make(RATES, parse_grid("hidden_dim=4,8,12")).trials == 6
    assert make(SEARCHED, trials=7).trials == 7
    assert make(SEARCHED, parse_grid("hidden_dim=4,8,12")).trials == 20


def test_the_file_keeps_the_plan(tmp_path):
    plan = make(SEARCHED, parse_grid("flip=yes,no"), trials=9, pruner="halving").fingerprinted("abc")
    plan.write(tmp_path / "sweep.toml")
    assert SweepPlan.read(tmp_path / "sweep.toml") == plan


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'x'", "is not the plan of a sweep"),
        ("[sweep]\nformat = 2", "is not the plan of a sweep"),
        ("[sweep]\nformat = 1\ntrials = 0", "is damaged"),
        ("[sweep]\nformat = 1\ntrials = 3\npruner = 'median'\nfields = [{}]", "expected a table with 'field'"),
        (
            "[sweep]\nformat = 1\ntrials = 3\npruner = 'median'\nfields = [{field = 'learning_rate', low = 1}]",
            "needs two numbers",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, said):
    (tmp_path / "sweep.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        SweepPlan.read(tmp_path / "sweep.toml")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda: make(), "needs fields to change"),
        (lambda: make(RATES, RATES), "given twice"),
        (lambda: make(RATES, trials=3), "--trials belongs to --search"),
        (lambda: make(RATES, pruner="best"), "the pruner is one of"),
        (lambda: make(RATES, validation_share=0), "choose a validation_share above 0"),
        (lambda: make(parse_grid("learning_rate=1e-3,-1")), "'learning_rate' expects 0 or more"),
        (lambda: make(parse_grid("warmup_epochs=1,9")), "in the trial with schedule.warmup_epochs = 9"),
        (lambda: make(parse_search("dropout=0..1.5")), "dropout"),
        (lambda: make(parse_grid("patch_size=4,3")).with_images(), "in the trial with model.patch_size = 3"),
        (lambda: make(parse_grid("batch_size=8,5000")).with_images(), "exceeds the 1150"),
        (lambda: make(RATES, validation_share=1e-4).with_images(), "is no image of any class"),
    ],
)
def test_what_cannot_be_compared_is_said_before_a_trial_runs(arguments, said):
    with pytest.raises(ConfigError) as raised:
        arguments()
    assert said in str(raised.value)


def test_runs_of_different_length_are_not_stopped_early():
    assert make(parse_grid("epochs=2,3")).pruner == "none"


def test_the_images_of_a_plan_have_no_test_set():
    plan, dataset = make(RATES).with_images()
    assert len(dataset.test_images) == len(dataset.test_labels) == 0
    assert plan.fingerprint == dataset.fingerprint
    assert make(parse_grid("seed=1,2")).with_images()[0].fingerprint == ""
