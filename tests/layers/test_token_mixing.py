"""A block takes any token mixer: those with a name, and one of the caller's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.errors import ConfigError, ShapeError
from tinymixer.gradcheck import check_layer
from tinymixer.layers import TOKEN_MIXERS, BlockSizes, Layer, Linear, MixerBlock, TokenLinear, TokenPooling
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.parameters import BufferSpec, ParameterSpec

SIZES = BlockSizes((2, 3), hidden_dim=5, tokens_mlp_dim=4, channels_mlp_dim=7)
RNG = np.random.default_rng(0)

blocks = st.builds(
    BlockSizes,
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    hidden_dim=st.integers(1, 5),
    tokens_mlp_dim=st.integers(1, 4),
    channels_mlp_dim=st.integers(1, 4),
    gelu=st.sampled_from(["tanh", "erf"]),
)


@settings(deadline=None)
@given(sizes=blocks, images=st.integers(1, 3), token_mixer=st.sampled_from(list(TOKEN_MIXERS)))
def test_a_block_keeps_the_shape_and_the_dtype(sizes, images, token_mixer):
    block = MixerBlock(sizes, token_mixer, drop_path=0.5)
    x = np.ones((sizes.num_tokens, images, sizes.hidden_dim), "float32")
    before = x.copy()
    y, cache = block.forward(x)
    dx = block.backward(y, cache)
    assert (y.shape, y.dtype) == (dx.shape, dx.dtype) == (x.shape, x.dtype)
    assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(x, before)
    assert list(block.specification(sizes, token_mixer)) == block.parameters.names


@settings(deadline=None)
@given(tokens=st.integers(1, 6), images=st.integers(1, 3), channels=st.integers(1, 4), outputs=st.integers(1, 6))
def test_a_linear_over_tokens_is_transpose_linear_transpose(tokens, images, channels, outputs):
    mixing, familiar = TokenLinear(tokens, outputs, dtype="float64"), Linear(tokens, outputs, dtype="float64")
    mixing.parameters["bias"][...] = familiar.parameters["bias"][...] = RNG.standard_normal(outputs)
    familiar.parameters["weight"][...] = mixing.parameters["weight"].T
    x = RNG.standard_normal((tokens, images, channels))  # (S, B, C)
    y, cache = mixing.forward(x)
    familiar_y, familiar_cache = familiar.forward(x.transpose(1, 2, 0))  # (B, C, O)
    np.testing.assert_allclose(y.transpose(1, 2, 0), familiar_y, rtol=1e-12, atol=1e-12)
    dy = RNG.standard_normal(y.shape)
    dx, familiar_dx = mixing.backward(dy, cache), familiar.backward(dy.transpose(1, 2, 0), familiar_cache)
    np.testing.assert_allclose(dx.transpose(1, 2, 0), familiar_dx, rtol=1e-12, atol=1e-12)
    gradient, familiar_gradient = mixing.parameters.gradient, familiar.parameters.gradient
    np.testing.assert_allclose(gradient("weight"), familiar_gradient("weight").T, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(gradient("bias"), familiar_gradient("bias"), rtol=1e-11, atol=1e-12)


def test_pooling_with_the_sum_of_the_block_is_the_mean_of_the_neighbourhood():
    x = RNG.standard_normal((12, 2, 3))  # a grid of 3 x 4
    y, _ = TokenPooling((3, 4), dtype="float64").forward(x)
    inside = x.reshape(3, 4, 2, 3)[0:3, 1:4].mean(axis=(0, 1))
    np.testing.assert_allclose((x + y)[1 * 4 + 2], inside, rtol=1e-12)


@pytest.mark.parametrize("token_mixer", ["none", None])
def test_without_a_token_mixer_there_is_no_branch_and_tokens_do_not_meet(token_mixer):
    block = MixerBlock(SIZES, token_mixer, dtype="float64")
    assert block.token_norm is None
    assert block.token_mixing is None
    assert all(name.startswith("channel_") for name in block.parameters)
    x = RNG.standard_normal((6, 2, 5))
    changed = x.copy()
    changed[3] += 1
    moved = np.any(block.forward(changed)[0] != block.forward(x)[0], axis=(1, 2))
    assert moved.tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("token_mixer", ["mlp", "linear", "pool", "attention"])
def test_with_one_they_do(token_mixer):
    block = MixerBlock(SIZES, token_mixer, dtype="float64")
    x = RNG.standard_normal((6, 2, 5))
    changed = x.copy()
    changed[1] += RNG.standard_normal(5)
    moved = np.any(block.forward(changed)[0] != block.forward(x)[0], axis=(1, 2))
    assert moved.all()  # token 1 lies in the middle of the upper row of 2 x 3: it is near to all


class Gather(Layer):
    """A token mixer of the caller's own: a weighted mean of all tokens, given to each; it counts its images, too."""

    def __init__(self, tokens, **keywords):
        super().__init__(self.specification(tokens), **keywords)

    @staticmethod
    def specification(tokens):
        return {
            "weight": ParameterSpec((tokens,), lambda generator, shape: generator.standard_normal(shape)),
            "images": BufferSpec((1,), lambda generator, shape: np.zeros(shape)),
        }

    @classmethod
    def specification_for(cls, sizes):
        return cls.specification(sizes.num_tokens)

    @classmethod
    def for_block(cls, sizes, **keywords):
        return cls(sizes.num_tokens, **keywords)

    def forward(self, x, train=False, rng=None):
        weight = self.parameters["weight"].reshape(-1, 1, 1)  # (S, 1, 1)
        return np.broadcast_to((weight * x).sum(axis=0), x.shape).copy(), (x, weight)

    def backward(self, dy, cache):
        x, weight = cache
        total = dy.sum(axis=0)  # (B, C)
        self.parameters.gradient("weight")[...] += (total * x).sum(axis=(1, 2))
        return weight * total

    def update_buffers(self, cache):
        self.parameters.buffer("images")[...] += cache[0].shape[1]


