"""Fine-tuning: starts a run from trained weights, those of another run or those that come with the package."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer import pretrained
from tinymixer.errors import ConfigError
from tinymixer.files import Say
from tinymixer.models import Model, architecture_of, architectures
from tinymixer.models.resolution import describe, resize_tokens, whole_factor
from tinymixer.pretrained.catalogue import entries
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint
from tinymixer.training.loading import find_weights, recommended_checkpoint
from tinymixer.training.options import FineTuningOptions
from tinymixer.training.own_model import OwnConfig
from tinymixer.training.recipe import FROM_DATA, Recipe
from tinymixer.training.weights import is_run

NAMED = 6  # arrays that a sentence names; of the others it gives the number
HEAD = "head."  # how the names of a head's arrays begin
RATES = ("dropout", "drop_path")  # fields of a model that are no sizes: always the recipe's


@dataclass(frozen=True)
class StartingWeights:
    """Trained weights that a run may begin with.

    source         where they come from, for messages
    architecture   the model's registered name, or "module:Class"
    config         its configuration
    """

    source: str
    architecture: str
    config: Any
    parameters: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, checkpoint: Checkpoint, source: str | Path) -> "StartingWeights":
        """The weights of a checkpoint."""
        recipe = checkpoint.recipe
        return cls(str(source), recipe.architecture, recipe.model, checkpoint.parameters, checkpoint.buffers)


def weights_to_begin_with(source: str | Path) -> StartingWeights:
    """Load a run folder's recommended checkpoint, a checkpoint file, or published weights (a file, or a fetched name).

    Raises CheckpointError where there is none, or it cannot be used.
    """
    if not is_run(source) and (Path(source).exists() or str(source) in entries()):
        loaded = pretrained.load_weights(source, backend="numpy")
        parameters = loaded.parameters
        return StartingWeights(
            str(source),
            architecture_of(loaded.model),
            loaded.config,
            parameters.to_numpy(),
            parameters.buffers_to_numpy(),
        )
    path = find_weights(source)
    return StartingWeights.of(load_checkpoint(recommended_checkpoint(path)[0] if path.is_dir() else path), source)


def begin_with(model: Model, weights: StartingWeights, say: Say, options: FineTuningOptions | None = None) -> None:
    """Load the arrays whose name and shape the model has; `say` names the other arrays on both sides.

    A model for other classes therefore starts with all weights except the head's. Token mixing is fitted to images of
    another size (`models/resolution.py`), unless the options say otherwise, and `say` tells how.

    Raises ConfigError where no array fits, and for a new head where the model has no array "head....".
    """
    options = options or FineTuningOptions()
    own = model.parameters.to_numpy()
    resized = resize_tokens(weights.parameters, weights.config, model.config, options.resize_tokens)
    given = dict(weights.parameters) | dict(resized.arrays)
    if options.new_head:
        heads = [name for name in own if name.startswith(HEAD)]
        if not heads:
            raise ConfigError("new_head: this model has no part called 'head'")
        own |= {name: np.zeros_like(own[name]) for name in heads}
        given = {name: array for name, array in given.items() if not name.startswith(HEAD)}
        say("the head is new and begins at zero")
    taken = {name: array for name, array in given.items() if name in own and own[name].shape == array.shape}
    if not taken:
        raise ConfigError(
            f"no array of {weights.source} has the name and the shape of one of this model's: fine-tuning needs the "
            "same hidden_dim, tokens_mlp_dim, channels_mlp_dim, patch_size and number of patches; "
            'sizes_from = "weights" takes the model\'s sizes from them'
        )
    model.parameters.load(own | taken)
    if {name: array.shape for name, array in weights.buffers.items()} == {
        name: array.shape for name, array in model.parameters.buffers_to_numpy().items()
    }:
        model.parameters.load_buffers(weights.buffers)
    if resized.way:
        say(describe(resized, weights.config, model.config, taken.keys() & resized.arrays.keys()))
    drawn = [name for name in own if name not in taken and not (options.new_head and name.startswith(HEAD))]
    unused = [name for name in given if name not in taken]
    if drawn or unused:
        say(
            f"{len(taken)} of {len(own)} arrays begin as in {weights.source}; drawn anew: {_named(drawn)}; "
            f"not used: {_named(unused)}"
        )


def sized_like(recipe: Recipe, weights: StartingWeights | None) -> Recipe:
    """The recipe with the architecture and the sizes of the weights that the run begins with.

    The rates of dropout and stochastic depth stay the recipe's, and so do image size, channels and classes where it
    states them. Raises ConfigError without weights, for a model that is not one of tinymixer's, and where the recipe
    states another size than the weights have.
    """
    if weights is None:
        raise ConfigError(
            f"the recipe '{recipe.name}' takes the model's sizes from the weights that it begins with: say which, "
            "--init-from RUN (the folder of a run, a checkpoint, or first-mixer)"
        )
    if weights.architecture not in architectures() or isinstance(weights.config, OwnConfig):
        raise ConfigError(
            f"{weights.source} holds a {weights.architecture}, which is not one of tinymixer's models: build it and "
            "hand it over, Trainer(..., model=MyModel(config))"
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


def _named(names: list[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return ", ".join(names) or "none"
