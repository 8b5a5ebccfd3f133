"""tinymixer train: from a recipe to a trained model in a run folder."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from tinymixer.cli.output import counted, percent, sparkline
from tinymixer.cli.recipe_options import RecipeCommand

if TYPE_CHECKING:
    from tinymixer.training.trainer import TrainingResult


@click.command(cls=RecipeCommand, short_help="Train a Mixer by a recipe (default: the bundled digits).")
@click.argument("recipe", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder of the run; without it, the first free of runs/RECIPE, runs/RECIPE-2, ...",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out, exactly where it stopped.")
@click.option("-q", "--quiet", is_flag=True, help="Print the result alone.")
@click.option("--print-recipe", is_flag=True, help="Print the recipe, overrides included, as TOML and stop.")
def train(
    recipe: str | None, out: Path | None, resume: bool, quiet: bool, print_recipe: bool, **overrides: Any
) -> None:
    """Train a Mixer by RECIPE: digits (the default), cifar10-nano, cifar10-tiny, or the path of a TOML file.

    Every field of the recipe can be overridden by the options below; what is not given is taken from the recipe. The
    run's folder holds config.toml, metrics.jsonl, best.npz, last.npz and curves.png. Ctrl-C finishes the step, saves,
    and says how to go on.

    \b
    Examples:
      tinymixer train
      tinymixer train cifar10-tiny --data cifar-10-binary.tar.gz
      tinymixer train cifar10-nano --epochs 5 --learning-rate 0.001 --out runs/short
      tinymixer train --out runs/short --resume
      tinymixer train digits --print-recipe > mine.toml
      tinymixer train mine.toml
    """
    from tinymixer.training.run_folder import resolve_recipe

    resolved = resolve_recipe(recipe, overrides, out, resume)
    if print_recipe:
        click.echo(resolved.to_toml(), nl=False)
        return

    from tinymixer.cli.progress import TrainingDisplay
    from tinymixer.training.trainer import Trainer

    display = TrainingDisplay(quiet)
    try:
        result = Trainer(resolved, out, progress=display, resume=resume).run()
    finally:
        display.close()
    if result.signal is not None:
        click.echo(f"\n{result.message}", err=True)
        raise Exit(128 + result.signal)
    _say_result(result, quiet)


def _say_result(result: "TrainingResult", quiet: bool) -> None:
    """The accuracy, where everything is, and what to do next."""
    from tinymixer.training.history import read_rows

    folder = result.folder
    rows = read_rows(folder / "metrics.jsonl")
    if not rows:  # someone took the history away from a finished run
        click.echo(result.message)
        return
    if not quiet:
        click.echo()
        _draw_in_terminal(rows)
    best = max(rows, key=lambda row: row["test_accuracy"])
    click.echo(
        f"{result.status}: best test accuracy {percent(best['test_accuracy'], 2)} (epoch {best['epoch']}), "
        f"last {percent(rows[-1]['test_accuracy'], 2)}, {counted(result.epochs, 'epoch')} in {result.seconds:.0f} s"
    )
    if not quiet:
        click.echo(f"saved    {folder} (learning curves: {folder / 'curves.png'})")
        click.echo(f"next     tinymixer eval {shlex.quote(str(folder))}")


def _draw_in_terminal(rows: list[dict[str, Any]]) -> None:
    """Loss and accuracy over the epochs as two small lines, where standard output is a terminal that has the signs."""
    if not sys.stdout.isatty() or "utf" not in sys.stdout.encoding.lower() or len(rows) < 3:
        return
    losses, accuracies = [row["test_loss"] for row in rows], [row["test_accuracy"] for row in rows]
    click.echo(f"test loss      {sparkline(losses)}  {losses[0]:.4f} to {losses[-1]:.4f}")
    click.echo(f"test accuracy  {sparkline(accuracies)}  {percent(accuracies[0], 2)} to {percent(accuracies[-1], 2)}")
