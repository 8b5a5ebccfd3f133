"""Token mixing as two tile kernels. Its hidden layer never leaves the chip.

With the images and channels of a batch side by side as columns, x (S, B*C), token mixing works on each column alone:

    z = W1 x + b1        a = gelu(z)        y = W2 a        (its second bias is added in the next LayerNorm)

and backwards, with dz = (W2^T dy) gelu'(z):

    dx = W1^T dz         dW1 = dz x^T       dW2 = dy a^T    db1 = the sum of dz over columns

A block takes N columns at a time. Both weights fit on the chip beside them, and so does the hidden layer (DS, N).

    passes over X = S*B*C numbers     product by product     here
    forward                           6 (at DS = S)          2: reads x, writes y
    backward                          11                     3: reads x and dy, writes dx

The backward kernel computes z again, which costs one small product and saves keeping it: nothing of the hidden layer
is stored between the two passes. Sums over columns are kept on the chip while a block walks over its columns, and
written once per block; `finish_sums` adds the blocks' up in a fixed order.

See: docs/gpu.md, lessons/11_gpu.ipynb, tests/kernels/tiles/test_tiles_on_numpy.py
"""

from typing import Any, NamedTuple

from tinymixer.kernels.tiles.tile_functions import tile_functions


class TokenKernels(NamedTuple):
    forward: Any
    backward: Any


def token_kernels(ct: Any, S: int, DS: int, N: int, number: Any) -> TokenKernels:
    """The kernels for given sizes.

    ct       `cuda.tile`, or `NumpyTiles`
    S, DS    tokens and tokens_mlp_dim: powers of two
    N        columns of a tile, a power of two; it divides B*C
    number   format of a product's factors, of `ct`
    """
    product, gelu, gelu_and_slope = tile_functions(ct)

    @ct.kernel
    def token_forward(x, w1, b1, w2, y):
        """x (S, B*C), w1 (DS, S), b1 (DS,), w2 (S, DS)  ->  y (S, B*C). A block per N columns."""
        column = ct.bid(0)
        xs = ct.astype(ct.load(x, index=(0, column), shape=(S, N)), number)
        first = ct.astype(ct.load(w1, index=(0, 0), shape=(DS, S)), number)
        second = ct.astype(ct.load(w2, index=(0, 0), shape=(S, DS)), number)
        bias = ct.reshape(ct.load(b1, index=(0,), shape=(DS,)), (DS, 1))
        a = gelu(product(first, xs) + bias)  # (DS, N)
        ys = product(second, ct.astype(a, number))  # (S, N)
        ct.store(y, index=(0, column), tile=ct.astype(ys, y.dtype))

    @ct.kernel
    def token_backward(x, dy, w1, b1, w2, dx, dw1, dw2, db1):
        """x, dy (S, B*C), w1 (DS, S), b1 (DS,), w2 (S, DS)  ->  dx (S, B*C), and every block's own sums
        dw1 (blocks, DS, S), dw2 (blocks, S, DS), db1 (blocks, DS). Block i takes tiles i, i + blocks, i + 2 blocks...
        """
        first = ct.astype(ct.load(w1, index=(0, 0), shape=(DS, S)), number)
        second = ct.astype(ct.load(w2, index=(0, 0), shape=(S, DS)), number)
        bias = ct.reshape(ct.load(b1, index=(0,), shape=(DS,)), (DS, 1))
        sum1 = ct.full((DS, S), 0.0, ct.float32)
        sum2 = ct.full((S, DS), 0.0, ct.float32)
        sum_bias = ct.full((DS, 1), 0.0, ct.float32)
        for column in range(ct.bid(0), ct.cdiv(x.shape[1], N), ct.num_blocks(0)):
            xs = ct.astype(ct.load(x, index=(0, column), shape=(S, N)), number)
            dys = ct.astype(ct.load(dy, index=(0, column), shape=(S, N)), number)
            a, slope = gelu_and_slope(product(first, xs) + bias)  # (DS, N)
            dz = product(ct.transpose(second), dys) * slope  # (DS, N)
            sum_bias = sum_bias + ct.sum(dz, axis=1, keepdims=True)
            dz = ct.astype(dz, number)
            sum1 = ct.mma(dz, ct.transpose(xs), sum1)
            sum2 = ct.mma(dys, ct.transpose(ct.astype(a, number)), sum2)
            dxs = product(ct.transpose(first), dz)  # (S, N)
            ct.store(dx, index=(0, column), tile=ct.astype(dxs, dx.dtype))
        ct.store(dw1, index=(ct.bid(0), 0, 0), tile=ct.reshape(sum1, (1, DS, S)))
        ct.store(dw2, index=(ct.bid(0), 0, 0), tile=ct.reshape(sum2, (1, S, DS)))
        ct.store(db1, index=(ct.bid(0), 0), tile=ct.reshape(sum_bias, (1, DS)))

    return TokenKernels(token_forward, token_backward)
