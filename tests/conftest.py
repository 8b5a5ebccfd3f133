"""GPU tests are skipped, with the reason, where no GPU can be used; runs draw no learning curves unless a test asks."""

import gc
import signal
from unittest import mock

import pytest

from tinymixer.backend import cupy_obstacle

# Started with & from a script, pytest inherits an ignored SIGINT, and with nohup an ignored SIGHUP, which training
# would correctly go on ignoring.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = ["tests.gradcheck.fault_table"]
CURVES = "tinymixer.training.reports.try_to_draw_curves"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session", autouse=True)
def _long_lived_objects_are_not_searched():
    """An engine that lets go of a GPU's memory collects garbage, among all that the test session has imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _runs_draw_no_curves():
    """A picture takes several times as long as the small runs of the tests: its file stands in for it."""
    with mock.patch(CURVES, lambda name, rows, path, say: path.write_bytes(PNG)):
        yield


@pytest.fixture
def real_curves():
    """For the tests that look at what a run draws."""
    from tinymixer.training.pictures import try_to_draw_curves

    with mock.patch(CURVES, try_to_draw_curves):
        yield


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (obstacle := cupy_obstacle()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=obstacle))
