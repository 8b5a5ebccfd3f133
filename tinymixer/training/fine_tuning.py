"""Fine-tuning: starts a run from trained weights, those of another run or those that come with the package."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError
from tinymixer.files import Say
from tinymixer.models import Model
from tinymixer.training.checkpoint import Checkpoint
from tinymixer.training.loading import read_checkpoint
from tinymixer.training.recipe import Recipe

NAMED = 6  # arrays that a sentence names; of the others it gives the number
SIZES = ("num_tokens", "hidden_dim", "num_blocks", "tokens", "tokens_mlp_dim", "channels_mlp_dim")
SCRATCH = "none"  # the value of `init_from` that starts from random weights


def start_weights(
    model: Model, recipe: Recipe, source: str | Path | None, class_names: Sequence[str], say: Say
) -> Recipe:
    """Load the weights that a new run starts from; return the recipe with `init_from` as it was carried out.

    source   the user's choice, which must fit; None takes the recipe's `init_from`. That one is a suggestion: where
             the model was given other sizes, the run starts from scratch, and a sentence says so.

    Raises CheckpointError where there are no such weights, ConfigError where the user's choice does not fit at all.
    """
    chosen = str(recipe.training.init_from if source is None else source)
    if chosen != SCRATCH:
        checkpoint = read_checkpoint(chosen)[0]
        if source is not None or _whole_body_fits(model, checkpoint):
            begin_with(model, checkpoint, chosen, say, class_names)
        else:
            say(
                f"starts from scratch: {chosen}, which the recipe suggests, does not fit this model"
                f"{_other_sizes(checkpoint.recipe.model, model.config)}"
            )
            chosen = SCRATCH
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, init_from=chosen))


def begin_with(
    model: Model, checkpoint: Checkpoint, source: str | Path, say: Say, class_names: Sequence[str] | None = None
) -> None:
    """Load the checkpoint's arrays whose name and shape the model has; `say` names the other arrays on both sides.

    class_names   the model's classes: where the checkpoint has others, its head is not loaded. None does not compare.

    The stem is fitted to another patch size or to grey images (`fitted_stem`). Raises ConfigError where nothing fits.
    """
    own = model.parameters.to_numpy()
    offered, fitted = _offered(model, checkpoint)
    if class_names is not None and checkpoint.data and tuple(class_names) != tuple(checkpoint.data.class_names):
        offered = {name: array for name, array in offered.items() if not name.startswith("head.")}
    taken = {name: array for name, array in offered.items() if name in own and own[name].shape == array.shape}
    if not taken:
        raise ConfigError(
            f"no array of {source} has the name and the shape of one of this model's: fine-tuning needs the same "
            "hidden_dim, tokens_mlp_dim, channels_mlp_dim and number of patches"
        )
    model.parameters.load(own | taken)
    if {name: array.shape for name, array in checkpoint.buffers.items()} == {
        name: array.shape for name, array in model.parameters.buffers_to_numpy().items()
    }:
        model.parameters.load_buffers(checkpoint.buffers)
    drawn = [name for name in own if name not in taken]
    unused = [name for name in checkpoint.parameters if name not in taken]
    if drawn or unused or fitted:
        say(
            f"starts from the weights of {source}: {len(taken)} of {len(own)} arrays are loaded{fitted}; newly "
            f"initialised: {_named(drawn)}; not used: {_named(unused)} (--init-from none starts from scratch)"
        )


def fitted_stem(weight: np.ndarray, before: Any, after: Any) -> np.ndarray | None:
    """The stem's weight (P*P*channels, C) for patches that are a whole number of times as large, or for grey images.

    before, after   the two models' configurations, with patch_size and in_channels

    Each pixel's weight is repeated over the k x k pixels that take its place and divided by k^2, so the new stem
    computes what the old one does on the image reduced k times. For grey images the weights of the colours are added,
    since a grey picture has the same value in all three. Returns None for other changes.
    """
    old, new = before.patch_size, after.patch_size
    channels = before.in_channels, after.in_channels
    if new % old or channels not in ((3, 1), (after.in_channels,) * 2):
        return None
    times = new // old
    pixels = weight.reshape(old, old, channels[0], -1)  # (P, P, channels, C)
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1) / times**2
    if channels == (3, 1):
        pixels = pixels.sum(axis=2, keepdims=True)
    return pixels.reshape(-1, weight.shape[1]).astype(weight.dtype)


def _offered(model: Model, checkpoint: Checkpoint) -> tuple[Mapping[str, np.ndarray], str]:
    """The checkpoint's arrays with the stem fitted to the model, and words that say how it was."""
    before, after = checkpoint.recipe.model, model.config
    sizes = [(getattr(each, "patch_size", None), getattr(each, "in_channels", None)) for each in (before, after)]
    weight = checkpoint.parameters.get("stem.weight")
    if weight is None or sizes[0] == sizes[1] or None in sizes[0] + sizes[1]:
        return checkpoint.parameters, ""
    stem = fitted_stem(weight, before, after)
    if stem is None:
        return checkpoint.parameters, ""
    patches = [f"{size} x {size} in {'grey' if channels == 1 else 'colour'}" for size, channels in sizes]
    return {**checkpoint.parameters, "stem.weight": stem}, f" (the stem fitted from patches of {' to '.join(patches)})"


def _whole_body_fits(model: Model, checkpoint: Checkpoint) -> bool:
    """Whether the two models have the same arrays of the same shapes, but for the head's."""
    shapes = [
        {name: array.shape for name, array in arrays.items() if not name.startswith("head.")}
        for arrays in (model.parameters.to_numpy(), _offered(model, checkpoint)[0])
    ]
    return shapes[0] == shapes[1]


def _other_sizes(theirs: Any, ours: Any) -> str:
    """The sizes in which two configurations differ, such as ": it has num_blocks 4, not 2"."""
    pairs = {name: (getattr(theirs, name, None), getattr(ours, name, None)) for name in SIZES}
    differing = [f"{name} {one}, not {other}" for name, (one, other) in pairs.items() if one != other]
    return f": it has {'; '.join(differing)}" if differing else ""


def _named(names: list[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return ", ".join(names) or "none"
