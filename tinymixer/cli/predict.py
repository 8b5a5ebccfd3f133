"""tinymixer predict: shows a trained model's predictions for image files."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from tinymixer.cli.eval import backend_option, checkpoint_option, gelu_option, preprocessing_option, raw_option
from tinymixer.cli.failures import USER_ERROR, say_error
from tinymixer.cli.output import json_option, print_json, tell
from tinymixer.errors import CheckpointError, DataError
from tinymixer.files import replacing

if TYPE_CHECKING:
    import numpy as np

    from tinymixer.models import Prediction
    from tinymixer.pretrained import PretrainedModel

BAR_WIDTH = 30


@click.command(short_help="Classify image files with a trained model.")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN IMAGE...")
@click.option(
    "--weights",
    metavar="FILE_OR_NAME",
    help="The model, instead of RUN: a run's folder, a checkpoint, a file of weights, the name of fetched ones, or "
    "first-mixer, which comes with tinymixer.",
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
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also draw the first pictures with their classes, as PNG.",
)
@gelu_option
@preprocessing_option
@checkpoint_option
@raw_option
@backend_option
@json_option
def predict(
    paths: tuple[Path, ...],
    weights: str | None,
    top: int,
    invert: bool,
    csv_file: Path | None,
    picture: Path | None,
    gelu: str | None,
    preprocessing: str | None,
    checkpoint: str,
    raw: bool,
    backend: str,
    as_json: bool,
) -> None:
    """Predict the class of each IMAGE with the model in RUN, and show the probabilities.

    RUN is a run's folder, a checkpoint file, or first-mixer: a small Mixer for CIFAR-10's ten classes, which comes with
    tinymixer. It can also be a file of published weights (the authors' .npz, timm's .safetensors) or the name of
    fetched ones ('tinymixer weights list' shows the names).

    An IMAGE is a picture file, or a folder with pictures, subfolders included. Each picture is resized and cut as the
    images that the model was trained on were; for published weights, as their authors do it. A file that cannot be
    read gets a sentence on standard error; the others are still shown, and the exit code is 2.

    \b
    Examples:
      tinymixer predict --weights first-mixer holiday.jpg
      tinymixer predict runs/cifar10-nano holiday.jpg
      tinymixer predict runs/digits scanned-seven.png --invert
      tinymixer predict runs/cifar10-nano *.png --top 3 --json
      tinymixer predict runs/photos new-pictures --csv answers.csv
      tinymixer predict --weights Mixer-B_16.npz holiday.jpg --picture seen.png
    """
    from tinymixer.data.paths import shown

    run, images = (str(paths[0]), paths[1:]) if weights is None else (weights, paths)
    if not images:
        raise click.UsageError("Missing argument 'IMAGE...': say which pictures to look at.")
    loaded = load_for_pictures(run, checkpoint, backend, gelu, preprocessing, averaged=not raw)
    images = tuple(file for path in images for file in _files(path))
    problems: dict[Path, str] = {}
    drawn: dict[Path, np.ndarray] = {}
    read = _read(loaded, images, invert, problems, drawn if picture is not None else None)
    answered = loaded.predict_images(image for _, image in read)
    predictions = dict(zip([path for path in dict.fromkeys(images) if path not in problems], answered, strict=True))

    if csv_file is not None:  # before anything is printed, so that a closed pipe (`| head`) does not cost the file
        _write_csv(csv_file, predictions, loaded.class_names)
    if picture is not None and drawn:
        _draw(drawn, predictions, picture, top)
    answers: list[dict[str, Any]] = []
    for path in images:
        if path in problems:
            say_error(problems[path])
            answers.append({"image": shown(path), "error": problems[path]})
        else:
            best = _best(predictions[path], top, loaded.synsets)
            answers.append(
                {"image": shown(path), "predictions": best, "engine": loaded.engine.name, "model": loaded.source}
            )
            if not as_json:
                _show(shown(path), best)
    if as_json:
        print_json(answers)
    elif predictions:
        tell(f"{loaded.source}; preprocessing: {loaded.preprocessing.name}; {loaded.computed_by}", to_stderr=True)
    if problems:
        raise Exit(USER_ERROR)


def load_for_pictures(
    source: str,
    checkpoint: str,
    backend: str,
    gelu: str | None = None,
    preprocessing: str | None = None,
    averaged: bool = True,
) -> "PretrainedModel":
    """A run's model, or weights from a file or by name. Raises TinymixerError where there are none."""
    from tinymixer.training import load_run
    from tinymixer.training.weights import is_run, load_weights, of_run

    if is_run(source) and gelu is None and preprocessing is None:
        return of_run(load_run(source, checkpoint, backend, averaged=averaged), Path(source))
    try:
        return load_weights(source, backend=backend, gelu=gelu, preprocessing=preprocessing)
    except CheckpointError:
        if not Path(source).exists() and not Path(source).suffix:
            load_run(source)  # says what a run would have been
        raise


def _read(
    loaded: "PretrainedModel",
    paths: Sequence[Path],
    invert: bool,
    problems: dict[Path, str],
    drawn: "dict[Path, np.ndarray] | None",
) -> "Iterator[tuple[Path, np.ndarray]]":
    """Yield each readable picture once, preprocessed; note the others in `problems`, and some pixels in `drawn`."""
    from tinymixer.analysis.prediction_picture import MOST_PICTURES

    for path in dict.fromkeys(paths):
        try:
            pixels = loaded.preprocessing.pixels(path)
        except DataError as error:
            problems[path] = str(error)
            continue
        pixels = 255 - pixels if invert else pixels
        if drawn is not None and len(drawn) < MOST_PICTURES:
            drawn[path] = pixels
        yield path, loaded.preprocessing.normalise(pixels)


def _draw(drawn: "dict[Path, np.ndarray]", predictions: "dict[Path, Prediction]", out: Path, top: int) -> None:
    from tinymixer.analysis.prediction_picture import save_predictions
    from tinymixer.data.paths import shown

    titles = [shown(path.name) for path in drawn]
    save_predictions(list(drawn.values()), [predictions[path] for path in drawn], titles, out, top)
    left = len(predictions) - len(drawn)
    more = f" (the first {len(drawn)} of {len(predictions)} pictures)" if left else ""
    tell(f"drawn in {shown(out)}{more}", to_stderr=True)


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


def _best(prediction: "Prediction", top: int, synsets: Sequence[str] | None) -> list[dict[str, Any]]:
    """The `top` most probable classes in falling order, as plain values."""
    names, probabilities = prediction.class_names, prediction.probabilities
    return [
        {"class": names[k], "label": k, "probability": float(probabilities[k])}
        | ({"synset": synsets[k]} if synsets else {})
        for k in prediction.best_labels(top)
    ]


def _show(name: str, best: list[dict[str, Any]]) -> None:
    click.echo(name)
    block = "\N{FULL BLOCK}" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    width = max(len(entry["class"]) for entry in best)
    for entry in best:
        bar = block * round(BAR_WIDTH * entry["probability"])
        click.echo(f"  {100 * entry['probability']:5.1f} %  {entry['class']:<{width}}  {bar}".rstrip())
