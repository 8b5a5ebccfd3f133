"""Layers as compositions of operations: the transposed form, accumulation, caches, masks, first values."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import MixerConfig, MlpMixer, get_backend, ops
from tinymixer.draws import Draws
from tinymixer.errors import BackendError, ConfigError, ShapeError
from tinymixer.layers import ChannelMixing, LayerNorm, Linear, TokenMixing

SMALL = MixerConfig(image_size=8, patch_size=2, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7, num_blocks=2)


def images_of(config, count=3, dtype="float32", seed=0):
    shape = (count, config.image_size, config.image_size, config.in_channels)
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@settings(deadline=None)
@given(tokens=st.integers(1, 7), images=st.integers(1, 4), channels=st.integers(1, 6), hidden=st.integers(1, 6))
def test_token_mixing_is_transpose_mlp_transpose(tokens, images, channels, hidden):
    """The familiar form: (B, S, C) -> transpose -> Linear, GELU, Linear over the last axis -> transpose."""
    rng = np.random.default_rng(0)
    mixing = TokenMixing(tokens, hidden, dtype="float64")
    mixing.parameters["bias1"][...] = rng.standard_normal(hidden)
    mixing.parameters["bias2"][...] = rng.standard_normal(tokens)
    familiar = ChannelMixing(tokens, hidden, dtype="float64")
    for name in ("weight1", "weight2"):
        familiar.parameters[name][...] = mixing.parameters[name].T
    for name in ("bias1", "bias2"):
        familiar.parameters[name][...] = mixing.parameters[name]

    x = rng.standard_normal((images, tokens, channels))  # (B, S, C)
    y, cache = mixing.forward(x.transpose(1, 0, 2))  # (S, B, C)
    familiar_y, familiar_cache = familiar.forward(x.transpose(0, 2, 1))  # (B, C, S)
    np.testing.assert_allclose(y.transpose(1, 2, 0), familiar_y, rtol=1e-12, atol=1e-12)

    dy = rng.standard_normal(y.shape)  # (S, B, C)
    dx = mixing.backward(dy, cache)
    familiar_dx = familiar.backward(dy.transpose(1, 2, 0), familiar_cache)
    np.testing.assert_allclose(dx.transpose(1, 2, 0), familiar_dx, rtol=1e-12, atol=1e-12)
    for name in ("weight1", "weight2"):
        gradient = familiar.parameters.gradient(name).T
        np.testing.assert_allclose(mixing.parameters.gradient(name), gradient, rtol=1e-11, atol=1e-12)
    for name in ("bias1", "bias2"):
        gradient = familiar.parameters.gradient(name)
        np.testing.assert_allclose(mixing.parameters.gradient(name), gradient, rtol=1e-11, atol=1e-12)


def test_parameter_names_are_the_authors():
    names = MlpMixer(SMALL).parameters.names
    assert names[:2] == ["stem.weight", "stem.bias"]
    assert names[2:8] == [
        "blocks.0.token_norm.scale",
        "blocks.0.token_norm.bias",
        "blocks.0.token_mixing.weight1",
        "blocks.0.token_mixing.bias1",
        "blocks.0.token_mixing.weight2",
        "blocks.0.token_mixing.bias2",
    ]
    assert names[-4:] == ["pre_head_layer_norm.scale", "pre_head_layer_norm.bias", "head.weight", "head.bias"]


def test_every_part_of_a_model_shares_its_vector():
    model = MlpMixer(SMALL)
    for layer in (model.stem, model.head, model.blocks[1].token_mixing, model.blocks[0].channel_norm):
        for name in layer.parameters:
            assert np.shares_memory(layer.parameters[name], model.parameters.values)
            assert np.shares_memory(layer.parameters.gradient(name), model.parameters.gradients)


def test_first_values_are_the_authors():
    parameters = MlpMixer(MixerConfig(num_blocks=2)).parameters
    for name in parameters:
        weight, kind = parameters[name], name.rsplit(".", 1)[1]
        if kind == "scale":
            assert (weight == 1).all()
        elif kind.startswith("bias") or name == "head.weight":
            assert (weight == 0).all()
        else:
            fan_in = weight.shape[1] if "token_mixing" in name else weight.shape[0]
            assert weight.std() == pytest.approx(fan_in**-0.5, rel=0.05)
            assert np.abs(weight).max() <= 2 * fan_in**-0.5 / 0.8796


def test_a_second_backward_adds_and_a_second_forward_spoils_nothing():
    model = MlpMixer(SMALL, dtype="float64", seed=1)
    model.head.parameters["weight"][...] = 0.1
    first, second = images_of(SMALL, dtype="float64"), images_of(SMALL, dtype="float64", seed=1)
    dlogits = np.random.default_rng(2).standard_normal((3, 10))
    _, cache = model.forward(first)
    dimages = model.backward(dlogits, cache)
    once = model.parameters.gradients.copy()
    model.forward(second)
    np.testing.assert_array_equal(model.backward(dlogits, cache), dimages)
    np.testing.assert_array_equal(model.parameters.gradients, 2 * once)


def test_the_images_of_a_batch_do_not_see_each_other():
    model = MlpMixer(SMALL, seed=1)
    model.head.parameters["weight"][...] = np.random.default_rng(0).standard_normal((6, 10))
    images = images_of(SMALL, 4)
    together = model.forward(images)[0]
    alone = np.concatenate([model.forward(images[i : i + 1])[0] for i in range(4)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_the_token_mixing_output_bias_has_no_gradient():
    """It adds one number to all channels of a token, and every LayerNorm after it takes that number out again."""
    model = MlpMixer(SMALL, dtype="float64", seed=1)
    model.head.parameters["weight"][...] = np.random.default_rng(0).standard_normal((6, 10))
    images = images_of(SMALL, dtype="float64")
    logits, cache = model.forward(images)
    model.backward(np.random.default_rng(2).standard_normal((3, 10)), cache)
    for block in model.blocks:
        np.testing.assert_allclose(block.token_mixing.parameters.gradient("bias2"), 0, atol=1e-13)
        block.token_mixing.parameters["bias2"][...] += 3.0
    np.testing.assert_allclose(model.forward(images)[0], logits, rtol=1e-5)  # but for eps under the square root


def test_masks_come_from_the_generator_that_is_passed():
    config = MixerConfig.from_dict(SMALL.to_dict() | {"dropout": 0.2, "drop_path": 0.5})
    model = MlpMixer(config)
    model.head.parameters["weight"][...] = 1
    images = images_of(config)

    def run(seed):
        return model.forward(images, train=True, rng=Draws(seed, 0, 0, np.arange(len(images))))[0]

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))
    np.testing.assert_array_equal(model.forward(images)[0], model.forward(images)[0])
    with pytest.raises(ConfigError, match="rng="):
        model.forward(images, train=True)


def test_stochastic_depth_rises_to_the_last_block():
    config = MixerConfig.from_dict(SMALL.to_dict() | {"num_blocks": 5, "drop_path": 0.4})
    assert [block.drop_path for block in MlpMixer(config).blocks] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: MlpMixer(SMALL).forward(np.ones((2, 8, 8), "float32")),
            "expected images of shape (B, 8, 8, 3), got (2, 8, 8)",
        ),
        (
            lambda: MlpMixer(SMALL).forward(np.ones((2, 8, 8, 3), "uint8")),
            "expected images in the model's dtype float32",
        ),
        (lambda: MlpMixer(SMALL).forward(np.ones((2, 8, 8, 3))), "got float64: normalise pixels"),
        (
            lambda: TokenMixing(64, 32).forward(np.ones((49, 8, 128), "float32")),
            "(S, B, C) with S=64, got (49, 8, 128)",
        ),
        (lambda: Linear(3, 4).forward(np.ones((2, 5), "float32")), "with I=3, got (2, 5)"),
        (lambda: LayerNorm(3).forward(np.ones((2, 5), "float32")), "expected scale of shape (C,) with C=5, got (3,)"),
    ],
)
def test_a_wrong_shape_names_the_letters(call, message):
    with pytest.raises(ShapeError) as caught:
        call()
    assert message in str(caught.value)


def test_bad_arguments_are_sentences():
    with pytest.raises(BackendError, match=r"unknown backend 'numpi'.*Did you mean 'numpy'"):
        MlpMixer(SMALL, backend="numpi")
    with pytest.raises(BackendError, match="unknown kernels 'fastest'"):
        MlpMixer(SMALL, kernels="fastest")
    with pytest.raises(ConfigError, match="dtype 'float16'"):
        MlpMixer(SMALL, dtype="float16")
    with pytest.raises(ConfigError, match="gelu must be"):
        TokenMixing(4, 4, gelu="relu")


def test_operations_are_looked_up_in_the_backend():
    """A faster operation that the backend names is the one that runs."""
    calls = []

    def counted(x, *rest):
        calls.append(x.shape)
        return ops.layer_norm_forward(x, *rest)

    fast = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__} | {"layer_norm_forward": counted})
    model = MlpMixer(SMALL, backend=replace(get_backend("numpy"), ops=fast))
    model.forward(images_of(SMALL))
    assert len(calls) == 2 * SMALL.num_blocks + 1
