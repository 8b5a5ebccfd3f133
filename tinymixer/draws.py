"""Random numbers by name: the same name gives the same numbers, in any order, in any slice, on any device.

A number belongs to a (seed, epoch, step), a place (the mask of a layer, the crop of an augmentation), an image of the
batch, and an element. Philox turns these into 32 random bits, so nothing is carried from one call to the next: a slice
of a batch, a micro-batch, a rank or a GPU draws its own part of the same numbers.

    key      two words from NumPy's SeedSequence, for (seed, epoch)
    counter  block, the image's position in the whole batch, CRC-32 of the place's name, step
    words    four for each block. Numbers take one each: element e has word e % 4 of block e // 4. Bernoulli draws take
             16 bits, the lower half of a word before the upper: element e has half e % 8 of block e // 8

The elements of an image are counted in the order of the shape, row by row, the image axis left out.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError, ShapeError
from tinymixer.ops.array_library import Array
from tinymixer.philox import philox4x32

GENERATOR = "philox4x32-10"  # written into checkpoints: a run goes on only with the numbers it began with
SPAWN_KEY = 4  # keeps these numbers apart from those of `data.randomness`, under the same seed
CHUNK = 8192  # counters at a time: enough that calls cost little, few enough to stay in a processor's cache
GPU_CHUNK = 1 << 21  # the same for an array library that computes elsewhere, where calls cost more and memory less
TWO_16, TWO_32 = 1 << 16, 1 << 32


@dataclass(frozen=True)
class Draws:
    """The random numbers of some images of one step.

    seed            of the run, 0 or more
    epoch, step     where the run stands; step counts within the epoch. An array (B,), a step for each image, draws for
                    the images of several steps at once.
    image_numbers   integers (B,): the images' positions in the whole batch

    Raises ConfigError for numbers out of range.
    """

    seed: int
    epoch: int
    step: int | np.ndarray
    image_numbers: np.ndarray

    def __post_init__(self) -> None:
        values: list[tuple[str, Any]] = [("seed", self.seed), ("epoch", self.epoch)]
        if isinstance(self.step, np.ndarray) and self.step.ndim:
            if self.step.shape != np.shape(self.image_numbers) or self.step.dtype.kind not in "iu":
                raise ConfigError(
                    f"a step for each image is whole numbers {np.shape(self.image_numbers)}, got {self.step.dtype} "
                    f"{self.step.shape}"
                )
            values += [("step", step) for step in (self.step.min(initial=0), self.step.max(initial=0))]
        else:
            values.append(("step", self.step))
        for name, value in values:
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise ConfigError(f"the {name} of random numbers must be a whole number, got {value!r}")
            if value < 0:
                raise ConfigError(f"the {name} of random numbers must be 0 or more, got {value}")
            if name != "seed" and value >= TWO_32:
                raise ConfigError(f"the {name} of random numbers must be less than {TWO_32:,}, got {value:,}")
        numbers = np.asarray(self.image_numbers)
        whole = numbers.ndim == 1 and numbers.dtype.kind in "iu"
        if not whole or (numbers.size and not 0 <= numbers.min() <= numbers.max() < TWO_32):
            raise ConfigError(f"image_numbers must be positions (B,), 0 to 2^32 - 1, got {self.image_numbers!r}")
        object.__setattr__(self, "image_numbers", numbers)

    def __len__(self) -> int:
        return len(self.image_numbers)

    def part(self, images: Any) -> "Draws":
        """The same numbers for some of the images: a slice or an array of indices into these."""
        return Draws(self.seed, self.epoch, self.step_of(images), self.image_numbers[images])

    def step_of(self, images: Any) -> int | np.ndarray:
        """The step of some of the images: one for all, or an array."""
        return self.step[images] if isinstance(self.step, np.ndarray) and self.step.ndim else self.step

    def at(self, place: str, xp: Any = np) -> "Place":
        """The numbers of one place, made by the array library xp."""
        return Place(self, place, xp)

    @property
    def key(self) -> tuple[int, int]:
        """Philox's key for this seed and epoch."""
        return philox_key(int(self.seed), int(self.epoch))


@lru_cache(maxsize=64)
def philox_key(seed: int, epoch: int) -> tuple[int, int]:
    """Two words for a (seed, epoch), kept apart from each other as NumPy keeps seeds apart."""
    first, second = np.random.SeedSequence(seed, spawn_key=(SPAWN_KEY, epoch)).generate_state(2, np.uint32)
    return int(first), int(second)


