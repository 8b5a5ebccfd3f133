"""Paths as users type them: they may begin with ~, and file names need not be UTF-8."""

import os
from pathlib import Path

from tinymixer.borders import shown_path as shown

__all__ = ["expanded", "shown"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Replace a leading ~ by the home folder, unless a file has that very name or no home folder is known."""
    given = Path(path)
    if os.path.lexists(given):
        return given
    try:
        return given.expanduser()
    except RuntimeError:  # no home folder is known
        return given
