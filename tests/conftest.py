"""GPU tests carry the marker `gpu` and are skipped, with the reason, where no GPU can be used."""

import pytest

from tinymixer.backend import cupy_obstacle

pytest_plugins = ["tests.gradcheck.fault_table"]


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (obstacle := cupy_obstacle()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=obstacle))
