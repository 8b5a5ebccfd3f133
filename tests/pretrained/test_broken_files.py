"""Files that hold no whole Mixer, and files that lie: each is refused in a sentence, without memory for its claims."""

import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pretrained.files import (
    authors_file,
    npy,
    pretrained,
    raw_npz,
    raw_safetensors,
    small,
)
from tinymixer.errors import CheckpointError, TinymixerError
from tinymixer.pretrained import export_weights, load_weights
from tinymixer.pretrained.array_file import open_arrays
from tinymixer.pretrained.export import foreign_arrays

DENSE = "MixerBlock_1/token_mixing/Dense_0/kernel"  # (S, DS) = (9, 5)


def removed(arrays):
    del arrays[DENSE]


def added(arrays):
    arrays["MixerBlock_1/extra/kernel"] = np.zeros((2, 3), np.float32)


def turned(arrays):
    arrays[DENSE] = arrays[DENSE].T


def first_misshapen(arrays):
    """The array that sizes might be read off first: the others outvote it."""
    arrays["MixerBlock_0/token_mixing/Dense_0/kernel"] = np.zeros((9, 6), np.float32)


def spoilt(value):
    def spoil(arrays):
        arrays[DENSE] = arrays[DENSE].copy()
        arrays[DENSE][2, 3] = value

    return spoil


def integers(arrays):
    arrays[DENSE] = arrays[DENSE].astype(np.int64)


def objects(arrays):
    arrays[DENSE] = np.array([{}, None], object)


def three_axes(arrays):
    arrays[DENSE] = np.zeros((9, 5, 2), np.float32)


def headless(arrays):
    del arrays["head/kernel"], arrays["head/bias"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (removed, [DENSE, "is missing", "(9, 5)"]),
        (added, ["MixerBlock_1/extra/kernel", "(2, 3)", "is no array of a Mixer"]),
        (turned, [DENSE, "has the shape (5, 9), expected (9, 5)"]),
        (first_misshapen, ["'MixerBlock_0/token_mixing/Dense_0/kernel' has the shape (9, 6), expected (9, 5)"]),
        (three_axes, [DENSE, "has the shape (9, 5, 2), expected (9, 5)"]),
        (spoilt(np.nan), [DENSE, "1 numbers that are not finite", "(9, 5)"]),
        (spoilt(-np.inf), [DENSE, "not finite"]),
        (integers, [DENSE, "should hold floating-point numbers, got int64"]),
        (objects, [DENSE, "never unpickled"]),
        (headless, ["'head/kernel' is missing"]),
    ],
)
def test_the_array_and_both_shapes_are_named(tmp_path, change, words):
    path = authors_file(tmp_path / "theirs.npz", small(), change=change)
    with pytest.raises(CheckpointError) as error:
        load_weights(path, backend="numpy")
    for word in words:
        assert word in str(error.value)
    assert str(error.value).count("kernel") <= 2  # the wrong one, and not all those beside it


def test_a_misshapen_array_of_timm_is_named_in_timm_s_words(tmp_path):
    arrays = foreign_arrays(small(gelu="erf"), "timm")
    arrays["blocks.1.mlp_channels.fc2.weight"] = arrays["blocks.1.mlp_channels.fc2.weight"].T.copy()
    np.savez(tmp_path / "timm.npz", **arrays)
    with pytest.raises(
        CheckpointError, match=r"mlp_channels.fc2.weight' has the shape \(14, 10\), expected \(10, 14\)"
    ):
        load_weights(tmp_path / "timm.npz")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda arrays: arrays.update({"blocks.0.mlp_tokens.fc1.weight": np.zeros((10, 9), np.float32)}), "gMixer"),
        (lambda arrays: arrays.update({"blocks.0.linear_tokens.weight": np.zeros((9, 9), np.float32)}), "ResMLP"),
        (
            lambda arrays: arrays.update({"blocks.0.mlp_channels.gate.proj.weight": np.zeros((9, 9), np.float32)}),
            "gMLP",
        ),
        (
            lambda arrays: arrays.update({"blocks.0.attn.qkv.weight": np.zeros((9, 9), np.float32)}),
            "vision transformer",
        ),
    ],
)
def test_other_networks_of_timm_are_refused_by_name(tmp_path, change, reason):
    arrays = foreign_arrays(small(), "timm")
    change(arrays)
    np.savez(tmp_path / "timm.npz", **arrays)
    with pytest.raises(CheckpointError, match=reason):
        load_weights(tmp_path / "timm.npz")


