"""tinymixer models: lists the published sizes of models, and the layers of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinymixer.cli.output import json_option, make_table, print_json, print_table, tell, wrapped
from tinymixer.errors import ConfigError

if TYPE_CHECKING:
    from tinymixer.models.presets import Preset
    from tinymixer.models.summary import LayerRow

FLOAT32 = 4  # bytes
PICTURES = (".svg", ".png")
TRAINING_COPIES = 4  # weights, gradients, and AdamW's two moments


@click.command(short_help="List the published sizes of models, or the layers of one.")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--num-classes", type=click.IntRange(min=1), help="Classes of the head; 1000, or 10 at CIFAR-10's size.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the model with that NAME into FILE (.svg or .png).",
)
@json_option
def models(name: str | None, num_classes: int | None, picture: Path | None, as_json: bool) -> None:
    """List the published sizes of models; with NAME, show the layers and weights of that one.

    Parameters are counted without the head, as in the paper's table; multiply-adds and memory with it. Memory is that
    of the weights in float32, and of weights, gradients and AdamW's moments in training, where activations come on top.

    \b
    Examples:
      tinymixer models
      tinymixer models B/16
      tinymixer models ViT-S/16 --picture vit.svg
      tinymixer models --json
      tinymixer train photos --data my-photos --architecture S/16
    """
    from tinymixer.models import PRESETS
    from tinymixer.models.presets import PUBLISHED_CLASSES, known_preset

    if picture is not None:
        _require_drawable(name, picture)
    if name is not None:
        _show_one(known_preset(name), num_classes, as_json)
        if picture is not None:
            _draw(name, num_classes, picture, as_json)
        return
    rows = [_row(preset, num_classes) for preset in PRESETS.values()]
    if as_json:
        print_json(rows)
        return
    table = make_table(["name", "parameters", "L", "S", "C", "DS", "DC", "multiply-\nadds", "weights", "training"])
    for row in rows:
        table.add_row(
            row["name"], f"{row['parameters']:,}", str(row["layers"]), str(row["tokens"] or "-"),
            str(row["hidden_dim"]), str(row["tokens_mlp_dim"] or "-"), str(row["channels_mlp_dim"] or "-"),
            _in_short(row["multiply_adds"]), _megabytes(row["weights_bytes"]), _megabytes(row["training_bytes"]),
        )  # fmt: skip
    print_table(table)
    tell(
        wrapped(
            f"Images of 224 x 224, {num_classes or PUBLISHED_CLASSES:,} classes, where nothing else is said. L blocks, "
            "S patches, C channels (of a convolutional network's first stage); DS and DC are the hidden sizes of token "
            "and channel mixing. Parameters without the head."
        )
    )
    for row in rows:
        if row["note"]:
            tell(wrapped(f"{row['name']}: {row['note']}."))


def _row(preset: "Preset", num_classes: int | None) -> dict[str, Any]:
    from tinymixer.models import preset as configuration

    config = configuration(preset.name, num_classes)
    return {
        "name": preset.name,
        "architecture": preset.architecture,
        "parameters": config.parameter_count_without_head,
        "parameters_with_head": config.parameter_count,
        "num_classes": config.num_classes,
        "image_size": config.image_size,
        "patch_size": getattr(config, "patch_size", None),
        "layers": config.num_blocks,
        "tokens": getattr(config, "num_tokens", None),
        "hidden_dim": getattr(config, "hidden_dim", None) or config.width,
        "tokens_mlp_dim": getattr(config, "tokens_mlp_dim", None),
        "channels_mlp_dim": getattr(config, "channels_mlp_dim", None),
        "multiply_adds": _multiply_adds(preset.architecture, config),
        "weights_bytes": FLOAT32 * config.parameter_count,
        "training_bytes": FLOAT32 * TRAINING_COPIES * config.parameter_count,
        "note": preset.note,
    }


def _multiply_adds(architecture: str, config: Any) -> int:
    """Multiply-adds for one image: by a formula where the model has one, else counted layer by layer."""
    if hasattr(config, "multiply_adds"):
        return int(config.multiply_adds)
    from tinymixer.models import make_model

    return make_model(architecture, config, seed=None).multiply_adds


def _show_one(preset: "Preset", num_classes: int | None, as_json: bool) -> None:
    from tinymixer.models import make_model
    from tinymixer.models import preset as configuration
    from tinymixer.models.summary import grouped_rows, layer_rows

    model = make_model(preset.architecture, configuration(preset.name, num_classes), seed=None)
    rows = layer_rows(model)
    if as_json:
        print_json(
            _row(preset, num_classes)
            | {"layer_rows": [{**vars(row), "weights": {n: list(s) for n, s in row.weights.items()}} for row in rows]}
        )
        return
    table = make_table(["layer"])
    for title in ("output", "weights"):
        table.add_column(title, justify="left")
    for title in ("parameters", "multiply-\nadds"):
        table.add_column(title, justify="right")
    repeated = ""  # the blocks whose layers are being listed
    for row, times in grouped_rows(rows):
        name = row.name if times == 1 else row.name.replace(".0.", f".0-{times - 1}.")
        blocks, _, layer = name.rpartition(".")
        if blocks and blocks != repeated:
            table.add_row(blocks, "", *(("shapes of one", f"sum of {times}") if times > 1 else ("", "")), "")
        repeated = blocks
        table.add_row(
            f"  {layer}" if blocks else layer, " x ".join(map(str, row.output)), _weights(row),
            f"{row.parameters * times:,}", _in_short(row.multiply_adds * times),
        )  # fmt: skip
    total = sum(row.multiply_adds for row in rows)
    table.add_row("all", "", "", f"{model.parameters.count:,}", _in_short(total))
    print_table(table)
    if preset.note:
        tell(wrapped(f"{preset.name}: {preset.note}."))


def _require_drawable(name: str | None, picture: Path) -> None:
    """Raise ConfigError before any work is done, unless there is one model to draw, into a file of a known kind."""
    if name is None:
        raise ConfigError(
            f"one model is drawn into a picture: expected its name, such as 'tinymixer models B/16 --picture {picture}'"
        )
    if picture.suffix.lower() not in PICTURES:
        raise ConfigError(
            f"models are drawn as SVG or PNG: expected a file name ending in .svg or .png, got '{picture}'"
        )


def _draw(name: str, num_classes: int | None, picture: Path, as_json: bool) -> None:
    from tinymixer.analysis.model_diagram import draw_model
    from tinymixer.borders import shown_path
    from tinymixer.models import preset as configuration

    in_words = draw_model(configuration(name, num_classes), picture)
    tell(wrapped(f"picture drawn in {shown_path(picture)}: {in_words}", to_stderr=as_json), to_stderr=as_json)


def _weights(row: "LayerRow") -> str:
    """A line for each array of weights, with its shape."""
    return "\n".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in row.weights.items())


def _in_short(count: int) -> str:
    """A number of multiply-adds, such as "12.6 G" or "0.8 M"; "-" for none."""
    if not count:
        return "-"
    return f"{count / 1e9:.1f} G" if count >= 1e9 else f"{count / 1e6:.1f} M"


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
