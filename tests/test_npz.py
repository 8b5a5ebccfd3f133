"""Files of arrays whose claims are not believed."""

import contextlib
import io
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.errors import DataError
from tinymixer.npz import npz_file, write_npz

ARRAYS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "c": np.array("text"),
    "d": np.zeros((0, 5), np.uint8),
    "e": np.array([True, False]),
    "f": np.arange(4, dtype=">f8"),
}


def read(path, compressed=True):
    with npz_file(path, DataError, "mine.npz cannot be read") as archive:
        return archive.read(archive.names, compressed)


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, contents, more=()):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*contents.items(), *more]:
            archive.writestr(name, content)
    return path


def member(header, content=bytes(40), version=1):
    text = header.encode("latin-1") + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + content


def header(shape="(10,)", descr="'<f4'", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(path, save):
    save(path, **ARRAYS)
    found = read(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].flags.writeable
    if save is np.savez_compressed:
        with pytest.raises(DataError, match="its arrays are compressed, which ours never are"):
            read(path, compressed=False)


def test_an_older_numpy_writes_the_same_arrays_and_no_more(path, monkeypatch):
    """NumPy 2.0's np.savez takes every keyword for an array: `allow_pickle`, too."""

    def savez_of_numpy_2_0(file, *args, **kwds):
        save(file, *args, **{name: np.asanyarray(array) for name, array in kwds.items()})

    save = np.savez
    monkeypatch.setattr(np, "savez", savez_of_numpy_2_0)
    with path.open("wb") as file:
        write_npz(file, ARRAYS)
    assert list(read(path)) == list(ARRAYS)


def test_objects_are_not_pickled(path):
    with path.open("wb") as file, pytest.raises(TypeError, match="'thing' is an array of Python objects"):
        write_npz(file, {"thing": np.array([object()])})


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(path, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, ARRAYS["a"], version=version)
    np.testing.assert_array_equal(read(write(path, {"a.npy": file.getvalue()}))["a"], ARRAYS["a"])


@pytest.mark.parametrize(
    "text",
    [
        "{'shape': (10,), 'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4','fortran_order':False,'shape':(10L,)}",
        header() + " " * 50,
    ],
)
def test_what_other_programs_write_is_read(path, text):
    assert read(write(path, {"a.npy": member(text)}))["a"].shape == (10,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no array"),
        (b"just text", "is no array"),
        (member(header("(274877906944,)")), "promises 1,099,511,627,776 bytes, 40 are there"),
        (member(header("(4611686018427387904, 4)")), "has a shape that cannot be"),
        (member(header("(-1,)")), "has a header that is not that of an array"),
        (member(header("(9,)")), "promises 36 bytes"),
        (member(header("(" + "9" * 700 + ",)")), "has a shape that cannot be"),
        (member(header("(" + "1," * 100 + ")")), "has a shape that cannot be"),
        (member(header("10")), "has a header"),
        (member(header("(10)")), "has a shape that is not a list"),
        (member("(" * 2000 + ")" * 2000), "has a header"),
        (member(header("(" + "-" * 3000 + "1,)")), "has a header"),
        (member(header("(" + "-" * 9000 + "1,)")), "has a header of 9,"),
        (member(header(descr="'|O'")), "is never unpickled"),
        (member(header(descr="[('a', '<f4')]")), "has a header"),
        (member(header(descr="'<M8[s]'")), "has a header"),
        (member(header(descr="'V4'")), "which is neither a number nor text"),
        (member(header(descr="'f3'")), "has the unknown dtype f3"),
        (member(header(descr="'S0'")), "which is neither a number nor text"),
        (member(header(order="'no'")), "has a header"),
        (member(header() + "{"), "has a header"),
        (member("__import__('os').system('false')"), "has a header"),
        (member(header(), version=9)[:60], "has version 9.0 of NumPy's format"),
        (member(header())[:9], "ends in its header"),
    ],
)
def test_a_header_that_lies(path, content, message):
    with pytest.raises(DataError, match=message):
        read(write(path, {"a.npy": content}))


def test_members_that_no_such_file_has(path):
    np.savez(path, **ARRAYS)
    whole = members(path)
    for contents, more, message in (
        (whole | {"note.txt": b"hello"}, (), "'note.txt' is no array"),
        (whole, [("a.npy", whole["a.npy"])], "it holds 'a' twice"),
        (whole, [("a", b"")], "it holds 'a' twice"),
    ):
        with (
            pytest.warns(UserWarning, match="Duplicate") if more and more[0][0] == "a.npy" else contextlib.nullcontext()
        ):
            write(path, contents, more)
        with pytest.raises(DataError, match=message):
            read(path)
    content = bytearray(write(path, whole).read_bytes())
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        read(path)


def test_a_directory_that_names_one_member_many_times(path):
    np.savez(path, a=np.zeros(1 << 18, np.float32))
    content = path.read_bytes()
    start, end = content.find(b"PK\x01\x02"), content.rfind(b"PK\x05\x06")
    entry, tail = content[start:end], bytearray(content[end:])
    tail[8:12] = struct.pack("<HH", 20_001, 20_001)
    tail[12:16] = struct.pack("<I", 20_001 * len(entry))
    path.write_bytes(content[:start] + entry * 20_001 + tail)
    started = time.process_time()
    with pytest.raises(DataError, match="names more bytes than the file has"):
        read(path)
    assert time.process_time() - started < 5


def test_a_stored_member_of_two_lengths_takes_no_memory(path):
    np.savez(path, a=np.zeros(10, np.float32))
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match="has two lengths"):
        read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_changed_header_is_read_or_refused_in_a_sentence(tmp_path_factory, data):
    file = io.BytesIO()
    np.save(file, ARRAYS["a"])
    content = bytearray(file.getvalue())
    alphabet = b"0123456789(),'<>|=fiuOSUVbc{}[]: -+.xTFn\\\"\x00\xff"
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 127))
        if data.draw(st.booleans()):
            content[place] = data.draw(st.sampled_from(alphabet))
        else:
            content[place:place] = bytes([data.draw(st.sampled_from(alphabet))])
    path = write(tmp_path_factory.getbasetemp() / "changed.npz", {"a.npy": bytes(content)})
    refused = ""
    try:
        assert read(path)["a"].nbytes <= 48
    except DataError as error:
        refused = str(error)
    assert len(refused) < 400
    assert "\n" not in refused
