"""What the tests of the course in the browser share: the scripts that drive it, and where it was built."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LITE = ROOT / "build" / "site" / "lite"
sys.path[:0] = [path for path in [str(ROOT / "site" / "lite")] if path not in sys.path]


@pytest.fixture(scope="session")
def lite() -> Path:
    """The folder that `python site/lite/build.py build/site/lite` filled, as `make site` does, too."""
    if not (LITE / "static" / "pyodide" / "pyodide.mjs").is_file():
        pytest.skip("the course in the browser is not built: make site")
    return LITE
