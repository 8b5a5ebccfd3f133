"""What was found to be fastest on this machine, kept in a file.

Two algorithms for a product round differently, so a choice made by timing could make two runs of one seed differ. It
is therefore made once for a machine, and every later run takes the same.
"""

import contextlib
import json
import tempfile
from pathlib import Path


class Tuning:
    """A small dictionary in a JSON file; without a file, or where it cannot be written, in memory alone.

    A file that cannot be read counts as empty: the worst that follows is measuring again.
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
        """Remember a choice; the file is written beside and renamed, so that a crash leaves the old one."""
        self._known[key] = value
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as fresh:
                json.dump(self._known, fresh, indent=1)
            Path(fresh.name).replace(self._path)
