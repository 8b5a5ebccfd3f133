"""The norm of all gradients together, and a bound on it."""

from collections.abc import Iterable
from typing import Any

from tinymixer.ops.array_library import namespace
from tinymixer.optim.chunks import ParallelMap, chunks_of

SMALL = 1e-6  # keeps the quotient finite when every gradient is zero


def global_norm(gradients: Any, parallel_map: ParallelMap = map, chunks: Iterable[slice] | None = None) -> Any:
    """Euclidean norm of the flat vector of all gradients (size,), in its own dtype: a 0-d array of the backend.

    parallel_map   a function like `map` that may work on several chunks of the vector at once
    chunks         the slices of the vector to take the norm of; None for all of it
    """
    xp = namespace(gradients)
    if chunks is None:
        chunks = chunks_of(gradients)
    squares = parallel_map(lambda chunk: xp.sum(gradients[chunk] * gradients[chunk]), chunks)
    return xp.sqrt(xp.sum(xp.stack(list(squares))))


def clip_by_global_norm(gradients: Any, max_norm: float) -> Any:
    """Scale the gradients (size,) down, in place, to a global norm of at most `max_norm` (Pascanu et al. 2013).

        gradients *= min(1, max_norm / (norm + 1e-6))

    All gradients get the same factor, so their direction stays. Returns the norm before clipping, a 0-d array of the
    backend; it is not copied to the host, so that a GPU need not wait.
    """
    norm = global_norm(gradients)
    clip(gradients, norm, max_norm)
    return norm


def clip(gradients: Any, norm: Any, max_norm: float) -> None:
    """Clip as `clip_by_global_norm` does, for gradients whose norm is known."""
    gradients *= namespace(gradients).minimum(max_norm / (norm + SMALL), 1.0)
