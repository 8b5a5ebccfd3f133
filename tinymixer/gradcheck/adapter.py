"""Finds, reads and replaces a layer's parameters and gradients during a check, whichever way the layer keeps them.

One rule finds nearly all: of two arrays of the same shape one is the gradient of the other if its *path* says so. A
path is how one gets from the layer to the array, through attributes, lists and dicts. The two paths have the same
steps, except that at one step or more the gradient's name says "gradient of" the other's name:

    layers[0].W               layers[0].dW               also W_grad, grad_W, gradient_W, ...
    params['W']               grads['W']                 also parameters and gradients, weights and dweights, ...
    params[0]                 grads[0]                   lists
    W.value                   W.grad                     objects that hold both

Besides, a tinymixer Parameters is asked itself, and so are methods such as params_and_grads(), which give pairs
(parameter, gradient) or triples that begin with a name. A gradient may be an array that is added to, or be made anew by
every backward pass.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import (
    GENERATORS,
    OPAQUE,
    Key,
    Named,
    changed,
    children,
    copies,
    identical,
    is_array,
    is_differentiable,
    named_arrays,
    shares_memory,
    to_host,
    walk,
    written,
)
from tinymixer.gradcheck.report import NotCheckableError
from tinymixer.ops.array_library import namespace
from tinymixer.parameters import Parameters

VALUES = {"parameters", "parameter", "params", "param", "weights", "values", "value", "data", "array", "theta"}
GRADIENTS = {"gradients", "gradient", "grads", "grad", "dparams", "dparameters", "dweights", "dvalues", "dtheta"}
BEFORE = ("d", "grad", "gradient", "g", "grads", "dLd", "dld", "delta", "nabla", "gradof")  # dW, grad_W, ...
AFTER = ("grad", "gradient", "grads")  # W_grad, ...
HELD = ("value", "data", "array", "values")  # W.value is called W
METHODS = ("params_and_grads", "get_params_and_grads", "parameters_and_gradients", "parameters", "params", "get_params")
Places = Mapping[tuple[Key, ...], Any]
WANTED = "a tinymixer Parameters, or a dict of float arrays beside a dict `gradients` of the same names and shapes"


@dataclass(frozen=True)
class Parameter:
    """One parameter: functions that get its value and its gradient (None before there is one), and set the gradient.

    must_add   whether the way it is kept promises that gradients are added
    """

    value: Callable[[], Any]
    gradient: Callable[[], Any]
    set_gradient: Callable[[Any], None] | None = None
    must_add: bool = False


class ParameterAdapter:
    """The parameters of a layer by name.

    layer      looked into, not changed
    found      the parameters, once `find` has looked for them
    left_over  arrays of floats that may be parameters, but for which no gradient was found
    """

    def __init__(self, layer: Any) -> None:
        self._layer, self._flat, self._before = layer, _flat(layer), Snapshot(layer)
        self.found: dict[str, Parameter] = {}

    def find(self, name: str, run: Callable[[], None]) -> None:
        """Look for the parameters of a layer of this name.

        run   runs the layer forward and backward once, for gradients that are made by the first backward

        Raises NotCheckableError where `parameters` and `gradients` are there but do not fit each other.
        """
        layer = self._layer
        if self._flat is None:
            _demand_gradients(layer, name)
        before = copies(named_arrays(layer, ""))
        with suppress(Exception):  # the check itself will tell; what is there already is found all the same
            run()
        self.found = _found(layer, before)
        self.left_over = [] if self._flat is not None else self._not_understood(before)
        self._before.restore()
        if "x" in self.found:
            raise NotCheckableError(f"a parameter of {name} is named x, as its input is: give it another name")

    def _not_understood(self, before: Named) -> list[str]:
        known = [array for parameter in self.found.values() for array in (parameter.value(), parameter.gradient())]
        arrays = {path: array for path, array in named_arrays(self._layer, "").items() if is_differentiable(array)}
        still = set(before) - set(changed({path: before[path] for path in arrays if path in before}, arrays))
        left = {
            p: a for p, a in arrays.items() if p in still and a.shape and not any(shares_memory(a, k) for k in known)
        }
        return [f"{path.lstrip('.')} {tuple(array.shape)}" for path, array in left.items()]

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Bring the layer back, bit for bit, whatever happens in between: its arrays, and what has which name."""
        try:
            yield
        finally:
            self._before.restore()

    def rewind(self) -> None:
        """Put the layer's random number generators back to where they were."""
        self._before.rewind()

    def hosts(self) -> Named:
        """Host copies of the values."""
        return copies({name: parameter.value() for name, parameter in self.found.items()})

    def raw_gradients(self) -> dict[str, Any]:
        """The gradients as they lie; None where there is none yet."""
        return {name: parameter.gradient() for name, parameter in self.found.items()}

    def gradients(self) -> dict[str, Any]:
        """Copies of the gradients, which the next backward does not change."""
        return {n: g.copy() if hasattr(g, "copy") else g for n, g in self.raw_gradients().items()}

    def zero_gradients(self) -> None:
        """Set every gradient to 0 where it lies, the padding of a flat vector included."""
        if self._flat is not None:
            self._flat.zero_gradients()
        for parameter in self.found.values():
            gradient = parameter.gradient()
            if is_array(gradient) and (not isinstance(gradient, np.ndarray) or gradient.flags.writeable):
                gradient[...] = 0
            elif gradient is not None and parameter.set_gradient is not None:
                parameter.set_gradient(gradient * 0)

    @contextmanager
    def holding(self, values: Named) -> Iterator[None]:
        """Write other values for a while; what was there comes back bit for bit, also after an error.

        Raises TypeError for complex numbers: a layer keeps real parameters, so the complex step does not apply to them.
        """
        arrays = [(self.found[name].value(), host) for name, host in values.items()]
        before = [array.copy() for array, _ in arrays]
        try:
            for array, host in arrays:
                if host.dtype.kind == "c":
                    raise TypeError("a layer keeps real parameters")
                array[...] = namespace(array).asarray(host)
            yield
        finally:
            for (array, _), old in zip(arrays, before, strict=True):
                array[...] = old

    def memory(self) -> Named:
        """Host copies of all values and buffers, the padding of a flat vector included."""
        if self._flat is None:
            return self.hosts()
        return copies({"the parameters": self._flat.values, "the buffers": self._flat.buffers})

    def dirty_padding(self) -> int | None:
        """How many elements between the views of values and gradients are not 0; None where there is no flat vector."""
        if self._flat is None:
            return None
        padding = to_host(self._flat.mask(lambda name, shape: True)) == 0
        return int(sum(np.count_nonzero(to_host(v)[padding]) for v in (self._flat.values, self._flat.gradients)))


