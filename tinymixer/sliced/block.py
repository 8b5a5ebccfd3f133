"""The two branches of a Mixer block on one slice, forward and backward, in a thread's own buffers.

The counterparts to read beside it are `layers/mixer_block.py` and `ops/layer_norm.py`; here the same arithmetic is
written with as few passes over the activations as NumPy allows. ws is the thread's Workspace, kept the block's
KeptActivations, folded its FoldedBlock, w its weights and g its gradients by name, n the images of the slice.
"""

import numpy as np

from tinymixer.sliced.products import matmul


def normalise(ws, x_hat, inv_std, eps):
    """x_hat = (x - mean) / sqrt(var + eps) over channels.        ws.x, x_hat (S*n, C), inv_std (S*n,)"""
    x, mean = ws.x, ws.row_scratch
    np.matmul(x, ws.mean_over_channels, out=mean)
    np.subtract(x, mean[:, None], x_hat)
    np.vecdot(x_hat, x_hat, out=inv_std)
    np.multiply(inv_std, 1 / x.shape[1], inv_std)
    np.add(inv_std, eps, inv_std)
    np.sqrt(inv_std, inv_std)
    np.reciprocal(inv_std, inv_std)
    np.multiply(x_hat, inv_std[:, None], x_hat)


def normalise_backward(ws, dx_hat, x_hat, inv_std):
    """ws.dx += inv_std (dx_hat - x_hat mean(dx_hat x_hat)), for a dx_hat whose rows have mean zero.

    The arrays dx_hat and x_hat are spent.
    """
    mean = ws.row_scratch
    np.vecdot(dx_hat, x_hat, out=mean)
    np.multiply(mean, 1 / x_hat.shape[1], mean)
    np.multiply(x_hat, mean[:, None], x_hat)
    np.subtract(dx_hat, x_hat, dx_hat)
    np.multiply(dx_hat, inv_std[:, None], dx_hat)
    np.add(ws.dx, dx_hat, ws.dx)


def token_mixing_forward(ws, kept, folded, w, eps, masks, train):
    """ws.x += token_mixing(norm(ws.x))        ws.x (S*n, C), hidden layer (DS, n*C)"""
    tokens, images, channels = ws.shape
    hidden_size = folded.token1.shape[0]
    normalise(ws, kept.token_x_hat, kept.token_inv_std, eps)
    np.multiply(kept.token_x_hat, w["token_norm.scale"], kept.token_normed)
    np.add(kept.token_normed, w["token_norm.bias"], kept.token_normed)
    hidden = ws.hidden[: hidden_size * images * channels].reshape(hidden_size, images * channels)
    matmul(folded.token1, kept.token_normed.reshape(tokens, images * channels), hidden)
    for start in range(0, hidden_size, ws.token_rows):
        rows = slice(start, start + ws.token_rows)
        x = ws.chunk[0][: hidden[rows].size].reshape(-1, images * channels)
        np.add(hidden[rows], folded.token_bias1[rows], x)
        _activate(ws, folded.gelu, x, kept.token_hidden[rows], kept.token_slope[rows] if train else None)
    masks.drop_hidden(kept.token_hidden, kept.token_slope)
    matmul(folded.token2, kept.token_hidden, ws.branch.reshape(tokens, images * channels))
    masks.drop_branch(ws.branch.reshape(ws.shape))
    np.add(ws.x, ws.branch, ws.x)


def channel_mixing_forward(ws, kept, folded, w, eps, masks, train):
    """ws.x += channel_mixing(norm(ws.x))        ws.x (S*n, C), hidden layer (S*n, DC)"""
    normalise(ws, kept.channel_lifted, kept.channel_inv_std, eps)
    np.add(kept.channel_lifted, 1.0, kept.channel_lifted)
    rows_of_x, hidden_size = kept.channel_hidden.shape
    for start in range(0, rows_of_x, ws.channel_rows):
        rows = slice(start, start + ws.channel_rows)
        x = ws.chunk[0][: kept.channel_hidden[rows].size].reshape(-1, hidden_size)
        matmul(kept.channel_lifted[rows], folded.channel1, x)
        _activate(ws, folded.gelu, x, kept.channel_hidden[rows], kept.channel_slope[rows] if train else None)
    masks.drop_hidden(kept.channel_hidden, kept.channel_slope)
    matmul(kept.channel_hidden, folded.channel2, ws.branch)
    np.add(ws.branch, w["channel_mixing.bias2"], ws.branch)
    masks.drop_branch(ws.branch.reshape(ws.shape))
    np.add(ws.x, ws.branch, ws.x)


def channel_mixing_backward(ws, kept, folded, g, sink, masks):
    """Through the branch and the sum around it, in ws.dx (S*n, C)."""
    hidden, dbranch = kept.channel_hidden, masks.branch_gradient(ws.dx, ws)
    sink.product(g["channel_mixing.weight2"], hidden.T, dbranch)
    sink.column_sums(g["channel_mixing.bias2"], dbranch, ws.ones)
    dhidden = ws.hidden[: hidden.size].reshape(hidden.shape)
    matmul(dbranch, folded.channel2_t, dhidden)
    np.multiply(dhidden, kept.channel_slope, dhidden)
    sink.product(g["channel_mixing.weight1"], kept.channel_lifted.T, dhidden)
    matmul(dhidden, folded.channel1_t, ws.dbranch)  # arrives centred
    np.subtract(kept.channel_lifted, 1.0, kept.channel_lifted)
    normalise_backward(ws, ws.dbranch, kept.channel_lifted, kept.channel_inv_std)


def token_mixing_backward(ws, kept, folded, w, g, sink, masks):
    """Through the branch and the sum around it, in ws.dx (S*n, C)."""
    tokens, images, channels = ws.shape
    hidden, dbranch = kept.token_hidden, masks.branch_gradient(ws.dx, ws).reshape(tokens, images * channels)
    sink.product(g["token_mixing.weight2"], dbranch, hidden.T, np.matmul)
    dhidden = ws.hidden[: hidden.size].reshape(hidden.shape)
    matmul(folded.token2_t, dbranch, dhidden)
    np.multiply(dhidden, kept.token_slope, dhidden)
    normed = kept.token_normed.reshape(tokens, images * channels)
    sink.product(g["token_mixing.weight1"], dhidden, normed.T, np.matmul)
    sink.row_sums(g["token_mixing.bias1"], dhidden, ws.ones)
    dnormed = ws.dbranch
    matmul(folded.token1_t, dhidden, dnormed.reshape(tokens, images * channels))
    sink.column_sums(g["token_norm.scale"], np.multiply(dnormed, kept.token_x_hat, ws.branch), ws.ones)
    sink.column_sums(g["token_norm.bias"], dnormed, ws.ones)
    mean = np.matmul(dnormed, folded.token_mean_scale, out=ws.row_scratch)  # (S*n,) of scale * dnormed
    np.multiply(dnormed, w["token_norm.scale"], dnormed)
    np.subtract(dnormed, mean[:, None], dnormed)
    normalise_backward(ws, dnormed, kept.token_x_hat, kept.token_inv_std)


def _activate(ws, gelu, x, y, slope):
    """y = gelu(x), and its slope where there is an array for it. x is spent."""
    first, second = (scratch[: x.size].reshape(x.shape) for scratch in ws.chunk[1:])
    if slope is not None:
        gelu.forward_with_slope(x, y, slope, first, second)
    else:
        gelu.forward(x, y, first)
