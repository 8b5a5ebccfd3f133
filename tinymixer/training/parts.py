"""Parts of a model by name, as a recipe's [fine_tuning] section gives them: frozen, or with another learning rate."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tinymixer.errors import ConfigError, nearest
from tinymixer.optim import ParameterGroup
from tinymixer.parameters import Parameters
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.training.recipe import Recipe


def parts_of(text: str) -> list[str]:
    """The parts in a text such as "stem, blocks.0"."""
    return [part.strip() for part in text.split(",") if part.strip()]


def factors_of(text: str) -> dict[str, float]:
    """Part -> factor, from a text such as "stem=0.1, head=10". Raises ConfigError for anything else."""
    factors = {}
    for item in parts_of(text):
        part, sign, number = item.partition("=")
        try:
            factors[part.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign or not part.strip() or not 0 <= factors[part.strip()] < float("inf"):
            raise ConfigError(
                f"'learning_rate_factors' expects parts and factors such as stem=0.1,head=10, got '{item}'"
            )
    return factors


def groups_of(recipe: "Recipe", names: Sequence[str]) -> list[ParameterGroup]:
    """The parameter groups of a run: its frozen parts (with the whitened stem's weight), those with a factor, then the
    recipe's own groups.

    names   of the model's parameters

    A group of the recipe all of whose parameters are frozen is left out. Raises ConfigError for a part that no
    parameter belongs to, for a factor of a part that is frozen, and for one of parameters that a group of the recipe
    sets too: only the first group of a parameter counts, so its other settings would be lost.
    """
    options = recipe.fine_tuning
    frozen = [ParameterGroup(pattern_of(part, names), frozen=True) for part in parts_of(options.freeze)]
    whitened = ParameterGroup("stem.weight", frozen=True)
    if getattr(recipe.model, "whitened_stem", False) and _left(whitened, frozen, names):
        frozen.append(whitened)
    factors: Mapping[str, float] = factors_of(options.learning_rate_factors)
    rated = []
    for part, factor in factors.items():
        group = ParameterGroup(pattern_of(part, names), learning_rate_factor=factor)
        if not _left(group, frozen, names):
            raise ConfigError(f"'{part}' is frozen, so it has no learning rate: leave it out of learning_rate_factors")
        for other in recipe.groups:
            both = [name for name in names if _fits(name, group) and _fits(name, other)]
            if any(not any(_fits(name, earlier) for earlier in frozen) for name in both):
                raise ConfigError(
                    f"learning_rate_factors names '{part}', and the recipe's group '{other.pattern}' sets {both[0]} "
                    "too: give that group a learning_rate_factor instead"
                )
        rated.append(group)
    return [*frozen, *rated, *(group for group in recipe.groups if _counts(group, frozen, names))]


def pattern_of(part: str, names: Sequence[str]) -> str:
    """The pattern of names for a part: "blocks.0" means "blocks.0.*"; a pattern of names stays as it is.

    Raises ConfigError where no parameter's name fits.
    """
    for pattern in (part, f"{part}.*"):
        if any(fnmatchcase(name, pattern) for name in names):
            return pattern
    parts = {name.rsplit(".", level)[0] for name in names for level in range(1, name.count(".") + 1)}
    raise ConfigError(
        f"the model has no part '{part}': name one such as stem, blocks.0 or head.{nearest(part, sorted(parts))}"
    )


def frozen_words(groups: Sequence[ParameterGroup], parameters: Parameters) -> str:
    """A sentence that says which parts are frozen, and how many parameters these are; "" where none is.

    The first group that matches a name counts.
    """
    frozen = [group.pattern for group in groups if group.frozen]
    if not frozen:
        return ""
    count = sum(math.prod(parameters.shape(name)) for name in _frozen_names(groups, parameters.names))
    words = f"frozen: {', '.join(frozen)}, {count:,} of {parameters.count:,} parameters, which do not change"
    layers = _frozen_statistics(groups, parameters)
    return words + (f"; the statistics of {counted(len(layers), 'layer')} stay as they are, too" if layers else "")


def keep_frozen_statistics(groups: Sequence[ParameterGroup], parameters: Parameters) -> None:
    """Let layers with buffers (batch norm) whose parameters are all frozen compute with the buffers that they have.

    Otherwise such a part would change all the same: its running statistics would follow the new images.
    """
    parameters.keep_constant(_frozen_statistics(groups, parameters))


def _frozen_statistics(groups: Sequence[ParameterGroup], parameters: Parameters) -> list[str]:
    """The names of the layers with buffers whose parameters are all frozen."""
    frozen = _frozen_names(groups, parameters.names)
    layers = dict.fromkeys(name.rpartition(".")[0] for name in parameters.buffer_names)
    own = {layer: [name for name in parameters if name.rpartition(".")[0] == layer] for layer in layers}
    return [layer for layer, names in own.items() if names and frozen.issuperset(names)]


def _frozen_names(groups: Sequence[ParameterGroup], names: Sequence[str]) -> set[str]:
    """The names whose first matching group is frozen."""
    first = {name: next((group for group in groups if fnmatchcase(name, group.pattern)), None) for name in names}
    return {name for name, group in first.items() if group is not None and group.frozen}


def _counts(group: ParameterGroup, earlier: Sequence[ParameterGroup], names: Sequence[str]) -> bool:
    """Whether a group of the recipe has parameters left; one that fits no name is kept, for the optimizer to refuse."""
    return _left(group, earlier, names) or not any(_fits(name, group) for name in names)


def _left(group: ParameterGroup, earlier: Sequence[ParameterGroup], names: Sequence[str]) -> bool:
    """Whether a parameter of the group belongs to none of the earlier groups."""
    own = [name for name in names if _fits(name, group)]
    return any(not any(_fits(name, other) for other in earlier) for name in own)


def _fits(name: str, group: ParameterGroup) -> bool:
    return fnmatchcase(name, group.pattern)
