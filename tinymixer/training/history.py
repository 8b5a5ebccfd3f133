"""metrics.jsonl: one row per finished epoch, in a file that survives a crash."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tinymixer.borders import read_text, shown_value
from tinymixer.errors import TrainingError
from tinymixer.files import replacing

NUMBERS = (
    "epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "images_per_second", "seconds",
    "learning_rate", "test_loss", "test_accuracy", "test_images",
)  # fmt: skip
TOGETHER = (("validation_loss", "validation_accuracy"), ("test_accuracy", "test_interval", "tested"))
LARGEST_FILE = 100_000_000  # bytes: a million epochs have less
Row = dict[str, Any]


def append_row(path: Path, row: Row) -> None:
    """Add one row and see it onto the disk. Raises TrainingError, and leaves no half row, when that fails."""
    line = (json.dumps(row) + "\n").encode()
    try:
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError("the disk is full")
                os.fsync(file.fileno())
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
    if not path.exists():
        return []
    rows = []
    lines = read_text(path, TrainingError, LARGEST_FILE).split("\n")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of over 4,300 digits
            if number == len(lines):
                break
            raise TrainingError(f"line {number} of {path} is not JSON: expected one object per epoch") from error
        if row is not None:
            if not isinstance(row, dict) or type(row.get("epoch")) is not int:
                raise TrainingError(f"line {number} of {path} is not a row of metrics: expected an object with 'epoch'")
            if (fault := _fault(row)) is not None:
                raise TrainingError(f"line {number} of {path} is not a row of metrics: {fault}")
            rows.append(row)
    return rows


def _fault(row: Row) -> str | None:
    """What no row of ours can have; None where nothing is wrong."""
    for name in NUMBERS:
        value = row.get(name, 0.0)
        if type(value) not in (int, float) or not -1e300 < value < 1e300:
            return f"its '{name}' is no number ({shown_value(value)})"
    for together in TOGETHER:
        if 0 < sum(name in row for name in together) < len(together):
            missing = next(name for name in together if name not in row)
            return f"it has no '{missing}' beside its other figures"
    interval = row.get("test_interval", [0.0, 1.0])
    if not isinstance(interval, list) or [type(value) for value in interval] != [float, float]:
        return f"its 'test_interval' is not two numbers ({shown_value(interval)})"
    return None


def replace_last_row(path: Path, row: Row) -> None:
    """Write the last row anew, as it gets its test figures. Raises CheckpointError when that fails."""
    _write_rows(path, [*read_rows(path)[:-1], row])


def keep_epochs(path: Path, epochs: int) -> None:
    """Drop the rows past `epochs`, which a resumed run will write again."""
    rows = read_rows(path)
    if path.exists():
        _write_rows(path, [row for row in rows if row["epoch"] <= epochs])


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    with replacing(path) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
