"""Downloads one URL into a `.part` file: resumes an interrupted download, and retries while that can help.

urllib is enough for this: resuming is a GET with a Range header, and urllib follows redirects and uses the
environment's proxies. Only the size is checked here; the caller checks the hash.

Where neither size nor hash is known yet, the server says the size, and bytes are added to an earlier download only
where the same server says that its file has not changed since: no hash could find out otherwise.
"""

import contextlib
import errno
import json
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
ABOUT = 0.01  # by how much of itself a size that is known roughly may be wrong
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

    size    bytes of the complete file; None where only the server knows. Then the file `.part.origin` beside it keeps
            which version of which URL's file these bytes belong to; without that they are dropped
    about   bytes of the complete file, roughly, where `size` is None

    Raises DownloadError, which says what was kept and what to do, when the file cannot be opened or written.
    """

    def __init__(self, path: Path, size: int | None, about: int | None = None) -> None:
        self.path, self.complete_size, self.about = path, size, about
        self.version: tuple[str, str] | None = None  # (URL, ETag or date) of the file that these bytes belong to
        self.origin = path.with_name(f"{path.name}.origin") if size is None else None
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise DownloadError(f"{path} cannot be written: it is a link or not a plain file. Remove it.")
        try:
            self.file = open(  # noqa: SIM115  (closed in __exit__)
                path, "ab", buffering=0, opener=_not_through_links
            )
        except OSError as error:
            raise DownloadError(f"{path} cannot be written: {error.strerror or error}.") from error
        self.size = self.file.tell()
        if self.origin is not None and self.size:
            self._read_origin()

    @property
    def size_words(self) -> str:
        """The size of the complete file, for a sentence."""
        if self.complete_size is not None:
            return f"{self.complete_size:,}"
        return "an unknown number of" if self.about is None else f"about {self.about:,}"

    def begin_again(self) -> None:
        """Drop all bytes, and what a server said of its file."""
        self.truncate(0)
        self.version = None
        if self.origin is not None:
            self.complete_size = None

    def belongs_to(self, url: str) -> bool:
        """Whether bytes of this URL may be added: always where a hash will tell, else only of the same version."""
        return self.origin is None or (self.version is not None and self.version[0] == url)

    def note(self, url: str, version: str | None, size: int) -> None:
        """Keep what the server says of its file: a version that changes with it, and its size in bytes."""
        self.version, self.complete_size = None if version is None else (url, version), size
        if self.origin is not None:
            with contextlib.suppress(OSError):  # then the next download begins again
                self.origin.write_text(json.dumps({"url": url, "version": version, "bytes": size}), encoding="utf-8")

    def _read_origin(self) -> None:
        assert self.origin is not None
        try:
            kept = json.loads(self.origin.read_text(encoding="utf-8"))
            url, version, size = kept["url"], kept["version"], kept["bytes"]
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            url = version = size = None
        if isinstance(url, str) and isinstance(version, str) and isinstance(size, int) and size >= self.size:
            self.version, self.complete_size = (url, version), size
        else:
            self.truncate(0)

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()
        if self.size == 0:
            self.remove()

    def remove(self) -> None:
        """Delete the file and what was kept about it."""
        self.path.unlink(missing_ok=True)
        self.remove_origin()

    def remove_origin(self) -> None:
        if self.origin is not None:
            self.origin.unlink(missing_ok=True)

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
                f"The disk is full: {self.size:,} of {self.size_words} bytes are kept in {self.path}. Free some "
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
    while part.complete_size is None or part.size < part.complete_size:
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
            notify(f"{url}: {error} after {part.size:,} of {part.size_words} bytes. Trying again in {wait:g} seconds.")
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
    if part.size and not part.belongs_to(url):
        notify(f"{url}: what was received before may be of another file, so the download begins again.")
        advance(-part.size)
        part.begin_again()
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.version is not None and part.version[0] == url:
            headers["If-Range"] = part.version[1]  # if the file has changed, the server sends all of it
    try:
        request = urllib.request.Request(url, headers=headers)
        with watched_opener(watch).open(request, timeout=watch.timeout) as response:
            watch.content_begins()
            start, size = _agreed_start(response, part)
            if start != part.size:
                notify(f"{url}: the server cannot resume, so the download begins again.")
                advance(start - part.size)
                part.truncate(start)
            part.note(url, _version(response), size)
            while part.size < size:
                content = response.read1(min(CHUNK, size - part.size))
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


def _agreed_start(response: "http.client.HTTPResponse", part: PartFile) -> tuple[int, int]:
    """The position of the answer's first byte (`part.size`, or 0 when the server sends all), and the file's size.

    Raises MirrorError for an answer of another length, such as a login page, before any byte already received is thrown
    away.
    """
    if response.status == 206:
        described = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not described or int(described[1]) != part.size:
            raise MirrorError("the server resumes at the wrong place")
        length, start, known = described[2], part.size, part.complete_size
    elif response.status == 200:
        length, start = response.headers.get("Content-Length", "*"), 0
        # Where the server says the size, a new version of its file may have another one than the version before.
        known = part.complete_size if part.origin is None else None
    else:
        raise MirrorError(f"the server answered {response.status}")
    if known is not None:
        if length not in ("*", str(known)):
            raise MirrorError(f"it has a file of {shortened(length, 30)} bytes where {known} were expected")
        return start, known
    if not re.fullmatch(r"[0-9]{1,15}", length):
        raise MirrorError("it does not say how long its file is")
    size = int(length)
    if part.about is not None and abs(size - part.about) > ABOUT * part.about:
        raise MirrorError(f"it has a file of {size} bytes where about {part.about} were expected")
    return start, size
