"""The gradient check of a layer, by its input and by each of its parameters, and of a model with its loss."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import combinations
from typing import Any

import numpy as np

from tinymixer.draws import Draws, Place
from tinymixer.gradcheck.adapter import ParameterAdapter, set_generator_state
from tinymixer.gradcheck.arrays import (
    changed,
    host_float64,
    is_array,
    is_differentiable,
    named_arrays,
    shares_memory,
    to_host,
)
from tinymixer.gradcheck.contract import closest_row, yes_no
from tinymixer.gradcheck.gradients import Settings
from tinymixer.gradcheck.report import NotCheckableError, Report, Row
from tinymixer.gradcheck.run import checked, moved
from tinymixer.gradcheck.target import (
    Target,
    WrongGradientsError,
    checked_gradients,
    generator_for,
    parameters_of,
    random_cotangent,
)
from tinymixer.layers.layer import Layer
from tinymixer.models.model import Model
from tinymixer.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from tinymixer.ops.array_library import namespace


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
    given = (x, train, name or type(layer).__name__, seed)
    target = LayerTarget(layer, *given)
    settings = Settings(tolerance, jacobian_limit, samples, seed, vary, nondeterminism)
    with target.kept():
        if perturb:
            target.perturb(seed)
        narrow = None if float32_twin is None else lambda: LayerTarget(float32_twin, *given, "float32")
        return checked(target, settings, narrow)


class LayerTarget(Target):
    """A layer at an input, as a function of x and of every parameter."""

    def __init__(self, layer: Any, x: Any, train: bool, name: str, seed: int, dtype: str = "float64") -> None:
        self.name = name
        self._layer, self._train, self._seed, self._dtype = layer, train, seed, np.dtype(dtype)
        for method in ("forward", "backward"):
            if not callable(getattr(layer, method, None)):
                message = f"{name} has no method {method}: a layer needs forward(x) and backward(dy, cache)"
                raise NotCheckableError(message)
        if not is_differentiable(x):
            kind = f"one of {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
            raise NotCheckableError(f"x must be an array of floats to check {name}, got {kind}")
        if dtype == "float64" and np.dtype(x.dtype) != np.float64:
            raise NotCheckableError(f"x is {x.dtype}: gradient checks need float64, so pass x.astype('float64')")
        if 0 in x.shape:
            raise NotCheckableError(f"x is empty, of shape {tuple(x.shape)}: {name} needs at least one element")
        self._library = namespace(x)
        taken = parameters_of(layer.forward)
        anything, names = any(p.kind is p.VAR_KEYWORD for p in taken), [p.name for p in taken]
        self._keywords = [key for key in ("train", "rng") if anything or key in names]
        self._x = np.array(to_host(x), dtype=dtype)
        self._perturbed = False
        self._drawn: dict[int, Draws] = {}
        self.inputs, self.passed = {"x": self._x}, ("x",)
        self._generators: list[tuple[Any, Any]] = []
        self.adapter = ParameterAdapter(layer, name, self._run_once)
        self._generators = self.adapter.generators
        hosts = self.adapter.hosts()
        for key, host in hosts.items():
            if host.dtype != dtype:
                raise NotCheckableError(
                    f"{key} of {name} is {host.dtype}: gradient checks need {dtype}, so build the layer in it, "
                    f"such as {type(layer).__name__}(..., dtype='{dtype}')"
                )
        self.inputs = {"x": self._x, **hosts}
        self._before = self.adapter.memory()

    def _run_once(self) -> None:
        """Run forward and backward once, at another input than x: an array that changes is no parameter."""
        x = self.place(0.7 * self._x[tuple(slice(None, None, -1) for _ in self._x.shape)] + 0.1)
        y, cache = self.forward({"x": x})
        self.raw_backward(self.cotangent(np.ones(self.host_output(y).shape)), cache)
        self.parts = None

    def kept(self) -> AbstractContextManager:
        return self.adapter.kept()

    def perturb(self, seed: int) -> None:
        """Move every parameter at random, by up to half its tensor's size; one that is all zeros by up to a half."""
        self._perturbed, generator = True, generator_for(seed, "perturbation")
        self.move_to(self.inputs | {key: moved(host, generator) for key, host in self.adapter.hosts().items()})
        self._before = self.adapter.memory() | {k: v for k, v in self._before.items() if k == "the buffers"}

    def move_to(self, inputs: dict[str, np.ndarray]) -> None:
        super().move_to(inputs)
        self._x = inputs.get("x", self._x)
        for name in self.adapter.names:
            self.adapter.write(name, inputs[name])

    def varies(self, name: str) -> bool:
        return name in self.passed or self._perturbed

    def call_forward(self, changed: Mapping[str, Any]) -> Any:
        x = changed["x"] if "x" in changed else self.place(self._x)
        parameters = {name: value for name, value in changed.items() if name not in self.passed and name != "x"}
        if not parameters:
            return self.raw_forward(x)
        with self.adapter.replaced(parameters):
            return self.raw_forward(x)

    def other_forwards(self) -> list[Callable[[Mapping[str, Any]], Any]]:
        """The same forward, and where it takes `train` that in the other mode."""

        def in_the_other_mode(inputs: Mapping[str, Any]) -> Any:
            self._train = not self._train
            try:
                return self.forward(inputs)
            finally:
                self._train = not self._train

        return [self.forward, in_the_other_mode] if "train" in self._keywords else [self.forward]

    def raw_forward(self, x: Any) -> Any:
        """The layer's own forward, with the masks of this check."""
        for generator, state in self._generators:
            set_generator_state(generator, state)
        given = {"train": self._train, "rng": self._random_numbers(x)}
        return self._layer.forward(x, **{key: given[key] for key in self._keywords})

    def _random_numbers(self, x: Any) -> Any:
        """The `Draws` that layers of this package ask for; a NumPy generator for anybody else's."""
        if not isinstance(self._layer, Layer):
            return np.random.default_rng(self._seed)
        count = x.shape[0 if isinstance(self._layer, Model) else max(x.ndim - 2, 0)]  # the images: tokens come first
        if count not in self._drawn:
            self._drawn[count] = _RememberedDraws(self._seed, 0, 0, np.arange(count))
        return self._drawn[count]

    def raw_backward(self, dy: Any, cache: Any) -> Any:
        """The layer's own backward, which adds to the gradients and returns dx."""
        return self._layer.backward(dy, cache)

    def call_backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        self.adapter.zero_gradients()
        dx = self.raw_backward(dy, cache)
        by_input = checked_gradients(self.name, dx, {"x": self._x}) if self.passed else {}
        by_parameter = self.adapter.gradients()
        for name, gradient in by_parameter.items():
            if np.shape(gradient) != self.inputs[name].shape:
                raise WrongGradientsError(
                    f"the gradient of {name} has shape {np.shape(gradient)}, expected {self.inputs[name].shape}"
                )
        return {**by_input, **by_parameter}

    def answers(
        self, inputs: Mapping[str, np.ndarray], dy: np.ndarray, lay_out: Callable[[Any], Any] = lambda array: array
    ) -> dict[str, Any]:
        with self.adapter.replaced({name: host for name, host in inputs.items() if name in self.adapter.names}):
            return super().answers({name: inputs[name] for name in self.passed}, dy, lay_out)

    @contextmanager
    def cut(self, part: tuple[slice, ...]) -> Iterator[None]:
        """A context in which x, and what belongs to it image by image, is cut to a part."""
        x, self._x = self._x, self._x[part]
        try:
            yield
        finally:
            self._x = x

    def resized(self, old: int, new: int) -> list[Target]:
        """x with an axis cut, unless the layer keeps an array with an axis of that size, which may belong to it."""
        if any(old in array.shape for array in named_arrays(self._layer, "").values()):
            return []
        axes = [axis for axis, size in enumerate(self._x.shape) if size == old]
        return [_Resized(self, axis, new) for axis in axes]

    def own_rows(self, seed: int) -> list[Row]:
        """Mistakes that only layers make: they assign gradients, write into values, or leave numbers in the padding."""
        generator = generator_for(seed, "layer conduct")
        adapter = self.adapter
        _, cache = self.forward({})
        dy = random_cotangent(self.base.shape, generator)
        once = self.gradients(dy, cache)
        dx = self.raw_backward(self.cotangent(dy), cache)  # without zeroing: adds the same once more
        rows = [self._parameters_row(), *self._added_rows(once)]
        owners = {**{f"d{name}": array for name, array in adapter.raw_gradients().items()}, **named_arrays(dx, "dx")}
        owners |= {f"array {path} of the cache": array for path, array in named_arrays(cache, "").items()}
        shared = [
            f"{first} with {second}"
            for (first, one), (second, other) in combinations(owners.items(), 2)
            if first[1:] in adapter.names and shares_memory(one, other)
        ]
        rows.append(yes_no(self, "parameter gradients apart", shared, "a parameter's gradient shares its memory:"))
        moved = changed(self._before, adapter.memory())
        note = f"forward or backward writes into {', '.join(moved)}" if moved else ""
        rows.append(self.row("values untouched", float(bool(moved)), where=moved[0] if moved else "", note=note))
        dirty = adapter.dirty_padding()
        if dirty is not None:
            note = f"{dirty} of the elements between the parameters are no longer 0" if dirty else ""
            rows.append(self.row("padding untouched", float(bool(dirty)), note=note))
        adapter.zero_gradients()
        return rows

    def _parameters_row(self) -> Row:
        """The parameters that were found, and the arrays that may be parameters but have no gradient."""
        names, left = self.adapter.names, self.adapter.left_over
        if not left:
            note = "" if names else "no parameters were found, and none seem to be there"
            return self.row("parameters", 0.0, applied=False, where=", ".join(names), note="" if names else note)
        note = (
            f"no gradient was found for {', '.join(left)}: if they are parameters, keep them as W beside dW, in dicts "
            "params and grads, or in `parameters` and `gradients`"
        )
        return self.row("parameters", 0.0, applied=False, where=left[0], note=note)

    def _added_rows(self, once: Mapping[str, np.ndarray]) -> list[Row]:
        """Two backward passes give twice the gradients of one; of some layers, those of one may stand."""
        check, tolerance = "gradients added", 1e-12
        got = {name: host_float64(gradient) for name, gradient in self.adapter.gradients().items()}
        must = self.adapter.must_add
        assigned = [
            n for n in got if not must[n] and once[n].any() and np.allclose(got[n], once[n], rtol=tolerance, atol=0)
        ]
        added = {name: 2 * once[name] for name in got if name not in assigned}
        note = "a second backward must add to the gradients of the first, not replace them"
        rows = [closest_row(self, check, added, got, tolerance, note)] if added or not assigned else []
        if assigned:
            note = "a second backward replaces the gradient; of two micro-batches only the last counts"
            note = f"{', '.join(assigned)}: {note}"
            rows.append(self.row(check, 0.0, applied=False, where=f"d{assigned[0]}", note=note))
        return rows


