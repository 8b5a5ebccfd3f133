"""The ten lines that somebody with arrays of their own writes first, and what README promises of the front door."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinymixer

ROOT = Path(__file__).parents[1]


def test_own_arrays_are_trained_on_predicted_saved_and_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from tinymixer import Dataset, Trainer, load_recipe, load_run

    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = (generator.integers(0, 100, (200, 32, 32, 3)) + 150 * labels[:, None, None, None]).astype(np.uint8)

    dataset = Dataset.from_arrays(images, labels, class_names=["dark", "light"])
    recipe = load_recipe("photos").with_overrides(
        {"epochs": 4, "patch_size": 8, "hidden_dim": 16, "num_blocks": 1, "warmup_epochs": 1}
    )
    result = Trainer(recipe, dataset=dataset).run()
    run = load_run(result.folder)
    prediction = run.predict(images[1])

    assert result.test_accuracy == 1.0
    assert (prediction.class_name, prediction.label) == ("light", 1)
    assert prediction.probability == max(prediction.probabilities) == prediction.best(1)[0][1]
    assert repr(prediction).startswith("Prediction(light ")
    large = np.kron(images[0], np.ones((4, 5, 1), np.uint8))  # not square, another size
    answers = run.predict_many([large, large[..., 0], images[1]])
    assert [each.class_name for each in answers] == ["dark", "dark", "light"]
    assert run.predict_many([]) == []


def test_what_is_no_picture_is_refused(tmp_path):
    from tinymixer.data.images import image_of_array
    from tinymixer.errors import DataError

    for bad in (np.zeros((8, 8)), np.zeros((8, 8, 2), np.uint8), np.zeros((0, 8), np.uint8), np.zeros(8, np.uint8)):
        with pytest.raises(DataError, match="A picture as an array"):
            image_of_array(bad, 8, 1)


def test_every_name_of_the_front_door_opens():
    for name in tinymixer.__all__:
        assert getattr(tinymixer, name) is not None
        assert name in dir(tinymixer)
    with pytest.raises(AttributeError, match="has no attribute 'Mixer'"):
        tinymixer.Mixer  # noqa: B018


def test_help_leads_to_everything():
    for word in ("MlpMixer", "Trainer", "load_run", "Dataset", "check_layer", "tinymixer lessons", "tinymixer --help"):
        assert word in tinymixer.__doc__


def test_a_user_s_type_checker_sees_the_types(tmp_path, pytestconfig):
    """What mypy finds out about NumPy and the package is kept for the next run."""
    pytest.importorskip("mypy")
    cache = pytestconfig.cache.mkdir("mypy")
    (tmp_path / "use.py").write_text(
        "from tinymixer import MlpMixer, MixerConfig, load_run\n"
        "model: MlpMixer = MlpMixer(MixerConfig())\n"
        "name: int = load_run('x').predict('y').class_name\n"
    )
    options = ["--cache-dir", str(cache), "--follow-imports=silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "use.py"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert 'expression has type "str", variable has type "int"' in done.stdout, done.stdout + done.stderr
    assert "Found 1 error" in done.stdout
