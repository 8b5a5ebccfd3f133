"""A recipe: everything that decides how a training run goes, as one value that can be read, changed and written.

Recipes are TOML files with the sections of `tinymixer.training.options` and a [model] section for `MixerConfig`. A few
come with the package (`recipe_names()`); anyone can write more.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from tinymixer.data.augmentation import Augmentation
from tinymixer.errors import ConfigError, nearest
from tinymixer.models.mixer_config import MixerConfig
from tinymixer.options import Options, checked_value
from tinymixer.training.options import (
    DataOptions,
    OptimizerOptions,
    ScheduleOptions,
    TrainingOptions,
)

SECTIONS: dict[str, type[Options]] = {
    "model": MixerConfig,
    "data": DataOptions,
    "augmentation": Augmentation,
    "optimizer": OptimizerOptions,
    "schedule": ScheduleOptions,
    "training": TrainingOptions,
}
TITLES = ("name", "description")
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class RecipeField:
    """One field of a recipe, as a command line or a form would present it. `kind` is bool, int, float or str."""

    name: str
    section: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...]


def recipe_fields() -> dict[str, RecipeField]:
    """Every field of every section, by name, in the order of the file."""
    fields = {}
    for section, section_type in SECTIONS.items():
        for info in section_type.field_infos():
            fields[info.name] = RecipeField(info.name, section, info.kind, info.default, info.help, info.choices)
    return fields


@dataclass(frozen=True)
class Recipe:
    """A training run, fully resolved. Raises ConfigError where fields contradict each other."""

    name: str = "custom"
    description: str = ""
    model: MixerConfig = field(default_factory=MixerConfig)
    data: DataOptions = field(default_factory=DataOptions)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        training, optimizer, schedule = self.training, self.optimizer, self.schedule
        if schedule.warmup_epochs > training.epochs:
            raise ConfigError(
                f"'warmup_epochs' ({schedule.warmup_epochs:g}) is longer than the {training.epochs} epochs of the run: "
                "choose fewer of the one or more of the other"
            )
        if schedule.final_learning_rate > optimizer.learning_rate:
            raise ConfigError(
                f"'final_learning_rate' ({schedule.final_learning_rate:g}) is above 'learning_rate' "
                f"({optimizer.learning_rate:g}), which is the peak"
            )
        if training.micro_batches > training.batch_size:
            raise ConfigError(
                f"'micro_batches' ({training.micro_batches}) cannot exceed 'batch_size' ({training.batch_size})"
            )
        if optimizer.optimizer == "sgd" and optimizer.nesterov and optimizer.momentum == 0:
            raise ConfigError("'nesterov' needs a 'momentum' above 0")
        self.augmentation.check(self.model.image_size, self.model.image_size)

    def values(self) -> dict[str, Any]:
        """Every field of every section in one flat dictionary."""
        return {name: value for section in SECTIONS for name, value in self._section(section).items()}

    def to_dict(self) -> dict[str, Any]:
        """Name, description and one dictionary per section, as in the TOML file."""
        return {"name": self.name, "description": self.description} | {s: self._section(s) for s in SECTIONS}

    def _section(self, section: str) -> dict[str, Any]:
        return dataclasses.asdict(getattr(self, section))

    def to_toml(self) -> str:
        """The whole recipe as TOML text, every default written out. Raises ConfigError without the package tomli-w."""
        try:
            import tomli_w
        except ImportError as error:
            raise ConfigError("writing a recipe needs the package tomli-w: pip install 'tinymixer[cli]'") from error
        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any], source: str = "the recipe") -> "Recipe":
        """Build a recipe from the tables of a TOML file; what is left out gets its default.

        Raises ConfigError, naming `source`, for an unknown section or field and for a value of the wrong kind.
        """
        sections = {}
        for section, table in tables.items():
            if section in TITLES:
                checked_value(section, table, str, {})
                continue
            if section not in SECTIONS:
                raise ConfigError(_unknown_section(section, source))
            if not isinstance(table, Mapping):
                raise ConfigError(f"'{section}' in {source} is a section: write [{section}] and its fields below it")
            sections[section] = _build_section(section, table, source)
        return cls(**{title: tables[title] for title in TITLES if title in tables}, **sections)

    @classmethod
    def from_toml(cls, text: str, source: str = "the recipe") -> "Recipe":
        """Read a recipe from TOML text. Raises ConfigError for text that is not TOML, and as `from_dict`."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{source} is not valid TOML: {error}") from error
        return cls.from_dict(tables, source)

    def with_overrides(self, overrides: Mapping[str, Any]) -> "Recipe":
        """This recipe with some fields replaced; text is read as the field's kind, None leaves a field as it is.

        Dashes in names stand for underscores, as on the command line. Raises ConfigError for an unknown field or a
        value that does not fit.
        """
        fields = recipe_fields()
        changes: dict[str, dict[str, Any]] = {}
        for given_name, value in overrides.items():
            name = given_name.replace("-", "_")
            if name not in fields:
                raise ConfigError(f"unknown recipe field '{given_name}'.{nearest(name, fields)}")
            if value is not None:
                parsed = _parse(str(value), fields[name].kind) if isinstance(value, str | Path) else value
                changes.setdefault(fields[name].section, {})[name] = parsed
        replaced = {s: _build_section(s, self._section(s) | new, "the recipe") for s, new in changes.items()}
        return dataclasses.replace(self, **replaced)

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """The fields in which two recipes differ: name -> (value here, value in the other)."""
        theirs = other.values()
        return {name: (value, theirs[name]) for name, value in self.values().items() if value != theirs[name]}


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    files = resources.files("tinymixer").joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a recipe of the package by name, or one of the user's own by the path of its TOML file.

    Raises ConfigError when there is no such recipe, or when the file is not a valid one.
    """
    names = recipe_names()
    if str(name_or_path) in names:
        text = resources.files("tinymixer").joinpath("recipes", f"{name_or_path}.toml").read_text(encoding="utf-8")
        return Recipe.from_toml(text, f"recipe '{name_or_path}'")
    path = Path(name_or_path)
    if not path.is_file():
        raise ConfigError(
            f"there is no recipe '{name_or_path}': expected one of {', '.join(names)}, or the path of a TOML file."
            f"{nearest(str(name_or_path), names)}"
        )
    try:
        recipe = Recipe.from_toml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the recipe {path} cannot be read: {error}") from error
    return recipe if recipe.name != Recipe.name else dataclasses.replace(recipe, name=path.stem)


def _build_section(section: str, table: Mapping[str, Any], source: str) -> Any:
    """Check names and kinds of one section's fields, then let the section check the values."""
    own_fields = {name: entry for name, entry in recipe_fields().items() if entry.section == section}
    values = {}
    for name, value in table.items():
        if name not in own_fields:
            raise ConfigError(_unknown_field(name, section, own_fields, source))
        values[name] = value
    return SECTIONS[section](**values)


def _parse(text: str, kind: type) -> Any:
    """Read a value from text; text that cannot be read comes back as it is, for `checked_value` to refuse."""
    if kind is bool and text.lower() in TRUE_WORDS + FALSE_WORDS:
        return text.lower() in TRUE_WORDS
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _unknown_section(section: str, source: str) -> str:
    fields = recipe_fields()
    if section in fields:
        return f"'{section}' in {source} belongs into the section [{fields[section].section}]"
    return f"unknown section [{section}] in {source}: expected {', '.join(SECTIONS)}.{nearest(section, SECTIONS)}"


def _unknown_field(name: str, section: str, own_fields: Mapping[str, Any], source: str) -> str:
    all_fields = recipe_fields()
    if name in all_fields:
        return f"'{name}' in {source} belongs into the section [{all_fields[name].section}], not [{section}]"
    return f"unknown recipe field '{name}' in [{section}] of {source}.{nearest(name, own_fields)}"
