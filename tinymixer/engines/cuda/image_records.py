"""What the host drew for each image, packed into the records that `cuda/augment.cu` reads.

A record is 32-bit words: which image of the data set, the map by which its pixels are found, boxes to blank out, and
operations on its colours in their order. How many boxes and operations a record has room for follows from the list of
transforms, so it is the same in every step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinymixer.data import Augmentation, Choices
from tinymixer.data.transforms.catalogue import TRANSFORMS, Colour, Erasing
from tinymixer.data.transforms.geometry import AffineMaps, crop_and_flip
from tinymixer.data.transforms.mixing import Mix
from tinymixer.data.transforms.pipeline import POLICIES

# The names of the transforms in the order of ColourOperation in cuda/augment.cu, which counts from 1.
OPERATIONS = (
    "brightness", "contrast", "saturation", "sharpness", "offset", "channel_offset", "posterize", "solarize", "invert",
)  # fmt: skip
FIRST_BOX = 7  # words before the boxes: the image's number and its map

# `Mix` in cuda/common.cuh: the same fields in the same order.
MIX = np.dtype(
    [
        ("shift", np.int32),
        ("top", np.int32),
        ("bottom", np.int32),
        ("left", np.int32),
        ("right", np.int32),
        ("own", np.float32),
        ("partner", np.float32),
        ("target_own", np.float32),
        ("target_partner", np.float32),
    ]
)
MIX_WORDS = MIX.itemsize // 4


@dataclass(frozen=True)
class RecordLayout:
    """How much a record has room for.

    boxes        to blank out, cutout's included
    operations   on colours
    amounts      words of an operation's amount: one, or one for each channel
    """

    boxes: int
    operations: int
    amounts: int

    @classmethod
    def of(cls, augmentation: Augmentation, channels: int) -> "RecordLayout":
        boxes, operations, amounts = int(augmentation.cutout > 0), 0, 1
        for use in augmentation.uses:
            if use.name in POLICIES:  # at most one operation on an image's colours in each turn
                operations += int(use.strength)
            else:
                kind = TRANSFORMS[use.name]
                boxes += isinstance(kind, Erasing)
                operations += isinstance(kind, Colour)
            if use.name == "channel_offset":
                amounts = channels
        return cls(boxes, operations, amounts)

    @property
    def words(self) -> int:
        return FIRST_BOX + 4 * self.boxes + self.operations * (1 + self.amounts)


def pack_records(
    layout: RecordLayout, augmentation: Augmentation, indices: np.ndarray, choices: Choices | None, size: int
) -> np.ndarray:
    """A record for each of n images: int32 (n, layout.words).

    indices   (n,), which images of the data set
    choices   what was drawn for them; None where nothing is
    size      height and width of the images
    """
    count = len(indices)
    records = np.zeros((count, layout.words), np.int32)  # (n, words)
    records[:, 0] = indices
    numbers = records.view(np.float32)  # (n, words), the same memory
    maps = _maps(augmentation, choices, count)
    numbers[:, 1:5] = maps.matrix.reshape(count, 4)
    numbers[:, 5:7] = maps.offset.astype(np.float32) + np.float32((size - 1) / 2)
    if choices is None:
        return records
    for place, boxes in enumerate(_boxes(augmentation, choices, size)):
        records[:, FIRST_BOX + 4 * place : FIRST_BOX + 4 * place + 4] = boxes
    if choices.transforms is not None:
        used = np.zeros(count, np.int64)  # (n,) operations so far
        first = FIRST_BOX + 4 * layout.boxes
        for name, chosen, amounts in choices.transforms.colour:
            place = first + used[chosen] * (1 + layout.amounts)
            records[chosen, place] = 1 + OPERATIONS.index(name)
            if name == "posterize":  # the kernel is given the distance of neighbouring values
                amounts = 2.0 ** (8.0 - amounts)
            by_channel = amounts.reshape(len(chosen), -1)  # (m, 1) or (m, channels)
            for channel in range(by_channel.shape[1]):
                numbers[chosen, place + 1 + channel] = by_channel[:, channel]
            used[chosen] += 1
    return records


def _maps(augmentation: Augmentation, choices: Choices | None, count: int) -> AffineMaps:
    """Crop, flip and the geometric transforms as one map for each image."""
    if choices is None:
        return AffineMaps.identity(count)
    first = crop_and_flip(choices.crop, choices.flip, augmentation.crop_padding)
    drawn = choices.transforms
    return first if drawn is None or drawn.maps is None else first.then(drawn.maps)


def _boxes(augmentation: Augmentation, choices: Choices, size: int) -> Iterator[np.ndarray]:
    """The boxes to blank out, int (n, 4) each, cutout's first; an empty one where an image has none."""
    if augmentation.cutout:
        first = (choices.cutout * size).astype(np.int64) - augmentation.cutout // 2  # (n, 2)
        row, column = first[:, 0], first[:, 1]
        yield np.stack([row, row + augmentation.cutout, column, column + augmentation.cutout], axis=1)
    for chosen, boxes in () if choices.transforms is None else choices.transforms.boxes:
        of_all = np.zeros((len(choices), 4), np.int64)
        of_all[chosen] = boxes
        yield of_all


def pack_mix(mix: Mix | None) -> np.ndarray:
    """How a step's images are mixed, as the kernels read it: int32 (MIX_WORDS,). None is not at all: shares 1 and 0."""
    record = np.zeros(1, MIX)
    record["own"] = record["target_own"] = 1
    if mix is not None:
        record["shift"], record["target_own"], record["target_partner"] = mix.shift, mix.share, 1 - mix.share
        if mix.box is None:
            record["own"], record["partner"] = mix.share, 1 - mix.share
        else:
            record["top"], record["bottom"], record["left"], record["right"] = mix.box
    return record.view(np.int32)
