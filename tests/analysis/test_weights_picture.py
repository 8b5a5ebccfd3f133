"""The picture of a model's weights: the order of its images, their colours, and where they stand."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from tinymixer import MixerConfig, MlpMixer
from tinymixer.analysis.weights_picture import (
    coloured,
    columns_for,
    draw_weights,
    fineness,
    in_pairs,
    mosaic,
    panels_of,
    stem_filters,
)
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models import LinearMixer, LinearMixerConfig, Model

SIZES = {"image_size": 8, "patch_size": 2, "hidden_dim": 5, "num_blocks": 2}
ROWS, COLUMNS = np.mgrid[:8, :8]


def wave(cycles, phase=0.0):
    return np.sin(2 * np.pi * cycles * COLUMNS / 8 + phase)


def test_fineness_is_the_frequency_of_a_wave():
    images = np.stack([np.ones((8, 8)), wave(1), wave(3), np.zeros((8, 8)), (-1.0) ** (ROWS + COLUMNS)])
    np.testing.assert_allclose(fineness(images), [0, 1 / 8, 3 / 8, 0, np.hypot(0.5, 0.5)], atol=1e-12)
    np.testing.assert_allclose(fineness(np.stack([images, images], axis=3)), fineness(images), atol=1e-12)


def test_opposites_stand_side_by_side_and_coarse_patterns_first():
    fine, coarse, alone = wave(3), wave(1), wave(2, 1.0)
    units = np.stack([fine, coarse, alone, -2 * fine, -0.5 * coarse])
    order = in_pairs(units).tolist()
    assert [sorted(order[:2]), sorted(order[2:4]), order[4:]] == [[1, 4], [0, 3], [2]]
    assert in_pairs(units[:1]).tolist() == [0]


def test_colours():
    shades = coloured(np.array([[[[0.0, 2.0, -2.0]]], [[[0.0, 0.0, 0.0]]]]))  # (2, 1, 1, 3)
    np.testing.assert_allclose(shades[:, 0, 0], [[0.5, 1, 0, 1], [0.5, 0.5, 0.5, 1]])
    red, white, blue = coloured(np.array([[[3.0, 0.0, -3.0]]]))[0, 0]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert white.min() > 0.95
    np.testing.assert_array_equal(coloured(np.ones((1, 2, 2, 1))), coloured(np.ones((1, 2, 2))))


def test_where_images_stand():
    images = np.stack([np.full((2, 3, 4), number / 10) for number in range(1, 5)])
    apart = mosaic(images)  # two in a row
    assert apart.shape == (5, 7, 4)
    np.testing.assert_array_equal(apart[[0, 0, 3, 3], [0, 4, 0, 4], 0], [0.1, 0.2, 0.3, 0.4])
    assert not apart[2].any()
    assert not apart[:, 3].any()
    wide = mosaic(np.ones((16, 1, 1, 4)), pairs=True)  # four in a row
    assert wide[0, :, 3].tolist() == [1, 0, 1, 0, 0, 1, 0, 1]
    assert [columns_for(count, 9, 9) for count in (1, 2, 3, 64, 256, 384, 512)] == [1, 2, 2, 8, 16, 16, 22]


def test_every_weight_is_in_the_picture():
    model = MlpMixer(MixerConfig(**SIZES, tokens_mlp_dim=6), seed=1)
    panels, notes = panels_of(model, 5)
    assert [title for title, _ in panels] == [
        "block 0, token mixing: 6 units of 4 x 4 tokens",
        "block 1, token mixing: 6 units of 4 x 4 tokens",
        "stem: 5 filters of 2 x 2 pixels",
    ]
    assert notes == []
    assert int(panels[0][1][..., 3].sum()) == 6 * 16
    assert int(panels[2][1][..., 3].sum()) == 5 * 4
    weight = model.parameters["stem.weight"]  # (P*P*channels, C)
    found = stem_filters(model).reshape(5, -1)
    assert sorted(map(tuple, found)) == sorted(map(tuple, weight.T))


@pytest.mark.parametrize("tokens", ["mlp", "linear", "pool", "none"])
def test_it_is_drawn_for_every_token_mixer(tmp_path, tokens):
    notes = draw_weights(MlpMixer(MixerConfig(**SIZES, tokens=tokens)), tmp_path / "weights.png", 1)
    assert bool(notes) == (tokens in ("pool", "none"))
    assert imread(tmp_path / "weights.png").shape[2] == 4


def test_models_without_such_weights(tmp_path):
    draw_weights(LinearMixer(LinearMixerConfig(**SIZES)), tmp_path / "weights.png")
    with pytest.raises(ConfigError, match="of mlp_mixer and linear_mixer, not of Model"):
        draw_weights(Model({}), tmp_path / "other.png")
    model = MlpMixer(MixerConfig(**SIZES))
    with pytest.raises(ConfigError, match="at least 1 block"):
        draw_weights(model, tmp_path / "other.png", 0)
    with pytest.raises(CheckpointError, match="could not be saved"):
        draw_weights(model, tmp_path / "missing" / "other.png")
