"""Weights for images of another size: token mixing has a weight per token, so it has to be fitted to another grid.

The stem has a weight per pixel of a patch, so it has to be fitted to another patch size (`resize_stem`). All other
arrays of a Mixer are the same for every image size. Two ways for token mixing:

block-diagonal   for an image K times larger a side, as in the paper (Mixer, appendix C): the grid is cut into K x K
                 parts of the old size, and every part is mixed by a copy of the old weights, apart from the others.
                 The hidden width grows K*K-fold with the tokens, DS' = K*K*DS. It is exact: each part's tokens are
                 what the old model makes of that part alone
interpolated     for any other ratio, and where DS stays: an approximation. The tokens of the new grid are averaged
                 down to the old one, mixed with the old weights, and the result is interpolated up:

                     y = U mix(D x)        D (S, S') averages, U (S', S) interpolates; the rows of both sum to 1

A Vision Transformer has an embedding per token instead, which is interpolated over the grid (ViT, section 3.2). A
BoTNet has a vector per offset between two places, which is interpolated over the offsets: what was two rows away of
four is four rows away of eight.

Larger images with patches of the same size have more tokens, and so they do where the stem is fitted as well but the
patches grow less than the images.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError
from tinymixer.layers.chain import Chain
from tinymixer.models.botnet import BoTNetConfig
from tinymixer.models.linear_mixer import LinearMixerConfig
from tinymixer.models.mixer_config import MixerConfig
from tinymixer.models.vit import ViTConfig

BLOCK_DIAGONAL, INTERPOLATED = "block-diagonal", "interpolated"
WAYS = ("auto", "interpolate", "off")  # auto takes block-diagonal where it can
LINEAR = "linear"  # linear_mixer's token mixing, and MlpMixer's with tokens = "linear"
POSITIONS = "positions.embedding"  # of a Vision Transformer
OFFSETS = re.compile(r"stages\.\d+\.\d+\.branch\.attention\d\.r_(?:height|width)")  # of a BoTNet
TOKEN_ARRAY = re.compile(r"blocks\.\d+\.token_mixing\.(?:\d+\.)?(weight1|bias1|weight2|bias2|weight|bias)")

Grid = tuple[int, int]  # patches down, patches across
Fit = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Resized:
    """What fitting to another grid made.

    arrays   the arrays that were fitted, by name
    way      "block-diagonal", "interpolated", or "" where nothing was fitted
    factor   K of block-diagonal, else 0
    """

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    way: str = ""
    factor: int = 0


def resize_stem(weight: np.ndarray, source: Any, target: Any) -> np.ndarray | None:
    """The stem's weight (P*P*channels, C) for patches that are a whole number of times as large, or for grey images.

    source, target   configurations, with patch_size and in_channels, and perhaps overlap: a window of
                     patch_size + 2 * overlap pixels takes the place of the patch

    Each pixel's weight is repeated over the k x k pixels that take its place and divided by k^2, so the new stem
    computes what the old one does on the image reduced k times. For grey images the weights of the colours are added,
    since a grey picture has the same value in all three. Returns None where nothing has to be fitted, for other
    changes, and for a weight of another model's form.
    """
    patches, channels, overlaps = (
        [getattr(each, name, missing) for each in (source, target)]
        for name, missing in (("patch_size", 0), ("in_channels", 0), ("overlap", 0))
    )
    if not all((*patches, *channels)) or all(old == new for old, new in (patches, channels, overlaps)):
        return None
    times, rest = divmod(patches[1], patches[0])
    (before, after), old = channels, patches[0] + 2 * overlaps[0]
    if rest or overlaps[1] != times * overlaps[0]:
        return None
    if (before, after) not in ((3, 1), (after, after)) or weight.shape[:-1] != (old * old * before,):
        return None
    pixels = weight.reshape(old, old, before, -1)  # (P, P, channels, C)
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1) / times**2
    if before != after:
        pixels = pixels.sum(axis=2, keepdims=True)
    return pixels.reshape(-1, weight.shape[1]).astype(weight.dtype)


def resize_tokens(
    arrays: Mapping[str, np.ndarray], source: Any, target: Any, way: str = "auto", other_patches: bool = False
) -> Resized:
    """Fit the token-mixing arrays of a model, or its position embeddings, to the image size of another one.

    arrays           the source's parameters by name
    source, target   configurations, of an MlpMixer, a LinearMixer, a VisionTransformer or a BoTNet
    way              "auto"; "interpolate", also where block-diagonal would be exact; or "off"
    other_patches    whether patch_size may differ, since the stem was fitted (`resize_stem`)

    Nothing is fitted where the grids are equal, where patch_size, hidden_dim or the kind of token mixing differ, where
    there are no weights over tokens ("pool", "none"), and where the hidden widths allow neither way. Raises ConfigError
    for an unknown way, and where weights that see several channels at once (grouped_channels) would have to be fitted.
    """
    if way not in WAYS:
        raise ConfigError(f"token mixing is fitted by one of {', '.join(WAYS)}, got '{way}'")
    if isinstance(source, ViTConfig) and isinstance(target, ViTConfig):
        return _resized_positions(arrays, source, target, way, other_patches)
    if isinstance(source, BoTNetConfig) and isinstance(target, BoTNetConfig):
        return _resized_offsets(arrays, target, way)
    kind = _token_mixing(source)
    if way == "off" or kind is None or kind != _token_mixing(target) or seen_at_once(source) != seen_at_once(target):
        return Resized()
    same = source.hidden_dim == target.hidden_dim and (other_patches or source.patch_size == target.patch_size)
    if source.grid == target.grid or not same or type(source) is not type(target):
        return Resized()
    if (grouped := seen_at_once(source)) > 1:
        raise ConfigError(
            f"token mixing with grouped_channels = {grouped} cannot be fitted from {_words(source.grid)} to "
            f"{_words(target.grid)} patches: keep the sizes of images and patches, or start token mixing anew with "
            "resize_tokens = 'off'"
        )
    factor = whole_factor(source.grid, target.grid)
    if factor and way == "auto" and (kind == LINEAR or target.tokens_mlp_dim == factor**2 * source.tokens_mlp_dim):
        fits, used = block_diagonal(source.grid, factor), BLOCK_DIAGONAL
    elif kind == LINEAR or target.tokens_mlp_dim == source.tokens_mlp_dim:
        fits, used, factor = interpolated(source.grid, target.grid), INTERPOLATED, 0
    else:
        return Resized()
    fitted = {}
    for name, array in arrays.items():
        if found := TOKEN_ARRAY.fullmatch(name):
            fitted[name] = np.ascontiguousarray(fits[found[1]](array).astype(array.dtype, copy=False))
    return Resized(fitted, used, factor)


def seen_at_once(config: Any) -> int:
    """The channels that the token mixing of a model of this configuration sees at once (grouped_channels)."""
    return getattr(config, "grouped_channels", 1)


def _resized_positions(
    arrays: Mapping[str, np.ndarray], source: ViTConfig, target: ViTConfig, way: str, other_patches: bool
) -> Resized:
    """The position embeddings interpolated over the new grid; the class token's stays as it is."""
    same = (source.hidden_dim, source.pool) == (target.hidden_dim, target.pool)
    same &= other_patches or source.patch_size == target.patch_size
    if way == "off" or source.grid == target.grid or not same or POSITIONS not in arrays:
        return Resized()
    (down, across), (new_down, new_across) = source.grid, target.grid
    up = np.kron(resampling(down, new_down), resampling(across, new_across))  # (S', S)
    before = source.sequence_length - source.num_tokens  # 1 for the class token, else 0
    old = arrays[POSITIONS]  # (S or S+1, C)
    new = np.concatenate([old[:before], up @ old[before:]]).astype(old.dtype)  # (S' or S'+1, C)
    return Resized({POSITIONS: new}, INTERPOLATED)


