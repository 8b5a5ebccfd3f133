"""Finds, reads and replaces a layer's parameters and gradients during a check, whichever way the layer keeps them.

Ways that are understood, at the layer itself and at its parts (attributes, lists and dicts of layers):

    parameters, gradients    a tinymixer Parameters; or two dicts with the same names
    params, grads            and other pairs of dicts or lists whose names say so: weights and dweights, ...
    W, dW                    attributes, or keys of one dict: db, W_grad, grad_W, gradient_W, ...
    W.value, W.grad          objects that hold both: value, data or array, with grad or gradient
    params_and_grads()       methods that give pairs (parameter, gradient), or triples that begin with a name

A gradient may be an array that is added to, or be made anew by every backward pass.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import (
    OPAQUE,
    attributes,
    identical,
    is_array,
    is_differentiable,
    named_arrays,
    shares_memory,
    to_host,
    walk,
)
from tinymixer.gradcheck.report import NotCheckableError
from tinymixer.ops.array_library import namespace
from tinymixer.parameters import Parameters

VALUES = {"parameters", "parameter", "params", "param", "weights", "values", "theta"}
GRADIENTS = {"gradients", "gradient", "grads", "grad", "dparams", "dparameters", "dweights", "dvalues", "dtheta"}
HELD_VALUES, HELD_GRADIENTS = ("value", "data", "array", "values"), ("grad", "gradient", "grads", "gradients")
BEFORE = ("d", "grad", "gradient", "g", "grads", "dLd", "dld", "delta", "nabla", "gradof")  # dW, grad_W, ...
AFTER = ("grad", "gradient", "grads")  # W_grad, ...
METHODS = ("params_and_grads", "get_params_and_grads", "parameters_and_gradients", "parameters", "params", "get_params")


@dataclass
class Entry:
    """One parameter: functions that get its value, get its gradient, and put another gradient in its place."""

    value: Callable[[], Any]
    gradient: Callable[[], Any]
    replace_gradient: Callable[[Any], None] | None
    must_add: bool  # whether the way it is kept promises that gradients are added


class ParameterAdapter:
    """The parameters of a layer by name.

    layer      looked into, not changed
    run        runs the layer forward and backward once, for gradients that are made by the first backward

    Raises NotCheckableError where `parameters` and `gradients` are neither of what the first way needs.
    """

    def __init__(self, layer: Any, name: str, run: Callable[[], None]) -> None:
        self._layer = layer
        parameters, self._flat = getattr(layer, "parameters", None), _flat(layer)
        if self._flat is None and parameters is not None and not callable(parameters):
            _demand_gradients(layer, parameters, name)
        self._state = _State(layer)
        self.generators = self._state.generators
        before = {path: np.array(to_host(array)) for path, array in named_arrays(layer, "").items()}
        with suppress(Exception):  # the check itself will tell; what is there already is found all the same
            run()
        self._entries = _entries(layer, before)
        self.left_over = [] if self._flat is not None else self._not_understood(before)
        self._state.restore()
        if "x" in self._entries:
            raise NotCheckableError(f"a parameter of {name} is named x, as its input is: give it another name")

    def _not_understood(self, before: Mapping[str, np.ndarray]) -> list[str]:
        """Arrays of floats that stay as they are from call to call, and that belong to no parameter found."""
        known = [array for entry in self._entries.values() for array in (entry.value(), entry.gradient())]
        left = []
        for path, array in named_arrays(self._layer, "").items():
            still = path in before and is_differentiable(array) and identical(before[path], to_host(array))
            if still and array.shape and not any(shares_memory(array, other) for other in known):
                left.append(f"{path.lstrip('.')} {tuple(array.shape)}")
        return left

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    @property
    def must_add(self) -> dict[str, bool]:
        """For each parameter, whether its gradients have to be added."""
        return {name: entry.must_add for name, entry in self._entries.items()}

    def hosts(self) -> dict[str, np.ndarray]:
        """Host copies of the values."""
        return {name: np.array(to_host(entry.value())) for name, entry in self._entries.items()}

    def raw_gradients(self) -> dict[str, Any]:
        """The gradients as they lie; None where there is none yet."""
        return {name: entry.gradient() for name, entry in self._entries.items()}

    def gradients(self) -> dict[str, Any]:
        """Copies of the gradients, which the next backward does not change."""
        return {n: g.copy() if hasattr(g, "copy") else g for n, g in self.raw_gradients().items()}

    def zero_gradients(self) -> None:
        """Set every gradient to 0 where it lies, the padding of a flat vector included."""
        if self._flat is not None:
            self._flat.zero_gradients()
        for entry in self._entries.values():
            gradient = entry.gradient()
            if is_array(gradient) and (not isinstance(gradient, np.ndarray) or gradient.flags.writeable):
                gradient[...] = 0
            elif gradient is not None and entry.replace_gradient is not None:
                entry.replace_gradient(gradient * 0)

    @contextmanager
    def replaced(self, other: Mapping[str, Any]) -> Iterator[None]:
        """Write other values for a while; what was there comes back bit for bit, also after an error."""
        before = {name: (array := self._entries[name].value(), array.copy()) for name in other}
        try:
            for name, value in other.items():
                self.write(name, to_host(value))
            yield
        finally:
            for array, old in before.values():
                array[...] = old

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Bring the layer back, bit for bit, whatever happens in between: its arrays, and what has which name."""
        state = _State(self._layer)
        try:
            yield
        finally:
            state.restore()

    def memory(self) -> dict[str, np.ndarray]:
        """Host copies of all values and buffers, the padding of a flat vector included."""
        if self._flat is not None:
            vectors = {"the parameters": self._flat.values, "the buffers": self._flat.buffers}
            return {name: np.array(to_host(vector)) for name, vector in vectors.items()}
        return self.hosts()

    def dirty_padding(self) -> int | None:
        """How many elements between the views of values and gradients are not 0; None where there is no flat vector."""
        if self._flat is None:
            return None
        padding = to_host(self._flat.mask(lambda name, shape: True)) == 0
        return int(sum(np.count_nonzero(to_host(v)[padding]) for v in (self._flat.values, self._flat.gradients)))

    def write(self, name: str, host: np.ndarray) -> None:
        """Write a host array into a parameter. Raises TypeError for complex numbers: a layer keeps real parameters."""
        if host.dtype.kind == "c":
            raise TypeError("a layer keeps real parameters")  # so the complex step does not apply to them
        view = self._entries[name].value()
        view[...] = namespace(view).asarray(host)


