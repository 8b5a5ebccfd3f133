"""tinymixer data: fetches data sets, shows facts about them, and deletes fetched files."""

import sys
from typing import TYPE_CHECKING, Any

import click

from tinymixer.cli.data_preview import preview
from tinymixer.cli.group import CommandGroup
from tinymixer.cli.output import json_option, make_table, print_json, print_labelled, print_table
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.data import Dataset

MOST_CLASSES = 12  # class names shown in a line


@click.group(cls=CommandGroup, short_help="Fetch data sets, and show facts about them.")
def data() -> None:
    """Fetch data sets, and show facts about them.

    Archives are kept in the folder that 'tinymixer doctor' names; the environment variable TINYMIXER_CACHE chooses
    another.
    """


@data.command(short_help="Download a data set (default: cifar10).")
@click.argument("name", default="cifar10")
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    help="Address of a folder with the archives, tried first, such as a server in the classroom. May be repeated.",
)
def fetch(name: str, mirrors: tuple[str, ...]) -> None:
    """Download the data set NAME (default: cifar10; also cifar100, fashion_mnist) into the cache, and print its path.

    An interrupted download resumes where it stopped. Mirrors are tried in turn. A file is used only if its SHA-256 is
    right.

    \b
    Examples:
      tinymixer data fetch
      tinymixer data fetch cifar10 --mirror http://192.168.0.10:8000
    """
    from tqdm import tqdm

    from tinymixer.data.fetching import fetch as fetch_archive

    progress = tqdm if sys.stderr.isatty() else None
    path = fetch_archive(
        name, mirrors=mirrors, progress=progress, notify=lambda text: tqdm.write(text, file=sys.stderr)
    )
    click.echo(path)


@data.command(short_help="Show facts about a data set, or about your own images.")
@click.argument("name", required=False, metavar="[NAME|PATH]")
@click.option("--image-size", type=click.IntRange(min=1), help="Own pictures: pixels a side (default: 64).")
@click.option(
    "--colours",
    type=click.Choice(["auto", "grey", "colour"]),
    default="auto",
    help="Own pictures: read as grey or in colour.",
)
@click.option(
    "--fit",
    type=click.Choice(["crop", "squeeze"]),
    default="crop",
    help="Own pictures: cut to a square, or squeezed into one.",
)
@json_option
def info(name: str | None, image_size: int | None, colours: str, fit: str, as_json: bool) -> None:
    """Show the facts about the data set NAME, or about all; or read through your own images at PATH.

    PATH is a folder with a folder of pictures for each class, or an .npz file. Every picture is read, and those
    that training would leave out are named.

    \b
    Examples:
      tinymixer data info
      tinymixer data info cifar10 --json
      tinymixer data info my-photos --image-size 96
    """
    from tinymixer.data import DATASETS, dataset_info, load_dataset
    from tinymixer.data.paths import expanded

    if name is not None and name not in DATASETS and expanded(name).exists():
        dataset = load_dataset("own", name, image_size=image_size, colours=colours, fit=fit)
        facts = _own_facts(dataset)
        if as_json:
            print_json(facts)
        else:
            _show_own(facts)
        return
    infos = [dataset_info(each) for each in ([name] if name else DATASETS)]
    if as_json:
        print_json(infos[0] if name else infos)
        return
    for index, facts in enumerate(infos):
        if index:
            click.echo()
        _show(facts)


data.add_command(preview)


@data.command(short_help="Delete fetched archives from the cache.")
@click.argument("name", required=False)
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
def clean(name: str | None, yes: bool) -> None:
    """Delete the fetched archives of the data set NAME, or of all; other files in the cache stay.

    \b
    Examples:
      tinymixer data clean
      tinymixer data clean cifar10 --yes
    """
    from tinymixer.data.cached import fetched_files

    files = fetched_files(name)
    size = sum(path.stat().st_size for path in files)
    if not files:
        click.echo("nothing was fetched")
        return
    for path in files:
        click.echo(f"{path.stat().st_size / 1e6:8.1f} MB  {path}")
    if yes or click.confirm(f"Delete {counted(len(files), 'file')}, {size / 1e6:.1f} MB?"):
        for path in files:
            path.unlink(missing_ok=True)


def _own_facts(dataset: "Dataset") -> dict[str, Any]:
    """Facts about a loaded data set as plain values: its description, the images per class, what was left out."""
    import numpy as np

    counts = {
        part: np.bincount(labels.astype(np.intp), minlength=dataset.num_classes).tolist()
        for part, labels in (("train", dataset.train_labels), ("test", dataset.test_labels))
    }
    validation = dataset.validation_indices
    return {
        **dataset.description.to_dict(),
        "colours": dataset.colours,
        "validation_images": 0 if validation is None else len(validation),
        "classes": [
            {"class": name, "train": train, "test": test}
            for name, train, test in zip(dataset.class_names, counts["train"], counts["test"], strict=True)
        ],
        "notes": list(dataset.notes),
    }


def _show_own(facts: dict[str, Any]) -> None:
    """Print the facts about the user's own data, one per line, and a table with a row per class."""
    side, validation = facts["image_size"], facts["validation_images"]
    click.secho(f"{facts['name']}: {counted(len(facts['classes']), 'class')}", bold=True)
    rows = {
        "images": f"{facts['train_images']:,} training"
        + (f" ({validation:,} of them for validation)" if validation else "")
        + f", {facts['test_images']:,} test",
        "pixels": f"{side} x {side}, {facts['colours']}",
        "mean": f"{_numbers(facts['mean'])}, standard deviation {_numbers(facts['std'])} (pixels from 0 to 1)",
        "source": facts["source"],
        "fingerprint": facts["fingerprint"],
    }
    print_labelled({label: text for label, text in rows.items() if text}, indent=2)
    table = make_table(["class", "training", "test"])
    for row in facts["classes"]:
        table.add_row(row["class"], f"{row['train']:,}", f"{row['test']:,}")
    print_table(table)
    for note in facts["notes"]:
        click.echo(note)


def _show(facts: dict[str, Any]) -> None:
    """Print the facts about one data set, one per line."""
    side, channels = facts["image_size"], facts["channels"]
    colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    names, more = facts["classes"][:MOST_CLASSES], len(facts["classes"]) - MOST_CLASSES
    click.secho(f"{facts['name']}: {facts['title']}", bold=True)
    rows = {
        "images": f"{facts['train_images']:,} training, {facts['test_images']:,} test",
        "pixels": f"{side} x {side}, {colours}",
        "classes": f"{len(facts['classes'])}: {', '.join(names)}{f' and {more} more' if more > 0 else ''}",
        "mean": f"{_numbers(facts['mean'])}, standard deviation {_numbers(facts['std'])} (pixels from 0 to 1)",
        "licence": facts["license"],
        "source": facts["homepage"],
        "cite": facts["citation"],
        "here": _place(facts),
    }
    print_labelled(rows, indent=2)


def _place(facts: dict[str, Any]) -> str:
    if facts["bundled"]:
        return "bundled with tinymixer"
    if facts["available"]:
        return facts["path"]
    begun = "".join(f"; {file}: {megabytes(size)} fetched so far" for file, size in facts["partial"].items() if size)
    return f"not fetched yet: tinymixer data fetch {facts['name']}{begun}"


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def megabytes(size: int) -> str:
    """Format a number of bytes, such as "170.5 MB"."""
    return f"{size / 1e6:,.1f} MB"
