"""Whole networks, registered by name: `Model` is their common contract; read `mlp_mixer.py` first."""

from tinymixer.models.bit import Bit, BitConfig
from tinymixer.models.botnet import BoTNet, BoTNetConfig
from tinymixer.models.convnet import ConvNet, ConvNetConfig
from tinymixer.models.linear_mixer import LinearMixer, LinearMixerConfig
from tinymixer.models.mixer_config import MixerConfig
from tinymixer.models.mlp_mixer import MlpMixer
from tinymixer.models.model import Model, has_independent_images, meets_in_batch_norm
from tinymixer.models.nf_resnet import NfResNet, NfResNetConfig
from tinymixer.models.prediction import Prediction
from tinymixer.models.presets import PRESETS, preset
from tinymixer.models.registry import (
    architecture_of,
    architectures,
    config_class,
    make_model,
    model_class,
    register_model,
)
from tinymixer.models.resnet import ResNet, ResNetConfig
from tinymixer.models.stock import difference_from_stock
from tinymixer.models.vit import VisionTransformer, ViTConfig

__all__ = [
    "PRESETS",
    "Bit",
    "BitConfig",
    "BoTNet",
    "BoTNetConfig",
    "ConvNet",
    "ConvNetConfig",
    "LinearMixer",
    "LinearMixerConfig",
    "MixerConfig",
    "MlpMixer",
    "Model",
    "NfResNet",
    "NfResNetConfig",
    "Prediction",
    "ResNet",
    "ResNetConfig",
    "ViTConfig",
    "VisionTransformer",
    "architecture_of",
    "architectures",
    "config_class",
    "difference_from_stock",
    "has_independent_images",
    "make_model",
    "meets_in_batch_norm",
    "model_class",
    "preset",
    "register_model",
]
