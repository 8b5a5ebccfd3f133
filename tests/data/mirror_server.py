"""A web server on this machine that misbehaves as told."""

import contextlib
import http.server
import re
import threading
from dataclasses import dataclass, field


@dataclass
class Mirror:
    """What to serve under one path, and how. Requests' Range headers (None without one) are noted in `ranges`.

    drops: bytes after which each of the first connections is cut; the later ones go through.
    stalls: as drops, but the connection stays open and silent. answers: status codes given before anything else.
    """

    content: bytes
    drops: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    ranges_work: bool = True
    length_sent: bool = True
    content_range: str | None = None
    drips: bool = False  # a byte every now and then
    endless_start: bool = False  # lines before the headers, for ever
    etag: str | None = None
    conditions: list[str | None] = field(default_factory=list)  # requests' If-Range headers
    ranges: list[str | None] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mirror = self.server.mirrors.get(self.path)
        if mirror is None:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        mirror.ranges.append(wanted)
        mirror.conditions.append(self.headers.get("If-Range"))
        if mirror.endless_start:
            with contextlib.suppress(ConnectionError):
                while not self.server.closing.wait(0.001):
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        if mirror.answers:
            self.send_error(mirror.answers.pop(0))
            return
        start = 0
        if wanted and mirror.ranges_work:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(mirror.content):
                self.send_error(416)
                return
            self.send_response(206)
            total = len(mirror.content)
            self.send_header("Content-Range", mirror.content_range or f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        content = mirror.content[start:]
        if mirror.length_sent:
            self.send_header("Content-Length", str(len(content)))
        if mirror.etag:
            self.send_header("ETag", mirror.etag)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            if mirror.drips:
                for place in range(len(content)):
                    self.wfile.write(content[place : place + 1])
                    if self.server.closing.wait(0.02):
                        break
            elif mirror.drops:
                self.wfile.write(content[: mirror.drops.pop(0)])
            elif mirror.stalls:
                self.wfile.write(content[: mirror.stalls.pop(0)])
                self.wfile.flush()
                self.server.closing.wait(10)
            else:
                self.wfile.write(content)

    def log_message(self, *_arguments):
        """Say nothing."""


class MirrorServer(http.server.ThreadingHTTPServer):
    """Serves `mirrors` (path -> Mirror) until the block ends."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mirrors = {}
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def __exit__(self, *_arguments):
        self.closing.set()
        self.shutdown()
        self.thread.join(10)
        self.server_close()
