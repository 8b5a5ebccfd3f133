"""The fields of recipes by name: qualified ("optimizer.momentum"), or short where only one section has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinymixer.data import Augmentation
from tinymixer.errors import ConfigError, nearest
from tinymixer.models import PRESETS, architectures, config_class
from tinymixer.options import FieldInfo, Options
from tinymixer.training.options import (
    DataOptions,
    FineTuningOptions,
    OptimizerOptions,
    ScheduleOptions,
    TrainingOptions,
)

SECTIONS: dict[str, type[Options]] = {
    "data": DataOptions,
    "augmentation": Augmentation,
    "optimizer": OptimizerOptions,
    "schedule": ScheduleOptions,
    "training": TrainingOptions,
    "fine_tuning": FineTuningOptions,
}
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class RecipeField:
    """One field of a recipe, with what a command line or a form needs to show it. `kind` is bool, int, float or str."""

    name: str
    section: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...]

    @property
    def qualified(self) -> str:
        return f"{self.section}.{self.name}"


def section_fields(options: type[Options]) -> dict[str, FieldInfo]:
    """The declared fields of a section by name."""
    return {info.name: info for info in options.field_infos()}


def recipe_fields() -> dict[str, RecipeField]:
    """Every field of every section, and of every model, by qualified name, in the order of the file."""
    names = tuple(architectures())
    help = (
        "Which model to train. Another than the recipe's gets the width at which it has about as many parameters, "
        "unless its width is given; a published size, such as S/16, sets all its sizes."
    )
    fields = [RecipeField("architecture", "model", str, "mlp_mixer", help, (*names, *PRESETS))]
    for architecture in ("mlp_mixer", *(name for name in names if name != "mlp_mixer")):
        fields += [_field(info, "model") for info in config_class(architecture).field_infos()]
    for section, options in SECTIONS.items():
        fields += [_field(info, section) for info in options.field_infos()]
    by_name: dict[str, RecipeField] = {}
    for entry in fields:
        by_name.setdefault(entry.qualified, entry)
    return by_name


def _field(info: FieldInfo, section: str) -> RecipeField:
    return RecipeField(info.name, section, info.kind, info.default, info.help, info.choices)


def short_names() -> dict[str, list[RecipeField]]:
    """short name -> the fields that have it."""
    fields: dict[str, list[RecipeField]] = {}
    for entry in recipe_fields().values():
        fields.setdefault(entry.name, []).append(entry)
    return fields


def find_field(name: str, given_name: str) -> RecipeField:
    """Find a field by its qualified or short name. Raises ConfigError for an unknown or ambiguous name."""
    qualified, short = recipe_fields(), short_names()
    if name in qualified:
        return qualified[name]
    if name not in short:
        raise ConfigError(f"unknown recipe field '{given_name}'.{nearest(name, [*short, *qualified])}")
    if len(short[name]) > 1:
        choices = " or ".join(entry.qualified for entry in short[name])
        raise ConfigError(f"'{given_name}' could be {choices}: write which one you mean")
    return short[name][0]


def parse(text: str, kind: type) -> Any:
    """Convert text to a value; text that cannot be converted is returned as it is, and `checked_value` refuses it."""
    if kind is bool and text.lower() in TRUE_WORDS + FALSE_WORDS:
        return text.lower() in TRUE_WORDS
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def unknown_section(section: str, source: str) -> str:
    found = short_names().get(section)
    if found:
        return f"'{section}' in {source} belongs in the section [{found[0].section}]"
    expected = ("model", *SECTIONS)
    return f"unknown section [{section}] in {source}: expected {', '.join(expected)}.{nearest(section, expected)}"


def unknown_field(name: str, section: str, own: Mapping[str, Any], source: str) -> str:
    found = short_names().get(name)
    if found:
        return f"'{name}' in {source} belongs in the section [{found[0].section}], not [{section}]"
    return f"unknown recipe field '{name}' in [{section}] of {source}.{nearest(name, own)}"
