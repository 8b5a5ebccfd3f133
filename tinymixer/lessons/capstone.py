"""Lesson 18: which functions of the learner a Mixer can train with, and whether each is right where training uses it.

A `Part` says which exercise's function stands in for which operation of `tinymixer.ops`. `examine_in_training` holds
one function to the package's on the inputs of real training steps: float32, the sizes of the network, its caches.
`backend_with` makes a backend in which some operations are replaced, and `train` trains the lesson's network with it.
"""

import contextlib
import io
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from tinymixer import ops
from tinymixer.backend import Backend
from tinymixer.data import Batches, Dataset, load_dataset, normalise
from tinymixer.engines.cpu.threads import BLAS_LIMIT
from tinymixer.engines.step import train_step
from tinymixer.errors import ConfigError, nearest
from tinymixer.lessons.exercise import find_exercise
from tinymixer.lessons.grading import WRONG, Verdict, examine, judge
from tinymixer.lessons.running import frozen_copy, quietly
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.ops.protocol import Operations
from tinymixer.optim import SGD, cosine

CONFIG = MixerConfig(
    image_size=8,
    in_channels=1,
    patch_size=2,
    hidden_dim=32,
    tokens_mlp_dim=16,
    channels_mlp_dim=64,
    num_blocks=2,
)
BATCH, EPOCHS, LEARNING_RATE = 32, 6, 0.05
VALIDATION_SHARE = 0.2
RECORDED_STEPS = (10, 40)  # in the first step the head is zero, and so are the gradients of all layers below it
TOLERANCE = 1e-5  # of the largest element: float32 with its sums in another order stays below a fifth of that
ROUNDING = (
    2e-6  # the same for the package's own float32 beside its float64; where it is further off, nothing is compared
)
SLOW = 10  # times the package's time
LESSON_EPS = 1e-6  # which lesson 05's function takes where it is not told another


@dataclass(frozen=True)
class Part:
    """A function of an exercise, and the operation of the package that it can stand in for.

    number, function   the exercise and its function
    operation          its name in `tinymixer.ops`
    arguments          the operation's arguments -> the function's
    result             what the function returned, and the operation's arguments -> what the operation returns
    returns            what the exercise compares, where that is not all that training uses
    """

    number: str
    function: str
    operation: str
    arguments: Callable[..., tuple[Any, ...]]
    result: Callable[..., Any] = field(default=lambda returned, *arguments: returned)
    returns: tuple[str, ...] = ()

    def adapted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The learner's function as the operation: the operation's layout, dtype and cache, and memory of its own."""

        def operation(*arguments: Any) -> Any:
            given = self.arguments(*arguments)
            with contextlib.redirect_stdout(_SILENCE):  # a print that once helped would be seen thousands of times
                returned = function(*given)
            return self.result(_own(returned, _float_type(given)), *arguments)

        return operation


class _Silence(io.TextIOBase):
    """Takes what is printed, and keeps nothing."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


_SILENCE = _Silence()


def _rows(x: Any) -> Any:
    return x.reshape(-1, x.shape[-1])


