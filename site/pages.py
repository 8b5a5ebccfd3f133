"""Gathers the texts of the site into one folder, from which Sphinx makes the pages.

The folder is laid out as the repository is, so that a link between two texts leads to the same place on the site. What
differs:

- a lesson shows its exercises unfilled, with the figures and prints that its other cells made when the solutions were
  executed; the solutions are a page of their own;
- a link to a file of the package leads to its page in the reference, a link to any other file to the repository;
- pictures from other servers (badges) become plain links.
"""

import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import tinymixer
from tinymixer.errors import REFERENCE, REPOSITORY
from tinymixer.lessons.course import LESSONS

ROOT = Path(__file__).resolve().parents[1]
PICTURES = (".png", ".svg")
# Texts in the repository's top folder, README excepted: the landing page takes its place.
TOP_TEXTS = ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")
WEB = re.compile(re.escape(REPOSITORY) + r"/(?:blob|tree)/" + re.escape(REFERENCE) + r"/([^)\s#]+)(#[^)\s]*)?")
BADGE = re.compile(r"\[!\[([^]]*)\]\(https?://[^)]*\)\]\(([^)]*)\)")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\]|!\[[^\]]*\]\([^)]*\))*?)\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
PICTURE_IN_STEPS = re.compile(r"const pictures = (\[.*?\]);", re.DOTALL)

MISSING: list[str] = []  # what links lead to and is not there: a sentence each

# Commands have a page of their own; exercises and hints are for those who have tried; nobody imports the workers.
NOT_IN_THE_REFERENCE = (
    "tinymixer.cli.",
    "tinymixer.bench.",
    "tinymixer.lessons.exercises.",
    "tinymixer.lessons.hints.",
    "tinymixer.__main__.",
)

WELCOME = """
# Contents

<a href="index.html">The front page</a> has a gradient check to try. Everything else is listed here.

```{{toctree}}
:maxdepth: 1
:caption: The course

lessons/README
{lessons}
lessons/cheatsheet
lessons/PROJECTS
lessons/TEACHING
```

```{{toctree}}
:maxdepth: 1
:caption: Using it

{docs}
recipes
commands
datasets/index
weights/index
```

```{{toctree}}
:maxdepth: 1
:caption: What the paper found

{studies}
```

```{{toctree}}
:maxdepth: 1
:caption: Reading it

ARCHITECTURE
reference/index
CONTRIBUTING
CHANGELOG
```
"""
DATA_TEXTS = "# Data sets\n\nA card for each: where it comes from, its licence, its statistics.\n\n"
WEIGHT_TEXTS = "# Published weights\n\nA card for each family: who made them, from what, and how they are read.\n\n"
PICTURE_FOLDERS = ("docs", "docs/studies", "lessons")
DOCS_IN_ORDER = (
    "recipe",
    "models",
    "vit",
    "fine-tuning",
    "weights",
    "sweep",
    "parallel",
    "gpu",
    "speed",
    "reliability",
)


def gather(target: Path, run_here: bool) -> list[str]:
    """Fill `target` with what Sphinx reads; return what is missing, a sentence each.

    run_here  whether lessons link to JupyterLite beside the site
    """
    MISSING.clear()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in texts():
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = _text((ROOT / path).read_text(encoding="utf-8"), path.parent)
        if path == Path("lessons/README.md") and run_here:
            text = text.replace("\n## Start\n", f"\n{IN_THE_BROWSER}\n## Start\n", 1)
        copy.write_text(text, encoding="utf-8")
    for folder in PICTURE_FOLDERS:
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix in PICTURES:
                shutil.copy(path, target / folder)
    for lesson in LESSONS:
        _write_lesson(lesson.stem, target, run_here)
    _write_lists(target)
    (target / "recipes.md").write_text(_recipes(), encoding="utf-8")
    (target / "commands.md").write_text(_commands(), encoding="utf-8")
    _write_reference(target / "reference")
    return list(dict.fromkeys(MISSING))


IN_THE_BROWSER = """\
**Nothing to install:** <a href="../lite/lab/index.html?path=map.ipynb">open the course in your browser</a>. Checks,
hints and figures work there; your answers stay in the browser's storage, and can be downloaded.
"""


def texts() -> list[Path]:
    """The Markdown files that become pages as they are, relative to the repository."""
    found = [Path(f"{name}.md") for name in TOP_TEXTS]
    for folder in (
        "docs",
        "docs/studies",
        "lessons",
        "datasets",
        "tinymixer/pretrained/cards",
        "tinymixer/pretrained",
        "tinymixer/weights",
    ):
        found += sorted(path.relative_to(ROOT) for path in (ROOT / folder).glob("*.md"))
    return found


@cache
def modules() -> list[str]:
    """Every module of the package that the reference describes."""
    found = ["tinymixer"]
    for module in pkgutil.walk_packages(tinymixer.__path__, "tinymixer.", onerror=lambda name: None):
        private = any(part.startswith("_") for part in module.name.split("."))
        if not private and not f"{module.name}.".startswith(NOT_IN_THE_REFERENCE):
            found.append(module.name)
    return found


