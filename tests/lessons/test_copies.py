"""Copies of lessons from another version: noticed, and merged so that nothing of the learner's is lost."""

import errno
import json
import os
import random
from pathlib import Path

import pytest

from tinymixer.errors import ConfigError, DataError
from tinymixer.lessons import copies
from tinymixer.lessons.copies import other_versions, remark_about, update_folder
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.folder import lessons_source
from tinymixer.lessons.merging import KEY, from_this_version, merged, record, source_of
from tinymixer.lessons.progress import grade_folder

EXERCISES = [exercise for exercise in all_exercises() if exercise.lesson == "02"]
FORWARD = 'def my_linear_forward(x, weight, bias):\n    raise NotYet\n\n\ncheck("2.1", my_linear_forward)'
BIAS = 'def my_bias_gradient(dy):\n    raise NotYet\n\n\ncheck("2.2", my_bias_gradient)'
ANSWER = "return x @ weight + bias"
ANSWERED = FORWARD.replace("raise NotYet", ANSWER)


def lesson(*sources, recorded=True):
    """A notebook as the lesson gives it: texts begin with "#"; ids go by position."""
    cells = [markdown("links", "02_linear-links"), code("import sys", "02_linear-setup")]
    for index, source in enumerate(sources):
        make = markdown if source.startswith("#") else code
        cells.append(make(source, f"02_linear-{index:03d}"))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}} | (
        {KEY: record(cells)} if recorded else {}
    )
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def markdown(source, name):
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def code(source, name):
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {},
        "source": source.splitlines(keepends=True),
        "outputs": [],
        "execution_count": None,
    }


def edit(notebook, index, source):
    """Change the cell at this position among the sources given to `lesson`."""
    notebook["cells"][index + 2]["source"] = source
    return notebook


def insert(notebook, index, source, name="a1b2c3d4"):
    """Put a cell of the learner's own after the cell at this position."""
    notebook["cells"].insert(index + 3, code(source, name))
    return notebook


def sources(notebook):
    return [source_of(cell) for cell in notebook["cells"][2:]]


def merge(old, new):
    result = merged(old, new, EXERCISES)
    names = [cell["id"] for cell in result.notebook["cells"]]
    assert len(set(names)) == len(names)
    assert from_this_version(result.notebook, new)
    if nbformat := pytest.importorskip("nbformat"):
        nbformat.validate(json.loads(json.dumps(result.notebook)))
    return result


def test_a_solution_in_the_place_of_the_exercises_is_of_the_same_edition():
    new, solution = lesson("# Linear", FORWARD), lesson("# Linear", ANSWERED)
    solution["metadata"][KEY] = record(solution["cells"], new["cells"])
    assert from_this_version(solution, new)
    assert not from_this_version(solution, lesson("# Other", FORWARD))
    assert sources(merge(solution, lesson("# Other", FORWARD)).notebook) == ["# Other", ANSWERED]


@pytest.mark.parametrize("recorded", [True, False])
def test_an_answer_moves_into_the_new_text(recorded):
    old = edit(lesson("# Linear", "# Text\nold", FORWARD, BIAS, recorded=recorded), 2, ANSWERED)
    old["cells"][4]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "right"}]
    new = lesson("# Linear", "# Text\nnew", "# More", FORWARD, BIAS)
    result = merge(old, new)
    assert sources(result.notebook) == ["# Linear", "# Text\nnew", "# More", ANSWERED, BIAS]
    assert result.answers == ["2.1"]
    assert result.notebook["cells"][5]["outputs"][0]["text"] == "right"
    assert result.notebook["cells"][5]["id"] == "02_linear-003"


def test_an_exercise_that_is_not_answered_takes_its_new_form():
    new = lesson("# Linear", FORWARD.replace("raise", '"""x (B, I)"""\n    raise'))
    for recorded in (True, False):
        result = merge(lesson("# Linear", FORWARD, recorded=recorded), new)
        assert sources(result.notebook) == sources(new)
        assert not result.answers


def test_own_cells_stay_after_the_cell_that_they_followed():
    old = lesson("# Linear", "a = 1", "# Later", FORWARD)
    insert(insert(old, 3, "mine(2)", "later"), 1, "print(a)")
    new = lesson("# Introduction", "# Linear", "a = 1", "# Later, in other words", FORWARD, "b = 2")
    result = merge(old, new)
    assert sources(result.notebook) == [
        "# Introduction", "# Linear", "a = 1", "print(a)", "# Later, in other words", FORWARD, "mine(2)", "b = 2"
    ]  # fmt: skip
    assert result.own == 2