class _State:
    """Everything that a layer keeps: its objects by name, the contents of its arrays, its random numbers."""

    def __init__(self, layer: Any) -> None:
        self._stores: list[tuple[dict | list, dict | list]] = []
        self._arrays: list[tuple[Any, Any]] = []
        self.generators: list[tuple[Any, Any]] = []
        for _, value in walk(layer, closed=lambda value: is_array(value) or _generator_state(value) is not None):
            if is_array(value):
                self._arrays.append((value, value.copy()))
            elif (state := _generator_state(value)) is not None:
                self.generators.append((value, state))
            elif not isinstance(value, OPAQUE):
                store = value if isinstance(value, dict | list) else getattr(value, "__dict__", None)
                if isinstance(store, dict | list):
                    self._stores.append((store, store.copy()))

    def restore(self) -> None:
        """Bring all of it back. What has not changed is left alone."""
        for store, before in self._stores:
            if isinstance(store, dict) and isinstance(before, dict):
                if list(store) != list(before) or any(store[key] is not item for key, item in before.items()):
                    store.clear()
                    store.update(before)
            elif len(store) != len(before) or any(a is not b for a, b in zip(store, before, strict=True)):
                store[:] = before
        for array, copied in self._arrays:
            if not isinstance(array, np.ndarray) or array.flags.writeable:
                array[...] = copied
        for generator, state in self.generators:
            set_generator_state(generator, state)


