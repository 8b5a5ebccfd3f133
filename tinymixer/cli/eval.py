"""tinymixer eval: measures a trained model's accuracy, for all images and for each class."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinymixer.cli.output import json_option, make_table, percent, print_json, print_table, tell
from tinymixer.errors import ConfigError, TinymixerError
from tinymixer.text import reason_of

if TYPE_CHECKING:
    import numpy as np

    from tinymixer.analysis.per_class import ClassResult

run_argument = click.argument("run", type=click.Path(path_type=Path), required=False, metavar="RUN")
checkpoint_option = click.option(
    "--checkpoint",
    type=click.Choice(["recommended", "best", "last"]),
    default="recommended",
    show_default=True,
    help="Weights of the best epoch on the validation images, of the last step, or those that the run recommends.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", "numpy", "cupy"]),
    default="auto",
    show_default=True,
    help="Array library to compute with.",
)
raw_option = click.option(
    "--raw",
    is_flag=True,
    help="Of a run that averages its weights: the raw weights of the last step [default: the averaged weights].",
)
gelu_option = click.option(
    "--gelu",
    type=click.Choice(["tanh", "erf"]),
    help="For a file of weights: the form of its GELU [default: as the file's layout has it].",
)
preprocessing_option = click.option(
    "--preprocessing",
    type=click.Choice(["authors", "big_vision", "timm", "miil"]),
    help="For a file of weights: how pictures are prepared [default: as the file's layout has it].",
)


@click.command("eval", short_help="Evaluate a run: accuracy, per-class table, confusion matrix.")
@run_argument
@click.option(
    "--weights",
    metavar="FILE_OR_NAME",
    help="The model, instead of RUN: a file of weights, or the name of fetched ones. Needs --data.",
)
@checkpoint_option
@raw_option
@gelu_option
@preprocessing_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Archive or folder of the data set, or other images of your own with the same classes.",
)
@backend_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to save the confusion matrix (PNG) [default: RUN/confusion.png].",
)
@json_option
def evaluate_run(
    run: Path | None,
    weights: str | None,
    checkpoint: str,
    raw: bool,
    gelu: str | None,
    preprocessing: str | None,
    data: Path | None,
    backend: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Evaluate the model in RUN (a run's folder or a checkpoint file) on the test images of its data set.

    Prints accuracy, loss and a row for each class, and saves the confusion matrix as a picture.

    Published weights (--weights) are measured on a folder laid out like ImageNet's: --data has a subfolder for each
    class, named by its synset (n01440764), its number or its name. That prints top-1 and top-5 accuracy and the classes
    most often mistaken for others.

    \b
    Examples:
      tinymixer eval runs/digits
      tinymixer eval runs/cifar10-nano --data cifar-10-binary.tar.gz --checkpoint last
      tinymixer eval runs/digits --json
      tinymixer eval --weights Mixer-B_16.npz --data imagenet/val
    """
    from tinymixer.training.weights import is_run

    if (run is None) == (weights is None):
        raise click.UsageError("Missing argument 'RUN'." if run is None else "Give RUN or --weights, not both.")
    source = str(run) if weights is None else weights
    if not is_run(source) and (weights is not None or Path(source).is_file()):
        from tinymixer.cli.eval_weights import evaluate_weights

        evaluate_weights(source, data, backend, gelu, preprocessing, out, as_json)
        return
    run = Path(source)
    from tinymixer.analysis.per_class import class_results, confusion_matrix
    from tinymixer.data.paths import shown
    from tinymixer.training import evaluate, load_run
    from tinymixer.training.loading import normalisation
    from tinymixer.training.test_images import matching_test_images

    loaded = load_run(run, checkpoint, backend, averaged=not raw)
    known, size = loaded.data, loaded.recipe.training.eval_batch_size
    dataset, images, labels = matching_test_images(loaded, data)
    all_of_them = "; all its images, since it has no test set" if len(images) > len(dataset.test_images) else ""
    whose = (
        ""
        if dataset.fingerprint == known.fingerprint or not known.fingerprint
        else f" of {dataset.name}, not the run's own{all_of_them}"
    )
    if sys.stderr.isatty():
        click.echo(f"evaluating {len(images):,} images ...", err=True)
    evaluation = evaluate(loaded.model, images, labels, *normalisation(known), size)
    assert evaluation is not None  # it returns None only when stopped
    confusion = confusion_matrix(labels, evaluation.predictions, len(known.class_names))  # (K, K)
    classes = class_results(confusion, known.class_names)
    low, high = evaluation.interval

    title = f"{shown(run)}: {percent(evaluation.accuracy, 2)} of {len(images):,} test images right"
    picture = out or (run if run.is_dir() else run.parent) / "confusion.png"
    problem = _save_picture(confusion, list(known.class_names), picture, title)
    if as_json:
        print_json(
            {
                "run": shown(run),
                "checkpoint": loaded.which,
                "averaged": loaded.averaged,
                "dataset": dataset.name,
                "source": dataset.source,
                "fingerprint": dataset.fingerprint,
                "images": len(images),
                "loss": evaluation.loss,
                "accuracy": evaluation.accuracy,
                "accuracy_interval": [low, high],
                "classes": [result.to_dict() for result in classes],
                "confusion": confusion.tolist(),
                "confusion_picture": None if problem else shown(picture),
            }
        )
    else:
        print_table(_class_table(classes))
        correct = sum(result.correct for result in classes)
        click.echo(
            f"accuracy {percent(evaluation.accuracy, 2)} ({correct:,} of {len(images):,}{whose}; 95 % interval "
            f"{percent(low)} to {percent(high)}), loss {evaluation.loss:.4f}, {loaded.which} {loaded.kind}"
        )
        if not problem:
            click.echo(f"confusion matrix saved in {shown(picture)}")
        if problem and out is None:  # the user did not ask for the picture, so a note is enough
            tell(f"confusion matrix not drawn: {problem}", to_stderr=True)
    if problem and out is not None:
        raise problem


def _save_picture(confusion: "np.ndarray", names: list[str], path: Path, title: str) -> Exception | None:
    """Save the confusion matrix as a picture. Returns an error instead of raising it: results are printed first."""
    from tinymixer.analysis.confusion_picture import save_confusion

    try:
        save_confusion(confusion, names, path, title)
    except (TinymixerError, ModuleNotFoundError) as error:
        return error
    except Exception as error:  # fonts, the user's settings: Matplotlib raises errors of many types
        return ConfigError(f"{path} could not be drawn: {reason_of(error)}")
    return None


def _class_table(classes: "list[ClassResult]") -> Any:
    """A table with a row for each class, in the order of the classes."""
    table = make_table(["class", "images", "correct", "recall", "precision", "F1"])
    table.add_column("mistaken for", justify="left")
    for result in classes:
        mistaken = f"{result.mistaken_for} ({result.mistakes})" if result.mistakes else "-"
        table.add_row(
            result.name,
            f"{result.images:,}",
            f"{result.correct:,}",
            percent(result.recall),
            percent(result.precision),
            percent(result.f1),
            mistaken,
        )
    return table
