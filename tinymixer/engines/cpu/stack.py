"""All blocks of a model as one array: in a flat vector they lie one after the other, with the same layout."""

from collections.abc import Mapping

import numpy as np

from tinymixer.models.mlp_mixer import MlpMixer

AT_ONCE = 1 << 20  # weights for one call of NumPy: fewer need more calls, more do not fit in the cache


class BlockStack:
    """Views of a flat vector (weights, gradients) in which the blocks are the first axis.

    count     L, the blocks
    at_once   number of blocks that one call of NumPy should work on
    """

    def __init__(self, model: MlpMixer) -> None:
        spans = [model.parameters.span(f"blocks.{i}") for i in range(len(model.blocks))]
        self.count, self._span = len(spans), slice(spans[0].start, spans[-1].stop)
        self._layout = model.blocks[0].parameters
        self.at_once = max(1, AT_ONCE // (spans[0].stop - spans[0].start))

    def rows(self, vector: np.ndarray) -> np.ndarray:
        """(L, size of a block), padding included."""
        return vector[self._span].reshape(self.count, -1)

    def views(self, vector: np.ndarray, blocks: slice) -> Mapping[str, np.ndarray]:
        """name -> (l, *shape) for some of the blocks (a slice)."""
        return self._layout.views_of(self.rows(vector)[blocks])
