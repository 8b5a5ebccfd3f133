"""The numbers of steps to come, drawn on the host and copied to the GPU ahead of time.

Every step needs which images it takes, what happens to them, its learning rate and where the generator of its masks
stands. They are keyed by (seed, epoch, step) like everywhere else, so the GPU sees the same crops and masks as NumPy
would. A ring of `slots` steps lies on the device; the host fills one half while the GPU works through the other, and a
recorded step finds its slot by the step counter.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.data import Augmentation, Choices, generator
from tinymixer.engines.cuda.coins import GENERATOR_NUMBERS, generator_numbers

CHOICE_NUMBERS = 6  # the fields of `Choice` in cuda/patches.cu


def pack_choices(indices: np.ndarray, choices: Choices | None, size: int, hole: int) -> np.ndarray:
    """One record per image for the kernel that cuts patches: int32 (B, 6).

    indices   (B,), which images of the data set
    choices   what happens to them; None for nothing
    size      height and width of the images;  hole  side of cutout's hole
    """
    records = np.zeros((len(indices), CHOICE_NUMBERS), np.int32)  # (B, 6)
    records[:, 0] = indices
    if choices is not None:
        records[:, 1:3] = choices.crop
        records[:, 3] = choices.flip
        records[:, 4:6] = (choices.cutout * size).astype(np.int64) - hole // 2
    return records


@dataclass(frozen=True)
class StepNumbers:
    """What one step needs from the host.

    indices        int (B,), which images of the data set
    choices        what the augmentation does to them; None for nothing
    learning_rate
    generator      uint64 (4,): where the generator of the step's masks stands (`coins.py`)
    """

    indices: np.ndarray
    choices: Choices | None
    learning_rate: float
    generator: np.ndarray


def draw_step(
    indices: np.ndarray, augmentation: Augmentation, learning_rate: float, seed: int, epoch: int, step: int
) -> StepNumbers:
    """A step's numbers exactly as `Batches` and `MlpMixer.forward` draw them: same generators, same order.

    `step` counts within the epoch. Raises nothing of its own.
    """
    choices = None
    if not augmentation.is_identity:
        choices = augmentation.draw(generator(seed, "augment", epoch, step), len(indices))
    return StepNumbers(indices, choices, learning_rate, generator_numbers(seed, epoch, step))


class StagingRing:
    """A ring of `slots` steps on the device, filled from pinned host memory in halves.

    cupy        the CuPy module;  stream  the stream that steps run on
    slots       even number of steps;  images  B
    """

    def __init__(self, cupy: Any, stream: Any, slots: int, images: int, size: int, hole: int) -> None:
        self.slots, self._half = slots, slots // 2
        self._cupy, self._stream, self._size, self._hole = cupy, stream, size, hole
        shapes = {
            "choices": ((slots, images, CHOICE_NUMBERS), np.int32),
            "rates": ((slots,), np.float32),
            "generators": ((slots, GENERATOR_NUMBERS), np.uint64),
        }
        self.device = {name: cupy.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._host = {name: pinned_empty(cupy, shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._copies = cupy.cuda.Stream(non_blocking=True)
        self._read = [None, None]  # per half: recorded on the step stream after its last step
        self.staged = 0  # steps staged since the ring was made
        self.taken = 0  # steps launched since then

    @property
    def room(self) -> int:
        """Steps that can be staged now: slots of halves whose steps have all been launched."""
        return self.slots - (self.staged - self.taken // self._half * self._half)

    def stage(self, steps: list[StepNumbers]) -> None:
        """Copy the numbers of the next steps to the device, without waiting for the GPU unless it is a half behind.

        Raises ValueError for more steps than there is room for.
        """
        if len(steps) > self.room:
            raise ValueError(f"the ring has room for {self.room} steps, got {len(steps)}")
        while steps:
            slot = self.staged % self.slots
            count = min(len(steps), self._half - slot % self._half)
            self._stage_piece(slot, steps[:count])
            self.staged, steps = self.staged + count, steps[count:]

    def _stage_piece(self, slot: int, steps: list[StepNumbers]) -> None:
        event = self._read[slot // self._half]
        if event is not None:
            event.synchronize()  # the GPU has read what these slots held, so pinned and device memory are free
        for i, numbers in enumerate(steps, slot):
            self._host["choices"][i] = pack_choices(numbers.indices, numbers.choices, self._size, self._hole)
            self._host["rates"][i] = numbers.learning_rate
            self._host["generators"][i] = numbers.generator
        piece = slice(slot, slot + len(steps))
        for name, device in self.device.items():
            device[piece].set(self._host[name][piece], stream=self._copies)
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
    """Page-locked host memory: only from there does a copy run beside the GPU's work."""
    size = int(np.prod(shape))
    buffer = cupy.cuda.alloc_pinned_memory(max(1, size * np.dtype(dtype).itemsize))
    return np.frombuffer(buffer, dtype, size).reshape(shape)
