"""The notebooks as committed: made from their sources, no outputs and no solutions where they are to be filled in."""

import html
import importlib.util
import json
import re
from pathlib import Path

import pytest

import tinymixer
from tinymixer.errors import REFERENCE, SITE
from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.folder import fill_folder
from tinymixer.lessons.merging import KEY
from tinymixer.lessons.notebook import code_cells

pytest.importorskip("jupytext", reason="jupytext is not installed: pip install -e '.[dev]'")
pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -e '.[dev]'")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "lessons"
_spec = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make_notebooks.py")
make_notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_notebooks)

STEMS = [lesson.stem for lesson in LESSONS]


@pytest.mark.parametrize("stem", STEMS)
def test_the_notebooks_are_what_their_source_makes(stem):
    exercise, solution = make_notebooks.notebooks_of(stem)
    advice = "run 'make lessons' and commit what it changes"
    assert (FOLDER / f"{stem}.ipynb").read_text(encoding="utf-8") == make_notebooks.written(exercise), advice
    committed, _ = code_cells(FOLDER / "solutions" / f"{stem}.ipynb")
    assert committed == [cell.source for cell in solution.cells if cell.cell_type == "code"], advice
    metadata = json.loads((FOLDER / "solutions" / f"{stem}.ipynb").read_text(encoding="utf-8"))["metadata"]
    assert metadata.get(KEY) == solution.metadata[KEY], advice  # by it an older copy is known


