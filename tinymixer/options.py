"""One way to declare what can be chosen: a dataclass whose fields carry their help text and their bounds.

A configuration, a section of a recipe and an augmentation are all `Options`: each field is declared once with
`option(...)`, checked when the object is made, and read by the command line and by TOML files from the same place.
"""

import dataclasses
import math
import numbers
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tinymixer.errors import ConfigError, nearest
from tinymixer.text import readable_number, shown_value

LARGEST = 2**63 - 1  # of a whole number, as in TOML
LONGEST_TEXT = 2_000  # characters, a path's included
KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare one field: its default (which also tells its kind), its help text and the values it may take.

    minimum and maximum are allowed values; the value must be greater than above and less than below.
    """
    metadata = {
        "help": help, "choices": choices, "minimum": minimum, "maximum": maximum, "above": above, "below": below,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=metadata)


def plain_value(value: Any) -> Any:
    """A NumPy scalar as the Python number, truth value or text that it stands for; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def checked_value(name: str, value: Any, kind: type, metadata: Mapping[str, Any]) -> Any:
    """The value as a plain bool, int, float or str of the field's kind, if it is within the field's bounds.

    A whole number serves where a number is expected, and NumPy's scalars serve like Python's. Raises ConfigError,
    naming the field, for anything else.
    """
    value = plain_value(value)
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"'{name}' expects {KIND_NAMES[kind]} of at most 18 digits, got {readable_number(value)}")
    if kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"'{name}' expects {KIND_NAMES[kind]}, got {shown_value(value)}")
    if isinstance(value, str) and (len(value) > LONGEST_TEXT or "\0" in value):
        raise ConfigError(
            f"'{name}' expects at most {LONGEST_TEXT:,} characters without a zero byte, got {shown_value(value)}"
        )
    choices = metadata.get("choices", ())
    if choices and value not in choices:
        raise ConfigError(
            f"'{name}' expects one of {', '.join(choices)}, got {shown_value(value)}."
            f"{nearest(str(value)[:100], choices)}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"'{name}' expects a finite number, got {shown_value(value)}")
    for bound, fits, words in BOUNDS:
        limit = metadata.get(bound)
        if limit is not None and not fits(value, limit):
            raise ConfigError(f"'{name}' expects {words.format(limit)}, got {shown_value(value)}")
    return value


BOUNDS: tuple[tuple[str, Any, str], ...] = (
    ("minimum", lambda value, limit: value >= limit, "{} or more"),
    ("maximum", lambda value, limit: value <= limit, "{} or less"),
    ("above", lambda value, limit: value > limit, "more than {}"),
    ("below", lambda value, limit: value < limit, "less than {}"),
)


@dataclass(frozen=True)
class FieldInfo:
    """One declared field, as a command line, a form or a table would present it. `kind` is bool, int, float or str."""

    name: str
    kind: type
    default: Any
    help: str
    metadata: Mapping[str, Any]

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.metadata.get("choices", ()))


@dataclass(frozen=True)
class Options:
    """A frozen dataclass that checks its own fields. Subclasses declare them with `option`, and `require_consistent`
    checks how the fields fit each other.
    """

    noun: ClassVar[str] = "options"  # what an error calls it

    def __post_init__(self) -> None:
        for info in self.field_infos():
            value = checked_value(info.name, getattr(self, info.name), info.kind, info.metadata)
            object.__setattr__(self, info.name, value)
        self.require_consistent()

    def require_consistent(self) -> None:
        """Raise ConfigError where two fields contradict each other."""

    @classmethod
    def field_infos(cls) -> Iterator[FieldInfo]:
        """The declared fields, in their order."""
        for entry in dataclasses.fields(cls):
            yield FieldInfo(entry.name, type(entry.default), entry.default, entry.metadata["help"], entry.metadata)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from names and values. Raises ConfigError for an unknown name, suggesting the nearest."""
        names = [info.name for info in cls.field_infos()]
        for name in values:
            if name not in names:
                raise ConfigError(f"{cls.noun} has no field '{name}'.{nearest(name, names)}")
        return cls(**values)
