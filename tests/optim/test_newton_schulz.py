"""Newton-Schulz against the singular value decomposition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strict_arrays import STRICT
from tinymixer.optim.newton_schulz import FIVE_STEPS, THREE_STEPS, newton_schulz

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))
BOUNDS = [  # coefficients, singular values from .. 1 that end between .. and ..
    (FIVE_STEPS, 0.01, 0.68, 1.14),
    (THREE_STEPS, 0.02, 0.90, 1.10),
]


def by_decomposition(matrix, coefficients):
    """U diag(p(s)) V^T, with the polynomials applied to the singular values themselves."""
    u, s, vt = np.linalg.svd(matrix / np.linalg.norm(matrix), full_matrices=False)
    for a, b, c in coefficients:
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ vt


@given(shape=SHAPES, seed=st.integers(0, 1000), coefficients=st.sampled_from([THREE_STEPS, FIVE_STEPS]))
def test_singular_vectors_stay_and_singular_values_go_through_the_polynomial(shape, seed, coefficients):
    matrices = np.random.default_rng(seed).standard_normal(shape)
    result = newton_schulz(matrices, coefficients)
    assert result.shape == shape
    for ours, matrix in zip(result, matrices, strict=True):
        np.testing.assert_allclose(ours, by_decomposition(matrix, coefficients), atol=1e-9)


@pytest.mark.parametrize(("coefficients", "smallest", "low", "high"), BOUNDS)
def test_singular_values_end_near_one(coefficients, smallest, low, high):
    """On the whole interval, which is what makes the result close to U V^T."""
    values = np.geomspace(smallest, 1, 100_000)
    for a, b, c in coefficients:
        values = a * values + b * values**3 + c * values**5
    assert low < values.min() < low + 0.02
    assert high - 0.02 < values.max() < high


def test_the_three_steps_are_the_best_quintics_of_their_intervals():
    """Chebyshev: the best one with three coefficients has four points of equal and alternating largest error."""
    low, high = 0.02, 1.0
    for a, b, c in THREE_STEPS:
        x = np.geomspace(low, high, 200_001)
        error = a * x + b * x**3 + c * x**5 - 1
        inner = np.flatnonzero(np.diff(np.sign(np.diff(error)))) + 1
        extremes = error[[0, *inner, -1]]
        assert len(extremes) == 4
        np.testing.assert_allclose(extremes, np.abs(extremes).max() * np.array([-1, 1, -1, 1]), atol=2e-3)
        low, high = 1 - np.abs(extremes).max(), 1 + np.abs(extremes).max()


def test_five_steps_are_near_the_polar_factor():
    matrix = np.random.default_rng(1).standard_normal((24, 60))
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    ours = newton_schulz(matrix[None], FIVE_STEPS)[0]
    assert np.linalg.norm(ours - u @ vt) / np.linalg.norm(u @ vt) < 0.25
    assert np.abs(np.linalg.svd(ours, compute_uv=False) - 1).max() < 0.33


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_stays_zeros_stay_and_the_input_is_not_written_to(dtype):
    matrices = np.zeros((2, 3, 4), dtype)
    matrices[0] = np.random.default_rng(0).standard_normal((3, 4))
    before = matrices.copy()
    result = newton_schulz(matrices)
    assert result.dtype == dtype
    assert not result[1].any()
    np.testing.assert_array_equal(matrices, before)


def test_generic_array_calls_alone_are_used():
    matrices = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    ours = STRICT.to_numpy(newton_schulz(STRICT.asarray(matrices)))
    np.testing.assert_array_equal(ours, newton_schulz(matrices))
