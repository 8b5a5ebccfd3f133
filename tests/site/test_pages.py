"""The texts that Sphinx gets: all of them, with links that lead somewhere, and lessons that claim nothing untrue."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pages
import pytest

from tinymixer.errors import REFERENCE, REPOSITORY
from tinymixer.lessons.course import LESSONS

ROOT = Path(__file__).parents[2]
STEMS = [lesson.stem for lesson in LESSONS]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    pytest.importorskip("click")
    folder = tmp_path_factory.mktemp("source")
    missing = pages.gather(folder, run_here=True)
    return folder, missing


def test_every_link_of_a_text_leads_somewhere(gathered):
    assert gathered[1] == []


def test_every_text_is_in_a_table_of_contents(gathered):
    folder, _ = gathered
    listed = set()
    for page in folder.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in tree.splitlines():
                if line and not line.startswith(":"):
                    listed.add((folder / line.lstrip("/") if line.startswith("/") else page.parent / line).resolve())
    for page in [*folder.rglob("*.md"), *(folder / "lessons").glob("*.ipynb")]:
        if page.name != "contents.md" and not page.name.startswith("tinymixer"):
            assert page.with_suffix("").resolve() in listed, page.relative_to(folder)


@pytest.mark.parametrize("stem", STEMS)
def test_a_lesson_shows_the_figures_of_its_open_cells_and_no_verdict(stem):
    page = pages.lesson_page(stem, run_here=True)
    exercises = json.loads((ROOT / f"lessons/{stem}.ipynb").read_text(encoding="utf-8"))
    solutions = json.loads((ROOT / f"lessons/solutions/{stem}.ipynb").read_text(encoding="utf-8"))
    assert [cell["id"] for cell in page["cells"]] == [
        cell["id"] for cell in exercises["cells"] if not cell["id"].endswith(("-links", "-setup"))
    ]
    outputs = {"".join(cell["source"]): cell["outputs"] for cell in solutions["cells"] if cell["cell_type"] == "code"}
    shown = 0
    for cell in page["cells"]:
        if cell["cell_type"] == "code":
            if "raise NotYet" in cell["source"] or re.search(r"^check\(", cell["source"], re.MULTILINE):
                assert cell["outputs"] == []
            shown += len(cell["outputs"])
            assert len(cell["outputs"]) in (0, len(outputs.get(cell["source"], [])))
    assert shown


def test_links_of_texts_go_to_pages_where_there_are_pages():
    on_the_web = f"{REPOSITORY}/blob/{REFERENCE}"
    text = (
        f"[a](../tinymixer/ops/linear.py) [b](../tinymixer/ops) "
        f"[c]({on_the_web}/docs/gpu.md#the-roof) [d](../Makefile) "
        f"[`e`]({on_the_web}/lessons/02_linear.ipynb) [f](https://arxiv.org/abs/2105.01601) `[g](nowhere.md)` "
        f"[![badge](https://x.org/y.svg)](https://z.org) [h](../tests) [i](../README.md) [k](#below)"
    )
    assert pages._text(text, Path("docs")) == (
        f"[a](../reference/tinymixer.ops.linear.md) [b](../reference/tinymixer.ops.md) "
        f"[c](gpu.md#the-roof) [d]({on_the_web}/Makefile) "
        "[`e`](../lessons/02_linear.ipynb) [f](https://arxiv.org/abs/2105.01601) `[g](nowhere.md)` "
        f"[badge](https://z.org) [h]({REPOSITORY}/tree/{REFERENCE}/tests) [i](../contents.md) [k](#below)"
    )


def test_a_link_to_nowhere_is_told():
    pages.MISSING.clear()
    pages._text("[x](nowhere.md)", Path("docs"))
    assert pages.MISSING == ["a text in docs/ links to docs/nowhere.md, which does not exist"]


def test_every_command_is_described(gathered):
    from tinymixer.cli.program import program

    text = (gathered[0] / "commands.md").read_text(encoding="utf-8")
    for name in program.commands:
        assert f"## `tinymixer {name}`" in text


def test_every_recipe_is_shown_as_it_is(gathered):
    text = (gathered[0] / "recipes.md").read_text(encoding="utf-8")
    for path in (ROOT / "tinymixer/recipes").glob("*.toml"):
        assert path.read_text(encoding="utf-8").strip() in text


def test_published_beside_the_releases(tmp_path):
    import publish

    site, shown = tmp_path / "site", tmp_path / "shown"
    site.mkdir()
    for name in ("v0.9.0", "v0.10.0", "v0.10.0rc1"):
        (site / "index.html").write_text(name, encoding="utf-8")
        publish.publish(site, shown, name)
    (site / "index.html").write_text("main", encoding="utf-8")
    (shown / "gone.html").touch()
    (shown / ".git").touch()
    assert publish.publish(site, shown) == ["v0.10.0", "v0.10.0rc1", "v0.9.0"]
    assert (shown / "index.html").read_text() == "main"
    assert (shown / "v0.9.0/index.html").read_text() == "v0.9.0"
    assert not (shown / "gone.html").exists()
    assert (shown / ".git").exists()
    assert 'href="../v0.10.0/index.html"' in (shown / "v0.9.0/versions.html").read_text()
    assert 'href="v0.9.0/index.html"' in (shown / "versions.html").read_text()
    with pytest.raises(SystemExit, match="not the name of a release"):
        publish.publish(site, shown, "../elsewhere")
    shutil.rmtree(site)
    with pytest.raises(SystemExit, match="no site"):
        publish.publish(site, shown)


def test_a_notebook_in_the_browser_shows_no_badge_and_no_link_to_where_it_is(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "site" / "lite")  # for what build.py imports
    spec = importlib.util.spec_from_file_location("lite_build", ROOT / "site" / "lite" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    build.copy_notebooks(ROOT / "lessons", tmp_path)
    for stem in STEMS:
        for path, other in (
            (f"{stem}.ipynb", f"[Map of the course](map.ipynb) · [Solutions](solutions/{stem}.ipynb)"),
            (f"solutions/{stem}.ipynb", f"[Map of the course](../map.ipynb) · [Exercises](../{stem}.ipynb)"),
        ):
            cells = json.loads((tmp_path / path).read_text(encoding="utf-8"))["cells"]
            assert "".join(cells[0]["source"]) == other
