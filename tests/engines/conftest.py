"""What keeps the engines' many short runs short."""

import gc
from unittest import mock

import pytest


@pytest.fixture(scope="session", autouse=True)
def _long_lived_objects_are_not_searched():
    """An engine that lets go of a GPU's memory collects garbage, among all that the test session has imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _runs_draw_no_curves():
    """In these tests alone: tests/training looks at curves."""
    with mock.patch("tinymixer.training.reports.try_to_draw_curves"):
        yield
