"""The gradient check of a layer, by its input and by each of its parameters, and of a model with its loss."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import combinations
from typing import Any

import numpy as np

from tinymixer.draws import Draws, Place
from tinymixer.gradcheck.adapter import ParameterAdapter
from tinymixer.gradcheck.arrays import (
    Named,
    changed,
    hosts,
    is_array,
    is_differentiable,
    named_arrays,
    shares_memory,
    to_host,
)
from tinymixer.gradcheck.comparison import closest_row
from tinymixer.gradcheck.report import NotCheckableError, Report, Row
from tinymixer.gradcheck.run import checked
from tinymixer.gradcheck.target import (
    Settings,
    Target,
    Trial,
    WrongGradientsError,
    checked_gradients,
    flat_outputs,
    generator_for,
    moved,
    parameters_of,
)
from tinymixer.layers.layer import Layer
from tinymixer.models.model import Model
from tinymixer.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from tinymixer.ops.array_library import namespace

Loss = tuple[Any, float] | None  # labels and label smoothing


def check_layer(
    layer: Any,
    x: Any,
    train: bool = False,
    *,
    name: str | None = None,
    float32_twin: Any = None,
    perturb: bool = True,
    tolerance: float = 1e-6,
    jacobian_limit: int = 200,
    samples: int = 12,
    seed: int = 0,
    vary: bool | None = None,
    nondeterminism: float = 1e-13,
) -> Report:
    """Check a layer's gradients by its input x and by each of its parameters, and that they are added, not assigned.

    layer          anything with `y, cache = forward(x)` and `dx = backward(dy, cache)`. The forward is given `train`
                   and `rng` (the same random numbers each time: `Draws` for a `Layer` of this package, a NumPy
                   generator for any other) if it has parameters of those names.
                   Its parameters are found where they are kept in one of the usual ways, by itself and by its parts:
                   `parameters` and `gradients` (a tinymixer Parameters, or two dicts), `params` and `grads`, `W` and
                   `dW`, objects with a value and a grad, methods that give pairs (`tinymixer.gradcheck.adapter`).
                   The report lists those found, and the arrays that were not understood
    x              float64 array
    train          passed to the forward: with True, dropout and stochastic depth are checked with fixed masks
    float32_twin   the same layer built in float32, to be compared with this one
    perturb        whether every parameter is moved at random during the check, by up to half its size: initial values
                   such as a scale of 1 or a bias of 0 hide mistakes

    The other arguments are those of `check_operation`. The layer is left as it was, bit for bit: parameters, gradients,
    buffers and whatever else it keeps. No forward or backward pass may write into values and buffers. Gradients in
    `parameters` and `gradients` must be added; of the other ways the report says whether they are.

    Returns a Report. Raises NotCheckableError when the layer or x is not in float64, or has no forward or backward.
    """
    settings = Settings(tolerance, jacobian_limit, samples, seed, vary, nondeterminism)
    return _checked(settings, layer, float32_twin, (x, train, name), perturb=perturb)


def check_model(
    model: Any,
    images: Any,
    labels: Any,
    *,
    train: bool = False,
    label_smoothing: float = 0.0,
    name: str | None = None,
    float32_twin: Any = None,
    tolerance: float = 1e-6,
    jacobian_limit: int = 0,
    samples: int = 6,
    seed: int = 0,
    vary: bool | None = None,
    nondeterminism: float = 1e-13,
) -> Report:
    """Check the gradient of the cross-entropy by every parameter of a model, and by the images.

    model             a layer (see `check_layer`) from images to logits (B, K), in float64
    images, labels    float64 array (B, ...), and integer labels (B,) or rows of probabilities (B, K)
    train             with True, dropout and stochastic depth are checked with fixed masks
    label_smoothing   of the loss
    jacobian_limit    tensors of at most so many elements are checked element by element; of larger ones, `samples`
                      elements and random directions, besides directions through all parameters at once

    Before the check every parameter is moved at random: with the zero head a Mixer starts from, the gradients of all
    the layers below vanish, and zero compares well with zero. The parameters come back bit for bit. A model whose
    backward returns None is checked by its parameters alone. The other arguments are those of `check_layer`.

    Returns a Report. Raises NotCheckableError as `check_layer` does.
    """
    if not is_array(labels):
        raise NotCheckableError(f"labels must be an array, (B,) integers or (B, K) floats, got {type(labels).__name__}")
    if is_array(images) and labels.shape[0] != images.shape[0]:
        raise NotCheckableError(f"expected a label per image, got {labels.shape[0]} for {images.shape[0]} images")
    settings = Settings(tolerance, jacobian_limit, samples, seed, vary, nondeterminism)
    return _checked(settings, model, float32_twin, (images, train, name), (labels, label_smoothing))


def _checked(
    settings: Settings, layer: Any, twin: Any, given: tuple, loss: Loss = None, perturb: bool = True
) -> Report:
    """The report on a layer, or on a model with its loss. `given` holds x, whether it is in training, and a name."""
    x, train, name = given
    given = (x, train, name or type(layer).__name__, settings.seed, loss)
    target = LayerTarget(layer, *given)
    generator = generator_for(settings.seed, "perturbation")
    parameters = {key: moved(host, generator) if perturb else host for key, host in target.adapter.hosts().items()}
    narrow = None if twin is None else lambda: LayerTarget(twin, *given, "float32")
    with target.put_back(), target.at(parameters):
        target.perturbed, target.memory = perturb, target.adapter.memory()
        return checked(target, settings, narrow, joint=loss is not None)


class LayerTarget(Target):
    """A layer at an input, as a function of x and of every parameter; a model with its loss, as one of the images too.

    loss   the labels and the label smoothing of the cross-entropy of a model
    """

    def __init__(
        self,
        layer: Any,
        x: Any,
        train: bool,
        name: str,
        seed: int,
        loss: Loss = None,
        dtype: str = "float64",
    ) -> None:
        for method in ("forward", "backward"):
            if not callable(getattr(layer, method, None)):
                message = f"{name} has no method {method}: a layer needs forward(x) and backward(dy, cache)"
                raise NotCheckableError(message)
        if not is_differentiable(x):
            kind = f"one of {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
            raise NotCheckableError(f"x must be an array of floats to check {name}, got {kind}")
        if dtype == "float64" and np.dtype(x.dtype) != np.float64:
            raise NotCheckableError(f"x is {x.dtype}: gradient checks need float64, so pass x.astype('float64')")
        self._x = np.array(to_host(x), dtype=dtype)
        super().__init__(name, {"x": self._x}, namespace(x), dtype)
        self._layer, self._seed, self.mode = layer, seed, train
        self._runs = layer if loss is None else _WithLoss(layer, namespace(x).asarray(loss[0]), loss[1])
        taken = [p.name for p in parameters_of(layer.forward) if p.kind is not p.VAR_KEYWORD]
        anything = len(taken) < len(parameters_of(layer.forward))
        self._keywords = [key for key in ("train", "rng") if anything or key in taken]
        self.modes = (train, not train) if "train" in self._keywords else (train,)
        self._drawn: dict[int, Draws] = {}
        self.perturbed, self._returns_dx = False, True
        self.adapter = ParameterAdapter(layer)
        self.adapter.find(name, self._run_once)
        for key, host in self.adapter.hosts().items():
            if host.dtype != dtype:
                raise NotCheckableError(
                    f"{key} of {name} is {host.dtype}: gradient checks need {dtype}, so build the layer in it, "
                    f"such as {type(layer).__name__}(..., dtype='{dtype}')"
                )
            self.inputs[key] = host
        if loss is not None and not self._returns_dx:
            del self.inputs["x"]
            self.passed = ()
        if not self.inputs:
            message = f"nothing to check: the backward of {name} returns None, and no parameters were found"
            raise NotCheckableError(message)
        self.memory = self.adapter.memory()

    def _run_once(self) -> None:
        """Run forward and backward once, at another input than x: an array that changes is no parameter."""
        y, cache = self.forward({"x": self.place(0.7 * np.flip(self._x) + 0.1)})
        self._returns_dx = self._runs.backward(self.cotangent(flat_outputs(y) * 0 + 1), cache) is not None

    def put_back(self) -> AbstractContextManager:
        return self.adapter.put_back()

    def holding(self, values: Mapping[str, Any]) -> AbstractContextManager:
        return self.adapter.holding({name: host for name, host in values.items() if name in self.adapter.found})

    def varies(self, name: str) -> bool:
        return name in self.passed or self.perturbed

    def call_forward(self, changed: Mapping[str, Any]) -> Any:
        x = changed["x"] if "x" in changed else self.place(self.inputs.get("x", self._x))
        self.adapter.rewind()
        given = {"train": self.mode, "rng": self._random_numbers(x)}
        with self.holding(changed):
            return self._runs.forward(x, **{key: given[key] for key in self._keywords})

    def _random_numbers(self, x: Any) -> Any:
        """The `Draws` that layers of this package ask for; a NumPy generator for anybody else's."""
        if not isinstance(self._layer, Layer):
            return np.random.default_rng(self._seed)
        count = x.shape[0 if isinstance(self._layer, Model) else max(x.ndim - 2, 0)]  # the images: tokens come first
        if count not in self._drawn:
            self._drawn[count] = _RememberedDraws(self._seed, 0, 0, np.arange(count))
        return self._drawn[count]

    def call_backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        self.adapter.zero_gradients()
        dx = self._runs.backward(dy, cache)
        gradients = checked_gradients(self.name, dx, {"x": self.inputs["x"]}) if self.passed else {}
        gradients |= self.adapter.gradients()
        for name, gradient in gradients.items():
            if np.shape(gradient) != self.inputs[name].shape:
                got, wanted = np.shape(gradient), self.inputs[name].shape
                raise WrongGradientsError(f"the gradient of {name} has shape {got}, expected {wanted}")
        return gradients

    def resized(self, old: int, new: int) -> list[Target]:
        """x with an axis cut, unless the layer keeps an array with an axis of that size, which may belong to it."""
        if any(old in array.shape for array in named_arrays(self._layer, "").values()):
            return []
        ways: list[Target] = []
        for axis in (axis for axis, size in enumerate(self.shape) if size == old):
            way = copy.copy(self)
            way._x, way._known = np.take(self._x, range(new), axis), {}
            way.inputs = {name: way._x if name == "x" else host for name, host in self.inputs.items()}
            ways.append(way)
        return ways

    def own_rows(self, settings: Settings) -> Iterator[Row]:
        """Mistakes that only layers make: they assign gradients, write into values, or leave numbers in the padding."""
        trial, adapter = Trial(self, settings, "layer contract"), self.adapter
        dx = self._runs.backward(self.cotangent(trial.dy), trial.cache)  # without zeroing: adds the same once more
        yield self._parameters_row()
        yield from self._added_rows(trial.first)
        mine = {f"d{name}": gradient for name, gradient in adapter.raw_gradients().items()}
        others = {f"array {path} of the cache": array for path, array in named_arrays(trial.cache, "").items()}
        pairs = combinations([*mine.items(), *named_arrays(dx, "dx").items(), *others.items()], 2)
        shared = [f"{a} with {b}" for (a, first), (b, second) in pairs if a in mine and shares_memory(first, second)]
        yield self.holds("parameter gradients apart", shared, "a parameter's gradient shares its memory:")
        yield self.holds("values untouched", changed(self.memory, adapter.memory()), "forward or backward writes into")
        dirty = adapter.dirty_padding()
        if dirty is not None:
            note = f"{dirty} of the elements between the parameters are no longer 0" if dirty else ""
            yield self.row("padding untouched", float(bool(dirty)), note=note)
        adapter.zero_gradients()

    def _parameters_row(self) -> Row:
        """The parameters that were found, and the arrays that may be parameters but have no gradient."""
        found, left = ", ".join(self.adapter.found), self.adapter.left_over
        note = "" if found else "no parameters were found, and none seem to be there"
        if left:
            note = (
                f"no gradient was found for {', '.join(left)}: if they are parameters, keep them as W beside dW, in "
                "dicts params and grads, or in `parameters` and `gradients`"
            )
        return self.row("parameters", 0.0, applied=False, where=left[0] if left else found, note=note)

    def _added_rows(self, once: Named) -> Iterator[Row]:
        """Two backward passes give twice the gradients of one; of some layers, those of one may stand."""
        check, tolerance, found = "gradients added", 1e-12, self.adapter.found
        got = hosts({f"d{name}": gradient for name, gradient in self.adapter.gradients().items()})
        may_stand = [f"d{name}" for name, parameter in found.items() if not parameter.must_add]
        assigned = [n for n in may_stand if once[n].any() and np.allclose(got[n], once[n], rtol=tolerance, atol=0)]
        added = {name: 2 * once[name] for name in got if name not in assigned}
        if added or not assigned:
            note = "a second backward must add to the gradients of the first, not replace them"
            yield closest_row(self, check, added, got, tolerance, note)
        if assigned:
            names = ", ".join(name[1:] for name in assigned)
            note = f"{names}: a second backward replaces the gradient; of two micro-batches only the last counts"
            yield self.row(check, 0.0, applied=False, where=assigned[0], note=note)


