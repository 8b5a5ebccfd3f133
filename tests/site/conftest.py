"""What the tests of the site share: its modules, and the built site where there is one."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
sys.path[:0] = [path for path in (str(ROOT / "site"), str(ROOT / "site" / "landing")) if path not in sys.path]


@pytest.fixture(scope="session")
def built():
    """The folder that `make site` filled."""
    if not (SITE / "contents.html").is_file():
        pytest.skip("the site is not built: make site")
    return SITE


@pytest.fixture(scope="module")
def chromium():
    """A running Chromium."""
    import browsing

    try:
        with browsing.chromium() as browser:
            yield browser
    except browsing.NoChromiumError as missing:
        pytest.skip(str(missing))
