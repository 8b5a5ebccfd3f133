"""Stochastic depth on the GPU: by how much each image's share of each branch is multiplied."""

from typing import Any

import numpy as np

from tinymixer.engines.cuda.bernoulli_masks import branch_limits, branch_places, branch_rates
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import Kernels

i32 = np.int32


class BranchFactors:
    """The factors of a whole batch (branches, images): 0 where a branch is dropped, 1 / (1 - rate) elsewhere."""

    def __init__(self, cupy: Any, num_blocks: int, drop_path: float, images: int) -> None:
        self._rates = branch_rates(num_blocks, drop_path)  # (branches,)
        self._factors = cupy.zeros((len(self._rates), images), np.float32)  # (branches, images)
        self._device_rates = cupy.asarray(self._rates)  # (branches,)
        self._device_places = cupy.asarray(branch_places(num_blocks))  # (branches,)
        self._device_limits = cupy.asarray(branch_limits(num_blocks, drop_path))  # (branches,)

    def draw(self, kernels: Kernels, key: Any) -> None:
        """Draw all of them under a step's key, where any branch is ever dropped."""
        branches, images = self._factors.shape
        if self._rates.any():
            kernels.launch(
                "branch_factors<float>", layouts.flat(branches * images), key, self._device_places,
                self._device_limits, self._device_rates, self._factors, i32(branches), i32(images),
            )  # fmt: skip

    def of(self, branch: int, first_image: int) -> Any:
        """The factors of a branch from an image on; None where it is never dropped, and for branch -1, the stem's."""
        return self._factors[branch, first_image:] if branch >= 0 and self._rates[branch] else None
