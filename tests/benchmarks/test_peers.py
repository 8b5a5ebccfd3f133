"""The peers' models do the same work as ours: the same number of weights, and steps that run."""

import importlib

import pytest

from tinymixer import MixerConfig
from tinymixer.bench import ours_numpy
from tinymixer.models import ResNetConfig, ViTConfig

pytestmark = pytest.mark.peers
SMALL = MixerConfig(image_size=8, hidden_dim=8, tokens_mlp_dim=8, channels_mlp_dim=16, num_blocks=2)
OTHERS = {
    "torch_vit": [ViTConfig(image_size=8, hidden_dim=8, heads=2, channels_mlp_dim=16, num_blocks=2, pool=pool)
                  for pool in ("class", "mean")],
    "torch_resnet": [ResNetConfig(image_size=8, width=3, depths="1-1"),
                     ResNetConfig(image_size=32, width=2, depths="1-1", block="bottleneck", stem="imagenet")],
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["torch_mixer", "jax_mixer"])
def test_a_peer_takes_steps(name, precision):
    pytest.importorskip(name.removesuffix("_mixer"))
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    peer.make_step(SMALL, 4, precision, "cpu")(2)
    peer.make_forward(SMALL, 4, precision, "cpu")(2)
    assert any(character.isdigit() for character in peer.versions())


def test_pytorchs_mixer_has_our_number_of_parameters():
    pytest.importorskip("torch")
    from benchmarks.peers.torch_mixer import Mixer

    assert sum(parameter.numel() for parameter in Mixer(SMALL).parameters()) == SMALL.parameter_count


def test_jaxs_mixer_has_our_number_of_parameters():
    pytest.importorskip("jax")
    from benchmarks.peers.jax_mixer import _setting

    weights = _setting(SMALL, 2, "float32", "cpu")[0]
    assert sum(weight.size for weight in weights.values()) == SMALL.parameter_count


@pytest.mark.parametrize(("name", "config"), [(name, config) for name, configs in OTHERS.items() for config in configs])
def test_another_model_takes_the_steps_that_ours_takes(name, config):
    pytest.importorskip("torch")
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    theirs = peer.make_step(config, 4, "float32", "cpu")
    ours = ours_numpy.make_step(config, 4, "float32", "cpu", threads=1)
    for _ in range(3):
        assert ours(1) == pytest.approx(theirs(1), rel=1e-4)
    assert peer.make_forward(config, 4, "float32", "cpu")(1).shape == (4, 10)
