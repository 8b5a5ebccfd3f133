"""CIFAR-10 in every form it comes in, and every way it can be wrong without meaning harm."""

import hashlib
import pickle
import shutil

import numpy as np
import pytest

from tests.data import cifar_makers as makers
from tinymixer.data import load_dataset
from tinymixer.errors import DataError

TRAINING = [f"data_batch_{number}" for number in range(1, 6)]


@pytest.fixture
def tables(monkeypatch):
    """Six batches, and a loader for which so few records are complete."""
    makers.so_few_are_complete(monkeypatch)
    return makers.make_tables()


@pytest.fixture
def binary_folder(tables, tmp_path):
    return makers.write_folder(tmp_path, makers.binary_members(tables)) / "cifar-10-batches-bin"


def check(dataset, tables):
    """Every pixel and label as the tables say."""
    for images, labels, names in (
        (dataset.train_images, dataset.train_labels, TRAINING),
        (dataset.test_images, dataset.test_labels, ["test_batch"]),
    ):
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        np.testing.assert_array_equal(images, np.concatenate([makers.expected_images(tables[name]) for name in names]))
        np.testing.assert_array_equal(labels, np.concatenate([tables[name][:, 0] for name in names]))
        assert labels.dtype == np.int64
    assert dataset.class_names[0] == "airplane"
    assert (dataset.image_size, dataset.in_channels, dataset.num_classes) == (32, 3, 10)


@pytest.mark.parametrize("make_members", [makers.binary_members, makers.python_members])
def test_folders_and_their_parents(tables, tmp_path, make_members):
    makers.write_folder(tmp_path, make_members(tables))
    (inner,) = tmp_path.iterdir()
    check(load_dataset("cifar10", inner), tables)
    check(load_dataset("cifar10", str(tmp_path)), tables)


@pytest.mark.parametrize(
    ("layout", "make_members"), [("binary", makers.binary_members), ("python", makers.python_members)]
)
def test_archives(tables, tmp_path, monkeypatch, layout, make_members):
    members = {**make_members(tables), "cifar-10-batches/readme.html": b"hello"}
    # The official archives do not list the batches in their order.
    content = makers.make_tar(dict(reversed(members.items())))
    official = makers.declare_official(monkeypatch, {layout: content})
    (tmp_path / official.archives[0].file).write_bytes(content)
    check(load_dataset("cifar10", tmp_path / official.archives[0].file), tables)
    check(load_dataset("cifar10", cache=tmp_path), tables)
    assert len(list(tmp_path.iterdir())) == 1, "an archive is read in memory"


@pytest.mark.parametrize("lay_out", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("key", [str, str.encode])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_python_batches_written_by_python_3(tables, tmp_path, protocol, key, lay_out):
    for name, table in tables.items():
        batch = {key("data"): lay_out(table[:, 1:]), key("labels"): table[:, 0].tolist()}
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    check(load_dataset("cifar10", tmp_path), tables)


def test_the_pickles_of_these_tests_are_what_pythons_own_reader_makes_of_them(tables):
    table = tables["test_batch"]
    batch = pickle.loads(makers.python2_pickle(table), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], table[:, 1:])
    assert batch[b"labels"] == table[:, 0].tolist()


def test_a_small_set_of_ones_own(tmp_path):
    tables = makers.make_tables(7)
    tables["test_batch"] = tables["test_batch"][:3]
    makers.write_folder(tmp_path, makers.binary_members(tables))
    check(load_dataset("cifar10", tmp_path), tables)


def test_a_batch_cut_short_anywhere(tables, binary_folder):
    path = binary_folder / "data_batch_3.bin"
    whole = path.read_bytes()
    for length in (0, 1, 3072, 3074, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"data_batch_3.bin has {length:,} bytes where 36,876 .* cut short"):
            load_dataset("cifar10", binary_folder)
    # At the end of a record, only the other files tell.
    path.write_bytes(whole[: 3073 * 5])
    with pytest.raises(DataError, match=r"data_batch_3 in .* has 5 records .* cut short"):
        load_dataset("cifar10", binary_folder)


def test_a_batch_too_large(binary_folder):
    path = binary_folder / "test_batch.bin"
    path.write_bytes(path.read_bytes() + bytes(3073))
    with pytest.raises(DataError, match=r"test_batch.bin has 39,949 bytes where 36,876 .* too large"):
        load_dataset("cifar10", binary_folder)
    with path.open("wb") as file:
        file.truncate(10**12)  # a sparse file: refused without being read
    with pytest.raises(DataError, match=r"test_batch.bin is larger than any batch"):
        load_dataset("cifar10", binary_folder)


