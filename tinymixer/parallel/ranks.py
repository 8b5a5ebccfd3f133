"""`Ranks`: the processes that train one model together, and what they tell each other."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from tinymixer.errors import TinymixerError, TrainingError
from tinymixer.ops.array_library import namespace
from tinymixer.text import reason_of

T = TypeVar("T")


def share_out(count: int, rank: int, size: int) -> slice:
    """The part of `count` things that falls to a rank: neighbours, in the ranks' order; parts differ by one at most."""
    return slice(count * rank // size, count * (rank + 1) // size)


class Ranks:
    """One process alone. `ManyRanks` is for several; both are used in the same way.

    rank, size               this process's number, from 0, and how many there are. Rank 0 writes and speaks
    local_rank, local_size   the same among the processes on this machine
    host                     the machine's name
    cores                    of this machine for this rank; None where it has the machine to itself
    told                     the error of rank 0 that this rank has raised too, if any

    A call that more than one rank takes part in ("together") must be made by all of them, in the same order.
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1
    host = ""
    cores: int | None = None
    told: Exception | None = None

    def part(self, count: int) -> slice:
        """This rank's part of `count` things."""
        return share_out(count, self.rank, self.size)

    def first(self, work: Callable[[], T]) -> T:
        """Do something on rank 0 alone. All ranks get its result, or raise its error. Together."""
        return work()

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in the ranks' order, on every rank. Together."""
        return [value]

    def sum_together(self, vectors: Sequence[Any], *numbers: Any) -> tuple[Any, ...]:
        """Add up vectors, in place, and numbers over the ranks, in one message. Together.

        Vectors are of one array library and dtype; the numbers are added in that dtype, and returned.
        """
        return numbers

    def stop_agreed(self, requested: bool) -> bool:
        """Whether all ranks stop now. A request of one rank travels to the others with the next sum."""
        return requested

    def exchange_requests(self) -> None:
        """Agree on a stop without a sum, for an engine whose sums never come to the host. Together."""

    def agree_to_stop(self) -> None:
        """From now on `stop_agreed` is true. For what all ranks have learned by other means."""

    def require_same(self, what: Mapping[str, str], advice: str) -> None:
        """Raise TrainingError, on all ranks, where one has another value than rank 0. Together.

        what     name -> text to compare
        advice   what to do about it
        """

    def sum_on_devices(self, cupy: Any) -> Any:
        """What sums device vectors over the ranks (`nccl.DeviceSum`); None where there is one rank. Together."""
        return None

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """End this process where the block, a wait for other ranks, takes longer than they can be alive."""
        yield

    def ended(self, sentence: str) -> list[str] | None:
        """What every rank ended with; None where, after some seconds, not all of them have ended."""
        return [sentence]

    def abort(self, code: int = 1) -> None:
        """End all ranks at once, however they are."""
        raise SystemExit(code)


ONE_RANK = Ranks()


class ManyRanks(Ranks):
    """What ranks do together, built on what a subclass brings.

    A subclass defines `gather`, `_broadcast` and `_sum_on_host`.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._requested = self._agreed = False
        self._messages: dict[tuple[int, str], Any] = {}
        self._device_sum: Any = None

    def first(self, work: Callable[[], T]) -> T:
        if self.rank:
            value, problem = self._broadcast(None)
            if problem is not None:
                self.told = problem
                raise problem
            return value
        try:
            value = work()
        except Exception as error:
            self._broadcast((None, error if isinstance(error, TinymixerError) else TrainingError(reason_of(error))))
            raise
        self._broadcast((value, None))
        return value

    def sum_together(self, vectors: Sequence[Any], *numbers: Any) -> tuple[Any, ...]:
        """As `Ranks.sum_together`; the request to stop travels along as one number more."""
        vectors = [vector for vector in vectors if vector.size]
        xp, dtype, tail = namespace(vectors[0]), vectors[0].dtype, len(numbers) + 1
        size = sum(vector.size for vector in vectors)
        key = size + tail, str(dtype)
        if key not in self._messages:
            self._messages = {key: xp.empty(size + tail, dtype=dtype)}
        message = self._messages[key]  # (sizes of the vectors + numbers + 1,)
        start = 0
        for vector in vectors:
            message[start : start + vector.size] = vector
            start += vector.size
        for place, number in enumerate((*numbers, float(self._requested)), start):
            message[place] = number
        with self.watched("a sum over the ranks"):
            self.sum_in_place(message)
        start = 0
        for vector in vectors:
            vector[...] = message[start : start + vector.size]
            start += vector.size
        self._agreed = self._agreed or float(message[-1]) > 0
        return tuple(message[start : start + len(numbers)].copy())

    def sum_in_place(self, vector: Any) -> None:
        """Replace a vector, on the host or on this rank's GPU, by the sum of all ranks'."""
        if hasattr(vector, "get"):  # CuPy's
            self.sum_on_devices(namespace(vector))(vector)
        else:
            self._sum_on_host(vector)

    def sum_on_devices(self, cupy: Any) -> Any:
        if self._device_sum is None:
            from tinymixer.parallel.nccl import device_sum

            self._device_sum = device_sum(self, cupy)
        return self._device_sum

    def stop_agreed(self, requested: bool) -> bool:
        self._requested = self._requested or requested
        return self._agreed

    def exchange_requests(self) -> None:
        with self.watched("the other ranks' requests to stop"):
            self._agreed = self._agreed or any(self.gather(self._requested))

    def agree_to_stop(self) -> None:
        self._agreed = True

    def require_same(self, what: Mapping[str, str], advice: str) -> None:
        for name in what:
            # Digests, so that a long text need not travel; the texts themselves only where they differ.
            digests = self.gather(hashlib.sha256(what[name].encode()).hexdigest())
            others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
            if not others:
                continue
            texts = self.gather(what[name])
            raise TrainingError(
                f"the ranks differ in {name}: {_difference(texts[0], texts[others[0]], others[0])}"
                f"{f' (and {len(others) - 1} more ranks)' if len(others) > 1 else ''}: {advice}"
            )

    def _broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self.gather(value if self.rank == 0 else None)[0]

    def _sum_on_host(self, vector: np.ndarray) -> None:
        """Replace a vector by the sum of all ranks', added in the ranks' order: the same bits on every rank."""
        raise NotImplementedError


def share_of_cores(masks: Sequence[frozenset[int]], rank: int) -> int:
    """How many threads a rank may start, when the machine's ranks may run on these sets of cores.

    A core counts for a rank with one share of those that may use it: two ranks that may use the same two cores get one
    thread each, and so do two ranks that were bound to a core each.
    """
    users = {core: sum(core in mask for mask in masks) for core in masks[rank]}
    return max(1, int(sum(1 / count for count in users.values()) + 1e-9))


def own_cores() -> frozenset[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _difference(first: str, other: str, rank: int) -> str:
    """Where two texts first differ, line by line."""
    for ours, theirs in zip([*first.splitlines(), ""], [*other.splitlines(), ""], strict=False):
        if ours != theirs:
            return f"rank 0 has {ours.strip()[:80] or 'nothing'}, rank {rank} {theirs.strip()[:80] or 'nothing'}"
    return f"rank 0 and rank {rank}"
