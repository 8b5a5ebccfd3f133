"""Fetching weights whose size and hash nobody published: what came first is recorded, and held to from then on."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest

from tests.data.mirror_server import Mirror, MirrorServer
from tinymixer.data.download import Patience
from tinymixer.data.manifest import datasets_folder
from tinymixer.errors import DownloadError
from tinymixer.pretrained import catalogue
from tinymixer.pretrained.catalogue import find
from tinymixer.pretrained.fetching import fetch_weights

CONTENT = np.random.default_rng(0).integers(0, 256, 700_001, dtype=np.uint8).tobytes()
OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME, FILE = "mixer-s16-gsam", "mixer-s16-gsam.npz"
QUICK = Patience(timeout=20, attempts=3, backoff=0.01)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TINYMIXER_WEIGHTS_MIRROR", raising=False)
    with MirrorServer() as running:
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def offer(monkeypatch, server, mirror, **changes):
    """Let the catalogue say that NAME is published at this server; `mirror` None: it is not there."""
    if mirror is not None:
        server.mirrors["/file"] = mirror
    values = {"url": server.url("/file"), "about_bytes": 700_000} | changes
    entry = dataclasses.replace(catalogue.entries()[NAME], **values)
    monkeypatch.setattr(catalogue, "_entries", lambda: types.MappingProxyType({NAME: entry}))


def fetch(cache, **options):
    said = []
    path = fetch_weights(NAME, cache, notify=said.append, patience=QUICK, **options)
    return path, said


def files_in(cache):
    return sorted(path.name for path in (cache / "weights").iterdir() if path.suffix != ".lock")


def test_the_first_fetch_records_what_came(server, cache, monkeypatch):
    mirror = Mirror(CONTENT)
    offer(monkeypatch, server, mirror)
    path, said = fetch(cache)
    assert path.read_bytes() == CONTENT
    assert find(NAME, cache) == path
    assert files_in(cache) == [FILE, "mixer-s16-gsam.record.json"]
    record = json.loads((cache / "weights" / "mixer-s16-gsam.record.json").read_text())
    assert (record["bytes"], record["sha256"], record["url"]) == (700_001, SHA256, server.url("/file"))
    assert said == [f"{NAME}: 700,001 bytes, SHA-256 {SHA256}; later fetches are held to this."]
    assert fetch(cache) == (path, [])
    assert mirror.ranges == [None]


def test_another_file_than_the_first_is_refused(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT))
    path, _ = fetch(cache)
    path.unlink()
    server.mirrors["/file"] = Mirror(OTHER)
    with pytest.raises(DownloadError) as caught:
        fetch(cache)
    message = str(caught.value)
    assert "not the file that was fetched first (wrong SHA-256)" in message
    assert f"held to what came from {server.url('/file')} on " in message
    assert "delete" in message
    assert "mixer-s16-gsam.record.json and fetch again" in message
    assert files_in(cache) == ["mixer-s16-gsam.record.json"]
    (cache / "weights" / "mixer-s16-gsam.record.json").unlink()
    assert fetch(cache)[0].read_bytes() == OTHER


def test_a_file_that_was_changed_in_the_cache_is_moved_aside(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT))
    path, _ = fetch(cache)
    path.write_bytes(OTHER)
    again, said = fetch(cache)
    assert again.read_bytes() == CONTENT
    assert "is not the file that was fetched first; it was moved to" in said[0]
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(catalogue.CheckpointError, match="has 699,996 bytes, which mixer-s16-gsam has not"):
        find(NAME, cache)


def test_a_published_hash_is_held_to_at_once(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(OTHER), bytes=len(CONTENT), sha256=SHA256)
    with pytest.raises(DownloadError, match=r"not the published file \(wrong SHA-256\)"):
        fetch(cache)
    server.mirrors["/file"] = Mirror(CONTENT)
    assert fetch(cache) == (cache / "weights" / FILE, [])


def test_a_connection_that_drops_is_resumed_where_the_server_says_the_file_is_the_same(server, cache, monkeypatch):
    mirror = Mirror(CONTENT, drops=[300_000, 100_000], etag='"one"')
    offer(monkeypatch, server, mirror)
    path, said = fetch(cache)
    assert path.read_bytes() == CONTENT
    assert mirror.ranges == [None, "bytes=300000-", "bytes=400000-"]
    assert mirror.conditions == [None, '"one"', '"one"']
    assert "after 300,000 of 700,001 bytes. Trying again" in said[0]


def test_without_a_version_it_begins_again(server, cache, monkeypatch):
    """Nothing could tell the end of a new file from the end of the old one."""
    mirror = Mirror(CONTENT, drops=[300_000])
    offer(monkeypatch, server, mirror)
    path, said = fetch(cache)
    assert path.read_bytes() == CONTENT
    assert mirror.ranges == [None, None]
    assert "may be of another file, so the download begins again" in said[1]


def test_an_interrupted_fetch_goes_on_in_the_next_one(server, cache, monkeypatch):
    mirror = Mirror(CONTENT, drops=[300_000, 0, 0], etag='"one"')
    offer(monkeypatch, server, mirror)
    with pytest.raises(DownloadError, match="the connection ended, 3 times in a row"):
        fetch(cache)
    assert files_in(cache) == [f"{FILE}.part", f"{FILE}.part.origin"]
    assert fetch(cache)[0].read_bytes() == CONTENT
    assert mirror.ranges[-1] == "bytes=300000-"
    assert files_in(cache) == [FILE, "mixer-s16-gsam.record.json"]


@pytest.mark.parametrize("origin", ["", "{}", '{"url": 1, "version": "x", "bytes": 9}', "[" * 9000])
def test_a_part_of_unknown_origin_is_dropped(server, cache, monkeypatch, origin):
    mirror = Mirror(CONTENT, etag='"one"')
    offer(monkeypatch, server, mirror)
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / f"{FILE}.part").write_bytes(OTHER[::-1][:1000])
    (cache / "weights" / f"{FILE}.part.origin").write_text(origin)
    assert fetch(cache)[0].read_bytes() == CONTENT
    assert mirror.ranges == [None]


def test_a_new_version_in_between(server, cache, monkeypatch):
    """The server ignores the Range, since If-Range names an old version, and sends the new file whole."""
    offer(monkeypatch, server, Mirror(CONTENT, drops=[300_000, 0, 0], etag='"one"'))
    with pytest.raises(DownloadError):
        fetch(cache)
    new = CONTENT[::-1] + b"more"
    server.mirrors["/file"] = Mirror(new, etag='"two"', ranges_work=False)
    assert fetch(cache)[0].read_bytes() == new


def test_a_web_page_is_not_taken_for_weights(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(b"<html>Log in first</html>"))
    with pytest.raises(DownloadError, match="has a file of 25 bytes where about 700000 were expected"):
        fetch(cache)
    offer(monkeypatch, server, Mirror(CONTENT, length_sent=False))
    with pytest.raises(DownloadError, match="does not say how long its file is"):
        fetch(cache)
    offer(monkeypatch, server, None, url=server.url("/missing"))
    with pytest.raises(DownloadError, match=r"the server answered 404.*--url URL"):
        fetch(cache)
    assert files_in(cache) == []


def test_mirrors_come_first_and_a_url_stands_alone(server, cache, monkeypatch, tmp_path):
    official, own = Mirror(CONTENT), Mirror(CONTENT)
    offer(monkeypatch, server, official)
    server.mirrors[f"/class/{FILE}"] = own
    fetch(cache, mirrors=[server.url("/class/")])
    assert (len(own.ranges), official.ranges) == (1, [])
    monkeypatch.setenv("TINYMIXER_WEIGHTS_MIRROR", server.url("/class"))
    fetch(tmp_path / "second")
    assert (len(own.ranges), official.ranges) == (2, [])
    with pytest.raises(DownloadError, match="404"):
        fetch(tmp_path / "third", url=server.url("/nowhere"))
    assert official.ranges == []


def test_a_file_put_there_by_hand_is_recorded(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(OTHER))
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / FILE).write_bytes(CONTENT)
    path, said = fetch(cache)
    assert SHA256 in said[0]
    path.unlink()
    with pytest.raises(DownloadError, match="held to what came from file://"):
        fetch(cache)


def test_a_damaged_record_is_said(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT))
    fetch(cache)
    for text in ("{", "{}", '{"bytes": "1", "sha256": "", "url": "", "day": ""}'):
        (cache / "weights" / "mixer-s16-gsam.record.json").write_text(text)
        with pytest.raises(DownloadError, match=r"the record of the first fetch, is damaged.*Delete it to accept"):
            fetch(cache)


def test_too_little_room_is_seen_before_it_starts(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT))
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=699_999))
    with pytest.raises(DownloadError, match="has 699,999 bytes free, and 700,000 more are needed"):
        fetch(cache)


def test_a_disk_that_fills_up_keeps_what_came(server, cache, monkeypatch):
    """RLIMIT_FSIZE makes the system itself refuse to write further, in a process of its own."""
    pytest.importorskip("resource")
    mirror = Mirror(CONTENT, etag='"one"')
    offer(monkeypatch, server, mirror)
    program = """
        import json, resource, signal, sys
        import pytest
        from tests.pretrained import test_fetching_weights as tests
        from tinymixer.errors import DownloadError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with pytest.MonkeyPatch.context() as patch:
            server = type("Server", (), {"mirrors": {}, "url": lambda self, path: sys.argv[1]})()
            tests.offer(patch, server, None)
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
            try:
                tests.fetch(tests.catalogue.Path(sys.argv[2]))
            except DownloadError as error:
                print(json.dumps(str(error)))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), server.url("/file"), str(cache)]
    result = subprocess.run(
        command, cwd=datasets_folder().parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    message = json.loads(result.stdout)
    assert message.startswith("The disk is full: 400,000 of 700,001 bytes are kept in ")
    assert fetch(cache)[0].read_bytes() == CONTENT
    assert mirror.ranges == [None, "bytes=400000-"]
