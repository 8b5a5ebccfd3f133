"""What ONNX Runtime computes from the file of a convolutional network is what its layers compute."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: make peers")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: make peers")

from tinymixer.engines.step import train_step  # noqa: E402  after the checks above
from tinymixer.errors import ConfigError  # noqa: E402
from tinymixer.layers.chain import Part  # noqa: E402
from tinymixer.layers.pooling import AveragePooling, GlobalAveragePooling, Relu  # noqa: E402
from tinymixer.models import (  # noqa: E402
    ConvNet,
    ConvNetConfig,
    ResNet,
    ResNetConfig,
    config_class,
    make_model,
    register_model,
    registry,
)
from tinymixer.models.convnet import first_convolution  # noqa: E402
from tinymixer.models.resnet import Convolution, Linear  # noqa: E402
from tinymixer.optim import SGD  # noqa: E402
from tinymixer.pretrained.onnx_export import export_onnx  # noqa: E402

pytestmark = pytest.mark.peers

SMALL = {"image_size": 13, "width": 8, "num_classes": 7}  # 13: with stride 2 the last pixels stand alone


def images_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 13, 13, 3)).astype(np.float32)


def trained(name, **fields):
    """A model after three steps, by which running statistics, gains and the head have left their first values."""
    model = make_model(name, config_class(name)(**SMALL | fields), seed=1)
    optimizer = SGD(model.parameters, momentum=0.9)
    for step in range(3):
        train_step(model, optimizer, 2 * images_of(8, step) + 1, np.arange(8) % 7, 0.05)
    return model


def assert_same(path, model):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 3):  # any number of images, with the same file
        expected = model.forward(images_of(count, 9))[0]
        found = session.run(["logits"], {"images": images_of(count, 9)})[0]
        assert found.shape == expected.shape == (count, 7)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", ["resnet", "bit", "nf_resnet"])
def test_convolutional_networks_after_some_training(tmp_path, name, stem):
    model = trained(name, stem=stem, depths="2-1", block="basic" if stem == "cifar" else "bottleneck")
    export_onnx(model, tmp_path / "model.onnx")
    assert_same(tmp_path / "model.onnx", model)


def test_the_file_has_the_running_statistics(tmp_path):
    model = trained("resnet", depths="1")
    export_onnx(model, tmp_path / "model.onnx")
    held = {
        array.name: onnx.numpy_helper.to_array(array) for array in onnx.load(tmp_path / "model.onnx").graph.initializer
    }
    buffers = model.parameters.buffers_to_numpy()
    assert len(buffers) == 6
    for name, running in buffers.items():
        np.testing.assert_array_equal(held[name], running)
        assert not np.isin(running, (0, 1)).any()  # the first ones
    of_batch = model.forward(images_of(3, 9), train=True)[0]
    assert not np.allclose(of_batch, model.forward(images_of(3, 9))[0], rtol=1e-2)
    assert_same(tmp_path / "model.onnx", model)


class Doubled(Relu):
    """A user's own layer: a subclass, which computes something else."""

    def forward(self, x, train=False, rng=None):
        y, cache = super().forward(x, train, rng)
        return 2 * y, cache


@dataclass(frozen=True)
class OwnConfig(ConvNetConfig):
    """A network of known parts that stand in another order: Linear over an image's channels, and pooling in windows."""

    layer: ClassVar[type] = Relu

    def parts(self):
        return first_convolution(self, Convolution) | {
            "mixing": Part(Linear, self.width, self.width),
            "own": Part(self.layer),
            "halves": Part(AveragePooling, 2),
            "pooling": Part(GlobalAveragePooling),
            "head": Part(Linear, self.width, self.num_classes),
        }


class DoubledConfig(OwnConfig):
    layer = Doubled


class Own(ConvNet):
    pass


class WithMore(ResNet):
    def forward(self, images, train=False, rng=None):
        logits, cache = super().forward(images, train, rng)
        return logits + 1, cache


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))


def test_another_chain_of_the_same_layers_is_written_too(tmp_path, registered):
    register_model("own", OwnConfig)(Own)
    model = Own(OwnConfig(**SMALL), seed=1)
    export_onnx(model, tmp_path / "model.onnx")
    assert_same(tmp_path / "model.onnx", model)


def test_what_has_no_form_is_refused_by_name(tmp_path, registered):
    path = tmp_path / "model.onnx"
    with pytest.raises(ConfigError, match=r"no ONNX form of .*:Own yet: expected one of bit, linear_mixer, mlp_mixer"):
        export_onnx(Own(OwnConfig(**SMALL)), path)
    changed = ResNet(ResNetConfig(**SMALL, depths="1"))
    changed.chain.layers[2] = Doubled(parameters=changed.parameters.part("stem.relu", may_be_empty=True))
    with pytest.raises(ConfigError, match=r"ResNet.chain.layers\[2\] is a Doubled, where the stock model has a Relu"):
        export_onnx(changed, path)
    register_model("own", DoubledConfig)(Own)
    with pytest.raises(ConfigError, match=r"no ONNX form of the layer 'own', a Doubled, yet: expected layers of Conv"):
        export_onnx(Own(DoubledConfig(**SMALL)), path)
    register_model("with_more", ResNetConfig)(WithMore)
    with pytest.raises(ConfigError, match="no ONNX form of with_more yet: expected one of bit"):
        export_onnx(WithMore(ResNetConfig(**SMALL, depths="1")), path)
    assert not path.exists()
