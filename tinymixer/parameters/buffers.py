"""Statistics that are kept with the weights but not trained: how they are named, changed and copied."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np

from tinymixer.errors import ConfigError, nearest
from tinymixer.parameters.layout import Layout, cut
from tinymixer.parameters.storage import Storage


class Buffers:
    """Named views of a flat vector of buffers.

    A forward pass never writes to them. It leaves new statistics in its cache, and `Layer.update_buffers(cache)` writes
    them into the buffers, once per step.
    """

    def _set_buffers(self, storage: Storage, span: slice, layout: Layout) -> None:
        self.storage, self._buffer_span, self._buffer_layout = storage, span, layout
        self._buffers = cut(storage.buffers, span)
        self._buffer_views = layout.views_of(self._buffers)

    @property
    def buffers(self) -> Any:
        """The flat vector of buffers, padding included: no forward pass writes to it, only `Layer.update_buffers`."""
        return self._buffers

    @property
    def buffer_names(self) -> list[str]:
        return list(self._buffer_layout.shapes)

    def buffer(self, name: str) -> Any:
        """The view of the buffer of that name."""
        if name not in self._buffer_views:
            raise KeyError(f"no buffer is named '{name}'.{nearest(name, self._buffer_views)}")
        return self._buffer_views[name]

    def keep_constant(self, layers: Iterable[str]) -> None:
        """From now on the layers of these names ("stem.norm") compute with the buffers that they have, in training too.

        A frozen batch norm is such a layer: it normalises with the statistics that it was trained with.
        """
        self.storage.constant = frozenset(layers)

    @property
    def buffer_change(self) -> Any:
        """The sum of the changes that `collect_buffer_change` has collected since they were last applied."""
        return cut(self.storage.buffer_change, self._buffer_span)

    def collect_buffer_change(self, update: Callable[[], None], share: float) -> None:
        """Note how `update()` changes the buffers, and put them back.

        update   writes the buffers, as `model.update_buffers(cache)` does after a slice's or micro-batch's forward pass
        share    of the batch's images in that slice: share * (buffers after - buffers before) is added to
                 `buffer_change`

        So every slice starts from the same buffers. If a new buffer is linear in the batch's mean, the slices' changes
        add up to that of the whole batch, to rounding. Without buffers, `update` is not called.
        """
        if not self._buffer_layout.shapes:
            return
        before = self._buffers.copy()  # (n,)
        try:
            update()
            change = self.buffer_change
            change += float(share) * (self._buffers - before)
        finally:
            self._buffers[...] = before

    def add_buffer_change(self, other: Self) -> None:
        """Add the change that a replica has collected to this object's, and set the replica's to zero."""
        if other.storage.buffers_changed:
            change = self.buffer_change
            change += other.buffer_change
            other.buffer_change.fill(0)

    def apply_buffer_change(self) -> None:
        """Add the collected change to the buffers, once per step, and set it to zero."""
        if self.storage.buffers_changed:
            change, buffers = self.buffer_change, self._buffers
            buffers += change
            change.fill(0)

    def zero_buffer_change(self) -> None:
        """Forget the collected change, as of a step that was given up."""
        if self.storage.buffers_changed:
            self.buffer_change.fill(0)

    def take_buffers(self, other: Self) -> None:
        """Copy the buffers of another model of the same layout. Raises ConfigError for another layout."""
        if other._buffer_layout.shapes != self._buffer_layout.shapes:
            raise ConfigError("buffers can be taken only from a model with buffers of the same names and shapes")
        if self._buffer_layout.shapes:
            self._buffers[...] = other._buffers

    def buffers_to_numpy(self, vector: Any = None) -> dict[str, np.ndarray]:
        """Host copies of the buffers by name (or of another vector of their layout)."""
        return self._buffer_layout.host_copies(self._buffers if vector is None else vector, self.storage.backend)

    def load_buffers(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write host arrays, one per name, into the buffers; as `load`, with the same errors."""
        self._buffer_layout.require_fit(arrays, "buffer")
        self._buffer_layout.write(arrays, self._buffers, self.storage.backend)