def test_an_own_cell_whose_neighbour_is_gone_follows_the_one_before():
    old = insert(lesson("# Linear", "a = 1", "gone = 2", FORWARD), 2, "mine")
    assert sources(merge(old, lesson("# Linear", "a = 1", FORWARD)).notebook) == ["# Linear", "a = 1", "mine", FORWARD]


def test_a_cell_that_only_the_learner_changed_is_kept_as_it_is():
    old = edit(lesson("# Linear", "rate = 0.1\ntrain(rate)", "# Old text"), 1, "rate = 0.5\ntrain(rate)")
    result = merge(old, lesson("# Linear", "rate = 0.1\ntrain(rate)", "# New text"))
    assert sources(result.notebook) == ["# Linear", "rate = 0.5\ntrain(rate)", "# New text"]
    assert result.edited == 1


def test_what_both_changed_is_shown_at_the_end_as_text():
    old = edit(lesson("# Linear", "rate = 0.1\ntrain(rate)"), 1, "rate = 0.5\ntrain(rate)  # ```")
    result = merge(old, lesson("# Linear", "rate = 0.1\ntrain(rate, steps=9)"))
    texts = sources(result.notebook)
    assert texts[:2] == ["# Linear", "rate = 0.1\ntrain(rate, steps=9)"]
    assert texts[2].startswith("## From your earlier copy")
    assert texts[3] == "````python\nrate = 0.5\ntrain(rate)  # ```\n````"
    assert result.left_over == 1


def test_a_renamed_function_is_found_by_its_number():
    was = ANSWERED.replace("my_linear_forward", "my_forward")
    old = insert(
        edit(lesson("# Linear", FORWARD.replace("my_linear_forward", "my_forward")), 1, was), 1, "my_forward(1, 2, 3)"
    )
    result = merge(old, lesson("# Linear", FORWARD))
    assert sources(result.notebook) == ["# Linear", ANSWERED, "my_linear_forward(1, 2, 3)"]
    assert result.remarks == ["2.1: my_forward is called my_linear_forward now, and so is yours"]


def test_other_arguments_are_said():
    was = ANSWERED.replace("x, weight, bias):", "x, weight, bias, scale):")
    old = edit(lesson("# Linear", FORWARD.replace("bias):", "bias, scale):")), 1, was)
    result = merge(old, lesson("# Linear", FORWARD))
    assert result.remarks == [
        "2.1: my_linear_forward takes (x, weight, bias) now, and yours takes (x, weight, bias, scale)"
    ]


def test_helpers_are_kept_when_the_cell_asks_for_more_than_before():
    old = edit(lesson("# Linear", FORWARD), 1, "import math\n\n\ndef helper():\n    return 1\n\n\n" + ANSWERED)
    new = lesson("# Linear", FORWARD + "\n\n" + BIAS)
    text = sources(merge(old, new).notebook)[1]
    assert text.startswith("import math\ndef helper():\n    return 1\n")
    assert ANSWER in text
    assert text.endswith(BIAS)
    assert text.count("check(") == 2


def test_an_answer_moved_into_a_cell_of_ones_own_stays_there():
    old = edit(lesson("# Linear", FORWARD), 1, 'check("2.1", my_linear_forward)')
    definition = ANSWERED.partition("\n\n\n")[0]
    insert(old, 0, definition)
    assert sources(merge(old, lesson("# New", "# Linear", FORWARD)).notebook) == [
        "# New", "# Linear", definition, 'check("2.1", my_linear_forward)'
    ]  # fmt: skip


def test_an_answer_that_is_not_python_is_kept_as_it_is():
    broken = FORWARD.replace("raise NotYet", "return x @ (weight")
    result = merge(edit(lesson("# Linear", FORWARD), 1, broken), lesson("# Linear", "# New", FORWARD))
    assert sources(result.notebook) == ["# Linear", "# New", broken]


