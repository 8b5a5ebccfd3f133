"""Parts that start from another part's run: which weights they get, their order, failures, stopping and going on."""

import dataclasses
import json

import numpy as np
import pytest

from tinymixer.errors import CheckpointError, ConfigError, DataError
from tinymixer.models.resolution import block_diagonal
from tinymixer.studies import Form, Part, StudyProgress, find_study, run_study, transfer
from tinymixer.studies.numbers import PartResult
from tinymixer.studies.part import HowFar
from tinymixer.studies.running import Work, time_left
from tinymixer.training.starting_weights import weights_to_begin_with

STILL = {"learning_rate": 0.0, "weight_decay": 0.0}
PRE, TUNED, SCRATCH, LARGER = (
    "usual-pre_training-other_classes-seed0", "usual-fine_tuning-1-seed0", "usual-scratch-1-seed0",
    "twice-fine_tuning-5-seed0",
)  # fmt: skip


class Heard(StudyProgress):
    def __init__(self):
        self.parts = []

    def on_part(self, result, done, parts):
        self.parts.append((result.name, result.state))


def chosen(*names, change=lambda part: part):
    """The study `transfer` with these parts of it alone."""

    def parts(form):
        return [change(part) for part in transfer.parts(form) if part.name in names]

    return dataclasses.replace(find_study("transfer"), parts=parts)


def with_recipe(changes):
    """What changes the recipe of some parts: {name: {field: value}}."""
    return lambda part: dataclasses.replace(part, recipe=part.recipe.with_overrides(changes.get(part.name, {})))


def last_weights(folder, name):
    return weights_to_begin_with(folder / "parts" / name / "run" / "last.npz").parameters


def test_a_part_starts_with_the_last_averaged_weights_of_the_other(tmp_path):
    study = chosen(PRE, TUNED, LARGER, change=with_recipe({TUNED: STILL, LARGER: STILL}))
    outcome = run_study(study, study.form(True, 1, steps=3), tmp_path, 1)
    assert [(result.name, result.state, result.after) for result in outcome.results] == [
        (PRE, "finished", ""), (TUNED, "finished", PRE), (LARGER, "finished", PRE),
    ]  # fmt: skip
    before, after, larger = (last_weights(tmp_path, name) for name in (PRE, TUNED, LARGER))
    fitted = block_diagonal((4, 4), 2)
    for name, array in before.items():
        if name.startswith("head."):
            assert not after[name].any()  # new, and the learning rate is zero
            continue
        np.testing.assert_array_equal(after[name], array, err_msg=name)
        kind = name.rpartition(".")[2]
        expected = fitted[kind](array) if ".token_mixing." in name else array
        np.testing.assert_array_equal(larger[name], expected, err_msg=name)


def test_the_last_weights_count_since_nothing_is_chosen_by_validation_images(tmp_path):
    study = chosen(PRE, TUNED)
    form = study.form(True, 1, steps=2)
    run_study(chosen(PRE), form, tmp_path, 1)
    (tmp_path / "parts" / PRE / "run" / "best.npz").write_bytes(b"")
    assert [result.state for result in run_study(study, form, tmp_path, 1).results] == ["finished"] * 2


def test_without_the_run_that_it_starts_from_a_part_fails_and_is_tried_again(tmp_path):
    broken, heard = [PRE], Heard()

    def images(dataset):
        if broken:
            raise DataError("the disk is full")
        return transfer.first_half(dataset)

    study = chosen(
        PRE, TUNED, SCRATCH, change=lambda part: dataclasses.replace(part, images=images) if part.name == PRE else part
    )
    form = study.form(True, 1, steps=4)
    outcome = run_study(study, form, tmp_path, 1, heard)
    assert heard.parts == [(PRE, "failed"), (SCRATCH, "finished"), (TUNED, "failed")]
    message = next(result.message for result in outcome.results if result.name == TUNED)
    assert message.startswith(f"it starts from the run of {PRE}, which has not finished")
    assert not (tmp_path / "parts" / TUNED / "run").exists()
    heard.parts.clear()
    broken.clear()
    again = run_study(study, form, tmp_path, 1, heard)
    assert heard.parts == [(PRE, "finished"), (TUNED, "finished")]
    assert [result.state for result in again.results] == ["finished"] * 3


def test_a_run_that_was_deleted_costs_its_sentence(tmp_path):
    study = chosen(PRE, TUNED)
    form = study.form(True, 1, steps=2)
    run_study(chosen(PRE), form, tmp_path, 1)
    (tmp_path / "parts" / PRE / "run" / "last.npz").unlink()
    outcome = run_study(study, form, tmp_path, 1)
    assert [result.state for result in outcome.results] == ["finished", "failed"]
    assert "last.npz" in outcome.results[1].message


