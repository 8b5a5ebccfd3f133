"""Fine-tuning: starts a run from trained weights, as a recipe's section [fine_tuning] says.

The weights are fitted to the run's model in this order: the stem to its patch size and colours, token mixing to its
grid of patches, the head (left out where the classes are others, or new), and every other array by name and shape.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError
from tinymixer.files import Say
from tinymixer.models import Model, architecture_of, architectures
from tinymixer.models.resolution import (
    TOKEN_ARRAY,
    Resized,
    describe,
    resize_stem,
    resize_tokens,
    seen_at_once,
    whole_factor,
)
from tinymixer.training.options import FineTuningOptions
from tinymixer.training.own_model import OwnConfig
from tinymixer.training.recipe import FROM_DATA, RATES, Recipe
from tinymixer.training.starting_weights import StartingWeights, weights_to_begin_with

SCRATCH = "none"  # the value of `init_from` that starts from random weights
NAMED = 6  # arrays that a sentence names; of the others it gives the number
HEAD = "head."  # how the names of a head's arrays begin
SIZES = (
    *("hidden_dim", "num_blocks", "tokens", "tokens_mlp_dim", "channels_mlp_dim"),
    *("untied_groups", "grouped_channels", "heads", "pool"),
)
FITTED_SIZES = (
    "num_tokens",
    "patch_size",
    "overlap",
    "in_channels",
)  # arrays are fitted to these where that is possible


def choose_start(recipe: Recipe, init_from: str | Path | None, has_weights: bool) -> StartingWeights | None:
    """Load the weights that a run starts from; None where it starts from scratch, or with weights that it has.

    init_from     the user's choice; None takes the recipe's `init_from`, unless the model has weights already

    Raises CheckpointError where there are no such weights.
    """
    if init_from is None:
        init_from = SCRATCH if has_weights else recipe.fine_tuning.init_from
    return None if str(init_from) == SCRATCH else weights_to_begin_with(init_from)


def start_with(
    model: Model, weights: StartingWeights | None, recipe: Recipe, class_names: Sequence[str], say: Say, asked: bool
) -> Recipe:
    """Load the weights into a new run's model; return the recipe with `init_from` as it was carried out.

    asked   whether the user chose the weights, which then must fit. Those that a recipe names are a suggestion: where
            the model was given other sizes, the run starts from scratch, and a sentence says so.

    Raises ConfigError where weights that must fit do not fit at all.
    """
    options, source = recipe.fine_tuning, SCRATCH
    if weights is not None:
        if asked or options.sizes_from == "weights" or _whole_body_fits(model, weights, options):
            begin_with(model, weights, say, options, class_names)
            source = weights.source
        else:
            say(
                f"starts from scratch: {weights.source}, which the recipe suggests, does not fit this model"
                f"{_other_sizes(weights.config, model.config)}"
            )
    return dataclasses.replace(recipe, fine_tuning=dataclasses.replace(options, init_from=source))


def begin_with(
    model: Model,
    weights: StartingWeights,
    say: Say,
    options: FineTuningOptions | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Load the arrays whose name and shape the model has; `say` names the other arrays on both sides.

    class_names   the model's classes: where the weights have others, their head is not loaded. None does not compare.

    The stem is fitted to another patch size or to grey images, token mixing to another grid of patches
    (`models/resolution.py`), and `say` tells how. Where all arrays are loaded as they are, something is
    said of averaged weights alone.

    Raises ConfigError where no array fits, where the weights' self-attention has another number of heads (its arrays
    would fit, and mean something else), and for a new head where the model has no array "head....".
    """
    options = options or FineTuningOptions()
    _require_same_heads(weights, model.config)
    own = model.parameters.to_numpy()
    given, stem, resized = _fitted(weights, model.config, options)
    if options.new_head:
        heads = [name for name in own if name.startswith(HEAD)]
        if not heads:
            raise ConfigError("new_head: this model has no part called 'head'")
        own |= {name: np.zeros_like(own[name]) for name in heads}
    others = None not in (class_names, weights.class_names) and tuple(class_names or ()) != weights.class_names
    if options.new_head or others:
        given = {name: array for name, array in given.items() if not name.startswith(HEAD)}
    taken = _fitting(given, own)
    kinds = weights.architecture, architecture_of(model)
    bodies = [[name for name in names if not name.startswith(HEAD)] for names in (own, taken)]
    if not taken or (bodies[0] and not bodies[1]):
        sizes = (
            "fine-tuning needs the same hidden_dim, tokens_mlp_dim and channels_mlp_dim"
            if kinds[0] == kinds[1] == "mlp_mixer"
            else f"it holds a {kinds[0]}, and this is a {kinds[1]}; fine-tuning needs the same model of the same width"
        )
        raise ConfigError(
            f"no array of {weights.source} has the name and the shape of one of this model's (the head's do not count)"
            f': {sizes}; sizes_from = "weights" takes all sizes from the weights'
        )
    model.parameters.load(own | taken)
    statistics = model.parameters.buffers_to_numpy()
    model.parameters.load_buffers(statistics | _fitting(weights.buffers, statistics))
    left = {name for name in [*own, *weights.parameters] if name not in taken}
    if options.new_head:
        left = {name for name in left if not name.startswith(HEAD)}
    if left or stem or resized.way or options.new_head or weights.averaged:
        drawn = [name for name in own if name in left]
        unused = [name for name in weights.parameters if name in left]
        kind = "averaged weights" if weights.averaged else "weights"
        of = f" (a {kinds[0]}; this is a {kinds[1]})" if kinds[0] != kinds[1] else ""
        words = [f"starts from the {kind} of {weights.source}{of}: {_count(len(taken), len(own))} loaded{stem}"]
        words += ["the head is new and starts at zero"] if options.new_head else []
        words += [f"newly initialised: {_named(drawn)}"] if drawn else []
        words += [f"not used: {_named(unused)}"] if unused else []
        scratch = " (--init-from none starts from scratch)" if options.sizes_from == "recipe" else ""
        say("; ".join(words) + scratch)
    if resized.way:
        say(describe(resized, weights.config, model.config, taken.keys() & resized.arrays.keys()))


