"""tinymixer eval --weights: measures published weights on a folder of pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinymixer.cli.eval import show_with_tta
from tinymixer.cli.output import make_table, percent, print_json, print_table, tell
from tinymixer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tinymixer.pretrained import PretrainedModel
    from tinymixer.training.folder_accuracy import FolderAccuracy

WORST = 10  # confusions and classes that are shown


def evaluate_weights(
    source: str,
    data: Path | None,
    backend: str,
    gelu: str | None,
    preprocessing: str | None,
    tta: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print top-1, top-5, and the most frequent confusions. Raises TinymixerError for what cannot be measured."""
    import sys

    from tqdm import tqdm

    from tinymixer.data.views import caution
    from tinymixer.training.folder_accuracy import labelled_pictures, measure_folder
    from tinymixer.training.weights import load_weights

    loaded = load_weights(source, backend=backend, gelu=gelu, preprocessing=preprocessing)
    if data is None:
        raise DataError("weights have no test pictures of their own: say where some are, with --data FOLDER")
    pictures = labelled_pictures(loaded, data)
    with tqdm(total=len(pictures), unit="picture", disable=not sys.stderr.isatty()) as bar:
        result = measure_folder(loaded, pictures, lambda done: bar.update(done - bar.n) and None, tta)
    facts = _facts(source, data, loaded, result) | _tta_facts(tta, result.with_tta)
    if as_json:
        print_json(facts)
    else:
        _show(facts, loaded, result, tta)
    if note := caution(tta, loaded.trained_with_flips):
        tell(note, to_stderr=True)
    for sentence in result.broken[:5]:
        tell(f"not counted: {sentence}", to_stderr=True)
    if len(result.broken) > 5:
        tell(f"not counted: {len(result.broken) - 5} more pictures that cannot be read", to_stderr=True)
    if out is not None:
        _save_confusion(loaded, result, out)


def _facts(source: str, data: Path, loaded: "PretrainedModel", result: "FolderAccuracy") -> dict[str, Any]:
    from tinymixer.data.paths import shown

    names, synsets = loaded.class_names, loaded.synsets
    low, high = result.interval
    return {
        "weights": source,
        "source": loaded.source,
        "preprocessing": loaded.preprocessing.to_dict(),
        "engine": loaded.engine.name,
        "data": shown(data),
        "images": result.images,
        "not_counted": len(result.broken),
        "top1": result.top1 / result.images,
        "top1_interval": [low, high],
        "top5": result.top5 / result.images,
        "loss": result.loss,
        "classes": [
            {"class": names[label], "label": label, "images": count, "correct": result.right.get(label, 0)}
            | ({"synset": synsets[label]} if synsets else {})
            for label, count in sorted(result.true.items())
        ],
        "confusions": [
            {"class": names[true], "taken_for": names[predicted], "images": count}
            for true, predicted, count in result.worst(WORST)
        ],
    }


def _tta_facts(tta: str, found: "FolderAccuracy | None") -> dict[str, Any]:
    """What --json says of test-time augmentation: nothing where there was none."""
    if found is None:
        return {}
    return {
        "tta": tta,
        "tta_top1": found.top1 / found.images,
        "tta_top1_interval": list(found.interval),
        "tta_top5": found.top5 / found.images,
        "tta_loss": found.loss,
    }


def _show(facts: dict[str, Any], loaded: "PretrainedModel", result: "FolderAccuracy", tta: str) -> None:
    low, high = facts["top1_interval"]
    click.echo(
        f"top-1 {percent(facts['top1'], 2)} (95 % interval {percent(low)} to {percent(high)}), top-5 "
        f"{percent(facts['top5'], 2)}, loss {facts['loss']:.4f}: {facts['images']:,} pictures of "
        f"{len(facts['classes']):,} classes"
    )
    if (found := result.with_tta) is not None:
        show_with_tta(tta, "top-1", found.top1, found.images, found.loss, f", top-5 {percent(facts['tta_top5'], 2)}")
    if facts["confusions"]:
        table = make_table(["class"])
        table.add_column("taken for", justify="left")
        for title in ("pictures", "of"):
            table.add_column(title, justify="right")
        for true, predicted, count in result.worst(WORST):
            names = loaded.class_names
            table.add_row(names[true], names[predicted], f"{count:,}", f"{result.true[true]:,}")
        print_table(table)
    tell(f"{loaded.source}; {loaded.preprocessing.describe()}; {loaded.computed_by}", to_stderr=True)


def _save_confusion(loaded: "PretrainedModel", result: "FolderAccuracy", out: Path) -> None:
    """Draw the confusion matrix of the classes that occur, if they are few enough to be drawn."""
    import numpy as np

    from tinymixer.analysis.confusion_picture import save_confusion

    labels = sorted({*result.true, *(predicted for _, predicted in result.confusions)})
    if len(labels) > 200:
        raise ConfigError(f"a confusion matrix of {len(labels)} classes cannot be drawn: at most 200 can")
    place = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    for label, count in result.right.items():
        matrix[place[label], place[label]] = count
    for (true, predicted), count in result.confusions.items():
        matrix[place[true], place[predicted]] = count
    title = f"{percent(result.top1 / result.images, 2)} of {result.images:,} pictures right"
    save_confusion(matrix, [loaded.class_names[label] for label in labels], out, title)
