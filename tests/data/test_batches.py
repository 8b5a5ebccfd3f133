"""The order of an epoch, its batches, and going on in the middle of one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer.data import Augmentation, Batches, epoch_order, normalise, steps_per_epoch
from tinymixer.data.batches import make_batch, training_batch
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, ShapeError

MEAN, STD = (0.3, 0.5), (0.2, 0.25)


def make_images(count):
    """Images whose first pixel tells which one they are, and the same as labels."""
    images = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 2), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    return images, np.arange(count)


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 200))
def test_an_epochs_order_is_a_permutation_of_its_own(seed, epoch, count):
    order = epoch_order(seed, epoch, count)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    np.testing.assert_array_equal(order, epoch_order(seed, epoch, count))
    if count >= 30:
        assert (order != epoch_order(seed, epoch + 1, count)).any()
        assert (order != epoch_order(seed + 1, epoch, count)).any()


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 10**6), st.integers(0, 50), st.booleans(), st.data())
def test_resuming_at_any_step_gives_the_same_batches(count, batch_size, seed, epoch, drop_last, data):
    images, labels = make_images(count)
    batch_size = min(batch_size, count)
    common = {"mean": MEAN, "std": STD, "augmentation": Augmentation(1, True, 2), "drop_last": drop_last}
    whole = list(Batches(images, labels, batch_size, seed, epoch, **common))
    assert len(whole) == steps_per_epoch(count, batch_size, drop_last)
    start = data.draw(st.integers(0, len(whole)))
    rest = Batches(images, labels, batch_size, seed, epoch, start_step=start, **common)
    assert rest.step == start
    for (images_then, labels_then), (images_now, labels_now) in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(images_then, images_now)
        np.testing.assert_array_equal(labels_then, labels_now)


@given(st.integers(1, 60), st.integers(1, 20))
def test_every_image_comes_once_with_its_label(count, batch_size):
    images, labels = make_images(count)
    batches = Batches(images, labels, batch_size, 3, 1, mean=(0, 0), std=(1 / 255, 1 / 255), drop_last=False)
    seen = [(batch, batch_labels) for batch, batch_labels in batches]
    assert all(batch.dtype == np.float32 and batch_labels.dtype == np.int64 for batch, batch_labels in seen)
    all_images, all_labels = (np.concatenate(part) for part in zip(*seen, strict=True))
    np.testing.assert_allclose(all_images[:, 0, 0, 0], all_labels, rtol=1e-5)
    np.testing.assert_array_equal(np.sort(all_labels), labels)
    np.testing.assert_array_equal(all_labels, epoch_order(3, 1, count))


def test_without_shuffling_the_order_is_kept():
    images, labels = make_images(10)
    parts = [batch_labels for _, batch_labels in Batches(images, labels, 4, mean=MEAN, std=STD, shuffle=False)]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(8))


def test_augmentation_differs_between_epochs_and_steps():
    images, labels = np.repeat(make_images(1)[0], 64, axis=0), np.zeros(64, dtype=np.int64)
    augmentation = Augmentation(crop_padding=3)
    first = list(Batches(images, labels, 32, 0, 0, augmentation, mean=MEAN, std=STD))
    second = list(Batches(images, labels, 32, 0, 1, augmentation, mean=MEAN, std=STD))
    assert (first[0][0] != first[1][0]).any()
    assert (first[0][0] != second[0][0]).any()


def test_cutout_boxes_are_near_zero_once_normalised():
    images, labels = np.full((8, 4, 4, 2), 255, dtype=np.uint8), np.zeros(8, dtype=np.int64)
    ((batch, _),) = Batches(images, labels, 8, augmentation=Augmentation(0, False, 2), mean=MEAN, std=STD)
    boxes = np.abs(batch).min(axis=-1) < 1
    assert 8 <= boxes.sum() <= 32
    assert np.abs(batch[boxes]).max() <= 0.5 / 255 / min(STD) + 1e-6


@given(st.integers(1, 5), st.sampled_from([np.float32, np.float64]))
def test_normalise_is_the_formula(channels, dtype):
    random = np.random.default_rng(channels)
    images = random.integers(0, 256, (3, 5, 4, channels), dtype=np.uint8)
    mean, std = random.random(channels), random.random(channels) + 0.1
    result = normalise(images, mean, std, dtype)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, (images / 255 - mean) / std, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ConfigError, "batch_size must be a whole number, 1 or more, got 0"),
        ({"batch_size": 2.0}, ConfigError, "batch_size must be a whole number"),
        ({"batch_size": 11}, ConfigError, "batch_size=11 is more than the 10 images"),
        ({"start_step": 6}, ConfigError, "start_step must lie in 0..5"),
        ({"augmentation": Augmentation(crop_padding=4)}, ConfigError, "crop_padding=4 is too large"),
        ({"labels": np.zeros(9, dtype=np.int64)}, ShapeError, "one label per image"),
        ({"images": np.zeros((10, 4, 4, 2))}, ShapeError, "expects uint8 images"),
        ({"images": np.zeros((0, 4, 4, 2), np.uint8), "labels": np.zeros(0, int)}, ConfigError, "no images"),
    ],
)
def test_bad_input_is_refused_before_the_first_batch(arguments, error, message):
    images, labels = make_images(10)
    with pytest.raises(error, match=message):
        Batches(**{"images": images, "labels": labels, "batch_size": 2, "mean": MEAN, "std": STD, **arguments})


def test_strong_transforms_follow_the_weak_ones_in_one_resampling():
    """Changes of colour and erasing are followed pixel by pixel; without strength, nothing changes."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 2), dtype=np.uint8)
    draws, indices = Draws(0, 0, 0, np.arange(4)), np.array([5, 0, 3, 1])
    weak = Augmentation(crop_padding=2, flip=True)
    strong = Augmentation(crop_padding=2, flip=True, transforms="brightness(0.5) erase(0.5)")
    batch = make_batch(images, indices, strong, draws, MEAN, STD)
    choices = strong.draw(draws, indices, (8, 8, 2))
    expected = weak(images[indices], draws).astype(np.float32) / 255
    (_, _, factors), ((_, boxes),) = choices.transforms.colour[0], choices.transforms.boxes
    expected = np.clip(expected * factors[:, None, None, None], 0, 1)
    expected = (expected - np.array(MEAN)) / np.array(STD)
    for image, (top, bottom, left, right) in zip(expected, boxes, strict=True):
        image[top:bottom, left:right] = 0
    np.testing.assert_allclose(batch, expected, atol=1e-5)
    turned = make_batch(images, indices, Augmentation(2, True, transforms="rotate(0)"), draws, MEAN, STD)
    np.testing.assert_allclose(turned, make_batch(images, indices, weak, draws, MEAN, STD), atol=1e-5)


@pytest.mark.parametrize("alphas", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_parts_of_a_mixed_batch_are_those_of_the_whole(alphas):
    """Partners may lie in another part: ranks that share a batch out compute one process's images and targets."""
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 2), dtype=np.uint8)
    labels, indices, draws = np.arange(20) % 3, np.arange(3, 14), Draws(0, 1, 2, np.arange(11))
    augmentation = Augmentation(1, True, transforms="brightness(0.5)", **alphas)

    def batch(part, mixed=True):
        return training_batch(images, labels, indices, part, augmentation, draws, MEAN, STD, 3, mixed)

    whole, targets = batch(slice(0, 11))
    assert targets.shape == (11, 3)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    for part in (slice(0, 4), slice(4, 11)):
        some, their_targets = batch(part)
        np.testing.assert_allclose(some, whole[part], atol=1e-6)
        np.testing.assert_array_equal(their_targets, targets[part])
    plain, plain_labels = batch(slice(0, 11), mixed=False)
    np.testing.assert_array_equal(plain_labels, labels[indices])
    assert np.abs(plain - whole).max() > 0.1
