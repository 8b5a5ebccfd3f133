"""The course in plain, natural English: turns of phrase that were edited out of it do not come back.

Looked at are the sources of the lessons, the pages, and every sentence of the exercises and hints.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = [*sorted((ROOT / "lessons" / "source").glob("*.py")), *sorted((ROOT / "lessons").glob("*.md"))]
SENTENCES = sorted((ROOT / "tinymixer" / "lessons").rglob("*.py"))
TURNS = {  # what is wrong -> what to write instead
    r"\bshall\b": "will, should or must",
    r"\b(derivatives?|slopes?|differentiat\w+) by (the|its|this|that|each|every|all|\$|`|[a-z]\b)": "with respect to",
    r"\bgradients? by (the |its )?(weights?|bias(es)?|inputs?|logits?|parameters?|[a-z])\b": "with respect to",
    r"\b(derivatives?|slopes?) (after|towards) (\$|`|the)": "with respect to",
    r"\bof (which|whom|whose) the\b": "two sentences, or 'whose'",
    r"\bthat which\b": "what",
    r"\bwhom\b": "a sentence with another subject",
    r"\bwhat (comes?|came|becomes|became) of\b": "what happens to",
    r"\bnothing but\b": "only",
    r"\b(is|are|was|were) told (about|of)\b": "the subject that tells, or 'learns'",
    r"\b[Ww]hich (shape|size|dtype|type) (has|have)\b": "what is the shape of",
    r"\bhow many \w+ (has|have) (an?|the|each|every|it)\b": "does ... have",
    r"\b(thereof|whereof|whereby|wherein|herein|therein|heretofore|hitherto|whilst)\b": "a plain word",
    r"\ballows? to\b": "lets you, or makes it possible to",
    r"\b(informations|an other|the both)\b": "a grammatical form",
    r"\b(are|is) (a )?(none|no one) of\b": "none of ... is",
}


def sentences(path: Path) -> str:
    """The text of a lesson or page; of a Python file of the package its strings but docstrings: what learners read."""
    text = path.read_text(encoding="utf-8")
    if path not in SENTENCES:
        return re.sub(r"\n#[ ]*", " ", text)  # a sentence may go on in the next comment line
    nodes = list(ast.walk(ast.parse(text)))
    documented = [node for node in nodes if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docstrings = {ast.get_docstring(node, clean=False) for node in documented}
    strings = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(string for string in strings if string not in docstrings)


@pytest.mark.parametrize("path", [*LESSONS, *SENTENCES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_turn_that_was_edited_out_comes_back(path):
    text = sentences(path)
    found = []
    for pattern, better in TURNS.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            around = text[max(0, match.start() - 40) : match.end() + 40].replace("\n", " ")
            found.append(f"... {around} ...: write {better}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "wrong",
    [
        "the gradient by the weight",
        "differentiate $f$, then the derivative by $x$",
        "three numbers, of which the last is 0",
        "It shall be shown",
        "what became of the loss",
        "Which shape has `x`?",
    ],
)
def test_the_patterns_see_what_they_are_for(wrong):
    assert any(re.search(pattern, wrong, re.IGNORECASE) for pattern in TURNS)


@pytest.mark.parametrize(
    "right",
    [
        "writes every gradient by hand",
        "slopes by small steps",
        "divides the gradient by the deviation",
        "the size of which is",
        "what comes out",
    ],
)
def test_the_patterns_leave_good_english_alone(right):
    assert not any(re.search(pattern, right, re.IGNORECASE) for pattern in TURNS)
