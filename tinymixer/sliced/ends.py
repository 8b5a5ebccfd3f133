"""What stands before the blocks and behind them, on one slice: stem and head. Beside it: `layers/mlp_mixer.py`."""

import numpy as np

from tinymixer.ops import images_to_patches_forward
from tinymixer.sliced.layer_norm import normalise, normalise_backward


class Stem:
    """From a slice's images to x (S*n, C), centred over channels, in its workspace."""

    def __init__(self, ws, config):
        self.ws, self.patch_size = ws, config.patch_size

    def forward(self, folded, images):
        """images (n, height, width, in_channels)"""
        x = self.ws.x
        patches, _ = images_to_patches_forward(images, self.patch_size)  # (S, n, P*P*in_channels)
        self.patches = patches.reshape(len(x), -1)
        np.matmul(self.patches, folded.stem_weight, out=x)
        np.add(x, folded.stem_bias, x)

    def backward(self, sink):
        """From dx in the workspace to the stem's gradients; a picture's own is nobody's concern."""
        sink.product(np.matmul, self.patches.T, self.ws.dx, sink.top["stem.weight"])
        sink.product(np.matmul, self.ws.ones, self.ws.dx, sink.top["stem.bias"])


class Head:
    """From x (S*n, C) to logits (n, K): LayerNorm, the mean over tokens, the last Linear.

    The mean is taken before LayerNorm's scale and bias, which are the same for all tokens.
    """

    def __init__(self, ws, config, keep):
        S, n, C = ws.shape
        self.ws, self.eps = ws, config.layer_norm_eps
        self.x_hat, self.inv_std = keep("x_hat", S * n, C), keep("inv_std", S * n)
        self.x_hat_wide = self.x_hat.reshape(S, n * C)

    def forward(self, norm, head):
        ws = self.ws
        normalise(ws.x, self.x_hat, self.inv_std, self.eps)
        self.pooled = (ws.mean_over_tokens @ self.x_hat_wide).reshape(ws.shape[1:])  # (n, C)
        self.features = self.pooled * norm["scale"] + norm["bias"]  # (n, C)
        return self.features @ head["weight"] + head["bias"]

    def backward(self, dlogits, norm, head, sink):
        """dlogits (n, K)  ->  dx in the workspace"""
        ws, g, (S, n, C) = self.ws, sink.top, self.ws.shape
        one_per_image = ws.ones[:n]
        sink.product(np.matmul, self.features.T, dlogits, g["head.weight"])
        sink.product(np.matmul, one_per_image, dlogits, g["head.bias"])
        dfeatures = dlogits @ head["weight"].T  # (n, C)
        sink.product(np.matmul, one_per_image, dfeatures, g["pre_head_layer_norm.bias"])
        sink.product(np.matmul, one_per_image, dfeatures * self.pooled, g["pre_head_layer_norm.scale"])
        ws.dx_by_image[...] = dfeatures * (norm["scale"] * (1 / S))  # (n, C), the same for every token
        np.vecdot(ws.dx, self.x_hat, out=ws.row_scratch)
        np.multiply(ws.row_scratch, 1 / C, ws.row_scratch)
        normalise_backward(ws.dx, self.x_hat, self.inv_std, ws.row_scratch)
