"""A recipe: all settings of a training run, as one value that can be read, changed and written.

Recipes are TOML files with the sections of `tinymixer.training.options`, a [model] section for the configuration of
one architecture, and perhaps [[groups]] of parameters. A few come with the package (`recipe_names()`); anyone can
write more.
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from tinymixer.borders import guarded, read_text, shown_path
from tinymixer.data import Augmentation, Dataset
from tinymixer.data.manifest import DATASETS, load_manifest
from tinymixer.errors import ConfigError, nearest
from tinymixer.models import MixerConfig, architectures, config_class
from tinymixer.models.presets import find_preset
from tinymixer.models.sizing import sizes_like
from tinymixer.optim import ParameterGroup
from tinymixer.options import Options, checked_value, plain_value
from tinymixer.text import printable
from tinymixer.training.options import (
    DataOptions,
    FineTuningOptions,
    OptimizerOptions,
    ScheduleOptions,
    TrainingOptions,
)
from tinymixer.training.own_model import OwnConfig
from tinymixer.training.recipe_fields import SECTIONS, find_field, parse, section_fields, unknown_field, unknown_section

TITLES = ("name", "description")
DESCRIPTION_TABLE = "data_description"  # the table in a run's config.toml that holds the `DataDescription`
LARGEST_FILE = 1_000_000  # bytes of a recipe
RATES = ("dropout", "drop_path")  # fields of a model that are not sizes: always the recipe's own
FROM_DATA = ("image_size", "in_channels", "num_classes")  # model fields that a recipe may leave out: the data sets them


@dataclass(frozen=True)
class Recipe:
    """A training run. Raises ConfigError where fields contradict each other.

    architecture   the model's registered name, or "module:Class" for a user's own model
    model          its configuration
    from_data      names of model fields that the recipe leaves out; `fitted_to` takes them from the data, and until
                   then `model` holds placeholder values
    size_note      a sentence about sizes that `with_overrides` chose for another architecture; it is not written
    groups         groups of parameters, by patterns of their names, with settings of their own
    """

    name: str = "custom"
    description: str = ""
    architecture: str = "mlp_mixer"
    model: Any = field(default_factory=MixerConfig)
    data: DataOptions = field(default_factory=DataOptions)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    fine_tuning: FineTuningOptions = field(default_factory=FineTuningOptions)
    groups: tuple[ParameterGroup, ...] = ()
    from_data: tuple[str, ...] = ()
    size_note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for title in TITLES:
            object.__setattr__(self, title, printable(getattr(self, title)))
        training, optimizer, schedule = self.training, self.optimizer, self.schedule
        if schedule.warmup_epochs > training.epochs and not (training.steps or training.seconds):
            raise ConfigError(
                f"'warmup_epochs' ({schedule.warmup_epochs:g}) is more than the run's 'epochs' ({training.epochs}): "
                "choose a shorter warm-up, or more epochs"
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
        if training.patience and not self.data.validation_share:
            raise ConfigError(
                "'patience' needs validation images to judge epochs by: choose a 'validation_share' above 0"
            )
        if "image_size" not in self.from_data:
            self.augmentation.check(self.model.image_size, self.model.image_size)

    # ----------------------------------------------------------------------------------------------- reading, writing

    def values(self) -> dict[str, Any]:
        """Every field of every section by its qualified name, such as "model.hidden_dim"."""
        tables = {"model": {"architecture": self.architecture} | self.model.to_dict()}
        tables |= {section: getattr(self, section).to_dict() for section in SECTIONS}
        return {f"{section}.{name}": value for section, table in tables.items() for name, value in table.items()}

    def to_dict(self) -> dict[str, Any]:
        """Name, description and one dictionary per section, as in the TOML file."""
        sizes = {name: value for name, value in self.model.to_dict().items() if name not in self.from_data}
        tables: dict[str, Any] = {"name": self.name, "description": self.description}
        tables["model"] = {"architecture": self.architecture} | sizes
        tables |= {section: getattr(self, section).to_dict() for section in SECTIONS}
        if self.groups:
            tables["groups"] = [group.to_dict() for group in self.groups]
        return tables

    def to_toml(self, more: Mapping[str, Any] | None = None) -> str:
        """The whole recipe as TOML text, every default written out. Raises ConfigError without the package tomli-w.

        more   further tables to write after the recipe
        """
        try:
            import tomli_w
        except ImportError as error:
            raise ConfigError("writing a recipe needs the package tomli-w: pip install tomli-w") from error
        return tomli_w.dumps(self.to_dict() | dict(more or {}))

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any], source: str = "the recipe") -> "Recipe":
        """Build a recipe from the tables of a TOML file; missing fields get their defaults.

        Raises ConfigError, naming `source`, for an unknown section or field and for a value of the wrong kind.
        """
        parts: dict[str, Any] = {}
        for section, table in tables.items():
            if section in TITLES:
                parts[section] = checked_value(section, table, str, {})
            elif section == "groups":
                parts["groups"] = _groups(table, source)
            elif section not in ("model", *SECTIONS, DESCRIPTION_TABLE):
                raise ConfigError(unknown_section(section, source))
            elif not isinstance(table, Mapping):
                raise ConfigError(f"'{section}' in {source} is a section: write [{section}] and its fields below it")
            elif section in SECTIONS:
                parts[section] = _build_section(section, SECTIONS[section], table, source)
        model = tables.get("model", {})
        return cls(**parts, **_model_parts(model if isinstance(model, Mapping) else {}, source))

    @classmethod
    def from_toml(cls, text: str, source: str = "the recipe") -> "Recipe":
        """Read a recipe from TOML text. Raises ConfigError for text that is not TOML, and where `from_dict` does."""
        return cls.from_dict(read_toml(text, source), source)

    # ------------------------------------------------------------------------------------------------------- changing

    def with_overrides(self, overrides: Mapping[str, Any]) -> "Recipe":
        """This recipe with some fields replaced. Text is converted to the field's type; None leaves a field unchanged.

        A field is given by its qualified name ("model.hidden_dim"), or by its short name where only one section has it.
        Dashes may replace underscores, as on the command line. `architecture` replaces [model] by that architecture,
        with the width at which it has about as many parameters (`size_note` says which) and the other fields that both
        have, or by a published size such as "S/16". Where its width is given, the sizes that both have stay, too.
        Raises ConfigError for an unknown field or a value that does not fit.
        """
        changes: dict[str, dict[str, Any]] = {}
        for given_name, value in overrides.items():
            found = find_field(given_name.replace("-", "_"), given_name)
            if value is not None:
                parsed = parse(str(value), found.kind) if isinstance(value, str | Path) else plain_value(value)
                changes.setdefault(found.section, {})[found.name] = parsed
        replaced: dict[str, Any] = {}
        if "model" in changes:
            data = self.data.to_dict() | changes.get("data", {})
            fine_tuning = self.fine_tuning.to_dict() | changes.get("fine_tuning", {})
            replaced = self._changed_model(changes.pop("model"), data, fine_tuning["sizes_from"] == "weights")
        for section, new in changes.items():
            replaced[section] = _build_section(
                section, SECTIONS[section], getattr(self, section).to_dict() | new, "the recipe"
            )
        return dataclasses.replace(self, **replaced)

    def _changed_model(
        self, changes: dict[str, Any], data: Mapping[str, Any], sizes_from_weights: bool
    ) -> dict[str, Any]:
        own_images, size_note = data["dataset"] == "own", ""
        architecture = checked_value("architecture", changes.pop("architecture", self.architecture), str, {})
        stated = {name: value for name, value in self.model.to_dict().items() if name not in self.from_data}
        published = None if architecture in architectures() else find_preset(architecture)
        if published is not None:
            # Own pictures are resized to the published size; the images of a data set have the size that they have.
            sizes = {name: value for name, value in published.sizes.items() if own_images or name != "image_size"}
            architecture, changes = published.architecture, sizes | changes
            # What makes the recipe's model another network than the paper's (overlap, gated, ...) does not stay.
            stated = {name: value for name, value in stated.items() if name in (*FROM_DATA, *RATES)}
            if not own_images:
                stated.pop("image_size", None)
        if architecture != self.architecture:
            names = [info.name for info in config_class(architecture).field_infos()]
            stated = {name: value for name, value in stated.items() if name in names}
            if published is None and not sizes_from_weights:
                sizes, size_note = self._sizes_of(architecture, stated, changes, data)
                stated |= sizes
        parts = _model_parts({"architecture": architecture} | stated | changes, "the recipe")
        return parts | {"size_note": size_note}

    def _sizes_of(
        self, architecture: str, stated: Mapping[str, Any], changes: Mapping[str, Any], data: Mapping[str, Any]
    ) -> tuple[dict[str, Any], str]:
        """The sizes with which another architecture has about as many parameters as this model, and a sentence.

        stated, changes   fields of the new model: those that this one has too, and those that are given

        The sizes are empty where they cannot be chosen, and where the width is given.
        """
        kind = config_class(architecture)
        shape = self._image_shape(data) | {name: changes[name] for name in FROM_DATA if name in changes}
        target = getattr(_with_fields(self.model, shape), "parameter_count", 0)
        shared = {**stated, **{name: value for name, value in shape.items() if name in section_fields(kind)}}
        sizes = sizes_like(kind, target, given=changes, shared=shared) if target else None
        if sizes is None:
            return {}, ""
        new: Any = kind.from_dict({**shared, **sizes, **changes})
        named = ", ".join(f"{name} {value}" for name, value in sizes.items())
        return sizes, (
            f"{architecture} gets {named}: with {new.parameter_count:,} parameters it is nearest in size to the "
            f"recipe's {self.architecture}, which has {target:,} (--{next(iter(sizes)).replace('_', '-')} sets another)"
        )

    def _image_shape(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The fields in `from_data` as far as they are known before the images are: of a data set that has a name."""
        known = {}
        if data["dataset"] in DATASETS and not data["data"]:
            manifest = load_manifest(data["dataset"])
            classes = len(manifest.class_names)
            known = {"image_size": manifest.image_size, "in_channels": manifest.channels, "num_classes": classes}
        return {name: known.get(name, getattr(self.model, name)) for name in self.from_data}

    def fitted_to(self, dataset: Dataset) -> "Recipe":
        """This recipe with the fields in `from_data` (image_size, in_channels, num_classes) set from the data.

        Raises ConfigError where the recipe states another value than the data has, and where the batch is too large.
        """
        found = {
            "image_size": dataset.image_size,
            "in_channels": dataset.in_channels,
            "num_classes": dataset.num_classes,
        }
        for name, value in found.items():
            stated = getattr(self.model, name, value)
            if name not in self.from_data and stated != value:
                raise ConfigError(
                    f"the recipe has {name} = {stated}, but the data set '{dataset.name}' needs {name} = {value}: "
                    f"leave {name} out of the recipe, and it is taken from the data"
                )
        values = {name: found[name] for name in self.from_data}
        model = type(self.model).from_dict(self.model.to_dict() | values) if values else self.model
        return dataclasses.replace(self, model=model, from_data=())

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """The fields in which two recipes differ: qualified name -> (value here, value in the other)."""
        ours, theirs = self.values() | {"groups": self.groups}, other.values() | {"groups": other.groups}
        return {
            name: (ours.get(name), theirs.get(name)) for name in ours | theirs if ours.get(name) != theirs.get(name)
        }


