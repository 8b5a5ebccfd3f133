"""Whole studies in their smallest form: what they leave, stopping and going on, parts that fail."""

import dataclasses
import json
import os
import signal

import pytest

from tinymixer.data import load_dataset
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.studies import (
    Part,
    StudyProgress,
    cost,
    data_share,
    find_study,
    inside,
    overfitting,
    run_study,
    study_names,
    token_mixers,
    transfer,
)
from tinymixer.studies.numbers import PartResult
from tinymixer.studies.part import HowFar, PartProgress
from tinymixer.studies.permutations import parts as permutation_parts
from tinymixer.studies.running import time_left


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """What takes long in the quick form is shorter here."""
    monkeypatch.setattr(token_mixers, "PATCHES", (8, 4))
    monkeypatch.setattr(token_mixers, "PUBLISHED", ("S/32",))
    monkeypatch.setattr(token_mixers, "TURNS", 1)
    monkeypatch.setattr(token_mixers, "TURN_SECONDS", 0.001)
    monkeypatch.setattr(data_share, "FEW_SHARES", (10, 100))
    monkeypatch.setattr(inside, "IMAGES", 2)
    monkeypatch.setattr(overfitting, "CONDITIONS", ("none", "weight decay", "SAM", "all but SAM", "all"))
    monkeypatch.setattr(cost, "FAMILIES", ("mixer", "resnet", "nf_resnet"))
    monkeypatch.setattr(cost, "SIZES", ("small", "medium"))
    monkeypatch.setattr(cost, "TURNS", 1)
    monkeypatch.setattr(cost, "TURN_SECONDS", 0.001)
    monkeypatch.setattr(transfer, "shares_of", lambda form: ((5,), (5,)))


class Heard(StudyProgress):
    def __init__(self):
        self.parts, self.notes, self.shares = [], [], []

    def on_part(self, result, done, parts):
        self.parts.append((result.name, result.state))

    def on_time(self, share, seconds_left):
        self.shares.append(share)

    def on_note(self, text):
        self.notes.append(text)


def numbers_of(folder):
    return json.loads((folder / "numbers.json").read_text())


@pytest.mark.parametrize("name", study_names())
def test_a_study_leaves_numbers_and_pictures(name, tmp_path):
    study, heard = find_study(name), Heard()
    form = study.form(quick=True, seeds=1, steps=2)
    outcome = run_study(study, form, tmp_path / name, jobs=1, progress=heard)
    assert [result.message for result in outcome.results if result.state != "finished"] == []
    assert heard.notes == []
    table = numbers_of(outcome.folder)
    assert set(table) == {
        "format", "study", "question", "paper", "form", "seeds", "steps_override", "data", "versions", "machine",
        "seconds", "complete", "groups", "parts", "beside_the_paper", "conclusions", "pictures",
    }  # fmt: skip
    assert (table["format"], table["study"], table["form"], table["complete"]) == (1, name, "quick", True)
    assert set(table["versions"]) == {"tinymixer", "python", "numpy", "blas"}
    assert table["machine"]["processor"]
    assert table["machine"]["cores"] >= 1
    assert table["data"]["name"] == "digits"
    for part in table["parts"]:
        assert set(part) == {field.name for field in dataclasses.fields(PartResult)}
        assert part["seconds"] >= 0
        assert part["figures"]
        if part["settings"]:
            assert part["settings"]["training.steps"] in (1, 2)  # 1: what a study gives fewer steps than the others
            run = outcome.folder / "parts" / part["name"] / "run"
            assert "test" not in (run / "metrics.jsonl").read_text()
            assert not (run / "curves.png").exists()
    for group in table["groups"].values():
        for figure in group["figures"].values():
            assert figure["low"] <= figure["mean"] <= figure["high"]
            assert len(figure["values"]) == len(group["seeds"]) == 1
    assert table["conclusions"]
    assert all(set(row) == {"what", "paper", "source", "here"} for row in table["beside_the_paper"])
    for picture in table["pictures"]:
        content = (outcome.folder / picture).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 60_000
    assert table["pictures"]


