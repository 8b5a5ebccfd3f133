"""A configuration that cannot work is refused in a sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import ConfigError
from tinymixer.layers import TOKEN_MIXERS


def test_nano_has_the_published_number_of_parameters():
    assert MixerConfig().parameter_count == 1_132_170


@pytest.mark.parametrize(
    "fields",
    [{}, {"image_size": 8, "in_channels": 1, "patch_size": 2, "hidden_dim": 3, "num_blocks": 1}, {"num_classes": 1}],
)
def test_the_formula_counts_what_the_model_has(fields):
    config = MixerConfig(**fields)
    assert MlpMixer(config).parameters.count == config.parameter_count


@settings(deadline=None)
@given(
    tokens=st.sampled_from(list(TOKEN_MIXERS)),
    side=st.integers(1, 4),
    channels=st.integers(1, 5),
    hidden=st.integers(1, 4),
    blocks=st.integers(1, 3),
)
def test_the_count_is_right_for_every_token_mixer(tokens, side, channels, hidden, blocks):
    config = MixerConfig(
        image_size=side, patch_size=1, hidden_dim=channels, tokens=tokens, tokens_mlp_dim=hidden,
        channels_mlp_dim=hidden + 1, num_blocks=blocks, heads=1,
    )  # fmt: skip
    S, C, DS, DC = config.num_tokens, channels, hidden, hidden + 1
    norm, channel_mixing = 2 * C, 2 * C * DC + DC + C
    token_branch = {
        "mlp": norm + 2 * S * DS + DS + S, "linear": norm + S * S + S, "pool": norm, "none": 0,
        "attention": norm + 4 * C * C + 4 * C,
    }[tokens]  # fmt: skip
    stem_and_head = 4 * C + norm + 10 * (C + 1)
    assert config.parameter_count == stem_and_head + blocks * (token_branch + norm + channel_mixing)
    assert MlpMixer(config).parameters.count == config.parameter_count


def test_an_unknown_token_mixer_suggests_the_nearest():
    with pytest.raises(
        ConfigError, match=r"'tokens' expects one of mlp, linear, pool, attention, none, got 'pol'.*mean 'pool'"
    ):
        MixerConfig(tokens="pol")


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
