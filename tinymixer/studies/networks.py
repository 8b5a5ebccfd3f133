"""The networks that more than one study compares, as changes of the recipe."""

from collections.abc import Mapping
from typing import Any

TRANSFORMER: Mapping[str, Any] = {"architecture": "vit", "pool": "mean"}  # the mean over tokens, as the Mixer has it
MODELS: Mapping[str, Mapping[str, Any]] = {
    "mixer": {},
    "vit": TRANSFORMER,
    "resnet": {"architecture": "resnet", "depths": "1-1-1"},
}
