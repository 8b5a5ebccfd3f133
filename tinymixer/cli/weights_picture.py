"""tinymixer weights picture: draws the weights of a model."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinymixer.cli.output import tell
from tinymixer.errors import ConfigError

if TYPE_CHECKING:
    from tinymixer.pretrained import PretrainedModel


@click.command(short_help="Draw token mixing and the stem's filters.")
@click.argument("source", metavar="RUN|FILE|NAME")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The picture (PNG).")
@click.option(
    "--blocks", type=click.IntRange(min=1), default=2, show_default=True, help="Blocks to draw, from the first."
)
def picture(source: str, out: Path | None, blocks: int) -> None:
    """Draw the hidden units of token mixing of the first blocks, and the filters of the stem.

    As in the paper's figures 5 to 7. SOURCE is a run's folder, a checkpoint, first-mixer, a file of published weights,
    or the name of fetched ones. Without --out the picture is NAME-weights.png in the working directory.

    \b
    Examples:
      tinymixer weights picture first-mixer
      tinymixer weights picture runs/cifar10-tiny --blocks 4 --out learned.png
    """
    from tinymixer.analysis.weights_picture import draw_weights
    from tinymixer.borders import shown_path

    out = (
        Path(f"{Path(source).name.removesuffix('.npz').removesuffix('.safetensors')}-weights.png")
        if out is None
        else out
    )
    if out.suffix.lower() != ".png":
        raise ConfigError(f"weights are drawn as PNG: expected a file name ending in .png, got '{out}'")
    loaded = _loaded(source)
    for note in draw_weights(loaded.model, out, blocks):
        tell(f"note: {note}", to_stderr=True)
    click.echo(f"weights drawn in {shown_path(out)}")
    tell(loaded.source, to_stderr=True)


def _loaded(source: str) -> "PretrainedModel":
    from tinymixer.training.weights import load_weights

    return load_weights(source, backend="numpy")
