"""The borders at which foreign content comes in: whatever happens there is one sentence."""

import os
from pathlib import Path

import pytest

from tinymixer.borders import Limit, guarded, opened, read_text
from tinymixer.errors import ConfigError, DataError


def raise_deep():
    def deeper():
        return deeper()

    return deeper()


@pytest.mark.parametrize(
    "fail",
    [
        raise_deep,
        lambda: 1 // 0,
        lambda: int("9" * 5000),
        lambda: float(10**400),
        lambda: None.read,
        lambda: {}["key"],
        lambda: bytearray(1 << 62),
        lambda: (_ for _ in ()).throw(RuntimeError("File is encrypted, password required for extraction")),
        lambda: (_ for _ in ()).throw(SystemError("tile cannot extend outside image")),
        lambda: (_ for _ in ()).throw(NotImplementedError),
        lambda: Path("/no/such/file").read_bytes(),
    ],
)
def test_whatever_is_raised_is_one_sentence(fail):
    with (
        pytest.raises(DataError, match=r"^mine\.npz cannot be read: [^\n]{2,220}; fetch it again$"),
        guarded(DataError, "mine.npz cannot be read", "; fetch it again"),
    ):
        fail()


def test_our_own_errors_and_an_interrupt_pass():
    with pytest.raises(ConfigError, match=r"^as it is$"), guarded(DataError, "mine.npz"):
        raise ConfigError("as it is")
    with pytest.raises(KeyboardInterrupt), guarded(DataError, "mine.npz"):
        raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_nothing_but_a_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "pipe", "a pipe, a socket or a device"),
        ("/dev/zero", "a pipe, a socket or a device"),
        (tmp_path, "is a folder"),
        (tmp_path / "nowhere", "There is no file"),
    ):
        with pytest.raises(DataError, match=message), opened(path, DataError):
            pass


def test_text_files(tmp_path):
    path = tmp_path / "a.toml"
    for content in ("ä = 1".encode(), "ä = 1".encode("utf-8-sig"), "ä = 1".encode("utf-16")):
        path.write_bytes(content)
        assert read_text(path, ConfigError, 100, utf16=True) == "ä = 1"
    for content, message in ((b"\xe4", "not text in UTF-8"), (b"x" * 101, "more than 100 bytes")):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_text(path, ConfigError, 100)


def test_a_limit_that_the_environment_raises(monkeypatch):
    limit = Limit("TINYMIXER_MAX_THINGS", 10, "things")
    limit.require(10, "a box")
    with pytest.raises(ConfigError, match=r"11 things, more than the limit of 10: .* set TINYMIXER_MAX_THINGS higher"):
        limit.require(11, "a box")
    with pytest.raises(ConfigError, match=r"about 10\^6000 things"):
        limit.require(10**6000, "a box")
    monkeypatch.setenv("TINYMIXER_MAX_THINGS", "1_000")
    limit.require(1000, "a box")
    for wrong in ("many", "0", "-3", "9" * 30):
        monkeypatch.setenv("TINYMIXER_MAX_THINGS", wrong)
        with pytest.raises(ConfigError, match=r"TINYMIXER_MAX_THINGS is .*: expected a whole number above 0"):
            limit.require(1, "a box")
