"""The token-mixing branch on one slice. To compare: `layers/mlp.py`; its weights are folded by `folding.py`."""

from typing import TYPE_CHECKING, Any

from tinymixer.engines.cpu.gradient_accumulator import GradientAccumulator, Views
from tinymixer.engines.cpu.masks import BranchMasks
from tinymixer.models.mixer_config import MixerConfig

if TYPE_CHECKING:
    from tinymixer.engines.cpu.workspace import Keep, Workspace


import numpy as np

from tinymixer.engines.cpu.gelu import activate, gelu_chunks
from tinymixer.engines.cpu.layer_norm import centre, normalise, normalise_backward
from tinymixer.engines.cpu.products import multiply_across, multiply_left


class TokenMixing:
    """x = x + token_mixing(norm(x)) for one block, on the slice in a workspace, forward and backward.

    x (S*n, C) is centred over channels, before and after; the hidden layer is (DS, n*C). This object keeps what the
    backward pass needs: x_hat, inv_std, the hidden layer and GELU's slope.
    """

    def __init__(self, ws: "Workspace", config: MixerConfig, keep: "Keep") -> None:
        (S, n, C), DS = ws.shape, config.tokens_mlp_dim
        self.ws, self.eps = ws, config.layer_norm_eps
        self.x_hat, self.inv_std = keep("x_hat", S * n, C), keep("inv_std", S * n)
        self.hidden = keep("hidden", DS, n * C)
        self.slope: Any = keep("slope", DS, n * C) if ws.train else None
        # GELU works in place: its slope (without training, its output) overwrites its input.
        self.gelu_input = self.hidden if self.slope is None else self.slope
        self.gelu_chunks = gelu_chunks(self.gelu_input, self.hidden, self.slope, ws.gelu_scratch)
        # Views of the same arrays in the shapes that the products need.
        self.x_hat_wide, self.input_by_image = self.x_hat.reshape(S, n * C), self.gelu_input.reshape(DS, n, C)
        self.branch_wide = ws.branch.reshape(S, n * C)
        if ws.train:
            self.dx_hat_wide = ws.dx_hat.reshape(S, n * C)
            self.dhidden = ws.dhidden[: DS * n * C].reshape(DS, n * C)
            self.dhidden_by_image = self.dhidden.reshape(DS, n, C)

    def forward(self, folded: Any, masks: BranchMasks) -> None:
        ws = self.ws
        normalise(ws.x, self.x_hat, self.inv_std, self.eps)
        multiply_left(folded.token1_t, self.x_hat_wide, self.gelu_input)
        np.copyto(ws.scale_by_image, folded.token_scale)
        np.multiply(self.gelu_input, ws.scale_wide, self.gelu_input)
        np.add(self.input_by_image, folded.token_bias1, self.input_by_image)
        activate(folded.gelu, self.gelu_chunks)
        masks.drop_hidden(self.hidden, self.slope)
        multiply_left(folded.token2_t, self.hidden, self.branch_wide)
        masks.drop_branch(ws.branch_by_image)
        np.add(ws.x, ws.branch, ws.x)
        centre(ws.x, ws.row_scratch, ws.mean_over_channels)

    def backward(self, folded: Any, g: Views, accumulator: GradientAccumulator, masks: BranchMasks) -> None:
        """From the gradient of the output to that of x, in the workspace's dx (S*n, C); the weights' go into g."""
        ws = self.ws
        centre(ws.dx, ws.row_scratch, ws.mean_over_channels)
        dbranch = masks.branch_gradient(ws.dx_by_image, ws.branch_by_image).reshape(self.branch_wide.shape)
        accumulator.product(multiply_across, dbranch, self.hidden, g["token_mixing.weight2"])
        multiply_left(folded.token2, dbranch, self.dhidden)
        np.multiply(self.dhidden, self.slope, self.dhidden)
        accumulator.product(np.matmul, ws.one_per_image, self.dhidden_by_image, g["token_bias1"])
        np.copyto(ws.scale_by_image, folded.token_scale)
        np.multiply(self.dhidden, ws.scale_wide, self.dhidden)
        accumulator.product(multiply_across, self.dhidden, self.x_hat_wide, g["token_mixing.weight1"])
        multiply_left(folded.token1, self.dhidden, self.dx_hat_wide)
        both = np.multiply(ws.dx_hat, self.x_hat, ws.branch)  # summed for LayerNorm's scale and its dx
        accumulator.product(np.matmul, ws.ones, both, g["token_norm.scale"])
        np.matmul(both, ws.mean_over_channels, out=ws.row_scratch)
        normalise_backward(ws.dx_hat, self.x_hat, self.inv_std, ws.row_scratch)
        np.add(ws.dx, ws.dx_hat, ws.dx)
