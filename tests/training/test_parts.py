"""Parts of a model that are frozen, or have a learning rate of their own, and the groups that this makes."""

import dataclasses
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from tests.training.small_runs import run_small, small_recipe
from tinymixer import MlpMixer
from tinymixer.draws import Draws
from tinymixer.engines import Work, choose_engine, train_step
from tinymixer.engines.cuda.cuda_engine import CudaEngine
from tinymixer.errors import ConfigError
from tinymixer.optim import ParameterGroup
from tinymixer.training import load_run
from tinymixer.training.build import make_optimizer
from tinymixer.training.parts import frozen_words, groups_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run on 8 x 8 images, with 2 x 2 patches and tokens_mlp_dim 4."""
    return run_small(tmp_path_factory.mktemp("trained") / "run", epochs=1).folder


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_frozen_parts_stay_bit_for_bit(trained, engine, optimizer):
    """Under weight decay of everything, too, and in each engine."""
    recipe = small_recipe(
        freeze="stem, blocks.0", engine=engine, optimizer=optimizer, weight_decay=0.1, decay="all", micro_batches=2
    )
    model = load_run(trained, backend="numpy").model
    rule = make_optimizer(recipe, model.parameters)
    computing = choose_engine(model, recipe.training, optimizer=rule)
    assert computing.name == engine
    before, rng = model.parameters.to_numpy(), np.random.default_rng(0)
    for step in range(3):
        images, labels = rng.normal(size=(8, 8, 8, 1)).astype(np.float32), rng.integers(0, 10, 8)
        draws = Draws(0, 0, step, np.arange(8))
        train_step(computing, rule, images, labels, 0.05, rng=draws, micro_batches=2)
    for name, array in model.parameters.to_numpy().items():
        if name.startswith(("stem.", "blocks.0.")):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
        elif not name.endswith("token_mixing.bias2"):  # LayerNorm takes it out again: its gradient is zero
            assert not np.array_equal(array, before[name]), name
    words = frozen_words(rule.groups, model.parameters)
    count = sum(before[name].size for name in before if name.startswith(("stem.", "blocks.0.")))
    assert words == f"frozen: stem.*, blocks.0.*, {count} of {model.parameters.count:,} parameters, which do not change"


def test_the_cuda_engine_has_nothing_against_groups(trained):
    model = load_run(trained, backend="numpy").model
    recipe = small_recipe(freeze="stem", **{"training.backend": "numpy"})
    optimizer = make_optimizer(recipe, model.parameters)
    assert optimizer.groups
    work = Work(np.zeros((8, 8, 8, 1), np.uint8), np.zeros(8, int), np.zeros(1), np.ones(1), 8, recipe.augmentation)
    with mock.patch.object(MlpMixer, "backend", SimpleNamespace(name="cupy")):
        assert CudaEngine.obstacle(model, recipe.training, work, optimizer) is None


def test_a_learning_rate_for_each_part(trained):
    """One step of plain SGD: a part with the factor 0.1 moves a tenth as far."""
    moved = {}
    for factors in ("", "stem=0.1, blocks.1=0"):
        recipe = small_recipe(
            learning_rate_factors=factors, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=0.0
        )
        model = load_run(trained, backend="numpy").model
        before = model.parameters.to_numpy()
        optimizer = make_optimizer(recipe, model.parameters)
        model.parameters.gradients[...] = 1
        optimizer.step(0.5)
        moved[factors] = {name: array - before[name] for name, array in model.parameters.to_numpy().items()}
    for name, whole in moved[""].items():
        factor = 0.1 if name.startswith("stem.") else 0 if name.startswith("blocks.1.") else 1
        np.testing.assert_allclose(moved["stem=0.1, blocks.1=0"][name], factor * whole, atol=1e-6)


def test_which_groups_a_run_has():
    names = MlpMixer(small_recipe().model).parameters.names
    recipe = dataclasses.replace(
        small_recipe(freeze="head", learning_rate_factors="blocks.0.channel_*=0.5"),
        groups=(ParameterGroup("head.*", learning_rate_factor=10), ParameterGroup("blocks.1.*", weight_decay=0)),
    )
    assert groups_of(recipe, names) == [
        ParameterGroup("head.*", frozen=True),
        ParameterGroup("blocks.0.channel_*", learning_rate_factor=0.5),
        ParameterGroup("blocks.1.*", weight_decay=0),
    ]
    both = dataclasses.replace(recipe, groups=(ParameterGroup("blocks.*", weight_decay=0),))
    with pytest.raises(ConfigError, match=r"the recipe's group 'blocks\.\*' sets blocks\.0\.channel_.* too: give that"):
        groups_of(both, names)
    with pytest.raises(ConfigError, match=r"the model has no part 'heat'.*Did you mean 'head'"):
        groups_of(small_recipe(freeze="heat"), names)
    with pytest.raises(ConfigError, match=r"'blocks\.0' is frozen, so it has no learning rate"):
        groups_of(small_recipe(freeze="blocks.*", learning_rate_factors="blocks.0=2"), names)
    for text in ("stem", "stem=", "=1", "stem=-1", "stem=nan", "stem=inf", "stem=1=2"):
        with pytest.raises(ConfigError, match="expects parts and factors such as"):
            small_recipe(learning_rate_factors=text)
