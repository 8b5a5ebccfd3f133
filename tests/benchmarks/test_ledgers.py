"""The tables that fill a ledger: nothing is run twice, a stopped run goes on exactly, no row compares equal things."""

import dataclasses
import json
import time

import pytest
from click.testing import CliRunner

from benchmarks import architectures, ingredients, ledger, model_costs
from tests.training.small_runs import assert_same_checkpoint, small_recipe
from tinymixer import load_dataset, load_recipe
from tinymixer.errors import TrainingError
from tinymixer.training import measuring
from tinymixer.training.reports import Reports

DIGITS = load_dataset("digits")
DIGITS = dataclasses.replace(
    DIGITS, train_images=DIGITS.train_images[:160], train_labels=DIGITS.train_labels[:160],
    test_images=DIGITS.test_images[:24], test_labels=DIGITS.test_labels[:24],
)  # fmt: skip
MIXERS = ["--only", "mlp_mixer", "--only", "tokens-pool"]
FACTS = {
    "parameters": 1234, "multiply_adds": 56_700_000, "step_seconds": 0.1, "images_per_second": 80.0,
    "memory_bytes": 3 << 20, "steps": {"run": 4, "trial": 2},
}  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    """Both scripts train the small recipe on the digits, of which a tenth makes at least an image of each class."""
    for script in (architectures, ingredients):
        monkeypatch.setattr(script, "load_recipe", lambda name: small_recipe(ema_decay=0.9))
        monkeypatch.setattr(script, "load_dataset", lambda name, path: DIGITS)
    monkeypatch.setattr(architectures, "cores_of_others", lambda: None)
    monkeypatch.setattr(architectures, "measured", lambda recipe, *_: json.loads(json.dumps(FACTS)))
    monkeypatch.setattr(Reports, "draw_curves", lambda *_: None)  # which takes longer than these runs
    monkeypatch.setattr(Reports, "draw_curves_if_due", lambda *_: None)
    return monkeypatch


