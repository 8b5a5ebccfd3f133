"""Long vectors worked on a chunk at a time, so that temporary arrays stay small and in the cache."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

ParallelMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # a function like map
CHUNK = 1 << 18  # elements: 1 MiB in float32


def chunks_of(vector: Any) -> Iterator[slice]:
    """The slices, at least one, that make up a flat vector: CHUNK elements each, the last one perhaps shorter."""
    return chunks_between(0, vector.size)


def chunks_between(start: int, stop: int) -> Iterator[slice]:
    """The chunks of vector[start:stop]."""
    for first in range(start, max(stop, start + 1), CHUNK):
        yield slice(first, min(first + CHUNK, stop))
