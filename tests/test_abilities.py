"""On a system that starts no threads and no processes, as a browser does, the package imports, trains and checks."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.lessons.notebooks import write_notebook
from tinymixer import abilities
from tinymixer.lessons.isolated import grade_notebook

# Makes this Python like Pyodide's in JupyterLite, before anything of ours is imported.
LIKE_A_BROWSER = """
import importlib.abc, os, sys, threading, types
import numpy as np

sys.platform = "emscripten"  # by this, subprocess refuses to start anything
sys.modules["fcntl"] = types.ModuleType("fcntl")  # without flock
ABSENT = {"resource", "multiprocessing", "_multiprocessing", "filelock", "_posixsubprocess"}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for name in ABSENT & sys.modules.keys():
    del sys.modules[name]

def no_thread(self):
    raise RuntimeError("can't start new thread")

threading.Thread.start = no_thread
os.cpu_count = lambda: None
if hasattr(os, "sched_getaffinity"):
    del os.sched_getaffinity
np.show_config = lambda mode: {"Build Dependencies": {"blas": {"name": "auto"}, "lapack": {"name": "lapack"}}}

class LiteStream:  # as JupyterLite's kernel has it: it takes bytes without a word, and loses them
    def __init__(self, output):
        self.output = output
    def write(self, text):
        if isinstance(text, str):
            self.output.write(text)
    def flush(self):
        self.output.flush()
    def isatty(self):
        return False

sys.stdout, sys.stderr = LiteStream(sys.__stdout__), LiteStream(sys.__stderr__)
"""


@pytest.fixture
def browser(tmp_path):
    """Runs code on such a system, in tmp_path; returns what it printed."""

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", LIKE_A_BROWSER + code], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_pools_of_threads_are_made_in_one_place():
    """There the system's lack of threads is looked after."""
    package = Path(abilities.__file__).parent
    found = [path.name for path in package.rglob("*.py") if "ThreadPoolExecutor(" in path.read_text(encoding="utf-8")]
    assert found == ["abilities.py"]


def test_every_module_can_be_imported(browser):
    said = browser(
        "import importlib, pkgutil, tinymixer\n"
        "for module in pkgutil.walk_packages(tinymixer.__path__, 'tinymixer.', onerror=print):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "print('all')\n"
    )
    assert said == "all\n"


def test_it_trains_and_says_that_the_folder_is_not_locked(browser):
    said = browser(
        "from tinymixer.training import Progress, Trainer, load_recipe\n"
        "class Notes(Progress):\n"
        "    def on_note(self, sentence): print(sentence)\n"
        "small = {'epochs': 1, 'num_blocks': 1, 'hidden_dim': 8, 'warmup_epochs': 0.0}\n"
        "recipe = load_recipe('digits').with_overrides(small)\n"
        "print(Trainer(recipe, out='run', progress=Notes()).run().tested is not None)\n"
        "from tinymixer.engines.cpu import default_threads\n"
        "print(default_threads())\n"
    )
    assert said.endswith("True\n1\n")
    assert said.count("cannot be locked") == 1


def test_threads_that_are_asked_for_change_no_result(browser):
    """Slices are computed one after the other. Those whose batch norms wait for each other are one slice."""
    said = browser(
        "import numpy as np\n"
        "from tinymixer.engines import ReferenceEngine\n"
        "from tinymixer.engines.cpu import CpuMixer\n"
        "from tinymixer.models import MixerConfig, MlpMixer, ResNet, ResNetConfig\n"
        "x, labels = np.random.default_rng(0).random((6, 8, 8, 1), dtype=np.float32), np.arange(6)\n"
        "mixer = MlpMixer(MixerConfig(image_size=8, in_channels=1, patch_size=2, num_blocks=1, hidden_dim=8))\n"
        "resnet = ResNet(ResNetConfig(image_size=8, in_channels=1, width=3, depths='1-1'))\n"
        "for model, engine in ((mixer, CpuMixer), (mixer, ReferenceEngine), (resnet, ReferenceEngine)):\n"
        "    losses = [engine(model, threads=threads).loss_and_gradients(x, labels)[0] for threads in (1, 2)]\n"
        "    assert abs(losses[0] - losses[1]) < 1e-5, losses\n"
        "print('equal')\n"
    )
    assert said == "equal\n"


RIGHT = "def my_linear_forward(x, weight, bias):\n    return x @ weight + bias\n"
ENDLESS = """\
def my_bias_gradient(dy):
    while True:
        try:
            dy.sum()
        except Exception:
            pass
"""