def _resized_offsets(arrays: Mapping[str, np.ndarray], target: BoTNetConfig, way: str) -> Resized:
    """The tables of relative positions, interpolated to the target's numbers of offsets: offset 0 stays where it is.

    A table of another width (other channels or heads) is left as it is.
    """
    fitted, wanted = {}, Chain.specification(target.parts())
    for name, old in arrays.items():  # old (2*n - 1, D)
        if way != "off" and OFFSETS.fullmatch(name) and name in wanted:
            offsets, depth = wanted[name].shape
            if old.shape[1:] == (depth,) and len(old) != offsets:
                fitted[name] = (resampling(len(old), offsets) @ old).astype(old.dtype)
    return Resized(fitted, INTERPOLATED) if fitted else Resized()


def whole_factor(source: Grid, target: Grid) -> int:
    """K where the target is K times as many patches down and across as the source, K > 1; else 0."""
    factor = target[0] // source[0]
    return factor if factor > 1 and target == (factor * source[0], factor * source[1]) else 0


def tokens_of_parts(grid: Grid, factor: int) -> np.ndarray:
    """The token numbers of the K x K parts of a large grid: int64 (K*K, S).

    grid   of one part: down, across, S = down * across. Tokens are numbered row by row over the whole large grid, parts
           row by row, and the tokens within a part row by row.
    """
    down, across = grid
    large = np.arange((factor * down) * (factor * across)).reshape(factor, down, factor, across)
    return large.transpose(0, 2, 1, 3).reshape(factor**2, down * across)


