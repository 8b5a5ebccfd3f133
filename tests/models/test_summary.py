"""The summary's numbers are those of the papers, and of the layers."""

import pytest

from tinymixer import MixerConfig, MlpMixer
from tinymixer.models import LinearMixer, LinearMixerConfig
from tinymixer.models.summary import layer_rows


def test_mixer_b_16_has_the_paper_s_numbers():
    """59.9 million parameters (table 1) and the 12.6 billion multiply-adds that timm reports for mixer_b16_224."""
    sizes = {"patch_size": 16, "hidden_dim": 768, "tokens_mlp_dim": 384, "channels_mlp_dim": 3072, "num_blocks": 12}
    model = MlpMixer(MixerConfig(image_size=224, num_classes=1000, **sizes), seed=None)
    rows = layer_rows(model)
    assert sum(row.parameters for row in rows) == model.parameters.count == 59_880_472
    assert round(sum(row.multiply_adds for row in rows) / 1e9, 1) == 12.6
    lines = model.summary().splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "multiply-adds"]
    assert lines[3].split() == [
        "blocks.0-11.token_mixing",
        "TokenMixing",
        "196",
        "x",
        "768",
        "1,813,296",
        "1,387,266,048",
    ]
    assert lines[-1].split() == ["all", "MlpMixer", "59,880,472", "12,601,767,936"]


@pytest.mark.parametrize("tokens", ["mlp", "linear", "pool", "none"])
def test_every_token_mixer_is_counted(tokens):
    model = MlpMixer(MixerConfig(num_blocks=2, hidden_dim=16, tokens=tokens))
    assert sum(row.parameters for row in layer_rows(model)) == model.parameters.count
    assert "blocks.0-1.channel_mixing" in model.summary()


def test_blocks_that_differ_are_listed_one_by_one():
    model = LinearMixer(LinearMixerConfig(num_blocks=1, hidden_dim=16))
    assert "blocks.0.token_mixing" in model.summary()


def test_a_model_says_what_it_is():
    model = MlpMixer(MixerConfig(num_blocks=2, hidden_dim=16))
    assert repr(model).startswith("MlpMixer(MixerConfig(image_size=32")
    assert repr(model).endswith(f"{model.parameters.count:,} parameters, float32)")
