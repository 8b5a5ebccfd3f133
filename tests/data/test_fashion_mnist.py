"""Fashion-MNIST from files made here, declared official for the test; and that MNIST's are not taken for it."""

import dataclasses
import gzip
import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.mirror_server import Mirror
from tinymixer.data import dataset_info, fetch, load_dataset, manifest
from tinymixer.data.fashion_mnist import read_idx
from tinymixer.errors import DataError, DownloadError


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", length) for length in array.shape)
    return header + array.tobytes()


@pytest.fixture
def arrays():
    """Images, labels, test images and test labels, in the order of the manifest's files."""
    random = np.random.default_rng(2)
    parts = []
    for count in (30, 10):
        parts += [random.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10]
    return parts


@pytest.fixture
def files(arrays, monkeypatch):
    """file name -> content, declared official."""
    read_manifest = manifest._read_manifest
    real = read_manifest("fashion_mnist")
    contents = {
        archive.file: gzip.compress(idx(array), mtime=0) for archive, array in zip(real.archives, arrays, strict=True)
    }
    archives = tuple(
        dataclasses.replace(
            archive,
            bytes=len(contents[archive.file]),
            sha256=hashlib.sha256(contents[archive.file]).hexdigest(),
            urls=(),
        )
        for archive in real.archives
    )
    fake = dataclasses.replace(real, archives=archives)
    monkeypatch.setattr(
        manifest, "_read_manifest", lambda name: fake if name == "fashion_mnist" else read_manifest(name)
    )
    return contents


def write(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def check(dataset, arrays):
    images, labels, test_images, test_labels = arrays
    np.testing.assert_array_equal(dataset.train_images, images[..., None])
    np.testing.assert_array_equal(dataset.train_labels, labels)
    np.testing.assert_array_equal(dataset.test_images, test_images[..., None])
    np.testing.assert_array_equal(dataset.test_labels, test_labels)
    assert (dataset.name, dataset.class_names[9], dataset.colours) == ("fashion_mnist", "Ankle boot", "grey")


@pytest.mark.parametrize("place", [".", "raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("asked", ["fashion_mnist", "digits", "own"])
def test_a_folder_and_where_torchvision_puts_it(arrays, files, tmp_path, place, asked):
    write(tmp_path / "data" / place, files)
    check(load_dataset(asked, tmp_path / "data"), arrays)


def test_fetched_from_a_mirror_and_loaded_from_the_cache(arrays, files, server, cache):
    for name, content in files.items():
        server.mirrors[f"/{name}"] = Mirror(content)
    assert not dataset_info("fashion_mnist", cache)["available"]
    folder = fetch("fashion_mnist", cache, mirrors=[server.url("")])
    assert folder == cache / "fashion_mnist"
    info = dataset_info("fashion_mnist", cache)
    assert (info["available"], info["path"]) == (True, str(folder))
    assert info["bytes"] == sum(map(len, files.values()))
    check(load_dataset("fashion_mnist", cache=cache), arrays)
    server.mirrors.clear()  # it is asked for nothing any more
    assert fetch("fashion_mnist", cache, mirrors=[server.url("")]) == folder


def test_one_file_that_no_mirror_has(files, server, cache):
    for name, content in list(files.items())[:3]:
        server.mirrors[f"/{name}"] = Mirror(content)
    with pytest.raises(DownloadError, match=r"Fashion-MNIST could not be fetched .*download the files by hand"):
        fetch("fashion_mnist", cache, mirrors=[server.url("")], timeout=20, attempts=1, backoff=0.01)
    assert not dataset_info("fashion_mnist", cache)["available"]
    with pytest.raises(DataError, match="is not here yet: fetch it with `tinymixer data fetch fashion_mnist`"):
        load_dataset("fashion_mnist", cache=cache)


def test_the_files_of_mnist_are_not_taken_for_these(files, tmp_path):
    folder = write(tmp_path / "mnist", files)
    labels = folder / "train-labels-idx1-ubyte.gz"
    other = gzip.compress(idx(np.arange(30, dtype=np.uint8) % 7), mtime=0)
    labels.write_bytes(other)
    with pytest.raises(DataError, match=r"train-labels.* is not the official file .*it is damaged, or MNIST's"):
        load_dataset("fashion_mnist", folder)
    content = bytearray(files[labels.name])
    content[20] ^= 1
    labels.write_bytes(content)
    with pytest.raises(DataError, match=r"train-labels.* is not the official file .*its SHA-256 differs"):
        load_dataset("fashion_mnist", folder)
    labels.unlink()
    with pytest.raises(DataError, match=r"lacks train-labels-idx1-ubyte.gz. Fetch it again"):
        load_dataset("fashion_mnist", folder)


def test_paths_with_nothing_to_load(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"There is no Fashion-MNIST in .*train-images-idx3-ubyte.gz and the three"):
            load_dataset("fashion_mnist", path)


@given(cut=st.integers(0, 39), more=st.binary(min_size=1, max_size=9))
def test_an_idx_file_of_the_wrong_length_is_refused(cut, more):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = idx(array)
    np.testing.assert_array_equal(read_idx(content, "file"), array)
    for wrong in (content[:cut], content + more, b"\0\0\x0d" + content[3:]):
        with pytest.raises(DataError, match=r"^file is"):
            read_idx(wrong, "file")
