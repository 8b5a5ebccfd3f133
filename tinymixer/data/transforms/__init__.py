"""Strong augmentation: geometry, colour and erasing; RandAugment and TrivialAugment; mixup and CutMix."""

from tinymixer.data.transforms.catalogue import POLICY_TRANSFORMS, TRANSFORMS
from tinymixer.data.transforms.pipeline import Drawn, Use, apply, draw, erase, parse

__all__ = ["POLICY_TRANSFORMS", "TRANSFORMS", "Drawn", "Use", "apply", "draw", "erase", "parse"]
