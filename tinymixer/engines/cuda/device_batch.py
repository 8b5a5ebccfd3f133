"""The images of a step on the GPU: from the resident data set and the step's numbers to patches and targets.

Crops, flips and cutout alone are part of the kernel that cuts patches, and the batch is never stored. Where there are
stronger transforms, mixup or CutMix, the whole batch is first made as normalised images, and mixed while patches are
cut. A step that does not mix goes the same way with a share of 1, so that one recorded graph serves both.
"""

from typing import Any

import numpy as np

from tinymixer.data import Augmentation, Choices
from tinymixer.engines.cuda.image_records import MIX_WORDS, RecordLayout, pack_records
from tinymixer.engines.cuda.staging import CHOICE_NUMBERS, StagingRing, pack_choices, pack_colours
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.precision import Precision
from tinymixer.models import MixerConfig

i32 = np.int32


def needs_whole_images(augmentation: Augmentation) -> bool:
    """Whether there is more to do than crop, flip and cutout."""
    return bool(augmentation.uses) or mixes(augmentation)


def mixes(augmentation: Augmentation) -> bool:
    return bool(augmentation.mixup or augmentation.cutmix)


class DeviceBatch:
    """The data set on the GPU, the ring of staged numbers, and the launches that make a step's images of them.

    slots            of the ring
    pixels, labels   uint8 (N, height, width, colours) and integers (N,), on the host
    fill             per colour, what cutout fills in, in pixel values;  mean, std  of pixels scaled to 0..1
    images, parts    B of a part of the batch, and how many parts this rank computes
    shared_out       whether partners may be other ranks' images: then this rank makes both

    `pixels`, `labels` and `colours` are the arrays on the device, `shape` is an image's (height, width, colours).
    """

    def __init__(
        self,
        cupy: Any,
        stream: Any,
        slots: int,
        pixels: np.ndarray,
        labels: np.ndarray,
        fill: Any,
        mean: Any,
        std: Any,
        augmentation: Augmentation,
        config: MixerConfig,
        precision: Precision,
        images: int,
        parts: int,
        shared_out: bool,
    ) -> None:
        self.augmentation, self._config, self._images = augmentation, config, images
        self._own, self.shape = images * parts, pixels.shape[1:]
        self._rows = self._own * (2 if shared_out and mixes(augmentation) else 1)
        size, channels = config.image_size, config.in_channels
        self._layout = RecordLayout.of(augmentation, channels) if needs_whole_images(augmentation) else None
        self._words = CHOICE_NUMBERS if self._layout is None else self._layout.words
        self.ring = StagingRing(cupy, stream, slots, (self._rows, self._words), self.pack)
        self.pixels = cupy.asarray(np.ascontiguousarray(pixels))
        self.labels = cupy.asarray(np.ascontiguousarray(labels, np.int64))
        self.colours = cupy.asarray(pack_colours(fill, mean, std, channels))  # (3, colours)
        self._records = cupy.zeros((self._rows, self._words), np.int32)
        self._indices = cupy.zeros(self._rows, np.int32)
        self._mix: Any = None
        self._partners: Any = None
        self._partner_indices: Any = None
        if self._layout is None:
            return
        self._mix = cupy.zeros(MIX_WORDS, np.int32)
        self._partners, self._partner_indices = (cupy.zeros(self._rows, np.int32) for _ in range(2))
        shape = (self._rows, size, size, channels)
        self._whole_images, self._scratch = (cupy.zeros(shape, np.float32) for _ in range(2))
        self._blank = cupy.asarray(pack_blank(fill, mean, std, channels, bool(augmentation.uses)))  # (3, colours)
        v = layouts.vector_width(precision.itemsize, config.patch_features)
        rows = config.num_tokens * images
        self._cut = f"mix_patches<{precision.number}, {v}>", layouts.patch_rows(rows, config.patch_features, v)

    @property
    def kernel_names(self) -> list[str]:
        return ["begin_step<float>"] + ([] if self._layout is None else ["augment_images<float>", self._cut[0]])

    def pack(self, indices: np.ndarray, choices: Choices | None) -> np.ndarray:
        """What was drawn for some images (n,), as the kernels read it: int32 (n, words)."""
        size = self._config.image_size
        if self._layout is None:
            return pack_choices(indices, choices, size, self.augmentation.cutout)
        return pack_records(self._layout, self.augmentation, indices, choices, size)

    def begin(self, kernels: Kernels, state: Any, key: Any) -> None:
        """Fetch the step's numbers; make its images where they are made whole.

        state, key   of the step, on the device: both are written
        """
        staged = self.ring.device
        kernels.launch(
            "begin_step<float>", layouts.flat(self._rows * self._words), state, staged["records"], staged["rates"],
            staged["keys"], staged["mixes"], self._records, self._indices, key, self._mix, self._partners,
            self._partner_indices, i32(self.ring.slots), i32(self._rows), i32(self._words),
        )  # fmt: skip
        if self._layout is None:
            return
        layout = self._layout
        kernels.launch(
            "augment_images<float>", layouts.per_image(self._rows), self.pixels, self._records, self._blank, self._mix,
            self._whole_images, self._scratch, i32(self._config.image_size), i32(self._config.in_channels),
            i32(self._own), i32(layout.words), i32(layout.boxes), i32(layout.operations), i32(layout.amounts),
        )  # fmt: skip

    def _part(self, part: int) -> slice:
        return slice(part * self._images, (part + 1) * self._images)

    def forward(self, mixer: Any, kernels: Kernels, part: int) -> None:
        """The forward pass of a part of the batch, in training."""
        augmentation, config = self.augmentation, self._config
        if self._layout is None:
            mixer.forward(
                self.pixels, self._records[self._part(part)], self.colours, augmentation.crop_padding,
                augmentation.cutout, train=True, part=part,
            )  # fmt: skip
            return
        name, layout = self._cut
        kernels.launch(
            name, layout, self._whole_images, self._partners[self._part(part)], self._mix, mixer.buffers["patches"],
            i32(config.image_size), i32(config.in_channels), i32(config.patch_size), i32(config.overlap),
            i32(part * self._images), i32(self._images), i32(config.num_tokens * self._images),
        )  # fmt: skip
        mixer.forward_from_patches(train=True, part=part)

    def targets(self, part: int) -> tuple[Any, Any, Any, Any]:
        """Of a part of the batch, for the loss: labels, indices into them, the partners' indices, and the mix."""
        these = self._part(part)
        partners = None if self._partner_indices is None else self._partner_indices[these]
        return self.labels, self._indices[these], partners, self._mix


def pack_blank(fill: Any, mean: Any, std: Any, colours: int, strong: bool) -> np.ndarray:
    """For `augment_images`: what boxes are blanked out with, normalised, and the scale and shift that normalise.

    strong   whether there are stronger transforms: then boxes become zero, else cutout's colour, as on the host

    float32 (3, colours), with which value * scale - shift is (value - mean) / std
    """
    fill, mean, std = (np.broadcast_to(np.asarray(x, np.float64), colours) for x in (fill, mean, std))
    return np.stack([0 * fill if strong else (fill / 255 - mean) / std, 1 / std, mean / std]).astype(np.float32)