def sized_like(recipe: Recipe, weights: StartingWeights | None) -> Recipe:
    """The recipe with the architecture and the sizes of the weights that the run starts from.

    The rates of dropout and stochastic depth stay the recipe's, and so do image size, channels and classes where it
    states them. Raises ConfigError without weights, for a model that is not one of tinymixer's, and where the recipe
    states another size than the weights have.
    """
    if weights is None:
        raise ConfigError(
            f"the recipe '{recipe.name}' takes the model's sizes from the weights that it starts from: say which, "
            "--init-from RUN (the folder of a run, a checkpoint, published weights, or first-mixer)"
        )
    if weights.architecture not in architectures() or isinstance(weights.config, OwnConfig):
        raise ConfigError(
            f"{weights.source} holds a {weights.architecture}, which is not one of tinymixer's models: build it and "
            "pass it in, Trainer(..., model=MyModel(config))"
        )
    if recipe.architecture not in (Recipe.architecture, weights.architecture):
        raise ConfigError(
            f"the recipe is for a {recipe.architecture}, and {weights.source} holds a {weights.architecture}: choose "
            'other weights, or take architecture and sizes from the recipe with sizes_from = "recipe"'
        )
    asked, sizes = recipe.model.to_dict(), weights.config.to_dict()
    kept = {name: asked[name] for name in RATES if name in asked and name in sizes}
    kept |= {name: asked[name] for name in FROM_DATA if name in asked and name not in recipe.from_data}
    defaults = {info.name: info.default for info in type(recipe.model).field_infos()}
    for name, value in asked.items():
        if name not in (*kept, *FROM_DATA, *RATES) and value not in (defaults[name], sizes.get(name)):
            raise ConfigError(
                f"the recipe has {name} = {value}, and {weights.source} has {sizes.get(name, 'no such field')}: leave "
                'it out, or take all sizes from the recipe with sizes_from = "recipe"'
            )
    config = type(weights.config).from_dict(sizes | kept)
    return dataclasses.replace(recipe, architecture=weights.architecture, model=config)


