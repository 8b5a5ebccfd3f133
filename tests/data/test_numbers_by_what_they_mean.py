"""Labels, statistics and pictures that have the right type and length and cannot be meant."""

import numpy as np
import pytest

from tests.data.test_folders_on_real_machines import photographs
from tinymixer.data import Augmentation, Batches, Dataset, normalise
from tinymixer.data.folders import _set_test_apart, find_pictures
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, DataError, ShapeError
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.ops import softmax_cross_entropy
from tinymixer.training.evaluate import evaluate

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
LABELS = np.arange(8) % 2
STATISTICS = [
    (0.0, "a channel that never changes has a std of 0"),
    (-0.25, "no standard deviation is below 0"),
    (float("nan"), "look for NaN"),
    (float("inf"), "look for NaN or an overflow"),
    (63.0, "divide a mean and a std of the values 0..255 by 255"),
]


def model():
    config = MixerConfig(image_size=8, in_channels=1, hidden_dim=4, num_blocks=1, num_classes=2)
    return MlpMixer(config, backend="numpy")


@pytest.mark.parametrize(("std", "message"), STATISTICS)
def test_each_std_that_cannot_be_has_a_sentence_of_its_own(std, message):
    for use in (
        lambda: Dataset("mine", IMAGES, LABELS, IMAGES, LABELS, ["a", "b"], [0.5], [std]),
        lambda: Batches(IMAGES, LABELS, 4, mean=[0.5], std=[std]),
        lambda: normalise(IMAGES, [0.5], [std]),
        lambda: evaluate(model(), IMAGES, LABELS, [0.5], [std]),
    ):
        with pytest.raises(DataError, match=message):
            use()
    assert message == STATISTICS[0][1] or STATISTICS[0][1] not in message


@pytest.mark.parametrize(("mean", "message"), [(127.5, "by 255"), (-1.0, "below 0"), (float("nan"), "look for NaN")])
def test_a_mean_that_cannot_be(mean, message):
    with pytest.raises(DataError, match=message):
        normalise(IMAGES, [mean], [0.5])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, -1, 0, 1, 0, 1, 0], "-1"),
        ([0, 1, 2, 0, 1, 0, 1, 0], "there is a label 2"),
        (LABELS[:, None], r"labels\[:, 0\]"),
        (LABELS + 0.5, "whole numbers"),
        ([[0], [1, 2]], "one NumPy array"),
    ],
)
def test_labels_that_evaluation_refuses(labels, message):
    with pytest.raises(DataError, match=message):
        evaluate(model(), IMAGES, labels, [0.5], [0.25])


def test_lists_are_as_good_as_arrays():
    listed = evaluate(model(), list(IMAGES), LABELS.tolist(), [0.5], [0.25])
    given = evaluate(model(), IMAGES, LABELS, [0.5], [0.25])
    assert listed is not None
    assert given is not None
    assert listed.loss == given.loss
    batch, labels = next(Batches(list(IMAGES), LABELS.tolist(), 4, mean=[0.5], std=[0.25], shuffle=False))
    np.testing.assert_array_equal(batch, normalise(IMAGES[:4], [0.5], [0.25]))
    assert labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES / 255, "must be uint8"),
        (IMAGES[..., 0], "must be uint8"),
        (IMAGES[:, :4], "must be square"),
        (5, "got a number"),
    ],
)
def test_images_that_evaluation_refuses(images, message):
    with pytest.raises(DataError, match=message):
        evaluate(model(), images, LABELS, [0.5], [0.25])
    with pytest.raises(DataError, match=r"got no image|got 0"):
        evaluate(model(), IMAGES[:0], LABELS[:0], [0.5], [0.25])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, -1, 0, 1, 0, 1, 0, 1], DataError, r"labels\[1\] is -1; classes are numbered from 0"),
        (LABELS[:, None], ShapeError, "one label per image"),
        (LABELS / 2, DataError, "whole numbers"),
    ],
)
def test_labels_that_batches_refuse(labels, error, message):
    with pytest.raises(error, match=message):
        Batches(IMAGES, labels, 4, mean=[0.5], std=[0.25])
    with pytest.raises(ConfigError, match="There are no images"):
        Batches(IMAGES[:0], LABELS[:0], 4, mean=[0.5], std=[0.25])


@pytest.mark.parametrize("label", [-1, 2])
def test_the_loss_refuses_labels_of_no_class(label):
    logits = RNG.normal(size=(4, 2))
    with pytest.raises(DataError, match=f"expected targets from 0 to 1, one of 2 classes, got {label}"):
        softmax_cross_entropy(logits, np.array([0, 1, label, 0]))
    with pytest.raises(DataError, match="whole numbers"):
        softmax_cross_entropy(logits, np.array([0.0, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize("fill", [256, -1, [1, 2], float("nan")])
def test_a_colour_that_is_none(fill):
    with pytest.raises(ShapeError, match="fill is a colour from 0 to 255"):
        Augmentation(cutout=2)(IMAGES, Draws(0, 0, 0, np.arange(8)), fill)


def test_one_class_is_refused_and_a_constant_channel_told():
    with pytest.raises(DataError, match="are all of class 1: expected images of at least two classes"):
        Dataset.from_arrays(IMAGES, np.ones(8, int))
    images = np.repeat(IMAGES, 3, axis=3)
    images[..., 1] = 7
    data = Dataset.from_arrays(images, LABELS)
    assert data.notes == ("channel 1 is the same in every training image, which tells nothing: the std was taken as 1",)
    assert data.std[1] == 1


def test_a_class_whose_test_pictures_are_all_broken_draws_others(tmp_path):
    folder = photographs(tmp_path, count=10)
    _, pictures, _ = find_pictures(folder)
    for picture in _set_test_apart(pictures, 0.2, 0):
        if picture.part == "test" and picture.path.parent.name == "dog":
            picture.path.write_bytes(b"broken")
    data = Dataset.from_folder(folder, 8)
    dog = data.class_names.index("dog")
    assert np.sum(data.test_labels == dog) == 2
    assert np.sum(data.train_labels == dog) == 6
    assert "no test picture of dog could be read: 2 of its training pictures took their place" in data.notes
    assert Dataset.from_folder(folder, 8).fingerprint == data.fingerprint
