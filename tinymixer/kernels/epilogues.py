"""Matrix products that apply bias and GELU, or their gradients, in the same kernel (cuBLASLt epilogues).

A product of the channel MLP writes the hidden layer to memory, and the kernel after it reads it again. An epilogue
applies bias and GELU while the product's tiles are still on the chip. The forward pass must store the hidden layer
before the GELU (z) and after it (a). Passes over the hidden layer:

    forward    product writes z, kernel reads z and writes a: 3        with the epilogue: 2
    backward   product writes da, kernel reads da and z, writes dz: 4  with the epilogue: 2 (reads z, writes dz)

Measured with the prototype on one H100 (2026-11-22), (65536, 512) @ (512, 2048) in 16 bits: 327 us with the epilogue
GELU_AUX_BIAS, about 500 us with product and kernel.

Whether an epilogue is faster depends on the algorithm that cuBLASLt picks: on the same machine its first choice for
GELU's gradient was three times slower than product and kernel. So its candidates are timed once per machine, and each
epilogue is used only where it was faster (`engines/cuda/fused_products.py`).

Arrays are column-major, as in cuBLAS: see `products.py`. The GELU of cuBLASLt is the tanh form.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.kernels.modules import require_flat
from tinymixer.kernels.precision import CUDA_R_32F, Precision
from tinymixer.kernels.products import WORKSPACE_BYTES
from tinymixer.kernels.timing import DeviceTimer
from tinymixer.kernels.tuning import Tuning

TIMES = 4  # in a row, when an algorithm is timed
CANDIDATES = 8  # number of algorithms to ask cuBLASLt for and to time
ALIGNMENT = 16  # bytes; all addresses are multiples of it (parameters are 16 elements apart, buffers 256 bytes)


@dataclass
class _Plan:
    """A product ready to run: descriptors, addresses and the chosen algorithm."""

    arguments: tuple[Any, ...]
    algorithm: np.ndarray
    keep: tuple[Any, ...]


class Epilogues:
    """Products with epilogues on one CUDA stream. Raises RuntimeError where nvmath-python or cuBLASLt lacks them.

    timer    times the algorithms
    tuning   stores the fastest algorithm for each kind of product; None takes cuBLASLt's first choice without timing
    """

    def __init__(self, cupy: Any, stream: Any, precision: Precision, timer: DeviceTimer, tuning: Tuning | None) -> None:
        try:
            self._lt = importlib.import_module("nvmath.bindings.cublasLt")
            self.error: type[Exception] = self._lt.cuBLASLtError  # raised by its calls
            self._result_dtype: np.dtype[np.void] = self._lt.matmul_heuristic_result_dtype
        except (ImportError, AttributeError) as error:
            raise RuntimeError(f"nvmath-python is not installed, or too old ({error})") from error
        self._stream, self._precision, self._timer, self._tuning = stream, precision, timer, tuning
        try:
            self._handle = self._lt.create()
        except self.error as error:
            raise RuntimeError(f"cuBLASLt cannot be used ({error})") from error
        self._workspace = cupy.empty(WORKSPACE_BYTES, np.uint8)
        self._factors = {value: np.array([value], np.float32) for value in (0.0, 1.0)}
        self._plans: dict[tuple[int, ...], _Plan] = {}

    def bias_gelu(self, x: Any, weight: Any, bias: Any, z: Any, a: Any) -> None:
        """z (R, D) = x (R, I) @ weight (I, D) + bias (D,), a (R, D) = gelu(z); all in the working format."""
        (rows, inputs), columns = x.shape, weight.shape[1]
        self._run(
            "GELU_AUX_BIAS", (weight, columns, inputs, False), (x, inputs, rows, False),
            (a, columns, rows), bias=bias, aux=z,
        )  # fmt: skip

    def gelu_gradient(self, dy: Any, weight: Any, z: Any, dz: Any) -> None:
        """dz (R, D) = (dy (R, O) @ weight (D, O)^T) * gelu'(z (R, D)); z includes the bias."""
        (rows, outputs), columns = dy.shape, weight.shape[0]
        self._run(
            "DGELU", (weight, outputs, columns, True), (dy, outputs, rows, False),
            (dz, columns, rows), aux=z,
        )  # fmt: skip

    def weight_gradient(self, x: Any, dz: Any, dweight: Any, dbias: Any) -> None:
        """dweight (I, D) = x (R, I)^T @ dz (R, D), dbias (D,) = the sum of dz over its rows; both float32."""
        (rows, inputs), columns = x.shape, dz.shape[1]
        self._run(
            "BGRADA", (dz, columns, rows, False), (x, inputs, rows, True),
            (dweight, columns, inputs), bias=dbias,
        )  # fmt: skip

    def close(self) -> None:
        self._lt.destroy(self._handle)

    # ------------------------------------------------------------------------------------------ plans

    def _run(
        self, epilogue: str, a: tuple[Any, int, int, bool], b: tuple[Any, int, int, bool], out: tuple[Any, int, int],
        bias: Any = None, aux: Any = None,
    ) -> None:  # fmt: skip
        """Multiply column-major a and b, each (array, rows, columns, transposed), into out (array, rows, columns).

        Plans are cached by the arrays' addresses, which cuBLASLt's descriptors contain; a step's buffers never move.
        """
        key = tuple(x.data.ptr for x in (a[0], b[0], out[0], bias, aux) if x is not None)
        if key not in self._plans:
            self._plans[key] = self._plan(epilogue, a, b, out, bias, aux)
        self._start(self._plans[key])

    def _start(self, plan: _Plan) -> None:
        description, a, a_layout, b, b_layout, out, out_layout = plan.arguments
        self._lt.matmul(
            self._handle, description, self._factors[1.0].ctypes.data, a, a_layout, b, b_layout,
            self._factors[0.0].ctypes.data, out, out_layout, out, out_layout, plan.algorithm.ctypes.data,
            self._workspace.data.ptr, WORKSPACE_BYTES, self._stream.ptr,
        )  # fmt: skip

    def _plan(self, epilogue: str, a: Any, b: Any, out: Any, bias: Any, aux: Any) -> _Plan:
        require_flat(*(array for array in (a[0], b[0], out[0], bias, aux) if array is not None))
        lt, attribute = self._lt, self._lt.MatmulDescAttribute
        description = lt.matmul_desc_create(self._precision.compute_type, CUDA_R_32F)
        settings: list[tuple[Any, np.generic]] = [
            (attribute.TRANSA, np.int32(a[3])),
            (attribute.TRANSB, np.int32(b[3])),
            (attribute.EPILOGUE, np.uint32(int(lt.Epilogue[epilogue]))),
        ]
        if bias is not None:
            settings.append((attribute.BIAS_POINTER, np.int64(bias.data.ptr)))
        if aux is not None:
            settings.append((attribute.EPILOGUE_AUX_POINTER, np.int64(aux.data.ptr)))
            settings.append((attribute.EPILOGUE_AUX_LD, np.int64(out[1])))
        for name, value in settings:
            held = np.array([value])
            lt.matmul_desc_set_attribute(description, name, held.ctypes.data, held.nbytes)
        layouts = [
            lt.matrix_layout_create(self._data_type(array), rows, columns, rows)
            for array, rows, columns in (a[:3], b[:3], out)
        ]
        arguments = (description, a[0].data.ptr, layouts[0], b[0].data.ptr, layouts[1], out[0].data.ptr, layouts[2])
        found = self._candidates(description, layouts)
        plans = [_Plan(arguments, found[i : i + 1]["algo"].copy(), (a, b, out, bias, aux)) for i in range(len(found))]
        if self._tuning is None:
            return plans[0]
        key = f"{epilogue} {a[1:]} {b[1:]} {self._precision.name} cuBLASLt {self._lt.get_version()}"
        known = self._tuning.get(key)
        chosen = next((plan for plan in plans if plan.algorithm.tobytes().hex() == known), None)
        if chosen is None:
            seconds = [self._seconds(plan) for plan in plans]
            if min(seconds) == float("inf"):
                raise RuntimeError("every algorithm that cuBLASLt proposed for this product and epilogue failed")
            chosen = plans[int(np.argmin(seconds))]
            self._tuning.put(key, chosen.algorithm.tobytes().hex())
        return chosen

    def _seconds(self, plan: _Plan) -> float:
        """How long a proposed algorithm takes; infinitely long where it fails."""
        try:
            return self._timer.seconds(lambda: self._start(plan), TIMES)
        except self.error:
            return float("inf")

    def _candidates(self, description: int, layouts: list[int]) -> np.ndarray:
        """The algorithms that cuBLASLt proposes, its best guess first."""
        lt, attribute = self._lt, self._lt.MatmulPreferenceAttribute
        preference = lt.matmul_preference_create()
        held = np.array([WORKSPACE_BYTES], np.uint64)
        lt.matmul_preference_set_attribute(preference, attribute.MAX_WORKSPACE_BYTES, held.ctypes.data, held.nbytes)
        for matrix in "ABCD":
            held = np.array([ALIGNMENT], np.uint32)
            name = attribute[f"MIN_ALIGNMENT_{matrix}_BYTES"]
            lt.matmul_preference_set_attribute(preference, name, held.ctypes.data, held.nbytes)
        results, count = np.zeros(CANDIDATES, self._result_dtype), np.zeros(1, np.int32)
        a, b, out = layouts
        lt.matmul_algo_get_heuristic(
            self._handle, description, a, b, out, out, preference, CANDIDATES, results.ctypes.data, count.ctypes.data
        )
        lt.matmul_preference_destroy(preference)
        found = results[: int(count[0])]
        found = found[found["state"] == 0]
        if not len(found):
            raise RuntimeError("cuBLASLt has no algorithm for this product and epilogue")
        return found

    def _data_type(self, array: Any) -> int:
        return CUDA_R_32F if array.dtype.itemsize == 4 else self._precision.data_type
