"""Token mixing whose MLP sees several neighbouring channels at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.errors import ConfigError, ShapeError
from tinymixer.layers import BlockSizes, GroupedTokenMixing, MixerBlock, TokenMixing
from tinymixer.ops import gelu_tanh_forward

RNG = np.random.default_rng(0)


def filled(layer):
    """The layer with every parameter random, the biases as well."""
    for name in layer.parameters:
        layer.parameters[name][...] = RNG.standard_normal(layer.parameters.shape(name))
    return layer


@settings(deadline=None, max_examples=25)
@given(
    tokens=st.integers(1, 5),
    images=st.integers(1, 3),
    together=st.integers(1, 4),
    columns=st.integers(1, 3),
    hidden=st.integers(1, 3),
)
def test_it_is_an_mlp_on_the_concatenated_columns_of_neighbouring_channels(tokens, images, together, columns, hidden):
    layer = filled(GroupedTokenMixing(tokens, hidden, together, dtype="float64"))
    p, x = layer.parameters, RNG.standard_normal((tokens, images, together * columns))
    expected = np.empty_like(x)
    for image in range(images):
        for first in range(0, together * columns, together):
            vector = np.concatenate([x[:, image, first + g] for g in range(together)])  # (G*S,)
            activated = gelu_tanh_forward(p["weight1"] @ vector + p["bias1"])[0]  # (DS,)
            y = p["weight2"] @ activated + p["bias2"]  # (G*S,)
            for g in range(together):
                expected[:, image, first + g] = y[g * tokens : (g + 1) * tokens]
    np.testing.assert_allclose(layer.forward(x)[0], expected, rtol=1e-11, atol=1e-12)


def test_one_channel_at_once_is_the_mixer_to_the_bit():
    grouped, plain = (filled(GroupedTokenMixing(6, 4, 1, dropout=0.0)), TokenMixing(6, 4))
    plain.parameters.values[...] = grouped.parameters.values
    x, dy = RNG.standard_normal((2, 6, 3, 5), dtype="float32")
    results = []
    for layer in (grouped, plain):
        y, cache = layer.forward(x)
        results.append([y, layer.backward(dy, cache), layer.parameters.gradients])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_local_first_weights_are_local_in_each_channel():
    """The same bump for each channel that a unit sees, and the sums of squares of weights that are not local."""
    arrays = []
    for init in ("local", "lecun"):
        sizes = BlockSizes((6, 6), 4, tokens_mlp_dim=200, channels_mlp_dim=3, grouped_channels=2, token_init=init)
        block = MixerBlock(sizes, seed=3, dtype="float64")
        arrays.append([block.parameters["token_mixing.weight1"], block.parameters["token_mixing.weight2"].T])
    for local, lecun in zip(*arrays, strict=True):
        bumps = (local / lecun).reshape(200, 2, 36)  # (DS, G, S)
        np.testing.assert_allclose(bumps[:, 0], bumps[:, 1], rtol=1e-9)
        assert np.median(bumps.max(axis=2) / bumps.min(axis=2)) > 1e3
        assert (local**2).sum() == pytest.approx((lecun**2).sum(), rel=0.1)


def test_what_does_not_fit_is_a_sentence():
    layer = GroupedTokenMixing(4, 3, 2)
    for shape in ((4, 2, 5), (3, 2, 4), (4, 4)):
        with pytest.raises(ShapeError, match=r"x \(S, B, C\) with S=4 and C a multiple of 2 \(grouped_channels\), got"):
            layer.forward(np.ones(shape, "float32"))
    with pytest.raises(ConfigError, match="grouped_channels 2 does not divide hidden_dim 5"):
        MixerBlock(BlockSizes((2, 2), 5, tokens_mlp_dim=3, channels_mlp_dim=3, grouped_channels=2))
    both = BlockSizes((2, 2), 4, tokens_mlp_dim=3, channels_mlp_dim=3, untied_groups=2, grouped_channels=2)
    with pytest.raises(ConfigError, match="untied_groups and grouped_channels cannot be used together"):
        MixerBlock(both)
