"""The config.json that lies beside timm's model.safetensors: how pictures are prepared for exactly these weights."""

import json
from pathlib import Path
from typing import Any

from tinymixer.borders import guarded, read_text, shown_path
from tinymixer.errors import CheckpointError
from tinymixer.pretrained.preprocessing import Preprocessing

NAME = "config.json"
LARGEST = 1_000_000  # bytes


def read_timm_config(folder: Path, image_size: int, channels: int) -> Preprocessing | None:
    """The preprocessing in the folder's config.json; None where there is none, or one that is not timm's.

    Raises CheckpointError for one of timm's that cannot be followed.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    with guarded(CheckpointError, f"{shown_path(path)} cannot be read"):
        values = json.loads(read_text(path, CheckpointError, LARGEST))
        if not isinstance(values, dict) or "architecture" not in values:
            return None
        settings = values | (values.get("pretrained_cfg") or {})
        return _preprocessing(settings, image_size, channels)


def _preprocessing(settings: dict[str, Any], image_size: int, channels: int) -> Preprocessing:
    interpolation, share = settings.get("interpolation", "bicubic"), float(settings.get("crop_pct", 0.875))
    if interpolation not in ("bicubic", "bilinear") or settings.get("crop_mode", "center") != "center":
        raise CheckpointError(f"it asks for {interpolation} pictures, which are not made here")
    if not 0.05 < share <= 1:
        raise CheckpointError(f"it asks for a crop of {share:g} of the picture")
    mean, std = (tuple(float(value) for value in settings.get(name, [0.5] * channels)) for name in ("mean", "std"))
    return Preprocessing(
        f"timm, by its {NAME}", image_size, "short side", interpolation, mean, std, channels, int(image_size / share)
    )
