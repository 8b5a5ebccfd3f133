"""Reads members of a .tar.gz into memory: writes nothing to disk, and never reads without a limit."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO

from tinymixer.errors import DataError
from tinymixer.text import reason_of

CHUNK = 1 << 20
GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)


class _LimitedReader:
    """Reads from a file and raises DataError after `limit` bytes, which stops any decompression bomb."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, limit: int, name: str) -> None:
        self.file, self.left, self.name = file, limit, name

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(f"{self.name} unpacks to far more than it should, so it was not read further.")
        return content


def sha256_of(file: IO[bytes]) -> str:
    """SHA-256 of an open file, from its current position to its end."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def gzip_is_cut_short(file: IO[bytes], limit: int) -> bool:
    """Whether a gzip file stops before its compressed data is complete. Reads at most `limit` unpacked bytes."""
    unpacked = 0
    try:
        with gzip.GzipFile(fileobj=file) as zipped:
            while unpacked < limit and (chunk := zipped.read(CHUNK)):
                unpacked += len(chunk)
    except EOFError:
        return True
    except (zlib.error, gzip.BadGzipFile):
        return False
    return False


def read_members(
    file: IO[bytes], name: str, wanted: Collection[str], largest: int, total: int
) -> Iterator[tuple[str, bytes]]:
    """Read a gzipped tar once and yield (file name, content) of the wanted files, in the archive's order.

    name: the archive's name in error messages. largest: the most bytes that a wanted member may have. total: the most
    bytes that the archive may unpack to. Every member, wanted or not, must be a plain file or folder.
    Raises DataError for a member that is a link, a device or too large, or whose path leaves the archive ("../x"), and
    for a damaged archive.
    """
    try:
        with (
            gzip.GzipFile(fileobj=file) as zipped,
            tarfile.open(fileobj=_LimitedReader(zipped, total, name), mode="r|") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                _refuse_unsafe(member, name)
                base = PurePosixPath(member.name).name
                if not member.isfile() or base not in wanted:
                    continue
                if member.size > largest:
                    raise DataError(
                        f"{base} in {name} has {member.size:,} bytes, more than the {largest:,} it may have at most."
                    )
                content = archive.extractfile(member)
                yield base, content.read() if content is not None else b""
    except GZIP_ERRORS as error:
        raise DataError(f"{name} is damaged: it cannot be unpacked to its end ({error}).") from error
    except DataError:
        raise
    except Exception as error:  # for odd headers tarfile raises other errors than TarError
        raise DataError(f"{name} is not a readable tar archive ({reason_of(error)}).") from error


def _refuse_unsafe(member: tarfile.TarInfo, name: str) -> None:
    inside = PurePosixPath(member.name), PureWindowsPath(member.name)
    if any(path.is_absolute() or path.anchor or ".." in path.parts for path in inside):
        raise DataError(f"{name} was refused: its member '{member.name}' would climb out of the folder.")
    if member.issym() or member.islnk():
        raise DataError(f"{name} was refused: its member '{member.name}' is a link, and only plain files are expected.")
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{name} was refused: its member '{member.name}' is neither a plain file nor a folder.")
