"""The channel-mixing branch on one slice. To compare: `layers/mlp.py`; its weights are folded by `folding.py`."""

from typing import TYPE_CHECKING, Any

from tinymixer.engines.cpu.gradient_accumulator import GradientAccumulator, Views
from tinymixer.engines.cpu.masks import BranchMasks
from tinymixer.models.mixer_config import MixerConfig

if TYPE_CHECKING:
    from tinymixer.engines.cpu.workspace import Keep, Workspace


import numpy as np

from tinymixer.engines.cpu.gelu import activate, gelu_chunks
from tinymixer.engines.cpu.layer_norm import normalise, normalise_backward

# Rows of the hidden layer computed at a time: enough for a product to run at full speed, few enough for the cache. A
# forward pass alone uses fewer arrays, so it can take more rows.
ROWS, FORWARD_ROWS = 512, 1024


class ChannelMixing:
    """x = x + channel_mixing(norm(x)) for one block, on the slice in a workspace, forward and backward.

    x (S*n, C) is centred over channels, before and after; the hidden layer is (S*n, DC). For some tokens at a time, the
    first product, GELU and the second product follow each other while the tokens are in the cache. This object keeps
    what the backward pass needs: x_hat + 1 (see `folding.py`), inv_std, the hidden layer and GELU's slope.
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
        """Some tokens' arrays: x_hat + 1, GELU's input, the hidden layer, its slope, the branch, GELU's chunks."""
        ws, n = self.ws, self.ws.shape[1]
        rows = slice(tokens.start * n, tokens.stop * n)
        kept = rows if ws.train else slice(0, rows.stop - rows.start)
        hidden, slope = self.hidden[kept], self.slope[kept] if ws.train else None
        gelu_input: Any = slope if ws.train else hidden
        chunks = gelu_chunks(gelu_input, hidden, slope, ws.gelu_scratch)
        return tokens, self.x_hat_plus_one[rows], gelu_input, hidden, slope, ws.branch[rows], chunks

    def forward(self, folded: Any, masks: BranchMasks) -> None:
        ws = self.ws
        normalise(ws.x, self.x_hat_plus_one, self.inv_std, self.eps)
        np.add(self.x_hat_plus_one, 1.0, self.x_hat_plus_one)
        for tokens, x_hat_plus_one, gelu_input, hidden, slope, branch, chunks in self.parts:
            np.matmul(x_hat_plus_one, folded.channel1, out=gelu_input)
            activate(folded.gelu, chunks)
            masks.drop_hidden(hidden, slope, tokens)
            np.matmul(hidden, folded.channel2, out=branch)
        np.add(ws.branch, folded.channel_bias2, ws.branch)
        masks.drop_branch(ws.branch_by_image)
        np.add(ws.x, ws.branch, ws.x)

    def backward(self, folded: Any, g: Views, accumulator: GradientAccumulator, masks: BranchMasks) -> None:
        """From the gradient of the output to that of x, in the workspace's dx (S*n, C); the weights' go into g."""
        ws = self.ws
        dbranch = masks.branch_gradient(ws.dx_by_image, ws.branch_by_image).reshape(ws.dx.shape)
        accumulator.product(np.matmul, self.hidden.T, dbranch, g["channel_mixing.weight2"])
        accumulator.product(np.matmul, ws.ones, dbranch, g["channel_mixing.bias2"])
        np.matmul(dbranch, folded.channel2_t, out=self.dhidden)
        np.multiply(self.dhidden, self.slope, self.dhidden)
        accumulator.product(np.matmul, self.x_hat_plus_one.T, self.dhidden, g["channel_mixing.weight1"])
        np.matmul(self.dhidden, folded.channel1_t, out=ws.dx_hat)  # centred, see folding.py
        # So x_hat + 1 can stand for x_hat: these sums are equal, and dx is off by a constant in each row (folding.py).
        np.vecdot(ws.dx_hat, self.x_hat_plus_one, out=ws.row_scratch)
        np.multiply(ws.row_scratch, 1 / ws.shape[2], ws.row_scratch)
        normalise_backward(ws.dx_hat, self.x_hat_plus_one, self.inv_std, ws.row_scratch)
        np.add(ws.dx, ws.dx_hat, ws.dx)
