"""Four number formats for a training step. Weights, their gradients, statistics and losses are float32 in all of them.

float32    products in float32
tf32       float32 in memory; the tensor cores round the factors of a product to 10 bits of mantissa
bfloat16   activations and a copy of the weights in 16 bits: float32's range with 7 bits of mantissa
float16    10 bits of mantissa and a small range: the loss is scaled up so that small gradients survive, and the
           scale adapts (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError, nearest

# Constants of cuBLAS (cudaDataType_t and cublasComputeType_t); the tests compare them with nvmath-python's.
CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF = 0, 2, 14
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77
FIRST_LOSS_SCALE = 2.0**13


@dataclass(frozen=True)
class Precision:
    """Number formats of a training step.

    number          C++ name of the activations' format
    storage         NumPy dtype that holds its bits; NumPy has no bfloat16, so only kernels interpret those bits
    data_type       cuBLAS's code for that format
    compute_type    cuBLAS's code for the arithmetic in products of activations
    float_compute   the same for products of float32 matrices, which are few and small
    scaled          whether the loss is scaled
    """

    name: str
    number: str
    storage: Any
    data_type: int
    compute_type: int
    float_compute: int
    scaled: bool

    @property
    def itemsize(self) -> int:
        return np.dtype(self.storage).itemsize

    @property
    def has_working_copy(self) -> bool:
        """Whether products read a 16-bit copy of the weights instead of the weights themselves."""
        return self.itemsize < 4

    def gelu(self, form: str) -> str:
        """C++ name of the GELU ("tanh" or "erf"); except in float32, tanh is the GPU's own instruction."""
        if form == "erf":
            return "ErfGelu"
        return "TanhGelu" if self.name == "float32" else "FastTanhGelu"


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("float32", "float", np.float32, CUDA_R_32F, COMPUTE_32F, COMPUTE_32F, False),
        Precision("tf32", "float", np.float32, CUDA_R_32F, COMPUTE_32F_FAST_TF32, COMPUTE_32F_FAST_TF32, False),
        Precision("bfloat16", "__nv_bfloat16", np.uint16, CUDA_R_16BF, COMPUTE_32F, COMPUTE_32F, False),
        Precision("float16", "__half", np.float16, CUDA_R_16F, COMPUTE_32F, COMPUTE_32F, True),
    )
}


def get_precision(name: str) -> Precision:
    """The precision of that name. Raises ConfigError for an unknown one."""
    if name not in PRECISIONS:
        raise ConfigError(
            f"unknown precision '{name}': expected one of {', '.join(PRECISIONS)}.{nearest(name, PRECISIONS)}"
        )
    return PRECISIONS[name]
