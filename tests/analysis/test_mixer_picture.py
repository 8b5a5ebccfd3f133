"""The picture of a Mixer: what it shows, and what it refuses."""

import io

import numpy as np
import pytest

from tinymixer.analysis.curves import INK
from tinymixer.analysis.mixer_picture import mixer_picture
from tinymixer.errors import ShapeError

NAMES = ["cat", "dog", "bird"]


def _picture(channels=3, patch_size=2, probabilities=(0.2, 0.7, 0.1)):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, channels), dtype=np.uint8)
    return mixer_picture(image, patch_size, blocks=8, probabilities=np.array(probabilities), class_names=NAMES)


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


def test_refuses_sizes_that_do_not_fit():
    with pytest.raises(ShapeError, match="whole patches of 4 x 4"):
        _picture(patch_size=4)
    with pytest.raises(ShapeError, match="one per class"):
        _picture(probabilities=(0.5, 0.5))
