"""Sizes of models, by name: `preset("B/16")` is the configuration of Mixer-B/16.

Mixers are from table 1 of MLP-Mixer (Tolstikhin et al. 2021, arXiv 2105.01601): a letter for the size, and the side of
a patch. S/8 is not in that table; its weights were published with GSAM (Zhuang et al. 2022, arXiv 2203.08065). Other
models carry their name in front. ViT-S/16 is the size of DeiT-S (Touvron et al. 2021, arXiv 2012.12877, table 1),
ResNet-18 and ResNet-50 are from table 1 of He et al. 2016 (arXiv 1512.03385), BoTNet-50 is from table 1 of Srinivas et
al. 2021 (arXiv 2101.11605). The sizes for CIFAR-10 are ours, chosen to have about as many parameters as the Mixers that
they are compared with: R18 is a ResNet-18, BiT and NF (NF-ResNet) have its blocks, BoT (BoTNet) has bottleneck blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tinymixer.errors import ConfigError, nearest
from tinymixer.models.registry import config_class

PUBLISHED_CLASSES = 1000  # of ImageNet-1k, on which the paper's figures are given
PUBLISHED_SIZE = 224  # pixels a side


@dataclass(frozen=True)
class Preset:
    """A model of a size that has a name.

    name           as the paper writes it, "B/16"; models other than Mixers with their own name, "ViT-S/16"
    architecture   the registered name of the model
    sizes          fields of its configuration, all but the number of classes
    note           what a reader of a list should know; "" for nothing
    num_classes    of the data set that the size is for
    """

    name: str
    architecture: str
    sizes: Mapping[str, Any]
    note: str = ""
    num_classes: int = PUBLISHED_CLASSES


def _mixers() -> dict[str, Preset]:
    widths = {"S": (512, 8), "B": (768, 12), "L": (1024, 24), "H": (1280, 32)}  # letter -> C, number of blocks
    notes = {
        "S/8": "not in the paper's table: published with GSAM",
        "L/16": "as published, less accurate on ImageNet-1k than B/16 (top-1 72.1 % against 76.6 %, by timm's table): "
        "trained on ImageNet-1k alone it overfits. The two are not swapped",
    }
    presets = {}
    for name in ("S/32", "S/16", "S/8", "B/32", "B/16", "L/32", "L/16", "H/14"):
        letter, patch = name.split("/")
        channels, blocks = widths[letter]
        sizes = {
            "image_size": PUBLISHED_SIZE,
            "patch_size": int(patch),
            "hidden_dim": channels,
            "num_blocks": blocks,
            "tokens": "mlp",
            "tokens_mlp_dim": channels // 2,
            "channels_mlp_dim": channels * 4,
        }
        presets[name] = Preset(name, "mlp_mixer", MappingProxyType(sizes), notes.get(name, ""))
    return presets


def _vits() -> dict[str, Preset]:
    published = {"image_size": PUBLISHED_SIZE, "patch_size": 16, "hidden_dim": 384, "num_blocks": 12, "heads": 6}
    cifar10 = {"image_size": 32, "patch_size": 4, "num_blocks": 6}
    nano = cifar10 | {"hidden_dim": 128, "heads": 4, "channels_mlp_dim": 448}
    best = cifar10 | {"hidden_dim": 256, "heads": 8, "channels_mlp_dim": 896}
    return {
        "ViT-S/16": Preset("ViT-S/16", "vit", MappingProxyType(published | {"channels_mlp_dim": 1536})),
        "ViT-nano": Preset(
            "ViT-nano", "vit", MappingProxyType(nano), "for CIFAR-10, about as large as cifar10-nano", num_classes=10
        ),
        "ViT-best": Preset(
            "ViT-best", "vit", MappingProxyType(best), "for CIFAR-10, about as large as cifar10-best", num_classes=10
        ),
    }


def _convolutional() -> dict[str, Preset]:
    imagenet = {"image_size": PUBLISHED_SIZE, "width": 64, "stem": "imagenet"}
    presets = {
        "ResNet-18": Preset(
            "ResNet-18", "resnet", MappingProxyType(imagenet | {"depths": "2-2-2-2", "block": "basic"})
        ),
        "ResNet-50": Preset(
            "ResNet-50", "resnet", MappingProxyType(imagenet | {"depths": "3-4-6-3", "block": "bottleneck"})
        ),
        "BoTNet-50": Preset(
            "BoTNet-50", "botnet", MappingProxyType(imagenet | {"depths": "3-4-6-3", "block": "bottleneck", "heads": 4})
        ),
    }
    cifar10 = {"image_size": 32, "depths": "2-2-2-2", "stem": "cifar"}
    basic, bottleneck = {"block": "basic"}, {"block": "bottleneck", "heads": 4}
    for name, architecture, block, widths in (
        ("R18", "resnet", basic, (20, 40)),
        ("BiT", "bit", basic, (20, 40)),
        ("NF", "nf_resnet", basic, (20, 40)),
        ("BoT", "botnet", bottleneck, (21, 41)),
    ):
        for size, width in zip(("nano", "best"), widths, strict=True):
            presets[f"{name}-{size}"] = Preset(
                f"{name}-{size}", architecture, MappingProxyType(cifar10 | block | {"width": width}),
                f"for CIFAR-10, about as large as cifar10-{size}", num_classes=10,
            )  # fmt: skip
    return presets


PRESETS: Mapping[str, Preset] = MappingProxyType(_mixers() | _vits() | _convolutional())


def find_preset(name: str) -> Preset | None:
    """The preset of that name, as the paper writes it ("B/16") or a file name ("b_16", "Mixer-B_16"); else None."""
    return {_plain(known): found for known, found in PRESETS.items()}.get(_plain(name))


def _plain(name: str) -> str:
    return name.strip().upper().replace("_", "/").replace("-", "/").removeprefix("MIXER/")


def known_preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError for an unknown one."""
    found = find_preset(name)
    if found is None:
        raise ConfigError(
            f"there is no preset '{name}': expected one of {', '.join(PRESETS)}.{nearest(name.upper(), PRESETS)}"
        )
    return found


def preset(name: str, num_classes: int | None = None, **changes: Any) -> Any:
    """The configuration of the size of that name; changes are other fields of it, such as gelu="erf".

    num_classes   None for as many as the size is for: 1000, or CIFAR-10's 10

    Raises ConfigError for an unknown name, and for fields that do not fit.
    """
    found = known_preset(name)
    classes = found.num_classes if num_classes is None else num_classes
    return config_class(found.architecture).from_dict({**found.sizes, "num_classes": classes, **changes})
