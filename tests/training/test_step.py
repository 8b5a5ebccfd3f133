"""One training step: accumulation, soft labels, overfitting, the stop at a loss that is not finite."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.strict_arrays import STRICT
from tinymixer.data import load_dataset, normalise
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.optim import SGD, AdamW
from tinymixer.training import train_step

CONFIG = MixerConfig(
    image_size=8, in_channels=1, patch_size=2, hidden_dim=12, tokens_mlp_dim=6, channels_mlp_dim=20, num_blocks=2
)


def batch(count, dtype="float64"):
    digits = load_dataset("digits")
    return normalise(digits.train_images[:count], digits.mean, digits.std, dtype), digits.train_labels[:count]


def model_with_a_head(config, **keywords):
    """A head of zeros would hide the gradients of everything before it in the first step."""
    model = MlpMixer(config, **keywords)
    head = np.random.default_rng(3).standard_normal(model.parameters.shape("head.weight"))
    model.parameters["head.weight"][...] = model.backend.asarray(head.astype(model.parameters.dtype))
    return model


@pytest.mark.parametrize("dropped", [{}, {"dropout": 0.2, "drop_path": 0.3}], ids=["nothing dropped", "dropped"])
@pytest.mark.parametrize("micro_batches", [2, 3, 7, 13])
def test_accumulated_gradients_equal_the_whole_batch(micro_batches, dropped):
    images, labels = batch(13)
    draws = Draws(3, 1, 2, np.arange(13))
    whole, parts = (model_with_a_head(replace(CONFIG, **dropped), dtype="float64") for _ in range(2))
    one = train_step(whole, SGD(whole.parameters), images, labels, 0.1, 0.1, draws)
    other = train_step(parts, SGD(parts.parameters), images, labels, 0.1, 0.1, draws, micro_batches)
    assert other.loss == pytest.approx(one.loss, rel=1e-14)
    assert other.correct == one.correct
    assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-12)
    np.testing.assert_allclose(parts.parameters.gradients, whole.parameters.gradients, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(parts.parameters.values, whole.parameters.values, rtol=1e-10, atol=1e-14)


def test_gradients_of_an_earlier_step_are_forgotten():
    images, labels = batch(8)
    clean, used = (model_with_a_head(CONFIG, dtype="float64") for _ in range(2))
    used.parameters.gradients[...] = 7.0
    for model in (clean, used):
        train_step(model, SGD(model.parameters), images, labels, 0.1)
    np.testing.assert_array_equal(clean.parameters.values, used.parameters.values)


def test_rows_of_probabilities_are_labels_too():
    images, labels = batch(8)
    hard, soft = (model_with_a_head(CONFIG, dtype="float64") for _ in range(2))
    one = train_step(hard, SGD(hard.parameters), images, labels, 0.1)
    other = train_step(soft, SGD(soft.parameters), images, np.eye(10)[labels], 0.1, micro_batches=2)
    assert (other.loss, other.correct) == (pytest.approx(one.loss), one.correct)


def test_the_step_runs_on_the_strict_array_library():
    images, labels = batch(6, "float32")
    results = []
    for backend in ("numpy", STRICT):
        model = MlpMixer(CONFIG, backend=backend)
        inputs = model.backend.asarray(images), model.backend.asarray(labels)
        results += [train_step(model, AdamW(model.parameters, clip_norm=1.0), *inputs, 0.01, 0.1, micro_batches=2)]
    assert results[0] == results[1]


@pytest.mark.parametrize("count", [0, 9])
def test_a_batch_cannot_be_cut_into_any_number_of_parts(count):
    images, labels = batch(8)
    model = MlpMixer(CONFIG, dtype="float64")
    with pytest.raises(ConfigError, match="between 1 and the batch's 8 images"):
        train_step(model, SGD(model.parameters), images, labels, 0.1, micro_batches=count)


def test_a_loss_that_is_not_finite_names_step_rate_and_norm_and_leaves_the_weights():
    images, labels = batch(8)
    model = MlpMixer(CONFIG, dtype="float64")
    optimizer = SGD(model.parameters)
    train_step(model, optimizer, images, labels, 0.1)
    before = model.parameters.values.copy()
    images[3, 2, 2, 0] = np.nan
    with pytest.raises(
        TrainingError, match=re.escape("loss became nan at step 2 (learning rate 0.25, gradient norm nan)")
    ):
        train_step(model, optimizer, images, labels, 0.25)
    np.testing.assert_array_equal(model.parameters.values, before)


def steps_to_overfit(config, images, labels, learning_rate, limit):
    model = MlpMixer(config, seed=1)
    optimizer = AdamW(model.parameters, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(limit):
        if train_step(model, optimizer, images, labels, learning_rate).loss < 0.001:
            return step
    return None


def test_one_batch_of_32_digits_is_overfitted():
    images, labels = batch(32, "float32")
    assert steps_to_overfit(CONFIG, images, labels, 0.01, 400) is not None


def test_one_batch_of_32_images_is_overfitted_at_the_sizes_of_cifar10_nano():
    """Noise holds nothing to generalise from: it can only be learnt by heart. One of the eight blocks is enough."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((32, 32, 32, 3), dtype=np.float32)
    assert steps_to_overfit(MixerConfig(num_blocks=1), images, generator.integers(0, 10, 32), 0.004, 150) is not None
