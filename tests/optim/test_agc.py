"""Adaptive gradient clipping: by units, in proportion to the weights, and as an option of a recipe."""

import numpy as np
import pytest

from tests.strict_arrays import STRICT
from tests.training.small_runs import small_dataset, small_recipe
from tinymixer.errors import ConfigError
from tinymixer.layers.initialisation import ones
from tinymixer.models import NfResNet, NfResNetConfig
from tinymixer.optim import SGD
from tinymixer.optim.agc import clip_adaptively
from tinymixer.parameters import Parameters, ParameterSpec
from tinymixer.training import Trainer
from tinymixer.training.build import make_optimizer

SPECIFICATION = {
    "body.weight": ParameterSpec((3, 3, 2, 4), ones),
    "body.bias": ParameterSpec((4,), lambda generator, shape: np.zeros(shape)),
    "head.weight": ParameterSpec((4, 2), ones),
}


def parameters(backend="numpy"):
    made = Parameters(SPECIFICATION, backend, "float64")
    generator = np.random.default_rng(0)
    for name in made:
        made.gradient(name)[...] = made.backend.asarray(generator.normal(size=made.shape(name)))
    return made


def test_each_units_gradient_is_bounded_by_its_weights():
    made = parameters()
    made["body.weight"][..., 3] = 1e4  # large weights: nothing to clip
    before = {name: made.gradient(name).copy() for name in made}
    clip_adaptively(made, 0.1)
    for unit in range(4):
        given, clipped = before["body.weight"][..., unit], made.gradient("body.weight")[..., unit]
        norm = np.linalg.norm(made["body.weight"][..., unit])
        ratio = min(1, 0.1 * norm / np.linalg.norm(given))
        np.testing.assert_allclose(clipped, ratio * given, rtol=1e-12)
        assert (ratio == 1) == (unit == 3)
    assert np.linalg.norm(made.gradient("body.bias")) == pytest.approx(0.1 * 1e-3)  # weights of zero count as 1e-3
    np.testing.assert_array_equal(made.gradient("head.weight"), before["head.weight"])


def test_a_gradient_of_zero_stays_zero_and_the_strict_library_agrees():
    made = parameters()
    made.zero_gradients()
    clip_adaptively(made, 0.01)
    assert not made.gradients.any()
    host, device = parameters(), parameters(STRICT)
    for each in (host, device):
        clip_adaptively(each, 0.01)
    np.testing.assert_array_equal(STRICT.to_numpy(device.gradients), host.gradients)


def test_an_optimizer_clips_before_it_updates():
    made = parameters()
    expected = parameters()
    clip_adaptively(expected, 0.01)
    optimizer = SGD(made, momentum=0.0)
    optimizer.agc = 0.01
    before = made.values.copy()
    optimizer.step(0.5)
    np.testing.assert_allclose(before - made.values, 0.5 * expected.gradients, rtol=1e-12, atol=1e-14)


def test_it_is_an_option_of_a_recipe(tmp_path):
    model = NfResNet(NfResNetConfig(image_size=8, in_channels=1, width=4, depths="1"))
    recipe = small_recipe().with_overrides({"agc": 0.02, "epochs": 1})
    assert make_optimizer(recipe, model.parameters).agc == 0.02
    trainer = Trainer(recipe, tmp_path / "run", small_dataset(), model=model)
    assert trainer.optimizer.agc == 0.02
    assert trainer.run().status == "finished"
    with pytest.raises(ConfigError, match="'agc' expects 0 or more"):
        small_recipe().with_overrides({"agc": -1})
