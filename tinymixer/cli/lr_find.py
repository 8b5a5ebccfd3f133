"""tinymixer lr-find: learning rate against loss, and which rate to try."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinymixer.cli.output import make_table, print_table, tell, wrapped
from tinymixer.cli.recipe_options import RecipeCommand, overrides_of
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.training.lr_find import RangeTest

LINES = 14  # of the printed table
WIDER = "choose a smaller --from or a larger --to, or more --steps"
STEEPEST, TENTH = "steepest descent", "a tenth of the rate of the lowest loss"


@click.command("lr-find", cls=RecipeCommand, short_help="Find a learning rate: raise it step by step, watch the loss.")
@click.argument("recipe", required=False)
@click.option("--from", "lowest", type=float, default=1e-6, show_default=True, help="Learning rate of the first step.")
@click.option("--to", "highest", type=float, default=1.0, show_default=True, help="Learning rate of the last step.")
@click.option("--steps", type=click.IntRange(10, 100_000), default=100, show_default=True, help="Steps in between.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for lr-find.png and lr-find.csv [default: lr-find.png alone, in this folder]",
)
def lr_find(recipe: str | None, lowest: float, highest: float, steps: int, out: Path | None, **overrides: Any) -> None:
    """Take the first steps of RECIPE's run while the learning rate rises exponentially, and draw the loss against it
    (Smith 2017). The test ends where the loss exceeds four times its lowest value, or is no longer finite.

    Two rates are suggested for optimizer.learning_rate, the peak of the schedule: the one at which the loss falls
    fastest, and a tenth of the one at which it is lowest. They say where to begin; 'tinymixer sweep' compares whole
    runs. No run folder is made, and no test image is used.

    \b
    Examples:
      tinymixer lr-find digits
      tinymixer lr-find cifar10-tiny --optimizer muon --from 1e-5 --steps 200 --out lr-find-muon
    """
    from tinymixer.training.lr_find import find_learning_rate
    from tinymixer.training.run_folder import resolve_recipe

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    resolved = resolve_recipe(recipe, overrides_of(overrides))
    found = find_learning_rate(
        resolved, lowest, highest, steps, say=lambda note: tell(wrapped(note, to_stderr=True), to_stderr=True)
    )
    _print_curve(found)
    _save(found, f"{resolved.name}, {resolved.optimizer.optimizer}: learning rate range test", out)
    _say_suggestion(found, steps)


def _print_curve(found: "RangeTest") -> None:
    """Some of the steps, evenly spaced."""
    table, count = make_table(["step", "learning rate", "loss", "smoothed"]), len(found.rates)
    shown = min(LINES, count)
    for line in range(shown):
        step = line * (count - 1) // max(1, shown - 1)
        numbers = (f"{found.rates[step]:.3g}", f"{found.losses[step]:.4f}", f"{found.smoothed[step]:.4f}")
        table.add_row(str(step + 1), *numbers)
    print_table(table)


def _say_suggestion(found: "RangeTest", steps: int) -> None:
    if found.ended:
        tell(wrapped(f"ended after {counted(len(found.rates), 'step')} of {steps}: {found.ended}"))
    if found.steepest is None or found.tenth_of_lowest is None:
        first, lowest = found.smoothed[0], found.smoothed[found.lowest]
        tell(wrapped(f"no suggestion: in this range the loss hardly falls ({first:.4g} to {lowest:.4g}); {WIDER}"))
        return
    if found.still_falling:
        tell(wrapped("the loss is lowest at the last step: a larger --to may show better rates"))
    tell(f"suggestion   {found.steepest:.2g} ({STEEPEST}), {found.tenth_of_lowest:.2g} ({TENTH})")


def _save(found: "RangeTest", title: str, out: Path | None) -> None:
    """Write the picture, and the numbers where a folder was asked for. Without a picture the figures are as good."""
    from tinymixer.borders import shown_path
    from tinymixer.errors import TinymixerError
    from tinymixer.files import replacing
    from tinymixer.text import reason_of

    folder = out or Path()
    if out is not None:
        lines = [
            f"{number},{rate!r},{loss!r},{smoothed!r}\n"
            for number, (rate, loss, smoothed) in enumerate(
                zip(found.rates.tolist(), found.losses.tolist(), found.smoothed.tolist(), strict=True), 1
            )
        ]
        with replacing(out / "lr-find.csv") as file:
            file.write("".join(["step,learning_rate,loss,smoothed\n", *lines]).encode())
    marks = {STEEPEST: found.steepest, TENTH: found.tenth_of_lowest}
    try:
        from tinymixer.analysis.lr_find_picture import draw_range_test

        suggested = {name: rate for name, rate in marks.items() if rate is not None}
        path = folder / "lr-find.png"
        draw_range_test(title, found.rates, found.losses, found.smoothed, suggested, path)
        tell(f"picture      {shown_path(path)}")
    except ImportError:
        tell("lr-find.png is not drawn, since Matplotlib is not installed: pip install matplotlib", to_stderr=True)
    except TinymixerError as error:
        tell(f"lr-find.png is not drawn: {error}", to_stderr=True)
    except Exception as error:  # fonts, the user's settings: Matplotlib raises errors of many types
        tell(f"lr-find.png is not drawn: {reason_of(error)}", to_stderr=True)
