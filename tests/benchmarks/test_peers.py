"""The peers' models do the same work as ours: the same number of weights, and steps that run."""

import importlib

import pytest

from tinymixer import MixerConfig

pytestmark = pytest.mark.peers
SMALL = MixerConfig(image_size=8, hidden_dim=8, tokens_mlp_dim=8, channels_mlp_dim=16, num_blocks=2)


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
