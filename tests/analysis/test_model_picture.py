"""The picture of a Mixer: what it shows, and what it refuses."""

import io
from dataclasses import replace

import numpy as np
import pytest

from tinymixer.analysis.curves import INK
from tinymixer.analysis.mixer_picture import mixer_picture
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.models import LinearMixer, LinearMixerConfig, MixerConfig, MlpMixer
from tinymixer.models.image_config import PatchConfig

NAMES = ["cat", "dog", "bird"]


MIXER = MixerConfig(image_size=8, patch_size=2, hidden_dim=4, num_blocks=8)
LINEAR = LinearMixerConfig(image_size=8, patch_size=2, hidden_dim=4, num_blocks=3)


def _picture(channels=3, model=MIXER, probabilities=(0.2, 0.7, 0.1)):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, channels), dtype=np.uint8)
    return mixer_picture(model, image, np.array(probabilities), NAMES)


def _words(figure):
    return [text.get_text().replace("\n", " ") for text in figure.axes[1].texts]


@pytest.mark.parametrize("channels", [1, 3])
def test_shows_patches_blocks_and_probabilities(channels):
    figure = _picture(channels)
    image, parts, bars = figure.axes
    assert image.get_title() == "6 patches"
    assert len(image.lines) == 1 + 2  # one cut across, two down
    assert "a block, 8 times" in [text.get_text() for text in parts.texts]
    assert [bar.get_width() for bar in bars.patches] == [0.2, 0.7, 0.1]
    assert [label.get_text() for label in bars.get_yticklabels()] == NAMES
    figure.savefig(file := io.BytesIO(), format="png")
    assert file.getvalue().startswith(b"\x89PNG")


def test_words_are_legible_on_white_and_on_black():
    image, parts, bars = _picture().axes
    words = [*parts.texts, image.title, bars.title, *bars.get_yticklabels()]
    assert {text.get_color() for text in words if text.get_text()} == {INK}
    assert all(axes.get_facecolor()[3] == 0 for axes in (image, parts, bars) if axes.axison)


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (MlpMixer(MIXER), ["token mixing", "channel mixing"]),
        (replace(MIXER, tokens="linear"), ["token Linear", "channel mixing"]),
        (replace(MIXER, tokens="pool"), ["token pooling", "channel mixing"]),
        (replace(MIXER, tokens="none"), ["channel mixing"]),
        (LINEAR, ["token Linear", "channel Linear"]),
        (LinearMixer(LINEAR), ["token Linear", "channel Linear"]),
    ],
)
def test_shows_the_parts_of_a_block_of_either_model(model, parts):
    words = _words(_picture(model=model))
    assert words[: len(parts)] == parts
    assert f"a block, {8 if 'mixing' in parts[-1] else 3} times" in words
    assert sum(word.startswith(("token ", "channel ")) for word in words) == len(parts)


def test_refuses_sizes_that_do_not_fit_and_models_it_does_not_know():
    with pytest.raises(ConfigError, match="of an MlpMixer and of a LinearMixer, got PatchConfig"):
        _picture(model=PatchConfig())
    with pytest.raises(ShapeError, match="whole patches of 4 x 4"):
        _picture(model=replace(MIXER, patch_size=4))
    with pytest.raises(ShapeError, match="one per class"):
        _picture(probabilities=(0.5, 0.5))