class _WithLoss:
    """A model and the cross-entropy of its logits, as one layer. A batch that is cut short has the first labels."""

    def __init__(self, model: Any, labels: Any, label_smoothing: float) -> None:
        self._model, self._labels, self._label_smoothing = model, labels, label_smoothing

    def forward(self, images: Any, **keywords: Any) -> Any:
        result = self._model.forward(images, **keywords)
        if not isinstance(result, tuple) or len(result) != 2:
            return result  # which is said where pairs are taken apart
        logits, model_cache = result
        labels = self._labels[: logits.shape[0]]
        loss, loss_cache = softmax_cross_entropy_forward(logits, labels, self._label_smoothing)
        return loss, (model_cache, loss_cache)

    def backward(self, dloss: Any, cache: Any) -> Any:
        model_cache, loss_cache = cache
        return self._model.backward(softmax_cross_entropy_backward(dloss, loss_cache), model_cache)


class _RememberedDraws(Draws):
    """Draws that make each mask once and then give copies of it: a check asks for the same masks a thousand times."""

    def at(self, place: str, xp: Any = np) -> Place:
        return _RememberedPlace(self, place, xp)


class _RememberedPlace(Place):
    def bernoulli(self, rate: float, shape: tuple[int, ...], image_axis: int = 0) -> Any:
        known = self.draws.__dict__.setdefault("masks", {})
        key = (self.name, rate, shape, image_axis)
        if key not in known:
            known[key] = super().bernoulli(rate, shape, image_axis)
        return known[key].copy()
