"""Harmful archives and pickles: each is refused in a sentence, and nothing in it is run."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import cifar_makers as makers
from tinymixer.data import cifar, load_dataset
from tinymixer.data.unpickling import read_python_batch
from tinymixer.errors import DataError


def entry(name, kind=tarfile.REGTYPE, link=""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (entry("../outside"), "member '../outside' would climb out"),
        (entry("cifar-10-batches-bin/../../outside"), "would climb out"),
        (entry("/etc/outside"), "member '/etc/outside' would climb out"),
        (entry("C:\\outside"), "would climb out"),
        (entry("..\\outside"), "would climb out"),
        (entry("cifar-10-batches-bin/test_batch.bin", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
        (entry("cifar-10-batches-bin/test_batch.bin", tarfile.LNKTYPE, "data_batch_1.bin"), "is a link"),
        (entry("device", tarfile.CHRTYPE), "neither a plain file nor a folder"),
        (entry("pipe", tarfile.FIFOTYPE), "neither a plain file nor a folder"),
    ],
)
def test_members_that_are_no_plain_files_inside(hostile, message, tmp_path, monkeypatch):
    """Even where the hash is the official one, which takes these archives past the first gate."""
    makers.so_few_are_complete(monkeypatch)
    content = makers.make_tar(makers.binary_members(makers.make_tables()), extra=[hostile])
    path = tmp_path / "folder" / "archive.tar.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"for an official CIFAR-10 archive"):
        load_dataset("cifar10", path)
    makers.declare_official(monkeypatch, {"binary": content})
    with pytest.raises(DataError, match=message.replace("\\", "\\\\")):
        load_dataset("cifar10", path)
    assert [found.name for found in tmp_path.rglob("*")] == ["folder", "archive.tar.gz"]


def test_an_archive_that_unpacks_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "LARGEST_ARCHIVE", 1_000_000)
    content = makers.make_tar({"readme.html": bytes(5_000_000)})
    assert len(content) < 50_000
    makers.declare_official(monkeypatch, {"binary": content})
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"unpacks to far more than it should"):
        load_dataset("cifar10", path)


def test_a_member_larger_than_any_batch(tmp_path, monkeypatch):
    makers.so_few_are_complete(monkeypatch, largest_member=100_000)
    content = makers.make_tar({"cifar-10-batches-bin/test_batch.bin": bytes(100_001)})
    makers.declare_official(monkeypatch, {"binary": content})
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch.bin in .* has 100,001 bytes, more than the 100,000"):
        load_dataset("cifar10", path)


def test_damage_that_the_hash_was_told_to_expect(tmp_path, monkeypatch):
    """The unpacking itself reports damage in a sentence, wherever it begins."""
    whole = makers.make_tar(makers.binary_members(makers.make_tables()))
    path = tmp_path / "archive.tar.gz"
    random = np.random.default_rng(0)
    for _ in range(40):
        content = bytearray(whole)
        content[random.integers(2, len(content))] ^= int(random.integers(1, 256))
        if random.random() < 0.5:
            del content[random.integers(2, len(content)) :]
        path.write_bytes(content)
        makers.declare_official(monkeypatch, {"binary": bytes(content)})
        refused, count = None, makers.RECORDS
        try:
            count = len(load_dataset("cifar10", path).test_images)
        except DataError as error:
            refused = error
        assert count == makers.RECORDS
        assert refused is None or str(path) in str(refused)
    path.write_bytes(makers.gzip_bytes(b"this is no tar" * 100))
    makers.declare_official(monkeypatch, {"binary": path.read_bytes()})
    with pytest.raises(DataError, match=r"is not a readable tar archive"):
        load_dataset("cifar10", path)


class CreatesAFile:
    """A pickle that runs a command of its author's when it is read."""

    def __init__(self, function, path):
        self.function, self.path = function, path

    def __reduce__(self):
        return self.function, (f"touch {self.path}",)


@pytest.mark.parametrize("function", [os.system, exec, io.open])
@pytest.mark.parametrize("place", ["whole", "data", "labels", "filenames"])
def test_a_pickle_that_would_run_something(function, place, tmp_path):
    marker = tmp_path / "marker"
    table = makers.make_tables()["test_batch"]
    hostile = CreatesAFile(function, marker)
    batch = {"data": np.ascontiguousarray(table[:, 1:]), "labels": table[:, 0].tolist(), place: hostile}
    folder = tmp_path / "cifar-10-batches-py"
    members = makers.python_members(makers.make_tables())
    makers.write_folder(tmp_path, members)
    (folder / "data_batch_1").write_bytes(pickle.dumps(hostile if place == "whole" else batch, protocol=4))
    with pytest.raises(DataError, match=r"it asks for \w+\.\w+, which no such batch needs. Nothing in it was run"):
        load_dataset("cifar10", tmp_path)
    assert not marker.exists()


