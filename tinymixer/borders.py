"""Guards where foreign content comes in: any failure becomes one sentence, a path must be a file, sizes have limits.

Nobody has the full list of what a damaged file makes a parser raise (NumPy, Pillow, zipfile and json each have raised
RecursionError, OverflowError, RuntimeError, AttributeError and SystemError of their own). So a border does not list
exceptions: whatever is raised inside it becomes one sentence, and what a file claims is compared with a limit first.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tinymixer.errors import ConfigError, TinymixerError
from tinymixer.text import readable_number, reason_of, shortened


@contextlib.contextmanager
def guarded(error_class: type[TinymixerError], what: str, advice: str = "") -> Iterator[None]:
    """Turn whatever the block raises into `error_class("{what}: {reason}{advice}")`.

    Errors of our own pass as they are, and so do KeyboardInterrupt and SystemExit.
    """
    try:
        yield
    except TinymixerError:
        raise
    except Exception as error:
        raise error_class(f"{what}: {reason_of(error)}{advice}") from error


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], error_class: type[TinymixerError], name: str | None = None
) -> Iterator[IO[bytes]]:
    """Open a regular file for reading. Pipes and devices are refused: a pipe may block, a device may never end.

    name   what to call it in errors

    Raises `error_class` where the file is missing, is not a regular file or cannot be read, and for whatever the block
    raises.
    """
    called = shown_path(path) if name is None else name
    try:
        require_file(path, error_class, called)
        # Checked again once it is open, without blocking: the path may have changed in between.
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise error_class(f"{called} is no longer a file")
            yield file
    except TinymixerError:
        raise
    except Exception as error:
        raise error_class(f"{called} cannot be read: {reason_of(error)}.") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def require_file(path: str | os.PathLike[str], error_class: type[TinymixerError], name: str) -> None:
    """Raise `error_class` unless a file lies at the path."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise error_class(f"There is no file {name}.") from error
    if stat.S_ISDIR(mode):
        raise error_class(f"{name} is a folder, and a file was expected.")
    if not stat.S_ISREG(mode):
        raise error_class(f"{name} is a pipe, a socket or a device, and a file was expected.")


def read_text(
    path: str | os.PathLike[str], error_class: type[TinymixerError], largest: int, utf16: bool = False
) -> str:
    """A text file as text in UTF-8, or with `utf16` in UTF-16 where a byte-order mark says so, as PowerShell's has it.

    Raises `error_class` for anything else, and for a file of more than `largest` bytes.
    """
    with opened(path, error_class) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise error_class(f"{shown_path(path)} has more than {largest:,} bytes, far more than such a file has")
    marked = utf16 and content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise error_class(
            f"{shown_path(path)} cannot be read: it is not text in UTF-8 (byte {error.start:,} is not)"
        ) from error


def shown_path(path: Any) -> str:
    """A path or name as text that can be printed and written, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Limit:
    """How large something may be, checked before any work is done for it. An environment variable changes the limit.

    variable   the environment variable;  usual   the limit without it;  what   such as "parameters"
    """

    variable: str
    usual: int
    what: str

    @property
    def value(self) -> int:
        """The limit that holds now. Raises ConfigError for a variable that is not a whole number above 0."""
        chosen = os.environ.get(self.variable, "").replace("_", "").strip()
        if not chosen:
            return self.usual
        if not (chosen.isascii() and chosen.isdigit() and len(chosen) <= 18 and int(chosen)):
            raise ConfigError(f"{self.variable} is {shortened(chosen)!r}: expected a whole number above 0")
        return int(chosen)

    def require(self, size: int, whose: str, error_class: type[TinymixerError] = ConfigError) -> None:
        """Raise `error_class` where `size` is above the limit."""
        if size > self.value:
            raise error_class(
                f"{whose} has {readable_number(size)} {self.what}, more than the limit of {self.value:,}: choose "
                f"smaller sizes, or set {self.variable} higher"
            )


PARAMETERS = Limit("TINYMIXER_MAX_PARAMETERS", 500_000_000, "parameters")
WIDTH = Limit("TINYMIXER_MAX_WIDTH", 100_000, "units in a layer")
BLOCKS = Limit("TINYMIXER_MAX_BLOCKS", 1_000, "blocks")
IMAGE_VALUES = Limit("TINYMIXER_MAX_IMAGE_VALUES", 100_000_000, "values in an image")
PIXELS = Limit("TINYMIXER_MAX_PIXELS", 120_000_000, "pixels")
CLASSES = Limit("TINYMIXER_MAX_CLASSES", 1_000_000, "classes")
