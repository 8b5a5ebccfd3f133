"""The memory behind a layer's parameters and those of all its parts."""

import threading
from dataclasses import replace
from typing import Any

from tinymixer.backend import Backend
from tinymixer.ops.protocol import Operations


class Storage:
    """The flat vectors that a `Parameters` and all its parts are views of.

    values (size,)   weights
    buffers (n,)     statistics that are kept but not trained

    Gradients (size,) and the sum of the buffers' changes (n,) are made when they are first asked for: a model that only
    predicts never has them. `copy.deepcopy` copies everything; a `replica` shares the values.
    """

    def __init__(self, backend: Backend, values: Any, buffers: Any) -> None:
        self.backend, self.values, self.buffers = backend, values, buffers
        self.constant: frozenset[str] = frozenset()  # names of the layers whose buffers are not to change
        self._gradients: Any = None
        self._buffer_change: Any = None
        self._lock = threading.Lock()

    @property
    def gradients(self) -> Any:
        if self._gradients is None:
            with self._lock:  # two threads that ask at the same time get the same vector
                if self._gradients is None:
                    self._gradients = self._zeros_like(self.values)
        return self._gradients

    @property
    def gradients_allocated(self) -> bool:
        return self._gradients is not None

    @property
    def buffer_change(self) -> Any:
        if self._buffer_change is None:
            with self._lock:
                if self._buffer_change is None:
                    self._buffer_change = self._zeros_like(self.buffers)
        return self._buffer_change

    @property
    def buffers_changed(self) -> bool:
        """Whether a change may have been collected that is not applied yet."""
        return self._buffer_change is not None

    def _zeros_like(self, vector: Any) -> Any:
        return self.backend.xp.zeros(vector.shape, dtype=vector.dtype)  # the system provides it when it is written to

    def replica(self, operations: Operations | None = None) -> "Storage":
        """The same values, in the same memory; gradients and buffers of its own (the buffers copied as they are).

        operations   that the replica's layers use; None for the backend's
        """
        backend = self.backend if operations is None else replace(self.backend, ops=operations)
        made = Storage(backend, self.values, self.buffers.copy())
        made.constant = self.constant
        return made

    def shared_operations(self) -> dict[int, Any]:
        """id -> operation of the backend, for `copy.deepcopy` to leave as they are: a layer may keep some of them."""
        return {id(operation): operation for operation in vars(self.backend.ops).values() if callable(operation)}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Storage":
        """A copy that shares nothing but the backend and its operations."""
        memo.update(self.shared_operations())
        copied = Storage(self.backend, self.values.copy(), self.buffers.copy())
        copied.constant = self.constant
        copied._gradients = None if self._gradients is None else self._gradients.copy()
        copied._buffer_change = None if self._buffer_change is None else self._buffer_change.copy()
        return copied
