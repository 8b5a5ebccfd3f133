"""The pages for teachers and projects: their code runs, their sums are right, their links lead somewhere."""

import csv
import re
from pathlib import Path

import pytest

from tests.lessons.notebooks import RIGHT, write_notebook
from tinymixer.lessons.course import LESSONS

FOLDER = Path(__file__).parents[2] / "lessons"
TEACHING = (FOLDER / "TEACHING.md").read_text(encoding="utf-8")
PROJECTS = (FOLDER / "PROJECTS.md").read_text(encoding="utf-8")


def blocks(text):
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


QUESTIONS = [block for block in blocks(TEACHING) if "submissions" not in block]
(GRADING,) = (block for block in blocks(TEACHING) if "submissions" in block)
LAYER, STUDY = blocks(PROJECTS)


def run(block, name):
    exec(compile(block, name, "exec"), {"__name__": "pasted"})


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_a_solution_of_the_exam_is_recomputed(number):
    run(QUESTIONS[number], f"question {number + 1}")


def test_every_question_has_a_solution_that_is_recomputed():
    parts = TEACHING.split("## Exam questions")[1].split("## Grading")[0]
    numbers = [int(number) for number in re.findall(r"^\*\*(\d+)\.\*\*", parts, re.MULTILINE)]
    assert numbers == list(range(1, len(QUESTIONS) + 1))
    assert len(numbers) >= 12
    assert parts.count("<details><summary>Solution</summary>\n\n") == parts.count("</details>") == len(numbers)


def test_the_loop_over_submissions_grades_each_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    for name in ("ada", "bob", "cem"):
        (tmp_path / "submissions" / name).mkdir(parents=True)
    write_notebook(tmp_path / "submissions/ada/02_linear.ipynb", RIGHT)
    (tmp_path / "submissions/bob/02_linear.ipynb").write_text("{")
    run(GRADING, "grading")
    with (tmp_path / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [["ada", "1", "4", "2.2"], ["bob", "0", "4", ""], ["cem", "0", "0", ""]]
    assert "2.2 passed" in (tmp_path / "report-ada.txt").read_text(encoding="utf-8")
    assert "not a Jupyter notebook" in (tmp_path / "report-bob.txt").read_text(encoding="utf-8")


def test_the_frame_of_the_first_project_says_what_the_page_says(capsys):
    run(LAYER, "layer")
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("strong check: caught") for line in lines] == [1, 1, 1]
    assert [line.endswith("weak: caught") for line in lines] == [True, False, False]


def test_the_interval_of_the_second_project_is_students(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps/tokens").mkdir(parents=True)
    lines = ["trial,state,model.tokens,training.seed,validation_accuracy"]
    for trial, (tokens, accuracies) in enumerate({"mlp": (0.93, 0.95, 0.94, 0.96, 0.92), "linear": [0.9] * 5}.items()):
        lines += [f"{trial},finished,{tokens},{seed},{accuracy}" for seed, accuracy in enumerate(accuracies)]
    (tmp_path / "sweeps/tokens/table.csv").write_text("\n".join(lines) + "\n")
    run(STUDY, "study")
    # differences 3, 5, 4, 6, 2: mean 4, deviation 1.581, half 2.776 * 1.581 / sqrt(5) = 1.963
    assert "mlp minus linear: +4.0 points, 95 % interval +2.0 to +6.0, 5 seeds" in capsys.readouterr().out


def test_the_points_of_each_rubric_make_a_hundred():
    for project in PROJECTS.split("\n## ")[1:]:
        assert sum(map(int, re.findall(r"^\| [A-Z][^|]* \| (\d+) \|", project, re.MULTILINE))) == 100


@pytest.mark.parametrize("text", [TEACHING, PROJECTS])
def test_links_and_lessons_exist(text):
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (FOLDER / target).exists(), target
    known = {lesson.number for lesson in LESSONS} | {"14", "15", "16", "17", "18"}
    for cell in re.findall(r"^\| ([\d, b]+) \| ", TEACHING, re.MULTILINE):
        assert {number.strip() for number in cell.split(",")} <= known | {str(week) for week in range(1, 8)}, cell