class Snapshot:
    """Everything that a layer keeps: what has which name, the contents of its arrays, its random numbers."""

    def __init__(self, layer: Any) -> None:
        values = [value for _, value in walk(layer)]
        generators: list[Any] = [
            getattr(value, "bit_generator", value) for value in values if isinstance(value, GENERATORS)
        ]
        self._generators = [(generator, generator.__getstate__()) for generator in generators]  # as they are pickled
        self._arrays = [(value, value.copy()) for value in values if is_array(value)]
        others = [value for value in values if not isinstance(value, OPAQUE) and not is_array(value)]
        stores = [value if isinstance(value, dict | list) else getattr(value, "__dict__", None) for value in others]
        self._stores = [(store, store.copy()) for store in stores if isinstance(store, dict | list)]

    def restore(self) -> None:
        """Bring all of it back. What has not changed is left alone."""
        for store, before in self._stores:
            now, then = children(store), children(before)
            if list(now) != list(then) or any(now[key] is not item for key, item in then.items()):
                store.clear()
                store.update(before) if isinstance(store, dict) else store.extend(before)
        for array, copied in self._arrays:
            if not isinstance(array, np.ndarray) or array.flags.writeable:
                array[...] = copied
        self.rewind()

    def rewind(self) -> None:
        """Put the random number generators back."""
        for generator, state in self._generators:
            generator.__setstate__(state)


def _found(layer: Any, before: Named) -> dict[str, Parameter]:
    """Every parameter that can be found by its name, each array once."""
    found: dict[str, Parameter] = {}
    places = dict(walk(layer, closed=lambda owner: is_array(owner) or _flat(owner) is not None))
    candidates = [*_flat_parameters(places), *_pairs(layer, places), *_given_by_methods(places)]
    for name, parameter in candidates:
        value = parameter.value()
        known = any(shares_memory(value, other.value()) for other in found.values())
        if not known and (parameter.must_add or any(_still(old, to_host(value)) for old in before.values())):
            found[name] = parameter
    return found


def _still(old: np.ndarray, new: np.ndarray) -> bool:
    """Whether an array is nearly unchanged. A layer may wrongly train itself a little; what changes more is data."""
    if old.shape != new.shape or old.dtype != new.dtype:
        return False
    return identical(old, new) or bool(np.max(abs(new - old), initial=0) <= 0.1 * np.max(abs(old), initial=0))


def _flat(owner: Any) -> Parameters | None:
    """The tinymixer Parameters of an owner, if it has one."""
    parameters = getattr(owner, "parameters", None)
    return parameters if isinstance(parameters, Parameters) else None


def _flat_parameters(places: Places) -> Iterator[tuple[str, Parameter]]:
    for path, owner in places.items():
        flat = None if isinstance(owner, OPAQUE) else _flat(owner)
        if flat is None:
            continue
        for key in flat:
            name = f"{written(path)}.{key}".lstrip(".")
            yield name, Parameter(partial(flat.__getitem__, key), partial(flat.gradient, key), must_add=True)


