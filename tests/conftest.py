"""GPU tests carry the marker `gpu` and are skipped, with the reason, where no GPU can be used."""

import signal

import pytest

from tinymixer.backend import cupy_obstacle

# Started with & from a script, pytest inherits an ignored SIGINT, which training would correctly go on ignoring.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.gradcheck.fault_table"]


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (obstacle := cupy_obstacle()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=obstacle))
