"""tinymixer weights export: writes a run's weights for other programs, or somebody's weights for tinymixer."""

from pathlib import Path

import click

from tinymixer.cli.output import tell


@click.command("export", short_help="Write weights for the authors' code, timm or tinymixer.")
@click.argument("source", metavar="RUN")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["authors", "timm", "tinymixer"]),
    default="tinymixer",
    show_default=True,
    help="Whose names and order of axes the arrays get.",
)
@click.option("--force", is_flag=True, help="Write over OUT where it is there already.")
def export(source: str, out: Path, layout: str, force: bool) -> None:
    """Write the weights of RUN to OUT, which ends in .npz or .safetensors.

    RUN is a run's folder, a checkpoint, first-mixer, a file of weights in any layout, or the name of fetched ones. What
    tinymixer's own format holds can be loaded by itself: the model's sizes, its class names, and how pictures are
    prepared for it. timm's and the authors' layouts have names for MLP-Mixer alone (tokens = mlp).

    \b
    Examples:
      tinymixer weights export runs/photos photos.safetensors
      tinymixer weights export runs/photos photos-timm.safetensors --format timm
      tinymixer weights export model.safetensors Mixer-B_16.npz --format authors
    """
    from tinymixer.data.paths import shown
    from tinymixer.errors import ConfigError
    from tinymixer.pretrained import export_weights
    from tinymixer.training.weights import load_weights

    if out.exists() and not force:
        raise ConfigError(f"{shown(out)} is there already: choose another name, or write over it with --force")
    loaded = load_weights(source, backend="numpy")
    for note in export_weights(loaded, out, layout):
        tell(f"note: {note}", to_stderr=True)
    click.echo(f"{shown(out)}: {loaded.parameters.count:,} parameters, {out.stat().st_size / 1e6:,.1f} MB")