def _pairs(layer: Any, places: Places) -> Iterator[tuple[str, Parameter]]:
    """The arrays beside which lies one of the same shape whose path says that it is their gradient."""
    arrays = {path: value for path, value in places.items() if is_array(value) or isinstance(value, np.floating)}
    for path, value in arrays.items():
        same_shape = [other for other, gradient in arrays.items() if np.shape(gradient) == np.shape(value)]
        gradient_path = next((other for other in same_shape if _is_gradient_path(other, path)), None)
        if gradient_path and is_differentiable(value):
            must_add = ("parameters", "gradients") in [(a[1], b[1]) for a, b in zip(path, gradient_path, strict=True)]
            yield _name_of(path), _kept_at(layer, path, gradient_path, must_add)


def _is_gradient_path(path: tuple[Key, ...], of: tuple[Key, ...]) -> bool:
    """Whether each step of a path is that of another or says that it is the gradient of it, and one does say so."""
    steps = [(a[1], b[1]) for a, b in zip(path, of, strict=False) if a != b]
    named = all(isinstance(a, str) and isinstance(b, str) and _says_gradient_of(a, b) for a, b in steps)
    return len(path) == len(of) and bool(steps) and named


def _says_gradient_of(name: str, of: str) -> bool:
    """Whether a name says that it is the gradient of another: dW, W_grad, grad_W, _dW of _W, grads of params."""
    if of.lower().strip("_") in VALUES and name.lower().strip("_") in GRADIENTS:
        return True
    plain, value = name.replace("_", ""), of.replace("_", "")
    return any(
        plain_name in {*(before + named for before in BEFORE), *(named + after for after in AFTER)}
        for plain_name, named in ((plain, value), (plain.lower(), value.lower()))
    )


def _name_of(path: tuple[Key, ...]) -> str:
    """What a parameter is called: W of params['W'] or W.value, layers[0].W, params[0]."""
    *start, (kind, key) = path
    if not isinstance(key, str):
        return written(path).lstrip(".")
    if kind == "." and key in HELD and start:
        return written(tuple(start)).lstrip(".")
    if start and start[-1][1] in ("parameters", "params"):
        start.pop()
    return f"{written(tuple(start))}.{key}".lstrip(".")


def _kept_at(layer: Any, path: tuple[Key, ...], gradient_path: tuple[Key, ...], must_add: bool) -> Parameter:
    """Looked up anew each time: a name may be bound to another array by every backward pass."""

    def look_up(path: tuple[Key, ...]) -> Any:
        at = layer
        for kind, key in path:
            at = getattr(at, key) if kind == "." else at[key]
        return at

    def gradient() -> Any:
        with suppress(LookupError, AttributeError):
            return look_up(gradient_path)
        return None  # before the first backward

    def set_gradient(gradient: Any) -> None:
        owner, (kind, key) = look_up(gradient_path[:-1]), gradient_path[-1]
        if kind == ".":
            setattr(owner, key, gradient)
        else:
            owner[key] = gradient

    return Parameter(lambda: look_up(path), gradient, set_gradient, must_add)


def _given_by_methods(places: Places) -> Iterator[tuple[str, Parameter]]:
    """The pairs that methods give, as a list or a generator: (parameter, gradient), or with a name before them."""
    owners = [(path, owner) for path, owner in places.items() if hasattr(owner, "backward")]
    for path, named, method in [(path, name, getattr(owner, name, None)) for path, owner in owners for name in METHODS]:
        for i, item in enumerate(_items(method)):
            pair_like = isinstance(item, tuple | list) and len(item) >= 2
            if pair_like and is_differentiable(item[-2]) and np.shape(item[-1]) == np.shape(item[-2]):
                name = item[0] if isinstance(item[0], str) else f"{named}()[{i}]"
                value, gradient = (lambda m=method, i=i, k=k: _items(m)[i][k] for k in (-2, -1))
                yield f"{written(path)}.{name}".lstrip("."), Parameter(value, gradient)


def _items(method: Any) -> list[Any]:
    """What a method gives; nothing where it is none, wants arguments or gives something else."""
    try:
        given = method()
        return list(given.items() if isinstance(given, Mapping) else given)
    except Exception:
        return []


def _demand_gradients(layer: Any, name: str) -> None:
    """Raise NotCheckableError where `parameters` is there but what belongs to it is not."""
    parameters, gradients = (getattr(layer, key, None) for key in ("parameters", "gradients"))
    grads = getattr(layer, "grads", None)
    if isinstance(parameters, Mapping) and parameters and all(map(is_differentiable, parameters.values())):
        if not isinstance(gradients, Mapping):
            if hasattr(layer, "gradients") or grads:
                raise NotCheckableError(f"{name} has a dict of parameters but none named gradients: it needs {WANTED}")
            return
        for key, array in parameters.items():
            if key not in gradients or np.shape(gradients[key]) != np.shape(array):
                shape = np.shape(array)
                raise NotCheckableError(f"{name} needs gradients['{key}'] of shape {shape}, to be added to in place")
    elif not isinstance(parameters, Mapping) and not callable(parameters) and named_arrays(parameters, ""):
        listed = isinstance(gradients if hasattr(layer, "gradients") else grads, list | tuple)
        if not listed:
            raise NotCheckableError(f"the parameters of {name} must be {WANTED}, got {type(parameters).__name__}")
