"""Checkpoints: written whole or not at all, and refused in a sentence when they cannot be used."""

import contextlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.small_runs import run_small, small_dataset, small_recipe
from tinymixer.data import load_dataset
from tinymixer.errors import CheckpointError
from tinymixer.files import replacing
from tinymixer.training import (
    Trainer,
    evaluate,
    load_checkpoint,
    load_model,
    load_run,
    read_rows,
    resolve_recipe,
    save_checkpoint,
)
from tinymixer.training.checkpoint import digest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run_small(folder, epochs=2)
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder for the examples that hypothesis draws."""
    return tmp_path_factory.mktemp("scratch")


def rewritten(source, target, **changes):
    """A copy of a checkpoint with some of its arrays replaced or (None) left out, and the digest of what is in it."""
    with np.load(source) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if all(array.dtype != object for array in arrays.values()) and "digest" not in changes:
        arrays["digest"] = np.array(digest(arrays))
    np.savez(target, **arrays)
    return target


def test_what_is_saved_is_what_is_loaded(run, tmp_path):
    checkpoint = load_checkpoint(run / "last.npz")
    save_checkpoint(tmp_path / "copy.npz", checkpoint)
    copy = load_checkpoint(tmp_path / "copy.npz")
    assert copy.recipe == checkpoint.recipe == small_recipe(epochs=2, precision="float32").fitted_to(small_dataset())
    assert copy.data == checkpoint.data == small_dataset().description
    assert copy.format == 2
    assert copy.state == checkpoint.state
    for arrays, others in ((checkpoint.parameters, copy.parameters), (checkpoint.optimizer, copy.optimizer)):
        assert arrays.keys() == others.keys()
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], others[name])
            assert arrays[name].dtype == others[name].dtype


def test_load_model_gives_the_accuracy_of_the_run(run):
    model, recipe = load_model(run, backend="numpy")
    dataset, row = small_dataset(), read_rows(run / "metrics.jsonl")[-1]
    evaluation = evaluate(model, dataset.test_images, dataset.test_labels, dataset.mean, dataset.std, batch_size=7)
    assert (evaluation.accuracy, row["tested"]) == (row["test_accuracy"], "last")  # ten validation images are too few
    assert recipe.name == "small"
    assert load_model(run / "last.npz", backend="numpy")[0].config == recipe.model


@settings(deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_checkpoint_cut_short_anywhere_is_refused(run, scratch, share):
    whole = (run / "last.npz").read_bytes()
    (scratch / "cut.npz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=re.escape("cut.npz")):
        load_checkpoint(scratch / "cut.npz")


@settings(deadline=None)
@given(position=st.floats(0, 0.999999), value=st.integers(1, 255))
def test_a_flipped_byte_never_gives_a_traceback(run, scratch, position, value):
    damaged = bytearray((run / "last.npz").read_bytes())
    damaged[int(position * len(damaged))] ^= value
    (scratch / "flipped.npz").write_bytes(damaged)
    with contextlib.suppress(CheckpointError):  # a flipped date of a member, for one, does no harm
        load_model(scratch / "flipped.npz", backend="numpy")


@settings(deadline=None)
@given(content=st.binary(max_size=300))
def test_any_other_file_is_refused(scratch, content):
    (scratch / "other.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape("other.npz")):
        load_checkpoint(scratch / "other.npz")


def test_object_arrays_are_never_unpickled(run, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "unpickled"),)

    path = rewritten(run / "last.npz", tmp_path / "bomb.npz", **{"parameters/head.bias": np.array([Bomb()], object)})
    with pytest.raises(CheckpointError, match="arrays of Python objects are refused"):
        load_checkpoint(path)
    np.save(tmp_path / "single.npy", np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "single.npy")
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "is not a checkpoint of tinymixer: it holds no 'format'"),
        ({"format": np.array(3)}, "format 3, this version reads 1 and 2"),
        ({"format": np.array("one")}, "format one, this version reads 1 and 2"),
        ({"format": np.array(1)}, "format 1 had no digest, and this file has one"),
        ({"recipe": None}, "holds no 'recipe'"),
        ({"recipe": np.array("[training]\nepoch = 3\n")}, "Did you mean 'epochs'"),
        ({"recipe": np.array("= 3")}, "not valid TOML"),
        ({"state": np.array("{")}, "does not say where the run stands"),
        ({"state": np.array("[]")}, "does not say where the run stands"),
        ({"parameters/head.bias": None}, "'head.bias' is missing"),
        ({"parameters/head.bias": np.zeros(9, "float32")}, re.escape("'head.bias' should have shape (10,), got (9,)")),
        ({"parameters/head.bias": np.full(10, np.nan, "float32")}, "'parameters/head.bias' holds numbers that are not"),
        ({"parameters/head.bias": np.zeros(10, int)}, "should hold floating-point numbers"),
        ({"parameters/tail.bias": np.zeros(10, "float32")}, "no parameter 'tail.bias'"),
        ({"data": np.array("[1]")}, "its 'data' is not what it should be"),
        ({"data": np.array("{}")}, "does not describe a data set"),
        ({"history": np.array('[{"epoch": 2}]')}, "'history' is not a row for each epoch"),
        ({"data": None}, "it holds no text 'data'"),
        ({"digest": np.array("0" * 64)}, "is damaged or was changed"),
        ({"optimizer/mean": np.array([np.inf])}, "'optimizer/mean' holds numbers that are not finite"),
    ],
)
def test_what_does_not_fit_is_named(run, tmp_path, changes, message):
    path = rewritten(run / "last.npz", tmp_path / "changed.npz", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_model(path, backend="numpy")


@pytest.mark.parametrize(("name", "value"), [("epoch", -1), ("epoch", 1.5), ("loss_sum", float("nan")), ("extra", 1)])
def test_a_state_that_cannot_be_is_refused(run, tmp_path, name, value):
    with np.load(run / "last.npz") as archive:
        state = json.loads(str(archive["state"])) | {name: value}
    path = rewritten(run / "last.npz", tmp_path / "changed.npz", state=np.array(json.dumps(state)))
    with pytest.raises(CheckpointError, match="is damaged: its 'state'"):
        load_checkpoint(path)


def test_an_array_that_claims_to_be_huge_is_refused(run, tmp_path):
    """Its header promises a terabyte; the file ends long before."""
    path = tmp_path / "huge.npz"
    with zipfile.ZipFile(run / "last.npz") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "parameters/head.bias.npy":
                content = content.replace(b"(10,)", b"(274877906944,)").replace(b" " * 10, b"", 1)
            target.writestr(name, content)
    with pytest.raises(CheckpointError, match=re.escape("huge.npz")):
        load_checkpoint(path)


def test_folders_without_a_checkpoint_say_what_is_missing(run, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no best.npz: expected the folder of a training run"):
        load_model(tmp_path)
    with pytest.raises(
        CheckpointError,
        match=r"there is no checkpoint .*: expected the folder of a training run, or its best.npz or last.npz",
    ):
        load_model(tmp_path / "nowhere.npz")
    with pytest.raises(CheckpointError, match="not 'worst'"):
        load_model(run, "worst")
    (tmp_path / "last.npz").write_bytes((run / "last.npz").read_bytes())
    load_model(tmp_path)
    with pytest.raises(CheckpointError, match=r"no epoch is finished yet, .*choose its 'last' weights"):
        load_model(tmp_path, "best")


def test_numbers_that_are_not_finite_are_never_saved(run, tmp_path):
    checkpoint = load_checkpoint(run / "last.npz")
    (tmp_path / "last.npz").write_bytes(b"the last good one")
    checkpoint.parameters["head.bias"][3] = np.inf
    with pytest.raises(CheckpointError, match=r"was not saved, since 'parameters/head.bias'"):
        save_checkpoint(tmp_path / "last.npz", checkpoint)
    assert (tmp_path / "last.npz").read_bytes() == b"the last good one"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, OSError(28, "No space left on device")])
def test_a_file_that_is_not_finished_leaves_the_old_one_and_no_litter(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half():
        with replacing(path) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(CheckpointError if isinstance(error, OSError) else error):
        write_half()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


class TestFormat1:
    """A run of the first version: digits, one block, two epochs; its test accuracy with the last weights was measured
    by that version.
    """

    FOLDER = Path(__file__).parent / "format_1"

    def test_it_loads_and_evaluates_as_it_did(self):
        loaded, digits = load_run(self.FOLDER), load_dataset("digits")
        assert (loaded.checkpoint.format, loaded.which) == (1, "last")
        assert loaded.data.class_names == tuple("0123456789")
        found = evaluate(
            loaded.model, digits.test_images, digits.test_labels, *map(np.array, (loaded.data.mean, loaded.data.std))
        )
        assert found.accuracy == pytest.approx(150 / 360, abs=1e-9)

    def test_a_new_run_begins_with_its_weights(self, tmp_path):
        recipe = load_checkpoint(self.FOLDER / "last.npz").recipe.with_overrides({"epochs": 1})
        trainer = Trainer(recipe, tmp_path / "run", init_from=self.FOLDER)
        np.testing.assert_array_equal(
            trainer.model.parameters["head.weight"], load_checkpoint(self.FOLDER / "last.npz").parameters["head.weight"]
        )

    def test_resuming_it_is_refused_in_a_sentence(self, tmp_path):
        shutil.copytree(self.FOLDER, tmp_path / "run")
        recipe = resolve_recipe(None, {"epochs": 2}, tmp_path / "run", resume=True)
        with pytest.raises(CheckpointError, match=r"random numbers this one does not draw.*--init-from"):
            Trainer(recipe, tmp_path / "run", resume=True).run()
