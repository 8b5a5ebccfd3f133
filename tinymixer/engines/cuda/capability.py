"""What a GPU's compute capability decides: which precisions it has, and which one is taken when none is asked for.

    7.0, 7.2, 7.5     V100, T4, RTX 20: tensor cores for float16; neither bfloat16 nor tf32
    8.0 and above     A100 (8.0), RTX 30 (8.6), RTX 40 and L4 (8.9), H100 (9.0), B200 (10.0), RTX 50 (12.0): all four

(CUDA C++ Programming Guide, "Compute Capabilities".) CUDA 13 runs on 7.5 and above; CUDA 12 also on older GPUs.
"""

from typing import Any

from tinymixer.kernels.precision import get_precision

Capability = tuple[int, int]
BFLOAT16_FROM, FLOAT16_FROM = (8, 0), (7, 0)
FAST_FLOAT64 = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}  # others compute float64 at 1/32 of float32's rate, or less


def capability_of(cupy: Any) -> Capability:
    """The current device's compute capability, such as (7, 5)."""
    digits = str(cupy.cuda.Device().compute_capability)  # "75", "90", "120"
    return int(digits[:-1]), int(digits[-1])


def spoken(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"


def device_name(cupy: Any) -> str:
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def usual_precision(capability: Capability) -> str:
    """The precision for training when none is asked for: 16 bits where tensor cores multiply them, else float32.

    A Mixer's step is bound by memory, and half the bytes are nearly half the time (docs/gpu.md). bfloat16 has float32's
    range, so nothing can overflow. float16 needs its loss scale; without tensor cores it gains less than that costs.
    """
    if capability >= BFLOAT16_FROM:
        return "bfloat16"
    return "float16" if capability >= FLOAT16_FROM else "float32"


def precision_here(asked: str, cupy: Any) -> tuple[str, str]:
    """The precision to compute in on the current device, and a clause that says why ("" where it was asked for).

    asked   a precision, or "auto"

    A precision that the device lacks is replaced by the nearest that it has. Raises ConfigError for an unknown one.
    """
    capability = capability_of(cupy)
    has = f"compute capability {spoken(capability)}"
    if asked == "auto":
        chosen = usual_precision(capability)
        other = "" if chosen == "float32" else "; --precision float32 gives the processor's numbers"
        return chosen, f"{chosen} was chosen for {has}{other}"
    get_precision(asked)
    if capability < BFLOAT16_FROM and asked in ("bfloat16", "tf32"):
        instead = "float32" if asked == "tf32" or capability < FLOAT16_FROM else "float16"
        return instead, f"{device_name(cupy)} ({has}) has no {asked}, so --precision {instead} is used instead"
    return asked, ""