def test_the_answer_to_an_exercise_that_is_gone_is_shown_at_the_end():
    gone = 'def my_old(x):\n    return x\n\n\ncheck("2.9", my_old)'
    old = edit(lesson("# Linear", gone.replace("return x", "raise NotYet"), FORWARD), 1, gone)
    assert sources(merge(old, lesson("# Linear", FORWARD)).notebook)[-1] == f"```python\n{gone}\n```"


def test_a_copy_from_two_versions_back_is_merged_in_one_step():
    first = edit(lesson("# Linear", "a = 1", FORWARD, BIAS, recorded=False), 2, ANSWERED)
    second = lesson("# Linear", "# Between", "a = 1", FORWARD, BIAS)
    third = lesson("# Line", "# Between", "# Again", "a = 1", BIAS, "b = 3", FORWARD)
    at_once, in_turn = merge(first, third), merge(merge(first, second).notebook, third)
    for result in (at_once, in_turn):
        assert sources(result.notebook) == ["# Line", "# Between", "# Again", "a = 1", BIAS, "b = 3", ANSWERED]


def test_ids_that_a_program_has_dropped_or_moved_are_no_obstacle():
    for where in ("nowhere", "metadata"):
        old = edit(lesson("# Linear", "a = 1", FORWARD, BIAS), 2, ANSWERED)
        insert(old, 1, "mine")
        for cell in old["cells"]:
            name = cell.pop("id")
            if where == "metadata":
                cell["metadata"]["id"] = name
        result = merge(old, lesson("# New", "# Linear", "a = 1", FORWARD, BIAS))
        assert sources(result.notebook) == ["# New", "# Linear", "a = 1", "mine", ANSWERED, BIAS]


def test_neither_notebook_is_changed_and_a_second_merge_changes_nothing():
    old, new = insert(edit(lesson("# Linear", FORWARD), 1, ANSWERED), 1, "mine"), lesson("# New", FORWARD)
    before = json.dumps([old, new])
    once = merge(old, new).notebook
    assert json.dumps([old, new]) == before
    assert merge(once, new).notebook == once


GIVEN = ["# Linear", "a = 1", "# Forward\ntext", FORWARD, "b = a + 1\nprint(b)", BIAS, "# End", "plot(b)"]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_a_learner_wrote_is_in_the_merged_notebook(seed):
    """Random edits, deletions, moves and own cells, against a random new version."""
    draw = random.Random(seed)
    old = lesson(*GIVEN)
    written = []
    for _ in range(draw.randrange(1, 8)):
        cells, number = old["cells"], len(written)
        place = draw.randrange(2, len(cells))
        match draw.choice(("edit", "answer", "own", "delete", "move")):
            case "edit":
                cells[place]["source"] = source_of(cells[place]) + f"\n# edit {number}"
                written.append(f"# edit {number}")
            case "answer" if "NotYet" in source_of(cells[place]):
                cells[place]["source"] = source_of(cells[place]).replace("raise NotYet", f"return {number}  # answer")
                written.append(f"return {number}  # answer")
            case "own":
                cells.insert(place, code(f"own_{number} = {number}", f"own{number}"))
                written.append(f"own_{number} = {number}")
            case "delete" if not any(text in source_of(cells[place]) for text in written):
                cells.pop(place)
            case "move":
                cells.insert(draw.randrange(2, len(cells)), cells.pop(place))
    sources = [text + f"\n# v{draw.randrange(3)}" * draw.randrange(2) for text in GIVEN if draw.random() < 0.8]
    draw.shuffle(sources) if draw.random() < 0.3 else None
    result = merge(old, lesson(*sources, "# Last"))
    said = "\n".join(source_of(cell) for cell in result.notebook["cells"])
    assert not [text for text in written if text not in said]
    own = [cell for cell in result.notebook["cells"] if source_of(cell).startswith("own_")]
    assert all(cell["cell_type"] == "code" for cell in own)


# --- Folders ---


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with lesson 02 alone, of a new version; returns its folder."""
    folder = tmp_path / "package"
    (folder / "solutions").mkdir(parents=True)
    for name in ("02_linear.ipynb", "map.ipynb", "solutions/02_linear.ipynb"):
        write(folder / name, lesson("# Linear", "# New", FORWARD))
    monkeypatch.setattr(copies, "lessons_source", lambda: folder)
    return folder


@pytest.fixture
def mine(tmp_path, package):
    """A learner's folder of an older version, with an answer."""
    folder = tmp_path / "mine"
    (folder / "solutions").mkdir(parents=True)
    write(folder / "02_linear.ipynb", edit(lesson("# Linear", FORWARD), 1, ANSWERED))
    for name in ("map.ipynb", "solutions/02_linear.ipynb"):
        write(folder / name, lesson("# Linear", FORWARD))
    return folder


