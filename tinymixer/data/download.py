"""Downloads one URL into a `.part` file: resumes an interrupted download, and retries while that can help.

urllib is enough for this: resuming is a GET with a Range header, and urllib follows redirects and uses the
environment's proxies. Only the size is checked here; the caller checks the hash.
"""

import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tinymixer.errors import DownloadError
from tinymixer.text import reason_of, shortened

if TYPE_CHECKING:
    import http.client

    from tinymixer.data.watched import Watch

CHUNK = 1 << 18
# A connection that brought this much before it broke does not count as a failed attempt.
WORTHWHILE = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MirrorError(Exception):
    """This URL cannot give the file; another one may."""


class _BrokenOffError(Exception):
    """The connection failed, but trying again may help."""


@dataclass(frozen=True)
class Patience:
    """How long to keep trying a server.

    timeout    seconds without a byte after which a connection counts as broken
    attempts   broken connections in a row, each with less than `WORTHWHILE` new bytes, after which it is given up
    backoff    seconds to wait before the second attempt; doubled for each one after it
    slowest    bytes a second; a connection that is slower over `timeout` seconds counts as broken, too
    total      seconds after which the server is given up, whatever it has sent
    """

    timeout: float = 30.0
    attempts: int = 4
    backoff: float = 1.0
    slowest: float = 1000.0
    total: float = 12 * 3600.0


class PartFile:
    """The file of a partial download: bytes are appended without a buffer, so a full disk is noticed at once.

    Raises DownloadError, which says what was kept and what to do, when the file cannot be opened or written.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.complete_size = path, size
        self.version: tuple[str, str] | None = None  # (URL, ETag or date) of the file that these bytes belong to
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise DownloadError(f"{path} cannot be written: it is a link or not a plain file. Remove it.")
        try:
            self.file = open(  # noqa: SIM115  (closed in __exit__)
                path, "ab", buffering=0, opener=_not_through_links
            )
        except OSError as error:
            raise DownloadError(f"{path} cannot be written: {error.strerror or error}.") from error
        self.size = self.file.tell()

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()
        if self.size == 0:
            self.path.unlink(missing_ok=True)

    def append(self, content: bytes) -> None:
        """Append all of `content`: an unbuffered write may write only a part, so this repeats until it is done."""
        left = memoryview(content)
        try:
            while left:
                written = self.file.write(left)
                self.size += written
                left = left[written:]
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise DownloadError(f"{self.path} cannot be written: {error.strerror or error}.") from error
            raise DownloadError(
                f"The disk is full: {self.size:,} of {self.complete_size:,} bytes are kept in {self.path}. Free some "
                "space and fetch again, which goes on from there, or set TINYMIXER_CACHE to a folder with more room."
            ) from error

    def truncate(self, size: int) -> None:
        self.file.truncate(size)  # mode "ab": the next write appends, whatever the position was
        self.size = size

    def sync(self) -> None:
        """Flush the file to disk, so that a crash after the rename cannot leave the new name without the content."""
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise DownloadError(f"{self.path} cannot be written: {error.strerror or error}.") from error


def _not_through_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)


def download(
    url: str,
    part: PartFile,
    patience: Patience,
    notify: Callable[[str], object],
    advance: Callable[[int], object],
) -> None:
    """Download the missing bytes of `part` from `url`.

    notify: receives a sentence about each problem and what happens next. advance: receives the number of new bytes; a
    negative number when the server starts again from the beginning.
    Raises MirrorError when this URL cannot give the file, DownloadError when the file cannot be written. Either way,
    and when interrupted, the received bytes stay in the file.
    """
    from tinymixer.data.watched import Watch

    fruitless, most, until = 0, part.size, time.monotonic() + patience.total
    while part.size < part.complete_size:
        try:
            _receive(url, part, Watch(patience.timeout, patience.slowest, until), notify, advance)
        except _BrokenOffError as error:
            # Only new bytes count as progress; otherwise a server that always starts again would be asked for ever.
            fruitless = 0 if part.size - most >= WORTHWHILE else fruitless + 1
            most = max(most, part.size)
            if time.monotonic() > until:
                raise MirrorError(f"{error}, after {patience.total:g} seconds") from error
            if fruitless >= patience.attempts:
                raise MirrorError(f"{error}, {fruitless} times in a row") from error
            wait = patience.backoff * 2 ** max(fruitless - 1, 0)
            notify(
                f"{url}: {error} after {part.size:,} of {part.complete_size:,} bytes. Trying again in {wait:g} seconds."
            )
            time.sleep(wait)


def _receive(
    url: str,
    part: PartFile,
    watch: "Watch",
    notify: Callable[[str], object],
    advance: Callable[[int], object],
) -> None:
    """Receive what one connection gives.

    Raises _BrokenOffError when trying again may help, and MirrorError when it cannot.
    """
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    from tinymixer.data.watched import TooSlowError, watched_opener

    headers = {"User-Agent": "tinymixer", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.version is not None and part.version[0] == url:
            headers["If-Range"] = part.version[1]  # if the file has changed, the server sends all of it
    try:
        request = urllib.request.Request(url, headers=headers)
        with watched_opener(watch).open(request, timeout=watch.timeout) as response:
            watch.content_begins()
            start = _agreed_start(response, part.size, part.complete_size)
            if start != part.size:
                notify(f"{url}: the server cannot resume, so the download begins again.")
                advance(start - part.size)
                part.truncate(start)
            version = _version(response)
            part.version = None if version is None else (url, version)
            while part.size < part.complete_size:
                content = response.read1(min(CHUNK, part.complete_size - part.size))
                if not content:
                    raise _BrokenOffError("the connection ended")
                part.append(content)
                advance(len(content))
    except urllib.error.HTTPError as error:
        with error:
            may_pass = error.code in (408, 425, 429) or error.code >= 500
            raise (_BrokenOffError if may_pass else MirrorError)(f"the server answered {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # This is a network error: PartFile turns disk errors into DownloadError.
        reason = getattr(error, "reason", error)
        if isinstance(reason, TooSlowError):
            raise _BrokenOffError(str(reason)) from error
        if isinstance(reason, TimeoutError):
            raise _BrokenOffError(f"nothing came for {watch.timeout:g} seconds") from error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise MirrorError("its certificate is not trusted here") from error
        if isinstance(error, (ValueError, http.client.InvalidURL)):
            raise MirrorError(f"it is not a usable URL ({reason_of(error)})") from error
        raise _BrokenOffError(f"the connection failed ({shortened(str(reason))})") from error


def _version(response: "http.client.HTTPResponse") -> str | None:
    """The value for If-Range, which changes when the server's file changes: a strong ETag, else the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _agreed_start(response: "http.client.HTTPResponse", offset: int, size: int) -> int:
    """The position of the answer's first byte: `offset`, or 0 when the server ignores Range.

    Raises MirrorError for an answer of another length, such as a login page, before any byte already received is thrown
    away.
    """
    if response.status == 206:
        described = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not described or int(described[1]) != offset:
            raise MirrorError("the server resumes at the wrong place")
        length, start = described[2], offset
    elif response.status == 200:
        length, start = response.headers.get("Content-Length", "*"), 0
    else:
        raise MirrorError(f"the server answered {response.status}")
    if length not in ("*", str(size)):
        raise MirrorError(f"it has a file of {shortened(length, 30)} bytes where {size} were expected")
    return start
