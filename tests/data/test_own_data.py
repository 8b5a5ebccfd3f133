"""Data of one's own: arrays, .npz files and folders of pictures, and what is said of data that cannot be used."""

import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinymixer.data import DataDescription, Dataset, load_dataset, load_image
from tinymixer.data.manifest import load_manifest
from tinymixer.errors import DataError

RNG = np.random.default_rng(0)


def images(count, size=8, channels=1):
    return RNG.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def toy(**changes):
    given = {
        "name": "toy",
        "train_images": images(20),
        "train_labels": np.arange(20) % 4,
        "test_images": images(8),
        "test_labels": np.arange(8) % 4,
        "class_names": ["a", "b", "c", "d"],
        "mean": np.array([0.5]),
        "std": np.array([0.25]),
    }
    return Dataset(**given | changes)


class TestDataset:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"train_labels": (np.arange(20) % 4)[:, None]}, r"use labels\[:, 0\]"),
            ({"train_labels": np.eye(4)[np.arange(20) % 4]}, "np.argmax"),
            ({"train_labels": np.arange(20) % 4 * 1.0}, "whole numbers"),
            ({"train_labels": np.arange(20) % 5}, r"train_labels\[4\] is 4, but the 4 classes of toy"),
            ({"test_labels": -(np.arange(8) % 4)}, "numbered 0..3"),
            ({"train_images": RNG.random((20, 8, 8, 1))}, r"\(255 \* images\)"),
            ({"train_images": images(20)[..., 0]}, r"images\[..., None\]"),
            ({"train_images": images(20)[:, :, :6]}, "8 x 6 pixels, and images must be square"),
            ({"train_images": images(0), "train_labels": np.arange(0)}, "no training images"),
            ({"test_images": images(8, 4)}, "both must have one shape"),
            ({"std": np.array([0.0])}, "the std of channel 0 is 0.0"),
            ({"std": np.array([np.nan])}, "the std of channel 0 is nan"),
            ({"mean": np.array([np.inf])}, "the mean of channel 0 is inf"),
            ({"mean": np.array([0.5, 0.5])}, "one number per channel"),
            ({"class_names": ["a", "b", "a", "d"]}, "different names"),
            ({"validation_indices": np.array([20])}, "0 to 19"),
        ],
    )
    def test_what_cannot_be_is_a_sentence(self, changes, message):
        with pytest.raises(DataError, match=message):
            toy(**changes)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
    def test_any_whole_numbers_are_labels(self, dtype):
        data = toy(train_labels=(np.arange(20) % 4).astype(dtype))
        assert data.train_labels.dtype == np.int64

    def test_there_may_be_no_test_images(self):
        assert len(toy(test_images=images(0), test_labels=np.arange(0)).test_images) == 0

    def test_the_description_travels_as_plain_values(self):
        data = toy()
        assert DataDescription.from_dict(data.description.to_dict()) == data.description
        assert data.description.class_names == ("a", "b", "c", "d")
        assert data.fingerprint == toy(train_images=data.train_images, test_images=data.test_images).fingerprint
        assert data.fingerprint != toy().fingerprint

    @pytest.mark.parametrize(
        "changes",
        [{"std": [0.0]}, {"class_names": []}, {"class_names": "abcd"}, {"image_size": 0}, {"name": 3}, {"more": 1}],
    )
    def test_a_description_that_cannot_be_is_refused(self, changes):
        with pytest.raises(DataError):
            DataDescription.from_dict(toy().description.to_dict() | changes)

    @given(
        counts=st.lists(st.integers(1, 30), min_size=2, max_size=5), share=st.floats(0, 0.9), seed=st.integers(0, 99)
    )
    def test_a_split_takes_its_share_of_each_class(self, counts, share, seed):
        labels = np.repeat(np.arange(len(counts)), counts)
        names = [str(label) for label in range(len(counts))]
        data = toy(
            train_images=images(len(labels)), train_labels=labels, class_names=names, test_images=images(0),
            test_labels=np.arange(0),
        )  # fmt: skip
        training, validation = data.split(share, seed)
        np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), np.arange(len(labels)))
        assert np.bincount(labels[validation], minlength=len(counts)).tolist() == [
            min(round(share * n), n - 1) for n in counts
        ]  # one always stays
        np.testing.assert_array_equal(data.split(share, seed)[1], validation)

    def test_digits_have_the_fingerprint_they_had(self):
        digits = load_dataset("digits")
        assert digits.fingerprint == digits.description.fingerprint == load_manifest("digits").fingerprint


