"""The weights that SAM looks at, and the way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.optim.test_update_rules import make_parameters
from tests.strict_arrays import STRICT
from tinymixer.optim import SGD, ParameterGroup, perturbed


def optimizer_with_gradients(groups=(), scale=1.0, **keywords):
    parameters = make_parameters(**keywords)
    for place, name in enumerate(parameters.names):
        drawn = np.random.default_rng(place).standard_normal(parameters.shape(name))
        parameters.gradient(name)[...] = parameters.backend.asarray((scale * drawn).astype(parameters.dtype))
    return SGD(parameters, groups=groups)


@given(rho=st.floats(0, 10), scale=st.sampled_from([1e-12, 1.0, 1e12]))
def test_weights_move_by_rho_along_the_gradient_and_come_back_bit_for_bit(rho, scale):
    optimizer = optimizer_with_gradients(scale=scale, dtype="float64")
    values, gradients = optimizer.parameters.values, optimizer.parameters.gradients
    before, length = values.copy(), np.linalg.norm(gradients)
    with perturbed(optimizer, rho, optimizer.gradient_norm()):
        np.testing.assert_allclose(values, before + rho * gradients / length, rtol=1e-12, atol=1e-14)
        gradients.fill(7)  # those of the second pass
    np.testing.assert_array_equal(values, before)


def test_a_gradient_of_zero_moves_nothing():
    optimizer = optimizer_with_gradients(scale=0.0)
    before = optimizer.parameters.values.copy()
    with perturbed(optimizer, 0.1, optimizer.gradient_norm()):
        np.testing.assert_array_equal(optimizer.parameters.values, before)


def test_frozen_parameters_stay_and_their_gradients_do_not_count():
    frozen, *free = make_parameters().names
    optimizer = optimizer_with_gradients([ParameterGroup(frozen, frozen=True)])
    parameters = optimizer.parameters
    before = parameters.to_numpy()
    length = np.sqrt(sum(np.sum(parameters.gradient(name) ** 2) for name in free))
    with perturbed(optimizer, 0.5, optimizer.gradient_norm()):
        np.testing.assert_array_equal(parameters[frozen], before[frozen])
        for name in free:
            expected = before[name] + 0.5 * parameters.gradient(name) / length
            np.testing.assert_allclose(parameters[name], expected, rtol=1e-5, atol=1e-6)


def test_an_error_within_the_block_leaves_the_weights_as_they_were():
    optimizer = optimizer_with_gradients()
    before = optimizer.parameters.values.copy()
    with pytest.raises(RuntimeError), perturbed(optimizer, 0.5, optimizer.gradient_norm()):
        raise RuntimeError
    np.testing.assert_array_equal(optimizer.parameters.values, before)


def test_generic_array_calls_alone_are_used():
    found = []
    for backend in ("numpy", STRICT):
        optimizer = optimizer_with_gradients(backend=backend)
        with perturbed(optimizer, 0.5, optimizer.gradient_norm()):
            found.append(optimizer.parameters.to_numpy())
    for name, ours in found[0].items():
        np.testing.assert_array_equal(found[1][name], ours)
