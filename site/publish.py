"""Put a built site into the folder that GitHub Pages shows: the newest at its top, each release in a folder.

    python site/publish.py build/site PAGES             the newest, which is what the branch main has
    python site/publish.py build/site PAGES v0.2.0      a release, into PAGES/v0.2.0; the newest stays as it is

`versions.html`, in each of them, lists all.
"""

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

RELEASE = re.compile(r"v\d+(\.\d+)*([-.]?\w+)*")


def publish(site: Path, pages: Path, release: str | None = None) -> list[str]:
    """Copy `site` into `pages`, as the newest or as a release; return the releases that are there, newest first."""
    from landing import versions_page

    if not (site / "index.html").is_file():
        raise SystemExit(f"error: there is no site in {site}: make site")
    if release is not None and not RELEASE.fullmatch(release):
        raise SystemExit(f"error: {release} is not the name of a release: expected v0.2.0, for example")
    pages.mkdir(parents=True, exist_ok=True)
    target = pages if release is None else pages / release
    if release is None:
        for path in pages.iterdir():
            if path.name != ".git" and not _is_release(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif target.exists():
        shutil.rmtree(target)
    shutil.copytree(site, target, dirs_exist_ok=True)
    if not (pages / "index.html").exists():  # the first release, before main was ever published
        shutil.copytree(site, pages, dirs_exist_ok=True)
    releases = sorted((path.name for path in pages.iterdir() if _is_release(path)), key=_order, reverse=True)
    (pages / "versions.html").write_text(versions_page(releases), encoding="utf-8")
    for name in releases:
        (pages / name / "versions.html").write_text(versions_page(releases, up="../"), encoding="utf-8")
    return releases


def _is_release(path: Path) -> bool:
    return path.is_dir() and RELEASE.fullmatch(path.name) is not None


def _order(name: str) -> list[tuple[int, int, str]]:
    """A key by which v0.10.0 is newer than v0.9.0, and v1.0.0 newer than v1.0.0rc1."""
    parts = re.findall(r"\d+|[a-z]+", name[1:])
    return [(1, int(part), "") if part.isdigit() else (-1, 0, part) for part in parts] + [(0, 0, "")]


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    print(", ".join(["newest", *publish(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])]))
