"""Fetching onto a full disk, into a folder that cannot be used, interrupted, and in two processes at once."""

import errno
import json
import multiprocessing
import shutil
import subprocess
import sys
import textwrap

import pytest

from tests.data import cifar_makers as makers
from tests.data.fetching_helpers import CONTENT, QUICK, Bar, check_fetched, files_in, offer
from tests.data.mirror_server import Mirror
from tinymixer.data import download, fetch
from tinymixer.data.manifest import datasets_folder
from tinymixer.errors import DownloadError


def test_a_full_disk_while_writing(server, cache, monkeypatch):
    """RLIMIT_FSIZE makes the system itself refuse to write further, in a process of its own."""
    pytest.importorskip("resource")
    mirror = Mirror(CONTENT)
    offer(monkeypatch, server, mirror)
    program = """
        import json, resource, signal, sys
        import pytest
        from tests.data import fetching_helpers as helpers
        from tinymixer.data import fetch
        from tinymixer.errors import DownloadError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with pytest.MonkeyPatch.context() as patch:
            helpers.makers.declare_official(patch, {"python": helpers.CONTENT}, {"python": [sys.argv[1]]})
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
            try:
                fetch("cifar10", sys.argv[2])
            except DownloadError as error:
                print(json.dumps(str(error)))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), server.url("/0/file"), str(cache)]
    root = datasets_folder().parent
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    message = json.loads(result.stdout)
    assert message.startswith("The disk is full: 400,000 of 700,001 bytes are kept in ")
    assert (cache / "cifar-10-python.tar.gz.part").read_bytes() == CONTENT[:400_000]
    assert files_in(cache) == ["cifar-10-python.tar.gz.part"]
    check_fetched(fetch("cifar10", cache), cache)
    assert mirror.ranges == [None, "bytes=400000-"]


def test_too_little_room_is_seen_before_it_starts(server, cache, monkeypatch):
    mirror = Mirror(CONTENT)
    offer(monkeypatch, server, mirror)
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=699_999))
    with pytest.raises(DownloadError, match=r"has 699,999 bytes free, and 700,001 more are needed"):
        fetch("cifar10", cache)
    assert mirror.ranges == []
    assert files_in(cache) == []


def test_without_filelock(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(DownloadError, match=r'needs filelock: pip install "tinymixer\[cli\] @ git'):
        fetch("cifar10", cache)
    assert not cache.exists()


def test_a_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"cache folder .* cannot be used: .*Set TINYMIXER_CACHE"):
        fetch("cifar10", tmp_path / "file" / "cache")


def test_a_part_file_that_cannot_be_written(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT))
    (cache / "cifar-10-python.tar.gz.part").mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"\.part cannot be written: "):
        fetch("cifar10", cache)


def test_another_error_while_writing(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT))

    def fail(*_arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(download.os, "fsync", fail)
    with pytest.raises(DownloadError, match=r"cannot be written: Input/output error"):
        fetch("cifar10", cache)
    assert files_in(cache) == ["cifar-10-python.tar.gz.part"]


def test_interrupted_and_taken_up_again(server, cache, monkeypatch, bars):
    mirror = Mirror(CONTENT)
    offer(monkeypatch, server, mirror)

    class Interrupts(Bar):
        def update(self, count):
            super().update(count)
            if self.position > 200_000:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("cifar10", cache, progress=Interrupts)
    kept = (cache / "cifar-10-python.tar.gz.part").read_bytes()
    assert len(kept) > 200_000
    assert CONTENT.startswith(kept)
    assert bars[0].closed
    check_fetched(fetch("cifar10", cache), cache)
    assert mirror.ranges == [None, f"bytes={len(kept)}-"]


def _fetch_in_a_process(url, cache, start, results):
    with pytest.MonkeyPatch.context() as patch:
        makers.declare_official(patch, {"python": CONTENT}, {"python": [url]})
        start.wait(30)
        results.put(fetch("cifar10", cache, **QUICK).read_bytes() == CONTENT)


def test_processes_at_the_same_time(server, cache):
    """Two at once, on a server that drops: one fetches, the other waits and finds it there."""
    mirror = Mirror(CONTENT, drops=[200_000, 200_000])
    server.mirrors["/file"] = mirror
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [
        context.Process(target=_fetch_in_a_process, args=(server.url("/file"), cache, start, results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    start.set()
    assert [results.get(timeout=60) for _ in processes] == [True, True]
    for process in processes:
        process.join(30)
    assert mirror.ranges == [None, "bytes=200000-", "bytes=400000-"]
    assert files_in(cache) == ["cifar-10-python.tar.gz"]
