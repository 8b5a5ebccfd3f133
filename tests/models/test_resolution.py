"""Weights for images of another size: token mixing is exact for whole ratios, an approximation for others; the stem."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import ConfigError
from tinymixer.models import LinearMixer, LinearMixerConfig
from tinymixer.models.resolution import (
    block_diagonal,
    describe,
    interpolated,
    resampling,
    resize_stem,
    resize_tokens,
    tokens_of_parts,
    whole_factor,
)
from tinymixer.ops import images_to_patches_forward

SMALL = st.integers(1, 3)


def random_model(model_class, config, seed):
    """A model whose every value is random, biases too."""
    model = model_class(config, dtype="float64")
    rng = np.random.default_rng(seed)
    values = {name: array + 0.3 * rng.normal(size=array.shape) for name, array in model.parameters.to_numpy().items()}
    model.parameters.load(values)
    return model


def tokens_before_the_head(model, images):
    """The tokens (S, B, C) after the last block."""
    patches, _ = model.ops.images_to_patches_forward(images, model.config.patch_size)
    x, _ = model.stem.forward(patches)
    for block in model.blocks:
        x, _ = block.forward(x)
    return x


def enlarged(model, factor, **changes):
    """The model for an image `factor` times as large, with the weights fitted to it."""
    config = dataclasses.replace(model.config, image_size=factor * model.config.image_size, **changes)
    large, own = type(model)(config, dtype="float64"), model.parameters.to_numpy()
    resized = resize_tokens(own, model.config, config)
    large.parameters.load(own | dict(resized.arrays))
    return large, resized


@settings(deadline=None, max_examples=25)
@given(
    factor=st.integers(2, 3),
    side=SMALL,
    patch=SMALL,
    hidden=SMALL,
    width=SMALL,
    tokens=st.sampled_from(["mlp", "linear", "model"]),
    gelu=st.sampled_from(["tanh", "erf"]),
    seed=st.integers(0, 99),
)
def test_each_copy_in_a_tiled_image_has_the_small_models_tokens(factor, side, patch, hidden, width, tokens, gelu, seed):
    sizes = {"image_size": side * patch, "in_channels": 2, "patch_size": patch, "hidden_dim": hidden, "num_blocks": 2}
    if tokens == "model":
        small, changes = random_model(LinearMixer, LinearMixerConfig(**sizes), seed), {}
    else:
        config = MixerConfig(**sizes, tokens=tokens, tokens_mlp_dim=width, channels_mlp_dim=3, gelu=gelu)
        small = random_model(MlpMixer, config, seed)
        changes = {"tokens_mlp_dim": factor**2 * width}
    large, resized = enlarged(small, factor, **changes)
    assert (resized.way, resized.factor) == ("block-diagonal", factor)
    image = np.random.default_rng(seed).normal(size=(2, side * patch, side * patch, 2))
    expected = tokens_before_the_head(small, image)  # (S, B, C)
    found = tokens_before_the_head(large, np.tile(image, (1, factor, factor, 1)))  # (K*K*S, B, C)
    for part in tokens_of_parts(small.config.grid, factor):
        np.testing.assert_allclose(found[part], expected, rtol=1e-6, atol=1e-6)
    # The mean over tokens, and with it the logits, are the small model's, too.
    np.testing.assert_allclose(
        large.forward(np.tile(image, (1, factor, factor, 1)))[0], small.forward(image)[0], rtol=1e-6, atol=1e-6
    )


def test_the_parts_of_an_image_do_not_reach_each_other():
    """Of four different pictures side by side each has the tokens that it has alone, in its own place."""
    small = random_model(MlpMixer, MixerConfig(image_size=8, hidden_dim=5, num_blocks=2, tokens_mlp_dim=3), 0)
    large, _ = enlarged(small, 2, tokens_mlp_dim=12)
    pictures = np.random.default_rng(1).normal(size=(4, 8, 8, 3))
    rows = [np.concatenate(pictures[2 * row : 2 * row + 2], axis=1) for row in range(2)]
    joined = np.concatenate(rows, axis=0)[None]  # (1, 16, 16, 3)
    found, parts = tokens_before_the_head(large, joined), tokens_of_parts(small.config.grid, 2)
    for picture, part in zip(pictures, parts, strict=True):
        np.testing.assert_allclose(found[part], tokens_before_the_head(small, picture[None]), atol=1e-12)


def test_tokens_of_parts_by_hand():
    assert tokens_of_parts((1, 2), 2).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert tokens_of_parts((2, 1), 2).tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_block_diagonal_by_hand():
    fits = block_diagonal((1, 2), 2)  # one part is a row of two patches; the large grid is [[0, 1, 2, 3], [4, 5, 6, 7]]
    weight1 = fits["weight1"](np.array([[1.0, 2.0]]))  # one hidden unit a part
    expected = [[1, 2, 0, 0, 0, 0, 0, 0], [0, 0, 1, 2, 0, 0, 0, 0], [0, 0, 0, 0, 1, 2, 0, 0], [0, 0, 0, 0, 0, 0, 1, 2]]
    np.testing.assert_array_equal(weight1, expected)
    np.testing.assert_array_equal(fits["weight2"](np.array([[1.0], [2.0]])), weight1.T)
    np.testing.assert_array_equal(fits["bias1"](np.array([1.0, 2.0])), [1, 2, 1, 2, 1, 2, 1, 2])
    np.testing.assert_array_equal(fits["bias2"](np.array([3.0, 4.0])), [3, 4, 3, 4, 3, 4, 3, 4])
    np.testing.assert_array_equal(block_diagonal((2, 1), 2)["bias2"](np.array([3.0, 4.0])), [3, 3, 4, 4, 3, 3, 4, 4])


@settings(deadline=None)
@given(old=st.integers(1, 12), new=st.integers(1, 12))
def test_resampling_keeps_what_is_constant_and_mirrors(old, new):
    matrix = resampling(old, new)
    assert matrix.shape == (new, old)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-12)
    if old == new:
        np.testing.assert_allclose(matrix, np.eye(old), atol=1e-12)


def test_resampling_by_hand():
    np.testing.assert_allclose(resampling(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(resampling(3, 1).sum(), 1)


@settings(deadline=None, max_examples=25)
@given(
    source=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    target=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    width=SMALL,
    value=st.floats(-3, 3),
)
def test_an_even_picture_is_mixed_as_before(source, target, width, value):
    """Where all tokens are equal, the interpolated weights give the hidden layer that the old ones give."""
    rng = np.random.default_rng(width)
    weight1 = rng.normal(size=(width, source[0] * source[1]))
    fits = interpolated(source, target)
    before, now = weight1.sum(axis=1) * value, fits["weight1"](weight1).sum(axis=1) * value
    np.testing.assert_allclose(now, before, atol=1e-9)
    even = np.ones((source[0] * source[1], width))
    np.testing.assert_allclose(fits["weight2"](even), 1)
    np.testing.assert_allclose(fits["bias2"](even[:, 0]), 1)


def test_which_way_is_taken():
    small = MixerConfig(image_size=8, tokens_mlp_dim=3)  # 2 x 2 patches
    arrays = MlpMixer(small).parameters.to_numpy()

    def way(how="auto", **changes):
        return resize_tokens(arrays, small, dataclasses.replace(small, **changes), how).way

    assert way(image_size=16, tokens_mlp_dim=12) == "block-diagonal"
    assert way(image_size=16) == "interpolated"
    assert way("interpolate", image_size=16, tokens_mlp_dim=12) == ""
    assert way("interpolate", image_size=16) == "interpolated"
    assert way("off", image_size=16) == ""
    assert way(image_size=12) == way(image_size=4) == "interpolated"
    assert way(image_size=12, tokens_mlp_dim=7) == ""
    assert way() == way(image_size=16, tokens="pool") == way(image_size=16, tokens="linear") == ""
    assert whole_factor((2, 3), (4, 6)) == 2
    assert whole_factor((2, 3), (4, 9)) == whole_factor((2, 2), (3, 3)) == whole_factor((4, 4), (2, 2)) == 0
    with pytest.raises(ConfigError, match="one of auto, interpolate, off"):
        resize_tokens(arrays, small, small, "nearest")


def test_it_is_said_what_was_done():
    small = MixerConfig(image_size=8, tokens_mlp_dim=3, num_blocks=2)
    arrays = MlpMixer(small).parameters.to_numpy()
    for changes, words in (
        (
            {"image_size": 16, "tokens_mlp_dim": 12},
            "8 arrays of token mixing were expanded from 2 x 2 to 4 x 4 patches",
        ),
        ({"image_size": 16}, "which is an approximation; exact for each of the 2 x 2 parts .* tokens_mlp_dim = 12"),
        ({"image_size": 12}, "interpolated from 2 x 2 to 3 x 3 patches, which is an approximation$"),
    ):
        target = dataclasses.replace(small, **changes)
        resized = resize_tokens(arrays, small, target)
        assert re.search(words, describe(resized, small, target))
        assert all(array.dtype == np.float32 for array in resized.arrays.values())


@settings(deadline=None)
@given(times=st.integers(1, 3), patch=st.integers(1, 4), grey=st.booleans())
def test_a_fitted_stem_computes_the_same_on_enlarged_images(times, patch, grey):
    generator = np.random.default_rng(times + 10 * patch)
    weight = generator.standard_normal((patch * patch * 3, 5))
    before, after = SimpleNamespace(patch_size=patch, in_channels=3), SimpleNamespace(patch_size=patch * times)
    after.in_channels = 1 if grey else 3
    image = generator.standard_normal((2, 2 * patch, 3 * patch, after.in_channels))
    if times == 1 and not grey:
        assert resize_stem(weight, before, after) is None  # nothing to fit
        return
    large = image.repeat(times, axis=1).repeat(times, axis=2)
    small = image.repeat(3, axis=3) if grey else image
    found = images_to_patches_forward(large, patch * times)[0] @ resize_stem(weight, before, after)
    np.testing.assert_allclose(found, images_to_patches_forward(small, patch)[0] @ weight, rtol=1e-12, atol=1e-12)


def test_a_stem_with_overlap_is_fitted_where_its_window_grows_as_the_patch_does():
    weight = np.random.default_rng(0).standard_normal((16 * 3, 5))  # windows of 4 x 4 around patches of 2 x 2
    before, after = (SimpleNamespace(patch_size=2 * k, overlap=k, in_channels=3) for k in (1, 2))
    window = np.random.default_rng(1).standard_normal((4, 4, 3))
    large = window.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(large.reshape(-1) @ resize_stem(weight, before, after), window.reshape(-1) @ weight)
    assert resize_stem(weight, before, SimpleNamespace(patch_size=4, overlap=1, in_channels=3)) is None
    assert resize_stem(weight, before, SimpleNamespace(patch_size=2, overlap=0, in_channels=3)) is None


def test_a_stem_is_not_fitted_to_smaller_patches_or_from_grey_to_colour():
    sizes = [SimpleNamespace(patch_size=p, in_channels=c) for p, c in ((4, 3), (6, 3), (2, 3), (4, 1))]
    assert resize_stem(np.ones((48, 2)), sizes[0], sizes[1]) is None
    assert resize_stem(np.ones((48, 2)), sizes[0], sizes[2]) is None
    assert resize_stem(np.ones((16, 2)), sizes[3], sizes[0]) is None
    larger = SimpleNamespace(patch_size=8, in_channels=3)
    assert resize_stem(np.ones((2, 48)), sizes[0], larger) is None  # another model's form of weight
    assert resize_stem(np.ones((48, 2)), SimpleNamespace(), larger) is None
