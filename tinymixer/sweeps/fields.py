"""The fields that a sweep changes: a few values to choose from (a grid), or a range to search in."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tinymixer.errors import ConfigError
from tinymixer.training.recipe_fields import find_field, parse

GRID_FORM = "FIELD=VALUE,VALUE,..., such as optimizer.learning_rate=1e-3,2e-3"
RANGE_FORM = "FIELD=LOW..HIGH, or LOW..HIGH:log, such as optimizer.learning_rate=1e-4..1e-2:log"
# All trials are judged by the same validation images.
NOT_SWEPT = ("data.dataset", "data.data", "data.validation_share", "data.test_share")
COMMA = re.compile(r",(?![^()]*\))")  # not within parentheses: rand_augment(2, 9) is one value


@dataclass(frozen=True)
class SweptField:
    """One field of a recipe by its qualified name, and what a sweep may set it to.

    values      the choices; empty for a range
    low, high   the ends of a range, both possible; None for choices
    log         whether a range is searched evenly in the logarithm
    """

    name: str
    values: tuple[Any, ...] = ()
    low: Any = None
    high: Any = None
    log: bool = False

    @property
    def is_range(self) -> bool:
        return not self.values

    @property
    def extremes(self) -> tuple[Any, ...]:
        """All choices, or both ends of the range."""
        return self.values or (self.low, self.high)

    def to_dict(self) -> dict[str, Any]:
        """As a table of TOML."""
        if self.is_range:
            return {"field": self.name, "low": self.low, "high": self.high, "log": self.log}
        return {"field": self.name, "values": list(self.values)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """From such a table. Raises ConfigError where it is damaged."""
        if not isinstance(table, Mapping) or type(table.get("field")) is not str:
            raise ConfigError("expected a table with 'field', the name of a recipe's field")
        name = _swept_name(table["field"])
        if isinstance(table.get("values"), list):
            return cls(name, tuple(table["values"]))
        low, high, log = table.get("low"), table.get("high"), table.get("log", False)
        _require_range(name, low, high, log is True)
        return cls(name, (), low, high, log is True)

    def __str__(self) -> str:
        if self.is_range:
            return f"{self.name} = {self.low:g}..{self.high:g}{':log' if self.log else ''}"
        return f"{self.name} = {', '.join(map(str, self.values))}"


def parse_grid(text: str) -> SweptField:
    """Read "FIELD=VALUE,VALUE,...". Raises ConfigError for an unknown field, and for values of another kind."""
    name, given = _divided(text, "--grid", GRID_FORM)
    kind = find_field(name, name).kind
    values = [_value(name, part.strip(), kind) for part in COMMA.split(given)]
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"--grid {name} has the value {value} twice")
    return SweptField(name, tuple(values))


def parse_search(text: str) -> SweptField:
    """Read "FIELD=LOW..HIGH" or "FIELD=LOW..HIGH:log".

    Raises ConfigError for an unknown field, one that holds no number, and a range that is empty or cannot be searched.
    """
    name, given = _divided(text, "--search", RANGE_FORM)
    kind = find_field(name, name).kind
    if kind not in (int, float):
        raise ConfigError(
            f"--search needs a field that holds a number, and {name} does not: list its values with --grid"
        )
    ends, _, scale = given.partition(":")
    low_text, dots, high_text = ends.partition("..")
    if not dots or scale not in ("", "log"):
        raise ConfigError(f"--search expects {RANGE_FORM}; got '{text}'")
    low, high = (_value(name, part.strip(), kind) for part in (low_text, high_text))
    _require_range(name, low, high, scale == "log")
    return SweptField(name, (), low, high, scale == "log")


def grid_points(fields: Sequence[SweptField]) -> Iterator[dict[str, Any]]:
    """Every combination of the fields' values, the last field's changing fastest."""
    for values in itertools.product(*(field.values for field in fields)):
        yield {field.name: value for field, value in zip(fields, values, strict=True)}


def _divided(text: str, option: str, form: str) -> tuple[str, str]:
    """The qualified name of the field, and what is given for it."""
    name, equals, given = text.partition("=")
    if not equals or not name.strip() or not given.strip():
        raise ConfigError(f"{option} expects {form}; got '{text}'")
    return _swept_name(name.strip()), given.strip()


def _swept_name(given: str) -> str:
    name = find_field(given.replace("-", "_"), given).qualified
    if name in NOT_SWEPT:
        raise ConfigError(
            f"a sweep compares its trials on the same validation images, so {name} cannot differ between them"
        )
    return name


def _value(name: str, text: str, kind: type) -> Any:
    value = parse(text, kind)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        words = {int: "whole numbers", float: "numbers", bool: "true or false"}.get(kind, "text")
        raise ConfigError(f"{name} takes {words}, got '{text}'")
    return value


def _require_range(name: str, low: Any, high: Any, log: bool) -> None:
    if any(type(end) not in (int, float) or not math.isfinite(end) for end in (low, high)):
        raise ConfigError(f"the range of {name} needs two numbers, got {low!r} and {high!r}")
    if not low < high:
        raise ConfigError(f"the range of {name}, {low:g}..{high:g}, is empty: its first number must be the smaller one")
    if log and low <= 0:
        raise ConfigError(f"the range of {name}, {low:g}..{high:g}:log, must begin above 0, since 0 has no logarithm")