PARTS = (
    Part(
        "2.1",
        "my_linear_forward",
        "linear_forward",
        lambda x, weight, bias: (_rows(x), weight, bias),
        lambda y, x, weight, bias: (y.reshape(*x.shape[:-1], -1), (x, weight)),
    ),
    Part(
        "2.3",
        "my_linear_backward",
        "linear_backward",
        lambda dy, cache: (_rows(dy), (_rows(cache[0]), cache[1])),
        lambda gradients, dy, cache: (gradients[0].reshape(cache[0].shape), *gradients[1:]),
    ),
    Part("4.3", "my_gelu_tanh_backward", "gelu_tanh_backward", lambda dy, cache: (dy, cache)),
    Part(
        "4.4",
        "my_gelu_tanh",
        "gelu_tanh_forward",
        lambda x: (x,),
        lambda y, x: (y, ops.gelu_tanh_forward(x)[1]),  # the exercise makes no cache
        returns=("y",),
    ),
    Part(
        "5.1",
        "my_layer_norm_forward",
        "layer_norm_forward",
        lambda x, scale, bias, eps=LESSON_EPS: (x, scale, bias) if eps == LESSON_EPS else (x, scale, bias, eps),
        returns=("y", "x_hat", "inv_std", "scale"),
    ),
    Part("5.4", "my_layer_norm_backward", "layer_norm_backward", lambda dy, cache: (dy, cache)),
    Part("6.2", "my_cross_entropy", "loss", lambda logits, labels: (logits, labels)),
    Part("6.3", "my_cross_entropy_gradient", "loss_gradient", lambda logits, labels: (logits, labels)),
    Part(
        "7.2",
        "my_images_to_patches",
        "images_to_patches_forward",
        lambda images, patch_size: (images, patch_size),
        lambda patches, images, patch_size: (patches, (images.shape, patch_size)),
    ),
    Part("7.3", "my_patches_backward", "images_to_patches_backward", lambda dpatches, cache: (dpatches, cache)),
    Part(
        "8.1",
        "my_token_mixing_forward",
        "token_linear_forward",
        lambda x, weight, bias: (x.transpose(1, 0, 2), weight.T, bias),
        lambda y, x, weight, bias: (y.transpose(1, 0, 2).copy(), (x, weight)),
    ),
    Part("8.3", "my_token_linear_backward", "token_linear_backward", lambda dy, cache: (dy, cache)),
    Part("9.3", "my_mean_over_tokens_backward", "mean_over_tokens_backward", lambda dy, cache: (dy, cache)),
)
NO_EXERCISE = "mean_over_tokens_forward"  # the one operation of the network that no exercise asks for


def part_of(number: str) -> Part:
    return next(part for part in PARTS if part.number == number)


def _float_type(arguments: Any) -> Any:
    """The floating-point type of the first array of floats among the arguments, nested tuples too."""
    for value in arguments:
        if isinstance(value, tuple) and (found := _float_type(value)) is not None:
            return found
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return value.dtype
    return None


def _own(returned: Any, dtype: Any) -> Any:
    """Copies of the arrays in a result, in the type that went in: no operation returns its inputs' memory."""
    if isinstance(returned, tuple | list):
        return tuple(_own(part, dtype) for part in returned)
    array = np.asarray(returned)
    return array.astype(dtype) if array.dtype.kind == "f" else array.copy()


# --- A backend with other operations ---


def backend_with(**operations: Callable[..., Any]) -> Backend:
    """NumPy with some operations replaced, by their names in `tinymixer.ops`, the others the package's.

    Two more names are the halves of `softmax_cross_entropy`: `loss(logits, labels)`, `loss_gradient(logits, labels)`.
    Fast engines and slices are left out, so every step goes through these operations. Raises ConfigError for other
    names.
    """
    known = {name: getattr(ops, name) for name in ops.__all__}
    for name in operations:
        if name not in known and name not in ("loss", "loss_gradient"):
            raise ConfigError(f"There is no operation {name!r} in tinymixer.ops.{nearest(name, known)}")
    chosen = known | operations
    loss, gradient = chosen.pop("loss", None), chosen.pop("loss_gradient", None)
    if loss or gradient:
        chosen["softmax_cross_entropy"] = partial(_loss_and_gradient, loss, gradient)
    return Backend("numpy", np, cast(Operations, SimpleNamespace(**chosen)), kernels="reference")


def _loss_and_gradient(loss: Any, gradient: Any, logits: Any, targets: Any, label_smoothing: float = 0.0) -> Any:
    """`ops.softmax_cross_entropy` of two functions; smoothed labels and mixed images are left to the package's."""
    if label_smoothing or targets.ndim > 1:
        return ops.softmax_cross_entropy(logits, targets, label_smoothing)
    packages = (None, None) if loss and gradient else ops.softmax_cross_entropy(logits, targets)
    return (
        loss(logits, targets) if loss else packages[0],
        gradient(logits, targets) if gradient else packages[1],
    )


