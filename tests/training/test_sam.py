"""Steps of sharpness-aware minimisation: against one computed by hand, on both engines, in parts and over ranks."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from tests.layers.running_mean import CentredModel
from tests.parallel.thread_ranks import on_ranks
from tests.shaken import shaken
from tests.strict_arrays import STRICT
from tinymixer.draws import Draws
from tinymixer.engines import EngineOptions, Work, choose_engine
from tinymixer.engines.cuda.cuda_engine import CudaEngine
from tinymixer.engines.gradients import loss_and_gradients
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.optim import SGD, AdamW, ParameterGroup
from tinymixer.training import train_step
from tinymixer.training.options import OptimizerOptions

CONFIG = MixerConfig(
    image_size=8,
    in_channels=1,
    patch_size=4,
    hidden_dim=8,
    tokens_mlp_dim=4,
    channels_mlp_dim=12,
    num_blocks=2,
    dropout=0.2,
    drop_path=0.3,
)
RNG = np.random.default_rng(0)
SMALL_IMAGES, SMALL_LABELS = RNG.normal(size=(11, 4, 4, 1)), RNG.integers(0, 3, 11)
IMAGES, LABELS = RNG.normal(size=(10, 8, 8, 1)), RNG.integers(0, 10, 10)


# ------------------------------------------------------------------------------------------------- computed by hand


def by_hand(weights, mean, rho, rate, clip_norm, steps):
    """SAM and plain gradient descent with clipping for `CentredModel`, from the paper's algorithm 1, in NumPy alone.

    weights   name -> array, of two linear layers; mean (hidden,): the running mean that is subtracted between them
    """
    x, target = SMALL_IMAGES.reshape(11, -1), np.eye(3)[SMALL_LABELS]  # (B, D), (B, K)
    losses = []

    def gradient(w):
        hidden = x @ w["body.first.weight"] + w["body.first.bias"]  # (B, hidden)
        centred = hidden - mean
        logits = centred @ w["body.second.weight"] + w["body.second.bias"]  # (B, K)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        dlogits = (p - target) / len(x)
        dhidden = dlogits @ w["body.second.weight"].T
        found = {
            "body.first.weight": x.T @ dhidden,
            "body.first.bias": dhidden.sum(axis=0),
            "body.second.weight": centred.T @ dlogits,
            "body.second.bias": dlogits.sum(axis=0),
        }
        correct = int(np.sum(logits.argmax(axis=1) == SMALL_LABELS))
        return found, -np.mean(np.log(p[target == 1])), correct, hidden.mean(axis=0)

    def norm(g):
        return np.sqrt(sum(np.sum(each**2) for each in g.values()))

    for _ in range(steps):
        first, loss, correct, new_mean = gradient(weights)
        second, *_ = gradient({name: weights[name] + rho * first[name] / norm(first) for name in weights})
        factor = min(1, clip_norm / (norm(second) + 1e-6))
        weights = {name: weights[name] - rate * factor * second[name] for name in weights}
        mean = 0.9 * mean + 0.1 * new_mean
        losses.append((loss, correct, norm(second)))
    return weights, mean, losses


@pytest.mark.parametrize(("micro_batches", "size"), [(1, 1), (3, 1), (1, 2), (2, 3)])
def test_steps_are_those_computed_by_hand(micro_batches, size):
    """Weights, loss, norm, and a buffer: whole, in uneven parts, and over ranks."""

    def steps(ranks=None):
        model = CentredModel(dtype="float64", seed=1)
        optimizer = SGD(model.parameters, momentum=0.0, clip_norm=0.3)
        first = model.parameters.to_numpy()
        part = ranks.part(11) if ranks else slice(0, 11)
        more = {"ranks": ranks, "batch_size": 11} if ranks else {}
        images, labels = SMALL_IMAGES[part], SMALL_LABELS[part]
        results = [
            train_step(model, optimizer, images, labels, 0.5, micro_batches=micro_batches, sam_rho=0.2, **more)
            for _ in range(3)
        ]
        return first, model.parameters, results

    for first, parameters, results in [steps()] if size == 1 else on_ranks(size, steps):
        weights, mean, losses = by_hand(first, np.zeros(5), rho=0.2, rate=0.5, clip_norm=0.3, steps=3)
        for name, expected in weights.items():
            np.testing.assert_allclose(parameters[name], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(parameters.buffers[:5], mean, rtol=1e-12)
        for result, (loss, correct, norm) in zip(results, losses, strict=True):
            assert (result.loss, result.correct) == (pytest.approx(loss, rel=1e-12), correct)
            assert result.gradient_norm == pytest.approx(norm, rel=1e-12)


# ------------------------------------------------------------------------------------------------------ the engines


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_both_passes_see_the_same_masks_on_every_engine(engine, micro_batches):
    """The expected gradient: the layers', of a copy of the model that has the perturbed weights from the start."""
    draws, groups = Draws(5, 1, 2, np.arange(10)), [ParameterGroup("blocks.0.*", frozen=True)]
    whole, elsewhere, model = (shaken(CONFIG, "float64") for _ in range(3))
    loss, correct = loss_and_gradients(whole, IMAGES, LABELS, 0.1, draws)
    trained = whole.parameters.mask(lambda name, _: not name.startswith("blocks.0."))  # (size,)
    uphill = trained * whole.parameters.gradients
    elsewhere.parameters.values[...] += 0.1 * uphill / np.linalg.norm(uphill)
    loss_and_gradients(elsewhere, IMAGES, LABELS, 0.1, draws)

    optimizer = SGD(model.parameters, momentum=0.0, groups=groups)
    computing = choose_engine(model, EngineOptions(engine=engine, threads=2, slice_images=2, dtype="float64"))
    assert computing.name == engine
    before = model.parameters.values.copy()
    result = train_step(computing, optimizer, IMAGES, LABELS, 0.5, 0.1, draws, micro_batches, sam_rho=0.1)
    assert (result.loss, result.correct) == (pytest.approx(float(loss), rel=1e-12), int(correct))
    step = -0.5 * trained * elsewhere.parameters.gradients
    np.testing.assert_allclose(model.parameters.values - before, step, rtol=1e-9, atol=1e-14)
    assert np.linalg.norm(step + 0.5 * uphill) > 0.01 * np.linalg.norm(step)  # it is not the gradient at the weights


