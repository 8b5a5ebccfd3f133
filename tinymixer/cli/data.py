"""tinymixer data: fetch data sets, and say what is known of them."""

import sys
from typing import Any

import click

from tinymixer.cli.group import CommandGroup
from tinymixer.cli.output import json_option, print_json, print_labelled


@click.group(cls=CommandGroup, short_help="Fetch data sets, and show what is known of them.")
def data() -> None:
    """Fetch data sets, and show what is known of them.

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
    help="Address of a folder that holds the archives, tried first: a server in the class room. May be repeated.",
)
def fetch(name: str, mirrors: tuple[str, ...]) -> None:
    """Download the data set NAME (default: cifar10) into the cache, and print where it is.

    A broken download is taken up where it stopped, mirrors are tried in turn, and nothing is used before its SHA-256 is
    found right.

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


@data.command(short_help="Show size, classes, licence and place of a data set.")
@click.argument("name", required=False)
@json_option
def info(name: str | None, as_json: bool) -> None:
    """Show what is known of the data set NAME, or of all.

    \b
    Examples:
      tinymixer data info
      tinymixer data info cifar10 --json
    """
    from tinymixer.data import DATASETS, dataset_info

    infos = [dataset_info(each) for each in ([name] if name else DATASETS)]
    if as_json:
        print_json(infos[0] if name else infos)
        return
    for index, facts in enumerate(infos):
        if index:
            click.echo()
        _show(facts)


def _show(facts: dict[str, Any]) -> None:
    """One data set, a fact per line."""
    side, channels = facts["image_size"], facts["channels"]
    colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    click.secho(f"{facts['name']}: {facts['title']}", bold=True)
    rows = {
        "images": f"{facts['train_images']:,} training, {facts['test_images']:,} test",
        "pixels": f"{side} x {side}, {colours}",
        "classes": f"{len(facts['classes'])}: {', '.join(facts['classes'])}",
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
    """A number of bytes as "170.5 MB"."""
    return f"{size / 1e6:,.1f} MB"
