"""Checks whether a model is exactly what its class builds. Every faster engine asks this before it takes a model.

A model is an ordinary object, and people change it: a subclass, another GELU, one more block. The layers follow every
such change. A faster engine has the stock model's mathematics written out and would silently compute the stock model
instead. So the model is compared, part by part, with a fresh one of the same configuration.
"""

from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.backend import Backend
from tinymixer.errors import TinymixerError
from tinymixer.layers.layer import Layer
from tinymixer.models.registry import architecture_of, architectures, config_class
from tinymixer.parameters import Parameters

PLAIN = (bool, int, float, complex, str, bytes, type(None))  # values that are compared with ==
REFUSALS = (TinymixerError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError)


def difference_from_stock(model: Any) -> str | None:
    """A sentence that says how a model differs from a fresh `type(model)(model.config)`; None if it does not.

    These are differences: another class than the registered one; layers that were replaced, appended or removed;
    attributes with another value (a rate, a GELU function, a `forward` set on the object); methods replaced in a class;
    the caller's own operations; and parameters outside the model's vectors. The values of parameters do not count. An
    attribute that the fresh model lacks is a difference, too, since this check cannot know whether it is used.

    This takes a few milliseconds. The fresh model's values are never written, so it needs almost no memory.
    """
    name = type(model).__name__
    architecture = architecture_of(model)
    if architecture not in architectures():
        return f"{name} is a class of its own, not one of {', '.join(architectures())}"
    config = vars(model).get("config")
    if type(config) is not config_class(architecture):
        return f"the configuration of {name} is a {type(config).__name__}, not a {config_class(architecture).__name__}"
    if not isinstance(vars(model).get("parameters"), Parameters):
        return f"{name} keeps its parameters in another way than the stock class"
    backend = model.parameters.backend
    if not _stock_operations(backend):
        return f"{name} computes with operations of its own, not with tinymixer.ops"
    on_host = Backend("fresh", np, backend.ops, kernels=backend.kernels)
    try:
        fresh = type(model)(config, backend=on_host, dtype=str(model.parameters.dtype), seed=None)
    except REFUSALS as error:
        return f"no fresh {name} could be built to compare with ({error})"
    return next(_differences(name, model, fresh, model.parameters), None)


def _stock_operations(backend: Backend) -> bool:
    """Whether the backend uses the package's own operations: `tinymixer.ops` or `tinymixer.kernels.operations`."""
    return backend.ops is ops or type(backend.ops).__module__ == "tinymixer.kernels.operations"


def _differences(path: str, given: Any, fresh: Any, whole: Parameters) -> Iterator[str]:
    """Yield a sentence for each difference between a part of the model and the same part of a fresh one."""
    if given is fresh:
        return
    if type(given) is not type(fresh):
        yield f"{path} is {_kind(given)}, where the stock model has {_kind(fresh)}"
    elif isinstance(fresh, Layer):
        yield from _replaced_methods(type(fresh))
        yield from _differing_items(path, vars(given), vars(fresh), whole, "{}.{}")
    elif isinstance(fresh, Parameters):
        yield from _differing_parameters(path, given, fresh, whole)
    elif isinstance(fresh, dict):
        yield from _differing_items(path, given, fresh, whole, "{}[{!r}]")
    elif isinstance(fresh, list | tuple):
        if len(given) != len(fresh):
            yield f"{path} has {len(given)} items, the stock model {len(fresh)}"
        for i, (mine, stock) in enumerate(zip(given, fresh, strict=False)):
            yield from _differences(f"{path}[{i}]", mine, stock, whole)
    elif isinstance(fresh, np.ndarray):
        if given.dtype != fresh.dtype or not np.array_equal(given, fresh):
            yield f"{path} is another array than the stock model's"
    elif isinstance(fresh, MethodType):
        if given.__func__ is not fresh.__func__ or type(given.__self__) is not type(fresh.__self__):
            yield f"{path} is {given.__qualname__}, where the stock model has {fresh.__qualname__}"
    elif type(fresh) not in PLAIN:  # a function, a class, any other object: must be the same one
        yield f"{path} is {_kind(given)}, not the stock model's"
    elif given != fresh:
        yield f"{path} is {given!r}, where the stock model has {fresh!r}"


def _differing_items(
    path: str, given: dict[Any, Any], fresh: dict[Any, Any], whole: Parameters, form: str
) -> Iterator[str]:
    for key in fresh:
        if key not in given:
            yield f"{form.format(path, key)} is missing"
        else:
            yield from _differences(form.format(path, key), given[key], fresh[key], whole)
    for key in given:
        if key not in fresh:
            yield f"{form.format(path, key)} is an addition to the stock model"


def _differing_parameters(path: str, given: Parameters, fresh: Parameters, whole: Parameters) -> Iterator[str]:
    """Yield a sentence unless the parameters have the fresh part's names and shapes and lie in the model's vectors."""
    if given.storage is not whole.storage or given.prefix != fresh.prefix:
        yield f"{path} belong to another layer or model"
    elif [(name, given.shape(name)) for name in given] != [(name, fresh.shape(name)) for name in fresh]:
        yield f"{path} have other names or shapes than the stock model's"
    elif given.buffer_names != fresh.buffer_names:
        yield f"{path} have other buffers than the stock model's"


def _replaced_methods(layer_class: type) -> Iterator[str]:
    """Yield a sentence for each method that was replaced after its class was written.

    Such a function has another module or qualified name than the methods that the class defined itself.
    """
    for ancestor in layer_class.__mro__[:-1]:
        for name, value in vars(ancestor).items():
            function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if isinstance(function, FunctionType):
                at_home = function.__module__ == ancestor.__module__
                replaced = not (at_home and function.__qualname__.startswith(f"{ancestor.__qualname__}."))
            else:
                replaced = name in ("forward", "backward")
            if replaced:
                yield f"{ancestor.__qualname__}.{name} was replaced"


def _kind(value: Any) -> str:
    """Describe a value without calling its own `repr`: the name of a class or function, else the name of its class."""
    if isinstance(value, type | FunctionType):
        return value.__qualname__
    if isinstance(value, ModuleType):
        return value.__name__
    return repr(value) if type(value) in PLAIN else f"a {type(value).__name__}"
