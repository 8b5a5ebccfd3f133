"""tinymixer train: trains the model of a recipe into a run folder."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit
from click.shell_completion import CompletionItem

from tinymixer.cli.command_clock import command_started
from tinymixer.cli.output import percent, sparkline, tell
from tinymixer.cli.recipe_options import RecipeCommand, overrides_of

if TYPE_CHECKING:
    from tinymixer.training.trainer import TrainingResult


def _complete_recipe(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of recipes, and, by the shell itself, files."""
    from tinymixer.training.recipe import recipe_names

    names = [CompletionItem(name) for name in recipe_names() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


@click.command(cls=RecipeCommand, short_help="Train a Mixer by a recipe (default: the bundled digits).")
@click.argument("recipe", required=False, shell_complete=_complete_recipe)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder of the run [default: the first free of runs/RECIPE, runs/RECIPE-2, ...]",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out, exactly where it stopped.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the result.")
@click.option("--print-recipe", is_flag=True, help="Print the recipe, overrides included, as TOML and stop.")
def train(
    recipe: str | None,
    out: Path | None,
    resume: bool,
    quiet: bool,
    print_recipe: bool,
    **overrides: Any,
) -> None:
    """Train a model by RECIPE: digits (the default), photos, fine-tune, cifar10-tiny, cifar10-nano, or a TOML file.

    Your own pictures: --data FOLDER with a subfolder for each class, or --data FILE.npz with images and labels. A
    tenth of the training images is held back to choose the best epoch; the test images are used once, at the end.

    The recipe photos starts from a small Mixer that comes with tinymixer. Add --init-from none to start from scratch.

    How long a run is, --epochs, --steps or --seconds says. With --seconds the run measures its steps first; the time
    counts from the command to the test figure.

    The options below override the recipe's fields; a field without an option keeps the recipe's value. The
    run's folder holds config.toml, metrics.jsonl, best.npz, last.npz and curves.png. Ctrl-C finishes the step, saves,
    and says how to go on.

    \b
    Examples:
      tinymixer train
      tinymixer train photos --data my-photos
      tinymixer train fine-tune --data my-photos --init-from first-mixer --image-size 64 --freeze stem
      tinymixer train cifar10-tiny --data cifar-10-binary.tar.gz
      tinymixer train digits --seconds 20             (as many steps as fit)
      tinymixer train cifar10-nano --epochs 5 --learning-rate 0.001 --out runs/short
      tinymixer train --out runs/short --resume
      tinymixer launch -n 4 train cifar10-nano        (four processes, or GPUs, together)
      tinymixer train digits --print-recipe > mine.toml
      tinymixer train mine.toml
    """
    from tinymixer.cli.ranks import display_on, joined_ranks, tell_launcher_folder
    from tinymixer.training.run_folder import resolve_recipe

    with joined_ranks() as ranks:
        resolved = ranks.first(lambda: resolve_recipe(recipe, overrides_of(overrides), out, resume))
        if print_recipe:
            if ranks.rank == 0:
                click.echo(resolved.to_toml(), nl=False)
                if resolved.size_note:
                    tell(f"note: {resolved.size_note}", to_stderr=True)
            return

        from tinymixer.training.trainer import Trainer

        display, started = display_on(ranks, quiet), command_started()
        try:
            init_from = overrides_of(overrides)["fine_tuning.init_from"]  # None: the recipe's suggestion, if it has one
            trainer = Trainer(
                resolved, out, progress=display, resume=resume, init_from=init_from, ranks=ranks, started=started
            )
            tell_launcher_folder(ranks, trainer.folder.path)
            result = trainer.run()
        finally:
            display.close()
        if ranks.rank:
            return
    if result.signal is not None:
        tell(f"\n{result.message}", to_stderr=True)
        raise Exit(128 + result.signal)
    _say_result(result, quiet)


def _say_result(result: "TrainingResult", quiet: bool) -> None:
    """Print the accuracy, the run's folder, and what to do next."""
    from tinymixer.training.history import read_rows

    folder = result.folder
    rows = read_rows(folder / "metrics.jsonl")
    if not rows:  # the history of a finished run was deleted
        tell(result.message)
        return
    if not quiet:
        tell("")
        _draw_in_terminal(rows)
    tell(f"{result.status}: {result.trained} in {result.seconds:.0f} s{_say_figures(result, rows)}")
    if not quiet:
        tell(f"saved    {folder} (learning curves: {folder / 'curves.png'})")
        tell(f"next     tinymixer eval {shlex.quote(str(folder))}")


def _say_figures(result: "TrainingResult", rows: list[dict[str, Any]]) -> str:
    """The test accuracy, which is the figure to quote; without one the validation, else the training accuracy."""
    from tinymixer.training.result import say_test

    if result.test_accuracy is not None:
        return f", {say_test(rows[-1])}"
    if result.validation_accuracy is not None:
        averaged = " (averaged weights)" if rows[-1].get("averaged") is True else ""
        return f", best validation accuracy {percent(result.validation_accuracy, 2)}{averaged}"
    return f", training accuracy {percent(rows[-1]['train_accuracy'], 2)}"


def _draw_in_terminal(rows: list[dict[str, Any]]) -> None:
    """Print loss and accuracy over the epochs as two sparklines, if stdout is a terminal that can show them."""
    if not sys.stdout.isatty() or "utf" not in sys.stdout.encoding.lower() or len(rows) < 3:
        return
    part = "validation" if "validation_loss" in rows[0] else "train"
    losses, accuracies = [row[f"{part}_loss"] for row in rows], [row[f"{part}_accuracy"] for row in rows]
    tell(f"{part} loss      {sparkline(losses)}  {losses[0]:.4f} to {losses[-1]:.4f}")
    tell(f"{part} accuracy  {sparkline(accuracies)}  {percent(accuracies[0], 2)} to {percent(accuracies[-1], 2)}")
