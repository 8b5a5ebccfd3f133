"""HTTP connections that break off when a server is too slow.

urllib's own timeout only catches a server that sends nothing: one that sends a byte now and then, or endless headers,
never triggers it. So every read from the socket is counted, headers included, and too few bytes end the connection.
"""

import http.client
import io
import time
import urllib.request
from functools import partial
from typing import Any


class TooSlowError(OSError):
    """The server sends too few bytes to be worth waiting for."""


class Watch:
    """Counts the bytes that a connection receives, and says when they are too few.

    timeout   seconds allowed for the headers; also the length of the intervals over which content is measured
    slowest   bytes a second that must arrive in each interval
    until     time.monotonic() after which the download is given up
    """

    def __init__(self, timeout: float, slowest: float, until: float) -> None:
        self.timeout, self.slowest, self.until = timeout, slowest, until
        self.in_headers = True
        self._begin()

    def _begin(self) -> None:
        self.started, self.received = time.monotonic(), 0

    def content_begins(self) -> None:
        self.in_headers = False
        self._begin()

    def note(self, count: int) -> None:
        """Count `count` received bytes. Raises TooSlowError when they are too few or too late."""
        now = time.monotonic()
        self.received += count
        if now > self.until:
            raise TooSlowError("it takes too long")
        if now - self.started < self.timeout:
            return
        if self.in_headers:
            raise TooSlowError(f"its answer did not begin within {self.timeout:g} seconds")
        if self.received < self.slowest * (now - self.started):
            raise TooSlowError(f"it sends fewer than {self.slowest:,.0f} bytes a second")
        self._begin()


class _WatchedReader(io.RawIOBase):
    """Reads from a socket's file and reports the size of each read to the watch."""

    def __init__(self, source: Any, watch: Watch) -> None:
        self.source, self.watch = source, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count: int | None = self.source.readinto(buffer)
        self.watch.note(count or 0)
        return count

    def close(self) -> None:
        self.source.close()
        super().close()


class _WatchedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, watch: Watch, **options: Any) -> None:
        super().__init__(sock, **options)
        reader = _WatchedReader(sock.makefile("rb", buffering=0), watch)
        self.fp.close()
        self.fp = io.BufferedReader(reader)


def watched_opener(watch: Watch) -> urllib.request.OpenerDirector:
    """An opener like urllib's own (http, https, redirects, proxies) whose connections all report to `watch`."""

    def watched(connection_class: type[http.client.HTTPConnection]) -> Any:
        def connect(host: str, **options: Any) -> http.client.HTTPConnection:
            connection = connection_class(host, **options)
            connection.response_class = partial(_WatchedResponse, watch=watch)  # type: ignore[assignment]
            return connection

        return connect

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(watched(http.client.HTTPConnection), request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(watched(http.client.HTTPSConnection), request)

    return urllib.request.build_opener(Http, Https)
