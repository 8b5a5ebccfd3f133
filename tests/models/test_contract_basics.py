"""What every model promises: its images checked, and whether they are independent said by the right class."""

import numpy as np
import pytest

from tinymixer.errors import ShapeError
from tinymixer.models import (
    Model,
    architectures,
    config_class,
    has_independent_images,
    make_model,
)

SIZES = {"image_size": 8, "in_channels": 3, "patch_size": 4, "hidden_dim": 8, "num_blocks": 2} | {"width": 4}


@pytest.fixture(params=architectures())
def model(request):
    options = config_class(request.param)
    sizes = {key: value for key, value in SIZES.items() if key in options.__dataclass_fields__}
    return make_model(request.param, options(**sizes), seed=1)


def images(count, dtype="float32"):
    return np.random.default_rng(0).standard_normal((count, 8, 8, 3)).astype(dtype)


def test_shapes_from_images_to_logits_and_back(model):
    logits, cache = model.forward(images(5))
    assert (logits.shape, logits.dtype) == ((5, 10), np.float32)
    assert model.backward(np.ones_like(logits), cache).shape == (5, 8, 8, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (images(0), "expected at least one image, got none"),
        (images(2)[:, :4], r"expected images of shape \(B, 8, 8, 3\), got \(2, 4, 8, 3\)"),
        (images(2)[0], r"got \(8, 8, 3\)"),
        (images(2, "float64"), "dtype float32, got float64: normalise pixels"),
        (images(2).astype("uint8"), "got uint8"),
    ],
)
def test_images_that_do_not_fit_are_refused(model, wrong, message):
    with pytest.raises(ShapeError, match=message):
        model.forward(wrong)


def test_stock_models_treat_each_image_by_itself(model):
    """All of them when they predict; in training too, but for batch norm's."""
    assert has_independent_images(model) == (not model.parameters.buffer_names)
    model.parameters.values[...] = np.random.default_rng(1).standard_normal(model.parameters.values.shape)
    together = model.forward(images(4))[0]
    alone = [model.forward(images(4)[i : i + 1])[0][0] for i in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4 * np.abs(together).max())


class Plain(Model):
    def forward(self, images, train=False, rng=None): ...


class SaysSo(Plain):
    independent_images = True

    def forward(self, images, train=False, rng=None): ...


class InheritsBoth(SaysSo):
    pass


class OwnForward(SaysSo):
    def forward(self, images, train=False, rng=None): ...


class OwnForwardBelow(InheritsBoth):
    independent_images = False


class SaysSoLater(OwnForward):
    independent_images = True


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Model, False),
        (Plain, False),
        (SaysSo, True),
        (InheritsBoth, True),
        (OwnForward, False),
        (OwnForwardBelow, False),
        (SaysSoLater, True),
    ],
)
def test_a_forward_of_ones_own_takes_back_what_an_ancestor_said(kind, expected):
    assert has_independent_images(kind({})) is expected


def test_what_is_set_on_the_object_counts_first():
    model = SaysSo({})
    model.forward = lambda images, train=False, rng=None: ...
    assert not has_independent_images(model)
    model.independent_images = True
    assert has_independent_images(model)
    assert not has_independent_images(object())
