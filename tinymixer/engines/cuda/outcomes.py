"""What came of a fused step's proof on this machine, kept in the cache folder: one JSON file for each kind of step.

A kind of step is everything that decides which code runs on which device: versions of tinymixer, CuPy, nvmath-python,
the driver and CUDA; the device; sizes, precision, optimizer and options. A file holds an outcome for each way of
computing it ("captured", "uncaptured"). Before a way is tried, "trying" is written: where a process dies of it, as
after an illegal address, the next start finds that word and takes the next way.
"""

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from tinymixer.engines.cuda.capability import capability_of, device_name, spoken
from tinymixer.engines.engine import EngineOptions, Work
from tinymixer.errors import CheckpointError
from tinymixer.files import replacing
from tinymixer.models import Model
from tinymixer.optim import Optimizer

FORMAT = 1
_TRYING_HERE: set[tuple[Path, str]] = set()  # by this process, in whichever thread
PATIENCE = 600.0  # seconds after which a proof counts as dead: that long it may take to compile
PASSED, FAILED, TRYING = "passed", "failed", "trying"
LARGEST_FILE = 1_000_000  # bytes
NVMATH = "nvmath-python"
SETTINGS = (
    "momentum",
    "nesterov",
    "decoupled",
    "betas",
    "eps",
    "iterations",
    "matrices",
    "decay",
    "clip_norm",
)  # of an optimizer


def kind_of_step(
    cupy: Any, model: Model, optimizer: Optimizer, work: Work, options: EngineOptions
) -> dict[str, dict[str, Any]]:
    """Everything that decides which code a fused step runs, as values for JSON."""
    runtime = cupy.cuda.runtime
    return {
        "versions": {
            "tinymixer": f"{_version_of('tinymixer')} {_own_source()}",
            "cupy": str(cupy.__version__),
            NVMATH: _version_of(NVMATH),
            "cuda": int(runtime.runtimeGetVersion()),
            "driver": int(runtime.driverGetVersion()),
        },
        "device": {"name": device_name(cupy), "capability": spoken(capability_of(cupy))},
        "model": dict(model.config.to_dict()),
        "work": {
            "batch_size": work.batch_size,
            "micro_batches": work.micro_batches,
            "image_shape": list(work.images.shape[1:]),
            "augmentation": work.augmentation.to_dict(),
            "label_smoothing": work.label_smoothing,
            "average": None if work.average is None else {"decay": work.average.decay, "every": work.average.every},
        },
        "optimizer": {"rule": type(optimizer).__name__, "groups": [group.to_dict() for group in optimizer.groups]}
        | {name: getattr(optimizer, name) for name in SETTINGS if hasattr(optimizer, name)},
        "options": {
            name: getattr(options, name) for name in ("precision", "deterministic", "recompute", "two_streams")
        },
    }


class Outcomes:
    """The outcomes of the ways of one kind of step. A file that cannot be read counts as empty.

    folder   of the cache;  kind   from `kind_of_step`

    Where the folder cannot be written, outcomes are kept in memory alone and every start proves its step anew.
    """

    def __init__(self, folder: Path, kind: Mapping[str, Any]) -> None:
        self.kind = json.loads(json.dumps(kind))
        name = hashlib.sha256(json.dumps(self.kind, sort_keys=True).encode()).hexdigest()[:20]
        self.path = folder / f"{name}.json"
        self._ways: dict[str, dict[str, Any]] = {}

    def known(self, way: str) -> tuple[str, str] | None:
        """(PASSED, "") or (FAILED, why) where a start before this one found out; None where the way is to be proved."""
        outcome = self._read().get(way, {})
        if outcome.get("status") == PASSED:
            return PASSED, ""
        if outcome.get("status") == FAILED:
            return FAILED, str(outcome.get("reason", "it failed before"))
        if outcome.get("status") == TRYING and (self.path, way) not in _TRYING_HERE and not _still_trying(outcome):
            return FAILED, "the program ended while it was checked"
        return None

    def begin(self, way: str) -> None:
        """Write that a way is being tried."""
        _TRYING_HERE.add((self.path, way))
        self._put(way, {"status": TRYING, "process": os.getpid(), "machine": socket.gethostname()})

    def settle(self, way: str, status: str, **details: Any) -> None:
        """Write PASSED or FAILED, with details for who reads the file."""
        _TRYING_HERE.discard((self.path, way))
        self._put(way, {"status": status, **details})

    def forget(self, way: str) -> None:
        """Leave the way to be proved at the next start: this one was stopped, or lacked what may be there then."""
        _TRYING_HERE.discard((self.path, way))
        self._put(way, None)

    def report(self, way: str, text: str) -> Path | None:
        """Write a report to attach to an issue beside the outcomes; None where it cannot be written."""
        path = self.path.with_name(f"{self.path.stem}-{way}.txt")
        return path if _write(path, text) else None

    def _put(self, way: str, outcome: dict[str, Any] | None) -> None:
        self._ways = self._read()
        self._ways.pop(way, None)
        if outcome is not None:
            self._ways[way] = outcome | {"time": time.time()}
        _write(self.path, json.dumps({"format": FORMAT, "kind": self.kind, "ways": self._ways}, indent=1))

    def _read(self) -> dict[str, dict[str, Any]]:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if self.path.stat().st_size <= LARGEST_FILE:
                stored = json.loads(self.path.read_text(encoding="utf-8"))
                if isinstance(stored, dict) and stored.get("format") == FORMAT and stored.get("kind") == self.kind:
                    ways = stored.get("ways")
                    if isinstance(ways, dict):
                        return {name: way for name, way in ways.items() if isinstance(way, dict)}
        return dict(self._ways)


def _still_trying(outcome: Mapping[str, Any]) -> bool:
    """Whether the process that is trying may still be at it."""
    process, when = outcome.get("process"), outcome.get("time")
    if not isinstance(process, int) or not isinstance(when, int | float) or process <= 0:
        return False
    if outcome.get("machine") == socket.gethostname() and os.name == "posix":
        if process == os.getpid():
            return False  # another process had this number before
        try:
            os.kill(process, 0)  # asks whether it lives
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):  # it belongs to somebody else
            pass
    return 0 <= time.time() - when < PATIENCE


def _write(path: Path, text: str) -> bool:
    """Write a file beside `path` and rename it. Returns whether that worked: a proof does not depend on it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(text.encode())
    except (OSError, CheckpointError):
        return False
    return True


def _own_source() -> str:
    """A digest of the files that a fused step is made of, so that a change of one is proved anew."""
    digest = hashlib.sha256()
    for package, folders in (("tinymixer.kernels", ("", "cuda", "tiles")), ("tinymixer.engines.cuda", ("",))):
        for folder in folders:
            place = resources.files(package).joinpath(folder) if folder else resources.files(package)
            if place.is_dir():
                for file in sorted(place.iterdir(), key=lambda entry: entry.name):
                    if file.is_file() and file.name.endswith((".py", ".cu", ".cuh")):
                        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
