"""check_layer and check_model: layers of one's own, what only layers can do wrong, and everything put back."""

import numpy as np
import pytest

from tests.gradcheck.device_arrays import LIBRARY
from tinymixer import MixerConfig, MlpMixer, Parameters
from tinymixer.gradcheck import NotCheckableError, check_layer, check_model
from tinymixer.layers import LayerNorm, Linear, MixerBlock
from tinymixer.ops.array_library import namespace
from tinymixer.parameters import ParameterSpec

RNG = np.random.default_rng(21)
SMALL = MixerConfig(
    image_size=6,
    in_channels=2,
    patch_size=3,
    hidden_dim=5,
    tokens_mlp_dim=3,
    channels_mlp_dim=4,
    num_blocks=2,
    num_classes=3,
)


class Scale:
    """One's own layer with dicts: y = a x."""

    def __init__(self, channels, library=np):
        self.parameters = {"a": library.asarray(RNG.standard_normal(channels))}
        self.gradients = {"a": library.asarray(np.zeros(channels))}

    def forward(self, x):
        return x * self.parameters["a"], x

    def backward(self, dy, x):
        self.gradients["a"][...] = self.gradients["a"] + namespace(dy).sum(dy * x, axis=0)
        return dy * self.parameters["a"]


class Shift:
    """One's own layer with a tinymixer Parameters, and a forward that takes what this package's layers take."""

    def __init__(self, channels):
        zeros = ParameterSpec((channels,), lambda generator, shape: np.zeros(shape))
        self.parameters = Parameters({"b": zeros}, dtype="float64")

    def forward(self, x, train=False, rng=None):
        return x + self.parameters["b"], None

    def backward(self, dy, cache):
        self.parameters.gradient("b")[...] += dy.sum(axis=0)
        return dy.copy()


class Sine:
    """One's own layer without parameters."""

    def forward(self, x):
        return np.sin(x), x

    def backward(self, dy, x):
        return dy * np.cos(x)


@pytest.mark.parametrize("layer", [Scale(4), Shift(4), Sine()])
def test_a_layer_of_ones_own_passes(layer):
    report = check_layer(layer, RNG.standard_normal((3, 4)))
    assert report.passed, str(report)


def test_a_layer_on_another_array_library_passes():
    report = check_layer(Scale(4, LIBRARY), LIBRARY.asarray(RNG.standard_normal((3, 4))))
    assert report.passed, str(report)


def test_every_parameter_is_checked_by_its_name():
    report = check_layer(MixerBlock(SMALL.block_sizes, dtype="float64"), RNG.standard_normal((4, 2, 5)))
    assert report.passed, str(report)
    per_input = [row for row in report.rows if row.check == "jacobian"]
    assert len(per_input) == 1 + 12  # x, and two norms and two MLPs


def test_fresh_parameters_hide_a_mistake_that_moving_them_shows():
    """A scale of 1 hides that it is forgotten in dx: that is why parameters are moved for the time of a check."""

    class Forgetful(LayerNorm):
        def backward(self, dy, cache):
            x_hat, inv_std, scale = cache
            return (
                super().backward(dy, cache) * 0 + self.ops.layer_norm_backward(dy, (x_hat, inv_std, scale * 0 + 1))[0]
            )

    layer, x = Forgetful(5, dtype="float64"), RNG.standard_normal((3, 2, 5))
    assert check_layer(layer, x, perturb=False).passed
    assert not check_layer(layer, x).passed


def test_values_gradients_and_padding_come_back_bit_for_bit():
    model = MlpMixer(SMALL, dtype="float64", seed=1)
    model.parameters.gradients[...] = RNG.standard_normal(model.parameters.gradients.shape)
    before = model.parameters.values.copy(), model.parameters.gradients.copy()
    images, labels = RNG.standard_normal((2, 6, 6, 2)), np.array([0, 2])
    check_model(model, images, labels, samples=1)
    check_layer(model, images, jacobian_limit=0, samples=1)
    assert before[0].tobytes() == model.parameters.values.tobytes()
    assert before[1].tobytes() == model.parameters.gradients.tobytes()

    class Broken(Linear):
        def backward(self, dy, cache):
            self.parameters.values[...] = 7
            raise RuntimeError("stop")

    layer = Broken(4, 3, dtype="float64")
    values = layer.parameters.values.copy()
    report = check_layer(layer, RNG.standard_normal((2, 4)))
    assert report.failures[0].check == "runs"
    assert "the backward raised RuntimeError: stop (test_layer_and_model.py, line" in report.failures[0].note
    assert values.tobytes() == layer.parameters.values.tobytes()