def write(path, notebook):
    path.write_text(json.dumps(notebook, sort_keys=True), encoding="utf-8")  # as nbformat writes it


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_of_another_version_is_noticed_in_a_sentence(mine):
    assert other_versions(mine) == ["02_linear"]
    assert remark_about(mine).startswith(f"02_linear in {mine} comes from another version of the course")


def test_a_dry_run_says_the_same_and_writes_nothing(mine):
    before = contents(mine)
    said = list(update_folder(mine, dry_run=True))
    assert contents(mine) == before
    assert said == list(update_folder(mine))
    assert "your answers to 2.1 kept" in next(one.change for one in said if one.path == Path("02_linear.ipynb"))


def test_the_earlier_copy_is_kept_beside_the_merged_one(mine, package):
    before = contents(mine)
    list(update_folder(mine))
    after = contents(mine)
    assert after["02_linear.before-update.ipynb"] == before["02_linear.ipynb"]
    assert sources(json.loads(after["02_linear.ipynb"])) == ["# Linear", "# New", ANSWERED]
    assert after["map.ipynb"] == after["solutions/02_linear.ipynb"] == (package / "map.ipynb").read_bytes()
    assert len(after) == 4  # map and solution were as they had been given: no backups
    assert not other_versions(mine)
    assert remark_about(mine) == ""
    assert not any(one.change for one in update_folder(mine))
    assert contents(mine) == after


def test_no_backup_replaces_an_earlier_one(mine, package):
    write(mine / "solutions/02_linear.ipynb", insert(lesson("# Linear", FORWARD), 0, "my notes"))
    list(update_folder(mine))
    write(package / "02_linear.ipynb", lesson("# Linear", "# Newer", FORWARD))
    list(update_folder(mine, ["2"]))
    after = contents(mine)
    assert b"my notes" in after["solutions/02_linear.before-update.ipynb"]
    assert b"# New" not in after["02_linear.before-update.ipynb"]
    assert b"# New" in after["02_linear.before-update-2.ipynb"]


def test_a_damaged_notebook_costs_none_of_the_others(mine):
    for content in (b"", b"{", b'{"cells": 3}', b'{"cells": [{"source": [1]}]}', b"[]", b"\xff"):
        (mine / "02_linear.ipynb").write_bytes(content)
        write(mine / "map.ipynb", lesson("# Linear", FORWARD))
        assert other_versions(mine) == []
        updates = {str(one.path): one for one in update_folder(mine)}
        assert "02_linear.ipynb" in updates["02_linear.ipynb"].trouble
        assert (mine / "02_linear.ipynb").read_bytes() == content
        assert updates["map.ipynb"].change


def test_a_full_disk_leaves_everything_as_it_was(mine, monkeypatch):
    before = contents(mine)

    def full(descriptor, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tinymixer.files.sync_file", full)
    assert all("No space left" in one.trouble for one in update_folder(mine) if one.path.name)
    assert contents(mine) == before


def test_unknown_numbers_and_empty_folders_are_sentences(mine, tmp_path):
    with pytest.raises(ConfigError, match="There is no lesson '77'"):
        update_folder(mine, ["77"])
    with pytest.raises(DataError, match="There are no lessons to update"):
        update_folder(tmp_path)


def test_the_answers_of_a_whole_lesson_pass_after_the_merge(tmp_path, monkeypatch):
    """A learner's notebook made from the committed solution, before there were records, meets a changed lesson."""
    old = json.loads((lessons_source() / "solutions" / "02_linear.ipynb").read_text(encoding="utf-8"))
    old["metadata"].pop(KEY, None)
    new = json.loads((lessons_source() / "02_linear.ipynb").read_text(encoding="utf-8"))
    new["cells"].insert(2, markdown("# A new text", "02_linear-xyz"))
    new["metadata"][KEY] = record(new["cells"])
    result = merge(old, new)
    assert result.answers == [exercise.number for exercise in EXERCISES]
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder / "02_linear.ipynb", result.notebook)
    (state,) = grade_folder(folder)
    assert state.done == len(EXERCISES)
