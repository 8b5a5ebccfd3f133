"""Makes the landing page: the package's own code in an editor, what the checker says about it, and the training curve.

Everything on it that could be wrong is made here, from the package, when the site is built: the code is taken from its
source file, the verdicts from the checker, the curve from the rows of a run (`landing/digits_curve.json`, whose command
is in it).
"""

import html
import inspect
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import tinymixer
from tinymixer.errors import REFERENCE, REPOSITORY, install_line
from tinymixer.gradcheck.planted_faults import PLANTED_FAULTS
from tinymixer.lessons.course import LESSONS
from tinymixer.ops import layer_norm_backward

HERE = Path(__file__).resolve().parent
FILES = HERE / "landing"
sys.path.insert(0, str(FILES))
from check import verdict  # noqa: E402

# Where the playground finds Pyodide: the site's own copy, which JupyterLite brings along, else this one.
OWN_PYODIDE = "lite/static/pyodide/"
PYODIDE = "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/"

# What the buttons plant: name -> (words of the button, the code as it is, the code with the mistake).
FAULTS = {
    "term": ("Delete last term", " - x_hat * xp.mean(g * x_hat, axis=-1, keepdims=True)", ""),
    "scale": ("Forget scale", "g = (dy * scale).astype", "g = dy.astype"),
    "mean": ("Mean for sum", "dbias = xp.sum(", "dbias = xp.mean("),
    "loop": ("Never end", "    dbias = ", "    while True:\n        pass\n    dbias = "),
}
SHOWN_FAULT = "term"
EDITOR_LINES = 20
ONES = (
    "The usual quick check, with <code>dy</code> all ones on a fresh layer, calls that right. "
    "Ours draws <code>dy</code> at random."
)
# Parts of the package that the checker has no use for: the playground's archive leaves them out.
LEFT_OUT = ("bench", "cli", "kernels", "lessons", "parallel", "pretrained", "sweeps", "training", "weights")


def build_landing(target: Path) -> None:
    """Write the landing page and its files into the site."""
    files = target / "_landing"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    for name in ("landing.css", "playground.js", "checker.js", "check.py", "icon.svg"):
        shutil.copy(FILES / name, files)
    write_archive(files / "tinymixer.zip")
    (target / "index.html").write_text(page(target), encoding="utf-8")
    if not (target / "versions.html").exists():
        (target / "versions.html").write_text(versions_page([]), encoding="utf-8")


def snippet() -> str:
    """The code in the editor, exactly as it stands in the package."""
    return inspect.getsource(layer_norm_backward).rstrip()


def with_fault(name: str) -> str:
    """The snippet with one of FAULTS in it."""
    _, right, wrong = FAULTS[name]
    if snippet().count(right) != 1:
        raise ValueError(f"{right!r} is not once in layer_norm_backward: FAULTS in site/landing.py has to be changed")
    return snippet().replace(right, wrong)


def page(target: Path) -> str:
    """The landing page's HTML."""
    from mathml import mathml

    right, wrong = verdict(snippet()), verdict(with_fault(SHOWN_FAULT))
    if not right["passed"] or wrong["passed"] or wrong["ones"] != "right":
        raise ValueError(f"the landing page would say what is not so: {right}, {wrong}")
    run = json.loads((FILES / "digits_curve.json").read_text(encoding="utf-8"))
    lite = (target / "lite").is_dir()
    own_pyodide = (target / OWN_PYODIDE / "pyodide.mjs").is_file()
    lesson, where = (
        ("lite/lab/index.html?path=00_start_here.ipynb", " in your browser")
        if lite
        else ("lessons/00_start_here.html", "")
    )
    in_the_browser = (
        '<p><a href="lite/lab/index.html?path=map.ipynb">Open the course in your browser</a>, or on your machine:</p>'
        if lite
        else ""
    )
    low, high = run["test_interval"]
    values = {
        "repository": REPOSITORY,
        "lessons": str(len(LESSONS)),
        "begin": lesson,
        "begin_where": where,
        "browser": in_the_browser,
        "pyodide": OWN_PYODIDE if own_pyodide else PYODIDE,
        "curve": curve(run),
        "train_images": f"{run['train_images']:,}",
        "accuracy": f"{100 * run['test_accuracy']:.1f}&nbsp;%",
        "interval": f"{100 * low:.1f} to {100 * high:.1f}&nbsp;%",
        "test_images": str(run["test_images"]),
        "rows": str(EDITOR_LINES),
        "code": html.escape(snippet()),
        "right": html.escape(right["sentence"].removeprefix("Right: ")),
        "wrong": html.escape(wrong["sentence"].removeprefix("layer_norm_backward ")),
        "ones": ONES,
        "fault_buttons": "".join(
            f'<button type="button" data-fault="{name}" hidden>{words}</button>'
            for name, (words, _, _) in FAULTS.items()
        )
        + '<button type="button" data-fault="" hidden>Restore</button>',
        "faults": json.dumps({name: {"old": old, "text": new} for name, (_, old, new) in FAULTS.items()}).replace(
            "<", "\\u003c"
        ),
        "install_lessons": html.escape(install_line("lessons")),
        "install_cli": html.escape(install_line("cli")),
        "planted": str(len(PLANTED_FAULTS)),
        "version": tinymixer.__version__ + (" (main)" if REFERENCE == "main" else ""),
    }
    text = (FILES / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"\[\[(math|display):(.*?)\]\]", lambda found: mathml(found[2], found[1] == "display"), text)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], text)


