"""What the tests of fetching share: an archive, mirrors for it, a progress bar that can be asked."""

import numpy as np

from tests.data import cifar_makers as makers

CONTENT = np.random.default_rng(0).integers(0, 256, 700_001, dtype=np.uint8).tobytes()
QUICK = {"timeout": 20, "attempts": 3, "backoff": 0.01}


def offer(monkeypatch, server, *mirrors):
    """Declare CONTENT the official Python archive and these its mirrors, in order (None: a missing file)."""
    urls = []
    for number, mirror in enumerate(mirrors):
        if mirror is not None:
            server.mirrors[f"/{number}/file"] = mirror
        urls.append(server.url(f"/{number}/file"))
    makers.declare_official(monkeypatch, {"python": CONTENT}, {"python": urls})


def files_in(cache):
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def check_fetched(path, cache):
    assert path == cache / "cifar-10-python.tar.gz"
    assert path.read_bytes() == CONTENT
    assert files_in(cache) == [path.name]


class Bar:
    """A progress bar that keeps what it is told."""

    def __init__(self, **options):
        self.options, self.position, self.closed = options, options["initial"], False
        BARS.append(self)

    def update(self, count):
        self.position += count

    def close(self):
        self.closed = True


BARS: list[Bar] = []
