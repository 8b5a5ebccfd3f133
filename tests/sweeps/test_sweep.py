"""Whole sweeps, which need Optuna; elsewhere they are skipped."""

import csv
import json
import os
import tomllib

import pytest

from tests.training.small_runs import small_recipe
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.sweeps import SweepPlan, begin_sweep, parse_grid, parse_search, worker
from tinymixer.sweeps.sweep import SweepProgress

RATES = (parse_grid("learning_rate=0.01,1e30,0.02"),)


class Heard(SweepProgress):
    def __init__(self):
        self.rows, self.steps = [], []

    def on_trial(self, row):
        self.rows.append((row.number, row.state))

    def on_step(self, number, step, steps):
        self.steps.append((number, step))


def test_without_the_package_a_sentence_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"needs the package optuna.*tinymixer\[sweep\]"):
        begin_sweep("digits", {}, RATES, tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(small_recipe(epochs=1, warmup_epochs=0, batch_size=64).to_toml())
    return path


def test_a_sweep_is_interrupted_goes_on_and_ends(recipe, tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna")
    monkeypatch.setattr("tinymixer.training.reports.try_to_draw_curves", lambda *arguments: None)  # for the time
    folder, heard = tmp_path / "sweep", Heard()
    sweep = begin_sweep(recipe, {}, RATES, folder, progress=heard)
    assert sweep.run(lambda: len(heard.steps) == 3) is None
    assert [row.state for row in sweep.rows()] == ["interrupted", "waiting", "waiting"]
    with pytest.raises(ConfigError, match="holds another sweep"):
        begin_sweep(recipe, {"training.epochs": 2}, (), folder)
    with pytest.raises(ConfigError, match="init_from"):
        begin_sweep(None, {"fine_tuning.init_from": "first-mixer"}, (), folder)
    with pytest.raises(ConfigError, match="the fields"):
        begin_sweep(recipe, {}, (parse_grid("learning_rate=0.01"),), folder)
    with (folder / "journal.log").open("a") as journal:
        journal.write('{"op_code":7,"tri')  # what a crash leaves

    heard = Heard()
    sweep = begin_sweep(None, {"training.threads": 1}, (), folder, progress=heard)
    assert sweep.run() is None
    assert heard.steps[0] == (0, 4)
    ended = [(0, "finished"), (1, "failed"), (2, "finished")]
    assert [each for each in heard.rows if each[1] != "running"] == ended
    again = Heard()
    begin_sweep(recipe, {}, RATES, folder, progress=again).run()
    assert again.rows == []

    table = list(csv.DictReader((folder / "table.csv").open()))
    assert [(row["trial"], row["state"]) for row in table] == [(str(number), state) for number, state in ended]
    assert [float(row["optimizer.learning_rate"]) for row in table] == [0.01, 1e30, 0.02]
    assert "try a lower learning_rate" in table[1]["message"]
    found = json.loads((folder / "results.json").read_text())
    best = max((0, 2), key=lambda number: found["trials"][number]["accuracy"])
    assert found["best"] == best
    assert tomllib.loads((folder / "best.toml").read_text())["optimizer"]["learning_rate"] == [0.01, 0, 0.02][best]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "claims").iterdir()) == []

    order = {"folder": str(folder), "here": {"training.threads": 1}, "parent": os.getppid()}
    assert worker.main(order) == 0  # what another process of this sweep does: here nothing
    assert worker.main(order | {"here": {"optimizer.learning_rate": 1.0}}) == 1
    assert "holds another sweep" in capsys.readouterr().err
    (folder / "journal.log").write_text("damaged\n" * 3)
    with pytest.raises(TrainingError, match=r"journal.log cannot be read"):
        begin_sweep(None, {}, (), folder).run()


def test_a_trial_belongs_to_one_process_until_it_ends_or_dies(tmp_path):
    pytest.importorskip("optuna")
    from tinymixer.sweeps.journal import Journal

    plan = SweepPlan.make(small_recipe(), [parse_search("learning_rate=1e-4..1e-2:log")], 3, "median")
    with Journal(tmp_path, plan, lambda text: None) as ours, Journal(tmp_path, plan, lambda text: None) as theirs:
        first, second, third = ours.claim(), theirs.claim(), ours.claim()
        assert [claim.number for claim in (first, second, third)] == [0, 1, 2]
        assert theirs.claim() is None
        rates = [claim.trial.params["optimizer.learning_rate"] for claim in (first, second, third)]
        assert len(set(rates)) == 3
        assert all(1e-4 <= rate <= 1e-2 for rate in rates)
        first.lock.release()  # as the system does where its process dies
        taken = theirs.claim()
        assert (taken.number, taken.trial.params["optimizer.learning_rate"]) == (0, rates[0])
        theirs.study.tell(taken.trial, 0.5)
        taken.release()
        assert ours.claim() is None
    more = SweepPlan.make(plan.recipe, plan.fields, 4, "median")
    with Journal(tmp_path, more, lambda text: None) as journal:
        assert journal.claim().number == 3
