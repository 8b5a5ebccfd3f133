"""The coins of dropout and stochastic depth for a whole batch, thrown before it is cut into slices.

They are thrown in the order in which the layers would, so that the same generator drops the same things either way.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BranchMasks:
    """What is dropped in one branch of a block, as factors 0 or 1 / (1 - rate); None where nothing is.

    hidden   (DS, B, C) or (S, B, DC), dropout of the hidden layer
    branch   (B,), stochastic depth
    """

    hidden: np.ndarray | None = None
    branch: np.ndarray | None = None

    def of_slice(self, images):
        """The masks of some of the images."""
        hidden = None if self.hidden is None else self.hidden[:, images]
        return BranchMasks(hidden, None if self.branch is None else self.branch[images])

    def drop_hidden(self, hidden, slope, rows=slice(None)):
        """Drop from the hidden layer, and from the slope through which gradients come back to it.

        rows   those of the mask (hidden units or tokens) that the arrays hold
        """
        if self.hidden is not None:
            mask = self.hidden[rows]
            for array in (hidden, slope):
                view = array.reshape(mask.shape)
                np.multiply(view, mask, view)

    def drop_branch(self, branch):
        """branch (S, n, C)"""
        if self.branch is not None:
            np.multiply(branch, self.branch[:, None], branch)

    def branch_gradient(self, dx, scratch):
        """The part of dx (S, n, C) that goes into the branch."""
        return dx if self.branch is None else np.multiply(dx, self.branch[:, None], scratch)


NOTHING_DROPPED = BranchMasks()


def draw_masks(model, images, rng):
    """The masks of every block's token-mixing and channel-mixing branch, for so many images: [(token, channel), ...]"""
    config = model.config
    token_hidden = (config.tokens_mlp_dim, images, config.hidden_dim)
    channel_hidden = (config.num_tokens, images, config.channels_mlp_dim)
    masks = []
    for block in model.blocks:
        branches = []
        for shape in (token_hidden, channel_hidden):
            hidden = _factors(model, shape, config.dropout, rng)
            branches.append(BranchMasks(hidden, _factors(model, (images,), block.drop_path, rng)))
        masks.append(tuple(branches))
    return masks


def _factors(model, shape, rate, rng):
    if not rate:
        return None
    keep = model.keep_mask(shape, rate, rng)
    return np.multiply(keep, 1 / (1 - rate), dtype=model.parameters.dtype)