def _with_fields(options: Any, changes: Mapping[str, Any]) -> Any:
    """Options with other values in some fields; as they are where the values do not fit."""
    try:
        return type(options).from_dict(options.to_dict() | changes)
    except ConfigError:
        return options


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    files = resources.files("tinymixer").joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load one of the package's recipes by name, or a user's own by the path of its TOML file.

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
    recipe = Recipe.from_dict(read_toml_file(path), str(path))
    return recipe if recipe.name != Recipe.name else dataclasses.replace(recipe, name=path.stem)


def read_toml_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError when it cannot be read."""
    return read_toml(read_text(path, ConfigError, LARGEST_FILE, utf16=True), shown_path(path))


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The tables of TOML text. Raises ConfigError for text that is not TOML."""
    if len(text) > LARGEST_FILE:
        raise ConfigError(f"{source} has {len(text):,} characters, far more than a recipe has")
    with guarded(ConfigError, f"{source} is not valid TOML"):
        return tomllib.loads(text)


def _build_section(section: str, options: type[Options], table: Mapping[str, Any], source: str) -> Any:
    """Check the names of one section's fields, then let the section check the values."""
    own = section_fields(options)
    for name in table:
        if name not in own:
            raise ConfigError(unknown_field(name, section, own, source))
    return options(**table)


