"""Results of a benchmark that are written as they come, and of which one failure costs one row."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinymixer.text import reason_of

LONGEST = 300  # characters of a library's own message


def sentence_of(error: BaseException) -> str:
    """What went wrong, in one line: an error of any library, by its class and what it says."""
    kind, line = type(error).__name__, reason_of(error)
    return (line if line.startswith(kind) else f"{kind}: {line}")[:LONGEST]


@contextmanager
def failure_in(row: dict[str, Any]) -> Iterator[None]:
    """Whatever fails inside is a sentence under "failed" in the row; only Ctrl-C goes on.

    The libraries have error classes of their own (cuBLAS's and cuBLASLt's are no RuntimeErrors), compilers fail in
    others, and each of them would otherwise take all the rows that were still to come with it.
    """
    try:
        yield
    except Exception as error:
        row["failed"] = sentence_of(error)


class Guarded:
    """A function that runs steps, until it fails once: then it does nothing, and `failure` says why."""

    def __init__(self, run: Callable[[int], Any]) -> None:
        self._run, self.failure = run, None

    def __call__(self, steps: int) -> Any:
        row: dict[str, Any] = {}
        if self.failure is None:
            with failure_in(row):
                return self._run(steps)
            self.failure = row["failed"]
            self._run = None  # and with it the memory that it held
        return time.sleep(0.001 * min(steps, 5))  # takes some time, so that nothing divides by it


class Rows(list[dict[str, Any]]):
    """Rows that go into NAME.json and NAME.txt of a folder whenever one is added or changed (`write`).

    text   makes the readable form
    """

    def __init__(self, folder: Path | None, name: str, text: Callable[[list[dict[str, Any]]], str]) -> None:
        super().__init__()
        self._folder, self._name, self._text = folder, name, text
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        self.append(row)
        self.write()
        return row

    def write(self) -> None:
        """Each file is written beside and renamed, so that a session that is cut off leaves whole ones."""
        if self._folder is None:
            return
        for end, text in (("json", json.dumps(self, indent=1)), ("txt", self._text(self))):
            path = self._folder / f"{self._name}.{end}"
            beside = path.with_name(path.name + ".part")
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
