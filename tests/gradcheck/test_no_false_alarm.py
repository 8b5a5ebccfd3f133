"""The right backward passes raise no alarm: cases drawn over every operation, and all layers.

A plain run draws 400, to be short; .ci/run draws 1,000 (TINYMIXER_ALARM_CASES).
"""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.gradcheck import check_layer, check_operation
from tinymixer.layers import (
    TOKEN_MIXERS,
    BlockSizes,
    ChannelMixing,
    LayerNorm,
    Linear,
    LinearMixerBlock,
    MixerBlock,
    Mlp,
    TokenLinear,
    TokenMixing,
    TokenPooling,
)

TOLERANCE = 1e-6  # relative; what is achieved is about 1e-9
CASES = int(os.environ.get("TINYMIXER_ALARM_CASES", "400"))


@st.composite
def cases(draw):
    """Sizes from 1 (odd and even), numbers from thousandths to thousands, any order in memory."""
    S, B, C = (draw(st.integers(1, 5)) for _ in range(3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** draw(st.floats(-3, 3))
    layout = draw(st.sampled_from(["C", "F", "strided", "backwards"]))

    def floats(*shape):
        values = scale * generator.standard_normal(shape)
        if layout == "strided":
            room = np.zeros((*shape[:-1], 2 * shape[-1]))
            room[..., ::2] = values
            return room[..., ::2]
        return np.flip(values) if layout == "backwards" else np.asarray(values, order=layout)

    return S, B, C, generator, floats


def linear(S, B, C, generator, floats):
    return floats(S, B, C), floats(C, S + 1), floats(S + 1)


def token_linear(S, B, C, generator, floats):
    return floats(S, B, C), floats(C, S), floats(C)


def gelu(S, B, C, generator, floats):
    return (floats(S, B, C),)


def layer_norm(S, B, C, generator, floats):
    return floats(S, B, C), floats(C), floats(C)


def labelled(S, B, C, generator, floats):
    return floats(B, C), generator.integers(0, C, B), float(generator.choice([0.0, 0.1]))


def softly_labelled(S, B, C, generator, floats):
    return floats(B, C), generator.dirichlet(np.ones(C), B), float(generator.choice([0.0, 0.1]))


def patches(S, B, C, generator, floats):
    size = int(generator.integers(1, 4))
    return floats(B, size * min(S, 3), size, C), size


def windows(S, B, C, generator, floats):
    images, size = patches(S, B, C, generator, floats)
    return images, size, int(generator.integers(0, min(*images.shape[1:3], 3)))


def scaled(S, B, C, generator, floats):
    return floats(S, B, C), floats(C)


def gated(S, B, C, generator, floats):
    return floats(S, B, C), floats(S, B, C)


def pooled(S, B, C, generator, floats):
    return floats(S * B, 2, C), (S, B)


def attended(S, B, C, generator, floats):
    return floats(S, B, 6 * C), int(generator.integers(1, 3))


def attended_with_relative_positions(S, B, C, generator, floats):
    height, heads = 1 + S % 3, 1 + C % 2
    return floats(1, height, 1 + B % 2, 3 * heads), floats(2 * height - 1, 1), floats(1 + 2 * (B % 2), 1), heads


def positioned(S, B, C, generator, floats):
    return floats(S, B, C), floats(S, C)


def convolved(S, B, C, generator, floats):
    stride, padding = (int(number) for number in generator.integers(1, 3, 2))
    return floats(B, S + 1, 3, C), floats(2, 3, C, S), floats(S), stride, padding


def seen_through_windows(S, B, C, generator, floats):
    return floats(B, S + 1, 3, C), 2, int(generator.integers(1, 3))


def normalised_by_batch(S, B, C, generator, floats):
    return floats(B + 1, S, 2, C), floats(C), floats(C)


def normalised_by_kept_statistics(S, B, C, generator, floats):
    return floats(B, S, 2, C), floats(C), floats(C), floats(C), floats(C) ** 2 + 0.1


def normalised_by_groups(S, B, C, generator, floats):
    return floats(B, S, 2, 2 * C), floats(2 * C), floats(2 * C), 2


def standardised(S, B, C, generator, floats):
    return (floats(2, 2, C, S),)


def standardised_with_gain(S, B, C, generator, floats):
    return floats(2, 2, C, S), floats(S)


def dropout(S, B, C, generator, floats):
    return floats(S, B, C), generator.random((S, B, C)) > 0.3, 0.3


def drop_path(S, B, C, generator, floats):
    return floats(S, B, C), generator.random(B) > 0.3, 0.3


OPERATIONS = {
    "linear": ("linear", linear),
    "token_linear": ("token_linear", token_linear),
    "gelu_tanh": ("gelu_tanh", gelu),
    "gelu_erf": ("gelu_erf", gelu),
    "layer_norm": ("layer_norm", layer_norm),
    "softmax_cross_entropy, labels": ("softmax_cross_entropy", labelled),
    "softmax_cross_entropy, soft targets": ("softmax_cross_entropy", softly_labelled),
    "images_to_patches": ("images_to_patches", patches),
    "images_to_windows": ("images_to_windows", windows),
    "layer_scale": ("layer_scale", scaled),
    "gate": ("gate", gated),
    "mean_over_tokens": ("mean_over_tokens", gelu),
    "pool_tokens": ("pool_tokens", pooled),
    "dropout": ("dropout", dropout),
    "drop_path": ("drop_path", drop_path),
    "softmax": ("softmax", gelu),
    "self_attention": ("self_attention", attended),
    "relative_attention": ("relative_attention", attended_with_relative_positions),
    "position_embedding": ("position_embedding", positioned),
    "prepend_class_token": ("prepend_class_token", scaled),
    "take_class_token": ("take_class_token", gelu),
    "convolution": ("convolution", convolved),
    "max_pooling": ("max_pooling", seen_through_windows),
    "average_pooling": ("average_pooling", seen_through_windows),
    "global_average_pooling": ("global_average_pooling", lambda *case: convolved(*case)[:1]),
    "relu": ("relu", gelu),
    "batch_norm": ("batch_norm", normalised_by_batch),
    "batch_norm_inference": ("batch_norm_inference", normalised_by_kept_statistics),
    "group_norm": ("group_norm", normalised_by_groups),
    "weight_standardisation": ("weight_standardisation", standardised),
    "scaled_weight_standardisation": ("scaled_weight_standardisation", standardised_with_gain),
}


# Inputs that the backward pass gives a gradient for, where others are floats, too.
DIFFERENTIATED = {"softmax_cross_entropy, soft targets": [0], "batch_norm_inference": [0, 1, 2]}


def test_every_operation_is_listed_here():
    assert {name.removesuffix("_forward") for name in ops.__all__ if name.endswith("_forward")} == {
        name for name, _ in OPERATIONS.values()
    }


@pytest.mark.parametrize("which", OPERATIONS)
@given(case=cases())
@settings(max_examples=-(-CASES // len(OPERATIONS)), deadline=None, derandomize=True)
def test_an_operation_of_this_package_passes(which, case):
    name, draw = OPERATIONS[which]
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    report = check_operation(
        forward, backward, *draw(*case), differentiate=DIFFERENTIATED.get(which), tolerance=TOLERANCE
    )
    assert report.passed, str(report)


MIXINGS = [Mlp, TokenMixing, ChannelMixing, TokenLinear, TokenPooling]
KINDS = [Linear, LayerNorm, *MIXINGS, MixerBlock, LinearMixerBlock]


def build(kind, S, B, C, generator, dtype):
    keywords = {"dtype": dtype, "seed": 3}
    gelu = str(generator.choice(["tanh", "erf"]))
    if kind is Linear:
        return Linear(C, S, **keywords)
    if kind is LayerNorm:
        return LayerNorm(C, **keywords)
    if kind is TokenMixing:
        return TokenMixing(S, C, gelu=gelu, dropout=0.3, **keywords)
    if kind is MixerBlock:
        sizes = BlockSizes((2, 2), hidden_dim=C, tokens_mlp_dim=S, channels_mlp_dim=B, gelu=gelu)
        return MixerBlock(sizes, str(generator.choice(list(TOKEN_MIXERS))), drop_path=0.3, **keywords)
    if kind is TokenLinear:
        return TokenLinear(S, C, **keywords)
    if kind is TokenPooling:
        return TokenPooling((1, S), **keywords)
    if kind is LinearMixerBlock:
        return LinearMixerBlock(S, C, **keywords)
    return kind(C, S, gelu=gelu, dropout=0.3, **keywords)


@pytest.mark.parametrize("kind", KINDS)
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    train=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, deadline=None, derandomize=True)
def test_a_layer_of_this_package_passes(kind, sizes, train, seed):
    S, B, C = sizes
    wide, narrow = (build(kind, S, B, C, np.random.default_rng(seed), dtype) for dtype in ("float64", "float32"))
    x = np.random.default_rng(seed).standard_normal((4 if kind is MixerBlock else S, B, C))
    limit = 30 if kind is MixerBlock else 200  # its many parameters by samples and directions
    report = check_layer(wide, x, train, float32_twin=narrow, tolerance=TOLERANCE, jacobian_limit=limit, samples=4)
    assert report.passed, str(report)
