"""Connections that are watched while they bring something: urllib's own timeout only sees a server that sends nothing.

A server that sends a byte now and then, or lines of headers for ever, never lets that timeout run out. So every read
from the socket is noted, headers and the lines before them included, and too little of it ends the connection.
"""

import http.client
import io
import time
import urllib.request
from functools import partial
from typing import Any


class TooSlowError(OSError):
    """A server brings too little to be worth waiting for."""


class Watch:
    """How much has come, and until when the next of it is due.

    timeout   seconds for the headers, and of one stretch of content;  slowest   bytes a second over each stretch
    until     time.monotonic() at which all patience ends
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
        """So many bytes came. Raises TooSlowError where that is too little, or too late."""
        now = time.monotonic()
        self.received += count
        if now > self.until:
            raise TooSlowError("it takes longer than anyone should wait")
        if now - self.started < self.timeout:
            return
        if self.in_headers:
            raise TooSlowError(f"its answer did not begin within {self.timeout:g} seconds")
        if self.received < self.slowest * (now - self.started):
            raise TooSlowError(f"it sends fewer than {self.slowest:,.0f} bytes a second")
        self._begin()


class _WatchedStream(io.RawIOBase):
    """What comes from a socket, each piece of it noted."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        self.stream, self.watch = stream, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count: int | None = self.stream.readinto(buffer)
        self.watch.note(count or 0)
        return count

    def close(self) -> None:
        self.stream.close()
        super().close()


class _WatchedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, watch: Watch, **options: Any) -> None:
        super().__init__(sock, **options)
        stream = _WatchedStream(sock.makefile("rb", buffering=0), watch)
        self.fp.close()
        self.fp = io.BufferedReader(stream)


def watched_opener(watch: Watch) -> urllib.request.OpenerDirector:
    """urllib's opener for http and https, redirects and proxies as usual, with every connection watched."""

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
