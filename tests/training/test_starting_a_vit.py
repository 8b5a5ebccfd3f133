"""A Vision Transformer that starts from trained weights: positions at another size, heads, the blocks of a Mixer."""

import dataclasses

import numpy as np
import pytest

from tinymixer.errors import ConfigError
from tinymixer.models import MixerConfig, MlpMixer, VisionTransformer, ViTConfig
from tinymixer.models.resolution import resize_tokens
from tinymixer.training.fine_tuning import begin_with
from tinymixer.training.starting_weights import StartingWeights

CONFIG = ViTConfig(image_size=8, patch_size=4, hidden_dim=8, heads=2, channels_mlp_dim=12, num_blocks=1)


def weights_of(model, architecture="vit"):
    return StartingWeights("RUN", architecture, model.config, model.parameters.to_numpy(), {})


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_position_embeddings_are_interpolated_over_the_grid(pool):
    source = dataclasses.replace(CONFIG, pool=pool)
    target, first = dataclasses.replace(source, image_size=16), int(pool == "class")
    old, new = VisionTransformer(source, seed=1), VisionTransformer(target, seed=2)
    said = []
    begin_with(new, weights_of(old), said.append)
    assert "the position embeddings were interpolated from 2 x 2 to 4 x 4 patches" in said
    before, after = (model.parameters["positions.embedding"] for model in (old, new))
    np.testing.assert_array_equal(after[:first], before[:first])  # the class token's stays
    grid, corners = after[first:].reshape(4, 4, 8), before[first:].reshape(2, 2, 8)
    np.testing.assert_allclose(grid[::3, ::3], corners, rtol=1e-6)  # beyond the old middles the last value goes on
    np.testing.assert_allclose(grid[1, 0], 0.75 * corners[0, 0] + 0.25 * corners[1, 0], rtol=1e-5)


def test_positions_are_left_alone_where_nothing_or_another_thing_changed():
    arrays = VisionTransformer(CONFIG).parameters.to_numpy()
    for change, way in (({}, "auto"), ({"image_size": 16}, "off"), ({"image_size": 16, "pool": "mean"}, "auto")):
        assert resize_tokens(arrays, CONFIG, dataclasses.replace(CONFIG, **change), way).arrays == {}


def test_another_number_of_heads_is_refused_for_it_would_fit_and_mean_something_else():
    for model in (
        VisionTransformer(dataclasses.replace(CONFIG, heads=4)),
        MlpMixer(MixerConfig(image_size=8, hidden_dim=8, tokens="attention", channels_mlp_dim=12)),
    ):
        with pytest.raises(ConfigError, match=r"RUN has 2 heads of self-attention, and this model 4: .* Add --heads 2"):
            begin_with(model, weights_of(VisionTransformer(CONFIG)), print)


def test_the_blocks_of_a_mixer_with_attention_are_a_vits():
    fields = {name: value for name, value in CONFIG.to_dict().items() if name != "pool"}
    mixer = MlpMixer(MixerConfig(**fields, tokens="attention"), seed=1)
    model, said = VisionTransformer(dataclasses.replace(CONFIG, pool="mean"), seed=2), []
    begin_with(model, weights_of(mixer, "mlp_mixer"), said.append)
    assert "newly initialised: positions.embedding" in said[0]
    for name, array in mixer.parameters.to_numpy().items():
        np.testing.assert_array_equal(model.parameters[name], array)
    model.parameters["positions.embedding"][...] = 0
    images = np.random.default_rng(0).standard_normal((3, 8, 8, 3), "float32")
    np.testing.assert_array_equal(model.forward(images)[0], mixer.forward(images)[0])
