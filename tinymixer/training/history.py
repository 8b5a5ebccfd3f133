"""metrics.jsonl: one row per finished epoch. The file survives a crash, and a checkpoint repairs it when resuming."""

import contextlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinymixer.borders import opened, shown_path
from tinymixer.errors import TrainingError
from tinymixer.files import Say, replacing, say_nothing, sync_file
from tinymixer.text import shown_value

NUMBERS = (
    "epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "images_per_second", "seconds",
    "learning_rate", "test_loss", "test_accuracy", "test_images",
)  # fmt: skip
TOGETHER = (("validation_loss", "validation_accuracy"), ("test_accuracy", "test_interval", "tested"))
LARGEST_FILE = 100_000_000  # bytes; the rows of a million epochs need less
Row = dict[str, Any]
TEST_FIGURES = {"test_loss": float, "test_accuracy": float, "test_interval": list, "test_images": int, "tested": str}
DAMAGED = "metrics.damaged.jsonl"


def append_row(path: Path, row: Row, say: Say = say_nothing) -> None:
    """Append one row and flush it to disk. When that fails, raises TrainingError and leaves no partial row."""
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
            f"{path} could not be written ({error.strerror or error}): free some space, then go on with --resume"
        ) from error


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; [] when there is no such file. A last line that a crash cut short is skipped.

    Raises TrainingError for a file that is not a history.
    """
    rows, faults, _ = _scan(path)
    if faults:
        number, fault = next(iter(faults.items()))
        raise TrainingError(
            f"line {number} of {path} is not a row of metrics: {fault} (resuming the run mends its history from the "
            "checkpoint)"
        )
    return rows


def mend_rows(path: Path, kept: Sequence[Row] | None, epochs: int, say: Say = say_nothing) -> list[Row]:
    """Make the file agree with a checkpoint that was saved after `epochs` epochs, and return the rows of those epochs.

    kept   the rows stored in the checkpoint; None for a checkpoint without a history

    Rows of later epochs are dropped, since a resumed run writes them again. Damaged, missing and changed rows are
    replaced by the checkpoint's rows where it has them; `say` receives a sentence about it, and a copy of the damaged
    file stays as metrics.damaged.jsonl.
    """
    found, faults, cut_short = _scan(path)
    damaged = list(faults)
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
    if damaged or missing or changed:
        with contextlib.suppress(OSError):
            shutil.copyfile(path, path.with_name(DAMAGED))
        what = [
            f"{name} {', '.join(map(str, numbers))}"
            for name, numbers in (("no row for epoch", missing), ("changed rows for epoch", changed),
                                  ("damaged lines", damaged)) if numbers
        ]  # fmt: skip
        mended = "it was mended from the checkpoint" if len(rows) == epochs else "their figures are lost"
        say(f"{path} had {', '.join(what)}: {mended}; the file as it was is kept as {DAMAGED}")
    if rows != found or damaged or cut_short:
        write_rows(path, rows, say)
    return rows


def _fault(row: Row) -> str | None:
    """Say what is wrong with a row; None where nothing is."""
    for name in NUMBERS:
        value = row.get(name, 0.0)
        if type(value) not in (int, float) or not -1e300 < value < 1e300:
            return f"its '{name}' is not a number ({shown_value(value)})"
    for together in TOGETHER:
        if 0 < sum(name in row for name in together) < len(together):
            missing = next(name for name in together if name not in row)
            return f"it has no '{missing}' beside its other figures"
    interval = row.get("test_interval", [0.0, 1.0])
    if not isinstance(interval, list) or [type(value) for value in interval] != [float, float]:
        return f"its 'test_interval' is not two numbers ({shown_value(interval)})"
    return None


def is_tested(row: Row) -> bool:
    """Whether a row holds all of the test figures."""
    return all(type(row.get(name)) is kind for name, kind in TEST_FIGURES.items()) and len(row["test_interval"]) == 2


def _scan(path: Path) -> tuple[list[Row], dict[int, str], bool]:
    """Read a file: (its valid rows, line number -> what is wrong with that line, whether the last line is cut short).

    A last line that is cut short is not reported: a crash does that.
    """
    if not path.exists():
        return [], {}, False
    with opened(path, TrainingError) as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise TrainingError(f"{shown_path(path)} has more than {LARGEST_FILE:,} bytes, far more than a history has")
    lines = content.split(b"\n")
    rows: list[Row] = []
    faults: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError, MemoryError):  # ValueError also means invalid UTF-8 or too many digits
            if number == len(lines) and line.startswith(b"{"):
                return rows, faults, True
            row = None
        if not isinstance(row, dict) or type(row.get("epoch")) is not int:
            faults[number] = "expected a JSON object with 'epoch'"
        elif (fault := _fault(row)) is not None:
            faults[number] = fault
        else:
            rows.append(row)
    return rows, faults, False


def write_rows(path: Path, rows: Iterable[Row], say: Say = say_nothing) -> None:
    """Write the whole history again. Raises CheckpointError when that fails; the old one then stays."""
    with replacing(path, say) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
