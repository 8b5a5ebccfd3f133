"""What ONNX Runtime computes from an exported file is what our layers compute."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx", reason="onnx is not installed: make peers")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: make peers")

from tinymixer import MixerConfig, MlpMixer  # noqa: E402  after the checks above
from tinymixer.data.dataset import normalise  # noqa: E402
from tinymixer.errors import ConfigError  # noqa: E402
from tinymixer.models import LinearMixer, LinearMixerConfig, VisionTransformer, ViTConfig  # noqa: E402
from tinymixer.pretrained.onnx_export import export_onnx  # noqa: E402
from tinymixer.pretrained.onnx_graph import OPSET  # noqa: E402
from tinymixer.pretrained.onnx_tokens import BODIES  # noqa: E402
from tinymixer.training import load_run  # noqa: E402

pytestmark = pytest.mark.peers

SIZES = {"image_size": 12, "patch_size": 3, "hidden_dim": 20, "num_blocks": 2, "num_classes": 7}
MIXER = MixerConfig(**SIZES, tokens_mlp_dim=9, channels_mlp_dim=30)


def random_weights(model):
    """Every weight random: zero biases and a zero head would hide mistakes."""
    rng = np.random.default_rng(0)
    for name in model.parameters:
        model.parameters[name][...] += 0.1 * rng.standard_normal(model.parameters.shape(name))
    return model


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def logits_of(path, images):
    session = session_of(path)
    return session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0]


def assert_same(path, model, images):
    expected = model.forward(images)[0]
    np.testing.assert_allclose(logits_of(path, images), expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=0)


@pytest.mark.parametrize(
    "fields", [{"overlap": 2}, {"untied_groups": 4, "gated": True, "layer_scale": 0.5}, {"grouped_channels": 4}]
)
def test_variants_of_the_mixer(tmp_path, fields):
    model = random_weights(MlpMixer(dataclasses.replace(MIXER, **fields), seed=1))
    export_onnx(model, tmp_path / "model.onnx")
    assert_same(tmp_path / "model.onnx", model, np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype("float32"))


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
@pytest.mark.parametrize("tokens", ["mlp", "linear", "pool", "attention", "none"])
def test_every_token_mixer_and_both_gelus(tmp_path, tokens, gelu):
    model = random_weights(
        MlpMixer(dataclasses.replace(MIXER, tokens=tokens, gelu=gelu, dropout=0.5, drop_path=0.5), seed=1)
    )
    export_onnx(model, tmp_path / "model.onnx")
    for count in (1, 5):  # any number of images, with the same file
        images = np.random.default_rng(count).normal(size=(count, 12, 12, 3)).astype(np.float32)
        assert_same(tmp_path / "model.onnx", model, images)


def test_the_linear_mixer(tmp_path):
    model = random_weights(LinearMixer(LinearMixerConfig(**SIZES), seed=1))
    export_onnx(model, tmp_path / "model.onnx")
    assert_same(tmp_path / "model.onnx", model, np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype(np.float32))


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_the_vision_transformer(tmp_path, pool):
    model = random_weights(VisionTransformer(ViTConfig(**SIZES, heads=5, channels_mlp_dim=30, pool=pool), seed=1))
    export_onnx(model, tmp_path / "model.onnx")
    for count in (1, 3):
        images = np.random.default_rng(count).normal(size=(count, 12, 12, 3)).astype(np.float32)
        assert_same(tmp_path / "model.onnx", model, images)


@settings(deadline=None, max_examples=10)
@given(
    side=st.integers(1, 4),
    patch=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
    hidden=st.integers(2, 5),
    eps=st.sampled_from([1e-6, 1e-2]),
    tokens=st.sampled_from(["mlp", "pool"]),
)
def test_any_sizes(tmp_path_factory, side, patch, channels, hidden, eps, tokens):
    config = MixerConfig(
        image_size=side * patch, in_channels=channels, patch_size=patch, hidden_dim=hidden, num_blocks=1,
        tokens=tokens, tokens_mlp_dim=3, channels_mlp_dim=4, num_classes=1, layer_norm_eps=eps,
    )  # fmt: skip
    model, path = random_weights(MlpMixer(config, seed=2)), tmp_path_factory.mktemp("any") / "model.onnx"
    export_onnx(model, path)
    images = np.random.default_rng(0).normal(size=(2, side * patch, side * patch, channels)).astype(np.float32)
    assert_same(path, model, images)


def test_pixels_are_normalised_in_the_file(tmp_path):
    """The run that comes with the package, from pixels as they are in a picture."""
    run = load_run("first-mixer", backend="numpy")
    names = run.data.class_names
    export_onnx(run.model, tmp_path / "model.onnx", mean=run.data.mean, std=run.data.std, class_names=names)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    expected = run.model.forward(normalise(pixels, run.data.mean, run.data.std))[0]
    np.testing.assert_allclose(logits_of(tmp_path / "model.onnx", pixels), expected, atol=1e-5)
    session = session_of(tmp_path / "model.onnx")
    (given_,), known = session.get_inputs(), session.get_modelmeta().custom_metadata_map
    assert (given_.name, given_.shape) == ("pixels", ["B", 32, 32, 3])
    assert session.get_outputs()[0].shape == ["B", 10]
    assert json.loads(known["class_names"]) == list(names)
    np.testing.assert_allclose(json.loads(known["mean"]), run.data.mean)
    assert json.loads(known["config"]) == run.model.config.to_dict()
    assert known["input"] == "pixels (B, H, W, channels) of 32 x 32, from 0 to 255; the file normalises them itself"
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == OPSET == int(known["opset"])


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    model, path = MlpMixer(MIXER), tmp_path / "model.onnx"

    class Mine(MlpMixer):
        pass

    changed = MlpMixer(MIXER)
    changed.blocks = changed.blocks[:1]
    for subject, options, words in (
        (Mine(MIXER), {}, "there is no ONNX form of .*Mine yet: expected one of bit, linear_mixer, mlp_mixer"),
        (changed, {}, "as its class builds it, and MlpMixer.blocks has 1 items"),
        (MlpMixer(MIXER, dtype="float64"), {}, "written in float32"),
        (model, {"mean": [0.5] * 3}, "mean and std go together"),
        (model, {"mean": [0.5] * 3, "std": [0.0] * 3}, "std above 0"),
        (model, {"mean": [0.5], "std": [1.0]}, "for each of 3 channels"),
        (model, {"class_names": ["cat"]}, "1 class names for 7 classes"),
    ):
        with pytest.raises(ConfigError, match=words):
            export_onnx(subject, path, **options)
    monkeypatch.delitem(BODIES, MlpMixer)
    with pytest.raises(
        ConfigError, match="no ONNX form of mlp_mixer yet: expected one of bit, linear_mixer, nf_resnet"
    ):
        export_onnx(model, path)
    assert not path.exists()
