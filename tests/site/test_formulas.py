"""Every formula of the course can be shown."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml", reason="formulas need the extra [site]")
from mathml import mathml

ROOT = Path(__file__).parents[2]
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)


def formulas():
    for path in sorted((ROOT / "lessons" / "solutions").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                text = re.sub(r"```.*?```|`[^`\n]*`", "", "".join(cell["source"]), flags=re.DOTALL)
                for display, inline in FORMULA.findall(text):
                    yield path.stem, display or inline, bool(display)


def test_every_formula_is_understood():
    found = list(formulas())
    assert len(found) > 1000
    for stem, formula, display in found:
        text = mathml(formula, display)
        assert text.startswith("<math"), (stem, formula)
        assert "\\" not in re.sub(r'alttext="[^"]*"', "", text), (stem, formula, text)


def test_what_is_not_understood_is_an_error():
    with pytest.raises(ValueError, match="nonsense"):
        mathml(r"a + \nonsense b")


def test_frames_and_typewriter_letters_are_made_from_what_browsers_have():
    assert '<mrow class="framed">' in mathml(r"\boxed{x}")
    assert '<mtext class="typewriter">a_b</mtext>' in mathml(r"\texttt{a\_b}")
    assert "⌊" in mathml(r"\Big\lfloor \frac{a}{b} \Big\rfloor") or "&#x0230A;" in mathml(
        r"\Big\lfloor \frac{a}{b} \Big\rfloor"
    )