def _text(text: str, folder: Path) -> str:
    """A Markdown text whose links lead to pages of the site, or to the repository. `folder`: where it lies."""
    text = BADGE.sub(r"[\1](\2)", text)
    kept: list[str] = []

    def put_aside(code: re.Match[str]) -> str:
        kept.append(code[0])
        return f"\0{len(kept) - 1}\0"

    # Code is put aside while links are looked for; code within a link's text comes back with it.
    text = CODE.sub(put_aside, text)
    text = LINK.sub(lambda found: f"[{found[1]}]({_target(found[2], folder)})", text)
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], text)


def _target(link: str, folder: Path) -> str:
    """Where a link of a text leads on the site."""
    on_the_web = WEB.fullmatch(link)
    if on_the_web:
        path, anchor = Path(on_the_web[1]), on_the_web[2] or ""
    elif re.match(r"[a-z]+:|#", link):
        return link
    else:
        name, hash_sign, rest = link.partition("#")
        path, anchor = Path(os.path.normpath(folder / name)), hash_sign + rest
    page = _page_of(path)
    if page is None:
        place = ROOT / path
        if not place.exists():
            MISSING.append(f"a text in {folder.as_posix()}/ links to {path.as_posix()}, which does not exist")
        return f"{REPOSITORY}/{'tree' if place.is_dir() else 'blob'}/{REFERENCE}/{path.as_posix()}{anchor}"
    return Path(os.path.relpath(page, folder)).as_posix() + anchor


def _page_of(path: Path) -> Path | None:
    """The file from which Sphinx makes the page that shows a file of the repository; None where none does."""
    if path in texts() or (path.suffix in PICTURES and path.parent.as_posix() in PICTURE_FOLDERS):
        return path
    if path == Path("README.md"):
        return Path("contents.md")
    if path == Path("datasets"):
        return Path("datasets/index.md")
    if path == Path("lessons"):
        return Path("lessons/README.md")
    if path == Path("tinymixer/recipes") or path.parent == Path("tinymixer/recipes"):
        return Path("recipes.md")
    if path.parts[0] == "lessons" and path.suffix in (".ipynb", ".py"):
        folder = Path("lessons/solutions") if path.parent.name == "solutions" else Path("lessons")
        by_another_name = {"map": "README", "cheatsheet": "cheatsheet", "projects": "PROJECTS"}
        if path.stem in by_another_name:
            return Path("lessons") / f"{by_another_name[path.stem]}.md"
        return folder / f"{path.stem}.ipynb" if path.stem in {lesson.stem for lesson in LESSONS} else None
    if path.parts[0] == "tinymixer":
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        return Path("reference") / f"{module}.md" if module in modules() else None
    return None


# Lessons


