"""Replicas of a model, one per thread, and whether a model can be computed in slices of the batch."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from threading import BrokenBarrierError
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.engines.cpu.threads import ThreadTeam
from tinymixer.engines.sliced import SharedSums, keep_freed_memory, sliced_operations
from tinymixer.errors import ConfigError
from tinymixer.layers.layer import Layer
from tinymixer.layers.replica import replica
from tinymixer.models import Model, has_independent_images, meets_in_batch_norm
from tinymixer.optim.chunks import chunks_of
from tinymixer.parameters import Parameters


def why_not_sliced(model: Model) -> str | None:
    """Why this model must be given whole batches; None where slices may be tried."""
    if model.backend.xp is not np:
        return f"{model.backend.name} works on a whole batch at once"
    if has_independent_images(model):
        return None
    if not meets_in_batch_norm(model):
        return f"{type(model).__name__} does not say independent_images = True"
    if not has_stock_operations(model):
        return f"{type(model).__name__}'s images meet in a batch norm other than the stock one"
    return None


def has_stock_operations(model: Model) -> bool:
    """Whether the model computes with `tinymixer.ops`, and does not ask for these and no faster forms of them."""
    return model.backend.ops is ops and model.backend.kernels != "reference"


class Replicas:
    """A replica of a model for each thread, which shares the weights and has its own gradients and buffers.

    sums   that the replicas' batch norms share: each computes a part of the same batch
    """

    def __init__(self, model: Model, models: list[Model], sums: SharedSums) -> None:
        self.model, self.models, self.sums = model, models, sums
        self._states = [layer_state(each) for each in models]

    @classmethod
    def of(cls, model: Model, count: int) -> "Replicas | str":
        """`count` replicas, or a sentence that says why the model cannot be copied."""
        sums = SharedSums()
        fast = has_stock_operations(model)
        if fast:
            keep_freed_memory()
        made: list[Any] = [sliced_operations(thread, sums) if fast else None for thread in range(count)]
        try:
            return cls(model, [replica(model, operations) for operations in made], sums)
        except ConfigError as error:
            return str(error)

    def run(self, team: ThreadTeam, work: Callable[..., Any], shares: list[list[slice]]) -> list[Any]:
        """[work(thread, slices), ...] of all threads; those that have slices may share sums meanwhile."""

        def within(thread: int, slices: list[slice]) -> Any:
            with self.sums.given_up_on_error():
                return work(thread, slices)

        self.sums.begin(thread for thread, slices in enumerate(shares) if slices)
        try:
            return team.run(within, shares)
        except BrokenBarrierError:
            raise self.sums.error or RuntimeError("a thread gave up") from None

    def changed_state(self) -> str | None:
        """A sentence if a replica's attributes have changed: then the model keeps something of the data."""
        for each, before in zip(self.models, self._states, strict=True):
            after = layer_state(each)
            for place in sorted(before.keys() | after.keys(), key=len):
                if place and before.get(place) != after.get(place):
                    attribute = place.partition("[")[0]
                    return (
                        f"{type(self.model).__name__} keeps something of the data in '{attribute}', which every slice "
                        "would keep for itself (let it travel in the cache)"
                    )
        return None

    def take_buffers(self) -> None:
        for each in self.models:
            each.parameters.take_buffers(self.model.parameters)

    def add_up(self, parallel_map: Callable[..., Iterable[Any]]) -> None:
        """Add the replicas' gradients to the model's, in the replicas' order, and set them back to zero."""
        total = self.model.parameters.gradients  # (size,)
        vectors = [each.parameters.gradients for each in self.models]

        def add(chunk: slice) -> None:
            for vector in vectors:
                total[chunk] += vector[chunk]
                vector[chunk] = 0

        for _ in parallel_map(add, chunks_of(total)):
            pass
        for each in self.models:
            self.model.parameters.add_buffer_change(each.parameters)


def layer_state(layer: Layer) -> dict[str, Any]:
    """The attributes of a layer and its parts, without parameters: path -> value, or a digest of an array."""
    state: dict[str, Any] = {}

    def walk(path: str, thing: Any, seen: frozenset[int]) -> None:
        if id(thing) in seen or isinstance(thing, Parameters):
            return
        seen |= {id(thing)}
        if isinstance(thing, np.ndarray):
            state[path] = thing.shape, str(thing.dtype), hashlib.sha256(thing.tobytes()).hexdigest()
        elif isinstance(thing, list | tuple):
            state[path] = len(thing)
            for index, item in enumerate(thing):
                walk(f"{path}[{index}]", item, seen)
        elif isinstance(thing, Mapping):
            state[path] = sorted(map(repr, thing))
            for key, item in thing.items():
                walk(f"{path}[{key!r}]", item, seen)
        elif isinstance(thing, bool | int | float | str | bytes | type(None) | np.generic):
            state[path] = repr(thing)
        elif callable(thing) or not hasattr(thing, "__dict__"):
            state[path] = id(thing)
            if isinstance(thing, Layer):
                walk_attributes(path, thing, seen)
        else:
            walk_attributes(path, thing, seen)

    def walk_attributes(path: str, thing: Any, seen: frozenset[int]) -> None:
        state[path] = type(thing).__qualname__, sorted(vars(thing))
        for name, value in vars(thing).items():
            walk(f"{path}.{name}" if path else name, value, seen)

    walk("", layer, frozenset())
    return state
