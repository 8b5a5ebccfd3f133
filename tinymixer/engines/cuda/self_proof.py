"""A fused step proves itself: two steps of it are held to the layers, on the same GPU and the same data.

The proof trains a copy of the model on images of the run's own data set: the same sizes, optimizer, augmentation,
masks, batch and precision, with weights of its own (a fresh model's head is zero, and so would be nearly every
gradient). For each of the two steps it compares, with what the layers compute at the weights that the fused step had:

    the loss            with the layers' in float64
    every gradient      by its name, with the layers' in float64
    every update        with the optimizer's in float64, given the fused step's own gradients; so are Muon's momentum
                        and the averaged weights (`update_proof.py`)

and after them the logits that evaluation would get. What counts as equal, `bounds.py` says: the error that the layers
have in the step's precision, times four. The run's own model, optimizer and random numbers are not touched, and the
proof's memory is given back.
"""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.backend import Backend, CupyBackend
from tinymixer.data import Augmentation
from tinymixer.data.batches import make_batch, training_batch
from tinymixer.draws import Draws
from tinymixer.engines.cuda.bounds import Comparison, compare
from tinymixer.engines.cuda.capability import FAST_FLOAT64, capability_of
from tinymixer.engines.cuda.captured_step import CapturedStep
from tinymixer.engines.cuda.cuda_engine import step_settings
from tinymixer.engines.cuda.failures import NotCapturedError, WayFailedError, abandon, give_back_memory
from tinymixer.engines.cuda.memory_plan import plan_activations
from tinymixer.engines.cuda.rounded_layers import (
    ROUNDINGS,
    RoundedOperations,
    Rounding,
    magnitude_operations,
    round_residual_sums,
    rounded_operations,
)
from tinymixer.engines.cuda.staging import draw_step
from tinymixer.engines.cuda.update_proof import Arrays, Update, compare_updates
from tinymixer.engines.engine import EngineOptions, Work
from tinymixer.engines.gradients import loss_and_gradients
from tinymixer.kernels.precision import get_precision
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.ops.protocol import Operations
from tinymixer.optim import Muon, Optimizer, WeightAverage

STEPS = 2
LEARNING_RATE = 0.05
WEIGHTS_SEED = 20_260_101
OPERATIONS = {False: 1e12, True: 1e13}  # of a proof's step in float64, where float64 is slow and where it is fast
ROUNDED = 3  # ways of rounding in which the layers compute the step: chance makes one of them too good now and then
PART_BYTES = 256 << 20  # of the layers' activations: they compute the batch in parts
OVERFLOWS = 16  # of float16 that a proof puts up with: each halves the loss scale, from 2^13
FLOAT32_UNIT = 2.0**-20  # sums of many float32 numbers are this far off, in any order


@dataclass(frozen=True)
class Proof:
    """What was compared, over how many images, and how long that took."""

    comparisons: tuple[Comparison, ...]
    images: int
    seconds: float

    @property
    def worst(self) -> Comparison:
        return max(self.comparisons, key=lambda comparison: comparison.ratio)

    @property
    def passed(self) -> bool:
        return all(comparison.passed for comparison in self.comparisons)


@dataclass(frozen=True)
class _FusedStep(Update):
    """What the fused step did (by name, host arrays), and the loss."""

    loss: float
    loss_scale: float


