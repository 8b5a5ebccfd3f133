"""The package and the lessons' helpers in real Pyodide, run by Node. Skipped without Node or the built site."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.site, pytest.mark.timeout(600)]
SITE_LITE = Path(__file__).parents[3] / "site" / "lite"
RUN = SITE_LITE / "run_in_pyodide.mjs"


@pytest.fixture(scope="module")
def in_pyodide(lite, tmp_path_factory):
    """Runs code in Pyodide with tinymixer loaded; returns what it printed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    folder = tmp_path_factory.mktemp("pyodide")

    def run(code: str) -> str:
        script = folder / "script.py"
        script.write_text(code, encoding="utf-8")
        done = subprocess.run(
            [node, str(RUN), str(lite / "static" / "pyodide"), str(script)],
            capture_output=True,
            text=True,
            timeout=540,  # on a busy machine; a minute on an idle one
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_module_can_be_imported(in_pyodide):
    said = in_pyodide(
        "import importlib, pkgutil, tinymixer\n"
        "for module in pkgutil.walk_packages(tinymixer.__path__, 'tinymixer.', onerror=print):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "print('all')\n"
    )
    assert said.endswith("all\n")


def test_the_digits_are_trained_on_saved_resumed_and_evaluated_per_class(in_pyodide):
    """With augmentation, whose indices are 32 bits wide here, and a note that the run folder is not locked."""
    said = in_pyodide(
        "from tinymixer.analysis.per_class import confusion_matrix\n"
        "from tinymixer.cli import main\n"
        "from tinymixer.data import load_dataset\n"
        "from tinymixer.training import Progress, Trainer, load_recipe\n"
        "class Notes(Progress):\n"
        "    def on_note(self, sentence): print(sentence)\n"
        "small = {'epochs': 2, 'num_blocks': 1, 'hidden_dim': 8, 'warmup_epochs': 1.0}\n"
        "recipe = load_recipe('digits').with_overrides(small)\n"
        "first = Trainer(recipe.with_overrides({'epochs': 1}), out='/tmp/run', progress=Notes()).run()\n"
        "print('trained', first.tested is not None)\n"
        "labels = load_dataset('digits').test_labels\n"
        "print(confusion_matrix(labels, labels, 10).trace() == len(labels))\n"
        "print(main(['eval', '/tmp/run']), main(['data', 'info', 'digits']), main(['doctor']))\n"
    )
    assert "cannot be locked" in said
    assert "trained True\nTrue\n" in said
    assert "0 0 0" in said
    assert "BLAS" in said


AUGMENTED = """
import numpy as np
from tinymixer.data.augmentation import Augmentation
from tinymixer.data.transforms import TRANSFORMS
from tinymixer.data.transforms.pipeline import POLICIES
from tinymixer.draws import Draws

images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
for fields in (
    {"crop_padding": 2, "flip": True, "cutout": 3},
    *({"crop_padding": 1, "transforms": name} for name in (*TRANSFORMS, *POLICIES)),
):
    augmentation = Augmentation(**fields)
    choices = augmentation.draw(Draws(0, 1, 2, np.arange(16)), shape=images.shape[1:])
    stronger = choices.transforms is not None
    result = (augmentation.apply_transforms if stronger else augmentation.apply)(images, choices)
    augmentation.blank(result, choices)
    print(fields, result.shape, result.dtype, round(float(result.mean(dtype=np.float64)), 3))
"""


def test_augmentation_draws_the_same_numbers_with_indices_of_32_bits(in_pyodide, capsys):
    exec(AUGMENTED, {})
    here = capsys.readouterr().out
    assert in_pyodide(AUGMENTED).endswith(here)


GRADED = """
import json
from pathlib import Path
from tinymixer.lessons.progress import grade_folder, progress_text
from tinymixer.lessons.isolated import Patience

Path("/tmp/mine").mkdir()
def write(name, *cells):
    code = [{"cell_type": "code", "source": source} for source in cells]
    Path("/tmp/mine", name).write_text(json.dumps({"cells": code}))

write(
    "02_linear.ipynb",
    "def my_linear_forward(x, weight, bias):\\n    return x @ weight + bias\\n",
    "def my_bias_gradient(dy):\\n    while True:\\n        pass\\n",
    "def my_linear_backward(dy, cache):\\n    x, w = cache\\n    return dy @ w.T, x.T @ dy, dy.mean(axis=0)\\n",
)
Patience.__init__.__defaults__ = ((1.0,), 45.0)
print(progress_text(grade_folder(Path("/tmp/mine"))))
"""


def test_answers_are_graded_with_hints_and_an_endless_one_is_stopped(in_pyodide):
    said = in_pyodide(GRADED)
    assert "1 of " in said
    assert "did not end within 1 s" in said
    assert "mean" in said  # the hint about the bias


def test_a_notebook_is_not_left_with_the_answers_working_directory(in_pyodide):
    said = in_pyodide("import os\nbefore = os.getcwd()\n" + GRADED + "print(os.getcwd() == before)\n")
    assert said.endswith("True\n")


def test_the_gradient_checks_pass(in_pyodide):
    said = in_pyodide(
        "from tinymixer.gradcheck import check_operation\n"
        "import numpy as np\n"
        "from tinymixer import ops\n"
        "rng = np.random.default_rng(0)\n"
        "x, scale, bias = rng.normal(size=(2, 3, 4)), rng.normal(size=4), rng.normal(size=4)\n"
        "report = check_operation(ops.layer_norm_forward, ops.layer_norm_backward, x, scale, bias)\n"
        "print(report.passed)\n"
    )
    assert said.endswith("True\n")


def test_json_of_a_command_can_be_read(in_pyodide):
    said = in_pyodide("from tinymixer.cli import main\nmain(['doctor', '--json'])\n")
    facts = json.loads(said[said.index("{") :])
    assert facts["blas"]["name"] == "none"
    assert facts["cpu"]["cores"] == 1


def test_what_the_page_has_pyodide_load_is_there_and_needed(lite):
    packages = json.loads((lite / "static" / "pyodide" / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"]
    settings = json.loads((SITE_LITE / "jupyter-lite.json").read_text(encoding="utf-8"))["jupyter-config-data"]
    kernel = settings["litePluginSettings"]["@jupyterlite/pyodide-kernel-extension:kernel"]
    named = {name.replace("_", "-") for name in kernel["loadPyodideOptions"]["packages"]}
    assert named <= set(packages)
    assert not {"jedi", "parso", "pytz"} & set(packages)  # they would only delay the first cell


def test_a_lesson_is_measured_cell_by_cell(lite):
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    command = [sys.executable, str(SITE_LITE / "run_cells.py"), str(lite / "static" / "pyodide"), "02", "--cells", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("02_linear\n")
    assert "s  Python, and its packages" in done.stdout
    assert "s of processor time in all" in done.stdout
