"""How long a run is: in steps, of which the last epoch may get a part."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinymixer.errors import ConfigError
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.training.recipe import Recipe

WAYS = ("epochs", "steps", "seconds")  # of saying how long a run is
LARGEST_WARMUP = 0.25  # share of a run whose length is given in steps or seconds


@dataclass(frozen=True)
class RunLength:
    """The length of a run.

    steps            of the whole run
    steps_per_epoch  of a whole epoch; where it does not divide `steps`, the last epoch is the rest
    """

    steps: int
    steps_per_epoch: int

    @classmethod
    def of(cls, recipe: "Recipe", steps_per_epoch: int) -> "RunLength":
        """The recipe's length: its steps where it gives them, else its epochs."""
        training = recipe.training
        return cls(training.steps or training.epochs * steps_per_epoch, steps_per_epoch)

    @property
    def epochs(self) -> int:
        """Epochs of the run, a last part of one included."""
        return -(-self.steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Steps of an epoch, counted from 0."""
        return max(0, min(self.steps_per_epoch, self.steps - epoch * self.steps_per_epoch))

    def steps_before(self, epoch: int) -> int:
        """Steps of the run before an epoch, counted from 0."""
        return self.steps if epoch == self.epochs else epoch * self.steps_per_epoch

    def __str__(self) -> str:
        """Such as "30 epochs of 45 steps", or "137 steps (1.37 epochs of 100 steps)"."""
        of = f"of {counted(self.steps_per_epoch, 'step')}"
        if self.steps % self.steps_per_epoch == 0:
            return f"{counted(self.epochs, 'epoch')} {of}"
        return f"{counted(self.steps, 'step')} ({self.steps / self.steps_per_epoch:.3g} epochs {of})"


def warmup_steps_of(recipe: "Recipe", length: RunLength) -> int:
    """Steps over which the learning rate rises.

    A warm-up in epochs was chosen for another length where the run's own is given in steps or seconds, so there it is
    shortened to `LARGEST_WARMUP` of the run at most. `shortened_warmup` says so.
    """
    steps = round(recipe.schedule.warmup_epochs * length.steps_per_epoch)
    in_steps = recipe.training.steps or recipe.training.seconds
    return min(steps, int(LARGEST_WARMUP * length.steps)) if in_steps else steps


def shortened_warmup(recipe: "Recipe", length: RunLength) -> str | None:
    """A sentence where the warm-up is shorter than the recipe says; else None."""
    asked, given = round(recipe.schedule.warmup_epochs * length.steps_per_epoch), warmup_steps_of(recipe, length)
    if given == asked:
        return None
    return (
        f"the warm-up takes {given} steps, not {asked} (warmup_epochs = {recipe.schedule.warmup_epochs:g}): at most a "
        f"quarter of the run's {length.steps} steps"
    )


def with_one_length(recipe: "Recipe", overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides for a new run, completed so that the length they give replaces the one that the recipe gives.

    Without that, `--epochs 5` would change nothing in a recipe of 900 seconds. Raises ConfigError where the overrides
    give two lengths.
    """
    found = {name: value for name, value in overrides.items() if value is not None}
    given = [way for way in WAYS if way in found or f"training.{way}" in found]
    if len(given) > 1:
        raise ConfigError(f"--{given[0]} and --{given[1]} both say how long the run is: give one of them")
    if not given or given == ["seconds"]:
        return dict(overrides) | ({"training.steps": 0} if given and recipe.training.steps else {})
    others = {f"training.{way}": 0 for way in WAYS[1:] if way not in given and getattr(recipe.training, way)}
    return dict(overrides) | others