def call(script, *options):
    result = CliRunner().invoke(script.main, [str(option) for option in options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def compare(out, *options, more=("--busy",), models=MIXERS):
    return call(architectures, "--out", out, "--seconds", 60, "--seeds", 2, "--threads", 1, *models, *more, *options)


def test_a_stopped_table_goes_on_exactly_and_runs_nothing_twice(small, tmp_path):
    one = ("--seeds", 1, "--only", "tokens-pool")
    whole = compare(tmp_path / "whole", *one, models=())
    assert whole.exit_code == 0, whole.output
    rows = json.loads((tmp_path / "whole" / "ledger.json").read_text())
    row = rows["tokens-pool"]
    assert (set(rows), len(row["trials"]), list(row["accuracy"])) == ({"mlp_mixer", "tokens-pool"}, 4, ["0"])

    calls = 0
    while not (tmp_path / "parts" / "tokens-pool" / "seed-0" / "last.npz").exists():
        with small.context() as stopping:  # the run in progress stops after a step
            stopping.setattr(ledger.Until, "on_step", lambda until, *_: until.stop())
            compare(tmp_path / "parts", *one, models=())
        calls += 1
    assert calls > 4
    assert compare(tmp_path / "parts", *one, models=()).exit_code == 0
    assert json.loads((tmp_path / "parts" / "ledger.json").read_text()) == rows
    for run in ("trial-0.01-0.1", "seed-0"):
        assert_same_checkpoint(*(tmp_path / which / "tokens-pool" / run / "last.npz" for which in ("parts", "whole")))

    small.setattr(architectures, "finish", lambda *_: pytest.fail("a finished run was run again"))
    assert "\n0 minutes left" in compare(tmp_path / "parts", *one, models=()).output


def test_trials_see_no_test_images_and_seeds_train_on_all_others(small, tmp_path):
    seen = []

    def noted(recipe, folder, dataset, until):
        seen.append((len(dataset.test_images), recipe.data.validation_share, recipe.training.steps, folder.name))
        return {"validation_accuracy": 0.5, "test_accuracy": 0.25}

    small.setattr(architectures, "finish", noted)
    assert "no learning rate" not in compare(tmp_path / "out").output
    assert set(seen[:4]) == {
        (0, 0.1, 2, f"trial-{name}") for name in ("0.004-0.1", "0.01-0.1", "0.025-0.1", "0.004-0.03")
    }
    assert seen[4:] == [(24, 0.0, 4, f"seed-{seed}") for seed in (0, 0, 1, 1)]
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| tokens-pool | 25.00 (25.0 to 25.0) | 2 | 1,234 | 56.7 M | 80 | 3 MiB | 4 | 0.004, 0.1 |" in table


def test_phases_minutes_and_the_list(small, tmp_path):
    assert "another process" not in compare(tmp_path / "out", "--phase", "seeds").output  # nothing can be done yet
    listed = compare(tmp_path / "out", "--list").output
    assert "mlp_mixer        -         0 of 0 trials, 0 of 2 seeds, 3 min left" in listed  # its rate is the recipe's
    assert "tokens-pool      -         0 of 4 trials, 0 of 2 seeds, 15 min left" in listed  # 1 + 4 * 3 + 2 * 1
    compare(tmp_path / "out", "--minutes", 0)
    assert not json.loads((tmp_path / "out" / "ledger.json").read_text())["mlp_mixer"].get("measured")
    compare(tmp_path / "out", "--phase", "measure")
    assert "tokens-pool      measured  0 of 4 trials" in compare(tmp_path / "out", "--list").output


def test_a_diverged_trial_is_noted_and_other_failures_end_the_command(small, tmp_path):
    def diverging(recipe, folder, dataset, until):
        if recipe.optimizer.learning_rate > 0.01:
            raise TrainingError("the loss became inf at step 2")
        return {"validation_accuracy": recipe.optimizer.learning_rate, "test_accuracy": 0.5}

    small.setattr(architectures, "finish", diverging)
    assert "the loss became inf" in compare(tmp_path / "out").output
    row = json.loads((tmp_path / "out" / "ledger.json").read_text())["tokens-pool"]
    assert row["trials"]["0.025-0.1"] == {
        "settings": {"learning_rate": 0.025, "weight_decay": 0.1}, "accuracy": None,
        "failed": "the loss became inf at step 2",
    }  # fmt: skip
    assert list(row["trials"])[-1] == "0.01-0.03"
    with pytest.raises(TrainingError, match="out of memory"):
        architectures.sentence_of_divergence(TrainingError("out of memory"))


def test_other_settings_a_busy_machine_and_unknown_models_are_refused(small, tmp_path):
    small.setattr(architectures, "cores_of_others", lambda: 1.5)
    assert "other programs use 1.5 cores, and what is measured now" in compare(tmp_path / "out", more=()).output
    assert "seconds of a trial was 180.0 and is 60.0): go on" in compare(tmp_path / "out", "--trial-seconds", 60).output
    assert "there is no model 'vot'" in compare(tmp_path / "out", "--only", "vot").output
    assert "has no budget of seconds: give --seconds" in call(architectures, "--out", tmp_path / "out").output
    (tmp_path / "out" / "ledger.json").write_text("{")
    assert "is damaged" in compare(tmp_path / "out").output


def test_what_a_model_is_and_what_it_lacks_of_the_recipe():
    base = load_recipe("cifar10-15min")
    plan = architectures.Plan(base, DIGITS, None, model_costs.Budgets(900, 180, 0), 0, False)
    found = {name: architectures.description(name, plan) for name in architectures.known_models()}
    assert found["mlp_mixer"]["left out"] == []
    assert found["tokens-linear"]["left out"] == ["token_init = local"]
    for name in ("vit", "resnet", "bit", "nf_resnet"):
        assert found[name]["left out"] == ["overlap = 2", "token_init = local", "whitened_stem = true"]
    assert found["nf_resnet"]["others"] == {"agc": 0.02}


def test_what_a_model_costs(tmp_path, monkeypatch):
    monkeypatch.setattr(model_costs, "memory_of", lambda recipe, data: 1)
    monkeypatch.setattr(measuring, "try_to_draw_curves", lambda *_: None)
    recipe = small_recipe(threads=1)
    found = model_costs.measured(recipe, DIGITS, None, model_costs.Budgets(30, 1, 0.1), (recipe, 0.02))
    assert found["step_seconds"] == pytest.approx(0.02, rel=0.7)  # the same recipe beside itself
    assert found["images_per_second"] == pytest.approx(8 / found["step_seconds"])
    assert 1 <= found["steps"]["trial"] < found["steps"]["run"] < 30 / found["step_seconds"]


def test_memory_of_the_steps_alone(monkeypatch):
    monkeypatch.setattr(model_costs, "load_dataset", lambda name, path: DIGITS)
    assert 0 <= model_costs._peak(small_recipe(threads=1), None) < 100 << 20


def test_every_ingredient_changes_something():
    base = load_recipe("cifar10-15min")
    plain = ingredients.recipe_of("plain", base)
    assert all(base.differences(plain).get(f"model.{name}") for name in ("whitened_stem", "overlap", "token_init"))
    for row in ingredients.ROWS:
        recipe = ingredients.recipe_of(row, base)
        assert (row == "the recipe") == (not recipe.differences(base)), f"'{row}' is the recipe"
        assert (row == "plain") == (not recipe.differences(plain)), f"'{row}' is plain"
        if row.startswith("plain and"):
            assert len(recipe.differences(plain)) <= 2  # one ingredient, with its learning rate


def test_ingredients_go_on_with_an_old_ledger(small, tmp_path):
    (tmp_path / "ledger.json").write_text('{"the recipe": {"time": 1.0, "accuracy": {"0": 12.5}}, "without muon": {}}')
    small.setattr(ingredients, "relative_time", lambda *_: 2.0)
    options = ("--out", tmp_path, "--steps", 4, "--threads", 1, "the recipe", "with sam", "without flip and crop")
    first = call(ingredients, *options)
    assert first.exit_code == 0, first.output
    entries = json.loads((tmp_path / "ledger.json").read_text())
    assert entries["the recipe"]["accuracy"] == {"0": 12.5}
    assert (
        json.loads((tmp_path / "with-sam" / "0" / "metrics.jsonl").read_text())["validation_accuracy"] * 100
        == (entries["with sam"]["accuracy"]["0"])
    )
    assert "steps = 2" in (tmp_path / "with-sam" / "0" / "config.toml").read_text()
    assert "| the recipe | 1.00 | 12.50 | 1 |" in (tmp_path / "table.md").read_text()
    assert "(steps of the recipe was 4 and is 5)" in call(ingredients, *options[:6], "--steps", 5).output
    small.setattr(ingredients, "ROWS", {"with plain": {"flip": True}})
    assert "'with plain' is left out" in call(ingredients, *options[:6]).output


def test_cores_of_others(tmp_path):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 5 20 900 7 1 2 3 0 0\ncpu0 1 1\n")
    assert model_costs.cores_of_others(0.01, stat) == 0
    assert model_costs.cores_of_others(0.01, tmp_path / "none") is None


def test_time_is_up_at_its_end():
    assert not ledger.Until(None).is_over
    assert ledger.Until(time.monotonic()).is_over
    assert not ledger.Until(time.monotonic() + 60).is_over
