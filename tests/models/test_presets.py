"""The published sizes have the paper's numbers."""

import numpy as np
import pytest

from tinymixer.errors import ConfigError
from tinymixer.layers.token_mixing import TOKEN_MIXERS
from tinymixer.models import PRESETS, MixerConfig, MlpMixer, make_model, preset
from tinymixer.models.presets import find_preset

PAPER = {  # parameters without the head
    "S/32": 18_591_624,
    "S/16": 18_015_264,
    "B/32": 59_524_428,
    "B/16": 59_111_472,
    "L/32": 205_914_264,
    "L/16": 207_171_168,
    "H/14": 431_069_952,
}


def test_parameter_counts_are_exact():
    mixers = [name for name, found in PRESETS.items() if found.architecture == "mlp_mixer"]
    assert mixers == ["S/32", "S/16", "S/8", "B/32", "B/16", "L/32", "L/16", "H/14"]
    for name, count in PAPER.items():
        assert preset(name).parameter_count_without_head == count, name
    assert preset("B/16").parameter_count == 59_880_472
    assert preset("S/8").num_tokens == 784


def test_parameter_counts_of_vision_transformers_are_exact():
    assert preset("ViT-S/16").parameter_count == 22_050_664
    assert preset("ViT-nano").parameter_count == pytest.approx(1_132_170, rel=0.025)  # cifar10-nano's
    assert preset("ViT-best").parameter_count == pytest.approx(4.4e6, rel=0.025)
    assert (preset("ViT-nano").num_classes, preset("ViT-nano", 100).num_classes) == (10, 100)


def test_parameter_counts_of_convolutional_networks_are_exact():
    assert preset("ResNet-18").parameter_count == 11_689_512
    assert preset("resnet_50").parameter_count == 25_557_032
    assert preset("BoTNet-50").parameter_count == 20_852_008
    for name in ("R18", "BiT", "NF", "BoT"):
        assert preset(f"{name}-nano").parameter_count == pytest.approx(1_132_170, rel=0.05)
        assert preset(f"{name}-best").parameter_count == pytest.approx(4.4e6, rel=0.025)


@pytest.mark.parametrize("name", ["S/32", "B/16", "ViT-S/16"])
def test_counts_are_those_of_a_model_that_is_built(name):
    model = make_model(PRESETS[name].architecture, preset(name), seed=None)
    assert model.parameters.count == model.config.parameter_count
    assert model.multiply_adds == model.config.multiply_adds


@pytest.mark.parametrize("tokens", list(TOKEN_MIXERS))
def test_multiply_adds_of_every_token_mixing_are_those_counted_in_the_layers(tokens):
    config = MixerConfig(hidden_dim=24, tokens=tokens, tokens_mlp_dim=7, channels_mlp_dim=10, num_blocks=2, overlap=1)
    assert config.multiply_adds == MlpMixer(config, seed=None).multiply_adds


def test_multiply_adds_of_convolutional_networks_are_those_of_the_paper():
    """4.1 billion for a ResNet-50 and 1.8 billion for a ResNet-18 (He et al. 2016, table 1, where they say FLOPs)."""
    assert make_model("resnet", preset("ResNet-50"), seed=None).multiply_adds == 4_089_184_256
    assert make_model("resnet", preset("ResNet-18"), seed=None).multiply_adds == 1_814_073_344


def test_the_largest_models_are_built_without_being_drawn_and_take_one_image():
    """A tenth of the blocks of L/16 and H/14, at full width: the test suite has no room for the whole."""
    for name in ("L/16", "H/14"):
        config = preset(name, num_classes=7, num_blocks=2)
        logits, _ = MlpMixer(config, seed=None).forward(np.zeros((1, 224, 224, 3), np.float32))
        assert logits.shape == (1, 7)


def test_fields_can_be_changed():
    config = preset("s_16", num_classes=10, gelu="erf", image_size=64)
    assert (config.num_classes, config.gelu, config.num_tokens, config.hidden_dim) == (10, "erf", 16, 512)


@pytest.mark.parametrize("written", ["B/16", "b/16", "B_16", "Mixer-B_16", " B-16 "])
def test_ways_of_writing_a_name(written):
    assert find_preset(written) is PRESETS["B/16"]
    assert find_preset("vit_s_16") is find_preset("ViT-S/16") is PRESETS["ViT-S/16"]


def test_unknown_names_and_fields():
    with pytest.raises(ConfigError, match=r"no preset 'B/17': expected one of S/32.*Did you mean 'B/16'"):
        preset("B/17")
    with pytest.raises(ConfigError, match="has no field 'depth'"):
        preset("B/16", depth=3)
