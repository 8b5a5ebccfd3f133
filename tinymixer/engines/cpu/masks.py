"""The Bernoulli masks of dropout and stochastic depth for one slice: the layers' masks of its images."""

from dataclasses import dataclass

import numpy as np

from tinymixer.draws import Draws
from tinymixer.layers.layer import Layer
from tinymixer.models.mlp_mixer import MlpMixer


@dataclass(frozen=True)
class BranchMasks:
    """Factors 0 or 1 / (1 - rate) for one branch of a block; None where nothing is dropped.

    hidden   (DS, n, C) or (S, n, DC), dropout of the hidden layer
    branch   (n,), stochastic depth
    """

    hidden: np.ndarray | None = None
    branch: np.ndarray | None = None

    def drop_hidden(self, hidden: np.ndarray, slope: np.ndarray, rows: slice = slice(None)) -> None:
        """Multiply the hidden layer, and the slope that its gradient is multiplied by, by the mask, in place.

        rows   the rows of the mask (hidden units or tokens) that the two arrays hold
        """
        if self.hidden is not None:
            mask = self.hidden[rows]
            for array in (hidden, slope):
                view = array.reshape(mask.shape)
                np.multiply(view, mask, view)

    def drop_branch(self, branch: np.ndarray) -> None:
        """Multiply the branch's output (S, n, C) by its images' factors, in place."""
        if self.branch is not None:
            np.multiply(branch, self.branch[:, None], branch)

    def branch_gradient(self, dx: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """The gradient that goes into the branch: dx (S, n, C), times the images' factors."""
        return dx if self.branch is None else np.multiply(dx, self.branch[:, None], scratch)


NOTHING_DROPPED = BranchMasks()
BlockMasks = tuple[BranchMasks, BranchMasks]  # of a block's token-mixing and channel-mixing branch


def draw_masks(model: MlpMixer, images: int, rng: Draws | None) -> list[BlockMasks]:
    """The masks of every block for a slice of `images` images; rng: the `Draws` of these images."""
    config = model.config
    token_hidden = (config.tokens_mlp_dim, images, config.hidden_dim)
    channel_hidden = (config.num_tokens, images, config.channels_mlp_dim)

    def masks(mixing: Layer, shape: tuple[int, ...], drop_path: float) -> BranchMasks:
        return BranchMasks(
            _factors(mixing, shape, config.dropout, rng, "dropout", 1),
            _factors(mixing, (images,), drop_path, rng, "drop_path", 0),
        )

    return [
        (
            masks(block.token_mixing, token_hidden, block.drop_path),
            masks(block.channel_mixing, channel_hidden, block.drop_path),
        )
        for block in model.blocks
    ]


def _factors(
    layer: Layer, shape: tuple[int, ...], rate: float, rng: Draws | None, place: str, image_axis: int
) -> np.ndarray | None:
    if not rate:
        return None
    keep = layer.keep_mask(shape, rate, rng, place, image_axis)
    return np.multiply(keep, 1 / (1 - rate), dtype=layer.parameters.dtype, order="C")  # in the hidden layer's order
