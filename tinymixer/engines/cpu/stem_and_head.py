"""Stem and head, on one slice. To compare: `models/mlp_mixer.py`."""

from typing import TYPE_CHECKING, Any

from tinymixer.engines.cpu.gradient_accumulator import GradientAccumulator
from tinymixer.models.mixer_config import MixerConfig
from tinymixer.parameters import Parameters

if TYPE_CHECKING:
    from tinymixer.engines.cpu.workspace import Keep, Workspace


import numpy as np

from tinymixer.engines.cpu.layer_norm import normalise, normalise_backward
from tinymixer.engines.cpu.windows import cut_windows, pad_reflected
from tinymixer.ops import images_to_patches_forward


class Stem:
    """From a slice's images to x (S*n, C), centred over channels, in its workspace."""

    def __init__(self, ws: "Workspace", config: MixerConfig, keep: "Keep") -> None:
        self.ws, self.patch_size, self.window_size = ws, config.patch_size, config.window_size
        self.overlap = config.overlap
        if self.overlap:
            S, n, _ = ws.shape
            side = config.image_size + 2 * self.overlap
            self.wide = keep("wide images", n, side, side, config.in_channels)
            self.patches = keep("windows", S * n, config.patch_features)

    def forward(self, folded: Any, images: np.ndarray) -> None:
        """images (n, height, width, in_channels)"""
        x = self.ws.x
        if self.overlap:
            pad_reflected(images, self.overlap, self.wide)
            cut_windows(self.wide, self.patch_size, self.window_size, self.patches)  # (S*n, features)
        else:
            patches, _ = images_to_patches_forward(images, self.patch_size)  # (S, n, features)
            self.patches = patches.reshape(len(x), -1)
        np.matmul(self.patches, folded.stem_weight, out=x)
        np.add(x, folded.stem_bias, x)

    def backward(self, accumulator: GradientAccumulator) -> None:
        """From dx in the workspace to the stem's gradients. The images' gradient is not computed."""
        accumulator.product(np.matmul, self.patches.T, self.ws.dx, accumulator.top["stem.weight"])
        accumulator.product(np.matmul, self.ws.ones, self.ws.dx, accumulator.top["stem.bias"])


class Head:
    """From x (S*n, C) to logits (n, K): LayerNorm, the mean over tokens, the last Linear.

    The mean is taken before LayerNorm's scale and bias, which are the same for all tokens.
    """

    def __init__(self, ws: "Workspace", config: MixerConfig, keep: "Keep") -> None:
        S, n, C = ws.shape
        self.ws, self.eps = ws, config.layer_norm_eps
        self.x_hat, self.inv_std = keep("x_hat", S * n, C), keep("inv_std", S * n)
        self.x_hat_wide = self.x_hat.reshape(S, n * C)

    def forward(self, norm: Parameters, head: Parameters) -> np.ndarray:
        ws = self.ws
        normalise(ws.x, self.x_hat, self.inv_std, self.eps)
        self.pooled = (ws.mean_over_tokens @ self.x_hat_wide).reshape(ws.shape[1:])  # (n, C)
        self.features = self.pooled * norm["scale"] + norm["bias"]  # (n, C)
        return self.features @ head["weight"] + head["bias"]

    def backward(
        self, dlogits: np.ndarray, norm: Parameters, head: Parameters, accumulator: GradientAccumulator
    ) -> None:
        """dlogits (n, K)  ->  dx in the workspace"""
        ws, g, (S, n, C) = self.ws, accumulator.top, self.ws.shape
        one_per_image = ws.ones[:n]
        accumulator.product(np.matmul, self.features.T, dlogits, g["head.weight"])
        accumulator.product(np.matmul, one_per_image, dlogits, g["head.bias"])
        dfeatures = dlogits @ head["weight"].T  # (n, C)
        accumulator.product(np.matmul, one_per_image, dfeatures, g["pre_head_layer_norm.bias"])
        accumulator.product(np.matmul, one_per_image, dfeatures * self.pooled, g["pre_head_layer_norm.scale"])
        ws.dx_by_image[...] = dfeatures * (norm["scale"] * (1 / S))  # (n, C), the same for every token
        np.vecdot(ws.dx, self.x_hat, out=ws.row_scratch)
        np.multiply(ws.row_scratch, 1 / C, ws.row_scratch)
        normalise_backward(ws.dx, self.x_hat, self.inv_std, ws.row_scratch)