def _model_parts(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    """architecture, model and from_data, from the [model] section of a recipe."""
    values = dict(table)
    architecture = checked_value("architecture", values.pop("architecture", "mlp_mixer"), str, {})
    if ":" in architecture:
        return {"architecture": architecture, "model": OwnConfig(values)}
    if architecture not in architectures():
        raise ConfigError(
            f"unknown architecture '{architecture}' in {source}: expected one of {', '.join(architectures())}."
            f"{nearest(architecture, architectures())}"
        )
    options = config_class(architecture)
    own = section_fields(options)
    for name in values:
        if name not in own:
            others = [other for other in architectures() if name in section_fields(config_class(other))]
            if others:
                raise ConfigError(f"'{name}' in {source} is not a field of {architecture}: {', '.join(others)} has it")
            raise ConfigError(unknown_field(name, "model", own, source))
    missing = tuple(name for name in FROM_DATA if name in own and name not in values)
    if "image_size" in missing and "patch_size" in own:  # a placeholder that the patches divide
        patch = checked_value("patch_size", values.get("patch_size", own["patch_size"].default), int, {"minimum": 1})
        values["image_size"] = patch * max(1, 32 // patch)
    return {"architecture": architecture, "model": options(**values), "from_data": missing}


def _groups(tables: Any, source: str) -> tuple[ParameterGroup, ...]:
    if not isinstance(tables, Iterable) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(f"'groups' in {source} are tables: write [[groups]] and pattern = \"...\" below it")
    return tuple(ParameterGroup.from_dict(table) for table in tables)