def prove(
    model: MlpMixer, optimizer: Optimizer, work: Work, options: EngineOptions, epilogues: str = "measured"
) -> Proof:
    """Take two steps the fused way and by the layers, and compare them.

    options   precision, captured, deterministic and recompute say how the fused step computes

    Raises WayFailedError where the options ask for a captured step and there cannot be one, BatchTooLargeError where
    the batch does not fit, and whatever the libraries raise.
    """
    started, cupy = time.perf_counter(), model.backend.xp
    images = proof_images(model.config, work, capability_of(cupy) in FAST_FLOAT64)
    batches = [np.arange(step * images, (step + 1) * images) % len(work.images) for step in range(STEPS)]
    first = proof_weights(model.config)
    fused, logits = _fused_steps(model, optimizer, work, options, batches, first, epilogues)
    layers = _Layers(model, work, batches, options.precision)
    comparisons = [*layers.compare_logits(logits, fused[-1].after)]
    for number, step in enumerate(fused):
        comparisons += layers.compare_step(number, step)
    comparisons += compare_updates(
        model.config, optimizer, salted_roundings(options.precision), work.average, list(fused), LEARNING_RATE
    )
    del layers
    give_back_memory(cupy)
    return Proof(tuple(comparisons), images, time.perf_counter() - started)


def proof_images(config: MixerConfig, work: Work, fast_float64: bool) -> int:
    """How many images a proof's step takes: the run's batch, halved until the layers need about a second for it.

    6 operations per weight and token or channel: a product forward and two backward, each of multiplications and
    additions.
    """
    S, C, L = config.num_tokens, config.hidden_dim, config.num_blocks
    per_block = 2 * S * C * (config.tokens_mlp_dim + config.channels_mlp_dim)
    per_image = 6 * (S * config.patch_features * C + L * per_block)
    images, parts = work.batch_size, work.micro_batches
    while images % (2 * parts) == 0 and images * per_image > OPERATIONS[fast_float64]:
        images //= 2
    return images


def proof_weights(config: MixerConfig) -> Arrays:
    """Weights as after some training: none is zero, so that every gradient depends on every kernel. Always the same."""
    host = MlpMixer(config, backend="numpy", seed=WEIGHTS_SEED, kernels="reference").parameters
    generator, weights = np.random.default_rng(WEIGHTS_SEED), {}
    for name in host:
        drawn = generator.standard_normal(host.shape(name))
        if name.endswith(".scale"):
            weights[name] = 1 + 0.3 * drawn
        elif name == "head.weight":
            weights[name] = drawn / np.sqrt(config.hidden_dim)
        elif name == "head.bias":
            weights[name] = 2 * drawn  # beside logits of about 1: else five per cent of it would hardly change a thing
        else:
            weights[name] = 0.5 * drawn if drawn.ndim == 1 else host[name]
    return {name: weight.astype(np.float32) for name, weight in weights.items()}


# ------------------------------------------------------------------------------------------------------ the fused step


def _fused_steps(
    model: MlpMixer,
    optimizer: Optimizer,
    work: Work,
    options: EngineOptions,
    batches: list[np.ndarray],
    first: Arrays,
    epilogues: str,
) -> tuple[list[_FusedStep], np.ndarray]:
    """Take the steps on a copy of the model. Returns them, and the logits (B, K) of the last batch after them."""
    copy = MlpMixer(model.config, backend=_backend(model.backend.xp, ops), seed=None)
    copy.parameters.load(first)
    rule, average = optimizer.over(copy.parameters), work.average
    if average is not None:
        average = WeightAverage(copy.parameters, average.decay, every=1)
    with _open(copy, rule, average, work, options, len(batches[0]), epilogues) as step:
        taken = [_take(step, copy, rule, average, work, number, batch) for number, batch in enumerate(batches)]
        if options.captured and not step.captured:  # the first launch tried
            raise NotCapturedError(step.note or "the step could not be captured in a CUDA graph")
        return taken, step.logits(step.training_pixels, batches[-1])


@contextmanager
def _open(
    copy: MlpMixer, optimizer: Optimizer, average: WeightAverage | None, work: Work, options: EngineOptions,
    images: int, epilogues: str,
) -> Iterator[CapturedStep]:  # fmt: skip
    shown = slice(0, STEPS * images)
    step = CapturedStep(
        copy,
        optimizer,
        work.images[shown],
        work.labels[shown],
        batch_size=images,
        micro_batches=work.micro_batches,
        average=average,
        **step_settings(options, work),
        epilogues=epilogues,
    )
    try:
        if options.captured and not step.captured:
            raise WayFailedError(step.note or "the libraries cannot be captured in a CUDA graph")
        yield step
    except BaseException:
        abandon(step)
        raise
    step.close()


