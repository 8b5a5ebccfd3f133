"""metrics.jsonl: one row per finished epoch, and where asked for one every few steps.

The file survives a crash, and a checkpoint repairs it when resuming. A row of steps is told by its field "step", which
a row of an epoch has not; a row of steps has its place before the row of its epoch.
"""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinymixer.abilities import in_browser
from tinymixer.borders import opened, shown_path
from tinymixer.errors import TrainingError
from tinymixer.files import Say, replacing, say_nothing, sync_file
from tinymixer.text import shown_value

NUMBERS = (
    "epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "images_per_second", "seconds",
    "learning_rate", "test_loss", "test_accuracy", "test_images", "loss", "accuracy", "gradient_norm",
)  # fmt: skip
TOGETHER = (("validation_loss", "validation_accuracy"), ("test_accuracy", "test_interval", "tested"))
LARGEST_FILE = 100_000_000  # bytes; the rows of a million epochs need less
LARGEST_WITH_STEPS = 50_000_000  # bytes at which rows of steps end: some 250,000 of them
Row = dict[str, Any]
TEST_FIGURES = {"test_loss": float, "test_accuracy": float, "test_interval": list, "test_images": int, "tested": str}
DAMAGED = "metrics.damaged.jsonl"


def is_step_row(row: Row) -> bool:
    """Whether a row is of some steps, not of an epoch."""
    return "step" in row


def append_row(path: Path, row: Row, say: Say = say_nothing, sync: bool = True) -> None:
    """Append one row. When that fails, raises TrainingError and leaves no partial row.

    sync   wait until it is on the disk, and all rows before it
    """
    line = (json.dumps(row) + "\n").encode()
    try:
        # JupyterLite's file system, /drive, hangs where a file is opened to append: there, write at the end instead.
        mode = "ab" if not in_browser() else "r+b" if path.exists() else "wb"
        with path.open(mode, buffering=0) as file:
            file.seek(0, os.SEEK_END)
            size = file.tell()
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError("the disk is full")
                if sync:
                    sync_file(file.fileno(), path.parent, say)
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise TrainingError(
            f"{path} could not be written ({error.strerror or error}): free some space, then go on with --resume"
        ) from error


def read_rows(path: Path) -> list[Row]:
    """The rows of epochs in a metrics.jsonl; [] when there is no such file. `read_step_rows` has those of steps.

    A last line that a crash cut short is skipped. Raises TrainingError for a file that is not a history.
    """
    return [row for row in _all_rows(path) if not is_step_row(row)]


def read_step_rows(path: Path) -> list[Row]:
    """The rows of steps in a metrics.jsonl (`[training] step_rows`); otherwise as `read_rows`."""
    return [row for row in _all_rows(path) if is_step_row(row)]


def _all_rows(path: Path) -> list[Row]:
    rows, faults, _ = _scan(path)
    if faults:
        number, fault = next(iter(faults.items()))
        raise TrainingError(
            f"line {number} of {path} is not a row of metrics: {fault} (resuming the run mends its history from the "
            "checkpoint)"
        )
    return rows


def mend_rows(
    path: Path, kept: Sequence[Row] | None, epochs: int, say: Say = say_nothing, steps: int | None = None
) -> list[Row]:
    """Make the file agree with a checkpoint that was saved after `epochs` epochs, and return the rows of those epochs.

    kept    the rows stored in the checkpoint; None for a checkpoint without a history
    steps   of the run, after which the checkpoint was saved; None keeps the rows of steps up to the last epoch's end

    Rows of later epochs and steps are dropped, since a resumed run writes them again. Damaged, missing and changed rows
    are replaced by the checkpoint's rows where it has them; `say` receives a sentence about it, and a copy of the
    damaged file stays as metrics.damaged.jsonl.
    """
    found, faults, cut_short = _scan(path)
    damaged = list(faults)
    by_epoch = {row["epoch"]: row for row in found if not is_step_row(row)}
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
    by_step = {
        row["step"]: row
        for row in found
        if is_step_row(row) and (row["epoch"] <= epochs if steps is None else row["step"] <= steps)
    }
    wanted = _in_order(rows, by_step.values())
    if wanted != found or damaged or cut_short:
        _write(path, wanted, say)
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
        if not isinstance(row, dict) or type(row.get("step" if "step" in row else "epoch")) is not int:
            faults[number] = "expected a JSON object with 'epoch'"
        elif is_step_row(row) and "epoch" not in row:
            faults[number] = "it has no 'epoch' beside its 'step'"
        elif (fault := _fault(row)) is not None:
            faults[number] = fault
        else:
            rows.append(row)
    return rows, faults, False


def write_rows(path: Path, rows: Iterable[Row], say: Say = say_nothing) -> None:
    """Write the rows of all epochs again; rows of steps that the file has stay.

    Raises CheckpointError when that fails; the old file then stays.
    """
    _write(path, _in_order(rows, (row for row in _scan(path)[0] if is_step_row(row))), say)


def _in_order(epochs: Iterable[Row], steps: Iterable[Row]) -> list[Row]:
    """Rows of both kinds as a run writes them: those of steps, then that of the epoch that ends after them."""
    return sorted(
        (*steps, *epochs), key=lambda row: (math.ceil(row["epoch"]), not is_step_row(row), row.get("step", 0))
    )


def _write(path: Path, rows: Iterable[Row], say: Say) -> None:
    with replacing(path, say) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
