"""One file from one URL into a `.part` file: resumed where it broke off, retried while that can help.

Built on urllib: a GET with a Range header is all it takes, redirects and the environment's proxies are followed, and
fetching works wherever Python does. Only the size is checked here; the hash is the caller's.
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

from tinymixer.borders import reason_of, shortened
from tinymixer.errors import DownloadError

if TYPE_CHECKING:
    import http.client

    from tinymixer.data.watched import Watch

CHUNK = 1 << 18
# A connection that brought this much before it broke does not count as a failed attempt.
WORTHWHILE = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MirrorError(Exception):
    """This URL will not give the file; another may."""


class _BrokenOffError(Exception):
    """The connection failed in a way that may pass."""


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server.

    timeout: seconds without a byte before a connection counts as broken. attempts: how many fruitless connections in a
    row end it. backoff: seconds before the second attempt, doubled for each one after it. slowest: bytes a second, over
    each `timeout` seconds, below which a connection counts as broken too. total: seconds for all of it, from this URL.
    """

    timeout: float = 30.0
    attempts: int = 4
    backoff: float = 1.0
    slowest: float = 1000.0
    total: float = 12 * 3600.0


class PartFile:
    """A download on its way: opened at its end, written without a buffer, so that a full disk shows at once.

    Raises DownloadError, with what was kept and what to do, when the file cannot be opened or written.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.complete_size = path, size
        self.version: tuple[str, str] | None = None  # URL and ETag or date of the file that the bytes are from
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise DownloadError(f"{path} cannot be written: it is a link or no plain file. Remove it.")
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
        """Write all of it: an unbuffered write may take only a part, on a disk that is nearly full for one."""
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
        self.file.truncate(size)  # what is written next is appended, wherever the file was before
        self.size = size

    def sync(self) -> None:
        """Have the system write it to the disk, so that a rename cannot outlive the content."""
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
    """Bring `part` to its complete size from `url`, going on from what it has.

    notify: told in a sentence what went wrong and what happens next. advance: told how many bytes came; a negative
    number when a server begins again.
    Raises MirrorError when this URL is of no use, DownloadError when the file cannot be written. Either way, and when
    interrupted, what was received stays in the file.
    """
    from tinymixer.data.watched import Watch

    fruitless, most, until = 0, part.size, time.monotonic() + patience.total
    while part.size < part.complete_size:
        try:
            _receive(url, part, Watch(patience.timeout, patience.slowest, until), notify, advance)
        except _BrokenOffError as error:
            # Only what was never there before counts: a server that begins again each time would be asked for ever.
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
    """One connection. What goes wrong with it is sorted into _BrokenOffError and MirrorError."""
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    from tinymixer.data.watched import TooSlowError, watched_opener

    headers = {"User-Agent": "tinymixer", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.version is not None and part.version[0] == url:
            headers["If-Range"] = part.version[1]  # a file that has changed comes whole
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
        # Only the network is meant: PartFile has turned the disk's errors into DownloadError.
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
    """What tells this file from a later one of the same name, for If-Range: a strong ETag, else the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _agreed_start(response: "http.client.HTTPResponse", offset: int, size: int) -> int:
    """From which byte the answer goes on: `offset`, or 0 from a server that ignores Range.

    An answer whose length shows another file (a web page to log in, say) raises MirrorError before a byte that was
    already received is given up for it.
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