@pytest.mark.parametrize("stem", STEMS)
def test_an_exercise_notebook_holds_no_output_and_no_line_of_a_solution(stem):
    notebook = json.loads((FOLDER / f"{stem}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in code)
    lines = {line.strip() for cell in code for line in "".join(cell["source"]).splitlines()}
    leaked = [line for line in _solution_lines(stem) if line in lines]
    assert not leaked
    assert not any("SOLUTION" in line for line in lines)


def _solution_lines(stem):
    """The lines that stand in a solution and nowhere else in the source: a def or a return may be in both."""
    inside, outside, solving = [], set(), False
    for line in (FOLDER / "source" / f"{stem}.py").read_text(encoding="utf-8").splitlines():
        if line.strip() in (make_notebooks.BEGIN, make_notebooks.END):
            solving = line.strip() == make_notebooks.BEGIN
        elif solving and line.strip():
            inside.append(line.strip())
        else:
            outside.add(line.strip())
    assert inside, f"{stem} has no exercise"
    return [line for line in inside if line not in outside]


@pytest.mark.parametrize("stem", STEMS)
def test_every_exercise_is_checked_in_its_lesson(stem):
    source = (FOLDER / "source" / f"{stem}.py").read_text(encoding="utf-8")
    for exercise in all_exercises():
        call = f'check("{exercise.number}", {", ".join(exercise.functions)})'
        assert (call in source) == (exercise.lesson == stem.split("_")[0]), call


@pytest.mark.parametrize("stem", STEMS)
def test_every_picture_has_a_text_that_reaches_every_reader(stem):
    notebook = json.loads((FOLDER / "solutions" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    for output in pictures:  # test_pictures.py holds the pages that are made of these forms
        alt = output["metadata"]["image/png"]["alt"]
        assert len(alt) > 20
        assert "".join(output["data"]["text/plain"]) == alt
        assert f'<img alt="{html.escape(alt)}" src="data:image/png;base64,' in "".join(output["data"]["text/html"])
    assert not [output for output in outputs if output["output_type"] in ("error",)]
    assert (FOLDER / "solutions" / f"{stem}.ipynb").stat().st_size <= make_notebooks.LARGEST_SOLUTION


@pytest.mark.parametrize(
    "broken", ["### BEGIN SOLUTION\nx", "### END SOLUTION", "### BEGIN SOLUTION\n### BEGIN SOLUTION"]
)
def test_markers_that_do_not_pair_up_are_refused(broken):
    with pytest.raises(make_notebooks.LessonError, match="SOLUTION"):
        make_notebooks.without_solution(broken, "here")


@pytest.mark.parametrize(("text", "notebook"), make_notebooks.PAGES.items())
def test_the_pages_are_what_their_texts_make(text, notebook):
    written = (FOLDER / f"{notebook}.ipynb").read_text(encoding="utf-8")
    assert written == make_notebooks.written(make_notebooks.page(text)), "run 'make lessons' and commit what it changes"
    assert "](../" not in written


def test_every_link_of_a_learners_folder_leads_somewhere(tmp_path):
    fill_folder(tmp_path / "mine")
    counted, dead = 0, []
    for path in (tmp_path / "mine").rglob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
            for link in re.findall(r"\]\(\s*<?([^)#\s>]+)|(?:href|src)=[\"']?([^\"'#\s>]+)", text):
                link = link[0] or link[1]
                if not re.match(r"[a-z]+:", link):
                    counted += 1
                    dead += [f"{path.name}: {link}"] * (not (path.parent / link).is_file())
    assert counted > 80
    assert not dead


def test_the_map_and_the_badges_know_every_lesson():
    overview = (FOLDER / "README.md").read_text(encoding="utf-8")
    minutes = [lesson.minutes for lesson in LESSONS]
    stated = f"{len(LESSONS)} lessons, about {sum(minutes) / 60:.0f} hours: {min(minutes)} to {max(minutes)} minutes"
    assert stated in overview
    for lesson in LESSONS:
        assert f"[{lesson.title}]({lesson.stem}.ipynb) | {lesson.minutes} |" in overview
        assert f"{make_notebooks.COLAB}/blob/main/lessons/{lesson.stem}.ipynb" in overview
    assert f"]({SITE}lite/lab/index.html?path=map.ipynb)" in overview


@pytest.mark.parametrize(("reference", "folder"), [("main", ""), ("v0.2.0", "v0.2.0/")])
def test_each_notebook_leads_to_itself_in_the_browser_of_this_version(monkeypatch, reference, folder):
    monkeypatch.setattr("tinymixer.errors.REFERENCE", reference)
    notebooks = make_notebooks.notebooks_of("02_linear")
    for notebook, path in zip(notebooks, ("02_linear.ipynb", "solutions/02_linear.ipynb"), strict=True):
        assert f"]({SITE}{folder}lite/lab/index.html?path={path})" in notebook.cells[0].source


@pytest.mark.parametrize("lesson", list(LESSONS), ids=lambda lesson: lesson.number)
def test_the_stated_time_is_a_minute_for_60_words_and_eight_for_an_exercise(lesson):
    cells = make_notebooks.notebooks_of(lesson.stem)[1].cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    exercises = [exercise for exercise in all_exercises() if exercise.lesson == lesson.number]
    assert f"\n*{lesson.minutes} minutes. " in text
    assert abs(lesson.minutes - len(text.split()) / 60 - 8 * len(exercises)) < 10


def test_every_path_that_a_lesson_names_is_a_link_to_this_version():
    prefix = re.escape(make_notebooks.REPOSITORY)
    seen = 0
    for path in [*FOLDER.glob("*.ipynb"), *FOLDER.glob("solutions/*.ipynb")]:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        assert not re.search(r"(?<!\[)`(tinymixer|tests|docs)/[\w./]+`", text), path.name
        for kind, reference, target in re.findall(rf"{prefix}/(blob|tree)/([^/]+)/([^)#\s]+)", text):
            assert reference == REFERENCE
            assert (ROOT / target).is_file() if kind == "blob" else (ROOT / target).is_dir(), target
            seen += 1
        assert set(re.findall(r"colab.research.google.com/github/tinymixer/tinymixer/blob/([^/]+)/", text)) <= {
            REFERENCE
        }
    assert seen > 60


def test_links_point_to_the_main_branch_or_to_this_release():
    assert REFERENCE in ("main", f"v{tinymixer.__version__}")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"tinymixer/tinymixer(?:/blob)?/(main|v[\d.]+)/", project)) == {REFERENCE}


def test_a_path_that_does_not_exist_is_refused():
    assert make_notebooks.with_links("`tinymixer/ops` [a](../README.md) [`x`](y.ipynb)") == (
        f"[`tinymixer/ops`]({make_notebooks.REPOSITORY}/tree/{REFERENCE}/tinymixer/ops) "
        f"[a]({make_notebooks.REPOSITORY}/blob/{REFERENCE}/README.md) [`x`](y.ipynb)"
    )
    with pytest.raises(make_notebooks.LessonError, match="tinymixer/opps, which does not exist"):
        make_notebooks.with_links("`tinymixer/opps`")
