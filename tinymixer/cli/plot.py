"""tinymixer plot: draws the learning curves of several runs into one picture."""

from pathlib import Path

import click

from tinymixer.cli.output import make_table, percent, print_table, tell
from tinymixer.errors import ConfigError, TrainingError


@click.command(short_help="Draw the learning curves of one or several runs.")
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The picture (PNG) [default: RUN/curves.png for one run, comparison.png beside the runs for several].",
)
def plot(runs: tuple[Path, ...], out: Path | None) -> None:
    """Draw loss and accuracy of each RUN (a run's folder) over the epochs into one picture.

    A run that has no finished epoch, or whose history is damaged, is named and left out.

    \b
    Examples:
      tinymixer plot runs/digits
      tinymixer plot runs/digits runs/digits-2 --out learning-rates.png
    """
    if out is None:
        out = runs[0] / "curves.png" if len(runs) == 1 and runs[0].is_dir() else _beside(runs) / "comparison.png"
    if out.suffix.lower() != ".png":
        raise ConfigError(f"curves are drawn as PNG: expected a file name ending in .png, got '{out}'")

    from tinymixer.analysis.curves import draw_curves
    from tinymixer.borders import shown_path
    from tinymixer.training.plot_runs import histories_of

    histories, left_out = histories_of(runs)
    if not histories:
        raise TrainingError("; ".join(left_out))
    for sentence in left_out:
        tell(f"left out: {sentence}", to_stderr=True)
    draw_curves(histories, out)
    table = make_table(["run", "epochs", "best validation", "at epoch", "last validation", "test accuracy"])
    for label, rows in histories.items():
        last, judged = rows[-1], [row for row in rows if "validation_accuracy" in row]
        best = min(judged, key=lambda row: row["validation_loss"], default={})
        table.add_row(
            label,
            str(last["epoch"]),
            percent(best.get("validation_accuracy"), 2),
            str(best.get("epoch", "-")),
            percent(last.get("validation_accuracy"), 2),
            percent(last.get("test_accuracy"), 2),
        )
    print_table(table)
    click.echo(f"curves saved in {shown_path(out)}")


def _beside(runs: tuple[Path, ...]) -> Path:
    """The folder that all the runs are in, or the working directory where they are in several."""
    parents = {run.absolute().parent for run in runs}
    return runs[0].parent if len(parents) == 1 else Path()
