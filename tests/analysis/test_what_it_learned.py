"""What lesson 12 looks at a trained model with: token-mixing weights, saliency, occlusion, influence between tokens."""

import numpy as np
import pytest

from tinymixer import MixerConfig, MlpMixer
from tinymixer.analysis.saliency import occlusion, saliency
from tinymixer.analysis.token_influence import grid_distances, token_influence
from tinymixer.analysis.token_mixing_weights import as_images, cosines, opposite_pairs, opposite_phases
from tinymixer.errors import ShapeError
from tinymixer.layers import MixerBlock

CONFIG = MixerConfig(
    image_size=6, in_channels=2, patch_size=2, hidden_dim=5, tokens_mlp_dim=4, channels_mlp_dim=7, num_blocks=2,
    num_classes=3,
)  # fmt: skip


@pytest.fixture
def model():
    model = MlpMixer(CONFIG, dtype="float64", seed=1)
    model.parameters["head.weight"][...] = np.random.default_rng(2).normal(size=(5, 3))
    model.parameters.gradients[...] = 7.0
    return model


def images(count=3):
    return np.random.default_rng(3).normal(size=(count, 6, 6, 2))


def test_a_unit_is_an_image_of_the_patch_grid(model):
    pictures = as_images(model, 1)
    assert pictures.shape == (4, 3, 3)
    weight = model.parameters["blocks.1.token_mixing.weight1"]  # (DS, S)
    assert pictures[2, 1, 0] == weight[2, 3]  # tokens go row by row
    pictures[...] = 0
    assert np.any(weight)  # a copy


def test_partners_are_the_most_nearly_opposite():
    weights = np.array([[1.0, 0.0], [-3.0, 0.1], [0.0, 2.0], [0.2, -1.0], [0.0, 0.0]])  # (D, S)
    partner, cosine = opposite_phases(weights)
    assert list(partner[:4]) == [1, 0, 3, 2]
    assert cosine[0] == pytest.approx(-3 / np.hypot(3, 0.1))
    assert cosine[4] == 0  # a unit without weights
    assert np.allclose(np.diag(cosines(weights))[:4], 1)
    with pytest.raises(ShapeError, match="two units"):
        cosines(weights[:1])


def test_pairs_are_disjoint_and_sorted():
    weights = np.random.default_rng(4).normal(size=(7, 3, 3))  # (DS, height / P, width / P)
    pairs = opposite_pairs(weights)
    members = [unit for one, other, _ in pairs for unit in (one, other)]
    assert len(pairs) == 3
    assert len(set(members)) == 6
    assert [cosine for *_, cosine in pairs] == sorted(cosine for *_, cosine in pairs)
    assert pairs[0][2] == cosines(weights).min()


def test_saliency_is_the_derivative_of_the_logit(model):
    pixels, classes = images(), np.array([2, 0, 2])
    slope = saliency(model, pixels, classes)
    direction = np.random.default_rng(5).normal(size=pixels.shape)
    up, down = (model.forward(pixels + h * direction)[0][np.arange(3), classes] for h in (1e-5, -1e-5))
    assert np.allclose((up - down) / 2e-5, np.sum(slope * direction, axis=(1, 2, 3)), rtol=1e-6, atol=1e-9)
    assert np.all(model.parameters.gradients == 7.0)


def test_occlusion_of_a_sum_is_what_was_covered():
    image = images(1)[0]
    fall = occlusion(lambda pictures: pictures.sum(axis=(1, 2, 3)), image, size=2)
    assert fall.shape == (3, 3)
    assert fall[1, 2] == pytest.approx(image[2:4, 4:6].sum())
    grey = occlusion(lambda pictures: pictures.sum(axis=(1, 2, 3)), image, size=3, fill=1.0)
    assert grey[0, 1] == pytest.approx(image[:3, 3:].sum() - 18)
    with pytest.raises(ShapeError, match="do not tile"):
        occlusion(lambda pictures: pictures.sum(axis=(1, 2, 3)), image, size=4)


def test_influence_is_the_squared_jacobian():
    block = MixerBlock(CONFIG.block_sizes, dtype="float64")
    x = np.random.default_rng(6).normal(size=(9, 1, 5))  # (S, B, C)
    jacobian = np.zeros((45, 45))
    for column in range(45):
        step = np.zeros(45)
        step[column] = 1e-6
        up, down = (block.forward(x + sign * step.reshape(x.shape))[0] for sign in (1, -1))
        jacobian[:, column] = ((up - down) / 2e-6).ravel()
    exact = np.sum(jacobian.reshape(9, 5, 9, 5) ** 2, axis=(1, 3))  # (S, S)
    draws = [token_influence([block], x, np.random.default_rng(seed)) for seed in range(400)]
    assert np.allclose(np.mean(draws, axis=0), exact, rtol=0.3, atol=0.02 * exact.max())
    assert not np.any(block.parameters.gradients)


def test_tokens_without_mixing_hear_only_themselves():
    block = MixerBlock(CONFIG.block_sizes, dtype="float64")
    block.parameters["token_mixing.weight2"][...] = 0
    x = np.random.default_rng(7).normal(size=(9, 2, 5))  # (S, B, C)
    influence = token_influence([block, block], x, np.random.default_rng(0), tokens=[4, 0])
    assert influence.shape == (2, 9)
    assert np.all((influence > 0) == np.eye(9, dtype=bool)[[4, 0]])


def test_distances_on_the_grid():
    distances = grid_distances(3)
    assert distances.shape == (9, 9)
    assert distances[0, 8] == pytest.approx(np.sqrt(8))
    assert distances[1, 4] == 1
    assert np.array_equal(distances, distances.T)
