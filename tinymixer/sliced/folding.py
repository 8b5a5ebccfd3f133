"""What touches every activation and can be moved to the weights is moved there, once a step."""

import numpy as np

from tinymixer.sliced.products import transpose_into


class FoldedBlock:
    """A block's weights as the slices use them, in both directions, worked out anew from the weights once a step.

    Channel mixing. With x_hat the normalised x, P = I - 1/C the projection that takes a row's mean away, and the
    scale g of GELU's input (`gelu.input_scale`):

        W1f = g P (scale[:, None] * W1)        b1f = g (b1 + bias W1)        W2f = W2 / g
        gelu((scale * x_hat + bias) W1 + b1) W2  =  gelu~(x_hat W1f + b1f) W2f

    P changes nothing forward, since x_hat P = x_hat; backward it makes dx_hat = dh W1f^T arrive with its mean taken
    away. As the rows of x_hat and the columns of W1f both add up to nothing,

        (x_hat + 1) (W1f + b1f / C)  =  x_hat W1f + b1f

    so the bias rides in the direction that LayerNorm leaves empty, and comes out of the weight gradient the same way.

    Token mixing only takes GELU's scale. Its second bias is left out: it moves all channels of a token by the same
    amount, which every LayerNorm after it takes away again, so it changes nothing and its gradient is zero.
    """

    def __init__(self, config, dtype, gelu):
        tokens, channels = config.tokens, config.hidden_dim
        token_hidden, channel_hidden = config.tokens_mlp_dim, config.channels_mlp_dim
        self.gelu = gelu
        self.token1, self.token2 = np.empty((token_hidden, tokens), dtype), np.empty((tokens, token_hidden), dtype)
        self.token_bias1, self.token_mean_scale = np.empty((token_hidden, 1), dtype), np.empty(channels, dtype)
        self.channel1 = np.empty((channels, channel_hidden), dtype)
        self.channel2 = np.empty((channel_hidden, channels), dtype)
        self.token1_t = self.token2_t = self.channel1_t = self.channel2_t = None  # made for the first backward pass

    @staticmethod
    def forward_bytes(config, itemsize):
        """What the matrices take that a forward pass uses."""
        S, C, DS, DC = config.tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
        return 2 * (S * DS + C * DC) * itemsize

    def fold(self, w, backward):
        """Take over a block's weights, by name; what only the backward pass needs is left out without it."""
        scale, channels = self.gelu.input_scale, self.channel1.shape[0]
        np.multiply(w["token_mixing.weight1"], scale, self.token1)
        np.multiply(w["token_mixing.bias1"][:, None], scale, self.token_bias1)
        np.multiply(w["token_mixing.weight2"], 1 / scale, self.token2)
        np.multiply(w["token_norm.scale"], 1 / channels, self.token_mean_scale)
        weight1 = w["channel_mixing.weight1"]
        np.multiply(weight1, (scale * w["channel_norm.scale"])[:, None], self.channel1)
        self.channel1 -= np.mean(self.channel1, axis=0)
        np.multiply(w["channel_mixing.weight2"], 1 / scale, self.channel2)
        if backward:
            if self.token1_t is None:
                self.token1_t, self.token2_t = np.empty_like(self.token2), np.empty_like(self.token1)
                self.channel1_t, self.channel2_t = np.empty_like(self.channel2), np.empty_like(self.channel1)
            transpose_into(self.token1_t, self.token1)
            transpose_into(self.token2_t, self.token2)
            transpose_into(self.channel1_t, self.channel1)  # before the bias brings a mean back
            transpose_into(self.channel2_t, self.channel2)
            self.token2_t *= self.gelu.slope_scale
            self.channel2_t *= self.gelu.slope_scale
        self.channel1 += (w["channel_norm.bias"] @ weight1 + w["channel_mixing.bias1"]) * (scale / channels)


def unfold_gradients(w, g, gelu):
    """From the gradients of the folded weights to those of the weights, in place, once a step.

    The gradient of W1f + b1f / C is (x_hat + 1)^T dh; as x_hat^T dh has no mean over its rows, that mean is db1f. Then

        dW1 = g (scale * x_hat^T dh + bias db1f)        dscale = g sum_o W1 * x_hat^T dh        dbias = g W1 db1f
    """
    g["token_mixing.weight1"] *= gelu.input_scale
    g["token_mixing.bias1"] *= gelu.input_scale
    g["token_mixing.weight2"] *= 1 / gelu.input_scale
    g["token_mixing.bias2"].fill(0)
    g["channel_mixing.weight2"] *= 1 / gelu.input_scale
    weight1, dweight1, dbias1 = w["channel_mixing.weight1"], g["channel_mixing.weight1"], g["channel_mixing.bias1"]
    dweight1 *= gelu.input_scale
    np.mean(dweight1, axis=0, out=dbias1)
    dweight1 -= dbias1
    np.vecdot(weight1, dweight1, out=g["channel_norm.scale"])
    np.matmul(weight1, dbias1, out=g["channel_norm.bias"])
    dweight1 *= w["channel_norm.scale"][:, None]
    dweight1 += w["channel_norm.bias"][:, None] * dbias1
