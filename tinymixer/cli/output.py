"""How commands print: tables for people, JSON for programs."""

import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinymixer.errors import first_line, printable

if TYPE_CHECKING:
    from rich.table import Table

SPARKS = "\N{LOWER ONE EIGHTH BLOCK}\u2582\u2583\u2584\u2585\u2586\u2587\u2588"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs to read.")


def open_streams() -> None:
    """Make sure that there are standard streams, and that no sign which they cannot show stops a command."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, to the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence(stream: Any) -> None:
    """Let what is written to a stream go nowhere, also what Python still flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


def tell(text: str, to_stderr: bool = False) -> None:
    """Print a line of something that goes on whether anybody reads it or not.

    Where the stream is closed, full, or has no reader any more, that is said once, on the other one if that is open,
    and what follows goes nowhere.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    try:
        click.echo(printable(text, but="\n"), err=to_stderr)
    except (OSError, ValueError) as error:
        silence(stream)
        if not to_stderr and not isinstance(error, BrokenPipeError):
            tell(f"standard output cannot be written ({first_line(error)}): going on without it", to_stderr=True)


def print_json(value: Any) -> None:
    """Print one JSON document to standard output. NaN and infinity, which JSON does not have, are a defect here."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def make_table(columns: Sequence[str], title: str = "") -> "Table":
    """A table with its first column to the left and the others, numbers, to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left")
    return table


def print_table(table: "Table") -> None:
    """Print a table, as wide as the terminal allows; to a file or a pipe, as wide as it needs to be."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        unlimited = console.options.update(max_width=sys.maxsize)
        console.width = max(80, console.measure(table, options=unlimited).maximum)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def print_labelled(rows: Mapping[str, str], indent: int = 0, print_line: Callable[[str], None] = click.echo) -> None:
    """Print a label and a text per line; in a terminal, long texts go on below themselves."""
    margin = " " * (indent + 2 + max(map(len, rows)))
    for label, text in rows.items():
        line = f"{' ' * indent}{label}".ljust(len(margin)) + text
        if sys.stdout.isatty():
            width = max(40, min(shutil.get_terminal_size().columns, 120))
            line = textwrap.fill(
                line,
                width,
                subsequent_indent=margin,
                drop_whitespace=True,
                break_on_hyphens=False,
                break_long_words=False,
            )
        print_line(line.rstrip())


def percent(share: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 as a percentage, "-" where there is none."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def sparkline(values: Sequence[float], width: int = 50) -> str:
    """A curve of one line, from the lowest value to the highest: eight heights, `width` values at most."""
    shown = [values[i * len(values) // width] for i in range(width)] if len(values) > width else values
    lowest, span = min(shown), max(shown) - min(shown)
    return "".join(SPARKS[round(7 * (value - lowest) / span) if span else 0] for value in shown)


def counted(number: int, thing: str) -> str:
    """Such as "1 epoch", "1,437 epochs"."""
    return f"{number:,} {thing}{'' if number == 1 else 'es' if thing.endswith('s') else 's'}"
