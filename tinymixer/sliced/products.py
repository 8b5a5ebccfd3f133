"""Matrix products in pieces that suit OpenBLAS: every piece is a view, and all pieces are one call of NumPy."""

import functools

import numpy as np

SMALL_PRODUCT = 1_000_000  # up to this M*N*K OpenBLAS takes its kernels for small products, which pack nothing


@functools.cache
def small_kernels():
    """Whether OpenBLAS runs on its AVX-512 kernels: only those have small-product kernels that are worth the cut."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return False
    return any(library.get("architecture") == "SkylakeX" for library in threadpool_info())


def matmul(a, b, out):
    """out = a @ b, in tiles small enough for OpenBLAS's kernels that skip the packing of operands.

    a (M, K) row-major or a transposed row-major matrix, b (K, N) and out (M, N) row-major
    """
    (rows_of_a, length), columns_of_b = a.shape, b.shape[1]
    transposed = a.strides[0] < a.strides[1]
    rows, columns = (32, 32) if transposed else (min(64, 8192 // length), 64)
    small = rows_of_a * columns_of_b * length <= SMALL_PRODUCT
    if small or length > 512 or rows_of_a % rows or columns_of_b % columns or not small_kernels():
        return np.matmul(a, b, out=out)
    if transposed:
        a_tiles = a.T.reshape(1, length, rows_of_a // rows, rows).transpose(0, 2, 3, 1)  # (1, M/rows, rows, K)
    else:
        a_tiles = a.reshape(1, rows_of_a // rows, rows, length)  # (1, M/rows, rows, K)
    b_tiles = b.reshape(length, columns_of_b // columns, 1, columns).transpose(1, 2, 0, 3)  # (N/columns, 1, K, columns)
    out_tiles = out.reshape(rows_of_a // rows, rows, columns_of_b // columns, columns).transpose(2, 0, 1, 3)
    return np.matmul(a_tiles, b_tiles, out=out_tiles)


def transpose_into(out, a):
    """out = a.T, sixteen columns of out at a time, so that whole cache lines are written."""
    for start in range(0, a.shape[0], 16):
        np.copyto(out[:, start : start + 16], a[start : start + 16].T)
