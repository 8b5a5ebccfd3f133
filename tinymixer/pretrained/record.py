"""What came at the first fetch of published weights: its size and SHA-256, which every later fetch is held to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tinymixer.borders import guarded, read_text
from tinymixer.errors import DownloadError
from tinymixer.files import replacing

LARGEST = 10_000  # bytes


@dataclass(frozen=True)
class Record:
    """The size and SHA-256 of a file, the URL it came from, and the day (ISO 8601)."""

    bytes: int
    sha256: str
    url: str
    day: str


def record_path(folder: Path, name: str) -> Path:
    """The file that keeps the record of these weights."""
    return folder / f"{name}.record.json"


def read_record(folder: Path, name: str) -> Record | None:
    """What is recorded of these weights; None before their first fetch.

    Raises DownloadError for a damaged record: going on without it would take any file.
    """
    path = record_path(folder, name)
    if not path.exists():
        return None
    text = read_text(path, DownloadError, LARGEST)
    advice = ". Delete it to accept whatever the next fetch brings, or put back the one you had"
    with guarded(DownloadError, f"{path}, the record of the first fetch, is damaged", advice):
        record = Record(**json.loads(text))
        if not (isinstance(record.bytes, int) and isinstance(record.sha256, str) and len(record.sha256) == 64):
            raise ValueError("it holds no size and SHA-256")
        return record


def write_record(folder: Path, name: str, record: Record) -> None:
    """Keep the record. Raises CheckpointError when it cannot be written."""
    with replacing(record_path(folder, name)) as file:
        file.write(json.dumps(asdict(record), indent=1).encode())
