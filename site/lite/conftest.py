"""Where the built site is: build/site, or the folder that TINYMIXER_SITE names. `make site-test` builds it."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def lite() -> Path:
    """The folder of the course in the browser."""
    folder = Path(os.environ.get("TINYMIXER_SITE") or REPOSITORY / "build" / "site") / "lite"
    if not (folder / "static" / "pyodide" / "pyodide.mjs").is_file():
        pytest.skip(f"the site is not built in {folder}: python site/lite/build.py {folder}")
    return folder