def widened_for(recipe: Recipe, weights: StartingWeights, say: Say) -> Recipe:
    """The recipe with token mixing K*K times as wide where its images are K times as large a side as the weights'.

    That is what the paper does (Mixer, appendix C). `say` tells the sizes.
    """
    sizes, source = recipe.model, weights.config
    factor = whole_factor(source.grid, sizes.grid) if hasattr(sizes, "grid") and hasattr(source, "grid") else 0
    if factor and recipe.fine_tuning.resize_tokens == "auto" and getattr(sizes, "tokens", "") == "mlp":
        wide = sizes.to_dict() | {"tokens_mlp_dim": factor**2 * source.tokens_mlp_dim}
        sizes = type(sizes).from_dict(wide)
    named = {name: value for name, value in sizes.to_dict().items() if name not in (*FROM_DATA, *RATES)}
    say(f"the model has the sizes of {weights.source}: {', '.join(f'{name} {value}' for name, value in named.items())}")
    return dataclasses.replace(recipe, model=sizes)


def _fitted(
    weights: StartingWeights, config: Any, options: FineTuningOptions
) -> tuple[Mapping[str, np.ndarray], str, Resized]:
    """The weights' arrays with stem and token mixing fitted to a configuration: arrays, words on the stem, Resized."""
    before = weights.config
    arrays, words = dict(weights.parameters), ""
    stem = resize_stem(arrays["stem.weight"], before, config) if "stem.weight" in arrays else None
    if stem is not None:
        arrays["stem.weight"] = stem
        patches = [
            f"{size} x {size} in {'grey' if channels == 1 else 'colour'}"
            for size, channels in ((each.patch_size, each.in_channels) for each in (before, config))
        ]
        words = f" (the stem fitted from patches of {' to '.join(patches)})"
    if seen_at_once(before) != seen_at_once(config):  # S*G may agree all the same, and the weights mean something else
        arrays = {name: array for name, array in arrays.items() if not TOKEN_ARRAY.fullmatch(name)}
    resized = resize_tokens(arrays, before, config, options.resize_tokens, other_patches=stem is not None)
    return arrays | dict(resized.arrays), words, resized


def _fitting(given: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The given arrays that `own` has by name and shape."""
    return {name: array for name, array in given.items() if name in own and own[name].shape == array.shape}


def _require_same_heads(weights: StartingWeights, config: Any) -> None:
    theirs, ours = (
        getattr(each, "heads", None) if getattr(each, "tokens", "attention") == "attention" else None
        for each in (weights.config, config)
    )
    if None not in (theirs, ours) and theirs != ours:
        raise ConfigError(
            f"{weights.source} has {theirs} heads of self-attention, and this model {ours}: its weights mean something "
            f"with {theirs} alone. Add --heads {theirs}, or start from scratch with --init-from none"
        )


def _whole_body_fits(model: Model, weights: StartingWeights, options: FineTuningOptions) -> bool:
    """Whether model and fitted weights have the same arrays of the same shapes, but for the head's."""
    try:
        fitted = _fitted(weights, model.config, options)[0]
    except ConfigError:  # there is no way to fit them (grouped_channels)
        return False
    shapes = [
        {name: array.shape for name, array in arrays.items() if not name.startswith(HEAD)}
        for arrays in (model.parameters.to_numpy(), fitted)
    ]
    return shapes[0] == shapes[1]


def _other_sizes(theirs: Any, ours: Any) -> str:
    """The sizes in which two configurations differ, such as ": it has num_blocks 4, not 2"."""
    if type(theirs) is not type(ours):
        return ": it is another kind of model"
    for names in (SIZES, FITTED_SIZES):
        pairs = {name: (getattr(theirs, name, None), getattr(ours, name, None)) for name in names}
        differing = [f"{name} {one}, not {other}" for name, (one, other) in pairs.items() if one != other]
        if differing:
            return f": it has {'; '.join(differing)}"
    return ""


def _count(number: int, of_all: int) -> str:
    return f"all {of_all} arrays are" if number == of_all else f"{number} of {of_all} arrays are"


def _named(names: Sequence[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return ", ".join(names)