def _take(
    step: CapturedStep, copy: MlpMixer, rule: Optimizer, average: WeightAverage | None, work: Work, number: int,
    batch: np.ndarray,
) -> _FusedStep:  # fmt: skip
    """Take one step. In float16 a first overflow only halves the loss scale, as in training; then it is taken again."""
    parameters = copy.parameters
    before = parameters.to_numpy()
    for _ in range(OVERFLOWS):
        scale = float(step.state["loss_scale"])
        augmentation, shape = _augmentation(work, number), work.images.shape[1:]
        step.stage([draw_step(batch, augmentation, LEARNING_RATE, work.seed, 0, number, shape=shape)])
        step.run()
        if not step.state["skip"]:
            break
    gradients = parameters.to_numpy(parameters.gradients)
    scaled = {name: gradient.astype(np.float64) / scale for name, gradient in gradients.items()}
    momentum = {}
    if isinstance(rule, Muon):
        settings = {name: rule.setting_of(name) for name in before}
        velocities = parameters.to_numpy(rule.state["mean"])
        momentum = {n: velocities[n] for n, setting in settings.items() if setting is not None and setting.matrix}
    averages = {} if average is None else parameters.to_numpy(average.values)
    loss = float(step.recent(1)[0, 0])
    return _FusedStep(before, parameters.to_numpy(), scaled, momentum, averages, loss, scale)


def _augmentation(work: Work, number: int) -> Augmentation:
    """How a step's images are augmented. Where a run has both mixup and CutMix, the proof has each of them once."""
    augmentation = work.augmentation
    if augmentation.mixup and augmentation.cutmix:
        by_mixup = number % 2 == 0
        return (
            dataclasses.replace(augmentation, cutmix=0.0) if by_mixup else dataclasses.replace(augmentation, mixup=0.0)
        )
    return augmentation


# ---------------------------------------------------------------------------------------------------------- the layers


def _backend(cupy: Any, operations: Any) -> Backend:
    return CupyBackend("cupy", cupy, operations, "self-proof", "reference")


def salted_roundings(precision: str) -> list[Rounding]:
    """A precision's rounding, and others that are as good."""
    rounding = ROUNDINGS[precision]
    return [rounding, *(rounding.salted(salt) for salt in range(1, ROUNDED))]


