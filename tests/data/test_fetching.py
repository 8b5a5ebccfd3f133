"""Fetching from a real server on this machine, and everything that goes wrong on the way."""

import socket

import numpy as np
import pytest

from tests.data import cifar_makers as makers
from tests.data.fetching_helpers import CONTENT, QUICK, Bar, check_fetched, files_in, offer
from tests.data.mirror_server import Mirror
from tinymixer.data import dataset_info, download, fetch, load_dataset
from tinymixer.data.manifest import datasets_folder
from tinymixer.errors import DownloadError


def test_fetched_once_and_then_kept(server, cache, monkeypatch, bars):
    mirror = Mirror(CONTENT)
    offer(monkeypatch, server, mirror)
    check_fetched(fetch("cifar10", cache, progress=Bar), cache)
    assert bars[0].options["total"] == bars[0].position == len(CONTENT)
    assert bars[0].closed
    check_fetched(fetch("cifar10", cache, progress=Bar), cache)
    assert mirror.ranges == [None]
    assert len(bars) == 1


def test_tqdm_is_a_progress_bar(server, cache, monkeypatch, capsys):
    tqdm = pytest.importorskip("tqdm")
    offer(monkeypatch, server, Mirror(CONTENT))
    check_fetched(fetch("cifar10", cache, progress=tqdm.tqdm), cache)
    assert "700k/700k" in capsys.readouterr().err


def test_what_was_fetched_can_be_loaded(server, cache, monkeypatch):
    tables = makers.make_tables()
    archive = makers.make_tar(makers.python_members(tables))
    server.mirrors["/file"] = Mirror(archive)
    makers.declare_official(monkeypatch, {"python": archive}, {"python": [server.url("/file")]})
    assert not dataset_info("cifar10", cache)["available"]
    path = fetch("cifar10", cache)
    assert dataset_info("cifar10", cache)["path"] == str(path)
    dataset = load_dataset("cifar10", cache=cache)
    np.testing.assert_array_equal(dataset.test_images, makers.expected_images(tables["test_batch"]))


def test_the_digits_need_no_fetching(cache):
    assert fetch("digits", cache) == datasets_folder() / "digits.npz"
    assert not cache.exists()


@pytest.mark.parametrize("length_sent", [True, False])
def test_a_connection_that_drops_is_resumed(server, cache, monkeypatch, length_sent, bars):
    mirror = Mirror(CONTENT, drops=[300_000, 100_000], length_sent=length_sent)
    offer(monkeypatch, server, mirror)
    messages = []
    check_fetched(fetch("cifar10", cache, progress=Bar, notify=messages.append, **QUICK), cache)
    assert mirror.ranges == [None, "bytes=300000-", "bytes=400000-"]
    assert bars[0].position == len(CONTENT)
    assert "ended after 300,000 of 700,001 bytes. Trying again in 0.01 seconds." in messages[0]


def test_a_server_that_stops_sending(server, cache, monkeypatch):
    mirror = Mirror(CONTENT, stalls=[200_000])
    offer(monkeypatch, server, mirror)
    messages = []
    check_fetched(fetch("cifar10", cache, notify=messages.append, timeout=0.5, attempts=20, backoff=0.01), cache)
    assert mirror.ranges[:2] == [None, "bytes=200000-"]
    assert "nothing came for 0.5 seconds after 200,000" in messages[0]


def test_a_server_that_cannot_resume(server, cache, monkeypatch, bars):
    mirror = Mirror(CONTENT, drops=[300_000], ranges_work=False)
    offer(monkeypatch, server, mirror)
    messages = []
    check_fetched(fetch("cifar10", cache, progress=Bar, notify=messages.append, **QUICK), cache)
    assert "cannot resume" in messages[1]
    assert bars[0].position == len(CONTENT)


def test_patience_ends_and_the_next_mirror_goes_on(server, cache, monkeypatch):
    first, second = Mirror(CONTENT, drops=[100_000, 0, 0, 0]), Mirror(CONTENT)
    offer(monkeypatch, server, first, second)
    check_fetched(fetch("cifar10", cache, **QUICK), cache)
    assert len(first.ranges) == 3
    assert second.ranges == ["bytes=100000-"]


def test_a_slow_server_that_brings_something_each_time_is_not_given_up(server, cache, monkeypatch):
    monkeypatch.setattr(download, "WORTHWHILE", 100_000)
    mirror = Mirror(CONTENT, drops=[100_000] * 6)
    offer(monkeypatch, server, mirror)
    check_fetched(fetch("cifar10", cache, **QUICK), cache)
    assert len(mirror.ranges) == 7


