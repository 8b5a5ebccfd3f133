"""Long vectors worked on a chunk at a time, so that temporary arrays stay small and in the cache."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

ParallelMap = Callable[[Callable[[slice], Any], Iterable[slice]], Iterable[Any]]  # a function like map
CHUNK = 1 << 18  # elements: 1 MiB in float32


def chunks_of(vector: Any) -> Iterator[slice]:
    """Slices that make up a flat vector: of CHUNK elements each, the last one perhaps shorter (at least one slice)."""
    for start in range(0, max(vector.size, 1), CHUNK):
        yield slice(start, min(start + CHUNK, vector.size))
