"""The models that are compared, the batch that each is measured at, and the work in a step: operations and bytes."""

import re

from tinymixer.errors import ConfigError, nearest
from tinymixer.models import MixerConfig, architectures, config_class, make_model, preset
from tinymixer.models.presets import PUBLISHED_SIZE, find_preset
from tinymixer.models.summary import layer_rows
from tinymixer.options import Options

NANO = MixerConfig()
SMALL = MixerConfig(hidden_dim=256, tokens_mlp_dim=128, channels_mlp_dim=1024)
SMALL4 = MixerConfig(hidden_dim=512, tokens_mlp_dim=256, channels_mlp_dim=2048)
MODELS = {"nano": (NANO, 512), "small": (SMALL, 512), "small/4": (SMALL4, 1024)}  # with the batch for a GPU
CPU_BATCHES = {"nano": 128, "small": 128, "small/4": 64}
PRESET_BATCHES = {"cuda": 64, "cpu": 16}  # of a published size, at 224 x 224
SIZES = {
    "C": "hidden_dim", "DS": "tokens_mlp_dim", "DC": "channels_mlp_dim", "L": "num_blocks", "P": "patch_size",
    "K": "num_classes", "image": "image_size",
}  # fmt: skip


def parse_model(text: str) -> Options:
    """A model by its name, a preset such as "B/16" or "ViT-nano", or sizes such as "C=192,DS=96,DC=768,L=8"; sizes that
    are not given are nano's.

    Raises ConfigError for an unknown name or size.
    """
    if text in MODELS:
        return MODELS[text][0]
    if find_preset(text) is not None:
        config: Options = preset(text)
        return config
    if "=" not in text:
        raise ConfigError(
            f"unknown model '{text}': expected {', '.join(MODELS)}, a preset such as B/16 or ViT-nano, or sizes such "
            "as C=192,DS=96,DC=768,L=8."
            f"{nearest(text, MODELS)}"
        )
    chosen: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition("="))
        if name not in SIZES:
            raise ConfigError(f"a model has no size '{name}': expected {', '.join(SIZES)}.{nearest(name, SIZES)}")
        if not re.fullmatch(r"[0-9]{1,6}", number):
            raise ConfigError(f"the size {name} must be a whole number up to 999999, got '{number}'")
        chosen[SIZES[name]] = int(number)
    return MixerConfig(**(NANO.to_dict() | chosen))


def default_batch(name: str, device: str) -> int:
    """The batch of the published tables; nano's batch for a model given by sizes, and for presets of small images."""
    found = None if name in MODELS else find_preset(name)
    if found is not None and found.sizes["image_size"] == PUBLISHED_SIZE:
        return PRESET_BATCHES["cuda" if device == "cuda" else "cpu"]
    if device == "cuda":
        return MODELS.get(name, MODELS["nano"])[1]
    return CPU_BATCHES.get(name, CPU_BATCHES["nano"])


def architecture_of(config: Options) -> str:
    """The registered name of the model that is built from this configuration."""
    return next(name for name in architectures() if config_class(name) is type(config))


def step_flops(config: Options, batch: int, forward: bool = False) -> float:
    """Floating-point operations of the matrix products in a training step, or with `forward` in the forward pass.

    A product of the blocks runs once forward and twice backward. The stem needs no gradient for the images, so its
    product counts twice. A Mixer's head is tiny and is left out. Other models' products are counted layer by layer.
    """
    if not isinstance(config, MixerConfig):
        rows = layer_rows(make_model(architecture_of(config), config, seed=None))
        every, first = sum(row.multiply_adds for row in rows), rows[0].multiply_adds
        return 2.0 * batch * (every if forward else 3 * every - first)
    S, C, DS, DC = config.num_tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
    blocks = config.num_blocks * 2 * (S * C * DC + S * C * DS)
    stem = S * config.patch_features * C
    return 2.0 * batch * (blocks + stem if forward else 3 * blocks + 2 * stem)


def step_bytes(config: Options, batch: int, itemsize: int, forward: bool = False) -> float | None:
    """Bytes that a step moves if every operation reads its arrays from memory and writes its results there.

    As in docs/gpu.md, the unit is one pass over the residual stream, X = S * B * C numbers. With hidden layers of t X
    and c X numbers, a block makes 12 + 4 (t + c) passes forward and 16 + 7 (t + c) backward. A step that keeps arrays
    in a cache between operations moves less, so it can seem to exceed the copy rate. None for models other than Mixers:
    their passes have not been counted.
    """
    if not isinstance(config, MixerConfig):
        return None
    hidden = config.tokens_mlp_dim / config.num_tokens + config.channels_mlp_dim / config.hidden_dim
    passes, stem_and_head = (12 + 4 * hidden, 4) if forward else (28 + 11 * hidden, 8)
    return config.num_tokens * batch * config.hidden_dim * itemsize * (config.num_blocks * passes + stem_and_head)
