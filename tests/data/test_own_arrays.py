"""Arrays and .npz files of one's own: what is worked out of them, and what they may not do."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from tinymixer.data import Dataset
from tinymixer.data.arrays import statistics
from tinymixer.errors import DataError

RNG = np.random.default_rng(0)


def images(count, size=4, channels=1):
    return RNG.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


@given(
    arrays_of.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)))
)
def test_mean_and_std_of_any_images(x):
    mean, std = statistics(x)
    np.testing.assert_allclose(mean, (x / 255).mean(axis=(0, 1, 2)), atol=1e-12)
    expected = (x / 255).std(axis=(0, 1, 2))
    np.testing.assert_allclose(std, np.where(expected < 1e-6, 1, expected), atol=1e-9)


def test_mean_and_std_need_no_copy_of_the_images():
    x = images(600, 64, 3)  # 7 MB; as floats of eight bytes 59 MB
    tracemalloc.start()
    mean, _ = statistics(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2)) / 255)


@pytest.mark.parametrize(
    ("given_images", "given_labels", "message"),
    [
        (images(4), [0, 1, 1], r"labels must be whole numbers \(4,\), one per image, got int64 \(3,\)"),
        (images(4), [[0], [1], [0], [1]], r"use labels\[:, 0\]"),
        (images(4), [True, False, True, False], "whole numbers"),
        (images(4), [0, -1, 0, 1], r"labels\[1\] is -1, but the 2 classes of arrays are numbered 0..1"),
        (images(4), np.array([0, 1, 2**63, 0], np.uint64), r"labels\[2\] is 9223372036854775808"),
        (images(4), [0, 1, 10**9, 0], "there would be 1,000,000,001 classes"),
        (images(4).astype(np.int64), [0, 1, 0, 1], r"images.astype\(np.uint8\)"),
        (images(4, channels=3).transpose(0, 3, 1, 2), [0, 1, 0, 1], r"channels come last: use images.transpose"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], [0, 1], "images must be one NumPy array"),
        (images(0), [], "arrays has no training images"),
        (np.zeros((3, 0, 0, 1), np.uint8), [0, 1, 0], "no pixels"),
    ],
)
def test_arrays_that_cannot_be(given_images, given_labels, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays(given_images, given_labels)


def test_a_label_is_named_by_its_place_in_what_was_given():
    """And not by its place after the split."""
    labels = np.arange(40) % 4
    labels[37] = 4
    with pytest.raises(DataError, match=r"^labels\[37\] is 4, but the 4 classes"):
        Dataset.from_arrays(images(40), labels, class_names=list("abcd"))


def test_classes_without_a_training_image_are_told():
    data = Dataset.from_arrays(images(6), np.array([1, 2, 1, 2, 1, 2]))
    assert data.notes == ("the class 0 has no training image",)
    data = Dataset.from_arrays(images(3), [3, 3, 2], class_names=list("abcd"))
    assert data.notes == ("the classes a and b have no training image",)


def test_a_class_of_one_image_stays_in_training():
    data = Dataset.from_arrays(images(21), np.array([0] * 20 + [1]), test_share=0.6)
    assert np.bincount(data.train_labels).tolist() == [8, 1]
    training, validation = data.split(0.9, 0)
    assert 1 in data.train_labels[training]
    assert len(validation) == 7


@pytest.mark.parametrize("indices", [np.arange(10), [0.5], [[1]], [-1], ["a"]])
def test_validation_images_that_cannot_be(indices):
    data = Dataset.from_arrays(images(10), np.arange(10) % 2, test_share=0)
    parts = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    with pytest.raises(DataError, match="validation_indices"):
        Dataset("mine", *parts, ["a", "b"], data.mean, data.std, validation_indices=indices)


def test_an_npz_file_with_test_images_and_names(tmp_path):
    path = tmp_path / "mine.npz"
    names = np.array([b"cat", "Käse".encode()])
    np.savez(
        path,
        images=images(4)[..., 0],
        labels=np.array([0, 1, 0, 1], np.uint8),
        test_images=images(2)[..., 0],
        test_labels=[1, 1],
        class_names=names,
        unused=np.array([{}], object),
    )
    data = Dataset.from_npz(path)
    assert (data.class_names, len(data.train_images), len(data.test_images)) == (["cat", "Käse"], 4, 2)


def test_an_npz_file_that_unpacks_without_end(tmp_path):
    """800 MB of zeros in less than 1 MB: refused before memory is taken for it."""
    path = tmp_path / "bomb.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (50_000, 128, 128, 1)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w") as member:
            member.write(header.getvalue())
            for _ in range(50):
                member.write(bytes(1000 * 128 * 128))
        with archive.open("labels.npy", "w") as member:
            np.save(member, np.zeros(50_000, np.uint8))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match="would unpack to over 100 times its size"):
        Dataset.from_npz(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@given(st.data())
def test_a_damaged_npz_file_is_read_or_refused_in_a_sentence(tmp_path_factory, data):
    file = io.BytesIO()
    np.savez(file, images=np.zeros((4, 2, 2, 1), np.uint8), labels=np.arange(4))
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    refused = None
    try:
        assert Dataset.from_npz(path).image_size == 2
    except DataError as error:
        refused = error
    assert refused is None or "damaged.npz" in str(refused)


def test_what_is_no_npz_file_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "mine.npz").write_text("junk\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file: .*np\.savez\(FILE, images=images"):
        Dataset.from_npz(tmp_path / "mine.npz")
