"""tinymixer sweep: trains a recipe with different values of some fields, and compares them by validation accuracy."""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from tinymixer.cli.live_bar import LiveBar
from tinymixer.cli.output import make_table, percent, print_table, tell
from tinymixer.cli.recipe_options import RecipeCommand, overrides_of
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.sweeps import Sweep, TrialRow
    from tinymixer.training import Recipe

SHOWN = 15  # rows of the table in a terminal
EARLY = {
    "none": "none is stopped early",
    "median": "those below the median are stopped early",
    "halving": "the best third goes on after epochs 1, 3, 9, ...",
}


@click.command(cls=RecipeCommand, short_help="Compare values of a recipe's fields by validation accuracy.")
@click.argument("recipe", required=False)
@click.option(
    "--grid", multiple=True, metavar="FIELD=A,B,...", help="Values of a field to try; all combinations are tried."
)
@click.option(
    "--search",
    multiple=True,
    metavar="FIELD=LOW..HIGH[:log]",
    help="A range of a field to search in (:log for learning rates); fields of --grid are then choices of the search.",
)
@click.option("--trials", type=click.IntRange(1), help="Trials of a search [default: 20]; more may be asked for later.")
@click.option(
    "--pruner",
    type=click.Choice(["median", "halving", "none"]),
    help="How lagging trials are stopped early: below the median, by successive halving, or not [default: median]",
)
@click.option(
    "--processes", type=click.IntRange(1, 256), default=1, show_default=True,
    help="Trials that run at once, each with its share of the threads.",
)  # fmt: skip
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder of the sweep; one that is there is continued [default: the first free of sweeps/RECIPE, ...]",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only the result.")
def sweep(
    recipe: str | None,
    grid: tuple[str, ...],
    search: tuple[str, ...],
    trials: int | None,
    pruner: str | None,
    processes: int,
    out: Path | None,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Train RECIPE once for each combination of values (--grid), or search in ranges (--search), and compare the trials
    by their accuracy on the validation images. No trial looks at a test image; the command that trains the best one,
    with its test at the end, is printed.

    The options of 'tinymixer train' change the recipe of all trials. Each trial is a run folder in the sweep's folder;
    table.csv, results.json, best.toml and sweep.png are written as trials end. Ctrl-C saves, and the same --out goes
    on: interrupted trials continue, finished ones stay. Several commands, also on other machines, may share a folder.

    \b
    Examples:
      tinymixer sweep digits --grid optimizer.learning_rate=1e-3,3e-3,1e-2 --grid model.hidden_dim=32,64
      tinymixer sweep cifar10-tiny --epochs 5 --search learning_rate=1e-4..1e-2:log --trials 30 --processes 2
      tinymixer sweep --out sweeps/cifar10-tiny                  (go on, or help)
      tinymixer sweep --out sweeps/cifar10-tiny --trials 50      (go on, and further)
    """
    from tinymixer.sweeps import begin_sweep, parse_grid, parse_search
    from tinymixer.sweeps.worker import run_in_processes

    fields = [*map(parse_grid, grid), *map(parse_search, search)]
    display = _display(quiet)
    begun = begin_sweep(recipe, overrides_of(overrides), fields, out, trials, pruner, display)
    if not quiet:
        _introduce(begun, processes)
    try:
        number = run_in_processes(begun, processes)
    finally:
        display.close()
    begun.write_results()
    _say_result(begun, quiet)
    if number is not None:
        raise Exit(128 + number)


def _display(quiet: bool) -> Any:
    """What shows the trials as they begin and end. Made here, so that other commands start without loading recipes."""
    from tinymixer.sweeps.plan import say_point
    from tinymixer.sweeps.sweep import SweepProgress

    class Display(LiveBar, SweepProgress):
        """A line for each trial that ends, and a live bar for the one that runs in this process."""

        def on_trial(self, row: "TrialRow") -> None:
            self.close()
            if row.has_ended and not quiet:
                tell(f"trial {row.number:<4} {row.state:<9} {percent(row.accuracy, 2):>8}   {say_point(row.values)}")
            if row.message and not quiet:
                tell(f"           {row.message}")

        def on_step(self, number: int, step: int, steps: int) -> None:
            if quiet or not sys.stderr.isatty():
                return
            if self.bar is None:
                from tqdm import tqdm

                form = "{desc} {percentage:3.0f}%|{bar}| {remaining} left"
                self.bar = tqdm(
                    total=steps, desc=f"trial {number}", bar_format=form, initial=step, leave=False, dynamic_ncols=True
                )
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self.bar.update(step - self.bar.n)

    return Display()


def _introduce(begun: "Sweep", processes: int) -> None:
    plan = begun.plan
    for field in plan.fields:
        tell(f"field    {field}")
    at_once = f", {processes} at a time" if processes > 1 else ""
    tell(f"trials   {plan.trials} of {_length_of(plan.recipe)}{at_once}; {EARLY[plan.pruner]}")
    tell(f"folder   {begun.folder} (Ctrl-C stops there and saves)\n")


def _length_of(recipe: "Recipe") -> str:
    training = recipe.training
    if training.seconds and not training.steps:
        return f"{training.seconds:g} seconds"
    return counted(training.steps, "step") if training.steps else counted(training.epochs, "epoch")


def _say_result(begun: "Sweep", quiet: bool) -> None:
    """Print the best trials, and the command that trains the winner."""
    from tinymixer.sweeps.results import best_of

    rows, folder = begun.rows(), begun.folder
    ended, best = [row for row in rows if row.has_ended], best_of(rows)
    if not quiet and ended:
        _print_trials(begun, ended)
    states = [row.state for row in rows]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    tell(
        f"{len(ended)} of {counted(len(rows), 'trial')} ended ({', '.join(counts)}): {folder / 'table.csv'}, sweep.png"
    )
    if len(ended) < len(rows):
        tell(f"go on    tinymixer sweep --out {shlex.quote(str(folder))}")
    if best is None:
        tell("no trial has finished, so there is no best one")
        return
    tell(f"best     trial {best.number}: validation accuracy {percent(best.accuracy, 2)}")
    tell(f"next     tinymixer train {shlex.quote(str(folder / 'best.toml'))}   (trains it, and tests it once)")


def _print_trials(begun: "Sweep", ended: "list[TrialRow]") -> None:
    names = [field.name for field in begun.plan.fields]
    table = make_table(["trial", *(name.split(".")[-1] for name in names), "validation", "epochs", "seconds", "state"])
    ordered = sorted(ended, key=lambda row: (row.state != "finished", -(row.accuracy or 0.0), row.number))
    for row in ordered[:SHOWN]:
        values = [f"{value:.5g}" if isinstance(value, float) else str(value) for value in row.values.values()]
        seconds = "-" if row.seconds is None else f"{row.seconds:.1f}"
        table.add_row(str(row.number), *values, percent(row.accuracy, 2), str(row.epochs), seconds, row.state)
    print_table(table)
    if len(ordered) > SHOWN:
        tell(f"... and {len(ordered) - SHOWN} more in the table")
