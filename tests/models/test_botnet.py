"""BoTNet: a ResNet but for its last stage, its sizes, and its relative positions at another image size."""

import dataclasses

import numpy as np
import pytest

from tinymixer.errors import ConfigError
from tinymixer.layers import RelativeAttention
from tinymixer.models import BoTNet, BoTNetConfig, preset
from tinymixer.models.resolution import resize_tokens
from tinymixer.models.summary import layer_rows
from tinymixer.training.fine_tuning import begin_with
from tinymixer.training.starting_weights import StartingWeights

CONFIG = BoTNetConfig(image_size=8, in_channels=1, width=4, depths="1-1", heads=2)
TABLE = "stages.1.0.branch.attention2.r_height"  # attends at 8 x 8, before the pooling


def test_botnet_50_is_resnet_50_with_attention_in_the_last_three_blocks():
    """Table 1 says 25.5 and 20.8 million, both cut off: a ResNet-50 has 25,557,032."""
    bot, res = preset("BoTNet-50"), preset("ResNet-50")
    inner, tables = 512, 2 * 128 * ((2 * 14 - 1) + 2 * (2 * 7 - 1))  # the first block attends at 14 x 14, then 7 x 7
    assert bot.parameter_count == res.parameter_count - 3 * (9 - 3) * inner**2 + tables == 20_852_008
    attending = [row for row in layer_rows(BoTNet(bot, seed=None)) if row.kind == "RelativeAttention"]
    assert [row.output for row in attending] == [(14, 14, 512), (7, 7, 512), (7, 7, 512)]
    assert attending[1].multiply_adds == 512 * (2 * 49 * 49 + 49 * (7 + 7))  # q k^T and a v; q r^T


def test_what_is_not_the_last_stage_is_a_resnets():
    bot = list(preset("BoTNet-50").parts().items())
    res = list(preset("ResNet-50").parts().items())
    assert [name for name, _ in bot] == [name for name, _ in res]
    differing = [one for (one, part), (_, other) in zip(bot, res, strict=True)
                 if part.specification().keys() != other.specification().keys()]  # fmt: skip
    assert differing == ["stages.3.0", "stages.3.1", "stages.3.2"]


def test_sizes_that_do_not_fit_are_refused_before_anything_is_built():
    with pytest.raises(ConfigError, match="3 heads do not divide the last stage's channels 8: choose heads from 1, 2"):
        dataclasses.replace(CONFIG, heads=3)
    with pytest.raises(ConfigError, match="4 heads do not divide channels 6"):
        RelativeAttention(6, 4, 2, 2)


@pytest.mark.parametrize("block", ["bottleneck", "basic"])
def test_odd_numbers_of_pixels_are_halved_and_rounded_up_as_a_resnet_does(block):
    model = BoTNet(dataclasses.replace(CONFIG, image_size=5, block=block), dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 1))
    for layer in model.chain.layers[:-2]:
        x, _ = layer.forward(x)
    assert x.shape == (2, 3, 3, model.config.features)


def test_relative_positions_are_interpolated_over_the_offsets():
    source, target = BoTNet(CONFIG, seed=1), BoTNet(dataclasses.replace(CONFIG, image_size=16), seed=2)
    weights, said = StartingWeights("RUN", "botnet", CONFIG, source.parameters.to_numpy(), {}), []
    begin_with(target, weights, said.append)
    assert said[-1].startswith("2 tables of relative positions were interpolated from images of 8 pixels a side to 16")
    before, after = (model.parameters[TABLE] for model in (source, target))
    assert (before.shape, after.shape) == ((15, 4), (31, 4))
    np.testing.assert_allclose(after[15], before[7], rtol=1e-6)  # offset 0
    place = 7 + 4 * 15 / 31  # offset 4 of 31 is offset 4 * 15 / 31 of 15
    low = int(place)
    np.testing.assert_allclose(after[19], (low + 1 - place) * before[low] + (place - low) * before[low + 1], rtol=1e-5)
    arrays = source.parameters.to_numpy()
    for change, way in (({}, "auto"), ({"image_size": 16}, "off"), ({"image_size": 16, "width": 8}, "auto")):
        assert resize_tokens(arrays, CONFIG, dataclasses.replace(CONFIG, **change), way).arrays == {}