def test_a_block_takes_a_mixer_that_it_has_never_heard_of():
    block = MixerBlock(SIZES, Gather, dtype="float64")
    assert "token_mixing.weight" in block.parameters
    check_layer(block, RNG.standard_normal((6, 2, 5))).raise_if_failed()


def test_a_mixer_put_into_the_list_can_be_named_and_its_buffers_are_updated(monkeypatch):
    monkeypatch.setitem(TOKEN_MIXERS, "gather", Gather)
    block = MixerBlock(SIZES, "gather")
    _, cache = block.forward(np.ones((6, 4, 5), "float32"), train=True)
    assert block.parameters.buffer("token_mixing.images") == 0
    block.update_buffers(cache)
    assert block.parameters.buffer("token_mixing.images") == 4


def test_a_model_passes_updates_on_to_its_blocks():
    model = MlpMixer(MixerConfig(image_size=8, hidden_dim=5, num_blocks=2))
    seen = []
    for block in model.blocks:
        block.token_mixing.update_buffers = seen.append
    model.head.update_buffers = seen.append
    _, cache = model.forward(np.ones((1, 8, 8, 3), "float32"), train=True)
    model.update_buffers(cache)
    assert len(seen) == 3


def test_wrong_choices_and_shapes_are_sentences():
    with pytest.raises(
        ConfigError, match=r"unknown token mixer 'linera': .*mlp, linear, pool, attention, none.* mean 'linear'"
    ):
        MixerBlock(SIZES, "linera")
    for token_mixer, words in (("linear", r"with S=6, got \(5, 2, 5\)"), ("pool", "2 x 3 patches has 6 tokens")):
        with pytest.raises(ShapeError, match=words):
            MixerBlock(SIZES, token_mixer).forward(np.ones((5, 2, 5), "float32"))