class _Layers:
    """The same steps by the layers: in float64, and in float32 with the precision's roundings."""

    def __init__(self, model: MlpMixer, work: Work, batches: list[np.ndarray], precision: str) -> None:
        self._cupy, self._config, self._work, self._batches = model.backend.xp, model.config, work, batches
        self._rounded = [rounded_operations(each) for each in salted_roundings(precision)]
        self._unit = max(ROUNDINGS[precision].unit, FLOAT32_UNIT)
        # in float64, and about twice the buffers that a fused step keeps
        per_image = 4 * plan_activations(self._config, 1, get_precision("float32")).nbytes
        self._images_at_once = max(1, PART_BYTES // per_image)
        # a number of the step is made of that many others, each with a rounding of its own
        widths = self._config.hidden_dim, self._config.tokens_mlp_dim, self._config.channels_mlp_dim
        self._independent = min(len(batches[0]), *widths)
        self._magnitudes: Arrays = {}

    def compare_step(self, number: int, step: _FusedStep) -> Iterator[Comparison]:
        """The loss and the gradients of a step."""
        exact_loss, exact = self._gradients(number, step.before, ops, "float64")
        unfused = [
            self._gradients(number, step.before, rounded, "float32", step.loss_scale) for rounded in self._rounded
        ]
        if not self._magnitudes:
            _, squares = self._gradients(number, step.before, magnitude_operations(), "float32")
            self._magnitudes = {name: np.sqrt(square) for name, square in squares.items()}
        where = f", step {number + 1}"
        roundings = self._roundings(exact, unfused[0][1])
        yield from compare(
            f"loss{where}",
            step.loss,
            exact_loss,
            [loss for loss, _ in unfused],
            self._unit * abs(float(exact_loss)),
            self._independent,
        )
        for name, gradient in exact.items():
            yield from compare(
                f"gradient of {name}{where}",
                step.gradients[name],
                gradient,
                [each[name] for _, each in unfused],
                roundings[name],
                self._independent,
            )

    def _roundings(self, exact: Arrays, unfused: Arrays) -> dict[str, float]:
        """How far rounding moves each gradient at least: u ||R||, or 3/4 of what is usual among the gradients.

        An array of one or two elements may be hit by the layers by chance; what is usual is not left to chance.
        """
        sizes = {name: float(np.linalg.norm(magnitudes)) for name, magnitudes in self._magnitudes.items()}
        shares = [float(np.linalg.norm(unfused[name] - exact[name])) / size for name, size in sizes.items() if size]
        unit = max(self._unit, 0.75 * float(np.median(shares)))
        return {name: unit * size for name, size in sizes.items()}

    def compare_logits(self, found: np.ndarray, weights: Arrays) -> Iterator[Comparison]:
        """The logits of the last batch, not augmented."""
        exact = self._logits(weights, ops, "float64")
        unfused = [self._logits(weights, rounded, "float32") for rounded in self._rounded]
        yield from compare(
            "logits", found, exact, unfused, self._unit * float(np.linalg.norm(exact)), self._independent
        )

    def _model(self, weights: Arrays, operations: Operations, dtype: str) -> MlpMixer:
        made = MlpMixer(self._config, backend=_backend(self._cupy, operations), dtype=dtype, seed=None)
        made.parameters.load({name: weight.astype(dtype) for name, weight in weights.items()})
        if isinstance(operations, RoundedOperations):
            round_residual_sums(made)
        return made

    def _parts(self) -> Iterator[slice]:
        count = len(self._batches[0])
        for start in range(0, count, self._images_at_once):
            yield slice(start, min(start + self._images_at_once, count))

    def _gradients(
        self, number: int, weights: Arrays, operations: Operations, dtype: str, loss_scale: float = 1.0
    ) -> tuple[float, Arrays]:
        """The loss and the gradients of a step's batch, by name."""
        model, work, batch = self._model(weights, operations, dtype), self._work, self._batches[number]
        draws = Draws(work.seed, 0, number, np.arange(len(batch)))
        pixels, labels = training_batch(
            work.images, work.labels, batch, slice(None), _augmentation(work, number), draws, work.mean, work.std,
            self._config.num_classes, True, dtype,
        )  # fmt: skip
        asarray, loss = self._cupy.asarray, 0.0
        for part in self._parts():
            share = (part.stop - part.start) / len(batch)
            part_loss, _ = loss_and_gradients(
                model, asarray(pixels[part]), asarray(labels[part]), work.label_smoothing, draws.part(part),
                share * loss_scale,
            )  # fmt: skip
            loss += float(part_loss) * share
        host = model.parameters.to_numpy(model.parameters.gradients)
        return loss, {name: gradient.astype(np.float64) / loss_scale for name, gradient in host.items()}

    def _logits(self, weights: Arrays, operations: Operations, dtype: str) -> np.ndarray:
        model, work, batch = self._model(weights, operations, dtype), self._work, self._batches[-1]
        draws = Draws(work.seed, 0, 0, np.arange(len(batch)))
        pixels = make_batch(work.images, batch, None, draws, work.mean, work.std, dtype)
        to_numpy, asarray = model.backend.to_numpy, self._cupy.asarray
        return np.concatenate([to_numpy(model.forward(asarray(pixels[part]))[0]) for part in self._parts()])  # (B, K)
