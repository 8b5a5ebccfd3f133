"""The pictures of models: for a lesson, with an image and probabilities, and for a page; and those in docs/."""

import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch

from tinymixer.analysis.curves import INK
from tinymixer.analysis.model_diagram import draw_model, model_diagram
from tinymixer.analysis.model_picture import model_picture
from tinymixer.analysis.parts_of_models import parts_of
from tinymixer.errors import CheckpointError, ConfigError, ShapeError
from tinymixer.models import LinearMixer, LinearMixerConfig, MixerConfig, MlpMixer, preset
from tinymixer.models.image_config import PatchConfig

NAMES = ["cat", "dog", "bird"]
DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"

MIXER = MixerConfig(image_size=8, patch_size=2, hidden_dim=4, num_blocks=8)
LINEAR = LinearMixerConfig(image_size=8, patch_size=2, hidden_dim=4, num_blocks=3)


def _picture(channels=3, model=MIXER, probabilities=(0.2, 0.7, 0.1)):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, channels), dtype=np.uint8)
    return model_picture(model, image, np.array(probabilities), NAMES)


def _words(figure, axes=1):
    return [text.get_text().replace("\n", " ") for text in figure.axes[axes].texts if text.get_text()]


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
    figure = _picture()
    image, parts, bars = figure.axes
    words = [*parts.texts, image.title, bars.title, *bars.get_yticklabels(), *model_diagram(MIXER).axes[0].texts]
    assert {text.get_color() for text in words if text.get_text()} == {INK}
    assert all(axes.get_facecolor()[3] == 0 for axes in (image, parts, bars) if axes.axison)
    assert figure.patch.get_alpha() == 0


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (MlpMixer(MIXER), ["token mixing", "channel mixing"]),
        (replace(MIXER, tokens="linear"), ["token Linear", "channel mixing"]),
        (replace(MIXER, tokens="attention"), ["self- attention", "channel mixing"]),
        (replace(MIXER, tokens="none", gated=True), ["gated channel mixing"]),
        (LINEAR, ["token Linear", "channel Linear"]),
        (LinearMixer(LINEAR), ["token Linear", "channel Linear"]),
    ],
)
def test_a_row_has_the_parts_of_a_block_in_its_frame(model, parts):
    times = 3 if "Linear" in parts[-1] else 8
    expected = ["patches (S, B, P·P·channels)", "stem (S, B, C)", f"a block, {times} times", *parts]
    assert _words(_picture(model=model)) == [*expected, "mean (B, C)", "head (B, K)"]


def test_a_row_of_stages():
    figure = _picture(model=preset("R18-nano"))
    assert (figure.axes[0].get_title(), len(figure.axes[0].lines)) == ("image", 0)
    assert _words(figure) == [
        "stem (B, 32, 32, 20)", "stage 1: 2 blocks (B, 32, 32, 20)", "stage 2: 2 blocks (B, 16, 16, 40)",
        "stage 3: 2 blocks (B, 8, 8, 80)", "stage 4: 2 blocks (B, 4, 4, 160)", "global average pooling (B, C)",
        "head (B, K)",
    ]  # fmt: skip


def test_refuses_sizes_that_do_not_fit_and_models_it_does_not_know():
    with pytest.raises(ConfigError, match="there is no picture of PatchConfig"):
        _picture(model=PatchConfig())
    with pytest.raises(ShapeError, match="whole patches of 4 x 4"):
        _picture(model=replace(MIXER, patch_size=4))
    with pytest.raises(ShapeError, match="an image with 1 or 3 channels, got"):
        _picture(model=preset("R18-nano"), channels=2)
    with pytest.raises(ShapeError, match="one per class"):
        _picture(probabilities=(0.5, 0.5))


EVERY_PART = replace(MIXER, overlap=1, untied_groups=2, gated=True, layer_scale=0.1, whitened_stem=True)


@pytest.mark.parametrize("config", [EVERY_PART, preset("ResNet-50")])
def test_on_a_page_words_stay_in_their_boxes_and_boxes_apart(config):
    figure = model_diagram(config)
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    shapes = [patch.get_window_extent(renderer) for patch in axes.patches]
    boxes = [
        extent
        for patch, extent in zip(axes.patches, shapes, strict=True)
        if isinstance(patch, FancyBboxPatch) and extent.width > 40
    ]
    page = figure.bbox
    for extent in shapes:
        assert 0 <= extent.x0 < extent.x1 <= page.width
        assert 0 <= extent.y0 < extent.y1 <= page.height
    for text in filter(lambda text: text.get_text(), axes.texts):  # an arrow has none
        words = text.get_window_extent(renderer)
        assert 0 <= words.x0 < words.x1 <= page.width
        for box in boxes:
            assert _holds(box, words) or not box.overlaps(words), text.get_text()
    for index, box in enumerate(boxes):  # apart, or one in the other's frame
        for other in boxes[:index]:
            assert _holds(box, other) or _holds(other, box) or not box.overlaps(other)


def _holds(outer, inner):
    return outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0 and inner.y1 <= outer.y1


def test_the_same_model_gives_the_same_file(tmp_path):
    first, second = tmp_path / "first.svg", tmp_path / "second.SVG"
    assert draw_model(LINEAR, first) == draw_model(LinearMixer(LINEAR), second)
    assert first.read_bytes() == second.read_bytes()
    assert b"<title>linear Mixer, " in first.read_bytes()
    with pytest.raises(CheckpointError, match="nothing was written"):
        draw_model(MIXER, tmp_path / "missing" / "model.svg")


@pytest.mark.parametrize(
    ("file", "name"), [("vit", "ViT-nano"), ("resnet", "R18-nano"), ("bit", "BiT-nano"), ("nf_resnet", "NF-nano")]
)
def test_the_pictures_in_docs_are_those_of_the_models(file, name):
    """Where this fails: `tinymixer models NAME --picture docs/FILE.svg`."""
    committed = ElementTree.parse(DOCS / f"{file}.svg")
    assert committed.find(f"{SVG}title").text == parts_of(preset(name)).in_words
    drawn = [text.get_text() for text in model_diagram(preset(name)).axes[0].texts]
    assert sorted(text.text for text in committed.iter(f"{SVG}text")) == sorted(filter(None, drawn))
    assert (DOCS / f"{file}.svg").stat().st_size < 60_000
