"""What a sweep compares, as its file `sweep.toml` keeps it."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinymixer.borders import shown_path
from tinymixer.data import Dataset
from tinymixer.errors import ConfigError
from tinymixer.files import replacing
from tinymixer.sweeps.fields import SweptField, grid_points
from tinymixer.training.build import fit_recipe, load_data, require_batch
from tinymixer.training.recipe import Recipe, read_toml_file

FORMAT = 1
PRUNERS = ("median", "halving", "none")
USUAL_TRIALS = 20  # of a search
MOST_TRIALS = 10_000
LENGTHS = ("training.epochs", "training.steps", "training.seconds")
CHANGES_THE_IMAGES = ("data.", "model.image_size", "model.architecture", "training.seed")  # beginnings of names


@dataclass(frozen=True)
class SweepPlan:
    """The recipe, the fields that differ between trials, and how trials are chosen and stopped early.

    trials        how many there are: all combinations where each field is a grid, else as many as were asked for
    pruner        which trials are stopped early: "median" stops one whose best validation accuracy so far is below the
                  median of the finished trials' at that epoch, "halving" keeps the best third at epochs 1, 3, 9, ...
                  (asynchronous successive halving), "none" stops none
    fingerprint   of the training images, so that no process takes others; "" where they differ between trials
    """

    recipe: Recipe
    fields: tuple[SweptField, ...]
    trials: int
    pruner: str = "median"
    fingerprint: str = ""

    @classmethod
    def make(cls, recipe: Recipe, fields: Sequence[SweptField], trials: int | None, pruner: str) -> "SweepPlan":
        """A plan, checked as far as that can be done without the images.

        trials   None takes all combinations of a grid, and 20 for a search

        Raises ConfigError where there is nothing to compare, a field is named twice, there are no validation images, or
        a value does not fit the recipe.
        """
        if not fields:
            raise ConfigError(
                "a sweep needs fields to change: --grid FIELD=VALUE,VALUE or --search FIELD=LOW..HIGH, as often as "
                "there are fields"
            )
        names = [field.name for field in fields]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{name} is given twice: list all its values in one --grid")
        if pruner not in PRUNERS:
            raise ConfigError(f"the pruner is one of {', '.join(PRUNERS)}, got '{pruner}'")
        if not recipe.data.validation_share:
            raise ConfigError(
                "a sweep compares its trials by their validation accuracy, and this recipe holds back no validation "
                "images: choose a validation_share above 0"
            )
        combinations = math.prod(len(field.values) for field in fields)
        if any(field.is_range for field in fields):
            combinations = trials or USUAL_TRIALS
        elif trials is not None and trials != combinations:
            raise ConfigError(f"--trials belongs to --search: a grid runs each of its {combinations} combinations once")
        if combinations > MOST_TRIALS:
            raise ConfigError(f"a sweep has at most {MOST_TRIALS:,} trials, and this one {combinations:,}")
        if not set(LENGTHS).isdisjoint(names):
            pruner = "none"  # at the same epoch, runs of different length are not comparable
        plan = cls(recipe, tuple(fields), combinations, pruner)
        for point in plan.points_to_check():
            plan.recipe_of(point)
        return plan

    @property
    def is_search(self) -> bool:
        return any(field.is_range for field in self.fields)

    @property
    def shares_images(self) -> bool:
        """Whether all trials train on the same images, which then are loaded once."""
        return not any(field.name.startswith(CHANGES_THE_IMAGES) for field in self.fields)

    def points(self) -> Iterator[dict[str, Any]]:
        """The combinations of a grid, by qualified name; for a search none, since they are chosen as it goes on."""
        return iter(()) if self.is_search else grid_points(self.fields)

    def points_to_check(self) -> Iterator[dict[str, Any]]:
        """Every combination of a grid; of a search each choice and each end of a range, alone."""
        if not self.is_search:
            yield from self.points()
            return
        for field in self.fields:
            yield from ({field.name: value} for value in field.extremes)

    def recipe_of(self, point: Mapping[str, Any]) -> Recipe:
        """The recipe of one trial. Raises ConfigError, naming the values, where they do not fit."""
        try:
            return self.recipe.with_overrides(point)
        except ConfigError as error:
            raise ConfigError(f"{error} (in the trial with {say_point(point)})") from error

    def with_images(self) -> tuple["SweepPlan", Dataset]:
        """This plan with the images' fingerprint, and the images, held against every point that can be checked.

        Raises ConfigError where the data leave no validation images or do not fit a trial, DataError where there are
        none.
        """
        dataset = without_test(load_data(self.recipe))
        training, validation = dataset.split(self.recipe.data.validation_share, self.recipe.training.seed)
        if not len(validation):
            raise ConfigError(
                f"a validation_share of {self.recipe.data.validation_share:g} of the {len(dataset.train_images)} "
                f"training images of '{dataset.name}' is no image of any class: choose a larger one"
            )
        for point in self.points_to_check() if self.shares_images else ():
            try:
                fitted = fit_recipe(self.recipe_of(point), dataset, None)
                require_batch(fitted, dataset, len(training))
            except ConfigError as error:
                raise ConfigError(f"{error} (in the trial with {say_point(point)})") from error
        fingerprint = dataset.fingerprint if self.shares_images else ""
        return self.fingerprinted(fingerprint), dataset

    def fingerprinted(self, fingerprint: str) -> "SweepPlan":
        """This plan, for the training images of that fingerprint."""
        return dataclasses.replace(self, fingerprint=fingerprint)

    def write(self, path: Path) -> None:
        """Write sweep.toml: the recipe's tables, and one named sweep."""
        table = {
            "format": FORMAT,
            "trials": self.trials,
            "pruner": self.pruner,
            "fingerprint": self.fingerprint,
            "fields": [field.to_dict() for field in self.fields],
        }
        with replacing(path) as file:
            file.write(self.recipe.to_toml({"sweep": table}).encode())

    @classmethod
    def read(cls, path: Path) -> "SweepPlan":
        """Read sweep.toml. Raises ConfigError where it is damaged or of a newer format."""
        tables, name = read_toml_file(path), shown_path(path)
        table = tables.pop("sweep", None)
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise ConfigError(f"{name} is not the plan of a sweep that this version of tinymixer can read")
        trials, pruner, fields = table.get("trials"), table.get("pruner"), table.get("fields")
        fingerprint = table.get("fingerprint", "")
        if (
            type(trials) is not int
            or not 0 < trials <= MOST_TRIALS
            or pruner not in PRUNERS
            or not isinstance(fields, list)
            or type(fingerprint) is not str
        ):
            raise ConfigError(f"{name} is damaged: its table [sweep] does not say trials, pruner and fields")
        try:
            swept = tuple(SweptField.from_dict(field) for field in fields)
        except ConfigError as error:
            raise ConfigError(f"{name} is damaged: {error}") from error
        return cls(Recipe.from_dict(tables, name), swept, trials, pruner, fingerprint)


def without_test(dataset: Dataset) -> Dataset:
    """The data set with no test images: a trial that gets it cannot look at one."""
    return dataclasses.replace(dataset, test_images=dataset.test_images[:0], test_labels=dataset.test_labels[:0])


def say_point(point: Mapping[str, Any]) -> str:
    """Values by name, as text: "optimizer.learning_rate = 0.001, model.hidden_dim = 64"."""
    shown = (f"{value:.5g}" if isinstance(value, float) else str(value) for value in point.values())
    return ", ".join(f"{name} = {value}" for name, value in zip(point, shown, strict=True))