def curve(run: dict[str, Any]) -> str:
    """The accuracies of a run over its epochs, as SVG in the page's colours."""
    width, height, left, bottom, top, right = 440, 150, 40, 26, 8, 8
    epochs = len(run["train_accuracy"])

    def x(epoch: float) -> float:
        return left + (width - left - right) * epoch / epochs

    def y(share: float) -> float:
        return top + (height - top - bottom) * (1 - share)

    def line(shares: list[float], style: str) -> str:
        points = " ".join(f"{x(epoch):.1f},{y(share):.1f}" for epoch, share in enumerate(shares, start=1))
        return f'<polyline points="{points}" fill="none" stroke-width="2.5" stroke-linejoin="round" {style}/>'

    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Accuracy over {epochs} epochs. On the validation images it '
        f"rises from {run['validation_accuracy'][0]:.0%} to above 99%, on the training images from "
        f'{run["train_accuracy"][0]:.0%} to {run["train_accuracy"][-1]:.0%}." '
        'font-size="12" font-family="system-ui, sans-serif" fill="currentColor">'
    ]
    for share in (0, 0.5, 1):
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y(share):.1f}" y2="{y(share):.1f}" '
            'style="stroke:var(--line)"/>'
            f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
    for epoch in (1, 10, 20, 30, 40):
        words = f"epoch {epoch}" if epoch == 1 else str(epoch)
        anchor = "start" if epoch == 1 else "end" if epoch == epochs else "middle"
        parts.append(f'<text x="{x(epoch):.1f}" y="{height - 8}" text-anchor="{anchor}">{words}</text>')
    parts.append(line(run["train_accuracy"], 'stroke-dasharray="5 4" style="stroke:var(--curve-2)"'))
    parts.append(line(run["validation_accuracy"], 'style="stroke:var(--curve)"'))
    middle = y(0.5)
    parts.append(f'<text x="{x(12):.1f}" y="{middle - 10:.1f}" style="fill:var(--curve)">validation images</text>')
    parts.append(
        f'<text x="{x(12):.1f}" y="{middle + 18:.1f}" style="fill:var(--curve-2)">training images (augmented)</text>'
    )
    return "".join(parts) + "</svg>"


def write_archive(path: Path) -> None:
    """Pack the modules that the playground may import, which need NumPy alone."""
    package = Path(tinymixer.__file__).parent
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(package.rglob("*.py")):
            inside = file.relative_to(package)
            if inside.parts[0] not in LEFT_OUT:
                entry = zipfile.ZipInfo(f"tinymixer/{inside.as_posix()}", date_time=(2026, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())


def versions_page(releases: list[str], up: str = "") -> str:
    """The list of published versions, newest first. `up` leads from the page to the top of the published site."""
    items = "".join(f'<li><a href="{up}{name}/index.html">{name}</a></li>' for name in releases)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Versions of tinymixer</title>'
        '<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="_landing/landing.css"></head>'
        f'<body><main><h1>Versions</h1><ul><li><a href="{up}index.html">newest</a></li>{items}</ul></main></body>'
        "</html>\n"
    )
