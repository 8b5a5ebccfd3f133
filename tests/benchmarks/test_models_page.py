"""docs/models.md: its sizes are those of the code."""

import pytest
from click import ClickException

from benchmarks import models_page


def test_the_sizes_on_the_page_are_those_of_the_code():
    """After a change: python -m benchmarks.models_page --write"""
    assert models_page.sizes() in models_page.PAGE.read_text(encoding="utf-8")


def test_lines_with_code():
    of_a_function = 'def f():\n    """Short."""\n    # why\n    return (\n        os\n    )\n'
    text = '"""Docstring\n\nof a module."""\n\nimport os  # used\n\n\n' + of_a_function
    assert models_page.code_lines(text) == 5
    with pytest.raises(ClickException, match="no place for the table 'sizes'"):
        models_page.page("# Models")
