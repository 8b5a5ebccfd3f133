"""What a picture of a model shows, from its configuration alone: `parts_of`, and the Mixers and transformers."""

from typing import Any

from tinymixer.analysis.model_parts import BOTH, CHANNELS, TOKENS, Block, Box, ModelParts, Sum
from tinymixer.analysis.parts_of_convnets import convnet_parts
from tinymixer.errors import ConfigError
from tinymixer.models import (
    ConvNet,
    ConvNetConfig,
    LinearMixer,
    LinearMixerConfig,
    MixerConfig,
    MlpMixer,
    Model,
    VisionTransformer,
    ViTConfig,
)
from tinymixer.models.image_config import PatchConfig


def parts_of(model: Any) -> ModelParts:
    """What the picture of a model, or of the model that a configuration describes, shows.

    Raises ConfigError, in a sentence, for a model or a configuration that it does not know: a class of the user's own
    may do something else in its `forward` than its configuration says. A registered or other `ConvNet` is known by the
    parts that its configuration lists.
    """
    config = model.config if isinstance(model, Model) else model
    known = type(model) in (MlpMixer, LinearMixer, VisionTransformer)
    chain = isinstance(model, ConvNet) and type(model).forward is ConvNet.forward
    if isinstance(model, Model) and not (known or chain):
        raise _unknown(model)
    if isinstance(config, ConvNetConfig):
        return convnet_parts(config)
    if type(config) is MixerConfig:
        return _mixer(config)
    if type(config) is LinearMixerConfig:
        return _linear_mixer(config)
    if type(config) is ViTConfig:
        return _vit(config)
    raise _unknown(model)


def _unknown(model: Any) -> ConfigError:
    return ConfigError(
        f"there is no picture of {type(model).__name__}: an MlpMixer, a LinearMixer, a VisionTransformer and a ConvNet "
        "(a chain of parts, such as a ResNet) can be drawn"
    )


def _mixer(config: MixerConfig) -> ModelParts:
    branches = [_branch(config, mixing) for mixing in (_token_mixing(config), _channel_mixing(config)) if mixing]
    return ModelParts(
        "MLP-Mixer",
        config.parameter_count,
        (*_patches_and_stem(config), _blocks(config), Box("LayerNorm"), _mean(config), _head(config)),
        (Block("block", tuple(branches)),),
    )


def _linear_mixer(config: LinearMixerConfig) -> ModelParts:
    token = Box("token\nLinear", f"{config.num_tokens} x {config.num_tokens}", mixes=TOKENS)
    channel = Box("channel\nLinear", f"{config.hidden_dim} x {config.hidden_dim}", mixes=CHANNELS)
    return ModelParts(
        "linear Mixer",
        config.parameter_count,
        (*_patches_and_stem(config), _blocks(config), _mean(config), _head(config)),
        (Block("block", (Sum((token,)), Sum((channel,)))),),
    )


def _vit(config: ViTConfig) -> ModelParts:
    plus = "+1" if config.pool == "class" else ""
    shape, letters = f"{config.sequence_length} x {config.hidden_dim}", f"(S{plus}, B, C)"
    class_token = Box("class\ntoken", "learned, put before the patches", shape, letters)
    positions = Box("position\nembeddings", "learned, added to the tokens", "", letters)
    chosen = Box("class\ntoken", "the others are left out", str(config.hidden_dim), "(B, C)")
    return ModelParts(
        "Vision Transformer",
        config.parameter_count,
        (
            *_patches_and_stem(config),
            *((class_token,) if plus else ()),
            positions,
            _blocks(config),
            Box("LayerNorm"),
            chosen if plus else _mean(config),
            _head(config),
        ),
        (Block("block", (Sum((Box("LayerNorm"), _self_attention(config))), _branch(config, _channel_mixing(config)))),),
    )


def _patches_and_stem(config: PatchConfig) -> tuple[Box, ...]:
    size, channels, patch = config.image_size, config.in_channels, config.patch_size
    window = getattr(config, "window_size", patch)
    detail, words, letters = f"{patch} x {patch} pixels each", "patches", "(S, B, P·P·channels)"
    if window > patch:
        detail, words = f"{window} x {window} pixels, {patch} apart", "overlapping\npatches"
        letters = f"(S, B, {window}·{window}·channels)"
    stem = "a Linear, whitened and frozen" if getattr(config, "whitened_stem", False) else "a Linear for all patches"
    return (
        Box("image", "", f"{size} x {size} x {channels}"),
        Box(words, detail, f"{config.num_tokens} x {config.patch_features}", letters),
        Box("stem", stem, f"{config.num_tokens} x {config.hidden_dim}", "(S, B, C)"),
    )


def _blocks(config: PatchConfig) -> Box:
    return Box(f"a block, {config.num_blocks} times" if config.num_blocks > 1 else "a block", blocks=True)


def _mean(config: PatchConfig) -> Box:
    return Box("mean", "over the tokens", str(config.hidden_dim), "(B, C)")


def _head(config: PatchConfig) -> Box:
    return Box("head", "a Linear", str(config.num_classes), "(B, K)")


def _branch(config: MixerConfig | ViTConfig, mixing: Box) -> Sum:
    scale = (Box("LayerScale", "a factor for each channel"),) if getattr(config, "layer_scale", 0) else ()
    return Sum((Box("LayerNorm"), mixing, *scale))


def _token_mixing(config: MixerConfig) -> Box | None:
    """The token mixing of a block; None where it has none."""
    if config.tokens == "none":
        return None
    if config.tokens == "attention":
        return _self_attention(config)
    if config.tokens == "linear":
        return Box("token\nLinear", f"{config.num_tokens} x {config.num_tokens}", mixes=TOKENS)
    if config.tokens == "pool":
        return Box("token\npooling", "mean of 3 x 3 patches\nminus the patch", mixes=TOKENS)
    if config.tokens != "mlp":
        return Box(f"token\n{config.tokens}", mixes=TOKENS)
    if config.untied_groups > 1:
        each = config.hidden_dim // config.untied_groups
        detail = f"{config.untied_groups} MLPs, one for each {each} channels" if each > 1 else "an MLP for each channel"
        return Box("untied\ntoken\nmixing", f"{detail}\n{config.tokens_mlp_dim} hidden", mixes=TOKENS)
    if config.grouped_channels > 1:
        detail = f"an MLP that sees {config.grouped_channels} channels at once\n{config.tokens_mlp_dim} hidden"
        return Box("grouped\ntoken\nmixing", detail, mixes=BOTH)
    return Box("token\nmixing", f"an MLP, {config.tokens_mlp_dim} hidden", mixes=TOKENS)


def _self_attention(config: MixerConfig | ViTConfig) -> Box:
    return Box("self-\nattention", "1 head" if config.heads == 1 else f"{config.heads} heads", mixes=TOKENS)


def _channel_mixing(config: MixerConfig | ViTConfig) -> Box:
    if getattr(config, "gated", False):
        return Box("gated\nchannel\nmixing", f"an MLP with a gate\n{config.channels_mlp_dim} hidden", mixes=CHANNELS)
    return Box("channel\nmixing", f"an MLP, {config.channels_mlp_dim} hidden", mixes=CHANNELS)
