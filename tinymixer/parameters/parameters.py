"""Named weights, gradients and buffers, as views of three flat vectors."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np

from tinymixer.backend import Backend, get_backend
from tinymixer.errors import ConfigError, nearest
from tinymixer.parameters.buffers import Buffers
from tinymixer.parameters.layout import Layout, cut
from tinymixer.parameters.specification import BufferSpec, Specification
from tinymixer.parameters.storage import Storage

DTYPES = ("float32", "float64")


class Parameters(Buffers):
    """Named weights and gradients as views of two flat vectors, and named buffers as views of a third.

    specification   name -> ParameterSpec or BufferSpec, in the order of the flat vectors
    backend         name or Backend that the vectors live on
    dtype           "float32" or "float64"
    seed            int or NumPy generator: the values are drawn on the host, in float64, in the order of the names,
                    so that a seed means the same weights on every backend and (to rounding) in every dtype.
                    None draws nothing and leaves zeros, for values that will be loaded; the memory is provided when
                    they are written

    `parameters["stem.weight"]` is a view of `values`, `parameters.gradient("stem.weight")` of `gradients`,
    `parameters.buffer("norm.mean")` of `buffers`. Names, iteration, length and `count` are those of the weights alone.
    Between the views lie up to 15 elements of padding, zero in all vectors. The gradients take no memory until they
    are first asked for. Raises ConfigError for another dtype.
    """

    def __init__(
        self,
        specification: Specification,
        backend: str | Backend = "numpy",
        dtype: str = "float32",
        seed: int | np.random.Generator | None = 0,
    ) -> None:
        if str(dtype) not in DTYPES:
            raise ConfigError(f"parameters are kept in {' or '.join(DTYPES)}, got dtype '{dtype}'")
        backend = get_backend(backend)
        weight_layout, buffer_layout = (
            Layout(
                {name: spec.shape for name, spec in specification.items() if isinstance(spec, BufferSpec) == buffers}
            )
            for buffers in (False, True)
        )
        if seed is None:
            values, buffers = (
                backend.xp.zeros(layout.size, dtype=dtype) for layout in (weight_layout, buffer_layout)
            )  # (size,), (n,)
        else:
            generator = np.random.default_rng(seed)
            values, buffers = _initial_values(specification, weight_layout, buffer_layout, backend, dtype, generator)
        storage = Storage(backend, values, buffers)
        weights = slice(0, weight_layout.size), weight_layout
        self._set(storage, "", weights, (slice(0, buffer_layout.size), buffer_layout))

    def _set(self, storage: Storage, prefix: str, values: tuple[slice, Layout], buffers: tuple[slice, Layout]) -> None:
        self._set_buffers(storage, *buffers)
        self._prefix = prefix
        self._span, self._layout = values
        self._values = cut(storage.values, self._span)
        self._value_views = self._layout.views_of(self._values)

    # ---------------------------------------------------------------------------------------------- values, gradients

    @property
    def values(self) -> Any:
        """The flat vector of weights, padding included."""
        return self._values

    @property
    def gradients(self) -> Any:
        """The flat vector of gradients, padding included; backward passes add to it."""
        return self._gradients_and_views[0]

    @property
    def gradients_allocated(self) -> bool:
        """Whether gradients have been asked for, here or in a part: until then they take no memory."""
        return self.storage.gradients_allocated

    @property
    def backend(self) -> Backend:
        return self.storage.backend

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self._values.dtype)

    @property
    def prefix(self) -> str:
        """The name of this part in the whole: "" for the whole, "blocks.0.token_mixing" for that part of it."""
        return self._prefix

    @property
    def buffers_are_constant(self) -> bool:
        """Whether the layer whose parameters these are computes with the buffers that it has."""
        return self.prefix in self.storage.constant

    @property
    def names(self) -> list[str]:
        return list(self._layout.shapes)

    @property
    def count(self) -> int:
        """The number of parameters, padding not counted."""
        return self._layout.count

    def shape(self, name: str) -> tuple[int, ...]:
        return self._layout.shapes[self._known(name)]

    def __getitem__(self, name: str) -> Any:
        """The view of the weights of that name. To change them, write into it: `parameters[name][...] = array`."""
        return self._value_views[self._known(name)]

    def gradient(self, name: str) -> Any:
        """The view of the gradient of that name."""
        return self._gradients_and_views[1][self._known(name)]

    @cached_property
    def _gradients_and_views(self) -> tuple[Any, dict[str, Any]]:
        gradients = cut(self.storage.gradients, self._span)
        return gradients, self._layout.views_of(gradients)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.shapes)

    def __len__(self) -> int:
        return len(self._layout.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self._layout.shapes

    def __setitem__(self, name: str, array: Any) -> None:
        raise TypeError(f"a view cannot be replaced, only written into: parameters['{name}'][...] = array")

    def _known(self, name: str) -> str:
        if name in self._layout.shapes:
            return name
        if name in self._buffer_layout.shapes:
            raise KeyError(f"'{name}' is a buffer, which is not trained: parameters.buffer('{name}')")
        raise KeyError(f"no parameter is named '{name}'.{nearest(name, self._layout.shapes)}")

    def views_of(self, vector: Any) -> dict[str, Any]:
        """Named, shaped views of another flat vector of the weights' layout (a momentum, a thread's own gradients).

        The views of a matrix (count, size) of such vectors are (count, *shape).
        """
        return self._layout.views_of(vector)

    def zero_gradients(self) -> None:
        if self.gradients_allocated:
            self.gradients.fill(0)

    def mask(self, predicate: Callable[[str, tuple[int, ...]], bool], dtype: Any = None) -> Any:
        """A flat vector that is 1 where predicate(name, shape) holds and 0 elsewhere, padding included.

        dtype   of the vector; None for that of the weights
        """
        host = np.zeros(self._values.shape, dtype or self.dtype)  # (size,)
        for name, view in self.views_of(host).items():
            if predicate(name, view.shape):
                view[...] = 1
        return self.backend.asarray(host)

    # --------------------------------------------------------------------------------------------- parts and replicas

    def part(self, prefix: str, may_be_empty: bool = False) -> "Parameters":
        """The parameters and buffers below "prefix.", named without it, over the same memory.

        may_be_empty   True: return a part without any parameter or buffer (for a layer that has none), too

        They must have been declared one after the other, as a layer's are (else ConfigError). Raises KeyError when
        there are none.
        """
        layouts = self._layout.part(prefix), self._buffer_layout.part(prefix)
        if not may_be_empty and not any(layout.shapes for _, layout in layouts):
            raise KeyError(f"no parameter's name starts with '{prefix}.'")
        (values, layout), (buffers, buffer_layout) = layouts
        return self._over(
            self.storage,
            f"{self._prefix}.{prefix}" if self._prefix else prefix,
            (_moved(values, self._span.start), layout),
            (_moved(buffers, self._buffer_span.start), buffer_layout),
        )

    def span(self, prefix: str) -> slice:
        """Where the parameters below "prefix." lie in the flat vectors, padding included; KeyError when none do."""
        span, layout = self._layout.part(prefix)
        if not layout.shapes:
            raise KeyError(f"no parameter's name starts with '{prefix}.'")
        return span

    def span_of(self, name: str) -> slice:
        """Where one parameter lies in the flat vectors, with the padding after it."""
        return self._layout.span_of(self._known(name))

    def replica(self) -> "Parameters":
        """The same weights, in the same memory, with gradients and buffers of its own (the buffers copied).

        Of a whole layer: `tinymixer.layers.replica.replica`. (`copy.deepcopy` copies the weights, too.)
        """
        return self._copy_over(self.storage.replica())

    def __deepcopy__(self, memo: dict[int, Any]) -> "Parameters":
        return self._copy_over(deepcopy(self.storage, memo))

    def _copy_over(self, storage: Storage) -> "Parameters":
        buffers = self._buffer_span, self._buffer_layout
        return self._over(storage, self._prefix, (self._span, self._layout), buffers)

    @staticmethod
    def _over(
        storage: Storage, prefix: str, values: tuple[slice, Layout], buffers: tuple[slice, Layout]
    ) -> "Parameters":
        made = object.__new__(Parameters)
        made._set(storage, prefix, values, buffers)
        return made

    # ------------------------------------------------------------------------------------------- to and from the host

    def to_numpy(self, vector: Any = None) -> dict[str, np.ndarray]:
        """Host copies by name, of the weights or of another flat vector of this layout (a gradient, a momentum)."""
        return self._layout.host_copies(self._values if vector is None else vector, self.backend)

    def load(self, arrays: Mapping[str, np.ndarray], into: Any = None) -> None:
        """Write host arrays, one per name, into the weights (or into another flat vector of this layout).

        Nothing is written unless every name and shape fits; then each goes straight to its view, so that no second
        vector is made. Raises CheckpointError that names the first misfit.
        """
        self._layout.require_fit(arrays, "parameter")
        self._layout.write(arrays, self._values if into is None else into, self.backend)


def _initial_values(
    specification: Specification,
    weight_layout: Layout,
    buffer_layout: Layout,
    backend: Backend,
    dtype: str,
    generator: np.random.Generator,
) -> tuple[Any, Any]:
    """Initial weights (size,) and buffers (n,), drawn in the order of the specification."""
    weights, buffers = np.zeros(weight_layout.size, dtype), np.zeros(buffer_layout.size, dtype)
    views = weight_layout.views_of(weights) | buffer_layout.views_of(buffers)
    for name, spec in specification.items():
        views[name][...] = spec.initialise(generator, spec.shape)
    return backend.asarray(weights), backend.asarray(buffers)


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)