def place_of(prefix: str, place: str) -> str:
    """The name of a place in a part of a model: "blocks.0.token_mixing.dropout", say."""
    return f"{prefix}.{place}" if prefix else place


def place_number(place: str) -> int:
    """The word of the counter that stands for a place."""
    return zlib.crc32(place.encode())


def threshold(rate: float) -> int:
    """The number that 16 random bits are below with probability `rate` (to 2^-17). Raises ConfigError outside 0..1."""
    if not 0 <= rate <= 1:
        raise ConfigError(f"a probability lies between 0 and 1, got {rate!r}")
    return round(rate * TWO_16)


@dataclass(frozen=True)
class Place:
    """The random numbers that one layer, or one step of the augmentation, draws for the images of `draws`."""

    draws: Draws
    name: str
    xp: Any = np

    def bernoulli(self, rate: float, shape: tuple[int, ...], image_axis: int = 0) -> Array:
        """Booleans of this shape, each True with probability `rate`, rounded to 1/65536.

        image_axis   the axis of the shape that goes over the images
        """
        limit = threshold(rate)
        return self._drawn(lambda words: words.view(np.uint16) < limit, 8, bool, shape, image_axis)

    def uniform(self, shape: tuple[int, ...], image_axis: int = 0) -> Array:
        """Numbers of [0, 1), float64, with 32 random bits."""
        return self._drawn(lambda words: words * (1.0 / TWO_32), 4, np.float64, shape, image_axis)

    def integers(self, high: int, shape: tuple[int, ...], image_axis: int = 0) -> Array:
        """Whole numbers 0 to high - 1, int64: word * high / 2^32, rounded down."""
        if not 0 < high <= TWO_32:
            raise ConfigError(f"expected a number of choices from 1 to 2^32, got {high}")
        return self._drawn(lambda words: (words.astype(np.uint64) * high) >> 32, 4, np.int64, shape, image_axis)

    def _drawn(
        self, make: Callable[[Array], Array], per_block: int, dtype: Any, shape: tuple[int, ...], image_axis: int
    ) -> Array:
        """An array of this shape, of the numbers that `make` computes from the words (images, blocks, 4)."""
        images = self.draws.image_numbers
        if not -len(shape) <= image_axis < len(shape) or shape[image_axis] != len(images):
            raise ShapeError(
                f"random numbers for {len(images)} images were asked for in the shape {shape}, with images on axis "
                f"{image_axis}"
            )
        image_axis %= len(shape)
        rest = shape[:image_axis] + shape[image_axis + 1 :]
        elements = math.prod(rest)
        blocks = -(-elements // per_block)
        drawn = self.xp.zeros((len(images), blocks, per_block), dtype=dtype)  # (B, blocks, numbers of a block)
        chunk = CHUNK if self.xp is np else GPU_CHUNK
        at_once = max(1, chunk // max(1, blocks))
        for first_image in range(0, len(images), at_once):
            for first in range(0, blocks, chunk):
                some, part = slice(first_image, first_image + at_once), slice(first, min(first + chunk, blocks))
                drawn[some, part] = make(self._words(some, part))
        by_image = drawn.reshape(len(images), blocks * per_block)[:, :elements].reshape(len(images), *rest)
        return by_image.transpose(*range(1, image_axis + 1), 0, *range(image_axis + 1, len(shape)))

    def _words(self, some: slice, blocks: slice) -> Array:
        """The words of some images and blocks: uint32 (images, blocks, 4)."""
        xp, draws = self.xp, self.draws
        images = draws.image_numbers[some]
        block = xp.arange(blocks.start, blocks.stop, dtype=np.uint64)  # (blocks,)
        image = xp.asarray(images.astype(np.uint64)).reshape(-1, 1)  # (images, 1)
        place = xp.zeros((1, 1), dtype=np.uint64) + place_number(self.name)
        step = xp.asarray(np.asarray(draws.step_of(some)).astype(np.uint64)).reshape(-1, 1)  # (images, 1) or (1, 1)
        words = xp.zeros((len(images), blocks.stop - blocks.start, 4), dtype=np.uint32)
        for index, word in enumerate(philox4x32((block, image, place, step), draws.key)):
            words[:, :, index] = word
        return words
