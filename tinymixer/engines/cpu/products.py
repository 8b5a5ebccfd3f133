"""Matrix products with a small left factor, in tiles that suit OpenBLAS."""

import functools

import numpy as np

SMALL_PRODUCT = 1_000_000  # up to this M*N*K OpenBLAS uses its kernels for small products, which do not pack
LONGEST = 128  # up to this inner size, packing costs more than it saves


@functools.cache
def small_kernels() -> bool:
    """Whether OpenBLAS uses its AVX-512 kernels: only their small-product kernels make tiles worthwhile."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return False
    return any(library.get("architecture") == "SkylakeX" for library in threadpool_info())


def multiply_left(a_t: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out = a_t.T @ b, for a small factor a_t (K, M) and a wide b (K, N), all row-major.

    OpenBLAS first copies both factors into an order of its own ("packing"), which pays when each number is used often.
    Here every number of b is used only M times. So out is computed in tiles that are small enough for the kernels that
    do not pack. All tiles are views, and one call of NumPy multiplies them all.
    """
    (length, rows_of_a), columns_of_b = a_t.shape, b.shape[1]
    columns = 64
    rows = 128 if rows_of_a % 128 == 0 and 128 * columns * length <= SMALL_PRODUCT else min(rows_of_a, 64)
    if length > LONGEST or rows_of_a % rows or columns_of_b % columns or not small_kernels():
        return np.matmul(a_t.T, b, out=out)
    a_tiles = a_t.reshape(length, rows_of_a // rows, 1, rows).transpose(1, 2, 3, 0)  # (M/rows, 1, rows, K)
    b_tiles = b.reshape(length, columns_of_b // columns, columns).transpose(1, 0, 2)  # (N/columns, K, columns)
    out_tiles = out.reshape(rows_of_a // rows, rows, columns_of_b // columns, columns).transpose(0, 2, 1, 3)
    return np.matmul(a_tiles, b_tiles, out=out_tiles)


def multiply_across(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out = a @ b.T, for wide factors a (M, N), b (K, N) and a small out (M, K), in tiles as in `multiply_left`."""
    (rows_of_a, length), rows_of_b = a.shape, b.shape[0]
    rows, columns = 8, 32
    if rows * columns * length > SMALL_PRODUCT or rows_of_a % rows or rows_of_b % columns or not small_kernels():
        return np.matmul(a, b.T, out=out)
    a_tiles = a.reshape(rows_of_a // rows, 1, rows, length)
    b_tiles = b.reshape(rows_of_b // columns, columns, length).transpose(0, 2, 1)  # (K/columns, N, columns)
    out_tiles = out.reshape(rows_of_a // rows, rows, rows_of_b // columns, columns).transpose(0, 2, 1, 3)
    return np.matmul(a_tiles, b_tiles, out=out_tiles)
