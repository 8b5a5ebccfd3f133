"""Paths as people and shells give them: with ~, with names that are not UTF-8."""

import os
from pathlib import Path

from tinymixer.borders import shown_path as shown

__all__ = ["expanded", "shown"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a leading ~ as the home folder, unless a file is really called so, or there is no such home."""
    given = Path(path)
    if os.path.lexists(given):
        return given
    try:
        return given.expanduser()
    except RuntimeError:  # no home folder is known
        return given
