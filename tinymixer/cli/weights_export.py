"""tinymixer weights export: writes a run's weights for other programs, or somebody's weights for tinymixer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinymixer.cli.eval import raw_option
from tinymixer.cli.output import tell

if TYPE_CHECKING:
    from tinymixer.pretrained import PretrainedModel


@click.command("export", short_help="Write weights for the authors' code, timm, ONNX or tinymixer.")
@click.argument("source", metavar="RUN")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["authors", "timm", "tinymixer", "onnx"]),
    help="Whose names and order of axes the arrays get; onnx writes the whole model, for ONNX Runtime. "
    "[default: onnx for a file that ends in .onnx, else tinymixer]",
)
@raw_option
@click.option("--force", is_flag=True, help="Write over OUT where it is there already.")
def export(source: str, out: Path, layout: str | None, raw: bool, force: bool) -> None:
    """Write the weights of RUN to OUT, which ends in .npz or .safetensors, or in .onnx.

    RUN is a run's folder, a checkpoint, first-mixer, a file of weights in any layout, or the name of fetched ones. What
    tinymixer's own format holds can be loaded by itself: the model's sizes, its class names, and how pictures are
    prepared for it. timm's and the authors' layouts have names for MLP-Mixer alone (tokens = mlp). An ONNX file takes
    pixels from 0 to 255, of the model's size, and gives logits; it holds the class names, too.

    \b
    Examples:
      tinymixer weights export runs/photos photos.safetensors
      tinymixer weights export runs/photos photos-timm.safetensors --format timm
      tinymixer weights export model.safetensors Mixer-B_16.npz --format authors
      tinymixer weights export first-mixer first-mixer.onnx
    """
    from tinymixer.data.paths import shown
    from tinymixer.errors import ConfigError
    from tinymixer.training.weights import load_weights

    if out.exists() and not force:
        raise ConfigError(f"{shown(out)} is there already: choose another name, or write over it with --force")
    loaded = load_weights(source, backend="numpy", averaged=not raw)
    for note in _write(loaded, out, layout or ("onnx" if out.suffix.lower() == ".onnx" else "tinymixer")):
        tell(f"note: {note}", to_stderr=True)
    click.echo(f"{shown(out)}: {loaded.parameters.count:,} parameters, {out.stat().st_size / 1e6:,.1f} MB")
    tell(loaded.source, to_stderr=True)


def _write(loaded: "PretrainedModel", out: Path, layout: str) -> Sequence[str]:
    """Write the file; returns sentences about what another program will compute otherwise."""
    from tinymixer.data.paths import shown
    from tinymixer.errors import ConfigError

    if layout != "onnx":
        from tinymixer.pretrained import export_weights

        return export_weights(loaded, out, layout)

    from tinymixer.pretrained.onnx_export import export_onnx

    if out.suffix.lower() != ".onnx":
        raise ConfigError(f"{shown(out)} should end in .onnx")
    prepared = loaded.preprocessing
    export_onnx(
        loaded.model,
        out,
        mean=prepared.mean,
        std=prepared.std,
        class_names=loaded.class_names,
        preparation=prepared.describe(),
    )
    return []
