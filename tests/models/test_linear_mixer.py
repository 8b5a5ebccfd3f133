"""The linear Mixer: the shapes of the textbook form, what it computes, and that it is one linear map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.models import LinearMixer, LinearMixerConfig


def filled(config, seed=0):
    """A model whose weights are all random, in float64."""
    model = LinearMixer(config, dtype="float64")
    generator = np.random.default_rng(seed)
    for name in model.parameters:
        shape = model.parameters.shape(name)
        model.parameters[name][...] = generator.standard_normal(shape) / shape[0] ** 0.5
    return model


def test_the_shapes_of_the_textbook_form():
    """3 x 224 x 224, patches of 16 x 16: (B, 512, 14, 14) -> (B, 512, 196), Linear(196, 196), Linear(512, 512)."""
    config = LinearMixerConfig(image_size=224, in_channels=3, patch_size=16, hidden_dim=512, num_blocks=1)
    model = LinearMixer(config)
    images = np.zeros((2, 224, 224, 3), "float32")
    patches, _ = ops.images_to_patches_forward(images, 16)
    tokens, _ = model.stem.forward(patches)
    assert config.grid == (14, 14)
    assert tokens.shape == (196, 2, 512)  # (S, B, C): the same numbers as (B, 512, 14, 14), tokens first
    assert tokens.transpose(1, 2, 0).reshape(2, 512, 14, 14).shape == (2, 512, 14, 14)
    block = model.blocks[0]
    assert block.token_mixing.parameters["weight"].shape == (196, 196)
    assert block.channel_mixing.parameters["weight"].shape == (512, 512)
    assert block.forward(tokens)[0].shape == (196, 2, 512)
    assert model.forward(images)[0].shape == (2, 10)
    assert model.parameters.names == [
        "stem.weight", "stem.bias",
        "blocks.0.token_mixing.weight", "blocks.0.token_mixing.bias",
        "blocks.0.channel_mixing.weight", "blocks.0.channel_mixing.bias",
        "head.weight", "head.bias",
    ]  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(
    side=st.integers(1, 3),
    patch=st.integers(1, 3),
    channels=st.integers(1, 3),
    hidden=st.integers(1, 5),
    blocks=st.integers(1, 3),
    count=st.integers(1, 3),
)
def test_it_is_the_familiar_form_at_any_size(side, patch, channels, hidden, blocks, count):
    """(B, S, C) -> transpose -> Linear over the last axis -> transpose, and a Linear over the channels."""
    config = LinearMixerConfig(
        image_size=side * patch, in_channels=channels, patch_size=patch, hidden_dim=hidden, num_blocks=blocks
    )
    model = filled(config)
    assert model.parameters.count == config.parameter_count
    images = np.random.default_rng(1).standard_normal((count, side * patch, side * patch, channels))
    p = model.parameters
    x = ops.images_to_patches_forward(images, patch)[0].transpose(1, 0, 2)  # (B, S, features)
    x = x @ p["stem.weight"] + p["stem.bias"]  # (B, S, C)
    for i in range(blocks):
        token = x.transpose(0, 2, 1) @ p[f"blocks.{i}.token_mixing.weight"].T + p[f"blocks.{i}.token_mixing.bias"]
        x = x + token.transpose(0, 2, 1)
        x = x + x @ p[f"blocks.{i}.channel_mixing.weight"] + p[f"blocks.{i}.channel_mixing.bias"]
    logits = x.mean(axis=1) @ p["head.weight"] + p["head.bias"]
    np.testing.assert_allclose(model.forward(images)[0], logits, rtol=1e-9, atol=1e-9)


def test_blocks_start_as_the_identity():
    config = LinearMixerConfig(image_size=8, patch_size=2, hidden_dim=6, num_blocks=5)
    x = np.random.default_rng(0).standard_normal((16, 2, 6)).astype("float32")
    for block in LinearMixer(config).blocks:
        np.testing.assert_array_equal(block.forward(x)[0], x)


def test_the_whole_network_is_one_weighted_mean_of_patches_and_one_matrix():
    """With A the product of (1 + W) of all token mixings and M that of stem, channel mixings and head:

    logits = mean over tokens of (A patches) M, so one row of S weights serves all classes.
    """
    config = LinearMixerConfig(image_size=6, in_channels=2, patch_size=2, hidden_dim=7, num_blocks=3, num_classes=4)
    model = filled(config)
    p = model.parameters
    left, right = np.eye(9), p["stem.weight"]
    for i in range(3):
        left = (np.eye(9) + p[f"blocks.{i}.token_mixing.weight"]) @ left
        right = right @ (np.eye(7) + p[f"blocks.{i}.channel_mixing.weight"])
    weights, matrix = left.mean(axis=0), right @ p["head.weight"]  # (S,), (features, K)
    first, second = np.random.default_rng(1).standard_normal((2, 5, 6, 6, 2))
    patches = ops.images_to_patches_forward(first - second, 2)[0]  # (S, B, features)
    expected = np.tensordot(weights, patches, 1) @ matrix  # (B, K)
    np.testing.assert_allclose(model.forward(first)[0] - model.forward(second)[0], expected, rtol=1e-10, atol=1e-10)


def test_a_gradient_step_lowers_the_loss_from_zero_weights():
    config = LinearMixerConfig(image_size=8, in_channels=1, patch_size=4, hidden_dim=8, num_blocks=4, num_classes=3)
    model = LinearMixer(config)
    generator = np.random.default_rng(0)
    images = generator.standard_normal((30, 8, 8, 1)).astype("float32")
    labels = (images[:, :4, :4].sum(axis=(1, 2, 3)) > 0).astype(int)  # in one patch of the four alone
    losses = []
    for _ in range(200):
        logits, cache = model.forward(images)
        loss, dlogits = ops.softmax_cross_entropy(logits, labels)
        losses.append(float(loss))
        model.parameters.zero_gradients()
        model.backward(dlogits, cache)
        model.parameters.values[...] -= 0.1 * model.parameters.gradients
    assert losses[0] == pytest.approx(np.log(3), rel=1e-5)
    assert losses[-1] < 0.5 * losses[0]
    moved = [name for name in model.parameters if "mixing.weight" in name and np.any(model.parameters[name])]
    assert len(moved) == 8  # every mixing of every block has learned something
