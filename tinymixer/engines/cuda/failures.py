"""What a failure on the GPU means: whose it is, whether it will happen again, and whether the GPU survives it."""

import gc
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tinymixer.engines.cuda.memory_plan import BatchTooLargeError
from tinymixer.errors import REPOSITORY, BackendError, TinymixerError
from tinymixer.text import reason_of

if TYPE_CHECKING:
    from tinymixer.engines.cuda.self_proof import Proof

REPORT_TO = f"{REPOSITORY}/issues"
LIBRARIES = ("cupy", "cupy_backends", "nvmath", "cuda")
OUT_OF_MEMORY = ("outofmemory", "memoryallocation", "allocfailed")  # in what the libraries say, without gaps


class WayFailedError(BackendError):
    """A way of computing steps cannot be taken.

    known   it failed at an earlier start;  proof   what was compared, where numbers were wrong
    """

    def __init__(self, reason: str, known: bool = False, proof: "Proof | None" = None) -> None:
        super().__init__(reason)
        self.known, self.proof = known, proof


class NotCapturedError(WayFailedError):
    """The step was run, and could not be captured in a CUDA graph."""


def is_users(error: Exception) -> bool:
    """Whether an error is about what the user asked for, so that no other way of computing it would help."""
    return isinstance(error, BatchTooLargeError) or (
        isinstance(error, TinymixerError) and not isinstance(error, BackendError)
    )


def is_lasting(error: Exception) -> bool:
    """Whether a way would fail again at the next start.

    Not where memory was short, which other programs may have held, nor where a library was missing or could not be
    compiled with, which the user may mend: that is found again quickly.
    """
    said = str(error).lower().replace("_", "").replace(" ", "")
    if isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY):
        return False
    return isinstance(error, NotCapturedError) or not isinstance(error, ImportError | OSError | BackendError)


def belongs_to_the_libraries(error: Exception) -> bool:
    """Whether an error comes from CuPy, nvmath-python or the driver. Being out of memory has a sentence of its own."""
    if isinstance(error, TinymixerError | MemoryError):
        return False
    origin = type(error).__module__.split(".")[0]
    return origin in LIBRARIES or isinstance(error, RuntimeError)


def gpu_is_usable(cupy: Any) -> bool:
    """Whether this process can still compute on the GPU: an illegal address ends that for good."""
    try:
        numbers = cupy.zeros(8, dtype="float32")
        numbers += 1
        return bool((numbers.get() == 1).all())
    except Exception:  # of whichever library; the error itself was reported
        return False


def abandon(step: Any) -> None:
    """Give up a `CapturedStep` that has failed: end the capture that the error interrupted, and release its handles."""
    for end in (step.stream.end_capture, step.close):
        with suppress(Exception):  # of either library; what made the step fail is on its way
            end()


def give_back_memory(cupy: Any) -> None:
    """Return to the device what nobody uses any more."""
    gc.collect()
    with suppress(Exception):
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


def said_by(error: BaseException) -> str:
    return reason_of(error).rstrip(".")


def report_text(way: str, error: Exception, kind: Mapping[str, Any]) -> str:
    """A report to attach to an issue: what failed, on which machine, with which sizes, and all that was compared."""
    lines = [f"tinymixer: the cuda engine's way '{way}' was left: {said_by(error)}", ""]
    for section, values in kind.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {value!r}" for name, value in values.items()]
        lines.append("")
    proof = getattr(error, "proof", None)
    if proof is not None:
        lines.append(f"[compared over {proof.images} images, the worst first: error, bound, ratio, measure, name]")
        worst_first = sorted(proof.comparisons, key=lambda comparison: -comparison.ratio)
        lines += [f"{c.error:10.3g} {c.bound:10.3g} {c.ratio:10.3g}  {c.measure:8s}  {c.name}" for c in worst_first]
        lines.append("")
    with suppress(Exception):
        lines += ["[error]", "".join(traceback.format_exception(error))]
    return "\n".join(lines)
