"""Multi-head self-attention as a layer; position embeddings and the class token."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ConfigError
from tinymixer.gradcheck import check_layer
from tinymixer.layers import BlockSizes, ClassToken, MultiHeadSelfAttention, PositionEmbedding

RNG = np.random.default_rng(0)


def test_values_of_one_head_are_the_textbooks():
    layer = MultiHeadSelfAttention(4, dtype="float64", seed=1)
    p = layer.parameters
    p["bias_qkv"][...], p["bias_out"][...] = RNG.standard_normal(12), RNG.standard_normal(4)
    x = RNG.standard_normal((5, 1, 4))
    q, k, v = np.split(x[:, 0] @ p["weight_qkv"] + p["bias_qkv"], 3, axis=1)  # (S, C) each
    scores = np.exp(q @ k.T / 2)  # sqrt(4) = 2
    expected = scores / scores.sum(axis=1, keepdims=True) @ v @ p["weight_out"] + p["bias_out"]
    np.testing.assert_allclose(layer.forward(x)[0][:, 0], expected, rtol=1e-12)


def test_gradients_of_the_layer_are_right_and_added():
    layer = MultiHeadSelfAttention(4, heads=2, dtype="float64", seed=1)
    layer.parameters["bias_qkv"][...] = RNG.standard_normal(12)
    check_layer(layer, RNG.standard_normal((3, 2, 4))).raise_if_failed()


def test_it_mixes_as_many_tokens_as_it_is_given_and_images_stay_apart():
    layer = MultiHeadSelfAttention.for_block(BlockSizes((2, 2), 6, channels_mlp_dim=4, heads=3), dtype="float64")
    assert layer.heads == 3
    x = RNG.standard_normal((7, 3, 6))  # not the 4 tokens of the grid
    changed = x.copy()
    changed[2, 1] += 1
    moved = np.any(layer.forward(changed)[0] != layer.forward(x)[0], axis=2)
    assert moved.tolist() == [[False, True, False]] * 7


@pytest.mark.parametrize(("channels", "heads", "fitting"), [(6, 4, "1, 2, 3, 6"), (5, 0, "1, 5"), (5, -1, "1, 5")])
def test_heads_that_do_not_divide_the_channels_are_refused(channels, heads, fitting):
    with pytest.raises(ConfigError, match=f"{heads} heads do not divide hidden_dim {channels}: .* from {fitting}$"):
        MultiHeadSelfAttention(channels, heads)


def test_position_embedding_and_class_token_are_learned():
    positions, token = PositionEmbedding(4, 3, dtype="float64"), ClassToken(3, dtype="float64")
    assert 0 < np.abs(positions.parameters["embedding"]).max() < 0.1
    np.testing.assert_array_equal(token.parameters["token"], 0)
    x, dy = RNG.standard_normal((3, 2, 3)), RNG.standard_normal((4, 2, 3))
    with_token, token_cache = token.forward(x)
    _, positions_cache = positions.forward(with_token)
    dx = token.backward(positions.backward(dy, positions_cache), token_cache)
    np.testing.assert_array_equal(dx, dy[1:])
    np.testing.assert_allclose(positions.parameters.gradient("embedding"), dy.sum(axis=1), rtol=1e-15)
    np.testing.assert_allclose(token.parameters.gradient("token"), dy[0].sum(axis=0), rtol=1e-15)
    assert ops.take_class_token_forward(with_token)[0].tolist() == [[0, 0, 0], [0, 0, 0]]
