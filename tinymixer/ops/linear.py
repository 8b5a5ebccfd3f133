"""The two matrix products of a Mixer: from the right (over channels) and from the left (over tokens)."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
    """Multiply every row from the right: the channel-mixing product (Mixer, eq. 1, X W3).

    x (..., I), weight (I, O), bias (O,)  ->  y (..., O)

        y = x W + b

    Raises ShapeError when the sizes do not fit.

    See: lessons/02_linear.ipynb, "linear" in lessons/cheatsheet.md, tests/ops/test_linear.py
    """
    inputs, outputs = weight.shape
    expect_shape("x", x, "... I", I=inputs)
    expect_shape("bias", bias, "O", O=outputs)
    y = x.reshape(-1, inputs) @ weight + bias  # (rows, O)
    return y.reshape(*x.shape[:-1], outputs), (x, weight)


def linear_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """With rows n, inputs i, outputs o:  y[n, o] = sum_i x[n, i] W[i, o] + b[o], so that

        dx[n, i] = sum_o dy[n, o] W[i, o]        dx = dy W^T
        dW[i, o] = sum_n x[n, i] dy[n, o]        dW = x^T dy
        db[o]    = sum_n dy[n, o]                every row shares the bias

    dy (..., O)  ->  dx (..., I), dweight (I, O), dbias (O,)
    """
    xp = namespace(dy)
    x, weight = cache
    inputs, outputs = weight.shape
    expect_shape("dy", dy, "... O", O=outputs)
    rows, dy_rows = x.reshape(-1, inputs), dy.reshape(-1, outputs)  # (rows, I), (rows, O)
    dx = (dy_rows @ weight.T).reshape(x.shape)  # (..., I)
    dweight = rows.T @ dy_rows  # (I, O)
    dbias = xp.sum(dy_rows, axis=0, dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)  # (O,)
    return dx, dweight, dbias


def token_linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
    """Multiply the tokens from the left: the token-mixing product (Mixer, eq. 1, W1 X).

    x (S, B, C), weight (DS, S), bias (DS,)  ->  y (DS, B, C)

        y[:, b, :] = W x[:, b, :] + b

    Tokens are the first axis, so all images and channels are the columns of one matrix and a single
    product serves them: no transposition, no batched product. In the familiar (B, S, C) layout this is
    transpose -> Linear with weight W^T -> transpose.

    Raises ShapeError when the sizes do not fit.

    See: lessons/08_token_mixing.ipynb, "token_linear" in lessons/cheatsheet.md, tests/ops/test_token_linear.py
    """
    outputs, tokens = weight.shape
    expect_shape("x", x, "S B C", S=tokens)
    expect_shape("bias", bias, "DS", DS=outputs)
    _, images, channels = x.shape
    y = weight @ x.reshape(tokens, images * channels) + bias.reshape(outputs, 1)  # (DS, B*C)
    return y.reshape(outputs, images, channels), (x, weight)


def token_linear_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The products of `linear_backward` with left and right exchanged; n runs over all B*C columns:

        dx[s, n] = sum_d W[d, s] dy[d, n]        dx = W^T dy
        dW[d, s] = sum_n dy[d, n] x[s, n]        dW = dy x^T
        db[d]    = sum_n dy[d, n]

    dy (DS, B, C)  ->  dx (S, B, C), dweight (DS, S), dbias (DS,)
    """
    xp = namespace(dy)
    x, weight = cache
    outputs, tokens = weight.shape
    expect_shape("dy", dy, "DS B C", DS=outputs, B=x.shape[1], C=x.shape[2])
    columns, dy_columns = x.reshape(tokens, -1), dy.reshape(outputs, -1)  # (S, B*C), (DS, B*C)
    dx = (weight.T @ dy_columns).reshape(x.shape)  # (S, B, C)
    dweight = dy_columns @ columns.T  # (DS, S)
    dbias = xp.sum(dy_columns, axis=1, dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)  # (DS,)
    return dx, dweight, dbias
