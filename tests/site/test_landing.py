"""The landing page says what is so: its code is the package's; the checker passes it and fails its faults."""

import json
import re
import subprocess
import sys
from pathlib import Path

import check
import landing
import pytest

ROOT = Path(__file__).parents[2]
REAL_FAULTS = [name for name in landing.FAULTS if name != "loop"]


@pytest.fixture(scope="module")
def built_page(tmp_path_factory):
    pytest.importorskip("latex2mathml", reason="the page's formulas need the extra [site]")
    folder = tmp_path_factory.mktemp("site")
    landing.build_landing(folder)
    return folder


def test_the_code_in_the_editor_is_what_stands_in_the_package():
    assert landing.snippet() in (ROOT / "tinymixer/ops/layer_norm.py").read_text(encoding="utf-8")
    assert len(landing.snippet().splitlines()) == landing.EDITOR_LINES


def test_the_code_passes_the_check_and_says_so():
    verdict = check.verdict(landing.snippet())
    assert verdict["passed"]
    assert re.fullmatch(r"Right: \d+ checks, worst relative error \d\.\de-1\d\.", verdict["sentence"])


@pytest.mark.parametrize("name", REAL_FAULTS)
def test_a_planted_fault_is_told_with_the_checkers_sentence(name):
    verdict = check.verdict(landing.with_fault(name))
    assert not verdict["passed"]
    assert "expected" in verdict["sentence"]
    assert "relative error" in verdict["sentence"]


def test_the_deleted_term_passes_a_check_of_ones_and_the_page_says_so(built_page):
    assert check.verdict(landing.with_fault("term"))["ones"] == "right"
    page = (built_page / "index.html").read_text(encoding="utf-8")
    assert check.verdict(landing.with_fault("term"))["sentence"].split("layer_norm_backward ")[1] in page
    assert "all ones" in page


CODE = landing.snippet()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "There is no function layer_norm_backward"),
        ("def layer_norm_backward(", "Python cannot read line 1"),
        (CODE.replace("dy * scale", "dy * scal"), "NameError: name 'scal' is not defined (your code, line 17)"),
        (CODE.replace("dx.astype(dy.dtype, copy=False), dscale, dbias", "dx"), "returned 1 gradient, expected 3"),
        (CODE.replace("    g = ", "    raise SystemExit\n    g = "), "SystemExit"),
        ("raise SystemExit", "SystemExit"),
        ("1 / 0", "ZeroDivisionError: division by zero (line 1)"),
        ("layer_norm_backward = 3", "There is no function"),
        (CODE.replace("    g = ", "    dy[...] = 0\n    g = "), "layer_norm_backward"),
    ],
)
def test_code_that_does_not_work_gets_a_sentence(source, words):
    verdict = check.verdict(source)
    assert not verdict["passed"]
    assert words in verdict["sentence"]


def test_everything_before_pyodide_is_small(built_page):
    loaded = [
        built_page / "index.html",
        *(built_page / "_landing" / name for name in ("landing.css", "playground.js", "icon.svg")),
    ]
    assert sum(path.stat().st_size for path in loaded) < 200_000


def test_the_page_loads_nothing_from_elsewhere(built_page):
    page = (built_page / "index.html").read_text(encoding="utf-8")
    for attribute in re.findall(r'(?:src|href)="([^"]+)"', re.sub(r"<a [^>]*>", "", page)):
        assert "//" not in attribute, attribute
    assert "//" not in re.sub(r"/\*.*?\*/", "", (built_page / "_landing/landing.css").read_text(encoding="utf-8"))


def test_no_placeholder_is_left(built_page):
    page = (built_page / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\{\{|\[\[|\\operatorname", page)
    assert "98.6&nbsp;%" in page


def test_the_page_takes_the_sites_own_pyodide_where_there_is_one(tmp_path):
    pytest.importorskip("latex2mathml", reason="the page's formulas need the extra [site]")
    landing.build_landing(tmp_path)
    assert f'data-pyodide="{landing.PYODIDE}"' in (tmp_path / "index.html").read_text(encoding="utf-8")
    (tmp_path / landing.OWN_PYODIDE).mkdir(parents=True)
    (tmp_path / landing.OWN_PYODIDE / "pyodide.mjs").touch()
    landing.build_landing(tmp_path)
    assert f'data-pyodide="{landing.OWN_PYODIDE}"' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_version_of_pyodide_is_the_lessons_own():
    folder = ROOT / "site" / "lite" / "pyodide_folder.py"
    if not folder.is_file():
        pytest.skip("JupyterLite is not part of this tree")
    version = re.search(r'^VERSION = "(.+)"', folder.read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert f"/v{version}/" in landing.PYODIDE


def test_the_archive_checks_by_itself_with_numpy_alone(built_page):
    """As in the browser: no other package, none of the parts that were left out."""
    code = f"""
import sys, json
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in "matplotlib click rich filelock tomli_w tqdm PIL threadpoolctl".split():
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.path[:0] = {[str(built_page / "_landing" / "tinymixer.zip"), str(built_page / "_landing")]!r}
import tinymixer, check
assert ".zip" in tinymixer.__file__, tinymixer.__file__
print(json.dumps(check.verdict({landing.snippet()!r})))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=built_page, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"]


def test_the_curve_is_of_a_whole_run():
    run = json.loads((ROOT / "site/landing/digits_curve.json").read_text(encoding="utf-8"))
    assert len(run["train_accuracy"]) == len(run["validation_accuracy"]) == 40
    correct = [share * run["validation_images"] for share in run["validation_accuracy"]]
    assert all(abs(count - round(count)) < 0.01 for count in correct)
    assert run["train_images"] + run["validation_images"] + run["test_images"] == 1797
    assert 'role="img"' in landing.curve(run)
