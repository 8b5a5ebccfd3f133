"""What holds parameters: the layers of a Mixer, each a composition of operations."""

from tinymixer.layers.config import MixerConfig
from tinymixer.layers.layer import Layer
from tinymixer.layers.layer_norm import LayerNorm
from tinymixer.layers.linear import Linear
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.layers.mlp import ChannelMixing, Mlp, TokenMixing
from tinymixer.layers.mlp_mixer import MlpMixer

__all__ = [
    "ChannelMixing",
    "Layer",
    "LayerNorm",
    "Linear",
    "MixerBlock",
    "MixerConfig",
    "Mlp",
    "MlpMixer",
    "TokenMixing",
]