def block_diagonal(grid: Grid, factor: int) -> dict[str, Fit]:
    """How each array of token mixing is made K*K times as large, K = factor (Mixer, appendix C).

    weight1 (DS, S)  ->  (K*K*DS, K*K*S)        weight2 (S, DS)  ->  (K*K*S, K*K*DS)        0 between different parts
    """
    parts = tokens_of_parts(grid, factor)  # (K*K, S)

    def hidden(units: int) -> np.ndarray:
        return np.arange(len(parts) * units).reshape(len(parts), units)  # (K*K, DS)

    def over(rows: np.ndarray, columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
        large = np.zeros((rows.size, columns.size), weight.dtype)
        for row, column in zip(rows, columns, strict=True):
            large[np.ix_(row, column)] = weight
        return large

    def over_tokens(bias: np.ndarray) -> np.ndarray:
        large = np.empty(parts.size, bias.dtype)
        large[parts] = bias  # the same for every part
        return large

    return {
        "weight1": lambda weight: over(hidden(len(weight)), parts, weight),
        "bias1": lambda bias: np.tile(bias, len(parts)),
        "weight2": lambda weight: over(parts, hidden(weight.shape[1]), weight),
        "bias2": over_tokens,
        "weight": lambda weight: over(parts, parts, weight),
        "bias": over_tokens,
    }


def interpolated(source: Grid, target: Grid) -> dict[str, Fit]:
    """How each array of token mixing is fitted to any other grid, approximately: weight1 D, U weight2, U bias2."""
    down = np.kron(resampling(target[0], source[0]), resampling(target[1], source[1]))  # D (S, S')
    up = np.kron(resampling(source[0], target[0]), resampling(source[1], target[1]))  # U (S', S)
    return {
        "weight1": lambda weight: weight @ down,
        "bias1": lambda bias: bias,
        "weight2": lambda weight: up @ weight,
        "bias2": lambda bias: up @ bias,
        "weight": lambda weight: up @ weight @ down,
        "bias": lambda bias: up @ bias,
    }


def resampling(old: int, new: int) -> np.ndarray:
    """Linear interpolation of `old` values in a row at `new` places: float64 (new, old), rows that sum to 1.

    Values stand in the middle of equal cells. Where the new places are fewer, the triangle around each is made wider,
    so that all old values count. Beyond the border the last value goes on.
    """
    scale = old / new
    width = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale  # (new,)
    margin = int(np.ceil(width)) + 1
    places = np.arange(-margin, old + margin)  # (places,), beyond the borders too
    weights = np.maximum(0.0, 1 - np.abs(places + 0.5 - centres[:, None]) / width)  # (new, places)
    inside = np.clip(places, 0, old - 1)[:, None] == np.arange(old)  # (places, old), which old value stands at a place
    matrix = weights @ inside  # (new, old)
    return matrix / matrix.sum(axis=1, keepdims=True)


def describe(resized: Resized, source: Any, target: Any, names: Iterable[str] | None = None) -> str:
    """A sentence about what was fitted how, for the first lines of a run."""
    count = len(list(names if names is not None else resized.arrays))
    if isinstance(target, BoTNetConfig):
        return (
            f"{count} tables of relative positions were interpolated from images of {source.image_size} pixels a side "
            f"to {target.image_size}, which is an approximation"
        )
    sizes = f"{_words(source.grid)} to {_words(target.grid)} patches"
    if POSITIONS in resized.arrays:
        return f"the position embeddings were interpolated from {sizes}"
    if resized.way == BLOCK_DIAGONAL:
        parts = resized.factor**2
        return (
            f"{count} arrays of token mixing were expanded from {sizes}, block-diagonal: each of the {parts} parts of "
            "the image is mixed as the smaller image was, and apart from the others until training joins them"
        )
    exact = ""
    factor = whole_factor(source.grid, target.grid)
    if factor and _token_mixing(source) == "mlp":
        exact = (
            f"; exact for each of the {factor} x {factor} parts of the image would be tokens_mlp_dim = "
            f"{factor**2 * source.tokens_mlp_dim}"
        )
    return f"{count} arrays of token mixing were interpolated from {sizes}, which is an approximation{exact}"


def _token_mixing(config: Any) -> str | None:
    """How a model of this configuration mixes tokens, where it has weights for that: "mlp" or "linear"; else None."""
    if isinstance(config, LinearMixerConfig):
        return LINEAR
    return config.tokens if isinstance(config, MixerConfig) and config.tokens in ("mlp", LINEAR) else None


def _words(grid: Grid) -> str:
    return f"{grid[0]} x {grid[1]}"
