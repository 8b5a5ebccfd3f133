"""Matrix products through cuBLAS, in a form that a CUDA graph can record.

CuPy refuses its own cuBLAS calls while a stream is captured, so a graph cannot record `@`. It can record calls on a
cuBLAS handle of our own, made with nvmath-python's bindings, if the handle's stream and workspace are set before. Where
nvmath-python is missing, the same calls use CuPy's handle and the step is not captured.

cuBLAS stores matrices by columns. It reads a row-major matrix as its transpose, so for the row-major product out = a b
we ask it for out^T = b^T a^T: the factors change places and no data moves.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tinymixer.errors import install_line
from tinymixer.kernels.modules import require_flat
from tinymixer.kernels.precision import CUDA_R_32F, Precision
from tinymixer.text import reason_of

WORKSPACE_BYTES = 32 << 20  # as cuBLAS recommends for Hopper; a captured stream cannot use cuBLAS's own pool
DEFAULT_ALGORITHM = -1


class Products:
    """Row-major products of 2-D arrays in device memory, on one stream.

    gemm        cublasGemmEx with its first argument, the handle, filled in
    gemms       cublasGemmStridedBatchedEx, likewise
    precision   says what the bits of 16-bit arrays mean and how to multiply
    errors      the exceptions that a call may raise
    """

    def __init__(
        self,
        gemm: Callable[..., None],
        gemms: Callable[..., None],
        precision: Precision,
        capturable: bool,
        close: Callable[[], None],
        errors: tuple[type[Exception], ...] = (RuntimeError,),
    ) -> None:
        self._gemm, self._gemms, self._precision = gemm, gemms, precision
        self.capturable, self.close, self.errors = capturable, close, errors
        self._factors = {value: np.array([value], np.float32) for value in (0.0, 1.0)}

    def multiply(
        self, a: Any, b: Any, out: Any, transpose_a: bool = False, transpose_b: bool = False, add: bool = False
    ) -> None:
        """out (M, N) = a (M, K) @ b (K, N); a transposed factor is stored as (K, M) or (N, K).

        Both factors have the same format. `out` may be float32 where they have 16 bits, so that gradients of weights
        keep their precision and need no conversion. With `add`, the product is added to `out`.

        Raises ValueError when the shapes do not fit, or an array is not in C order.
        """
        rows, inner = (a.shape[1], a.shape[0]) if transpose_a else a.shape
        b_inner, columns = (b.shape[1], b.shape[0]) if transpose_b else b.shape
        if inner != b_inner or tuple(out.shape) != (rows, columns):
            raise ValueError(
                f"cannot multiply {a.shape} by {b.shape} into {out.shape} ({transpose_a=}, {transpose_b=})"
            )
        require_flat(a, b, out)
        in_type, out_type = self._data_type(a), self._data_type(out)
        compute = self._precision.float_compute if in_type == CUDA_R_32F else self._precision.compute_type
        self._gemm(
            int(transpose_b), int(transpose_a), columns, rows, inner,
            self._factors[1.0].ctypes.data,
            b.data.ptr, self._data_type(b), b.shape[1],
            a.data.ptr, in_type, a.shape[1],
            self._factors[float(add)].ctypes.data,
            out.data.ptr, out_type, columns,
            compute, DEFAULT_ALGORITHM,
        )  # fmt: skip

    def multiply_stacks(self, a: Any, b: Any, out: Any, transpose_b: bool = False) -> None:
        """out[i] (M, N) = a[i] (M, K) @ b[i] (K, N) for each of n matrices, in one call; formats as in `multiply`.

        a (n, M, K), b (n, K, N) or, transposed, (n, N, K), out (n, M, N). Raises ValueError as `multiply` does.
        """
        count, rows, inner = a.shape
        b_inner, columns = b.shape[:0:-1] if transpose_b else b.shape[1:]
        if inner != b_inner or b.shape[0] != count or tuple(out.shape) != (count, rows, columns):
            raise ValueError(f"cannot multiply {a.shape} by {b.shape} into {out.shape} ({transpose_b=})")
        require_flat(a, b, out)
        in_type, out_type = self._data_type(a), self._data_type(out)
        compute = self._precision.float_compute if in_type == CUDA_R_32F else self._precision.compute_type
        self._gemms(
            int(transpose_b), 0, columns, rows, inner,
            self._factors[1.0].ctypes.data,
            b.data.ptr, self._data_type(b), b.shape[2], b.shape[1] * b.shape[2],
            a.data.ptr, in_type, inner, rows * inner,
            self._factors[0.0].ctypes.data,
            out.data.ptr, out_type, columns, rows * columns,
            count, compute, DEFAULT_ALGORITHM,
        )  # fmt: skip

    def _data_type(self, array: Any) -> int:
        return CUDA_R_32F if array.dtype.itemsize == 4 else self._precision.data_type


def make_products(cupy: Any, stream: Any, precision: Precision) -> tuple[Products, str | None]:
    """Products on a stream, and a sentence that says why a CUDA graph cannot record them (None when it can)."""
    try:
        cublas, handle = _own_handle()
    except (ImportError, RuntimeError, OSError) as error:
        return _cupy_products(cupy, precision), (
            f"nvmath-python cannot be used ({reason_of(error)}), so the step is not captured in a CUDA graph: "
            f"{install_line('cuda13')} (or [cuda12])"
        )
    workspace = cupy.empty(WORKSPACE_BYTES, np.uint8)
    cublas.set_stream(handle, stream.ptr)  # before the workspace: setting the stream resets the workspace
    cublas.set_workspace(handle, workspace.data.ptr, WORKSPACE_BYTES)

    def gemm(*arguments: int) -> None:
        cublas.gemm_ex(handle, *arguments)

    def gemms(*arguments: int) -> None:
        cublas.gemm_strided_batched_ex(handle, *arguments)

    def close(keep: Any = workspace) -> None:
        """Destroy the handle. The default argument keeps the workspace alive until then."""
        cublas.destroy(handle)

    return Products(gemm, gemms, precision, True, close, (RuntimeError, cublas.cuBLASError)), None


def _own_handle() -> tuple[Any, int]:
    """nvmath-python's cuBLAS bindings, and a new handle. Raises ImportError or RuntimeError where they are missing."""
    cublas = importlib.import_module("nvmath.bindings.cublas")
    try:
        return cublas, cublas.create()  # raises RuntimeError when the library is not found
    except cublas.cuBLASError as error:  # the library was found but fails
        raise RuntimeError(str(error)) from error


def _cupy_products(cupy: Any, precision: Precision) -> Products:
    cublas = cupy.cuda.cublas

    def gemm(*arguments: int) -> None:
        cublas.gemmEx(cupy.cuda.device.get_cublas_handle(), *arguments)

    def gemms(*arguments: int) -> None:
        cublas.gemmStridedBatchedEx(cupy.cuda.device.get_cublas_handle(), *arguments)

    return Products(gemm, gemms, precision, False, lambda: None)