def test_the_step_runs_on_the_strict_array_library():
    results = []
    for backend in ("numpy", STRICT):
        model = MlpMixer(CONFIG, backend=backend)
        inputs = model.backend.asarray(IMAGES.astype(np.float32)), model.backend.asarray(LABELS)
        draws = Draws(0, 0, 0, np.arange(10))
        results.append(train_step(model, AdamW(model.parameters), *inputs, 0.01, rng=draws, sam_rho=0.1))
    assert results[0] == results[1]


# ------------------------------------------------------------------------------------------------------------ edges


def test_a_gradient_of_zero_is_no_error():
    """A head of zeros gives every class the same probability; where that is the target, there is no gradient."""
    model = MlpMixer(dataclasses.replace(CONFIG, dropout=0.0, drop_path=0.0), dtype="float64")
    before = model.parameters.values.copy()
    uniform = np.exp(-np.log(np.full((10, 10), 10.0)))  # 0.1, rounded as softmax rounds it
    result = train_step(model, SGD(model.parameters), IMAGES, uniform, 0.5, sam_rho=0.1)
    assert result.gradient_norm == 0
    np.testing.assert_array_equal(model.parameters.values, before)


@pytest.mark.parametrize(
    ("spoil", "rho", "message"),
    [
        (lambda images: images.fill(np.nan), 0.1, r"the loss became nan at step 1 .*clip_norm"),
        (lambda images: None, 1e200, r"the loss at SAM's perturbed weights became (nan|inf) at step 1 .*sam_rho"),
    ],
)
def test_what_is_not_finite_is_a_sentence_and_leaves_weights_and_buffers(spoil, rho, message):
    model, images = CentredModel(dtype="float64", seed=1), SMALL_IMAGES.copy()
    optimizer, parameters = SGD(model.parameters), model.parameters
    before = parameters.values.copy()
    spoil(images)
    with pytest.raises(TrainingError, match=message):
        train_step(model, optimizer, images, SMALL_LABELS, 0.1, sam_rho=rho)
    np.testing.assert_array_equal(parameters.values, before)
    assert not parameters.buffers.any()
    assert optimizer.steps == 0
    # The same model goes on as if nothing had been: the change of the buffers that was collected is forgotten.
    fresh = CentredModel(dtype="float64", seed=1)
    for each, rule in ((model, optimizer), (fresh, SGD(fresh.parameters))):
        train_step(each, rule, SMALL_IMAGES, SMALL_LABELS, 0.1, sam_rho=0.1)
    np.testing.assert_array_equal(parameters.values, fresh.parameters.values)
    np.testing.assert_array_equal(parameters.buffers, fresh.parameters.buffers)


def test_the_cuda_engine_leaves_sam_to_the_layers():
    work = Work(np.zeros((8, 8, 8, 1), np.uint8), np.zeros(8, int), np.zeros(1), np.ones(1), 8, None, sam_rho=0.1)
    work = dataclasses.replace(work, augmentation=SimpleNamespace(uses=(), mixup=0, cutmix=0))
    on_a_gpu = SimpleNamespace(backend=SimpleNamespace(name="cupy"), config=CONFIG)
    obstacle = CudaEngine.obstacle(on_a_gpu, EngineOptions(), work, SGD(MlpMixer(CONFIG).parameters))
    assert obstacle == "it takes one gradient a step, and SAM (sam_rho) needs two"


@pytest.mark.parametrize("field", [{"sam_rho": -0.1}, {"adam_eps": 0.0}])
def test_what_cannot_work_is_refused(field):
    """AdamW with eps 0 divides zero by zero wherever gradients are zero: all but the head's, in the first step."""
    with pytest.raises(ConfigError, match=next(iter(field))):
        OptimizerOptions(**field)
