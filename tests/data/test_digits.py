"""The bundled digits, the manifests, and what is said about a data set."""

import dataclasses
import hashlib
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from tinymixer.data import DATASETS, Dataset, cache_folder, dataset_info, load_dataset
from tinymixer.data import digits as digits_module
from tinymixer.data.manifest import datasets_folder, load_manifest
from tinymixer.errors import DataError


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def test_shapes_types_and_split(digits):
    assert digits.train_images.shape == (1437, 8, 8, 1)
    assert digits.test_images.shape == (360, 8, 8, 1)
    assert digits.train_images.dtype == digits.test_images.dtype == np.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    assert (digits.image_size, digits.in_channels, digits.num_classes) == (8, 1, 10)
    counts = np.bincount(digits.test_labels)
    assert counts.min() >= 35
    assert counts.max() <= 37
    # The split is part of the data set: accuracies are compared across years on these very images.
    assert hashlib.sha256(digits.test_images.tobytes()).hexdigest().startswith("d8b8991c8de56a2f")


def test_the_pixels_use_the_whole_range_of_a_byte(digits):
    values = np.unique(np.concatenate([digits.train_images, digits.test_images]))
    np.testing.assert_array_equal(values, np.floor(np.arange(17) * 255 / 16 + 0.5))


def test_mean_and_std_are_those_of_the_training_images(digits):
    pixels = digits.train_images / 255
    np.testing.assert_allclose(digits.mean, pixels.mean(axis=(0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(digits.std, pixels.std(axis=(0, 1, 2)), atol=1e-4)


def test_the_script_makes_the_same_arrays_again(tmp_path):
    pytest.importorskip("sklearn", reason="the digits are made from scikit-learn's copy")
    runpy.run_path(str(datasets_folder() / "make_digits.py"))["make_digits"](tmp_path / "digits.npz")
    with np.load(tmp_path / "digits.npz") as made, np.load(datasets_folder() / "digits.npz") as kept:
        assert made.files == kept.files
        for name in made.files:
            np.testing.assert_array_equal(made[name], kept[name])


def test_a_damaged_file_is_told(monkeypatch, tmp_path):
    content = bytearray((datasets_folder() / "digits.npz").read_bytes())
    content[1000] ^= 1
    (tmp_path / "digits.npz").write_bytes(content)
    monkeypatch.setattr(digits_module, "datasets_folder", lambda: tmp_path)
    with pytest.raises(DataError, match=r"damaged .* install tinymixer again"):
        load_dataset("digits")
    (tmp_path / "digits.npz").unlink()
    with pytest.raises(DataError, match=r"cannot be read .* install tinymixer again"):
        load_dataset("digits")


def test_names_and_paths_that_make_no_sense(tmp_path):
    with pytest.raises(DataError, match=r"no data set 'digit'; .* Did you mean 'digits'?"):
        load_dataset("digit")
    with pytest.raises(DataError, match=r"no data set 'cifar-10'.* Did you mean 'cifar10'?"):
        load_dataset("cifar-10")
    with pytest.raises(DataError, match=r"digits data set comes with tinymixer and takes no path"):
        load_dataset("digits", tmp_path)


def test_cifar10_that_is_not_here_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"`tinymixer data fetch cifar10`.*`--data PATH`"):
        load_dataset("cifar10", cache=tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_manifest_card_and_info_agree(name, tmp_path):
    manifest, info = load_manifest(name), dataset_info(name, cache=tmp_path)
    card = Path(info["card"]).read_text(encoding="utf-8")
    assert manifest.citation in card
    for value in manifest.mean + manifest.std:
        assert f"{value:.4f}" in card
    assert f"{manifest.train_images:,}" in card
    assert len(manifest.mean) == len(manifest.std) == manifest.channels
    assert json.loads(json.dumps(info)) == info
    assert info["available"] == (name == "digits")
    for archive in manifest.archives:
        assert re.fullmatch("[0-9a-f]{64}", archive.sha256)
        assert re.fullmatch("[0-9a-f]{32}", archive.md5)
        assert archive.urls
        assert all(url.startswith("https://") and url.endswith(archive.file) for url in archive.urls)


def test_the_bundled_files_hashes_hold():
    bundled = load_manifest("digits").bundled
    content = (datasets_folder() / bundled.file).read_bytes()
    assert len(content) == bundled.bytes
    assert hashlib.sha256(content).hexdigest() == bundled.sha256
    assert hashlib.md5(content).hexdigest() == bundled.md5


def test_info_tells_of_what_is_cached_and_what_broke_off(tmp_path):
    archive = load_manifest("cifar10").archives[0]
    (tmp_path / f"{archive.file}.part").write_bytes(b"12345")
    assert dataset_info("cifar10", cache=tmp_path)["partial"] == {archive.file: 5}
    (tmp_path / archive.file).write_bytes(b"123")
    info = dataset_info("cifar10", cache=tmp_path)
    assert (info["available"], info["path"], info["bytes"]) == (True, str(tmp_path / archive.file), 3)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TINYMIXER_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("TINYMIXER_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "tinymixer"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "tinymixer"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.full(1437, 10)}, r"train_labels\[0\] is 10, but the 10 classes of digits"),
        ({"test_labels": np.zeros(3, dtype=np.int64)}, "one per image"),
        ({"test_images": np.zeros((360, 8, 8), dtype=np.uint8)}, "test_images must be uint8"),
        ({"test_images": np.zeros((360, 9, 9, 1), dtype=np.uint8)}, "both must have one shape"),
        ({"mean": np.zeros(3)}, "mean must have one number per channel"),
    ],
)
def test_a_data_set_of_ones_own_is_checked(digits, changes, message):
    with pytest.raises(DataError, match=message):
        Dataset(**{**{field.name: getattr(digits, field.name) for field in dataclasses.fields(digits)}, **changes})
