"""A configuration that cannot work is refused in a sentence."""

import pytest

from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import ConfigError


def test_nano_has_the_published_number_of_parameters():
    assert MixerConfig().parameter_count == 1_132_170


@pytest.mark.parametrize(
    "fields",
    [{}, {"image_size": 8, "in_channels": 1, "patch_size": 2, "hidden_dim": 3, "num_blocks": 1}, {"num_classes": 1}],
)
def test_the_formula_counts_what_the_model_has(fields):
    config = MixerConfig(**fields)
    assert MlpMixer(config).parameters.count == config.parameter_count


def test_a_round_trip_through_a_dictionary():
    config = MixerConfig(hidden_dim=24, gelu="erf")
    assert MixerConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch_size": 5}, "patch_size 5 does not divide image_size 32: choose one of 1, 2, 4, 8, 16, 32"),
        ({"hidden_dim": 0}, "'hidden_dim' expects 1 or more, got 0"),
        ({"hidden_dim": 2.5}, "'hidden_dim' expects a whole number, got 2.5"),
        ({"num_blocks": True}, "'num_blocks' expects a whole number, got True"),
        ({"dropout": 1.0}, "'dropout' expects less than 1, got 1.0"),
        ({"drop_path": -0.5}, "'drop_path' expects 0 or more"),
        ({"dropout": "much"}, "'dropout' expects a number, got 'much'"),
        ({"drop_path": float("nan")}, "'drop_path' expects a finite number"),
        ({"gelu": "relu"}, "'gelu' expects one of tanh, erf, got 'relu'"),
        ({"layer_norm_eps": 0.0}, "'layer_norm_eps' expects more than 0, got 0.0"),
    ],
)
def test_a_bad_value_is_refused(fields, message):
    with pytest.raises(ConfigError) as caught:
        MixerConfig(**fields)
    assert message in str(caught.value)


def test_an_unknown_field_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"no field 'hiden_dim'. Did you mean 'hidden_dim'\?"):
        MixerConfig.from_dict({"hiden_dim": 3})