def test_a_folder_is_graded_in_this_process(browser, tmp_path):
    (tmp_path / "one").mkdir()
    write_notebook(tmp_path / "one" / "02_linear.ipynb", "import os\nos.environ['LEFT'] = '1'\n" + RIGHT, ENDLESS)
    said = browser(
        "import os, sys\n"
        "from tinymixer.cli import main\n"
        "from tinymixer.lessons import show_progress\n"
        "from tinymixer.lessons import isolated\n"
        "isolated.Patience.__init__.__defaults__ = ((0.5,), 45.0)\n"
        "before = os.getcwd(), dict(os.environ), list(sys.path), sys.stdout, input\n"
        "code = main(['lessons', 'status', 'one'])\n"
        "assert before == (os.getcwd(), dict(os.environ), list(sys.path), sys.stdout, input)\n"
        "show_progress('one')\n"
        "print(code)\n"
    )
    text, table, code = said.split("no other can be started here")
    for one in (text, table):
        assert "1 of " in one
        assert "did not end within 0.5 s" in one
    assert code.endswith("0\n")


@pytest.mark.parametrize(
    ("body", "words"),
    {
        "exit": ("exit()", "SystemExit"),
        "an interrupt of its own": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        "printing without end": ("while True:\n        print('x' * 1000)", "characters were printed"),
        "waiting for the keyboard": ("return input()", "EOFError"),
        "recursion without end": ("return my_bias_gradient(dy)", "RecursionError"),
        "another folder": ("import os\n    os.chdir('/')\n    return dy.sum(axis=0)", ""),
    }.values(),
    ids=str,
)
def test_an_answer_costs_its_own_row_only(tmp_path, monkeypatch, body, words):
    monkeypatch.setattr(abilities, "WITHOUT_PROCESSES", (sys.platform,))
    before = Path.cwd(), list(sys.path), set(threading.enumerate())
    path = write_notebook(tmp_path / "02_linear.ipynb", RIGHT, f"def my_bias_gradient(dy):\n    {body}\n")
    verdicts = grade_notebook(path, ["2.1", "2.2"])
    assert verdicts["2.1"].passed, verdicts["2.1"]
    assert verdicts["2.2"].passed if not words else words in str(verdicts["2.2"])
    assert before == (Path.cwd(), list(sys.path), set(threading.enumerate()))


def test_two_notebooks_have_each_their_own_helper_of_one_name(tmp_path, monkeypatch):
    monkeypatch.setattr(abilities, "WITHOUT_PROCESSES", (sys.platform,))
    for folder, text in (("one", "x @ weight + bias"), ("two", "x @ weight - bias")):
        (tmp_path / folder).mkdir()
        path = write_notebook(
            tmp_path / folder / "02_linear.ipynb",
            f"%%writefile helper_of_tests.py\ndef forward(x, weight, bias):\n    return {text}\n",
            "from helper_of_tests import forward\n"
            "def my_linear_forward(x, weight, bias):\n    return forward(x, weight, bias)\n",
        )
        assert grade_notebook(path, ["2.1"])["2.1"].passed == (folder == "one")


def test_programs_that_need_processes_are_refused_in_a_sentence(browser):
    said = browser("import sys\nsys.stderr = sys.stdout\nfrom tinymixer.cli import main\nprint(main(['bench']))\n")
    assert "a measurement needs processes of its own" in said
    assert said.endswith("2\n")


def test_the_doctor_knows_a_numpy_without_blas(browser):
    said = browser(
        "import tinymixer.cli.system_facts as facts, json\n"
        "import threadpoolctl\n"
        "threadpoolctl.threadpool_info = list\n"
        "print(json.dumps(facts.blas_facts()))\n"
    )
    assert json.loads(said) == {"name": "none", "version": None, "core": None, "threads": None}


def test_what_a_lesson_leaves_out_in_a_browser_is_said(browser):
    said = browser(
        "from tinymixer.lessons import cifar10_or_advice, fewer_in_browser\n"
        "assert fewer_in_browser(6, 2) == 2\n"
        "assert fewer_in_browser(400, 100, 'steps') == 100\n"
        "assert cifar10_or_advice() is None\n"
    )
    assert "2 epochs instead of 6" in said
    assert "100 steps instead of 400" in said
    assert "too large for a browser" in said


def test_elsewhere_a_lesson_is_taken_whole(capsys):
    from tinymixer.lessons import fewer_in_browser

    assert fewer_in_browser(6, 2) == 6
    assert capsys.readouterr().out == ""


def test_the_capstone_trains_in_this_process(browser, tmp_path):
    write_notebook(tmp_path / "02_linear.ipynb", RIGHT)
    said = browser(
        "from pathlib import Path\n"
        "from tinymixer.lessons import my_functions\n"
        "from tinymixer.lessons.collecting import collect, compare_in_a_process\n"
        "print(my_functions('.').summary())\n"
        "print(compare_in_a_process(*collect(Path('.')), epochs=1))\n"
    )
    assert said.startswith("yours: 1 of")
    assert "Over 35 steps the losses" in said
