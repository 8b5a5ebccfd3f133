"""tinymixer plot, gradcheck, data and doctor."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tinymixer import ops
from tinymixer.cli.output import percent, sparkline
from tinymixer.data import DATASETS

PNG = b"\x89PNG\r\n\x1a\n"


class TestPlot:
    def test_several_runs_in_one_picture(self, tinymixer, finished_run, tmp_path):
        for name in ("one", "two"):
            shutil.copytree(finished_run, tmp_path / name)
        outcome = tinymixer("plot", "one", "two")
        assert outcome.code == 0
        assert "comparison.png" in outcome.out
        assert [line.split()[:2] for line in outcome.out.splitlines() if line.startswith((" one", " two"))] == [
            ["one", "2"],
            ["two", "2"],
        ]
        assert (tmp_path / "comparison.png").read_bytes().startswith(PNG)

    def test_one_run_into_a_chosen_file(self, tinymixer, finished_run, tmp_path):
        assert tinymixer("plot", finished_run, "--out", "chosen.png").code == 0
        assert (tmp_path / "chosen.png").read_bytes().startswith(PNG)

    def test_bad_input_is_one_sentence(self, tinymixer, finished_run, tmp_path):
        (tmp_path / "empty").mkdir()
        assert tinymixer("plot", "empty").is_error("empty")
        assert tinymixer("plot", finished_run, "--out", "x.pdf").is_error("x.pdf", ".png")
        assert tinymixer("plot").is_error("RUN")
        assert {path.name for path in tmp_path.iterdir()} == {"empty"}


class TestGradcheck:
    def test_a_chosen_operation_passes(self, tinymixer):
        outcome = tinymixer("gradcheck", "Layer_Norm", "linear")
        assert outcome.code == 0
        assert "pass" in outcome.out
        assert "all passed" in outcome.out

    def test_json_is_a_list_of_rows(self, tinymixer):
        rows = tinymixer("gradcheck", "gelu_tanh", "--json").json
        assert {row["name"] for row in rows} == {"gelu_tanh"}
        assert all(isinstance(row["shape"], list) and row["passed"] is True for row in rows)
        assert 0 < max(row["error"] for row in rows) < 1e-3

    def test_a_wrong_gradient_is_exit_code_1_and_names_the_element(self, tinymixer, monkeypatch):
        backward = ops.gelu_tanh_backward
        monkeypatch.setattr(ops, "gelu_tanh_backward", lambda dy, cache: 1.01 * backward(dy, cache))
        outcome = tinymixer("gradcheck", "gelu_tanh")
        assert outcome.code == 1
        assert "FAIL" in outcome.out
        assert "expected" in outcome.out
        assert not all(row["passed"] for row in tinymixer("gradcheck", "gelu_tanh", "--json").json)

    def test_an_unknown_name_gets_the_nearest(self, tinymixer):
        assert tinymixer("gradcheck", "layernom").is_error("layernom", "Did you mean")


class TestData:
    def test_info_of_one_and_of_all(self, tinymixer):
        assert [entry["name"] for entry in tinymixer("data", "info", "--json").json] == list(DATASETS)
        digits = tinymixer("data", "info", "digits", "--json").json
        assert (digits["train_images"], digits["test_images"], digits["available"]) == (1437, 360, True)
        text = tinymixer("data", "info").out
        assert "1,437 training, 360 test\n  pixels   8 x 8, grey" in text
        assert "not fetched yet: tinymixer data fetch cifar10" in text

    def test_info_of_own_images(self, tinymixer, tmp_path):
        for name, shade in (("cat", 40), ("dog", 200)):
            (tmp_path / "pets" / name).mkdir(parents=True)
            for number in range(5):
                Image.new("L", (20, 10), shade + number).save(tmp_path / "pets" / name / f"{number}.png")
        (tmp_path / "pets" / "dog" / "broken.png").write_bytes(b"no picture")
        facts = tinymixer("data", "info", "pets", "--image-size", "8", "--colours", "colour", "--json").json
        assert facts["classes"] == [
            {"class": "cat", "train": 4, "test": 1},
            {"class": "dog", "train": 4, "test": 1},
        ]
        assert (facts["image_size"], facts["in_channels"], len(facts["fingerprint"])) == (8, 3, 64)
        assert len(facts["notes"]) == 1
        outcome = tinymixer("data", "info", "pets")
        assert outcome.code == 0
        assert "pets: 2 classes\n  images       8 training, 2 test\n  pixels       64 x 64, grey" in outcome.out
        assert "broken.png is not an image" in outcome.out
        assert tinymixer("data", "info", "pets/cat").is_error("cat holds no folders")

    def test_a_hundred_classes_are_not_all_named(self, tinymixer):
        outcome = tinymixer("data", "info", "cifar100")
        assert "100: apple, aquarium_fish" in outcome.out
        assert "and 88 more\n" in outcome.out

    def test_fetching_what_is_here_prints_its_path_alone(self, tinymixer):
        outcome = tinymixer("data", "fetch", "digits")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.endswith("digits.npz\n")

    def test_fetch_hands_over_the_mirrors_and_passes_on_what_happens(self, tinymixer, monkeypatch, tmp_path):
        def fetch(name, *, mirrors, progress, notify):
            assert (name, mirrors, progress) == ("cifar10", ("http://one", "http://two"), None)
            notify("trying again")
            return tmp_path / "archive"

        monkeypatch.setattr("tinymixer.data.fetching.fetch", fetch)
        outcome = tinymixer("data", "fetch", "--mirror", "http://one", "--mirror", "http://two")
        assert (outcome.out, outcome.err) == (f"{tmp_path / 'archive'}\n", "trying again\n")

    def test_an_unknown_data_set_gets_the_nearest(self, tinymixer):
        for command in ("info", "fetch"):
            assert tinymixer("data", command, "cifar11").is_error("cifar11", "Did you mean 'cifar10'?")


class TestDoctor:
    def test_json_says_what_is_here(self, tinymixer, tmp_path):
        facts = tinymixer("doctor", "--json").json
        assert facts["packages"]["numpy"] == np.__version__
        assert facts["cpu"]["cores"] >= 1
        assert facts["blas"]["name"]
        assert facts["blas"]["gigaflops_float32"] > 0
        assert facts["gpu"]["usable"] or "CuPy" in facts["gpu"]["obstacle"]
        assert facts["data"] == {
            "cache": str(tmp_path / "cache"),
            "available": {name: name == "digits" for name in DATASETS},
        }
        assert "digits" in facts["recipes"]
        assert isinstance(facts["warnings"], list)

    def test_the_text_has_a_line_for_each_fact(self, tinymixer):
        outcome = tinymixer("doctor")
        labels = ("tinymixer", "Python", "packages", "processor", "BLAS", "GPU", "data cache", "recipes")
        assert all(f"\n{label}  " in f"\n{outcome.out}" for label in labels)
        assert f"numpy {np.__version__}" in outcome.out

    def test_a_gpu_is_described(self, tinymixer, monkeypatch):
        properties = {"name": b"NVIDIA H100", "totalGlobalMem": 80 * 2**30}
        runtime = SimpleNamespace(
            getDeviceProperties=lambda index: properties,
            runtimeGetVersion=lambda: 12090,
            driverGetVersion=lambda: 13000,
        )
        device = SimpleNamespace(id=0, compute_capability="90")
        cuda = SimpleNamespace(runtime=runtime, Device=lambda: device)
        monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
        monkeypatch.setattr("tinymixer.cli.system_facts.cupy_obstacle", lambda: None)
        line = "NVIDIA H100, 80.0 GiB, compute capability 90, CUDA 12.9, driver for CUDA 13.0"
        assert line in tinymixer("doctor").out

    def test_settings_that_slow_numpy_down_are_warned_of(self, tinymixer, monkeypatch):
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        outcome = tinymixer("doctor")
        assert outcome.code == 0
        assert "warning: OPENBLAS_CORETYPE=Haswell is set" in outcome.err
        assert "unset OPENBLAS_CORETYPE" in outcome.err

    def test_without_threadpoolctl_the_rest_is_still_known(self, tinymixer, monkeypatch):
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
        outcome = tinymixer("doctor")
        assert outcome.code == 0
        assert "threads unknown (pip install threadpoolctl)" in outcome.out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (sparkline([0.0, 1.0]), "\N{LOWER ONE EIGHTH BLOCK}\N{FULL BLOCK}"),
        (sparkline([2.0, 2.0]), "\N{LOWER ONE EIGHTH BLOCK}" * 2),
        (percent(0.97222), "97.2 %"),
        (percent(None), "-"),
    ],
)
def test_small_formats(text, expected):
    assert text == expected


def test_a_long_curve_is_as_wide_as_asked():
    assert len(sparkline([float(i) for i in range(1000)], width=50)) == 50


def test_what_was_fetched_can_be_deleted(tinymixer, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIXER_CACHE", str(tmp_path / "cache"))
    assert tinymixer("data", "clean").out == "nothing was fetched\n"
    (tmp_path / "cache").mkdir()
    names = ["cifar-10-binary.tar.gz.part", "cifar10.lock", "mine.txt"]
    for name in names:
        (tmp_path / "cache" / name).write_bytes(b"x" * 1000)
    outcome = tinymixer("data", "clean", "cifar10", "--yes")
    assert outcome.code == 0
    assert names[0] in outcome.out
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mine.txt"]
    assert tinymixer("data", "clean", "cifar11").is_error("There is no data set 'cifar11'")
