"""How commands print: tables for people, JSON for programs."""

import contextlib
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinymixer.text import printable, reason_of

if TYPE_CHECKING:
    from rich.table import Table

SPARKS = "\N{LOWER ONE EIGHTH BLOCK}\u2582\u2583\u2584\u2585\u2586\u2587\u2588"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs to read.")


def open_streams() -> None:
    """Replace a missing stdout or stderr by the null device, and let both escape characters that they cannot encode."""
    for name in ("stdout", "stderr"):
        output: Any = getattr(sys, name)
        if output is None:  # the program that started us has closed it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, open until the end
        elif hasattr(output, "reconfigure"):
            output.reconfigure(errors="backslashreplace")


class TextOnly(io.TextIOBase):
    """A text stream over something that takes text.

    JupyterLite's stdout takes bytes as well, without a word. So click takes it for a binary stream, and what it writes
    there is lost.
    """

    encoding = "utf-8"

    def __init__(self, output: Any) -> None:
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Raises TypeError for bytes."""
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        self._output.write(text)
        return len(text)

    def flush(self) -> None:
        getattr(self._output, "flush", lambda: None)()

    def isatty(self) -> bool:
        return bool(getattr(self._output, "isatty", lambda: False)())


@contextlib.contextmanager
def text_streams() -> Iterator[None]:
    """Within this block, stdout and stderr are text streams, also where a notebook has put something else there."""
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    replaced = {
        name: TextOnly(output)
        for name, output in before.items()
        if output is not None and not isinstance(output, io.IOBase)
    }
    for name, output in replaced.items():
        setattr(sys, name, output)
    try:
        yield
    finally:
        for name in replaced:
            setattr(sys, name, before[name])


def silence(output: Any) -> None:
    """Send all further output of stdout or stderr to the null device, also what Python flushes when it ends."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, output.fileno())
        os.close(devnull)


def tell(text: str, to_stderr: bool = False) -> None:
    """Print a line of progress. If nobody can read it, the work goes on.

    Where stdout cannot be written (it is closed, or the disk is full), says so once on stderr and drops all later
    lines. Where the reader of a pipe has closed it, or stderr cannot be written, drops them without a message.
    """
    output = sys.stderr if to_stderr else sys.stdout
    try:
        click.echo(printable(text, keep="\n"), err=to_stderr)
    except (OSError, ValueError) as error:
        silence(output)
        if not to_stderr and not isinstance(error, BrokenPipeError):
            tell(f"standard output cannot be written ({reason_of(error)}): going on without it", to_stderr=True)


def wrapped(text: str, to_stderr: bool = False, indent: str = "  ") -> str:
    """A sentence in lines that fit the terminal, the later ones indented; in a file or a pipe it stays one line."""
    if not (sys.stderr if to_stderr else sys.stdout).isatty():
        return text
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def wrapped_lines(text: str) -> str:
    """Each line of a report as `wrapped` has it; a hint or another detail goes on below its own words."""
    detail = " " * len("    hint      ")
    return "\n".join(wrapped(line, indent=detail if line[:1] == " " else "  ") for line in text.split("\n"))


def print_json(value: Any) -> None:
    """Print one JSON document to standard output. Raises ValueError for NaN and infinity, which JSON does not have."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def make_table(columns: Sequence[str], title: str = "") -> "Table":
    """A table whose first column is aligned left; the others hold numbers and are aligned right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left")
    return table


def print_table(table: "Table") -> None:
    """Print a table. In a terminal it is at most as wide as that; in a file or a pipe it has its full width."""
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
    """Print a label and a text per line; in a terminal, long texts are wrapped and indented."""
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
    """Format a share from 0 to 1 as a percentage; None becomes "-"."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def sparkline(values: Sequence[float], width: int = 50) -> str:
    """Draw values as one line of text with eight heights, scaled from lowest to highest; at most `width` characters."""
    shown = [values[i * len(values) // width] for i in range(width)] if len(values) > width else values
    lowest, span = min(shown), max(shown) - min(shown)
    return "".join(SPARKS[round(7 * (value - lowest) / span) if span else 0] for value in shown)


def duration(seconds: float) -> str:
    """Format seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
