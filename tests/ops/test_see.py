"""Three clicks from an operation: its docstring's "See:" names its lesson, its cheat-sheet line and its test file.

Operations of the models that the Mixer is compared with have no lesson: their cheat-sheet line names the paper instead.
"""

import json
import re
from pathlib import Path

import pytest

from tinymixer import ops

ROOT = Path(__file__).parents[2]
CHEAT_SHEET = "lessons/cheatsheet.md"
OPERATIONS = [name.removesuffix("_forward") for name in ops.__all__ if name.endswith("_forward")]
OF_OTHER_MODELS = {  # operations of models that no lesson builds
    *("max_pooling", "average_pooling", "global_average_pooling", "group_norm"),
    *("weight_standardisation", "scaled_weight_standardisation", "relative_attention"),
}


def see(name):
    """The last paragraph of the forward's docstring, on one line."""
    return " ".join((getattr(ops, f"{name}_forward").__doc__ or "").strip().split("\n\n")[-1].split())


def lesson(name):
    return re.search(r"lessons/\d\d_\w+\.ipynb", see(name))[0]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_docstring_ends_with_see(name):
    numbered = "" if name in OF_OTHER_MODELS else r"lessons/\d\d_\w+\.ipynb, "
    assert re.fullmatch(rf'See: {numbered}"{name}" in {CHEAT_SHEET}, tests/ops/test_{name}\.py', see(name))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_target_exists(name):
    for target in re.findall(r"(?:lessons|tests)/[\w/.]+\w", see(name)):
        assert (ROOT / target).is_file(), target


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_cheat_sheet_has_a_line_for_it_that_names_the_same_lesson_or_the_paper(name):
    rows = [row for row in (ROOT / CHEAT_SHEET).read_text(encoding="utf-8").splitlines() if f"| **{name}**" in row]
    assert len(rows) == 1
    source = "https://arxiv.org/abs/" if name in OF_OTHER_MODELS else f"{Path(lesson(name)).name})"
    assert f"]({source}" in rows[0]


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in OF_OTHER_MODELS])
def test_the_lesson_speaks_of_it(name):
    cells = json.loads((ROOT / lesson(name)).read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    assert re.search(rf"(?<![a-z_]){name}(?:_forward|_backward)?(?![a-z_])", text)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_test_file_tests_values_gradient_and_faults(name):
    source = (ROOT / "tests" / "ops" / f"test_{name}.py").read_text(encoding="utf-8")
    for needed in (f"ops.{name}", "np.testing.assert_", "check_operation(", "pytest.raises("):
        assert needed in source, needed
