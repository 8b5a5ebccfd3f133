"""A layer's parameters and gradients, whichever way it keeps them, read and replaced for the time of a check."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import is_differentiable, to_host
from tinymixer.gradcheck.report import NotCheckableError
from tinymixer.ops.array_library import namespace
from tinymixer.parameters import Parameters


class ParameterViews:
    """The arrays of a layer by name: of a tinymixer Parameters, of two dicts, or none at all.

    Raises NotCheckableError where `parameters` and `gradients` are neither, or do not fit each other.
    """

    def __init__(self, layer: Any, name: str) -> None:
        parameters = getattr(layer, "parameters", None)
        self._flat = parameters if isinstance(parameters, Parameters) else None
        if self._flat is not None:
            self._values = {key: self._flat[key] for key in self._flat}
            self._layer_gradients: Any = {key: self._flat.gradient(key) for key in self._flat}
        elif parameters is None or (isinstance(parameters, Mapping) and not parameters):
            self._values, self._layer_gradients = {}, {}
        else:
            self._values, self._layer_gradients = _dicts(layer, parameters, name)
        self.first_buffers = {} if self._flat is None else {"the buffers": np.array(to_host(self._flat.buffers))}
        if "x" in self._values:
            raise NotCheckableError(f"a parameter of {name} is named x, as its input is: give it another name")

    def hosts(self) -> dict[str, np.ndarray]:
        """Host copies of the values."""
        return {name: np.array(to_host(array)) for name, array in self._values.items()}

    def gradients(self) -> dict[str, Any]:
        """Copies of the gradients, which the next backward does not change."""
        return {name: self._layer_gradients[name].copy() for name in self._values}

    def zero_gradients(self) -> None:
        """Set every gradient to 0 where it lies, the padding of a flat vector included."""
        if self._flat is not None:
            self._flat.zero_gradients()
        for name in self._values:
            self._layer_gradients[name][...] = 0

    def of_another_dtype(self, dtype: str) -> tuple[str, np.dtype] | None:
        """The first parameter that has another dtype, and which."""
        for name, array in self._values.items():
            if np.dtype(array.dtype) != np.dtype(dtype):
                return name, np.dtype(array.dtype)
        return None

    @contextmanager
    def replaced(self, changed: Mapping[str, Any]) -> Iterator[None]:
        """Write other values for a while; what was there comes back bit for bit, also after an error."""
        before = {name: self._values[name].copy() for name in changed}
        try:
            for name, value in changed.items():
                self.write(name, to_host(value))
            yield
        finally:
            for name, array in before.items():
                self._values[name][...] = array

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Bring values, gradients and buffers back, bit for bit, whatever happens in between."""
        owners = self._owners()
        before = [array.copy() for array in owners]
        try:
            yield
        finally:
            for array, old in zip(owners, before, strict=True):
                array[...] = old

    def memory(self) -> dict[str, np.ndarray]:
        """Host copies of all values and buffers, the padding of a flat vector included."""
        if self._flat is not None:
            vectors = {"the parameters": self._flat.values, "the buffers": self._flat.buffers}
            return {name: np.array(to_host(vector)) for name, vector in vectors.items()}
        return self.hosts()

    @property
    def has_padding(self) -> bool:
        return self._flat is not None

    def dirty_padding(self) -> int:
        """How many elements between the views of values and gradients are not 0."""
        if self._flat is None:
            return 0
        padding = to_host(self._flat.mask(lambda name, shape: True)) == 0
        return int(sum(np.count_nonzero(to_host(v)[padding]) for v in (self._flat.values, self._flat.gradients)))

    def _owners(self) -> list[Any]:
        if self._flat is not None:
            return [self._flat.values, self._flat.gradients, self._flat.buffers]
        return [*self._values.values(), *(self._layer_gradients[name] for name in self._values)]

    def write(self, name: str, host: np.ndarray) -> None:
        """Write a host array into a parameter. Raises TypeError for complex numbers: a layer keeps real parameters."""
        if host.dtype.kind == "c":
            raise TypeError("a layer keeps real parameters")  # so the complex step does not apply to them
        view = self._values[name]
        view[...] = namespace(view).asarray(host)


def _dicts(layer: Any, parameters: Any, name: str) -> tuple[dict[str, Any], Any]:
    """The two dicts of a layer that keeps its arrays itself."""
    wanted = "a tinymixer Parameters, or a dict of float arrays beside a dict `gradients` of the same names and shapes"
    if not isinstance(parameters, Mapping) or not all(is_differentiable(array) for array in parameters.values()):
        raise NotCheckableError(f"the parameters of {name} must be {wanted}, got {type(parameters).__name__}")
    gradients = getattr(layer, "gradients", None)
    if not isinstance(gradients, Mapping):
        raise NotCheckableError(f"{name} has a dict of parameters but none named gradients: it needs {wanted}")
    for key, array in parameters.items():
        if key not in gradients or np.shape(gradients[key]) != np.shape(array):
            raise NotCheckableError(
                f"{name} needs gradients['{key}'] of shape {np.shape(array)}, to be added to in place"
            )
    return dict(parameters), gradients