# --- The network of the lesson, and its training ---


@dataclass
class Trained:
    """A trained network: the loss of each step, and after each epoch the accuracy on the validation images."""

    model: MlpMixer
    losses: list[float] = field(default_factory=list)
    validation_accuracies: list[float] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """The mean loss of the last epoch's steps."""
        count = max(1, len(self.losses) // max(1, len(self.validation_accuracies)))
        return float(np.mean(self.losses[-count:]))

    def test_accuracy(self) -> float:
        """The share of the test images that it recognises. Look at it once, when nothing is left to choose."""
        digits = _digits()
        return _accuracy(self.model, digits, digits.test_images, digits.test_labels)


@lru_cache(maxsize=1)
def _digits() -> Dataset:
    return load_dataset("digits")


def _accuracy(model: MlpMixer, digits: Dataset, images: Any, labels: Any) -> float:
    logits, _ = model.forward(normalise(images, digits.mean, digits.std))
    return float(np.mean(logits.argmax(axis=1) == labels))


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """These matrices are small: a second thread of BLAS costs more than it gains, and on a busy machine many times."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        yield
    else:
        with BLAS_LIMIT.one_thread(ThreadpoolController().select(user_api="blas").lib_controllers):
            yield


@_one_blas_thread()
def train(
    backend: Backend | None = None,
    epochs: int = EPOCHS,
    seed: int = 0,
    after_step: Callable[[int, float], Any] = lambda step, loss: None,
) -> Trained:
    """Train the lesson's Mixer on four fifths of the digits' training images; the others are for validation.

    backend      whose operations compute it; by default the package's
    after_step   called with the number of steps done and the loss; training ends early where it returns True

    Raises TrainingError when the loss or the gradient is no longer finite.
    """
    digits = _digits()
    chosen, held_back = digits.split(VALIDATION_SHARE)
    images, labels = digits.train_images[chosen], digits.train_labels[chosen]
    model = MlpMixer(CONFIG, backend=backend or backend_with(), seed=seed)
    optimizer = SGD(model.parameters, nesterov=True)
    steps = epochs * (len(images) // BATCH)
    schedule = cosine(peak=LEARNING_RATE, total_steps=steps, warmup_steps=steps // 20)
    trained = Trained(model)
    for epoch in range(epochs):
        batches = Batches(images, labels, BATCH, seed=seed, epoch=epoch, shuffle=True, mean=digits.mean, std=digits.std)
        for batch in batches:
            learning_rate = schedule(len(trained.losses))
            trained.losses.append(train_step(model, optimizer, *batch, learning_rate=learning_rate).loss)
            if after_step(len(trained.losses), trained.losses[-1]):
                return trained
        accuracy = _accuracy(model, digits, digits.train_images[held_back], digits.train_labels[held_back])
        trained.validation_accuracies.append(accuracy)
    return trained


# --- One function beside the package's ---


@lru_cache(maxsize=1)
def inputs_in_training() -> dict[str, list[tuple[Any, ...]]]:
    """operation -> the arguments of each of its calls in some real training steps of the package."""
    recorded: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    step = 1

    def recording(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if step in RECORDED_STEPS:
                recorded[name].append(frozen_copy(arguments))
            return operation(*arguments)

        return call

    def after_step(done: int, _: float) -> bool:
        nonlocal step
        step = done + 1
        return done == max(RECORDED_STEPS)

    names = {part.operation for part in PARTS} - {"loss", "loss_gradient"}
    packages = {name: getattr(ops, name) for name in names}
    packages |= {
        "loss": lambda logits, labels: ops.softmax_cross_entropy(logits, labels)[0],
        "loss_gradient": lambda logits, labels: ops.softmax_cross_entropy(logits, labels)[1],
    }
    train(backend_with(**{name: recording(name, one) for name, one in packages.items()}), after_step=after_step)
    return dict(recorded)


def examine_in_training(number: str, function: Callable[..., Any]) -> Verdict:
    """The verdict on an exercise's function with the inputs of training; its hint is that of the exercise's check."""
    part, exercise = part_of(number), find_exercise(number)
    cases = _cases(number)
    widened: set[str] = set()
    here = replace(
        exercise,
        cases=lambda _: iter(cases),
        tolerance=TOLERANCE,
        returns=part.returns or exercise.returns,
        call=partial(_call, len(part.returns) > 1, widened),
    )
    verdict = judge(here, (function,), hints=False)
    if verdict.state == WRONG:
        return _with_the_hint_of_its_check(verdict, function)
    notes = []
    if widened:
        notes.append(f"it returns {', '.join(sorted(widened))} where float32 went in, which is turned back")
    if verdict.passed and (times := _times_slower(function, exercise.reference, cases)) >= SLOW:
        notes.append(f"it takes about {times:.0f} times as long as the package's")
    return replace(verdict, details={"note": "; ".join(notes)} if notes else {})


@lru_cache(maxsize=len(PARTS))
def _cases(number: str) -> list[tuple[Any, ...]]:
    """The function's arguments in training, but for calls with a result that is nothing but rounding.

    (The gradient of a token mixing's `bias2` is zero, lesson 09: what float32 makes of it differs with each order of
    the sum.)
    """
    part, reference = part_of(number), find_exercise(number).reference
    cases = [part.arguments(*arguments) for arguments in inputs_in_training()[part.operation]]
    return [
        case
        for case in cases
        if _close(reference(*case), reference(*_converted(case, np.float32, np.float64)), ROUNDING)
    ]


def _close(value: Any, exact: Any, tolerance: float) -> bool:
    if isinstance(value, tuple):
        return all(_close(one, other, tolerance) for one, other in zip(value, exact, strict=True))
    return bool(np.max(np.abs(value - exact), initial=0.0) <= tolerance * np.max(np.abs(exact), initial=0.0))


def _converted(value: Any, source: Any, target: Any) -> Any:
    """Arrays of one type (also in tuples) in another one; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_converted(part, source, target) for part in value)
    return value.astype(target) if isinstance(value, np.ndarray) and value.dtype == source else value