def test_an_archive_with_a_hostile_pickle(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    members = makers.python_members(makers.make_tables())
    members["cifar-10-batches-py/data_batch_1"] = pickle.dumps(CreatesAFile(os.system, marker))
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(makers.make_tar(members))
    with pytest.raises(DataError, match=r"for an official CIFAR-10 archive"):
        load_dataset("cifar10", path)
    makers.declare_official(monkeypatch, {"python": path.read_bytes()})
    with pytest.raises(DataError, match=r"Nothing in it was run"):
        load_dataset("cifar10", path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["numpy\nload", "numpy.core.multiarray\nscalar", "builtins\neval", "posix\nsystem", "_codecs\ndecode"]
)
def test_no_other_name_is_admitted(name):
    with pytest.raises(DataError, match=name.replace("\n", ".")):
        read_python_batch(f"c{name}\n.".encode(), "the batch")


@pytest.mark.parametrize("encoding", ["rot13", "zlib_codec", "utf-16", "latin1\0"])
def test_text_is_encoded_as_latin1_alone(encoding):
    """Protocol 2 writes bytes as text to be encoded; a pickle that names another codec does not get it called."""
    text = b"X" + len(encoding).to_bytes(4, "little") + encoding.encode()
    with pytest.raises(DataError, match=r"has no entry 'labels'|are not a list"):
        read_python_batch(b"\x80\x02}c_codecs\nencode\nX\x06\0\0\0labels" + text + b"\x86R]s.", "the batch")


def test_a_pickle_cannot_alter_the_reader():
    """BUILD on a name itself, not on a thing made with it, would set attributes of our own class."""
    for name in (b"numpy\ndtype", b"numpy\nndarray", b"numpy.core.multiarray\n_reconstruct", b"_codecs\nencode"):
        with pytest.raises(DataError, match=r"the batch"):
            read_python_batch(b"\x80\x02c" + name + b"\n}U\x09argumentsK\x01sb.", "the batch")
    table = makers.make_tables()["test_batch"]
    pixels, _ = read_python_batch(makers.python2_pickle(table), "the batch")
    np.testing.assert_array_equal(pixels, table[:, 1:])


@given(st.binary(max_size=200))
def test_noise_is_refused_in_a_sentence(noise):
    with pytest.raises(DataError, match=r"the batch"):
        read_python_batch(noise, "the batch")


@given(st.data())
def test_a_damaged_batch_is_read_rightly_or_refused_in_a_sentence(data):
    table = makers.make_tables(2)["test_batch"]
    content = bytearray(makers.python2_pickle(table))
    for _ in range(data.draw(st.integers(1, 3))):
        # The structure is at both ends; the pixels between them may be anything.
        place = data.draw(st.sampled_from([*range(150), *range(len(content) - 60, len(content))]))
        content[place] = data.draw(st.integers(0, 255))
    refused = None
    try:
        pixels, labels = read_python_batch(bytes(content), "the batch")
        assert pixels.shape == (len(labels), 3072)
    except DataError as error:
        refused = error
    assert refused is None or "the batch" in str(refused)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "has no entry 'labels'"),
        ({"labels": [1]}, "has no entry 'data'"),
        ({"labels": [1], "data": [[0] * 3072]}, "are not a uint8 array"),
        ({"labels": [1], "data": np.zeros((2, 3072), np.uint8)}, "are not a uint8 array"),
        ({"labels": [1], "data": np.zeros((1, 3072), np.float32)}, "are not a uint8 array"),
        ({"labels": [1], "data": np.array([[None] * 3072])}, "are not a uint8 array"),
        ({"labels": [1.0], "data": np.zeros((1, 3072), np.uint8)}, "are not a list of whole numbers"),
        ({"labels": [-1], "data": np.zeros((1, 3072), np.uint8)}, "Record 0 of the batch has the label -1"),
        ({"labels": [10**30], "data": np.zeros((1, 3072), np.uint8)}, "has the label 10000"),
    ],
)
def test_pickles_that_are_harmless_and_no_batch(batch, message):
    with pytest.raises(DataError, match=message):
        read_python_batch(pickle.dumps(batch, protocol=4), "the batch")
