"""Parameter groups, by name: with a learning rate or weight decay of their own, or frozen."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from tinymixer.errors import ConfigError, nearest
from tinymixer.optim.chunks import chunks_between
from tinymixer.options import checked_value
from tinymixer.parameters import Parameters

RULES = ("muon", "adamw")
LIMITS: dict[str, dict[str, Any]] = {
    "learning_rate_factor": {"minimum": 0},
    "weight_decay": {"minimum": 0},
    "rule": {"choices": RULES},
}


@dataclass(frozen=True)
class ParameterGroup:
    """How the optimizer treats the parameters whose names match a pattern. The first group that matches counts.

    pattern                as for file names: "head.*", "*.bias", "blocks.[01].*" (a * matches dots, too)
    learning_rate_factor   multiplies the schedule's learning rate; None for 1
    weight_decay           used instead of the optimizer's; None for the optimizer's. Which of the weights decay is
                           decided by the optimizer's `decay`
    frozen                 the parameters do not change; the gradient norm and clipping leave their gradients out
    rule                   for the optimizer Muon: "muon" or "adamw"; None leaves the choice to the optimizer

    Raises ConfigError for values of the wrong type or out of range, and for a frozen group with settings of its own.
    """

    pattern: str
    learning_rate_factor: float | None = None
    weight_decay: float | None = None
    frozen: bool = False
    rule: str | None = None

    def __post_init__(self) -> None:
        for name, kind in (
            ("pattern", str),
            ("learning_rate_factor", float),
            ("weight_decay", float),
            ("frozen", bool),
            ("rule", str),
        ):
            value = getattr(self, name)
            if value is not None or name in ("pattern", "frozen"):
                object.__setattr__(self, name, checked_value(name, value, kind, LIMITS.get(name, {})))
        if self.frozen and (self.learning_rate_factor, self.weight_decay, self.rule) != (None, None, None):
            raise ConfigError(
                f"the group '{self.pattern}' is frozen, so it takes neither learning_rate_factor nor weight_decay nor "
                "rule"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those that are not set; `from_dict` takes them."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a group of plain values. Raises ConfigError for an unknown field or a missing pattern."""
        names = list(cls.__dataclass_fields__)
        for name in values:
            if name not in names:
                raise ConfigError(f"a parameter group has no field '{name}'.{nearest(name, names)}")
        if "pattern" not in values:
            raise ConfigError("a parameter group needs a pattern of names, such as pattern = 'head.*'")
        return cls(**values)


@dataclass(frozen=True)
class Segment:
    """A slice of the flat vectors with one learning-rate factor and one weight decay.

    matrix   the name of the one parameter in it, where the rule needs that as a matrix; None where the rule works
             element by element
    """

    start: int
    stop: int
    learning_rate_factor: float
    weight_decay: float
    matrix: str | None = None

    @property
    def span(self) -> slice:
        return slice(self.start, self.stop)

    def chunks(self) -> Iterator[slice]:
        return chunks_between(self.start, self.stop)

    def continues(self, other: "Segment") -> bool:
        """Whether it begins where `other` ends, and both are updated alike, element by element."""
        alike = (self.learning_rate_factor, self.weight_decay) == (other.learning_rate_factor, other.weight_decay)
        return self.matrix is None and other.matrix is None and self.start == other.stop and alike


@dataclass(frozen=True)
class Setting:
    """How one parameter is updated.

    matrix   whether the rule updates it as a whole matrix (Muon), not element by element
    """

    learning_rate_factor: float
    weight_decay: float
    matrix: bool


def segments_of(
    parameters: Parameters,
    groups: Sequence[ParameterGroup],
    weight_decay: float,
    decay: str,
    updates_matrix: Callable[[str, tuple[int, ...], str | None], bool],
) -> list[Segment]:
    """The segments of the flat vectors to update, in order.

    weight_decay, decay   the optimizer's
    updates_matrix        whether the optimizer updates a parameter as a matrix, from its name, shape and group's rule

    Raises ConfigError for a pattern that matches no name, for a group whose parameters all belong to earlier groups,
    for a group with weight decay in which no parameter decays, and where everything is frozen.
    """
    _require_groups(parameters, groups)
    chosen = {name: _group_of(name, groups) for name in parameters.names}
    segments: list[Segment] = []
    for name, group in chosen.items():
        span, group = parameters.span_of(name), group or ParameterGroup("*")
        matrix = name if updates_matrix(name, parameters.shape(name), group.rule) else None
        if group.frozen:
            continue
        factor = 1.0 if group.learning_rate_factor is None else group.learning_rate_factor
        strength = weight_decay if group.weight_decay is None else group.weight_decay
        segment = Segment(span.start, span.stop, factor, strength, matrix)
        if segments and segment.continues(segments[-1]):
            segments[-1] = dataclasses.replace(segments[-1], stop=span.stop)
        else:
            segments.append(segment)
    if not segments:
        raise ConfigError("all parameters are frozen, so there is nothing to train: free some of them")
    _require_decaying(parameters, groups, chosen, decay)
    return segments


def decays(shape: tuple[int, ...], decay: str) -> bool:
    """Whether weights of that shape decay: "matrices" (neither biases nor LayerNorm's scale), "all" or "none"."""
    return decay == "all" or (decay == "matrices" and len(shape) >= 2)


def _group_of(name: str, groups: Sequence[ParameterGroup]) -> ParameterGroup | None:
    return next((group for group in groups if fnmatchcase(name, group.pattern)), None)


def _require_groups(parameters: Parameters, groups: Sequence[ParameterGroup]) -> None:
    """Raise ConfigError for a group that no parameter belongs to."""
    for index, group in enumerate(groups):
        if not isinstance(group, ParameterGroup):
            raise ConfigError(f"groups expects ParameterGroup objects, got {type(group).__name__}")
        matching = [name for name in parameters.names if fnmatchcase(name, group.pattern)]
        earlier = {_group_of(name, groups[:index]) for name in matching}
        if not matching:
            raise ConfigError(f"no parameter's name fits the pattern '{group.pattern}'.{_hint(parameters, group)}")
        if None not in earlier:
            taken = " and ".join(sorted(f"'{other.pattern}'" for other in earlier if other is not None))
            raise ConfigError(
                f"the group '{group.pattern}' comes too late: all its parameters fall into {taken} before it. "
                "Put the narrower pattern first"
            )


def _hint(parameters: Parameters, group: ParameterGroup) -> str:
    """A hint at what was meant: a buffer, which is not trained, or the nearest name or pattern of a part."""
    if any(fnmatchcase(name, group.pattern) for name in parameters.buffer_names):
        return " It fits buffers alone, which are not trained"
    parts = {name.rsplit(".", level)[0] + ".*" for name in parameters.names for level in range(1, name.count(".") + 1)}
    return nearest(group.pattern, [*parameters.names, *sorted(parts)])


def _require_decaying(
    parameters: Parameters, groups: Sequence[ParameterGroup], chosen: Mapping[str, ParameterGroup | None], decay: str
) -> None:
    """Raise ConfigError for a group with weight decay in which no parameter decays."""
    for group in groups:
        names = [name for name, its_group in chosen.items() if its_group == group]
        if group.weight_decay and not any(decays(parameters.shape(name), decay) for name in names):
            raise ConfigError(
                f"the group '{group.pattern}' has weight_decay {group.weight_decay:g}, but with decay = '{decay}' none "
                "of its parameters decays: use decay = 'all'"
            )
