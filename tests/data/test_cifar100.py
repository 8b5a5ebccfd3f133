"""CIFAR-100 in its layouts; neither CIFAR is mistaken for the other."""

import pickle

import numpy as np
import pytest

from tests.data import cifar_makers as makers
from tinymixer.data import load_dataset
from tinymixer.data.manifest import load_manifest
from tinymixer.errors import DataError


@pytest.fixture
def tables(monkeypatch):
    """name -> uint8 (12, 3074): the coarse label, the fine one, the planar pixels; so few are complete."""
    makers.so_few_are_complete(monkeypatch, "cifar100")
    random = np.random.default_rng(3)
    made = {name: random.integers(0, 256, (makers.RECORDS, 3074), dtype=np.uint8) for name in ("train", "test")}
    for table in made.values():
        table[:, 0], table[:, 1] = random.integers(0, 20, len(table)), random.integers(0, 100, len(table))
    return made


def binary_members(tables):
    return {f"cifar-100-binary/{name}.bin": table.tobytes() for name, table in tables.items()}


def python_members(tables, protocol=4):
    def batch(table):
        return {
            b"data": np.ascontiguousarray(table[:, 2:]),
            b"fine_labels": table[:, 1].tolist(),
            b"coarse_labels": table[:, 0].tolist(),
            b"filenames": [b"a.png"] * len(table),
        }

    pickled = {f"cifar-100-python/{name}": pickle.dumps(batch(table), protocol) for name, table in tables.items()}
    return {**pickled, "cifar-100-python/meta": b"not read"}


def check(dataset, tables):
    for images, labels, name in (
        (dataset.train_images, dataset.train_labels, "train"),
        (dataset.test_images, dataset.test_labels, "test"),
    ):
        np.testing.assert_array_equal(images, makers.expected_images(tables[name][:, 1:]))
        np.testing.assert_array_equal(labels, tables[name][:, 1])
    assert (dataset.name, dataset.num_classes, dataset.class_names[-1]) == ("cifar100", 100, "worm")


@pytest.mark.parametrize("make_members", [binary_members, python_members])
def test_folders_and_their_parents(tables, tmp_path, make_members):
    makers.write_folder(tmp_path, make_members(tables))
    (inner,) = tmp_path.iterdir()
    check(load_dataset("cifar100", inner), tables)
    check(load_dataset("cifar100", tmp_path), tables)


@pytest.mark.parametrize(("layout", "make_members"), [("binary", binary_members), ("python", python_members)])
def test_archives(tables, tmp_path, monkeypatch, layout, make_members):
    content = makers.make_tar(make_members(tables))
    official = makers.declare_official(monkeypatch, {layout: content}, name="cifar100")
    path = tmp_path / official.archives[0].file
    path.write_bytes(content)
    check(load_dataset("cifar100", path), tables)
    check(load_dataset("cifar100", cache=tmp_path), tables)
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"Fetch it again with `tinymixer data fetch cifar100`"):
        load_dataset("cifar100", path)


@pytest.mark.parametrize("asked", ["digits", "cifar10", "fashion_mnist", "own"])
def test_what_lies_at_the_path_decides(tables, tmp_path, monkeypatch, asked):
    makers.write_folder(tmp_path / "folder", binary_members(tables))
    check(load_dataset(asked, tmp_path / "folder"), tables)
    content = makers.make_tar(binary_members(tables))
    makers.declare_official(monkeypatch, {"binary": content}, name="cifar100")
    (tmp_path / "archive.tar.gz").write_bytes(content)
    check(load_dataset(asked, tmp_path / "archive.tar.gz"), tables)


def test_a_folder_with_both_is_what_was_asked_for(tables, tmp_path, monkeypatch):
    makers.so_few_are_complete(monkeypatch)
    makers.write_folder(tmp_path, binary_members(tables))
    makers.write_folder(tmp_path, makers.binary_members(makers.make_tables()))
    assert [load_dataset(name, tmp_path).name for name in ("cifar10", "cifar100")] == ["cifar10", "cifar100"]


def test_labels_out_of_range_and_files_cut_short(tables, tmp_path):
    tables["test"][5, 1] = 100
    folder = makers.write_folder(tmp_path, binary_members(tables)) / "cifar-100-binary"
    with pytest.raises(DataError, match=r"Record 5 of .*test.bin has the label 100; CIFAR-100's labels are 0 to 99"):
        load_dataset("cifar100", folder)
    makers.write_folder(tmp_path / "python", python_members(tables))
    with pytest.raises(DataError, match=r"Record 5 of .*test has the label 100; CIFAR-100's labels are 0 to 99"):
        load_dataset("cifar100", tmp_path / "python")
    (folder / "train.bin").write_bytes(b"\0" * 3074 * 3)
    (folder / "test.bin").write_bytes(b"\0" * 3074 * makers.RECORDS)
    with pytest.raises(DataError, match=r"train in .* has 3 records where the complete files have 12"):
        load_dataset("cifar100", folder)
    (folder / "train.bin").unlink()
    with pytest.raises(DataError, match=r"lacks train.bin"):
        load_dataset("cifar100", folder)


def test_the_names_of_the_classes_are_in_order():
    names = load_manifest("cifar100").class_names
    assert len(set(names)) == 100
    assert list(names) == sorted(names)
