"""Folding: constants that would multiply or shift every activation are put into the weights, once a step."""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from tinymixer.engines.cpu.buffer_pool import BufferPool
from tinymixer.engines.cpu.gelu import GeluForm
from tinymixer.models.mixer_config import MixerConfig
from tinymixer.parameters import Parameters

LEAST_SCALE = 1e-20  # a gradient is divided by LayerNorm's scale, so zero is replaced by this


class FoldedWeights:
    """The weights of the stem and of L blocks as the slices use them, computed from the model's weights once a step.

    Let x_hat be the normalised x, P = I - 1/C the projection that subtracts a row's mean, and g the scale of GELU's
    input, g' that of its output: gelu~(g h) = g' gelu(h), see `gelu.py`.

    The residual stream x. Every LayerNorm subtracts the mean of each row of x, so these means change no result. We keep
    them at zero: everything added to x is centred, so LayerNorm need not centre x. The stem and channel mixing's second
    layer have a last axis of channels, so P goes into their weights:

        Wf = W P        bf = b P        W2f = W2 P / g'        b2f = b2 P

    Token mixing's weights have no axis of channels, so x is centred explicitly after it. Its second bias is left out:
    it adds one number to all channels of a token, which the centring subtracts again, so its gradient is zero.

    Channel mixing's first layer.

        W1f = g P (scale[:, None] * W1)        b1f = g (b1 + bias W1)
        gelu((scale * x_hat + bias) W1 + b1) W2 P  =  gelu~(x_hat W1f + b1f) W2f

    P changes nothing in the forward pass, since x_hat P = x_hat. In the backward pass it centres dx_hat = dh W1f^T.
    The rows of x_hat and the columns of W1f each sum to zero, so

        (x_hat + 1) (W1f + b1f / C)  =  x_hat W1f + b1f

    One product thus adds the bias, too, and the weight's gradient contains the bias's (`unfold_gradients`).

    Token mixing's first layer. LayerNorm's scale and bias are per channel, so they commute with a product over tokens:

        W1 (x_hat * scale + bias) + b1  =  (W1 x_hat) * scale + B1        B1 = W1 1 bias + b1 1        (DS, C)
    """

    def __init__(self, config: MixerConfig, count: int, gelu: GeluForm, dtype: np.dtype) -> None:
        S, C, DS, DC = config.num_tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
        self.gelu, self.count, self._sizes, self._take = gelu, count, (S, C, DS, DC), BufferPool(dtype).take
        self.stem_weight, self.stem_bias = self._take(config.patch_features, C), self._take(C)
        self.blocks = [SimpleNamespace(gelu=gelu) for _ in range(count)]
        self._stacked = SimpleNamespace()
        self._make(
            token1_t=(S, DS), token2_t=(DS, S), token_scale=(C,), token_bias1=(DS, 1, C),
            channel1=(C, DC), channel2=(DC, C), channel_bias2=(C,),
        )  # fmt: skip

    def prepare_backward(self) -> None:
        """Allocate what only the backward pass needs: the transposed matrices."""
        if not hasattr(self._stacked, "token1"):
            S, C, DS, DC = self._sizes
            self._make(token1=(DS, S), token2=(S, DS), channel1_t=(DC, C), channel2_t=(C, DC))

    def _make(self, **shapes: tuple[int, ...]) -> None:
        """An array (L, ...) of each name for all blocks, and a view of it for every block."""
        for name, shape in shapes.items():
            stacked = self._take(self.count, *shape)
            setattr(self._stacked, name, stacked)
            for block, view in zip(self.blocks, stacked, strict=True):
                setattr(block, name, view)

    @staticmethod
    def forward_bytes(config: MixerConfig, itemsize: int) -> int:
        """Bytes of a block's matrices that a forward pass uses."""
        S, C, DS, DC = config.num_tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
        return 2 * (S * DS + C * DC) * itemsize

    def fold_stem(self, stem: Parameters) -> None:
        """Fold the stem's weights."""
        np.subtract(stem["weight"], np.mean(stem["weight"], axis=1, keepdims=True), self.stem_weight)
        np.subtract(stem["bias"], np.mean(stem["bias"]), self.stem_bias)

    def fold_blocks(self, w: Mapping[str, np.ndarray], places: slice, backward: bool) -> None:
        """Fold some blocks' weights, w by name (l, ...), into the blocks at `places`, a slice of length l.

        Without `backward`, fold only what a forward pass needs.
        """
        f = SimpleNamespace(**{name: array[places] for name, array in vars(self._stacked).items()})
        g, g_out, channels = self.gelu.input_scale, self.gelu.output_scale, f.channel1.shape[1]
        mean = np.full(channels, 1 / channels, f.channel1.dtype)

        scale, weight1 = w["token_norm.scale"], w["token_mixing.weight1"]  # (L, C), (L, DS, S)
        f.token_scale[...] = safe(scale)
        row_sums = np.sum(weight1, axis=2)[:, :, None, None]  # (L, DS, 1, 1)
        np.multiply(row_sums, w["token_norm.bias"][:, None, None], f.token_bias1)
        f.token_bias1 += w["token_mixing.bias1"][:, :, None, None]
        f.token_bias1 *= g
        np.multiply(weight1.transpose(0, 2, 1), g, f.token1_t)
        np.multiply(w["token_mixing.weight2"].transpose(0, 2, 1), 1 / g_out, f.token2_t)

        weight1, scale = w["channel_mixing.weight1"], w["channel_norm.scale"]  # (L, C, DC), (L, C)
        np.multiply(weight1, (g * scale)[:, :, None], f.channel1)
        f.channel1 -= (mean @ f.channel1)[:, None]
        np.multiply(w["channel_mixing.weight2"], 1 / g_out, f.channel2)
        f.channel2 -= (f.channel2 @ mean)[:, :, None]
        bias2 = w["channel_mixing.bias2"]
        np.subtract(bias2, (bias2 @ mean)[:, None], f.channel_bias2)
        if backward:  # the transposed matrices, those after GELU times the factor that its slope lacks
            slope_scale = self.gelu.slope_scale
            np.multiply(w["token_mixing.weight1"], g, f.token1)
            np.multiply(w["token_mixing.weight2"], slope_scale / g_out, f.token2)
            transpose_into(f.channel1_t, f.channel1)  # before the bias is added, which is not centred
            transpose_into(f.channel2_t, f.channel2)
            f.channel2_t *= slope_scale
        bias = w["channel_norm.bias"][:, None] @ weight1 + w["channel_mixing.bias1"][:, None]  # (L, 1, DC)
        f.channel1 += bias * (g / channels)


