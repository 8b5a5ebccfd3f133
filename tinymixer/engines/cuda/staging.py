"""The numbers of steps to come, drawn on the host and copied to the GPU ahead of time.

Every step needs the numbers of its images, their augmentation, the learning rate and the key of its masks. They follow
from (seed, epoch, step) as everywhere else, so the GPU uses the same crops and masks as NumPy would. A ring on the
device holds `slots` steps: the host fills one half while the GPU computes the steps of the other, and a recorded step
finds its slot by the step counter.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.data import Augmentation, Choices
from tinymixer.data.transforms.mixing import Mix, draw_mix
from tinymixer.draws import Draws
from tinymixer.engines.cuda.bernoulli_masks import KEY_NUMBERS, step_key
from tinymixer.engines.cuda.image_records import MIX_WORDS, pack_mix
from tinymixer.engines.engine import Step

CHOICE_NUMBERS = 6  # the fields of `Choice` in cuda/patches.cu


def pack_choices(indices: np.ndarray, choices: Choices | None, size: int, cutout_box: int) -> np.ndarray:
    """One record per image for the kernel that cuts patches: int32 (B, 6).

    indices   (B,), which images of the data set
    choices   how they are augmented; None for not at all
    size      height and width of the images;  cutout_box  its side in pixels
    """
    records = np.zeros((len(indices), CHOICE_NUMBERS), np.int32)  # (B, 6)
    records[:, 0] = indices
    if choices is not None:
        records[:, 1:3] = choices.crop
        records[:, 3] = choices.flip
        records[:, 4:6] = (choices.cutout * size).astype(np.int64) - cutout_box // 2
    return records


def pack_colours(fill: Any, mean: Any, std: Any, colours: int) -> np.ndarray:
    """For the same kernel: per colour, fill, and the scale and shift that normalise a pixel: float32 (3, colours).

    fill   in pixel values 0..255;  mean, std   of pixels scaled to 0..1; each one number or one per colour
    """
    fill, mean, std = (np.broadcast_to(np.asarray(x, np.float64), colours) for x in (fill, mean, std))
    return np.stack([fill, 1 / (255 * std), -mean / std]).astype(np.float32)


@dataclass(frozen=True)
class StepNumbers:
    """What one step needs from the host.

    indices        int (B,), which images of the data set; (2 B,) where partners may be other ranks': those follow
    choices        how they are augmented; None for not at all
    learning_rate
    key            uint32 (4,): of the step's masks (`bernoulli_masks.py`)
    mix            how images and targets are mixed; None for not at all. A partner stands `shift` places further on
                   among `indices`.
    records        int32 (B, words): indices and choices as the kernels read them, where they are packed already
    """

    indices: np.ndarray
    choices: Choices | None
    learning_rate: float
    key: np.ndarray
    mix: Mix | None = None
    records: np.ndarray | None = None


Pack = Callable[[np.ndarray, Choices | None], np.ndarray]  # indices (n,) and choices into records int32 (n, words)


def draw_step(
    indices: np.ndarray,
    augmentation: Augmentation,
    learning_rate: float,
    seed: int,
    epoch: int,
    step: int,
    share: slice = slice(None),
    shape: tuple[int, ...] | None = None,
    mixed: bool = True,
) -> StepNumbers:
    """A step's numbers exactly as `training_batch` and `MlpMixer.forward` draw them: the same `Draws`.

    step    counts within the epoch
    share   the part of the batch that this rank computes
    shape   height, width and channels of the images, which stronger transforms and mixing go by
    mixed   whether mixup or CutMix, where there is one, is done in this step
    """
    positions, mix = _positions_and_mix(len(indices), augmentation, seed, epoch, step, share, shape, mixed)
    chosen = indices[positions]
    choices = _choices(Draws(seed, epoch, step, positions), augmentation, chosen, shape)
    return StepNumbers(chosen, choices, learning_rate, step_key(seed, epoch, step), mix)


def draw_steps(
    steps: Sequence[Step], augmentation: Augmentation, seed: int, share: slice, shape: tuple[int, ...], pack: Pack
) -> list[StepNumbers]:
    """The numbers of several steps with batches of one size: `draw_step`'s, packed.

    All images of an epoch's steps are drawn in one go. For one step at a time NumPy's calls would take longer than
    their arithmetic, and longer than the GPU takes for a step of a small model.
    """
    numbers: list[StepNumbers] = []
    for epoch, group in itertools.groupby(steps, lambda step: step.epoch):
        members = list(group)
        drawn = [
            _positions_and_mix(len(s.indices), augmentation, seed, epoch, s.step, share, shape, s.mixed)
            for s in members
        ]
        rows = len(drawn[0][0])  # of each step
        positions = np.concatenate([positions for positions, _ in drawn])  # (steps * rows,)
        chosen = np.concatenate([s.indices[positions] for s, (positions, _) in zip(members, drawn, strict=True)])
        draws = Draws(seed, epoch, np.repeat([s.step for s in members], rows), positions)
        records = pack(chosen, _choices(draws, augmentation, chosen, shape))  # (steps * rows, words)
        for number, (step, (_, mix)) in enumerate(zip(members, drawn, strict=True)):
            these = slice(number * rows, (number + 1) * rows)
            key = step_key(seed, epoch, step.step)
            numbers.append(StepNumbers(chosen[these], None, step.learning_rate, key, mix, records[these]))
    return numbers


def _positions_and_mix(
    count: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    step: int,
    share: slice,
    shape: tuple[int, ...] | None,
    mixed: bool,
) -> tuple[np.ndarray, Mix | None]:
    """Which of a batch's `count` images this rank makes, (B,) or (2 B,), and how they are mixed: see `StepNumbers`."""
    positions, mix = np.arange(count)[share], None  # (B,)
    if not (augmentation.mixup or augmentation.cutmix):
        return positions, None
    assert shape is not None, "mixing goes by the images' size"
    if mixed:
        mix = draw_mix(augmentation.mixup, augmentation.cutmix, count, shape[0], shape[1], seed, epoch, step)
    if len(positions) < count:  # partners may be other ranks' images; where nothing is mixed they are not looked at
        partners = positions if mix is None else (positions + mix.shift) % count
        mix = None if mix is None else dataclasses.replace(mix, shift=len(positions))
        positions = np.concatenate([positions, partners])  # (2 B,)
    return positions, mix


