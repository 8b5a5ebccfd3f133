"""Servers that would be asked for ever, files that change on the way, and what others left in the cache."""

import os

import pytest

from tests.data.fetching_helpers import CONTENT, QUICK, check_fetched, offer
from tests.data.mirror_server import Mirror
from tinymixer.data import download, fetch
from tinymixer.errors import DownloadError

IMPATIENT = {"timeout": 0.3, "attempts": 2, "backoff": 0.01}


@pytest.mark.parametrize(
    ("mirror", "message"),
    [
        (Mirror(CONTENT, drips=True), "it sends fewer than 1,000 bytes a second, 2 times in a row"),
        (Mirror(CONTENT, endless_start=True), "its answer did not begin within 0.3 seconds, 2 times in a row"),
    ],
)
def test_a_server_that_never_comes_to_an_end(server, cache, monkeypatch, mirror, message):
    offer(monkeypatch, server, mirror)
    with pytest.raises(DownloadError, match=message):
        fetch("cifar10", cache, **IMPATIENT)


def test_all_patience_ends(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT, drips=True))
    with pytest.raises(DownloadError, match=r"it takes too long, after 0.5 seconds"):
        fetch("cifar10", cache, timeout=5, slowest=1, total=0.5)


def test_a_server_that_begins_again_for_ever(server, cache, monkeypatch):
    """Half of the file, then nothing, then the same half again: only bytes that were never there count as progress."""
    monkeypatch.setattr(download, "WORTHWHILE", 100_000)
    mirror = Mirror(CONTENT, drops=[300_000, 0] * 50, ranges_work=False, length_sent=False)
    offer(monkeypatch, server, mirror)
    with pytest.raises(DownloadError, match=r"the connection ended, 3 times in a row"):
        fetch("cifar10", cache, **QUICK)
    assert len(mirror.ranges) == 4


def test_a_file_that_changes_is_asked_for_by_its_version(server, cache, monkeypatch):
    mirror = Mirror(CONTENT, drops=[300_000], etag='"first"')
    offer(monkeypatch, server, mirror)
    check_fetched(fetch("cifar10", cache, **QUICK), cache)
    assert mirror.conditions == [None, '"first"']
    mirror = Mirror(CONTENT, drops=[300_000], etag='W/"weak"')
    offer(monkeypatch, server, mirror)
    (cache / "cifar-10-python.tar.gz").unlink()
    check_fetched(fetch("cifar10", cache, **QUICK), cache)
    assert mirror.conditions == [None, None]


@pytest.mark.skipif(os.name == "nt", reason="links and pipes as Unix has them")
def test_what_others_left_under_the_name(server, cache, monkeypatch, tmp_path):
    offer(monkeypatch, server, Mirror(CONTENT))
    victim, part = tmp_path / "precious", cache / "cifar-10-python.tar.gz.part"
    victim.write_bytes(b"precious")
    cache.mkdir()
    part.symlink_to(victim)
    with pytest.raises(DownloadError, match=r"it is a link or not a plain file. Remove it"):
        fetch("cifar10", cache, **QUICK)
    assert victim.read_bytes() == b"precious"
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(DownloadError, match=r"it is a link or not a plain file. Remove it"):
        fetch("cifar10", cache, **QUICK)
    part.unlink()
    (cache / "cifar-10-python.tar.gz").mkdir()
    with pytest.raises(DownloadError, match=r"CIFAR-10 could not be kept in .*: Is a directory"):
        fetch("cifar10", cache, **QUICK)
