"""Replicas of a model, one per thread, and whether a model lets itself be worked through in slices."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError
from tinymixer.layers.layer import Layer
from tinymixer.layers.replica import replica
from tinymixer.models import Model, has_independent_images
from tinymixer.optim.chunks import chunks_of
from tinymixer.parameters import Parameters


def why_not_sliced(model: Model) -> str | None:
    """Why batches go through this model whole; None where slices may be tried."""
    if model.backend.xp is not np:
        return f"{model.backend.name} works on a whole batch at once"
    if not has_independent_images(model):
        return f"{type(model).__name__} does not say independent_images = True"
    return None


class Replicas:
    """A replica of a model for each thread: the same weights, gradients and buffers of its own."""

    def __init__(self, model: Model, models: list[Model]) -> None:
        self.model, self.models = model, models
        self._kept = [kept_by(each) for each in models]

    @classmethod
    def of(cls, model: Model, count: int) -> "Replicas | str":
        """So many replicas, or a sentence that says why the model cannot be copied."""
        try:
            return cls(model, [replica(model) for _ in range(count)])
        except ConfigError as error:
            return str(error)

    def what_they_kept(self) -> str | None:
        """A sentence if a replica has other attributes than when it was made: the model keeps something of the data."""
        for each, before in zip(self.models, self._kept, strict=True):
            after = kept_by(each)
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


def kept_by(layer: Layer) -> dict[str, Any]:
    """What a layer and its parts keep besides their parameters: place -> value, or a digest of an array."""
    kept: dict[str, Any] = {}

    def walk(place: str, thing: Any, seen: frozenset[int]) -> None:
        if id(thing) in seen or isinstance(thing, Parameters):
            return
        seen |= {id(thing)}
        if isinstance(thing, np.ndarray):
            kept[place] = thing.shape, str(thing.dtype), hashlib.sha256(thing.tobytes()).hexdigest()
        elif isinstance(thing, list | tuple):
            kept[place] = len(thing)
            for index, item in enumerate(thing):
                walk(f"{place}[{index}]", item, seen)
        elif isinstance(thing, Mapping):
            kept[place] = sorted(map(repr, thing))
            for key, item in thing.items():
                walk(f"{place}[{key!r}]", item, seen)
        elif isinstance(thing, bool | int | float | str | bytes | type(None) | np.generic):
            kept[place] = repr(thing)
        elif callable(thing) or not hasattr(thing, "__dict__"):
            kept[place] = id(thing)
            if isinstance(thing, Layer):
                walk_attributes(place, thing, seen)
        else:
            walk_attributes(place, thing, seen)

    def walk_attributes(place: str, thing: Any, seen: frozenset[int]) -> None:
        kept[place] = type(thing).__qualname__, sorted(vars(thing))
        for name, value in vars(thing).items():
            walk(f"{place}.{name}" if place else name, value, seen)

    walk("", layer, frozenset())
    return kept
