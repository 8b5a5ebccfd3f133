"""metrics.jsonl: one row per finished epoch, in a file that survives a crash, and is mended from the checkpoint."""

import contextlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinymixer.errors import TrainingError
from tinymixer.files import Say, replacing, say_nothing, sync_file

Row = dict[str, Any]
TEST_FIGURES = {"test_loss": float, "test_accuracy": float, "test_interval": list, "test_images": int, "tested": str}
DAMAGED = "metrics.damaged.jsonl"


def append_row(path: Path, row: Row, say: Say = say_nothing) -> None:
    """Add one row and see it onto the disk. Raises TrainingError, and leaves no half row, when that fails."""
    line = (json.dumps(row) + "\n").encode()
    try:
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError("the disk is full")
                sync_file(file.fileno(), path.parent, say)
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise TrainingError(
            f"{path} could not be written ({error.strerror or error}): make room, then go on with --resume"
        ) from error


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; none when there is no such file. A last line cut short by a crash is left out.

    Raises TrainingError for a file that is not a history.
    """
    rows, damaged, lines = _scan(path)
    if damaged and damaged != [lines]:
        raise TrainingError(
            f"line {damaged[0]} of {path} is not a row of metrics: expected a JSON object with 'epoch' for each epoch "
            "(resuming the run mends its history from the checkpoint)"
        )
    return rows


def mend_rows(path: Path, kept: Sequence[Row] | None, epochs: int, say: Say = say_nothing) -> list[Row]:
    """The rows of the epochs that a checkpoint stands after; the file is written anew where it has others.

    kept   the rows as the checkpoint holds them; None where it holds none, and the file is all there is

    Rows past the checkpoint are dropped, since a resumed run writes them again. Where a line is damaged, or a row is
    missing or changed, it is mended from the checkpoint as far as that goes, said, and the file kept as it was under
    the name metrics.damaged.jsonl.
    """
    found, damaged, lines = _scan(path)
    by_epoch = {row["epoch"]: row for row in found}
    rows: list[Row] = []
    missing: list[int] = []
    changed: list[int] = []
    for epoch in range(1, epochs + 1):
        row = by_epoch.get(epoch)
        if kept is not None and epoch <= len(kept):
            right = dict(kept[epoch - 1])
            if row is None:
                missing.append(epoch)
            elif not right.items() <= row.items():
                changed.append(epoch)
            row = row if row is not None and epoch not in changed else right
        elif row is None:
            missing.append(epoch)
            continue
        rows.append(row)
    cut_short = damaged == [lines]  # by a crash, as happens
    if (damaged and not cut_short) or missing or changed:
        with contextlib.suppress(OSError):
            shutil.copyfile(path, path.with_name(DAMAGED))
        what = [
            f"{name} {', '.join(map(str, numbers))}"
            for name, numbers in (("no row for epoch", missing), ("changed rows for epoch", changed),
                                  ("damaged lines", damaged)) if numbers
        ]  # fmt: skip
        mended = "it was mended from the checkpoint" if len(rows) == epochs else "their figures are lost"
        say(f"{path} had {', '.join(what)}: {mended}; the file as it was is kept as {DAMAGED}")
    if rows != found or damaged:
        _write_rows(path, rows, say)
    return rows


def write_last_row(path: Path, rows: Sequence[Row], say: Say = say_nothing) -> None:
    """Write the history anew, when its last row has got its test figures. Raises CheckpointError when that fails."""
    _write_rows(path, rows, say)


def is_tested(row: Row) -> bool:
    """Whether a row holds the test figures, whole."""
    return all(type(row.get(name)) is kind for name, kind in TEST_FIGURES.items()) and len(row["test_interval"]) == 2


def _scan(path: Path) -> tuple[list[Row], list[int], int]:
    """The rows in a file, the numbers of the lines that are none, and the number of lines."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], [], 0
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror or error})") from error
    rows, damaged = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError, MemoryError):  # ValueError: also bytes that are no text, too many digits
            row = None
        if isinstance(row, dict) and type(row.get("epoch")) is int:
            rows.append(row)
        else:
            damaged.append(number)
    return rows, damaged, len(lines)


def _write_rows(path: Path, rows: Iterable[Row], say: Say) -> None:
    with replacing(path, say) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