def test_dropout_is_checked_with_the_masks_held_still():
    config = MixerConfig(**{**SMALL.to_dict(), "dropout": 0.3, "drop_path": 0.3})
    wide, narrow = (MlpMixer(config, dtype=dtype, seed=2) for dtype in ("float64", "float32"))
    images, labels = RNG.standard_normal((4, 6, 6, 2)), np.array([0, 2, 1, 1])
    report = check_model(wide, images, labels, train=True, label_smoothing=0.1, float32_twin=narrow, samples=2)
    assert report.passed, str(report)


def test_a_model_with_a_fault_below_its_zero_head_is_caught():
    model = MlpMixer(SMALL, dtype="float64")
    right = model.stem.backward
    model.stem.backward = lambda dy, cache: right(1.001 * dy, cache)
    report = check_model(model, RNG.standard_normal((2, 6, 6, 2)), np.array([0, 2]), samples=2)
    assert {"stem.weight", "stem.bias"} & {row.where.split("[")[0] for row in report.failures}


def test_a_model_that_returns_no_image_gradient_is_checked_by_its_parameters():
    class Classifier(Linear):
        def backward(self, dy, cache):
            super().backward(dy, cache)

    report = check_model(Classifier(5, 3, dtype="float64"), RNG.standard_normal((4, 5)), np.array([0, 2, 1, 1]))
    assert report.passed, str(report)
    assert report.rows[0].shape == (4, 5)


def test_soft_labels_are_taken():
    report = check_model(Linear(5, 3, dtype="float64"), RNG.standard_normal((4, 5)), np.full((4, 3), 1 / 3))
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("layer", "x", "sentence"),
    [
        (Linear(4, 3), np.zeros((2, 4)), r"weight of Linear is float32.*build the layer in it.*dtype='float64'"),
        (Linear(4, 3, dtype="float64"), np.zeros((2, 4), "float32"), "x is float32: gradient checks need float64"),
        (Linear(4, 3, dtype="float64"), np.zeros((2, 4), int), "x must be an array of floats"),
        (Linear(4, 3, dtype="float64"), [[0.0]], "x must be an array of floats to check Linear, got list"),
        (object(), np.zeros(2), "object has no method forward"),
    ],
)
def test_bad_use_is_refused_in_a_sentence(layer, x, sentence):
    with pytest.raises(NotCheckableError, match=sentence):
        check_layer(layer, x)


def test_parameters_without_gradients_are_refused_in_a_sentence():
    layer = Scale(4)
    layer.gradients = {}
    with pytest.raises(NotCheckableError, match=r"needs gradients\['a'\] of shape \(4,\)"):
        check_layer(layer, np.ones((3, 4)))
    layer.gradients = None
    with pytest.raises(NotCheckableError, match="none named gradients"):
        check_layer(layer, np.ones((3, 4)))
    layer.parameters = [np.ones(4)]
    with pytest.raises(NotCheckableError, match="must be a tinymixer Parameters, or a dict"):
        check_layer(layer, np.ones((3, 4)))


def test_a_model_with_the_wrong_number_of_labels_is_refused_in_a_sentence():
    with pytest.raises(NotCheckableError, match="a label per image, got 3 for 2 images"):
        check_model(Linear(5, 3, dtype="float64"), np.zeros((2, 5)), np.array([0, 1, 2]))
    with pytest.raises(NotCheckableError, match="labels must be an array"):
        check_model(Linear(5, 3, dtype="float64"), np.zeros((2, 5)), [0, 1])
