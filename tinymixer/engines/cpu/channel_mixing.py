"""The branch that mixes channels, on one slice. Beside it: `layers/mlp.py`, and `folding.py` for the weights."""

from typing import TYPE_CHECKING, Any

from tinymixer.engines.cpu.gradient_accumulator import GradientAccumulator, Views
from tinymixer.engines.cpu.masks import BranchMasks
from tinymixer.models.mixer_config import MixerConfig

if TYPE_CHECKING:
    from tinymixer.engines.cpu.workspace import Keep, Workspace


import numpy as np

from tinymixer.engines.cpu.gelu import activate, gelu_pieces
from tinymixer.engines.cpu.layer_norm import normalise, normalise_backward

# Rows of the hidden layer made at a time: enough for a product to run at full speed. More leave the cache, which a
# forward pass alone, with fewer arrays, can better afford.
ROWS, FORWARD_ROWS = 512, 1024


class ChannelMixing:
    """x = x + channel_mixing(norm(x)) for one block, on the slice in a workspace, and the way back.

    x (S*n, C) comes in centred over channels and leaves centred; the hidden layer is (S*n, DC). It is made, bent by
    GELU and multiplied again some tokens at a time, while they are in the cache. What the way back needs of the forward
    pass lies here: x_hat + 1 (`x_hat_plus_one`, see folding.py), inv_std, the hidden layer and GELU's slope.
    """

    def __init__(self, ws: "Workspace", config: MixerConfig, keep: "Keep") -> None:
        (S, n, C), DC = ws.shape, config.channels_mlp_dim
        self.ws, self.eps = ws, config.layer_norm_eps
        self.x_hat_plus_one, self.inv_std = keep("x_hat", S * n, C), keep("inv_std", S * n)
        step = min(S, max(1, (ROWS if ws.train else FORWARD_ROWS) // n))  # tokens at a time
        kept = (S if ws.train else step) * n, DC
        self.hidden = keep("hidden", *kept)
        self.slope: Any = keep("slope", *kept) if ws.train else None
        self.parts = [self._part(slice(start, min(S, start + step))) for start in range(0, S, step)]
        if ws.train:
            self.dhidden = ws.dhidden[: S * n * DC].reshape(S * n, DC)

    def _part(self, tokens: slice) -> tuple[Any, ...]:
        """Some tokens' arrays: x_hat + 1, GELU's input, the hidden layer, its slope, the branch, pieces for GELU."""
        ws, n = self.ws, self.ws.shape[1]
        rows = slice(tokens.start * n, tokens.stop * n)
        kept = rows if ws.train else slice(0, rows.stop - rows.start)
        hidden, slope = self.hidden[kept], self.slope[kept] if ws.train else None
        into: Any = slope if ws.train else hidden
        pieces = gelu_pieces(into, hidden, slope, ws.gelu_scratch)
        return tokens, self.x_hat_plus_one[rows], into, hidden, slope, ws.branch[rows], pieces

    def forward(self, folded: Any, masks: BranchMasks) -> None:
        ws = self.ws
        normalise(ws.x, self.x_hat_plus_one, self.inv_std, self.eps)
        np.add(self.x_hat_plus_one, 1.0, self.x_hat_plus_one)
        for tokens, x_hat_plus_one, into, hidden, slope, branch, pieces in self.parts:
            np.matmul(x_hat_plus_one, folded.channel1, out=into)
            activate(folded.gelu, pieces)
            masks.drop_hidden(hidden, slope, tokens)
            np.matmul(hidden, folded.channel2, out=branch)
        np.add(ws.branch, folded.channel_bias2, ws.branch)
        masks.drop_branch(ws.branch_by_image)
        np.add(ws.x, ws.branch, ws.x)

    def backward(self, folded: Any, g: Views, accumulator: GradientAccumulator, masks: BranchMasks) -> None:
        """Through the sum and the branch, in the workspace's dx (S*n, C); a block's gradients go into g."""
        ws = self.ws
        dbranch = masks.branch_gradient(ws.dx_by_image, ws.branch_by_image).reshape(ws.dx.shape)
        accumulator.product(np.matmul, self.hidden.T, dbranch, g["channel_mixing.weight2"])
        accumulator.product(np.matmul, ws.ones, dbranch, g["channel_mixing.bias2"])
        np.matmul(dbranch, folded.channel2_t, out=self.dhidden)
        np.multiply(self.dhidden, self.slope, self.dhidden)
        accumulator.product(np.matmul, self.x_hat_plus_one.T, self.dhidden, g["channel_mixing.weight1"])
        np.matmul(self.dhidden, folded.channel1_t, out=ws.dx_hat)  # arrives centred
        # So its products with x_hat and with x_hat + 1 add up to the same; the 1 adds a constant to a row of dx.
        np.vecdot(ws.dx_hat, self.x_hat_plus_one, out=ws.row_scratch)
        np.multiply(ws.row_scratch, 1 / ws.shape[2], ws.row_scratch)
        normalise_backward(ws.dx_hat, self.x_hat_plus_one, self.inv_std, ws.row_scratch)
        np.add(ws.dx, ws.dx_hat, ws.dx)
