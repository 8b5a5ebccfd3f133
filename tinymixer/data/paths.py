"""Paths as people and shells give them: with ~, with names that are not UTF-8."""

import os
from pathlib import Path
from typing import Any


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a leading ~ as the home folder, unless a file is really called so, or there is no such home."""
    given = Path(path)
    if os.path.lexists(given):
        return given
    try:
        return given.expanduser()
    except RuntimeError:  # no home folder is known
        return given


def shown(path: Any) -> str:
    """A path or name as text that can be printed and written, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
