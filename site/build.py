"""Build the site: the landing page, every lesson and text, the reference, and, where it can be built, JupyterLite.

    python site/build.py                    into build/site/
    python site/build.py --only landing     the landing page alone, in a second
    python site/build.py --only pages       Sphinx's pages alone
    python site/build.py --without-lite     where Pyodide's packages cannot be fetched

Nothing is fetched while it is built, and a page that is shown asks no other server for anything, with one exception:
the playground loads Pyodide from `PYODIDE` (landing.py) where the site has no copy of its own.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the site into a folder.")
    parser.add_argument("--target", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--only", choices=["pages", "landing", "lite"], help="leave the other parts as they are")
    parser.add_argument("--without-lite", action="store_true", help="leave JupyterLite out, and the links to it")
    parser.add_argument("--unfinished", action="store_true", help="build although links lead to files not yet there")
    arguments = parser.parse_args()
    target: Path = arguments.target.resolve()
    parts = [arguments.only] if arguments.only else ["pages", "lite", "landing"]
    lite = HERE / "lite" / "build.py"
    with_lite = lite.is_file() and not arguments.without_lite
    if "pages" in parts:
        build_pages(target, run_here=with_lite, unfinished=arguments.unfinished)
    if "lite" in parts and with_lite:
        subprocess.run([sys.executable, str(lite), str(target / "lite")], check=True)
    if "landing" in parts:  # last: it looks whether there is a Pyodide beside it
        from landing import build_landing

        build_landing(target)
    print(f"{target}/index.html")


def build_pages(target: Path, run_here: bool, unfinished: bool = False) -> None:
    """Sphinx's pages. Any warning is an error: an unknown name, a link that leads nowhere, a formula not understood."""
    from pages import gather

    sources = target.with_name(target.name + "-source")
    with tempfile.TemporaryDirectory() as folder:
        missing = gather(Path(folder) / "source", run_here)
        _renew(Path(folder) / "source", sources)
    for sentence in missing:
        print(f"{'note' if unfinished else 'error'}: {sentence}", file=sys.stderr)
    if missing and not unfinished:
        sys.exit(1)
    _remove_pages_without_source(sources, target)
    command = ["-b", "html", "-n", "-W", "--keep-going", "-q", "-j", "auto", "-c", str(HERE)]
    doctrees = sources.with_name(target.name + "-doctrees")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *command, "-d", str(doctrees), str(sources), str(target)], check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    for path in target.rglob("*.html"):
        if path.relative_to(target).parts[0] not in ("lite", "index.html"):
            _make_accessible(path)
    (target / ".nojekyll").touch()  # GitHub Pages leaves out folders that begin with "_" otherwise


def _make_accessible(path: Path) -> None:
    """What the theme leaves out: wide code and tables can be scrolled by keyboard, captions have a level."""
    text = path.read_text(encoding="utf-8")
    better = text.replace("<pre>", '<pre tabindex="0">')
    better = better.replace('class="caption" role="heading">', 'class="caption" role="heading" aria-level="2">')
    better = better.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
    if better != text:
        path.write_text(better, encoding="utf-8")


def _renew(new: Path, old: Path) -> None:
    """Make the folder `old` equal to `new`. Equal files stay untouched, so that Sphinx sees what changed."""
    for path in sorted(old.rglob("*"), reverse=True) if old.is_dir() else ():
        if path.is_file() and not (new / path.relative_to(old)).is_file():
            path.unlink()
    for path in sorted(new.rglob("*")):
        there = old / path.relative_to(new)
        if path.is_file() and not (there.is_file() and there.read_bytes() == path.read_bytes()):
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, there)


def _remove_pages_without_source(sources: Path, target: Path) -> None:
    """A page that an earlier build made of a text which is gone would answer links that lead nowhere now."""
    for path in target.rglob("*.html") if target.is_dir() else ():
        inside = path.relative_to(target)
        made_of = [sources / inside.with_suffix(suffix) for suffix in (".md", ".ipynb")]
        if inside.parts[0] not in ("lite", "_static", "index.html", "versions.html") and not any(
            source.is_file() for source in made_of
        ):
            path.unlink()


if __name__ == "__main__":
    main()