def test_a_part_that_was_stopped_goes_on_with_its_own_weights(tmp_path):
    study = chosen(PRE, TUNED)
    form = study.form(True, 1, steps=40)
    begun = tmp_path / "a" / "parts" / TUNED / "run" / "last.npz"
    first = run_study(study, form, tmp_path / "a", 1, stopped=begun.exists)
    assert [result.state for result in first.results] == ["finished", "not finished"]
    again = run_study(study, form, tmp_path / "a", 1)
    unbroken = run_study(study, form, tmp_path / "b", 1)
    for one, other in zip(again.results, unbroken.results, strict=True):
        assert one.figures["validation_losses"] == other.figures["validation_losses"]


def test_processes_wait_for_the_run_that_they_start_from(tmp_path):
    study, heard = chosen(PRE, TUNED), Heard()
    form = study.form(True, 1, steps=2)
    outcome = run_study(study, form, tmp_path / "two", 2, heard)
    assert heard.parts == [(PRE, "finished"), (TUNED, "finished")]
    alone = run_study(study, form, tmp_path / "one", 1)
    for one, other in zip(outcome.results, alone.results, strict=True):
        assert one.figures["validation_losses"] == other.figures["validation_losses"]


def link(name, after=""):
    return Part({"model": name}, recipe=Form(True, 1).recipe(), after=after and f"{after}-seed0")


def result_of(part, state, seconds=0.0):
    return PartResult(part.name, part.group, part.what, part.seed, state, {}, {}, seconds)


def test_what_is_taken_next(tmp_path):
    parts = [link("a"), link("b", "a"), link("c"), link("d", "b")]
    results = {part.name: result_of(part, "not finished") for part in parts}
    heard = Heard()
    work = Work(find_study("transfer"), Form(True, 1), tmp_path, parts, results, heard, lambda: False)
    waiting = list(parts)
    assert work._take_ready(waiting, ()) is parts[0]
    assert work._take_ready(waiting, {"a-seed0"}) is parts[2]
    assert work._take_ready(waiting, {"a-seed0", "c-seed0"}) is None
    results["a-seed0"] = result_of(parts[0], "finished")
    assert work._take_ready(waiting, {"c-seed0"}) is parts[1]
    results["b-seed0"] = result_of(parts[1], "failed")
    assert work._take_ready(waiting, {"c-seed0"}) is None
    assert (waiting, heard.parts) == ([], [("d-seed0", "failed")])


def test_a_part_stands_behind_the_one_that_it_starts_from():
    def study(*parts):
        return dataclasses.replace(find_study("transfer"), parts=lambda form: list(parts))

    assert len(study(link("a"), link("b", "a")).parts_of(Form(True, 1))) == 2
    alone = dataclasses.replace(link("a"), alone=True)  # it runs after all others
    untrained = dataclasses.replace(link("a"), recipe=None)
    for parts in ([link("b", "a"), link("a")], [link("b", "b")], [alone, link("b", "a")], [untrained, link("b", "a")]):
        with pytest.raises(ValueError, match="b-seed0 starts from"):
            study(*parts).parts_of(Form(True, 1))


def test_the_time_that_is_left_is_at_least_that_of_a_chain():
    parts = [link("a"), link("b", "a"), link("c"), link("d", "c"), link("e", "d")]
    results = {part.name: result_of(part, "not finished") for part in parts}
    far = {part.name: HowFar() for part in parts}
    results["a-seed0"] = result_of(parts[0], "finished", 10.0)
    assert time_left(parts, results, far, 1) == (0.2, 40.0)
    assert time_left(parts, results, far, 2) == (0.2, 30.0)  # c, d and e one after the other, b beside them
    assert time_left(parts, results, far, 8) == (0.2, 30.0)
    results |= {part.name: result_of(part, "finished", 10.0) for part in parts}
    assert time_left(parts, results, far, 2) == (1.0, 0.0)


def test_weights_of_ones_own_are_refused_where_they_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="--quick is about digits"):
        find_study("transfer").form(quick=True, init_from="first-mixer")
    with pytest.raises(ConfigError, match="'data' starts from no weights"):
        find_study("data").form(quick=False, init_from="first-mixer")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        find_study("transfer").form(quick=False, init_from=str(tmp_path / "Mixer-B_16.npz"))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"other\.npz"):
        find_study("transfer").form(quick=False, init_from=str(tmp_path / "other.npz"))
    study = chosen(PRE)
    run_study(study, study.form(True, 1, steps=2), tmp_path / "grey", 1)
    with pytest.raises(ConfigError, match="takes images of 1 channels"):
        study.form(quick=False, init_from=str(tmp_path / "grey" / "parts" / PRE / "run"))
    table = json.loads((tmp_path / "grey" / "study.json").read_text())
    assert table["init_from"] == ""
