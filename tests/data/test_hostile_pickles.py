"""Pickles that would fill the memory, never end or end the process: refused for what they are, and at once."""

import pickle
import time
import tracemalloc

import numpy as np
import pytest

from tinymixer.data.unpickling import read_python_batch
from tinymixer.errors import DataError


def shared_tuples(levels):
    """A tuple that holds one tuple twice, and so on: 2^levels leaves to walk through."""
    steps = [b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(levels)]
    return b"\x80\x02)q\x00" + b"".join(steps)


BOMBS = {
    "a memo of four gigabytes": b"\x80\x02Nr\xff\xff\xff\x3f.",
    "a key that takes for ever": shared_tuples(80) + b"}h" + bytes([80]) + b"Ns.",
    "a shallow key that takes long": b"\x80\x02(" + b"N" * 5000 + b"tq\x00}h\x00Ns.",
    "nested tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "nested lists": b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b".",
    "nested from outside in": b"\x80\x02]q\x00" + b"]q\x01ah\x01" * 50_000 + b".",
    "open marks": b"(" * 200_000 + b".",
    "copies on the stack": b"\x80\x02]" + b"2" * 200_000 + b".",
    "calls with many arguments": (
        b"\x80\x02cnumpy\ndtype\nq\x00(" + b"N" * 50_000 + b"tq\x01" + b"h\x00h\x01R" * 20_000 + b"."
    ),
    "the same text encoded again": (
        b"\x80\x02c_codecs\nencode\nq\x00X\xa0\x86\x01\x00" + b"a" * 100_000 + b"X\x06\x00\x00\x00latin1\x86q\x01"
        + b"h\x00h\x01R" * 20_000 + b"."
    ),
    "a number of digits": b"I" + b"9" * 100_000 + b"\n.",
    "a promised length": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "persistent names": b"Pfile\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "an object": b"\x80\x02cnumpy\ndtype\n)\x81.",
    "what was never kept": b"h\x05.",
    "nothing": b"",
    "no end": b"\x80\x02}",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_refused_at_once_and_in_little_memory(name):
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(DataError, match=r"^the batch (is not a batch of CIFAR-10: |has no entry)[^\n]{5,300}$"):
        read_python_batch(BOMBS[name], "the batch")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 << 20
    assert time.process_time() - started < 20


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("text", [True, False])
def test_every_protocol_is_read(protocol, text):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    entries = {"data": pixels, "labels": [3] * 20, "filenames": [b"a.png"] * 20, "batch_label": b"one"}
    batch = entries if text else {name.encode(): value for name, value in entries.items()}
    found, labels = read_python_batch(pickle.dumps(batch, protocol=protocol), "the batch")
    np.testing.assert_array_equal(found, pixels)
    assert labels.tolist() == [3] * 20
