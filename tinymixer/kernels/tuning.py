"""Remembers in a file which algorithms were fastest on this machine.

Two algorithms for a product round differently, so choosing by timing in each run could make two runs of one seed
differ. So the choice is made once per machine, and every later run uses it.
"""

import contextlib
import json
import tempfile
from pathlib import Path


class Tuning:
    """A small dictionary in a JSON file; without a file, or where it cannot be written, it is kept in memory alone.

    A file that cannot be read counts as empty: then the algorithms are timed again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        if path is not None:
            with contextlib.suppress(OSError, ValueError):
                stored = json.loads(path.read_text(encoding="utf-8"))
                self._known = {str(k): str(v) for k, v in stored.items()} if isinstance(stored, dict) else {}

    def get(self, key: str) -> str | None:
        return self._known.get(key)

    def put(self, key: str, value: str) -> None:
        """Store a choice. The file is written under another name and then renamed, so a crash leaves the old one."""
        self._known[key] = value
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as fresh:
                json.dump(self._known, fresh, indent=1)
            Path(fresh.name).replace(self._path)
