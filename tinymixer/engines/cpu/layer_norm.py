"""LayerNorm on a slice whose rows already have mean zero. To compare: `ops/layer_norm.py`."""

import numpy as np


def centre(x: np.ndarray, row_scratch: np.ndarray, mean_over_channels: np.ndarray) -> None:
    """x -= its mean over channels, in place.        x (R, C), row_scratch (R,), mean_over_channels (C,) of 1/C"""
    np.matmul(x, mean_over_channels, out=row_scratch)
    np.subtract(x, row_scratch[:, None], x)


def normalise(x: np.ndarray, x_hat: np.ndarray, inv_std: np.ndarray, eps: float) -> None:
    """x_hat = x / sqrt(var + eps), for an x whose rows are centred.        x, x_hat (R, C), inv_std (R,)"""
    np.vecdot(x, x, out=inv_std)
    np.multiply(inv_std, 1 / x.shape[1], inv_std)
    np.add(inv_std, eps, inv_std)
    np.sqrt(inv_std, inv_std)
    np.reciprocal(inv_std, inv_std)
    np.multiply(x, inv_std[:, None], x_hat)


def normalise_backward(dx_hat: np.ndarray, x_hat: np.ndarray, inv_std: np.ndarray, mean: np.ndarray) -> None:
    """dx_hat becomes dx = inv_std (dx_hat - x_hat mean), where mean (R,) is that of dx_hat x_hat over channels.

    The mean of dx_hat is not subtracted: to centre dx, call `centre`. The array x_hat is overwritten.
    """
    np.multiply(x_hat, mean[:, None], x_hat)
    np.subtract(dx_hat, x_hat, dx_hat)
    np.multiply(dx_hat, inv_std[:, None], dx_hat)