def test_gmixer_is_refused_by_its_file_s_name(tmp_path):
    np.savez(tmp_path / "gmixer_24_224.npz", **foreign_arrays(small(), "timm"))
    with pytest.raises(CheckpointError, match=r"is a gMixer .*gated"):
        load_weights(tmp_path / "gmixer_24_224.npz")


def member(header, content=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


CLAIM = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
TEN_GIGABYTES = {"a": {"dtype": "F32", "shape": [2_684_354_560], "data_offsets": [0, 10 << 30]}}


def bomb(path):
    """256 MiB of zeros, deflated to a thousandth."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("stem/bias.npy", "head/bias.npy"):
            with archive.open(name, "w") as file:
                file.write(member(CLAIM % (1 << 25)))
                for _ in range(1 << 7):
                    file.write(bytes(1 << 20))
    return path


LIES = {
    "npz that claims 10 GB": lambda path: raw_npz(path, {"stem/bias.npy": member(CLAIM % 2_684_354_560, bytes(40))}),
    "npz that claims more than there is memory": lambda path: raw_npz(
        path, {"stem/bias.npy": member(CLAIM % 10**17, bytes(40))}
    ),
    "zip bomb": bomb,
    "no zip": lambda path: path.write_bytes(b"PK\x03\x04 and so on") and path,
    "safetensors that claims 10 GB": lambda path: path.write_bytes(raw_safetensors(TEN_GIGABYTES, bytes(40))) and path,
    "safetensors with an endless header": lambda path: path.write_bytes(raw_safetensors(b"{", b"", 1 << 62)) and path,
    "safetensors with a large header": lambda path: path.write_bytes(raw_safetensors(b"{" + b" " * (5 << 20))) and path,
    "safetensors with a deep header": lambda path: path.write_bytes(raw_safetensors(b'{"a":' * 200_000)) and path,
    "safetensors with a number of a million digits": lambda path: path.write_bytes(
        raw_safetensors(b'{"a": {"shape": [' + b"9" * 1_000_000 + b"]}}")
    ) and path,
    "a pickle": lambda path: path.write_bytes(b"\x80\x04\x95 something") and path,
    "a pickle of PyTorch's": lambda path: raw_npz(path, {"archive/data.pkl": b"\x80\x02", "archive/data/0": bytes(8)}),
    "a pointer": lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n") and path,
    "HDF5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)) and path,
    "text": lambda path: path.write_bytes(b"hello, these are no weights") and path,
    "nothing": lambda path: path.write_bytes(b"") == 0 and path,
}  # fmt: skip
LIMITED = """
import resource, sys
from tinymixer.errors import TinymixerError
from tinymixer.pretrained import load_weights
resource.setrlimit(resource.RLIMIT_AS, (limit := 600 << 20, limit))
for path in sys.argv[1:]:
    try:
        load_weights(path, backend="numpy")
    except TinymixerError as error:
        print(error)
    else:
        print("was loaded")
with open("/proc/self/status") as status:  # of this process alone: getrusage's peak begins with the parent's
    print(*(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux says how much memory a process took")
def test_lies_are_refused_without_exhausting_memory(tmp_path):
    """In a process that may not have 600 MiB."""
    paths = []
    for number, (name, make) in enumerate(LIES.items()):
        paths.append(str(make(tmp_path / f"{number:02}-{name.replace(' ', '-')}.bin")))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, timeout=100,
        env={"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *said, peak = done.stdout.splitlines()
    assert len(said) == len(paths), done.stdout
    for path, sentence in zip(paths, said, strict=True):
        assert sentence != "was loaded", path
        assert "fit into memory" not in sentence, sentence  # refused for what it is, not for want of memory
    assert max(map(len, said)) < 600
    assert "unpack to over 20 times its size" in said[list(LIES).index("zip bomb")]
    assert int(peak) < 400 << 10  # KiB


def entry(dtype="F32", shape=(2,), place=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place)}


@pytest.mark.parametrize(
    ("header", "content", "reason"),
    [
        ({"a": entry(shape=(3,))}, bytes(8), "needs 12 bytes, it has 8"),
        ({"a": entry(), "b": entry()}, bytes(8), "begins at byte 0, where 8 was expected"),
        ({"a": entry(place=(4, 12))}, bytes(12), "begins at byte 4"),
        ({"a": entry()}, bytes(12), "describes 8 bytes of arrays, 12 are there"),
        ({"a": entry()}, bytes(4), "describes 8 bytes of arrays, 4 are there"),
        ({"a": entry(dtype="F8")}, bytes(8), "unknown dtype F8"),
        ({"a": entry(shape=(-2,))}, bytes(8), "a shape that cannot be"),
        ({"a": entry(shape=(True, 2))}, bytes(8), "a shape that cannot be"),
        ({"a": entry(place=(8, 0))}, bytes(8), "needs 8 bytes, it has -8"),
        ({"a": entry(place=(0, 8, 8))}, bytes(8), "a place that cannot be"),
        ({"a": {"dtype": "F32"}}, bytes(8), "does not describe 'a'"),
        ({"a": 3}, bytes(8), "does not describe 'a'"),
        ({"__metadata__": {"a": 3}}, b"", "holds other things than text"),
        (b'{"a": {}, "a": {}}', b"", "names an array twice"),
        (b"{]", b"", "cannot be read"),
        (b'{"\xff": 1}', b"", "cannot be read"),
    ],
)
def test_safetensors_headers_of_lies(tmp_path, header, content, reason):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw_safetensors(header, content))
    with pytest.raises(CheckpointError, match=reason), open_arrays(path):
        pass


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize("layout", ["authors", "timm", "tinymixer"])
def test_every_truncated_file_is_refused(tmp_path, layout, ending):
    path = tmp_path / f"whole{ending}"
    export_weights(pretrained(small()), path, layout)
    content = path.read_bytes()
    for share in (0.0, 0.001, 0.01, 0.3, 0.9, 0.999):
        (tmp_path / f"cut{ending}").write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError):
            load_weights(tmp_path / f"cut{ending}", backend="numpy")


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_byte_is_a_traceback_or_passes_unseen(tmp_path_factory, ending, data):
    """One byte changed anywhere in our own layout, which has a digest: a sentence, or the same weights."""
    folder = tmp_path_factory.mktemp("changed")
    path, model = folder / f"own{ending}", small(num_blocks=1)
    export_weights(pretrained(model), path, "tinymixer")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded = load_weights(path, backend="numpy")
    except TinymixerError:
        return
    for name in model.parameters:
        np.testing.assert_array_equal(loaded.parameters[name], model.parameters[name])


def test_a_file_with_a_model_larger_than_its_weights(tmp_path):
    model = small()
    export_weights(pretrained(model), tmp_path / "own.safetensors", "tinymixer")
    content = (tmp_path / "own.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    told = json.loads(header["__metadata__"]["tinymixer_weights"])
    told["config"]["hidden_dim"] = 4000
    header["__metadata__"]["tinymixer_weights"] = json.dumps(told)
    (tmp_path / "lie.safetensors").write_bytes(raw_safetensors(header, content[8 + length :]))
    with pytest.raises(CheckpointError, match=r"describes a model of [0-9,]+ parameters, and holds"):
        load_weights(tmp_path / "lie.safetensors")


def test_npz_members_that_are_no_numbers(tmp_path):
    path = raw_npz(tmp_path / "a.npz", {"stem/kernel.npy": npy(np.array("x" * 3)), "b.npy": npy(np.zeros(3, "S4"))})
    with pytest.raises(CheckpointError, match="holds no Mixer in a layout that is known"):
        load_weights(path)


def test_a_damaged_file_is_not_told_to_be_what_its_name_says(tmp_path):
    path = tmp_path / "Mixer-S_16.npz"
    path.write_bytes(np.random.default_rng(0).bytes(3000))
    with pytest.raises(CheckpointError, match=r"by its content it is neither an \.npz .* damaged or something else"):
        load_weights(path)
