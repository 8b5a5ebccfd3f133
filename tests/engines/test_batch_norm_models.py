"""A model whose images meet in batch norm: its threads compute a batch together."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.backend import get_backend
from tinymixer.engines import ReferenceEngine
from tinymixer.engines.gradients import loss_and_gradients
from tinymixer.errors import ShapeError
from tinymixer.models import (
    PRESETS,
    BoTNet,
    BoTNetConfig,
    ResNet,
    ResNetConfig,
    has_independent_images,
    make_model,
    meets_in_batch_norm,
    preset,
)

CONFIG = ResNetConfig(image_size=8, in_channels=1, width=3, depths="1-1")
BOTNET = BoTNetConfig(image_size=8, in_channels=1, width=2, depths="1-1", heads=2)
RNG = np.random.default_rng(0)


def batch(images):
    return RNG.normal(size=(images, 8, 8, 1)), RNG.integers(0, 10, images)


def made(kind=ResNet, config=CONFIG, **keywords):
    model = kind(config, **{"dtype": "float64"} | keywords)
    model.parameters["head.weight"][...] = RNG.normal(size=model.parameters["head.weight"].shape)
    return model


@pytest.mark.parametrize(
    ("model", "images", "threads", "frozen"),
    [
        ((ResNet, CONFIG), 7, 1, False),
        ((ResNet, CONFIG), 7, 2, False),
        ((ResNet, CONFIG), 2, 3, False),
        ((ResNet, CONFIG), 5, 2, True),
        ((BoTNet, BOTNET), 5, 2, False),
    ],
)
def test_loss_gradients_and_statistics_are_the_whole_batchs(model, images, threads, frozen):
    """frozen: the stem's batch norm keeps its statistics and normalises with them."""
    model, (x, labels) = made(*model), batch(images)
    if frozen:
        model.parameters.keep_constant(["stem.norm"])
    expected_loss, _ = loss_and_gradients(model, x, labels)
    expected, change = model.parameters.gradients.copy(), model.parameters.buffer_change.copy()
    assert change.any()
    assert change[:6].any() != frozen  # of the stem's 3 channels
    engine = ReferenceEngine(model, threads=threads)
    for _ in range(2):  # the first batch is also computed whole
        model.parameters.zero_gradients()
        model.parameters.zero_buffer_change()
        loss, _ = engine.loss_and_gradients(x, labels)
        assert loss == pytest.approx(float(expected_loss), rel=1e-12)
        np.testing.assert_allclose(model.parameters.gradients, expected, atol=1e-11)
        np.testing.assert_allclose(model.parameters.buffer_change, change, atol=1e-12)
    assert engine.note is None
    assert "share batch norm's sums" in engine.description


@pytest.mark.parametrize("name", ["R18-nano", "BoT-nano"])
def test_a_network_of_ordinary_size_in_float32_is_computed_on_threads(name):
    """Rounding alone moves its gradients by a percent, so the first batch must not be held to 1e-4."""
    config = preset(name, image_size=16)
    model = make_model(PRESETS[name].architecture, config, seed=0)
    model.parameters["head.weight"][...] = 0.1 * RNG.normal(size=model.parameters["head.weight"].shape)
    engine = ReferenceEngine(model, threads=2)
    images = RNG.normal(size=(16, 16, 16, 3)).astype("float32")
    for _ in range(2):
        engine.loss_and_gradients(images, RNG.integers(0, 10, 16))
    assert engine.note is None
    assert "share batch norm's sums" in engine.description


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_that_says_so_wrongly_is_computed_whole(dtype):
    class Centred(ResNet):
        meets_in_batch_norm = True

        def forward(self, images, train=False, rng=None):
            return super().forward(images - images.mean(axis=0), train, rng)

    model, (x, labels) = made(Centred, dtype=dtype), batch(6)
    engine = ReferenceEngine(model, threads=2)
    engine.loss_and_gradients(x.astype(dtype), labels)
    assert "gives other numbers in slices" in engine.note
    assert "meets_in_batch_norm = False" in engine.note


def test_an_error_in_one_thread_is_raised_and_the_engine_goes_on():
    model, (x, labels) = made(), batch(6)
    engine = ReferenceEngine(model, threads=2)
    engine.loss_and_gradients(x, labels)
    part = engine._replicas.models[1].chain.layers[-1]
    forward = part.forward

    def failing(*arguments, **keywords):
        raise ShapeError("of the second thread")

    part.forward = failing
    with pytest.raises(ShapeError, match="of the second thread"):
        engine.loss_and_gradients(x, labels)
    part.forward = forward
    engine.loss_and_gradients(x, labels)


def test_plain_operations_and_other_models_take_the_batch_whole():
    plain = ReferenceEngine(made(backend=get_backend("numpy", kernels="reference")), threads=2)
    assert "batches whole" in plain.description

    class OwnForward(ResNet):
        def forward(self, images, train=False, rng=None):
            return super().forward(images, train, rng)

    assert not meets_in_batch_norm(OwnForward(CONFIG))
    assert meets_in_batch_norm(made())
    assert not has_independent_images(made())
    assert "batches whole" in ReferenceEngine(OwnForward(CONFIG), threads=2).description


def test_the_replicas_alone_have_the_faster_operations():
    model, (x, labels) = made(), batch(4)
    engine = ReferenceEngine(model, threads=2)
    engine.loss_and_gradients(x, labels)
    assert model.ops is ops
    assert engine._replicas.models[0].ops is not ops
