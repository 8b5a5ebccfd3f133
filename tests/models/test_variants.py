"""The variants of the Mixer, by their fields: what each computes, counts, refuses, and who computes it."""

import re

import numpy as np
import pytest

from tests.shaken import shaken
from tinymixer import MixerConfig, MlpMixer
from tinymixer.analysis.token_mixing_weights import as_images
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.engines.cpu import CpuMixer
from tinymixer.errors import ConfigError
from tinymixer.models.resolution import resize_tokens
from tinymixer.ops import gelu_tanh_forward
from tinymixer.pretrained.export import foreign_arrays

SIZES = {"image_size": 8, "patch_size": 4, "hidden_dim": 6, "tokens_mlp_dim": 3, "channels_mlp_dim": 5, "num_blocks": 2}
VARIANTS = {
    "overlap": {"overlap": 2},
    "groups": {"token_groups": 3},
    "gated": {"gated": True},
    "scaled": {"layer_scale": 0.1},
    "all": {"overlap": 1, "token_groups": 2, "gated": True, "layer_scale": 0.5},
}
RNG = np.random.default_rng(0)


def model_of(dtype="float64", **fields):
    return shaken(MixerConfig(**SIZES, **fields), dtype)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_and_products_are_counted(name):
    model = MlpMixer(MixerConfig(**SIZES, **VARIANTS[name]))
    assert model.config.parameter_count == model.parameters.count
    assert f"{model.config.multiply_adds:,}" in model.summary().splitlines()[-1]
    assert model.config.variants == VARIANTS[name]
    assert MixerConfig.from_dict(model.config.to_dict()) == model.config


def test_variants_are_off_by_default():
    assert MixerConfig().variants == {}


def test_groups_mix_their_channels_by_their_own_weights():
    block = model_of(token_groups=3).blocks[0].token_mixing
    x = RNG.standard_normal((4, 2, 6))
    y, _ = block.forward(x)
    for i in range(3):
        own = slice(2 * i, 2 * i + 2)
        np.testing.assert_allclose(y[..., own], block.groups[i].forward(x[..., own])[0], rtol=1e-12)
        changed = x.copy()
        changed[..., own] += 1
        others = [c for c in range(6) if c not in range(*own.indices(6))]
        np.testing.assert_array_equal(block.forward(changed)[0][..., others], y[..., others])


def test_groups_of_equal_weights_are_the_mixer():
    plain, grouped = model_of(), model_of(token_groups=3)
    for name in grouped.parameters:
        grouped.parameters[name][...] = plain.parameters[re.sub(r"token_mixing\.\d", "token_mixing", name)]
    images = RNG.standard_normal((3, 8, 8, 3))
    np.testing.assert_allclose(grouped.forward(images)[0], plain.forward(images)[0], rtol=1e-12, atol=1e-12)


def test_the_gate_multiplies_the_hidden_layer():
    mixing = model_of(gated=True).blocks[1].channel_mixing
    p, x = mixing.parameters, RNG.standard_normal((4, 2, 6))
    hidden = gelu_tanh_forward(x @ p["weight1"] + p["bias1"])[0] * (x @ p["gate_weight"] + p["gate_bias"])
    np.testing.assert_allclose(mixing.forward(x)[0], hidden @ p["weight2"] + p["bias2"], rtol=1e-12)


def test_layer_scale_starts_at_its_value_and_scales_the_branches():
    model = MlpMixer(MixerConfig(**SIZES, layer_scale=0.25), dtype="float64")
    plain = MlpMixer(MixerConfig(**SIZES), dtype="float64")
    for name in plain.parameters:
        model.parameters[name][...] = plain.parameters[name]
    scale = model.parameters["blocks.0.token_scale.scale"]
    np.testing.assert_array_equal(scale, np.full(6, 0.25))
    x, block = RNG.standard_normal((4, 2, 6)), plain.blocks[0]
    middle = x + 0.25 * block.token_mixing.forward(block.token_norm.forward(x)[0])[0]
    expected = middle + 0.25 * block.channel_mixing.forward(block.channel_norm.forward(middle)[0])[0]
    np.testing.assert_allclose(model.blocks[0].forward(x)[0], expected, rtol=1e-12)


def test_a_block_without_token_mixing_has_one_scale():
    model = MlpMixer(MixerConfig(**SIZES, tokens="none", layer_scale=0.25))
    assert [name for name in model.parameters if name.startswith("blocks.0.") and "_scale" in name] == [
        "blocks.0.channel_scale.scale"
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"token_groups": 0}, "'token_groups' expects 1 or more, got 0"),
        ({"token_groups": 4}, "token_groups 4 does not divide hidden_dim 6"),
        ({"token_groups": 2, "tokens": "linear"}, "token_groups is for tokens = mlp, and tokens is linear"),
        ({"layer_scale": -1.0}, "'layer_scale' expects 0 or more, got -1.0"),
    ],
)
def test_what_cannot_be_is_a_sentence(fields, message):
    with pytest.raises(ConfigError) as caught:
        MixerConfig(**SIZES, **fields)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_cpu_engine_takes_overlap_and_names_what_it_does_not_know(name):
    model = model_of("float32", **VARIANTS[name])
    chosen = choose_engine(model, EngineOptions())
    assert chosen.name == ("cpu" if name == "overlap" else "reference")
    if name == "all":
        with pytest.raises(
            ConfigError, match=r"it does not know token_groups = 2 and gated = True and layer_scale = 0\.5"
        ):
            CpuMixer(model)


def test_published_layouts_are_without_variants():
    with pytest.raises(
        ConfigError,
        match=r"timm.* layout is the paper's Mixer, without gated = True: export this model in layout 'tinymixer'",
    ):
        foreign_arrays(model_of("float32", gated=True), "timm")


def test_groups_are_fitted_to_another_grid_and_drawn_as_pictures():
    model = model_of(token_groups=2)
    larger = MixerConfig(**SIZES | {"image_size": 16, "tokens_mlp_dim": 12}, token_groups=2)
    fitted = resize_tokens(model.parameters.to_numpy(), model.config, larger)
    assert fitted.arrays["blocks.1.token_mixing.1.weight1"].shape == (12, 16)
    assert as_images(model, 0).shape == (6, 2, 2)
