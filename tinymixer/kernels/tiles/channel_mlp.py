"""Channel mixing as three tile kernels. Its hidden layer, DC/C times as wide as the stream, never leaves the chip.

Channel mixing works on each row of x (S*B, C) alone:

    z = x W1 + b1        a = gelu(z)        y = a W2        (its second bias is added in the next LayerNorm)

The hidden layer is too wide to be on the chip at once, but y is a sum over it: with the columns of W1 and the rows of
W2 cut into pieces of H hidden units, W1 = (W1_1 W1_2 ...), each piece gives its share,

    y = sum over j of  gelu(x W1_j + b1_j) W2_j

so a block keeps M rows of x and of y, and one piece of the hidden layer after the other. Backwards, with
dz_j = (dy W2_j^T) gelu'(z_j):

    dx = sum over j of  dz_j W1_j^T                                      a sum over hidden units: a block per M rows
    dW1_j = x^T dz_j     dW2_j = a_j^T dy     db1_j = sum of dz_j        sums over rows: a block per piece of them

The two kinds of sums need the hidden layer in two orders, hence two kernels, and each computes z_j and dz_j anew.

    passes over X = S*B*C numbers     product by product     here
    forward                           18 (at DC = 4 C)       2: reads x, writes y
    backward                          32                     3 for dx; x and dy once per piece of hidden units for the
                                                             weights, mostly from the L2 cache
See: docs/gpu.md, lessons/11_gpu.ipynb, tests/kernels/tiles/test_tiles_on_numpy.py
"""

from typing import Any, NamedTuple

from tinymixer.kernels.tiles.tile_functions import tile_functions


class ChannelKernels(NamedTuple):
    forward: Any
    backward_input: Any
    backward_weights: Any


def channel_kernels(ct: Any, C: int, DC: int, M: int, H: int, number: Any) -> ChannelKernels:
    """The kernels for given sizes.

    ct       `cuda.tile`, or `NumpyTiles`
    C, DC    channels and channels_mlp_dim: powers of two
    M, H     rows of a tile and hidden units of a piece: powers of two that divide S*B and DC
    number   format of a product's factors, of `ct`
    """
    product, gelu, gelu_and_slope = tile_functions(ct)

    @ct.kernel
    def channel_forward(x, w1, b1, w2, y):
        """x (S*B, C), w1 (C, DC), b1 (DC,), w2 (DC, C)  ->  y (S*B, C). A block per M rows."""
        row = ct.bid(0)
        xs = ct.astype(ct.load(x, index=(row, 0), shape=(M, C)), number)
        ys = ct.full((M, C), 0.0, ct.float32)
        for j in range(DC // H):
            first = ct.astype(ct.load(w1, index=(0, j), shape=(C, H)), number)
            second = ct.astype(ct.load(w2, index=(j, 0), shape=(H, C)), number)
            bias = ct.reshape(ct.load(b1, index=(j,), shape=(H,)), (1, H))
            a = gelu(product(xs, first) + bias)  # (M, H)
            ys = ct.mma(ct.astype(a, number), second, ys)
        ct.store(y, index=(row, 0), tile=ct.astype(ys, y.dtype))

    @ct.kernel
    def channel_backward_input(x, dy, w1, b1, w2, dx):
        """x, dy (S*B, C), w1 (C, DC), b1 (DC,), w2 (DC, C)  ->  dx (S*B, C). A block per M rows."""
        row = ct.bid(0)
        xs = ct.astype(ct.load(x, index=(row, 0), shape=(M, C)), number)
        dys = ct.astype(ct.load(dy, index=(row, 0), shape=(M, C)), number)
        dxs = ct.full((M, C), 0.0, ct.float32)
        for j in range(DC // H):
            first = ct.astype(ct.load(w1, index=(0, j), shape=(C, H)), number)
            second = ct.astype(ct.load(w2, index=(j, 0), shape=(H, C)), number)
            bias = ct.reshape(ct.load(b1, index=(j,), shape=(H,)), (1, H))
            _, slope = gelu_and_slope(product(xs, first) + bias)  # (M, H)
            dz = product(dys, ct.transpose(second)) * slope  # (M, H)
            dxs = ct.mma(ct.astype(dz, number), ct.transpose(first), dxs)
        ct.store(dx, index=(row, 0), tile=ct.astype(dxs, dx.dtype))

    @ct.kernel
    def channel_backward_weights(x, dy, w1, b1, w2, dw1, dw2, db1):
        """x, dy (S*B, C), w1 (C, DC), b1 (DC,), w2 (DC, C)  ->  dw1 (parts, C, DC), dw2 (parts, DC, C),
        db1 (parts, DC). Block (j, i) sums piece j over the tiles of rows i, i + parts, i + 2 parts...
        """
        j = ct.bid(0)
        first = ct.astype(ct.load(w1, index=(0, j), shape=(C, H)), number)
        second = ct.astype(ct.load(w2, index=(j, 0), shape=(H, C)), number)
        bias = ct.reshape(ct.load(b1, index=(j,), shape=(H,)), (1, H))
        sum1 = ct.full((C, H), 0.0, ct.float32)
        sum2 = ct.full((H, C), 0.0, ct.float32)
        sum_bias = ct.full((1, H), 0.0, ct.float32)
        for row in range(ct.bid(1), ct.cdiv(x.shape[0], M), ct.num_blocks(1)):
            xs = ct.astype(ct.load(x, index=(row, 0), shape=(M, C)), number)
            dys = ct.astype(ct.load(dy, index=(row, 0), shape=(M, C)), number)
            a, slope = gelu_and_slope(product(xs, first) + bias)  # (M, H)
            dz = product(dys, ct.transpose(second)) * slope  # (M, H)
            sum_bias = sum_bias + ct.sum(dz, axis=0, keepdims=True)
            sum1 = ct.mma(ct.transpose(xs), ct.astype(dz, number), sum1)
            sum2 = ct.mma(ct.transpose(ct.astype(a, number)), dys, sum2)
        ct.store(dw1, index=(ct.bid(1), 0, j), tile=ct.reshape(sum1, (1, C, H)))
        ct.store(dw2, index=(ct.bid(1), j, 0), tile=ct.reshape(sum2, (1, H, C)))
        ct.store(db1, index=(ct.bid(1), j), tile=sum_bias)

    return ChannelKernels(channel_forward, channel_backward_input, channel_backward_weights)
