"""Makes the folder of Pyodide that the site serves: the interpreter, the packages that the course needs, and tinymixer.

Pyodide's npm package holds the interpreter and a lock file, which names every package that Pyodide has built, with its
SHA-256. Of these we take NumPy, Matplotlib and what a notebook's kernel needs, add tinymixer and its needs in pure
Python, and leave the others out of the lock. Then `import tinymixer` in the browser loads all of it from the site
itself: nothing is installed, and no other server is asked.

Files come from the folder that TINYMIXER_PYODIDE names where it has them (for a machine without network), else from
their usual addresses. Each is checked against its SHA-256 before it is used.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

VERSION = "0.27.7"
ARCHIVE = f"pyodide-{VERSION}.tgz"
ARCHIVE_URL = f"https://registry.npmjs.org/pyodide/-/{ARCHIVE}"
ARCHIVE_SHA256 = "89d5d952675eb08e11286e52c7238f1248ce71726e896db9703e73bef23dc343"
PACKAGES_URL = f"https://cdn.jsdelivr.net/pyodide/v{VERSION}/full/"
CORE = ("pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
LOCK = "pyodide-lock.json"
HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]

# What is loaded from Pyodide's own packages, with what those need: for the kernel, and for tinymixer.
# jedi is left out: IPython imports it where it finds it, and JupyterLite's kernel completes names without it.
WANTED = ("micropip", "packaging", "ssl", "sqlite3", "ipython", "traitlets", "matplotlib", "numpy", "pillow")
NOT_NEEDED = {"matplotlib": ["pytz"]}  # what the lock has a package load although it does not import it
DEPENDS = {
    "tinymixer": ["numpy", "matplotlib", "pillow", "threadpoolctl", "click", "rich", "tomli-w", "tqdm"],
    "rich": ["markdown-it-py", "pygments"],
    "markdown-it-py": ["mdurl"],
    "piplite": ["micropip"],
    "pyodide-kernel": ["ipython", "ipykernel", "comm", "traitlets"],
}
IMPORTS = {"markdown-it-py": "markdown_it"}  # where the module's name is not the package's
# Of the lessons the wheel keeps the exercise notebooks alone: on the site the solutions can be opened as files.
LEFT_OUT_OF_WHEEL = ("tinymixer/lesson_notebooks/solutions/", "tinymixer/lesson_notebooks/source/")


class BuildError(Exception):
    """Something that the build needs is missing or is not what it should be; the message says what."""


def make_pyodide_folder(target: Path, cache: Path, kernel_wheels: Iterable[Path] = ()) -> Path:
    """Fill `target` and return it. `cache` keeps what was downloaded; `kernel_wheels` are JupyterLite's own."""
    cache.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    lock = _unpack_core(_fetched(ARCHIVE, ARCHIVE_SHA256, ARCHIVE_URL, cache), target)
    packages: dict[str, dict[str, Any]] = lock["packages"]
    own = [_tinymixer_wheel(cache / "wheels"), *_pure_wheels(cache / "wheels"), *kernel_wheels]
    for wheel in own:
        name, version = wheel.name.split("-")[:2]
        name = _canonical(name)
        shutil.copy(wheel, target)
        packages[name] = {
            "name": name,
            "version": version,
            "file_name": wheel.name,
            "install_dir": "site",
            "package_type": "package",
            "sha256": _sha256(wheel),
            "depends": DEPENDS.get(name, []),
            "imports": [IMPORTS.get(name, name.replace("-", "_"))],
            "unvendored_tests": False,
        }
    kept = _with_needs([*WANTED, *(_canonical(wheel.name.split("-")[0]) for wheel in own)], packages)
    for package in kept.values():
        name = package["file_name"]
        if not (target / name).exists():
            shutil.copy(_fetched(name, package["sha256"], PACKAGES_URL + name, cache), target)
    lock["packages"] = dict(sorted(kept.items()))
    (target / LOCK).write_text(json.dumps(lock), encoding="utf-8")
    return target


def _unpack_core(archive: Path, target: Path) -> dict[str, Any]:
    """Write the interpreter's files into `target`; return the lock."""
    with tarfile.open(archive) as packed:

        def content(name: str) -> bytes:
            file = packed.extractfile(f"package/{name}")
            assert file is not None
            return file.read()

        for name in CORE:
            (target / name).write_bytes(content(name))
        lock: dict[str, Any] = json.loads(content(LOCK))
    return lock


def _with_needs(names: Iterable[str], packages: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    kept, todo = {}, list(names)
    while todo:
        name = _canonical(todo.pop())
        if name not in kept:
            if name not in packages:
                raise BuildError(f"Pyodide {VERSION} has no package {name}")
            needs = [other for other in packages[name]["depends"] if other not in NOT_NEEDED.get(name, [])]
            kept[name] = packages[name] | {"depends": needs}
            todo += needs
    return kept


def _fetched(name: str, sha256: str, url: str, cache: Path) -> Path:
    """The file of this name, checked: from TINYMIXER_PYODIDE's folder, the cache, or its address."""
    folder = os.environ.get("TINYMIXER_PYODIDE")
    for path in ([Path(folder) / name] if folder else []) + [cache / name]:
        if path.is_file():
            if _sha256(path) == sha256:
                return path
            if path.parent != cache:
                raise BuildError(f"{path} is not {name} of Pyodide {VERSION}: its SHA-256 is another")
    print(f"fetching {url}", flush=True)
    part = cache / f"{name}.part"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise BuildError(
            f"{url} cannot be fetched ({error}). Where there is no network, put {name} into a folder and name that "
            "folder in TINYMIXER_PYODIDE."
        ) from error
    if _sha256(part) != sha256:
        part.unlink()
        raise BuildError(f"what {url} sent has another SHA-256 than {sha256}, so it was deleted")
    part.replace(cache / name)
    return cache / name


def _pure_wheels(folder: Path) -> list[Path]:
    """The wheels that wheels.txt pins, as pip fetches and checks them."""
    download = ["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    _pip(*download, "--dest", str(folder), "--requirement", str(HERE / "wheels.txt"))
    pinned = re.findall(r"^([\w-]+)==([\w.]+)", (HERE / "wheels.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return [next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")) for name, version in pinned]


def _tinymixer_wheel(folder: Path) -> Path:
    """A wheel of this working tree, without what the browser has beside it anyway."""
    for old in folder.glob("tinymixer-*.whl"):
        old.unlink()
    _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(REPOSITORY))
    wheel = next(folder.glob("tinymixer-*.whl"))
    smaller = wheel.with_suffix(".part")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as kept:
        for entry in whole.infolist():
            content = whole.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(line for line in lines if not line.startswith(LEFT_OUT_OF_WHEEL)).encode()
            if not entry.filename.startswith(LEFT_OUT_OF_WHEEL):
                kept.writestr(entry, content)
    smaller.replace(wheel)
    return wheel


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"pip {' '.join(arguments)} failed:\n{done.stderr}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