def _choices(
    draws: Draws, augmentation: Augmentation, indices: np.ndarray, shape: tuple[int, ...] | None
) -> Choices | None:
    if augmentation.is_identity:
        return None
    return augmentation.draw(draws, indices, None if shape is None else (shape[0], shape[1], shape[2]))


class StagingRing:
    """A ring of `slots` steps on the device, filled from pinned host memory in halves.

    cupy        the CuPy module;  stream  the stream that steps run on
    slots       even number of steps
    shape       of a step's records, which `pack` makes of its indices and choices: int32 (rows, words)
    """

    def __init__(self, cupy: Any, stream: Any, slots: int, shape: tuple[int, int], pack: Pack) -> None:
        self.slots, self._half = slots, slots // 2
        self._cupy, self._stream, self._pack = cupy, stream, pack
        shapes = {
            "records": ((slots, *shape), np.int32),
            "rates": ((slots,), np.float32),
            "keys": ((slots, KEY_NUMBERS), np.uint32),
            "mixes": ((slots, MIX_WORDS), np.int32),
        }
        self.device = {name: cupy.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._host = {name: pinned_empty(cupy, shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._copies = cupy.cuda.Stream(non_blocking=True)
        self._read = [None, None]  # per half: an event that the step stream records after the half's last step
        self.staged = 0  # steps staged since the ring was made
        self.taken = 0  # steps launched since then

    @property
    def free_slots(self) -> int:
        """Steps that can be staged now: slots of halves whose steps have all been launched."""
        return self.slots - (self.staged - self.taken // self._half * self._half)

    def stage(self, steps: list[StepNumbers]) -> None:
        """Copy the numbers of the next steps to the device, without waiting for the GPU unless it is a half behind.

        Raises ValueError for more steps than there are free slots.
        """
        if len(steps) > self.free_slots:
            raise ValueError(f"the ring has {self.free_slots} free slots for steps, got {len(steps)}")
        while steps:
            slot = self.staged % self.slots
            count = min(len(steps), self._half - slot % self._half)
            self._stage_slots(slot, steps[:count])
            self.staged, steps = self.staged + count, steps[count:]

    def _stage_slots(self, slot: int, steps: list[StepNumbers]) -> None:
        event = self._read[slot // self._half]
        if event is not None:
            event.synchronize()  # the GPU has read what these slots held, so pinned and device memory are free
        for i, numbers in enumerate(steps, slot):
            packed = self._pack(numbers.indices, numbers.choices) if numbers.records is None else numbers.records
            self._host["records"][i] = packed
            self._host["mixes"][i] = pack_mix(numbers.mix)
            self._host["rates"][i] = numbers.learning_rate
            self._host["keys"][i] = numbers.key
        filled = slice(slot, slot + len(steps))
        for name, device in self.device.items():
            device[filled].set(self._host[name][filled], stream=self._copies)
        copied = self._cupy.cuda.Event(disable_timing=True)
        copied.record(self._copies)
        self._stream.wait_event(copied)  # steps launched from now on find the numbers there

    def take(self) -> None:
        """Note that a step has been launched. Raises RuntimeError when its numbers were never staged."""
        if self.taken >= self.staged:
            raise RuntimeError("a step was launched before its numbers were staged")
        slot = self.taken % self.slots
        self.taken += 1
        if slot % self._half == self._half - 1:
            event = self._cupy.cuda.Event(disable_timing=True)
            event.record(self._stream)
            self._read[slot // self._half] = event


def pinned_empty(cupy: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Page-locked host memory: only copies from such memory can run while the GPU computes."""
    size = int(np.prod(shape))
    buffer = cupy.cuda.alloc_pinned_memory(max(1, size * np.dtype(dtype).itemsize))
    return np.frombuffer(buffer, dtype, size).reshape(shape)
