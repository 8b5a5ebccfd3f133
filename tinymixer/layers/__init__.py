"""Layers: they hold parameters, and each composes operations of `tinymixer.ops`."""

from tinymixer.layers.attention import ClassToken, MultiHeadSelfAttention, PositionEmbedding
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.chain import Chain, Part, Residual
from tinymixer.layers.convolution import Convolution, ScaledStandardisedConvolution, StandardisedConvolution
from tinymixer.layers.gated_mlp import GatedChannelMixing
from tinymixer.layers.grouped_token_mixing import GroupedTokenMixing
from tinymixer.layers.image_norms import BatchNorm, GroupNorm
from tinymixer.layers.layer import Layer
from tinymixer.layers.layer_norm import LayerNorm
from tinymixer.layers.layer_scale import LayerScale
from tinymixer.layers.linear import Linear
from tinymixer.layers.linear_mixer_block import LinearMixerBlock
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.layers.mlp import ChannelMixing, Mlp, TokenMixing
from tinymixer.layers.pooling import AveragePooling, GlobalAveragePooling, MaxPooling, OverhangingAveragePooling, Relu
from tinymixer.layers.relative_attention import RelativeAttention
from tinymixer.layers.token_mixing import TOKEN_MIXERS, TokenLinear, TokenMixer, TokenPooling
from tinymixer.layers.untied_token_mixing import UntiedTokenMixing

__all__ = [
    "TOKEN_MIXERS",
    "AveragePooling",
    "BatchNorm",
    "BlockSizes",
    "Chain",
    "ChannelMixing",
    "ClassToken",
    "Convolution",
    "GatedChannelMixing",
    "GlobalAveragePooling",
    "GroupNorm",
    "GroupedTokenMixing",
    "Layer",
    "LayerNorm",
    "LayerScale",
    "Linear",
    "LinearMixerBlock",
    "MaxPooling",
    "MixerBlock",
    "Mlp",
    "MultiHeadSelfAttention",
    "OverhangingAveragePooling",
    "Part",
    "PositionEmbedding",
    "RelativeAttention",
    "Relu",
    "Residual",
    "ScaledStandardisedConvolution",
    "StandardisedConvolution",
    "TokenLinear",
    "TokenMixer",
    "TokenMixing",
    "TokenPooling",
    "UntiedTokenMixing",
]
