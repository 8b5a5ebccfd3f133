"""Small Mixers with random weights, and files of them in every layout."""

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np

from tests.shaken import shaken
from tinymixer.models import MixerConfig
from tinymixer.pretrained import PretrainedModel, published
from tinymixer.pretrained.export import foreign_arrays

SIZES = {  # no two lengths alike, so that a turned array cannot fit by chance
    "image_size": 12, "patch_size": 4, "in_channels": 3, "hidden_dim": 10, "num_blocks": 2, "num_classes": 7,
    "tokens_mlp_dim": 5, "channels_mlp_dim": 14,
}  # fmt: skip


def small(dtype="float32", **changes):
    return shaken(MixerConfig(**SIZES | changes), dtype)


def pretrained(model, class_names=None):
    names = class_names or tuple(f"class {k}" for k in range(model.config.num_classes))
    ways = published("authors", model.config.image_size, model.config.in_channels)
    return PretrainedModel(model, ways, tuple(names), "random weights", "tinymixer", Path("nowhere"))


def write_npz(path, arrays, compressed=False):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def authors_file(path, model, layout="authors", change=lambda arrays: None, compressed=False):
    """An .npz of the authors', in which `change` may spoil something first."""
    arrays = foreign_arrays(model, layout)
    change(arrays)
    return write_npz(path, arrays, compressed)


def raw_safetensors(header, content=b"", length=None):
    """The bytes of a .safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def raw_npz(path, members, compression=zipfile.ZIP_STORED):
    """An .npz with any bytes for members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def same_parameters(first, second):
    return first.parameters.names == second.parameters.names and all(
        np.array_equal(first.parameters[name], second.parameters[name]) for name in first.parameters
    )
