"""tinymixer doctor --gpu, on the stand-in GPU and without one."""

import json
from unittest import mock

import pytest

from tests.engines.cuda.proofs import planted, scaled
from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.kernels.fake_cupy import CAPABILITY, fake_gpu
from tinymixer.cli import main

SMALL = ["--recipe", "small.toml", "--gpu"]
RECIPE = """
[model]
image_size = 8
in_channels = 3
num_classes = 4
patch_size = 4
hidden_dim = 8
tokens_mlp_dim = 4
channels_mlp_dim = 8
num_blocks = 1
[training]
batch_size = 4
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
    monkeypatch.setattr("tinymixer.kernels.products.WORKSPACE_BYTES", 1024)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(RECIPE)
    with fake_gpu():
        yield


def test_a_table_with_a_row_for_each_precision(stand_in, capsys):
    assert main(["doctor", *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Stand-in, compute capability 8.0" in lines[0]
    assert "--precision auto is bfloat16 here" in lines[0]
    for precision in ("float32", "tf32", "bfloat16", "float16"):
        (row,) = [line for line in lines if line.strip().startswith(f"{precision} ")]
        assert row.split()[1] == "captured"


def test_what_is_wrong_is_in_the_json_and_in_the_exit_code(stand_in, capsys, monkeypatch):
    monkeypatch.setitem(CAPABILITY, "device", "75")
    with planted("bias_gelu_backward_rows", scaled(0)):
        assert main(["doctor", *SMALL, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["usable"], found["compute_capability"], found["precision_auto"]) == (True, "7.5", "float16")
    rows = {row["precision"]: row for row in found["precisions"]}
    assert rows["float32"]["way"] == rows["float16"]["way"] == "layers"
    assert rows["float32"]["worst"].startswith("gradient of ")
    assert rows["float32"]["error"] > rows["float32"]["bound"]
    assert "steps go through the layers on CuPy, in float32, because the gradient of" in rows["float16"]["note"]


def test_without_a_gpu_it_says_so(capsys):
    with mock.patch("tinymixer.backend.cupy_obstacle", return_value="there is no GPU here"):
        assert main(["doctor", "--gpu"]) == 2
        assert capsys.readouterr().out == "no GPU is used: there is no GPU here\n"
        assert main(["doctor", "--gpu", "--json"]) == 2
        assert json.loads(capsys.readouterr().out) == {"usable": False, "obstacle": "there is no GPU here"}


def test_a_recipe_without_gpu_is_refused(capsys):
    assert main(["doctor", "--recipe", "digits"]) == 2
    assert "add --gpu" in capsys.readouterr().err
