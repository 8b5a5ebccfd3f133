"""The roundings against NumPy's own formats, and the magnitudes against sums by hand."""

import numpy as np
import pytest

from tests.kernels.formats import rounded
from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.backend import Backend
from tinymixer.engines.cuda.rounded_layers import (
    ROUNDINGS,
    magnitude_operations,
    moved,
    rounded_operations,
    to_bfloat16,
    to_float16,
    to_tf32,
)
from tinymixer.engines.gradients import loss_and_gradients

SPREAD = np.random.default_rng(0).standard_normal(1001) * 10.0 ** np.arange(-3, 4).repeat(143)
VALUES = np.concatenate([SPREAD, [0.0, -0.0, 1.0, -2.5]]).astype(np.float32)
CONFIG = MixerConfig(image_size=8, patch_size=4, hidden_dim=8, tokens_mlp_dim=6, channels_mlp_dim=12, num_blocks=2)


def test_rounding_is_the_formats_own():
    np.testing.assert_array_equal(to_bfloat16(VALUES), rounded(VALUES, "__nv_bfloat16"))
    np.testing.assert_array_equal(to_float16(VALUES), rounded(VALUES, "__half"))
    tf32 = to_tf32(VALUES)
    assert not (tf32.view(np.uint32) & 0x1FFF).any()
    assert np.all(np.abs(tf32 - VALUES) <= 2.0**-11 * np.abs(VALUES))


@pytest.mark.parametrize("salt", [1, 2])
def test_moving_stays_within_the_unit_and_goes_either_way(salt):
    away = (moved(VALUES, 2.0**-8, salt) - VALUES)[VALUES != 0] / VALUES[VALUES != 0]
    assert np.abs(away).max() <= 2.0**-8 * 1.001
    assert abs(away.mean()) < 2.0**-8 * 0.06
    assert np.std(away) == pytest.approx(2.0**-8 / np.sqrt(3), rel=0.1)
    assert not np.array_equal(moved(VALUES, 2.0**-8, salt), moved(VALUES, 2.0**-8, salt + 1))


def gradients(operations, dtype="float32"):
    model = MlpMixer(CONFIG, backend=Backend("test", np, operations), dtype=dtype, seed=1)
    model.parameters["head.weight"][...] = np.random.default_rng(0).standard_normal((8, 10))
    rng = np.random.default_rng(2)
    images, labels = rng.standard_normal((5, 8, 8, 3)).astype(dtype), rng.integers(0, 10, 5)
    loss_and_gradients(model, images, labels)
    return model.parameters.to_numpy(model.parameters.gradients)


def distance(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.mark.parametrize(
    ("precision", "low", "high"), [("tf32", 1e-4, 1e-2), ("bfloat16", 1e-3, 1e-1), ("float16", 1e-4, 1e-2)]
)
def test_rounded_layers_are_as_far_away_as_their_format(precision, low, high):
    exact = gradients(ops, "float64")
    found = [gradients(rounded_operations(r)) for r in (ROUNDINGS[precision], ROUNDINGS[precision].salted(1))]
    for each in found:
        assert low < distance(each["stem.weight"], exact["stem.weight"]) < high
        assert distance(each["head.weight"], exact["head.weight"]) < high
    assert not np.array_equal(found[0]["stem.weight"], found[1]["stem.weight"])


def test_float32_is_not_rounded():
    for name, gradient in gradients(rounded_operations(ROUNDINGS["float32"])).items():
        np.testing.assert_array_equal(gradient, gradients(ops)[name])


def test_magnitudes_are_the_squares_of_the_terms():
    rng = np.random.default_rng(0)
    x, dy, weight = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 2)), rng.standard_normal((5, 2))
    dx, squares, bias = magnitude_operations().linear_backward(dy, (x, weight))
    np.testing.assert_allclose(dx, dy @ weight.T)
    np.testing.assert_allclose(squares, np.einsum("sbi,sbo->io", x**2, dy**2))
    np.testing.assert_allclose(bias, (dy**2).sum((0, 1)))
    found = gradients(magnitude_operations(), "float64")
    exact = gradients(ops, "float64")
    assert np.abs(exact["blocks.0.token_mixing.bias2"]).max() < 1e-15
    assert found["blocks.0.token_mixing.bias2"].min() > 1e-9
