"""Small data sets in the layouts of CIFAR-10 and CIFAR-100, made in memory: binary batches, pickles, archives."""

import dataclasses
import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np

from tinymixer.data import cifar, manifest
from tinymixer.data.manifest import Archive

RECORDS = 12
BATCHES = tuple(cifar.CIFAR10.batches)


def so_few_are_complete(monkeypatch, name="cifar10", records=RECORDS, **changes):
    """Make the loader take files of so few records for complete."""
    layout = cifar.LAYOUTS[name]
    small = dataclasses.replace(layout, batches=dict.fromkeys(layout.batches, records), **changes)
    monkeypatch.setitem(cifar.LAYOUTS, name, small)


def make_tables(records=RECORDS):
    """Six batches: name -> uint8 (records, 3073), the label and then the planar pixels."""
    random = np.random.default_rng(5)
    tables = {}
    for batch in BATCHES:
        tables[batch] = random.integers(0, 256, (records, 3073), dtype=np.uint8)
        tables[batch][:, 0] = random.integers(0, 10, records)
    return tables


def expected_images(table):
    """What the loader must make of a batch, pixel by pixel."""
    images = np.empty((len(table), 32, 32, 3), dtype=np.uint8)
    for channel in range(3):
        for row in range(32):
            start = 1 + channel * 1024 + row * 32
            images[:, row, :, channel] = table[:, start : start + 32]
    return images


def binary_members(tables):
    return {f"cifar-10-batches-bin/{name}.bin": table.tobytes() for name, table in tables.items()}


def python_members(tables):
    return {f"cifar-10-batches-py/{name}": python2_pickle(table) for name, table in tables.items()}


def write_folder(folder: Path, members):
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def make_tar(members, extra=()):
    """A .tar.gz of members (name -> bytes) after the `extra` TarInfo entries."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
        for entry in extra:
            archive.addfile(entry)
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def declare_official(monkeypatch, contents, urls=(), name="cifar10"):
    """Make these bytes (layout -> content) the official archives for the test; `urls`: layout -> its mirrors."""
    read_manifest = manifest._read_manifest
    real = read_manifest(name)
    archives = tuple(
        Archive(
            file=archive.file,
            layout=archive.layout,
            folder=archive.folder,
            bytes=len(contents[archive.layout]),
            sha256=hashlib.sha256(contents[archive.layout]).hexdigest(),
            md5=hashlib.md5(contents[archive.layout]).hexdigest(),
            urls=tuple(dict(urls).get(archive.layout, ())),
        )
        for archive in real.archives
        if archive.layout in contents
    )
    fake = dataclasses.replace(real, archives=archives)
    monkeypatch.setattr(manifest, "_read_manifest", lambda asked: fake if asked == name else read_manifest(asked))
    return fake


def python2_pickle(table, labels=None):
    """A batch as Python 2 and its NumPy pickled it, opcode by opcode: text is byte strings, the array is rebuilt."""

    def text(content):
        return b"U" + bytes([len(content)]) + content

    labels = table[:, 0].tolist() if labels is None else labels
    pixels = np.ascontiguousarray(table[:, 1:]).tobytes()
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R" + b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff" * 1
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + b"M" + struct.pack("<H", len(table)) + b"M" + struct.pack("<H", 3072) + b"\x86" + dtype
    array += b"\x89" + b"T" + struct.pack("<i", len(pixels)) + pixels + b"tb"
    numbers = b"](" + b"".join(b"J" + struct.pack("<i", label) for label in labels) + b"e"
    entries = text(b"data") + array + text(b"labels") + numbers + text(b"batch_label") + text(b"training batch 1 of 5")
    return b"\x80\x02}(" + entries + b"u."


def gzip_bytes(content):
    return gzip.compress(content, compresslevel=1)
