"""One table: what each array of a Mixer is called here and in other people's files, and in which order its axes stand.

| layout | whose | container |
|---|---|---|
| `authors` | the paper's authors (vit_jax/models_mixer.py, big_vision/models/mlp_mixer.py), flax's own names | .npz |
| `authors-older` | the same authors before flax's Linen: `Mixer/encoderblock_0/token_mixing_phase_0/kernel1` | .npz |
| `timm` | PyTorch Image Models (timm/models/mlp_mixer.py) | .safetensors |

An axis has a letter, and one array's letters are all different, so they say how to turn its axes:

    PH, PW   rows and columns of a patch      I   colour channels of the images     C   channels (hidden_dim)
    S        tokens                           DS  tokens_mlp_dim                    DC  channels_mlp_dim
    K        classes

Our token mixing multiplies from the left, so its weights are (DS, S) and (S, DS), as PyTorch's Linear has them, and the
transposes of the authors' kernels. Our other weights are (inputs, outputs), as the authors' kernels, and the transposes
of PyTorch's. The stem's is the authors' convolution kernel with its first three axes made one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.models import MixerConfig

AUTHORS, OLDER, TIMM = "authors", "authors-older", "timm"
LAYOUTS = (AUTHORS, OLDER, TIMM)


@dataclass(frozen=True)
class Row:
    """One array (or, with {i}, one of each block) in all layouts.

    ours, authors, older, timm   its names
    axes                         letters of our axes, those that we keep as one joined: "PH*PW*I C"
    authors_axes, timm_axes      letters of theirs (the older layout's are the authors')
    """

    ours: str
    authors: str
    older: str
    timm: str
    axes: str
    authors_axes: str
    timm_axes: str

    def name(self, layout: str) -> str:
        return {AUTHORS: self.authors, OLDER: self.older, TIMM: self.timm}[layout]

    def letters(self, layout: str) -> tuple[str, ...]:
        """Letters of the array's axes in that layout."""
        return tuple((self.timm_axes if layout == TIMM else self.authors_axes).split())

    @property
    def our_letters(self) -> tuple[str, ...]:
        """Letters of our axes, before some are made one."""
        return tuple(self.axes.replace("*", " ").split())

    def to_ours(self, array: Any, layout: str) -> Any:
        """A view of their array with its axes in our order, those that we keep as one still apart."""
        theirs = self.letters(layout)
        return array.transpose([theirs.index(letter) for letter in self.our_letters])

    def to_theirs(self, array: np.ndarray, layout: str, sizes: Mapping[str, int]) -> np.ndarray:
        """Our array in their order of axes, contiguous. sizes: letter -> length."""
        ours = self.our_letters
        apart = array.reshape([sizes[letter] for letter in ours])
        return np.ascontiguousarray(apart.transpose([ours.index(letter) for letter in self.letters(layout)]))

    def for_block(self, i: int) -> "Row":
        """The row of block i."""
        ours, authors, older, timm = (name.format(i=i) for name in (self.ours, self.authors, self.older, self.timm))
        return Row(ours, authors, older, timm, self.axes, self.authors_axes, self.timm_axes)


STEM = (
    Row("stem.weight", "stem/kernel", "embedding/kernel", "stem.proj.weight", "PH*PW*I C", "PH PW I C", "C I PH PW"),
    Row("stem.bias", "stem/bias", "embedding/bias", "stem.proj.bias", "C", "C", "C"),
)
_OURS, _AUTHORS, _OLDER, _TIMM = "blocks.{i}", "MixerBlock_{i}", "Mixer/encoderblock_{i}", "blocks.{i}"
BLOCK = tuple(
    Row(f"{_OURS}.{ours}", f"{_AUTHORS}/{authors}", f"{_OLDER}/{older}", f"{_TIMM}.{timm}", *axes)
    for ours, authors, older, timm, *axes in (
        ("token_norm.scale", "LayerNorm_0/scale", "LayerNorm_0/scale", "norm1.weight", "C", "C", "C"),
        ("token_norm.bias", "LayerNorm_0/bias", "LayerNorm_0/bias", "norm1.bias", "C", "C", "C"),
        ("token_mixing.weight1", "token_mixing/Dense_0/kernel", "token_mixing_phase_0/kernel1", "mlp_tokens.fc1.weight",
         "DS S", "S DS", "DS S"),
        ("token_mixing.bias1", "token_mixing/Dense_0/bias", "token_mixing_phase_0/bias1", "mlp_tokens.fc1.bias",
         "DS", "DS", "DS"),
        ("token_mixing.weight2", "token_mixing/Dense_1/kernel", "token_mixing_phase_0/kernel2", "mlp_tokens.fc2.weight",
         "S DS", "DS S", "S DS"),
        ("token_mixing.bias2", "token_mixing/Dense_1/bias", "token_mixing_phase_0/bias2", "mlp_tokens.fc2.bias",
         "S", "S", "S"),
        ("channel_norm.scale", "LayerNorm_1/scale", "LayerNorm_1/scale", "norm2.weight", "C", "C", "C"),
        ("channel_norm.bias", "LayerNorm_1/bias", "LayerNorm_1/bias", "norm2.bias", "C", "C", "C"),
        ("channel_mixing.weight1", "channel_mixing/Dense_0/kernel", "channel_mixing_phase_0/kernel1",
         "mlp_channels.fc1.weight", "C DC", "C DC", "DC C"),
        ("channel_mixing.bias1", "channel_mixing/Dense_0/bias", "channel_mixing_phase_0/bias1",
         "mlp_channels.fc1.bias", "DC", "DC", "DC"),
        ("channel_mixing.weight2", "channel_mixing/Dense_1/kernel", "channel_mixing_phase_0/kernel2",
         "mlp_channels.fc2.weight", "DC C", "DC C", "C DC"),
        ("channel_mixing.bias2", "channel_mixing/Dense_1/bias", "channel_mixing_phase_0/bias2",
         "mlp_channels.fc2.bias", "C", "C", "C"),
    )
)  # fmt: skip
HEAD = (
    Row("pre_head_layer_norm.scale", "pre_head_layer_norm/scale", "Mixer/encoder_norm/scale", "norm.weight",
        "C", "C", "C"),
    Row("pre_head_layer_norm.bias", "pre_head_layer_norm/bias", "Mixer/encoder_norm/bias", "norm.bias", "C", "C", "C"),
    Row("head.weight", "head/kernel", "head/kernel", "head.weight", "C K", "C K", "K C"),
    Row("head.bias", "head/bias", "head/bias", "head.bias", "K", "K", "K"),
)  # fmt: skip


def rows(num_blocks: int) -> list[Row]:
    """The rows of a Mixer with so many blocks, in the order of our parameters."""
    blocks = [row.for_block(i) for i in range(num_blocks) for row in BLOCK]
    return [*STEM, *blocks, *HEAD]


def axis_lengths(config: MixerConfig) -> dict[str, int]:
    """Letter of an axis -> its length in a Mixer of these sizes."""
    return {
        "PH": config.patch_size, "PW": config.patch_size, "I": config.in_channels, "C": config.hidden_dim,
        "S": config.num_tokens, "DS": config.tokens_mlp_dim, "DC": config.channels_mlp_dim, "K": config.num_classes,
    }  # fmt: skip


def authors_shapes(config: MixerConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the arrays in the authors' file of a Mixer of these sizes."""
    lengths = axis_lengths(config)
    return {row.authors: tuple(lengths[letter] for letter in row.letters(AUTHORS)) for row in rows(config.num_blocks)}
