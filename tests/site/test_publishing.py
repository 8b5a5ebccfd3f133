"""Publishing, with a bare repository in GitHub's place: nothing that was published before is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "site" / "push_pages.sh"

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(sys.platform == "win32" or not shutil.which("git"), reason="published from Linux, with git"),
]


def git(folder, *arguments):
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout as the workflow has it, without a past, of a repository that publishes its site."""
    for kind in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{kind}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{kind}_EMAIL", "someone@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    work = tmp_path / "work"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(work))
    (work / "code.py").write_text("1\n", encoding="utf-8")
    git(work, "add", "code.py")
    git(work, "commit", "--quiet", "-m", "first")
    git(work, "push", "--quiet", str(tmp_path / "origin.git"), "main")
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=main", f"file://{tmp_path}/origin.git", "checkout")
    return tmp_path / "checkout"


def push(checkout, text, *release, path=None):
    site = checkout / "build" / "site"
    site.mkdir(parents=True, exist_ok=True)
    (site / ".nojekyll").touch()
    (site / "index.html").write_text(text, encoding="utf-8")
    environment = {"PYTHON": sys.executable, "TINYMIXER_PUSH_WAIT": "0", "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        ["bash", str(SCRIPT), "build/site", f"Site {text}", *release],
        cwd=checkout, env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


def shown(checkout):
    """What GitHub Pages would show: path -> first line."""
    origin = checkout.parent / "origin.git"
    names = git(origin, "ls-tree", "-r", "--name-only", "gh-pages").splitlines()
    return {name: git(origin, "show", f"gh-pages:{name}").partition("\n")[0] for name in names}


def test_the_first_time_a_release_and_the_newest_stand_side_by_side(checkout):
    assert push(checkout, "one").returncode == 0
    found = shown(checkout)
    assert found["index.html"] == "one"
    assert {".nojekyll", "versions.html"} <= set(found)
    assert "code.py" not in found  # the branch has the site alone

    assert push(checkout, "release", "v0.2.0").returncode == 0
    assert push(checkout, "two").returncode == 0
    found = shown(checkout)
    assert (found["index.html"], found["v0.2.0/index.html"]) == ("two", "release")
    assert git(checkout.parent / "origin.git", "rev-list", "--count", "gh-pages") == "1"
    assert not git(checkout, "status", "--porcelain", "--untracked-files=no")
    assert len(git(checkout, "worktree", "list").splitlines()) == 1


def test_another_run_that_publishes_meanwhile_is_kept(checkout, tmp_path):
    """Between the fetch and the push of one run, another pushes a release: a git in between does so once."""
    assert push(checkout, "one").returncode == 0
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=main", f"file://{tmp_path}/origin.git", str(other))
    (other / "build" / "site").mkdir(parents=True)
    (other / "build" / "site" / "index.html").write_text("release", encoding="utf-8")
    fake = tmp_path / "bin"
    fake.mkdir()
    real = shutil.which("git")
    (fake / "git").write_text(
        f"""#!/bin/bash
if [ "$1" = push ] && mkdir "{fake}/once" 2>/dev/null; then
    (cd "{other}" && PATH="{os.environ["PATH"]}" bash "{SCRIPT}" build/site "Site release" v0.3.0) || exit 1
fi
exec {real} "$@"
""",
        encoding="utf-8",
    )
    (fake / "git").chmod(0o755)
    done = push(checkout, "two", path=f"{fake}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert "attempt 1" in done.stderr
    found = shown(checkout)
    assert (found["index.html"], found["v0.3.0/index.html"]) == ("two", "release")


def test_a_server_that_does_not_answer_costs_nothing(checkout):
    assert push(checkout, "one").returncode == 0
    git(checkout, "remote", "set-url", "origin", str(checkout.parent / "nowhere.git"))
    assert push(checkout, "two").returncode != 0
    assert shown(checkout)["index.html"] == "one"


def test_a_name_that_is_no_release_is_refused(checkout):
    done = push(checkout, "one", "latest")
    assert done.returncode != 0
    assert "not the name of a release" in done.stderr