def three_parts(form):
    return permutation_parts(form)[1:4]


def test_a_stopped_study_goes_on_where_it_was(tmp_path):
    study = dataclasses.replace(find_study("permutations"), parts=three_parts)
    form = study.form(quick=True, seeds=1, steps=20)
    looks = iter(range(1_000_000))
    first = run_study(study, form, tmp_path / "a", 1, stopped=lambda: next(looks) > 30)
    assert [result.state for result in first.results] == ["finished", "not finished", "not finished"]
    assert not numbers_of(first.folder)["complete"]
    done = tmp_path / "a" / "parts" / first.results[0].name / "result.json"
    written = done.stat().st_mtime_ns
    heard = Heard()
    again = run_study(study, form, tmp_path / "a", 1, heard)
    assert [result.state for result in again.results] == ["finished"] * 3
    assert len(heard.parts) == 2
    assert done.stat().st_mtime_ns == written
    assert heard.shares == sorted(heard.shares)
    unbroken = run_study(study, form, tmp_path / "b", 1)
    for one, other in zip(again.results, unbroken.results, strict=True):
        assert one.figures["validation_losses"] == other.figures["validation_losses"]
        assert one.figures["steps"] == other.figures["steps"] == 20


def test_a_signal_during_a_run_ends_the_study(tmp_path, monkeypatch):
    def interrupt(self, step, *others):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(PartProgress, "on_step", interrupt)
    study = dataclasses.replace(find_study("permutations"), parts=three_parts)
    outcome = run_study(study, study.form(True, 1, steps=4), tmp_path, 1)
    assert outcome.signal == signal.SIGINT
    assert [result.state for result in outcome.results] == ["not finished"] * 3


def test_more_seeds_keep_what_is_there_and_another_form_is_refused(tmp_path):
    study = dataclasses.replace(find_study("permutations"), parts=lambda form: [
        part for part in permutation_parts(form) if part.what["images"] == "exact"
    ])  # fmt: skip
    run_study(study, study.form(True, 1), tmp_path, 1)
    heard = Heard()
    run_study(study, study.form(True, 3), tmp_path, 1, heard)
    assert [name for name, _ in heard.parts] == ["mixer-exact-seed1", "mixer-exact-seed2"]
    with pytest.raises(TrainingError, match="steps is 0 there and 5 now"):
        run_study(study, study.form(True, 1, steps=5), tmp_path, 1)
    with pytest.raises(TrainingError, match="study is 'permutations' there and 'data' now"):
        run_study(find_study("data"), find_study("data").form(True, 1), tmp_path, 1)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be used"):
        run_study(study, study.form(True, 1), tmp_path, 1)


def test_finished_parts_of_other_images_or_settings_are_not_mixed_with_new_ones(tmp_path, monkeypatch):
    exact = [part for part in permutation_parts(find_study("permutations").form(True, 1)) if part.recipe][:1]
    study = dataclasses.replace(find_study("permutations"), parts=lambda form: exact)
    form = study.form(True, 1, steps=2)
    short = dataclasses.replace(exact[0], recipe=exact[0].recipe.with_overrides({"steps": 2}))
    exact[:] = [short]
    run_study(study, form, tmp_path, 1)

    monkeypatch.setattr("tinymixer.studies.plan.images_of", lambda form: load_dataset("digits", path=tmp_path / "no"))
    run_study(study, form, tmp_path, 1)  # finished: it is drawn anew, also where the images are gone
    monkeypatch.setattr("tinymixer.studies.plan.fingerprint_of", lambda form: "another")
    with pytest.raises(TrainingError, match="its images are others than those that --data has now"):
        run_study(study, form, tmp_path, 1)
    monkeypatch.undo()

    exact[:] = [dataclasses.replace(short, recipe=short.recipe.with_overrides({"learning_rate": 0.5}))]
    with pytest.raises(TrainingError, match=r"optimizer.learning_rate is .* there and 0.5 now.*delete this folder"):
        run_study(study, form, tmp_path, 1)


