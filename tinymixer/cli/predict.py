"""tinymixer predict: shows a trained model's predictions for image files."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from tinymixer.cli.eval import backend_option, checkpoint_option
from tinymixer.cli.failures import USER_ERROR, say_error
from tinymixer.cli.output import json_option, print_json
from tinymixer.errors import DataError
from tinymixer.files import replacing

if TYPE_CHECKING:
    from tinymixer.training.loading import Prediction

BAR_WIDTH = 30


@click.command(short_help="Classify image files with a trained model.")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN IMAGE...")
@click.option(
    "--weights",
    metavar="RUN",
    help="The model, instead of RUN: a run's folder, a checkpoint file, or first-mixer, which comes with tinymixer.",
)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes to show for each image.")
@click.option(
    "--invert",
    is_flag=True,
    help="Swap light and dark: for dark ink on white paper, since the digits are light on dark.",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a row for each image: its file, the class, and the probability of every class.",
)
@checkpoint_option
@backend_option
@json_option
def predict(
    paths: tuple[Path, ...],
    weights: str | None,
    top: int,
    invert: bool,
    csv_file: Path | None,
    checkpoint: str,
    backend: str,
    as_json: bool,
) -> None:
    """Predict the class of each IMAGE with the model in RUN, and show the probabilities.

    RUN is a run's folder, a checkpoint file, or first-mixer: a small Mixer for CIFAR-10's ten classes, which comes with
    tinymixer.

    An IMAGE is a picture file, or a folder with pictures, subfolders included. Each picture is cut to its central
    square and resized to the size that the model was trained on. A file that cannot be read gets a sentence on
    standard error; the others are still shown, and the exit code is 2.

    \b
    Examples:
      tinymixer predict --weights first-mixer holiday.jpg
      tinymixer predict runs/cifar10-nano holiday.jpg
      tinymixer predict runs/digits scanned-seven.png --invert
      tinymixer predict runs/cifar10-nano *.png --top 3 --json
      tinymixer predict runs/photos new-pictures --csv answers.csv
    """
    from tinymixer.data.images import load_image
    from tinymixer.data.paths import shown
    from tinymixer.training import load_run

    run, images = (paths[0], paths[1:]) if weights is None else (weights, paths)
    if not images:
        raise click.UsageError("Missing argument 'IMAGE...': say which pictures to look at.")
    loaded = load_run(run, checkpoint, backend)
    known, options = loaded.data, loaded.recipe.data
    pixels, problems = {}, {}
    images = tuple(file for path in images for file in _files(path))
    for path in images:
        try:
            pixels[path] = load_image(path, known.image_size, known.in_channels, invert, options.fit)
        except DataError as error:
            problems[path] = str(error)
    predictions = dict(zip(pixels, loaded.predict_many(pixels.values()), strict=True))

    if csv_file is not None:  # before anything is printed, so that a closed pipe (`| head`) does not cost the file
        _write_csv(csv_file, predictions, known.class_names)
    answers: list[dict[str, Any]] = []
    for path in images:
        if path in problems:
            say_error(problems[path])
            answers.append({"image": shown(path), "error": problems[path]})
        else:
            best = _best(predictions[path], top)
            answers.append({"image": shown(path), "predictions": best})
            if not as_json:
                _show(shown(path), best)
    if as_json:
        print_json(answers)
    if problems:
        raise Exit(USER_ERROR)


def _files(path: Path) -> list[Path]:
    """A file's own path; for a folder, the sorted visible files in it and in its subfolders."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
    if not found:
        raise DataError(f"The folder {path} holds no files.")
    return found


def _write_csv(path: Path, predictions: "dict[Path, Prediction]", class_names: Sequence[str]) -> None:
    """Write a row for each image that could be read. Raises CheckpointError where the file cannot be written."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["image", "class", *class_names])
    for image, found in predictions.items():
        rows.writerow([str(image), found.class_name, *(f"{share:.6f}" for share in found.probabilities)])
    with replacing(path) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _best(prediction: "Prediction", top: int) -> list[dict[str, Any]]:
    """The `top` most probable classes in falling order, as plain values."""
    names, probabilities = prediction.class_names, prediction.probabilities
    return [
        {"class": names[k], "label": k, "probability": float(probabilities[k])} for k in prediction.best_labels(top)
    ]


def _show(name: str, best: list[dict[str, Any]]) -> None:
    click.echo(name)
    block = "\N{FULL BLOCK}" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    width = max(len(entry["class"]) for entry in best)
    for entry in best:
        bar = block * round(BAR_WIDTH * entry["probability"])
        click.echo(f"  {100 * entry['probability']:5.1f} %  {entry['class']:<{width}}  {bar}".rstrip())
