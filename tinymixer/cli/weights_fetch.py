"""tinymixer weights fetch, tinymixer weights list: published weights by name."""

import sys
from typing import Any

import click

from tinymixer.cli.output import json_option, make_table, print_json, print_labelled, print_table, wrapped


@click.command(short_help="Download published weights.")
@click.argument("name")
@click.option("--url", metavar="URL", help="Address of this one file, asked instead of the published one.")
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    help="Address of a folder that holds the file under the name it has in the cache, tried first: the cache of "
    "another machine. May be repeated; the environment variable TINYMIXER_WEIGHTS_MIRROR names one, too.",
)
def fetch(name: str, url: str | None, mirrors: tuple[str, ...]) -> None:
    """Download the published weights NAME into the cache, and print the path of their file.

    A broken download is taken up where it stopped. No hashes are published: the first fetch records the SHA-256 of what
    came, and a later file with another one is refused.

    \b
    Examples:
      tinymixer weights fetch mixer-s16-gsam
      tinymixer weights fetch mixer-b16-imagenet1k --mirror http://192.168.0.10:8000
    """
    from tqdm import tqdm

    from tinymixer.pretrained.fetching import fetch_weights

    progress = tqdm if sys.stderr.isatty() else None
    path = fetch_weights(
        name, url=url, mirrors=mirrors, progress=progress, notify=lambda text: tqdm.write(text, file=sys.stderr)
    )
    click.echo(path)


@click.command("list", short_help="List the published weights, or show what is known of one of them.")
@click.argument("name", required=False)
@json_option
def list_weights(name: str | None, as_json: bool) -> None:
    """List the published weights that tinymixer knows by name; with NAME, show what is known of these, and their card.

    \b
    Examples:
      tinymixer weights list
      tinymixer weights list mixer-b16-imagenet1k
      tinymixer weights list --json
    """
    from tinymixer.pretrained.catalogue import entries, entry_of

    found = [entry_of(name)] if name is not None else list(entries().values())
    facts = [_facts(entry) for entry in found]
    if as_json:
        print_json(facts if name is None else facts[0])
    elif name is None:
        _print_table(facts)
    else:
        _print_one(facts[0], found[0].card())


def _facts(entry: Any) -> dict[str, Any]:
    """What is known of these weights, and whether they are here, as plain values."""
    from dataclasses import asdict

    from tinymixer.pretrained.catalogue import path_of, weights_folder
    from tinymixer.pretrained.record import read_record

    path, record = path_of(entry), read_record(weights_folder(), entry.name)
    part = path.with_name(f"{path.name}.part")
    facts = asdict(entry) | {"file": entry.file, "path": str(path) if path.is_file() else None}
    facts["partial_bytes"] = part.stat().st_size if part.is_file() else 0
    if record is not None:
        facts |= {"bytes": record.bytes, "sha256": record.sha256, "recorded": record.day}
    return facts


def _print_table(facts: list[dict[str, Any]]) -> None:
    table = make_table(["name", "model", "classes", "MiB", "top-1", "here"])
    for row in facts:
        size = (row["bytes"] or row["about_bytes"]) / 2**20
        table.add_row(
            row["name"],
            row["variant"],
            f"{row['classes']:,}",
            f"{size:,.1f}" if size else "",
            "" if row["top1"] is None else f"{row['top1']:.1f}",
            _state(row),
        )
    print_table(table)
    for row in facts:
        if row["remark"] or row["refused"]:
            click.echo(wrapped(f"{row['name']}: {row['remark'] or row['refused']}."))
    click.echo("Fetch one: tinymixer weights fetch NAME. Its card: tinymixer weights list NAME.")


def _state(row: dict[str, Any]) -> str:
    if row["refused"]:
        return "refused"
    if row["path"]:
        return "yes"
    return "in part" if row["partial_bytes"] else "no"


def _print_one(row: dict[str, Any], card: str) -> None:
    click.secho(f"{row['name']}: {row['title']}", bold=True)
    exact = row["bytes"] is not None
    top1 = "" if row["top1"] is None else f"{row['top1']:.1f} % on ImageNet-1k ({row['top1_source']})"
    rows = {
        "refused": row["refused"],
        "model": f"Mixer-{row['variant']}, {row['classes']:,} classes, GELU {row['gelu']}" if row["gelu"] else "",
        "top-1": top1,
        "remark": row["remark"],
        "pictures": row["preprocessing"],
        "size": f"{'' if exact else 'about '}{(row['bytes'] or row['about_bytes']):,} bytes",
        "SHA-256": f"{row['sha256']}" if row["sha256"] else "recorded at the first fetch",
        "file": row["url"],
        "licence": row["licence"],
        "source": row["source"],
        "cite": row["citation"],
        "here": row["path"] or ("" if row["refused"] else f"not fetched yet: tinymixer weights fetch {row['name']}"),
    }
    print_labelled({label: text for label, text in rows.items() if text}, indent=2)
    click.echo(f"\n{card.rstrip()}")