def unfold_gradients(
    w: Mapping[str, np.ndarray], grad: Mapping[str, np.ndarray], dtoken_bias1: np.ndarray, gelu: GeluForm
) -> None:
    """Turn the gradients of folded weights into those of the model's weights, in place, once a step.

    w and grad by name, for L blocks: (L, ...); dtoken_bias1 (L, DS, 1, C), the gradient of g B1

    The weights that end in P (folded stem and second layer of channel mixing) get their gradients times P. This also
    subtracts the constants that the backward pass leaves in the rows of dx, which need not be centred for that reason.

    Token mixing, with E and, on the right, dW1 the gradients of the folded g B1 and g W1:

        dW1 = g (dW1 + E bias 1^T)        db1 = g E 1        dscale = dscale / scale        dbias = g (W1 1)^T E

    Channel mixing. The gradient of W1f + b1f / C is (x_hat + 1)^T dh. The mean of x_hat^T dh over its rows is zero, so
    the mean of the whole is db1f. Then

        dW1 = g (scale * x_hat^T dh + bias db1f)        dscale = g sum_o W1 * x_hat^T dh        dbias = g W1 db1f
    """
    g, g_out, channels = gelu.input_scale, gelu.output_scale, dtoken_bias1.shape[3]
    mean = np.full(channels, 1 / channels, dtoken_bias1.dtype)

    dbias1 = dtoken_bias1[:, :, 0]  # (L, DS, C)
    dbias1 *= g
    dweight1, weight1 = grad["token_mixing.weight1"], w["token_mixing.weight1"]  # (L, DS, S)
    dweight1 *= g
    dweight1 += dbias1 @ w["token_norm.bias"][:, :, None]
    np.sum(dbias1, axis=2, out=grad["token_mixing.bias1"])
    np.matmul(np.sum(weight1, axis=2)[:, None], dbias1, out=grad["token_norm.bias"][:, None])
    grad["token_norm.scale"] /= safe(w["token_norm.scale"])
    grad["token_mixing.weight2"] *= 1 / g_out
    grad["token_mixing.bias2"].fill(0)

    dweight2, dbias2 = grad["channel_mixing.weight2"], grad["channel_mixing.bias2"]  # (L, DC, C), (L, C)
    dweight2 -= (dweight2 @ mean)[:, :, None]
    dweight2 *= 1 / g_out
    dbias2 -= (dbias2 @ mean)[:, None]
    weight1, dweight1 = w["channel_mixing.weight1"], grad["channel_mixing.weight1"]  # (L, C, DC)
    dbias1 = grad["channel_mixing.bias1"][:, None]  # (L, 1, DC)
    dweight1 *= g
    np.matmul(mean, dweight1, out=dbias1[:, 0])
    dweight1 -= dbias1
    np.vecdot(weight1, dweight1, out=grad["channel_norm.scale"])
    np.matmul(weight1, dbias1.transpose(0, 2, 1), out=grad["channel_norm.bias"][:, :, None])
    dweight1 *= w["channel_norm.scale"][:, :, None]
    dweight1 += w["channel_norm.bias"][:, :, None] * dbias1


def safe(scale: np.ndarray) -> np.ndarray:
    """LayerNorm's scale with zeros replaced by LEAST_SCALE, so that one can divide by it."""
    return np.where(np.abs(scale) < LEAST_SCALE, LEAST_SCALE, scale)


def transpose_into(out: np.ndarray, a: np.ndarray) -> None:
    """out = a with its last two axes exchanged, sixteen columns of out at a time, to write whole cache lines."""
    for start in range(0, a.shape[1], 16):
        np.copyto(out[:, :, start : start + 16], a[:, start : start + 16].transpose(0, 2, 1))