def _generator_state(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state()
    return value.getstate() if isinstance(value, random.Random) else None


def set_generator_state(generator: Any, state: Any) -> None:
    """Put a random number generator back to where it was."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)


def _entries(layer: Any, before: Mapping[str, np.ndarray]) -> dict[str, Entry]:
    """Every parameter that can be found, by the path to it, each array once."""
    found: dict[str, Entry] = {}
    owners: list[tuple[str, Any]] = []
    for path, owner in walk(layer, closed=lambda owner: is_array(owner) or _flat(owner) is not None):
        if isinstance(owner, OPAQUE) or is_array(owner):
            continue
        if (flat := _flat(owner)) is not None:
            for key in flat:
                _add(found, _joined(path, key), _flat_entry(flat, key), None)
            continue
        if hasattr(owner, "backward"):
            owners.append((path, owner))
        for name, entry in _pairs(owner):
            _add(found, _joined(path, name), entry, before)
    for path, owner in owners:  # last: what is kept under a name of its own is better called by that
        for method in METHODS:
            if callable(getattr(owner, method, None)):
                for name, entry in _pairs_of_method(owner, method):
                    _add(found, _joined(path, name), entry, before)
    return found


def _flat(owner: Any) -> Parameters | None:
    """The tinymixer Parameters of an owner, if it has one."""
    parameters = getattr(owner, "parameters", None)
    return parameters if isinstance(parameters, Parameters) else None


def _joined(path: str, name: str) -> str:
    if not name:
        return path.lstrip(".")
    return f"{path}.{name}".lstrip(".") if not name.startswith("[") else f"{path}{name}".lstrip(".")


def _add(found: dict[str, Entry], name: str, entry: Entry, before: Mapping[str, np.ndarray] | None) -> None:
    """Take a parameter up, unless it is one already or holds data of the last forward pass."""
    value = entry.value()
    if any(shares_memory(value, known.value()) for known in found.values()):
        return
    if before is not None and not entry.must_add and not any(_still(old, to_host(value)) for old in before.values()):
        return
    found[name] = entry


def _still(old: np.ndarray, new: np.ndarray) -> bool:
    """Whether an array is nearly unchanged. A layer may wrongly train itself a little; what changes more is data."""
    if old.shape != new.shape or old.dtype != new.dtype:
        return False
    return identical(old, new) or bool(np.max(abs(new - old), initial=0) <= 0.1 * np.max(abs(old), initial=0))


def _flat_entry(flat: Parameters, key: str) -> Entry:
    return Entry(lambda: flat[key], lambda: flat.gradient(key), None, True)


def _pairs(owner: Any) -> Iterator[tuple[str, Entry]]:
    """The pairs of a value and a gradient that an object, a dict or a list keeps."""
    spaces: Mapping[Any, Any] = owner if isinstance(owner, Mapping) else attributes(owner)
    for key, value in spaces.items():
        if not isinstance(key, str):
            continue
        partners = [other for other in spaces if isinstance(other, str) and _says_gradient_of(other, key)]
        for other in partners:
            if is_differentiable(value) and _fits(spaces[other], value):
                yield key, _entry(owner, (key,), (other,), False)
                break
            if isinstance(value, Mapping | list | tuple) and isinstance(spaces[other], Mapping | list | tuple):
                yield from _of_containers(owner, key, value, other, spaces[other])
                break
    if not isinstance(owner, Mapping):
        held = next((key for key in HELD_VALUES if is_differentiable(spaces.get(key))), None)
        gradient = next((key for key in HELD_GRADIENTS if held and _fits(spaces.get(key), spaces[held])), None)
        if held and gradient:
            yield "", _entry(owner, (held,), (gradient,), False)


def _of_containers(owner: Any, key: str, values: Any, other: str, gradients: Any) -> Iterator[tuple[str, Entry]]:
    """The pairs of two dicts, or two lists, one of values and one of gradients."""
    must_add = (key, other) == ("parameters", "gradients")
    if isinstance(values, Mapping) and isinstance(gradients, Mapping):
        for name, value in values.items():
            close = [n for n in gradients if n == name or _says_gradient_of(str(n), str(name))]
            partner = next((n for n in close if _fits(gradients[n], value)), None)
            if is_differentiable(value) and partner is not None:
                shown = str(name) if must_add or key in ("params", "parameters") else f"{key}.{name}"
                yield shown, _entry(owner, (key, name), (other, partner), must_add)
    elif not isinstance(values, Mapping) and not isinstance(gradients, Mapping) and len(values) == len(gradients):
        for i, value in enumerate(values):
            if is_differentiable(value) and _fits(gradients[i], value):
                yield f"{key}[{i}]", _entry(owner, (key, i), (other, i), False)


def _fits(gradient: Any, value: Any) -> bool:
    return (is_array(gradient) or isinstance(gradient, np.floating)) and np.shape(gradient) == np.shape(value)


def _says_gradient_of(name: str, of: str) -> bool:
    """Whether a name says that it is the gradient of another: dW, W_grad, grad_W, _dW of _W, grads of params."""
    if name == of:
        return False
    if {of.lower().strip("_")} & VALUES and name.lower().strip("_") in GRADIENTS:
        return True
    plain, value = name.replace("_", ""), of.replace("_", "")
    return any(
        plain_name in {*(before + named for before in BEFORE), *(named + after for after in AFTER)}
        for plain_name, named in ((plain, value), (plain.lower(), value.lower()))
    )


def _entry(owner: Any, value_keys: tuple[Any, ...], gradient_keys: tuple[Any, ...], must_add: bool) -> Entry:
    """Looked up anew each time: a name may be bound to another array by every backward pass."""

    def look_up(keys: tuple[Any, ...]) -> Any:
        at = owner
        for key in keys:
            at = at[key] if isinstance(at, Mapping | list | tuple) else getattr(at, key)
        return at

    def replace(gradient: Any) -> None:
        holder = look_up(gradient_keys[:-1])
        if isinstance(holder, dict | list):
            holder[gradient_keys[-1]] = gradient
        else:
            setattr(holder, gradient_keys[-1], gradient)

    def gradient() -> Any:
        with suppress(LookupError, AttributeError):
            return look_up(gradient_keys)
        return None  # before the first backward

    return Entry(lambda: look_up(value_keys), gradient, replace, must_add)


def _pairs_of_method(layer: Any, method: str) -> Iterator[tuple[str, Entry]]:
    """The pairs that a method gives, as a list or a generator: (parameter, gradient), or with a name before them."""

    def pairs() -> list[Any]:
        try:
            given = getattr(layer, method)()
            return list(given.items() if isinstance(given, Mapping) else given)
        except Exception:  # a method of that name that wants arguments, or gives something else
            return []

    def pair(i: int) -> tuple[Any, Any]:
        item = pairs()[i]
        return item[-2], item[-1]

    for i, item in enumerate(pairs()):
        pair_like = isinstance(item, tuple | list) and len(item) >= 2
        if pair_like and is_differentiable(item[-2]) and _fits(item[-1], item[-2]):
            name = item[0] if isinstance(item[0], str) else f"{method}()[{i}]"
            yield name, Entry(lambda i=i: pair(i)[0], lambda i=i: pair(i)[1], None, False)  # type: ignore[misc]


def _demand_gradients(layer: Any, parameters: Any, name: str) -> None:
    """Raise NotCheckableError where `parameters` is there but what belongs to it is not."""
    wanted = "a tinymixer Parameters, or a dict of float arrays beside a dict `gradients` of the same names and shapes"
    if isinstance(parameters, Mapping) and not parameters:
        return
    arrays = list(named_arrays(parameters, "").values())
    if not isinstance(parameters, Mapping):
        if isinstance(getattr(layer, "gradients", getattr(layer, "grads", None)), list | tuple) or not arrays:
            return
        raise NotCheckableError(f"the parameters of {name} must be {wanted}, got {type(parameters).__name__}")
    if not all(is_differentiable(array) for array in parameters.values()):
        return
    gradients = getattr(layer, "gradients", None) or getattr(layer, "grads", None)
    if gradients is None and not hasattr(layer, "gradients"):
        return
    if not isinstance(getattr(layer, "gradients", None), Mapping):
        raise NotCheckableError(f"{name} has a dict of parameters but none named gradients: it needs {wanted}")
    for key, array in parameters.items():
        gradient = layer.gradients.get(key)
        if gradient is not None and np.shape(gradient) == np.shape(array):
            continue
        raise NotCheckableError(f"{name} needs gradients['{key}'] of shape {np.shape(array)}, to be added to in place")
