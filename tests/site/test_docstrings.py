"""Docstrings on the site: nothing of their text is lost or read as markup, and formulas stay as they are."""

import importlib
import inspect
import re

import docstrings
import pages
import pytest

from tinymixer import ops


def plain(text):
    """The letters of a text, without markup and spaces."""
    text = re.sub(r"\.\. code-block:: \w+", "", text)
    text = re.sub(r":doc:`(.*?) <.*?>`|`([^`]*?) <http.*?>`__", lambda found: found[1] or found[2], text)
    return re.sub(r"\\(.)|[`\s]|\*\*", lambda found: (found[1] or "").strip(), text)


@pytest.mark.parametrize("name", sorted(name for name in ops.__all__ if callable(getattr(ops, name))))
def test_an_operations_derivation_is_all_there(name):
    text = inspect.getdoc(getattr(ops, name)) or ""
    made = "\n".join(docstrings.converted(text.splitlines()))
    expected = re.sub(r"[`\s\\]|\*\*", "", text)
    assert re.sub(r"\\|\*\*", "", plain(made)) == expected


def test_a_formula_becomes_a_box_and_running_text_a_paragraph():
    made = docstrings.converted((inspect.getdoc(ops.layer_norm_backward) or "").splitlines())
    assert "   dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat))" in made
    assert "   dy (..., C)  ->  dx (..., C), dscale (C,), dbias (C,)" in made
    assert any(line.startswith("With g = scale \\* dy, the gradient that reaches x\\_hat") for line in made)


def test_names_and_meanings_become_a_list():
    made = docstrings.converted(
        ["rate       the share of zeros, at", "           most 1", "keep, x    arrays of *one* shape"]
    )
    assert made == [
        "``rate``",
        "   the share of zeros, at",
        "   most 1",
        "``keep``, ``x``",
        "   arrays of \\*one\\* shape",
        "",
    ]


def test_a_see_line_leads_to_pages_and_files():
    made = "\n".join(docstrings.converted(["See: lessons/05_layer_norm.ipynb, tests/ops/test_layer_norm.py"]))
    assert ":doc:`lessons/05_layer_norm.ipynb </lessons/05_layer_norm>`" in made
    assert "`tests/ops/test_layer_norm.py <https://github.com/" in made


def test_every_module_has_a_first_sentence():
    for name in pages.modules():
        if not name.startswith("tinymixer.cli"):
            try:
                importlib.import_module(name)
            except ImportError:  # the extra that it needs is not installed
                continue
            assert pages._first_sentence(name), name
