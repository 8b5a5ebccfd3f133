"""Long vectors worked on a piece at a time, so that temporary arrays stay small and in the cache."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Spread = Callable[[Callable[[slice], Any], Iterable[slice]], Iterable[Any]]  # a function like map
PIECE = 1 << 18  # elements: 1 MiB in float32


def pieces_of(vector: Any) -> Iterator[slice]:
    """Slices that make up a flat vector: of PIECE elements each, the last one perhaps shorter (at least one slice)."""
    for start in range(0, max(vector.size, 1), PIECE):
        yield slice(start, min(start + PIECE, vector.size))