def _call(flat: bool, widened: set[str], function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, with every float in the type that went in. flat: (y, (a, b)) becomes (y, a, b)."""
    returned, dtype = function(*arguments), _float_type(arguments)
    if flat and isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], tuple):
        returned = (returned[0], *returned[1])
    if isinstance(returned, tuple):
        return tuple(_narrow(one, dtype, widened) for one in returned)
    return _narrow(returned, dtype, widened)


def _narrow(value: Any, dtype: Any, widened: set[str]) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype.itemsize > dtype.itemsize:
        widened.add(str(value.dtype))
        return value.astype(dtype)
    return value


def _with_the_hint_of_its_check(verdict: Verdict, function: Callable[..., Any]) -> Verdict:
    at_its_check = examine(verdict.number, function)
    if at_its_check.state == WRONG:
        return replace(verdict, hint=at_its_check.hint or verdict.hint, known=at_its_check.known)
    if not at_its_check.passed:
        return verdict
    passes = (
        f'It passes check("{verdict.number}"), whose arrays are small and mostly float64. Here they are float32, and '
        "have the sizes of training: what in the function depends on that?"
    )
    return replace(verdict, hint=f"{verdict.hint} {passes}".strip())


def _times_slower(function: Any, reference: Any, cases: list[tuple[Any, ...]]) -> float:
    """How many times as long as the package's the function takes over all cases."""

    def seconds(one: Callable[..., Any]) -> float:
        started = time.perf_counter()
        for case in cases:
            one(*case)
        return time.perf_counter() - started

    with quietly((function,)):
        return min(seconds(function) for _ in range(2)) / max(min(seconds(reference) for _ in range(2)), 1e-9)
