"""What holds parameters: layers, each a composition of operations."""

from tinymixer.layers.layer import Layer
from tinymixer.layers.layer_norm import LayerNorm
from tinymixer.layers.linear import Linear
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.layers.mlp import ChannelMixing, Mlp, TokenMixing

__all__ = [
    "ChannelMixing",
    "Layer",
    "LayerNorm",
    "Linear",
    "MixerBlock",
    "Mlp",
    "TokenMixing",
]