class TestArrays:
    def test_mean_and_std_are_worked_out_exactly(self):
        x = images(50, 6, 3)
        data = Dataset.from_arrays(x, np.arange(50) % 5, test_share=0)
        np.testing.assert_allclose(data.mean, (x / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(data.std, (x / 255).std(axis=(0, 1, 2)), rtol=1e-10)

    def test_grey_arrays_and_a_test_set_of_their_own(self):
        data = Dataset.from_arrays(images(50)[..., 0], np.arange(50) % 5)
        assert data.train_images.shape == (40, 8, 8, 1)
        assert np.bincount(data.test_labels).tolist() == [2] * 5
        assert data.class_names == ["0", "1", "2", "3", "4"]

    def test_a_channel_that_never_changes_becomes_zero(self):
        assert Dataset.from_arrays(np.full((9, 4, 4), 7, np.uint8), np.arange(9) % 3).std.tolist() == [1.0]

    def test_half_a_test_set_is_refused(self):
        with pytest.raises(DataError, match="both or neither"):
            Dataset.from_arrays(images(5), np.arange(5), images(2))


class TestNpz:
    def save(self, path, **arrays):
        np.savez(path, **arrays)
        return path

    @pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train")])
    def test_a_file_is_read(self, tmp_path, names):
        path = self.save(tmp_path / "mine.npz", **dict(zip(names, (images(20), np.arange(20) % 4), strict=True)))
        data = load_dataset("own", path)
        assert (data.name, data.source, data.num_classes) == ("mine", str(path), 4)
        assert load_dataset("digits", path).fingerprint == data.fingerprint

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"pictures": images(3)}, "expected 'images' and 'labels'"),
            ({"images": images(3), "labels": np.array(["a", "b", "c"])}, "whole numbers"),
            ({"images": images(3) / 255, "labels": np.arange(3)}, "must be uint8"),
            ({"images": np.array([{}], object), "labels": np.arange(1)}, "never unpickled"),
        ],
    )
    def test_what_it_may_not_hold(self, tmp_path, arrays, message):
        with pytest.raises(DataError, match=message):
            load_dataset("own", self.save(tmp_path / "mine.npz", **arrays))

    def test_a_file_that_promises_more_than_it_holds(self, tmp_path):
        path = self.save(tmp_path / "mine.npz", images=images(9), labels=np.arange(9))
        path.write_bytes(path.read_bytes().replace(b"(9, 8, 8, 1)", b"(9000000, 8)"))
        with pytest.raises(DataError, match=r"smaller than its header says|cannot be read"):
            load_dataset("own", path)

    @settings(deadline=None, max_examples=30)
    @given(content=st.binary(max_size=200))
    def test_any_other_bytes(self, tmp_path_factory, content):
        path = tmp_path_factory.mktemp("npz") / "other.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"other\.npz"):
            load_dataset("own", path)


def photographs(folder, classes=("cat", "dog"), count=6, size=(40, 30), mode="RGB"):
    """Pictures of a colour for each class, with noise."""
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            colour = np.array([200 * (place == 0), 90, 200 * (place == 1)])
            pixels = RNG.integers(0, 60, (size[1], size[0], 3)) + colour
            picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode)
            picture.save(folder / name / f"{number}.png")
    return folder


