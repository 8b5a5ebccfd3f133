"""Every line that says how to install tinymixer works: from a clone, or from the repository's address."""

import re
import subprocess
from pathlib import Path

import pytest

from tinymixer.errors import REPOSITORY, install_line

ROOT = Path(__file__).parents[1]
ENDINGS = {".py", ".md", ".toml", ".txt", ".yml", ".ipynb"}


def texts():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    return [path for path in paths if path.suffix in ENDINGS and path.is_file() and path != Path(__file__)]


def test_the_index_does_not_have_the_package_so_no_line_asks_it():
    paths = texts()
    if not paths:
        pytest.skip("this is not a git repository")
    wrong = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in paths
        for line in path.read_text(encoding="utf-8").splitlines()
        if len(line) < 1000 and re.search(r"pip install.{0,20}tinymixer(?!\[\{)", line) and "@ git" not in line
    ]
    assert not wrong


def test_a_release_installs_itself(monkeypatch):
    monkeypatch.setattr("tinymixer.errors.REFERENCE", "main")
    assert install_line("cli") == f'pip install "tinymixer[cli] @ git+{REPOSITORY}"'
    monkeypatch.setattr("tinymixer.errors.REFERENCE", "v1.2.3")
    assert install_line("cli") == f'pip install "tinymixer[cli] @ git+{REPOSITORY}@v1.2.3"'