def test_a_part_that_fails_costs_no_other(tmp_path):
    def parts(form):
        original, patches, pixels = three_parts(form)
        diverging = dataclasses.replace(patches, recipe=patches.recipe.with_overrides({"learning_rate": 1e30}))

        def stumble(trainer):
            return {"quotient": 1 / 0}

        return [Part({"model": "none"}, measure=stumble), original, diverging, pixels]

    study = dataclasses.replace(find_study("permutations"), parts=parts)
    heard = Heard()
    outcome = run_study(study, study.form(True, 1, steps=4), tmp_path, 1, heard)
    assert [result.state for result in outcome.results] == ["failed", "finished", "failed", "finished"]
    assert outcome.results[0].message == "ZeroDivisionError: division by zero"
    assert "loss became" in outcome.results[2].message
    assert numbers_of(tmp_path)["complete"] is False
    assert outcome.pictures == ["permutations.png"]
    heard.parts.clear()
    run_study(study, study.form(True, 1, steps=4), tmp_path, 1, heard)
    assert [state for _, state in heard.parts] == ["failed", "failed"]  # tried again; the others stay


def test_processes_do_the_same_and_one_that_dies_costs_its_part(tmp_path):
    def parts(form):  # the worker process asks the study itself, which does not know the last one
        return [*three_parts(form)[:2], Part({"model": "unknown"}, measure=lambda trainer: {})]

    study = dataclasses.replace(find_study("permutations"), parts=parts)
    form = study.form(True, 1, steps=2)
    outcome = run_study(study, form, tmp_path / "two", jobs=2)
    assert [result.state for result in outcome.results] == ["finished", "finished", "failed"]
    assert "its process has ended before its time" in outcome.results[2].message
    alone = run_study(dataclasses.replace(study, parts=three_parts), form, tmp_path / "one", jobs=1)
    for one, other in zip(outcome.results[:2], alone.results, strict=False):
        assert one.figures["validation_losses"] == other.figures["validation_losses"]


def test_names_and_forms_that_there_are_not():
    with pytest.raises(ConfigError, match="Did you mean 'permutations'"):
        find_study("permutation")
    with pytest.raises(ConfigError, match="--quick is about the bundled digits"):
        find_study("data").form(quick=True, data="/somewhere")
    for name in study_names():
        study = find_study(name)
        assert study.name == name
        for quick in (True, False):
            parts = study.parts_of(study.form(quick))
            assert len(parts) >= 3
            assert [part.alone for part in parts] == sorted(part.alone for part in parts)


def test_the_time_that_is_left_follows_from_parts_like_it():
    def part(model, seed):
        return Part({"model": model}, seed)

    def ended(each, seconds):
        return PartResult(each.name, each.group, each.what, each.seed, "finished", {}, {}, seconds)

    def open_(each):
        return PartResult(each.name, each.group, each.what, each.seed, "not finished", {}, {})

    parts = [part("a", 0), part("a", 1), part("b", 0), part("b", 1)]
    nothing = {each.name: HowFar() for each in parts}
    results = {each.name: open_(each) for each in parts}
    assert time_left(parts, results, nothing, 2) == (0.0, None)
    results["a-seed0"] = ended(parts[0], 10.0)
    assert time_left(parts, results, nothing, 1) == (0.25, 30.0)  # the others are expected to take as long
    results["b-seed0"] = ended(parts[2], 30.0)
    assert time_left(parts, results, nothing, 1) == (0.5, 40.0)  # 10 s of a, 30 s of b
    assert time_left(parts, results, nothing, 2) == (0.5, 30.0)  # however many at a time, b's second takes 30 s
    far = nothing | {"b-seed1": HowFar(share=0.5, seconds=5.0)}
    share, left = time_left(parts, results, far, 1)
    assert (share, left) == (pytest.approx(45 / 60), pytest.approx(15.0))  # b's second says itself that it takes 10
