"""Build the course as a web page with Python in it (JupyterLite and Pyodide): nothing to install, no server behind it.

    python site/lite/build.py build/site/lite
    python -m http.server --directory build/site/lite --bind 127.0.0.1 8000
    # http://127.0.0.1:8000/lab/index.html?path=02_linear.ipynb

The notebooks lie in it as in a learner's folder. What a learner writes stays in the browser's storage. The page asks no
other server for anything, so it works without a network once it is loaded.

Needs what `requirements.txt` beside this file names. Where files come from without a network: `pyodide_folder.py`.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from pyodide_folder import HERE, REPOSITORY, BuildError, make_pyodide_folder

from tinymixer.errors import SITE
from tinymixer.lessons.merging import KEY, digest

KERNEL = "jupyterlite-pyodide-kernel"
KERNEL_WHEELS = ("ipykernel-", "piplite-", "pyodide_kernel-")
# A picture from another server, as a link: the badge that opens a notebook in Colab. Behind it stands the link to where
# the visitor is already.
BADGE = re.compile(rf"\[!\[[^]]*\]\(https?://[^)]*\)\]\([^)]*\)(?: · )?(?:\[[^]]*\]\({re.escape(SITE)}[^)]*\) · )?")
IMAGE_FROM_ELSEWHERE = re.compile(r"!\[[^]]*\]\(https?://|<img[^>]+src=.?https?://")


def build(target: Path, cache: Path) -> None:
    """Make the site in `target`; what was there before is replaced. `cache` keeps downloads."""
    with tempfile.TemporaryDirectory(prefix="tinymixer-lite-") as folder:
        lite = Path(folder)
        shutil.copy(HERE / "jupyter-lite.json", lite)
        make_pyodide_folder(lite / "static" / "pyodide", cache, _kernel_wheels())
        copy_notebooks(REPOSITORY / "lessons", lite / "files")
        shutil.rmtree(target, ignore_errors=True)
        # In a folder of its own, since JupyterLite keeps a database of finished steps where it is run, by which a
        # second build would leave out the step that says where Pyodide is.
        command = ["build", "--lite-dir", ".", "--contents", "files", "--output-dir", str(target.resolve())]
        done = subprocess.run(
            [sys.executable, "-m", "jupyterlite_core", *command, "--no-sourcemaps", "--apps", "lab"],
            cwd=lite,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildError(f"jupyter lite build failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    _require_own_pyodide(target)


def copy_notebooks(source: Path, target: Path) -> None:
    """Copy the course's notebooks, without what the browser would ask another server for."""
    for path in sorted([*source.glob("*.ipynb"), *source.glob("solutions/*.ipynb")]):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells_record = notebook["metadata"].get(KEY, {}).get("cells", {})
        for cell in notebook["cells"]:
            text = "".join(cell["source"])
            without = BADGE.sub("", text)
            if IMAGE_FROM_ELSEWHERE.search(without):
                raise BuildError(f"{path.name} shows a picture from another server, in cell {cell.get('id')}")
            if without != text:
                cell["source"] = without.splitlines(keepends=True)
                if cell.get("id") in cells_record:  # a change of ours, not of the learner's
                    cells_record[cell["id"]] = digest(cell)
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _kernel_wheels() -> list[Path]:
    """The wheels of JupyterLite's kernel, which its extension brings along."""
    found = [
        Path(str(file.locate()))
        for file in metadata.files(KERNEL) or []
        if file.name.startswith(KERNEL_WHEELS) and file.suffix == ".whl"
    ]
    if len(found) != len(KERNEL_WHEELS):
        raise BuildError(f"{KERNEL} has {[path.name for path in found]}, expected one wheel of each of {KERNEL_WHEELS}")
    return found


def _require_own_pyodide(target: Path) -> None:
    """Raise BuildError where the site would fetch Pyodide from elsewhere."""
    settings = json.loads((target / "jupyter-lite.json").read_text(encoding="utf-8"))["jupyter-config-data"]
    kernel = settings["litePluginSettings"]["@jupyterlite/pyodide-kernel-extension:kernel"]
    if kernel.get("pyodideUrl") != "./static/pyodide/pyodide.js":
        raise BuildError(f"the site takes Pyodide from {kernel.get('pyodideUrl')}, not from itself")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the course as a web page with Python in it.")
    parser.add_argument("target", type=Path, metavar="TARGET", help="the folder to make; what is in it is replaced")
    parser.add_argument(
        "--cache", type=Path, default=REPOSITORY / "build" / "pyodide-cache", help="where downloads are kept"
    )
    arguments = parser.parse_args()
    try:
        build(arguments.target, arguments.cache)
    except BuildError as error:
        sys.exit(f"error: {error}")
    size = sum(path.stat().st_size for path in arguments.target.rglob("*") if path.is_file())
    print(f"{arguments.target}: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