class TestFolders:
    def test_a_folder_for_each_class(self, tmp_path):
        folder = photographs(tmp_path / "pets", ("10", "9", "b"), 10)
        data = Dataset.from_folder(folder, 16)
        assert data.class_names == ["9", "10", "b"]
        assert (data.train_images.shape, len(data.test_images)) == ((24, 16, 16, 3), 6)
        assert (data.name, data.source, data.colours, data.notes) == ("pets", str(folder), "colour", ())
        first = load_image(folder / "9" / "0.png", 16, 3)
        both = np.concatenate([data.train_images, data.test_images])
        assert (both == first).all(axis=(1, 2, 3)).sum() == 1  # predict sees the same pixels
        assert load_dataset("digits", folder, image_size=16).fingerprint == data.fingerprint

    def test_grey_pictures_stay_grey(self, tmp_path):
        folder = photographs(tmp_path, mode="L")
        assert Dataset.from_folder(folder, 8).in_channels == 1
        assert Dataset.from_folder(folder, 8, colours="colour").in_channels == 3

    def test_parts_of_ones_own(self, tmp_path):
        for part, count in (("train", 6), ("val", 3), ("test", 2)):
            photographs(tmp_path / part, count=count)
        data = Dataset.from_folder(tmp_path, 8)
        assert (len(data.train_images), len(data.test_images)) == (18, 4)
        training, validation = data.split(0.1, 0)
        assert (len(training), len(validation)) == (12, 6)
        assert len(data.split(0, 0)[1]) == 0

    def test_val_alone_is_the_test_set(self, tmp_path):
        for part, count in (("train", 6), ("val", 3)):
            photographs(tmp_path / part, count=count)
        data = Dataset.from_folder(tmp_path, 8)
        assert (len(data.train_images), len(data.test_images), data.validation_indices) == (12, 6, None)

    def test_broken_and_foreign_files_are_left_out_and_named(self, tmp_path):
        folder = photographs(tmp_path)
        (folder / "cat" / "broken.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:60])
        (folder / "cat" / "notes.txt").write_text("a cat")
        (folder / "cat" / ".DS_Store").write_text("x")
        (folder / "dog" / "Thumbs.db").write_text("x")
        data = Dataset.from_folder(folder, 8)
        assert len(data.train_images) + len(data.test_images) == 12
        assert "notes.txt" in data.notes[0]
        assert "broken.png" in data.notes[-1]

    def test_a_picture_in_both_parts_is_said(self, tmp_path):
        for part in ("train", "test"):
            photographs(tmp_path / part, count=3)
        (tmp_path / "test" / "dog" / "again.png").write_bytes((tmp_path / "train" / "dog" / "1.png").read_bytes())
        (note,) = Dataset.from_folder(tmp_path, 8).notes
        assert "1 of the test images is a training image" in note
        assert "again.png" in note

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda folder: (folder / "empty").mkdir(), "empty holds no picture"),
            (lambda folder: (folder / "cat" / "kittens").mkdir(), "cat holds a folder, kittens"),
            (
                lambda folder: [(folder / "more" / part / "cat").mkdir(parents=True) for part in ("train",)],
                "holds a folder",
            ),
        ],
    )
    def test_folders_that_are_not_clear_are_refused(self, tmp_path, spoil, message):
        folder = photographs(tmp_path / "pets")
        spoil(folder)
        with pytest.raises(DataError, match=message):
            Dataset.from_folder(folder, 8)

    def test_one_class_none_and_a_strange_one(self, tmp_path):
        with pytest.raises(DataError, match="holds no folders"):
            Dataset.from_folder(tmp_path, 8)
        with pytest.raises(DataError, match="holds one folder, cat"):
            Dataset.from_folder(photographs(tmp_path / "one", ("cat",)), 8)
        photographs(tmp_path / "two" / "train")
        photographs(tmp_path / "two" / "test", ("cat", "dig"))
        with pytest.raises(DataError, match=r"dig is a class that .* does not have.*Did you mean 'dog'"):
            Dataset.from_folder(tmp_path / "two", 8)
        with pytest.raises(DataError, match="There is no folder"):
            load_dataset("own", tmp_path / "nowhere")

    def test_a_class_whose_every_picture_is_broken(self, tmp_path):
        folder = photographs(tmp_path)
        for file in (folder / "cat").iterdir():
            file.write_bytes(b"no picture")
        with pytest.raises(DataError, match="None of the 5 training pictures of the class cat can be read"):
            Dataset.from_folder(folder, 8)

    def test_names_that_are_not_utf8(self, tmp_path):
        folder = photographs(tmp_path)
        (folder / "cat").rename(folder / os.fsdecode(b"caf\xe9"))
        data = Dataset.from_folder(folder, 8)
        assert data.class_names == ["caf\\xe9", "dog"]
        data.description.name.encode()

    def test_only_the_resized_images_are_held(self, tmp_path):
        folder = photographs(tmp_path, count=20, size=(400, 300))
        tracemalloc.start()
        Dataset.from_folder(folder, 8)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 << 20  # a photograph and a half; all forty would be 14 MB

    def test_crop_and_squeeze(self, tmp_path):
        pixels = np.zeros((10, 30, 3), np.uint8)
        pixels[:, :10] = 255
        Image.fromarray(pixels).save(tmp_path / "wide.png")
        assert load_image(tmp_path / "wide.png", 10, 1).max() == 0
        assert load_image(tmp_path / "wide.png", 10, 1, fit="squeeze").max() == 255
