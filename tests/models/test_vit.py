"""The Vision Transformer."""

import numpy as np
import pytest

from tests.strict_arrays import STRICT
from tinymixer.draws import Draws
from tinymixer.engines.reference import loss_and_gradients
from tinymixer.errors import ConfigError
from tinymixer.models import MixerConfig, VisionTransformer, ViTConfig
from tinymixer.models.summary import layer_rows
from tinymixer.ops import softmax_cross_entropy
from tinymixer.optim import AdamW
from tinymixer.training import load_recipe

SIZES = {"image_size": 8, "patch_size": 4, "hidden_dim": 8, "heads": 2, "channels_mlp_dim": 12, "num_blocks": 2}
RNG = np.random.default_rng(0)


def shaken(**fields):
    model = VisionTransformer(ViTConfig(**SIZES | fields), dtype="float64", seed=1)
    model.parameters.values[...] += RNG.normal(0, 0.3, model.parameters.values.shape)
    return model


@pytest.mark.parametrize(("pool", "tokens"), [("class", 5), ("mean", 4)])
def test_parts_and_counts(pool, tokens):
    model = shaken(pool=pool)
    assert model.config.sequence_length == tokens
    assert model.parameters.shape("positions.embedding") == (tokens, 8)
    assert ("class_token.token" in model.parameters) == (pool == "class")
    assert model.parameters.count == model.config.parameter_count
    rows = layer_rows(model)
    assert sum(row.parameters for row in rows) == model.parameters.count
    assert sum(row.multiply_adds for row in rows) == model.config.multiply_adds
    attention = next(row for row in rows if row.kind == "MultiHeadSelfAttention")
    assert attention.multiply_adds == tokens * 8 * 4 * 8 + 2 * tokens**2 * 8


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_only_the_position_embeddings_know_where_a_patch_is(pool):
    model, image = shaken(pool=pool), RNG.normal(size=(1, 8, 8, 3))
    moved = image[:, :, [4, 5, 6, 7, 0, 1, 2, 3]]  # the left patches to the right
    logits = model.forward(image)[0]
    assert np.abs(model.forward(moved)[0] - logits).max() > 1e-3
    model.parameters["positions.embedding"][...] = 0
    np.testing.assert_allclose(model.forward(moved)[0], model.forward(image)[0], rtol=1e-10)


def test_it_overfits_a_batch_of_32():
    generator = np.random.default_rng(1)
    images, labels = generator.standard_normal((32, 8, 8, 3), "float32"), generator.integers(0, 10, 32)
    model = VisionTransformer(ViTConfig(**SIZES | {"hidden_dim": 32, "channels_mlp_dim": 64}), seed=1)
    optimizer = AdamW(model.parameters, weight_decay=0.0)
    for _ in range(40):
        model.parameters.zero_gradients()
        loss, correct = loss_and_gradients(model, images, labels)
        optimizer.step(5e-3)
    assert loss < 0.05
    assert correct == 32


def test_a_training_step_on_the_strict_library_is_numpys():
    images, labels = RNG.standard_normal((3, 8, 8, 3), "float32"), np.array([1, 0, 9])
    found = []
    for backend in ("numpy", STRICT):
        model = VisionTransformer(ViTConfig(**SIZES, dropout=0.2, drop_path=0.3), backend=backend, seed=1)
        model.parameters.values[...] += model.backend.asarray(
            np.random.default_rng(2).normal(0, 0.1, model.parameters.values.shape).astype("float32")
        )
        logits, cache = model.forward(model.backend.asarray(images), train=True, rng=Draws(7, 0, 0, np.arange(3)))
        _, dlogits = softmax_cross_entropy(logits, model.backend.asarray(labels))
        dimages = model.backward(dlogits, cache)
        found.append([model.backend.to_numpy(array) for array in (logits, dimages, model.parameters.gradients)])
    for ours, strict in zip(*found, strict=True):
        np.testing.assert_array_equal(strict, ours)


def test_a_recipe_gives_its_size_or_takes_a_size_with_a_name():
    nano = load_recipe("cifar10-nano").with_overrides({"architecture": "vit", "pool": "mean"})
    assert nano.model.to_dict() | {"heads": 4, "pool": "mean", "num_blocks": 8, "patch_size": 4} == nano.model.to_dict()
    assert (nano.model.hidden_dim, nano.model.channels_mlp_dim, nano.optimizer.learning_rate) == (108, 432, 2e-3)
    same = load_recipe("cifar10-nano").with_overrides({"architecture": "vit", "hidden_dim": 128})
    assert (same.model.hidden_dim, same.model.channels_mlp_dim, same.size_note) == (128, 512, "")
    best = load_recipe("cifar10-nano").with_overrides({"architecture": "ViT-best"})
    assert (best.architecture, best.model.hidden_dim, best.model.heads) == ("vit", 256, 8)
    with pytest.raises(ConfigError, match="'tokens_mlp_dim' in the recipe is not a field of vit: mlp_mixer has it"):
        load_recipe("cifar10-nano").with_overrides({"architecture": "vit", "tokens_mlp_dim": 8})


def test_wrong_sizes_are_sentences():
    for make in (ViTConfig, lambda **fields: MixerConfig(tokens="attention", **fields)):
        with pytest.raises(ConfigError, match="3 heads do not divide hidden_dim 8: choose heads from 1, 2, 4, 8"):
            make(hidden_dim=8, heads=3)
    assert MixerConfig(hidden_dim=8, heads=3).heads == 3  # which the token MLP does not use
    with pytest.raises(ConfigError, match="'pool' expects one of class, mean"):
        ViTConfig(pool="max")