def lesson_page(stem: str, run_here: bool) -> dict[str, Any]:
    """The exercise notebook, with the outputs of the cells that are the same in the executed solutions."""
    page = json.loads((ROOT / "lessons" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    solutions = json.loads((ROOT / "lessons" / "solutions" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    executed = {"".join(cell["source"]): cell["outputs"] for cell in solutions["cells"] if cell["cell_type"] == "code"}
    for cell in page["cells"]:
        source = "".join(cell["source"])
        # A check's verdict belongs to an answer. Under an empty exercise "right" would be untrue.
        if cell["cell_type"] == "code" and not re.search(r"^\s*check\(", source, re.MULTILINE):
            cell["outputs"] = executed.get(source, [])
    links = [f"[Solutions](solutions/{stem}.ipynb)", "[Map of the course](README.md)"]
    if run_here:
        links.insert(0, f'<a href="../lite/lab/index.html?path={stem}.ipynb">Run it here, in the browser</a>')
    return _page(page, links, Path("lessons"))


def solution_page(stem: str) -> dict[str, Any]:
    """The executed solution notebook."""
    page = json.loads((ROOT / "lessons" / "solutions" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    links = [f"[Exercises](../{stem}.ipynb)", "[Map of the course](../README.md)"]
    page = _page(page, links, Path("lessons/solutions"))
    for cell in page["cells"]:
        if cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("# "):
            first, *rest = "".join(cell["source"]).split("\n", 1)
            cell["source"] = "\n".join([f"{first} (solutions)", *rest])
            break
    page["metadata"]["orphan"] = True
    return page


def _page(notebook: dict[str, Any], links: list[str], folder: Path) -> dict[str, Any]:
    """A notebook with links for the site: its title first, then the links; set-up cells for other places left out."""
    cells = []
    for cell in notebook["cells"]:
        if cell["id"].endswith(("-links", "-setup")):
            continue
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text = _text(text, folder)
            if not cells:  # the title; what follows it comes below the links
                title, _, rest = text.partition("\n")
                text = f"{title}\n\n{' · '.join(links)}\n{rest}"
        cell["source"] = text
        cell["outputs"] = [_output(output) for output in cell.get("outputs", [])]
        if cell["cell_type"] == "markdown":
            del cell["outputs"]
        cells.append(cell)
    return notebook | {"cells": cells, "metadata": {"kernelspec": notebook["metadata"]["kernelspec"]}}


def _output(output: dict[str, Any]) -> dict[str, Any]:
    """An output of which a page shows one form: the HTML, which has the picture's alternative text."""
    data = output.get("data", {})
    if "text/html" in data:
        return output | {"data": {"text/html": data["text/html"]}}
    return output


def _write_lesson(stem: str, target: Path, run_here: bool) -> None:
    for path, page in (
        (target / "lessons" / f"{stem}.ipynb", lesson_page(stem, run_here)),
        (target / "lessons" / "solutions" / f"{stem}.ipynb", solution_page(stem)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(page, ensure_ascii=False), encoding="utf-8")


# Lists


def _write_lists(target: Path) -> None:
    docs = {path.stem for path in texts() if path.parent == Path("docs")}
    in_order = [*(name for name in DOCS_IN_ORDER if name in docs), *sorted(docs - {*DOCS_IN_ORDER})]
    welcome = WELCOME.format(
        lessons="\n".join(f"lessons/{lesson.stem}" for lesson in LESSONS),
        docs="\n".join(f"docs/{name}" for name in in_order),
        studies="\n".join(path.with_suffix("").as_posix() for path in texts() if path.parent == Path("docs/studies")),
    )
    (target / "contents.md").write_text(welcome, encoding="utf-8")
    (target / "weights").mkdir(exist_ok=True)
    for index, intro, folders in (
        ("datasets/index.md", DATA_TEXTS, ["datasets"]),
        ("weights/index.md", WEIGHT_TEXTS, ["tinymixer/weights", "tinymixer/pretrained/cards", "tinymixer/pretrained"]),
    ):
        names = [path for folder in folders for path in texts() if path.parent == Path(folder)]
        tree = "\n".join(f"/{path.with_suffix('').as_posix()}" for path in names)
        (target / index).write_text(f"{intro}```{{toctree}}\n:maxdepth: 1\n\n{tree}\n```\n", encoding="utf-8")


def _recipes() -> str:
    """A page with every recipe as it is, its description above it."""
    parts = [
        "# Recipes\n\nA recipe is a TOML file: model, data, augmentation, optimizer, schedule. `tinymixer train NAME` "
        "runs one, any of its fields is an option of the command, and [what they can hold](docs/recipe.md) has the "
        "figures.\n\n"
        "![Loss and accuracy over the epochs of the digits recipe](docs/digits.png)\n"
    ]
    for path in sorted((ROOT / "tinymixer" / "recipes").glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        parts.append(f"## {path.stem}\n\n{tomllib.loads(text)['description']}\n\n```toml\n{text.strip()}\n```\n")
    return "\n".join(parts)


def _commands() -> str:
    """A page with the help of every command, as the command line prints it."""
    import click

    from tinymixer.cli.program import program

    def helps(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
        context = click.Context(command, parent=parent, info_name=name.split()[-1], terminal_width=100)
        found = [f"## `{name}`\n\n```text\n{command.get_help(context).strip()}\n```\n"]
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                below = command.get_command(context, child)
                if below is not None:
                    found += helps(below, f"{name} {child}", context)
        return found

    return "# The command line\n\nWhat `--help` prints.\n\n" + "\n".join(helps(program, "tinymixer", None))


def _write_reference(folder: Path) -> None:
    """A page for each module. They are listed here and on their packages' pages, not in the bar at the side."""
    folder.mkdir()
    names = modules()
    for name in names:
        children = [other for other in names if other.rpartition(".")[0] == name]
        exported = getattr(importlib.import_module(name), "__all__", [])
        page = _module_page(name, children, exported if children else [])
        (folder / f"{name}.md").write_text(page, encoding="utf-8")
    packages = [name for name in names if name.count(".") == 1]
    lines = "\n".join(f"| [`{name}`]({name}.md) | {_first_sentence(name)} |" for name in ["tinymixer", *packages])
    (folder / "index.md").write_text(
        "# Reference\n\nMade from the docstrings. The page of an operation has its derivation, and its code below it. "
        "The commands are [here](../commands.md).\n\n"
        f"| module | what it is |\n|---|---|\n{lines}\n",
        encoding="utf-8",
    )


def _first_sentence(module: str) -> str:
    text = (importlib.import_module(module).__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
    return re.sub(r"\.(\s.*)?$", "", text).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def _module_page(name: str, children: list[str], exported: list[str]) -> str:
    parent = name.rpartition(".")[0]
    up = "[Reference](index.md)" + (f" · [`{parent}`]({parent}.md)" if parent else "")
    page = f"---\norphan: true\n---\n# {name}\n\n{up}\n\n```{{eval-rst}}\n.. automodule:: {name}\n"
    page += "   :members:\n   :ignore-module-all:\n   :show-inheritance:\n```\n"
    if exported:
        page += f"\nImported from here: {', '.join(f'`{one}`' for one in exported)}.\n"
    if children:
        lines = [f"- [`{child}`]({child}.md): {_first_sentence(child)}" for child in children]
        page += "\n## Modules\n\n" + "\n".join(lines) + "\n"
    if parent == "tinymixer.ops":
        source = inspect.getsource(importlib.import_module(name)).strip()
        page += f"\n## The code\n\n```python\n{source}\n```\n"
    return page
