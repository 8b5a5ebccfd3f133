"""Settings and fixtures of the data tests. A shared machine may be slow at any moment, so examples have no deadline."""

import pytest
from hypothesis import settings

from tests.data.fetching_helpers import BARS
from tests.data.mirror_server import MirrorServer

settings.register_profile("data", deadline=None)
settings.load_profile("data")


@pytest.fixture
def server(monkeypatch):
    # A proxy named in the environment must not be asked for this machine.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with MirrorServer() as running:
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def bars():
    """The progress bars made during the test."""
    BARS.clear()
    return BARS