def test_a_label_of_10(tables, binary_folder, tmp_path):
    tables["data_batch_4"][8, 0] = 10
    (binary_folder / "data_batch_4.bin").write_bytes(tables["data_batch_4"].tobytes())
    with pytest.raises(
        DataError, match=r"Record 8 of .*data_batch_4.bin has the label 10; CIFAR-10's labels are 0 to 9"
    ):
        load_dataset("cifar10", binary_folder)
    makers.write_folder(tmp_path / "python", makers.python_members(tables))
    with pytest.raises(DataError, match=r"Record 8 of .*data_batch_4 has the label 10"):
        load_dataset("cifar10", tmp_path / "python")


def test_missing_batches_are_named(binary_folder):
    (binary_folder / "data_batch_2.bin").unlink()
    (binary_folder / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_2.bin, test_batch.bin"):
        load_dataset("cifar10", binary_folder)


def test_paths_with_nothing_to_load(tmp_path):
    with pytest.raises(DataError, match=r"There is no file or folder .*nowhere"):
        load_dataset("cifar10", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"There is no CIFAR-10 in .*expected data_batch_1.bin"):
        load_dataset("cifar10", tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"It holds cifar-10-binary.tar.gz: give that file instead"):
        load_dataset("cifar10", tmp_path)


@pytest.fixture
def archive(tables, tmp_path, monkeypatch):
    """The official binary archive of the test, in a file."""
    content = makers.make_tar(makers.binary_members(tables))
    makers.declare_official(monkeypatch, {"binary": content, "python": content + b"python"})
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    return path


def test_an_archive_cut_short(archive):
    whole = archive.read_bytes()
    for length in (20, len(whole) // 2, len(whole) - 1):
        archive.write_bytes(whole[:length])
        with pytest.raises(
            DataError, match=rf"was cut short: it has {length:,} of {len(whole):,} bytes. Fetch it again with"
        ):
            load_dataset("cifar10", archive)


def test_an_archive_with_one_bit_changed(archive):
    content = bytearray(archive.read_bytes())
    expected = hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    got = hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match=rf"expected SHA-256 {expected}, got {got}. Fetch it again"):
        load_dataset("cifar10", archive)


def test_an_archive_too_large(archive):
    with archive.open("ab") as file:
        file.truncate(10**12)
    with pytest.raises(
        DataError, match=r"is too large for an official CIFAR-10 archive: it has 1,000,000,000,000 bytes"
    ):
        load_dataset("cifar10", archive)


def test_an_archive_packed_again(archive, tables):
    archive.write_bytes(makers.make_tar({"data_batch_1.bin": b"small"}))
    with pytest.raises(DataError, match=r"of another size .* trust, unpack it and give the folder"):
        load_dataset("cifar10", archive)


def test_a_web_page_and_other_files_under_an_archives_name(archive):
    archive.write_bytes(b"<!DOCTYPE html><html>Log in</html>")
    with pytest.raises(DataError, match=r"is not a .tar.gz archive .it looks like a web page."):
        load_dataset("cifar10", archive)
    archive.write_bytes(b"")
    with pytest.raises(DataError, match=r"is not a .tar.gz archive: give"):
        load_dataset("cifar10", archive)


def test_an_archive_that_lacks_a_batch_or_holds_one_twice(tables, tmp_path, monkeypatch):
    members = makers.binary_members(tables)
    path = tmp_path / "archive.tar.gz"
    last = members.pop("cifar-10-batches-bin/test_batch.bin")
    for extra, message in (
        ({}, "lacks test_batch.bin"),
        ({"a/test_batch.bin": last, "b/test_batch.bin": last}, "twice"),
    ):
        path.write_bytes(makers.make_tar({**members, **extra}))
        makers.declare_official(monkeypatch, {"binary": path.read_bytes()})
        with pytest.raises(DataError, match=message):
            load_dataset("cifar10", path)


def test_a_file_that_may_not_be_read(archive, monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tinymixer.borders.os.open", refuse)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied"):
        load_dataset("cifar10", archive)


def test_binary_is_taken_where_both_layouts_are(tables, tmp_path):
    makers.write_folder(tmp_path, makers.binary_members(tables))
    makers.write_folder(tmp_path, dict.fromkeys(makers.python_members(tables), b"not a pickle"))
    check(load_dataset("cifar10", tmp_path), tables)
    shutil.rmtree(tmp_path / "cifar-10-batches-bin")
    with pytest.raises(DataError, match=r"data_batch_1 is not a batch of CIFAR-10"):
        load_dataset("cifar10", tmp_path)