def test_a_missing_file_and_then_the_next_mirror(server, cache, monkeypatch):
    offer(monkeypatch, server, None, Mirror(CONTENT))
    messages = []
    check_fetched(fetch("cifar10", cache, notify=messages.append, **QUICK), cache)
    assert messages == [f"{server.url('/0/file')}: the server answered 404."]


def test_a_server_in_trouble_is_asked_again(server, cache, monkeypatch):
    mirror = Mirror(CONTENT, answers=[503, 429])
    offer(monkeypatch, server, mirror)
    check_fetched(fetch("cifar10", cache, **QUICK), cache)
    assert len(mirror.ranges) == 3


def test_wrong_content_of_the_right_size(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT[::-1]), Mirror(CONTENT))
    messages = []
    check_fetched(fetch("cifar10", cache, notify=messages.append, **QUICK), cache)
    assert "not the official archive (wrong SHA-256), so it was deleted" in messages[0]


def test_a_web_page_does_not_cost_what_was_received(server, cache, monkeypatch):
    page = Mirror(b"<html>Log in first</html>", ranges_work=False)
    good = Mirror(CONTENT)
    offer(monkeypatch, server, page, good)
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz.part").write_bytes(CONTENT[:500_000])
    messages = []
    check_fetched(fetch("cifar10", cache, notify=messages.append, **QUICK), cache)
    assert good.ranges == ["bytes=500000-"]
    assert "has a file of 25 bytes where 700001 were expected" in messages[0]


@pytest.mark.parametrize("answer", ["bytes 0-700000/700001", "bytes 500000-700001/700002", "nonsense"])
def test_a_server_that_resumes_wrongly(server, cache, monkeypatch, answer):
    good = Mirror(CONTENT)
    offer(monkeypatch, server, Mirror(CONTENT, content_range=answer), good)
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz.part").write_bytes(CONTENT[:500_000])
    check_fetched(fetch("cifar10", cache, **QUICK), cache)
    assert good.ranges == ["bytes=500000-"]


@pytest.mark.parametrize(
    ("part", "ranges"),
    [
        (CONTENT, []),  # complete: only its hash is taken
        (CONTENT[:-1], ["bytes=700000-"]),
        (CONTENT + b"more", [None]),  # longer than can be right
        (CONTENT[::-1], [None]),  # complete and wrong
        (b"other bytes", ["bytes=11-", None]),  # wrong from the start, which shows only at the end
    ],
)
def test_what_an_earlier_fetch_left(server, cache, monkeypatch, part, ranges):
    mirror = Mirror(CONTENT)
    offer(monkeypatch, server, mirror)
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz.part").write_bytes(part)
    check_fetched(fetch("cifar10", cache, **QUICK), cache)
    assert mirror.ranges == ranges


def test_a_damaged_archive_in_the_cache_is_moved_aside(server, cache, monkeypatch):
    offer(monkeypatch, server, Mirror(CONTENT))
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz").write_bytes(CONTENT[::-1])
    messages = []
    assert fetch("cifar10", cache, notify=messages.append).read_bytes() == CONTENT
    assert (cache / "cifar-10-python.tar.gz.damaged").read_bytes() == CONTENT[::-1]
    assert "was moved to" in messages[0]


def test_no_mirror_has_it(server, cache, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        makers.declare_official(
            monkeypatch, {"python": CONTENT}, {"python": [server.url("/missing"), nobody, "nonsense"]}
        )
        with pytest.raises(DownloadError) as caught:
            fetch("cifar10", cache, **QUICK)
    message = str(caught.value)
    assert message.startswith("CIFAR-10 could not be fetched from any of its mirrors (")
    assert f"{server.url('/missing')}: the server answered 404;" in message
    assert "refused" in message
    assert "nonsense: it is not a usable URL" in message
    assert "`--data PATH`" in message
    assert files_in(cache) == []


def test_a_mirror_of_ones_own_comes_first(server, cache, monkeypatch):
    official, own = Mirror(CONTENT), Mirror(CONTENT)
    offer(monkeypatch, server, official)
    server.mirrors["/class/cifar-10-python.tar.gz"] = own
    check_fetched(fetch("cifar10", cache, mirrors=[server.url("/class/")]), cache)
    assert (len(own.ranges), official.ranges) == (1, [])