class _Resized(Target):
    """A layer at an input with one axis cut."""

    def __init__(self, whole: LayerTarget, axis: int, size: int) -> None:
        self.name, self._whole, self.passed = whole.name, whole, whole.passed
        self._cut = (slice(None),) * axis + (slice(size),)
        self.inputs = {**whole.inputs, "x": whole._x[self._cut]} if whole.passed else dict(whole.inputs)

    def place(self, host: np.ndarray) -> Any:
        return self._whole.place(host)

    def call_forward(self, changed: Mapping[str, Any]) -> Any:
        with self._whole.cut(self._cut):
            return self._whole.call_forward(changed)

    def call_backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        with self._whole.cut(self._cut):
            return self._whole.call_backward(dy, cache)


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
    given = (images, labels, train, label_smoothing, name or type(model).__name__, seed)
    target = ModelTarget(model, *given)
    settings = Settings(tolerance, jacobian_limit, samples, seed, vary, nondeterminism)
    with target.kept():
        target.perturb(seed)
        narrow = None if float32_twin is None else lambda: ModelTarget(float32_twin, *given, "float32")
        return checked(target, settings, narrow, joint=True)


class ModelTarget(LayerTarget):
    """A model and its loss, as a function of the images and of every parameter."""

    def __init__(
        self,
        model: Any,
        images: Any,
        labels: Any,
        train: bool,
        label_smoothing: float,
        name: str,
        seed: int,
        dtype: str = "float64",
    ) -> None:
        if not is_array(labels):
            raise NotCheckableError(
                f"labels must be an array, (B,) integers or (B, K) floats, got {type(labels).__name__}"
            )
        if is_array(images) and labels.shape[0] != images.shape[0]:
            raise NotCheckableError(f"expected a label per image, got {labels.shape[0]} for {images.shape[0]} images")
        self._labels = labels
        self._label_smoothing = label_smoothing
        self._gives_image_gradient = True
        super().__init__(model, images, train, name, seed, dtype)
        self._labels = namespace(images).asarray(labels)
        if not self._gives_image_gradient:
            del self.inputs["x"]
            self.passed = ()
            if not self.inputs:
                raise NotCheckableError(
                    f"nothing to check: the backward of {name} returns None, and no parameters were found"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return self._x.shape

    @contextmanager
    def cut(self, part: tuple[slice, ...]) -> Iterator[None]:
        labels, self._labels = self._labels, self._labels[part[:1]]
        try:
            with super().cut(part):
                yield
        finally:
            self._labels = labels

    def raw_forward(self, x: Any) -> Any:
        result = super().raw_forward(x)
        if not isinstance(result, tuple) or len(result) != 2:
            return result  # which is said where pairs are taken apart
        logits, model_cache = result
        loss, loss_cache = softmax_cross_entropy_forward(logits, self._labels, self._label_smoothing)
        return loss, (model_cache, loss_cache)

    def raw_backward(self, dy: Any, cache: Any) -> Any:
        model_cache, loss_cache = cache
        dx = super().raw_backward(softmax_cross_entropy_backward(dy, loss_cache), model_cache)
        self._gives_image_gradient = dx is not None
        return dx
