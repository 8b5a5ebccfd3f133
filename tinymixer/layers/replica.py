"""Copies of a layer that share its weights, so that several threads can each compute a slice of the batch."""

import gc
import pickle
from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import numpy as np

from tinymixer.backend import Backend
from tinymixer.errors import ConfigError
from tinymixer.layers.layer import Layer
from tinymixer.ops.protocol import Operations
from tinymixer.parameters import Parameters
from tinymixer.parameters.storage import Storage

AnyLayer = TypeVar("AnyLayer", bound=Layer)


def replica(layer: AnyLayer, operations: Operations | None = None) -> AnyLayer:
    """A copy of a layer and all its parts that shares the values and has its own gradients and buffers.

    Values are in the same memory, so an update of the original updates the replica. Gradients start at zero and take
    memory at first use. Buffers are copied as they are now; `parameters.take_buffers` copies them again. Everything
    else in the layer (lists, dicts, constants, state) is copied by `copy.deepcopy`. An attribute that is a view of
    values, gradients or buffers becomes a view of the replica's.

    operations   that the replica computes with, in the place of the backend's; None for the same

    Raises ConfigError when the layer keeps something that cannot be copied (a lock, an open file), or something through
    which the replica would write into the original's gradients (a function that refers to the layer).
    """
    found = list(reachable(layer))
    storages = {id(thing.storage): thing.storage for thing in found if isinstance(thing, Parameters)}
    replicas = [(storage, storage.replica(operations)) for storage in storages.values()]
    memo: dict[int, Any] = {id(storage): copy for storage, copy in replicas}
    for storage, _ in replicas:
        memo.update(storage.shared_operations())
    for thing in found:
        if isinstance(thing, ModuleType):
            memo[id(thing)] = thing
        elif isinstance(thing, np.ndarray):
            moved = _moved_view(thing, replicas)
            if moved is not None:
                memo[id(thing)] = moved
    try:
        copy = deepcopy(layer, memo)
    except (TypeError, ValueError, AttributeError, NotImplementedError, pickle.PickleError, RecursionError) as error:
        raise ConfigError(
            f"{type(layer).__name__} cannot be copied for several threads ({error}): "
            "keep locks, open files and the like outside of the layer"
        ) from error
    _require_apart(copy, [storage for storage, _ in replicas])
    if operations is not None:
        _exchange_operations(copy, vars(layer.backend.ops), operations)
    return copy


def _exchange_operations(copy: Layer, before: Mapping[str, Any], operations: Operations) -> None:
    """Where a layer keeps one of the operations in an attribute, give it the one of the same name."""
    names = {id(operation): name for name, operation in before.items() if callable(operation)}
    for thing in list(reachable(copy)):
        if isinstance(thing, Layer):
            for attribute, value in vars(thing).items():
                if id(value) in names:
                    setattr(thing, attribute, getattr(operations, names[id(value)]))


def reachable(root: object) -> Iterator[object]:
    """The root and every object that it refers to, directly or through others.

    The search does not go into classes, modules, a function's globals, or a `Parameters`, which has a `__deepcopy__` of
    its own.
    """
    seen, to_visit = {id(root): root}, [root]
    while to_visit:
        thing = to_visit.pop()
        yield thing
        for child in _children(thing):
            if id(child) not in seen:
                seen[id(child)] = child
                to_visit.append(child)


def _children(thing: object) -> list[Any]:
    if isinstance(thing, type | ModuleType | Backend | Parameters):
        return []
    if isinstance(thing, FunctionType):  # all but its globals
        return [thing.__closure__, thing.__defaults__, thing.__kwdefaults__, thing.__dict__]
    return gc.get_referents(thing)


def _moved_view(array: np.ndarray, replicas: list[tuple[Storage, Storage]]) -> np.ndarray | None:
    """The replica's view for a view of the original's: of the shared values, or of its own gradients or buffers.

    None for an array that is not a view of the original's vectors.
    """
    for original, copy in replicas:
        if _overlap(array, original.values):
            return array
        if _overlap(array, original.buffers):
            return _same_view(array, original.buffers, copy.buffers)
        if original.gradients_allocated and _overlap(array, original.gradients):
            return _same_view(array, original.gradients, copy.gradients)
    return None


def _overlap(array: np.ndarray, vector: Any) -> bool:
    return isinstance(vector, np.ndarray) and np.may_share_memory(array, vector)  # exact: the vector has no gaps


def _same_view(view: np.ndarray, vector: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A view of `other` with the offset, shape and strides that `view` has in `vector`."""
    start = view.__array_interface__["data"][0] - vector.__array_interface__["data"][0]  # bytes
    return np.ndarray(view.shape, view.dtype, buffer=other, offset=start, strides=view.strides)


def _require_apart(copy: Layer, originals: list[Storage]) -> None:
    """Raise ConfigError if the copy still reaches the originals' gradients or buffers."""
    for thing in reachable(copy):
        shared = isinstance(thing, Parameters) and any(thing.storage is original for original in originals)
        if isinstance(thing, np.ndarray):
            shared = any(
                _overlap(thing, original.buffers)
                or (original.gradients_allocated and _overlap(thing, original.gradients))
                for original in originals
            )
        if shared:
            raise ConfigError(
                f"{type(copy).__name__} cannot be copied for several threads: it keeps a function that refers to the "
                "layer it was made in, so a copy would write into the gradients of the original. Make it a method"
            )
