"""tinymixer weights info and export, and predict and eval with files of weights."""

import numpy as np
import pytest
from PIL import Image

from tests.pretrained.files import authors_file, pretrained, small
from tinymixer.pretrained import export_weights, load_weights


@pytest.fixture
def theirs(tmp_path):
    """A small Mixer of a thousand classes as the authors would have written it."""
    return authors_file(tmp_path / "theirs.npz", small(num_classes=1000))


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    for number, synset in enumerate(("n01440764", "n01443537")):
        (tmp_path / "val" / synset).mkdir(parents=True)
        for copy in range(2):
            pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "val" / synset / f"{number}{copy}.png")
    return tmp_path / "val"


def test_info_of_the_authors_file(tinymixer, theirs):
    facts = tinymixer("weights", "info", theirs, "--json").json
    assert (facts["layout"], facts["kind"], facts["problems"]) == ("authors", "npz", [])
    assert facts["config"]["hidden_dim"] == 10
    assert facts["config"]["gelu"] == "tanh"
    assert facts["preprocessing"]["name"] == "authors"
    assert facts["dtypes"] == {"float32": 30}
    stem = facts["arrays"][0]
    assert (stem["name"], stem["ours"], stem["shape"]) == ("stem/kernel", "stem.weight", [4, 4, 3, 10])
    text = tinymixer("weights", "info", theirs, "--arrays").out
    for part in (
        "ImageNet-1k's by their number",
        "stretched to 12 x 12",
        "blocks.0.token_mixing.weight1",
        "4 x 4 x 3 x 10",
    ):
        assert part in text


def test_info_names_everything_that_is_wrong(tinymixer, tmp_path):
    def change(arrays):
        arrays["MixerBlock_0/LayerNorm_0/scale"] = np.zeros(9, np.float32)
        arrays["head/bias"] = np.full(7, np.nan, np.float32)
        del arrays["stem/bias"]

    path = authors_file(tmp_path / "broken.npz", small(), change=change)
    outcome = tinymixer("weights", "info", path)
    assert outcome.is_error("cannot be loaded", "'stem/bias' is missing", "(9,), expected (10,)", "holds 7 numbers")
    assert "hidden_dim 10" in outcome.out  # what can be told is
    assert len(tinymixer("weights", "info", path, "--json").json["problems"]) == 3


@pytest.mark.parametrize("what", ["theirs", "own", "run", "name"])
def test_info_of_whatever_there_is(tinymixer, what, theirs, finished_run, tmp_path):
    export_weights(pretrained(small()), tmp_path / "own.safetensors", "tinymixer")
    source = {"theirs": theirs, "own": tmp_path / "own.safetensors", "run": finished_run, "name": "first-mixer"}[what]
    outcome = tinymixer("weights", "info", source)
    assert outcome.code == 0, outcome.err
    assert "hidden_dim" in outcome.out
    assert tinymixer("weights", "info", source, "--json").json["parameters"] > 100


def test_export_of_a_run_and_back(tinymixer, finished_run, tmp_path):
    for layout, ending in (("tinymixer", "npz"), ("timm", "safetensors"), ("authors", "npz")):
        out = tmp_path / f"{layout}.{ending}"
        outcome = tinymixer("weights", "export", finished_run, out, "--format", layout)
        assert outcome.code == 0, outcome.err
        assert ("will differ" in outcome.err) == (layout == "timm")
        assert load_weights(out).config.hidden_dim == 8
    assert tinymixer("weights", "export", finished_run, out).is_error("is there already", "--force")
    assert tinymixer("weights", "export", out, tmp_path / "x.safetensors", "--format", "timm").code == 0
    assert tinymixer("weights", "export", "nowhere", tmp_path / "y.npz").is_error("nowhere")


def test_predict_with_weights(tinymixer, theirs, photographs, tmp_path):
    outcome = tinymixer("predict", "--weights", theirs, photographs, "--picture", "seen.png", "--json")
    assert outcome.code == 0, outcome.err
    answers = outcome.json
    assert len(answers) == 4
    assert all(len(answer["predictions"]) == 5 and answer["engine"] == "cpu" for answer in answers)
    best = answers[0]["predictions"][0]
    expected = load_weights(theirs).predict(photographs / "n01440764" / "00.png")
    assert (best["class"], best["label"]) == (expected.class_name, expected.label)
    assert best["probability"] == pytest.approx(expected.probability, rel=1e-5)
    assert best["synset"].startswith("n0")
    with Image.open(tmp_path / "seen.png") as drawn:
        assert drawn.width > 800
    outcome = tinymixer(
        "predict", theirs, photographs / "n01440764" / "00.png", "--preprocessing", "timm", "--gelu", "erf"
    )
    assert outcome.code == 0
    assert "timm" in outcome.err
    assert "cpu engine" in outcome.err
    assert tinymixer("predict", "--weights", "mixer-b17", photographs).is_error("mixer-b17")


def test_eval_with_weights(tinymixer, theirs, photographs, tmp_path):
    outcome = tinymixer("eval", "--weights", theirs, "--data", photographs.parent, "--json")
    assert outcome.code == 0, outcome.err
    facts = outcome.json
    assert facts["images"] == 4
    assert facts["top1"] <= facts["top5"] <= 1
    assert [row["synset"] for row in facts["classes"]] == ["n01440764", "n01443537"]
    assert sum(row["images"] for row in facts["confusions"]) == 4 - 4 * facts["top1"]
    text = tinymixer("eval", "--weights", theirs, "--data", photographs, "--out", "confusion.png", "--tta", "all").out
    assert text.startswith("top-1 ")
    assert text.splitlines()[1].startswith("test-time augmentation (all, 6 views): top-1 ")
    both = tinymixer("eval", "--weights", theirs, "--data", photographs.parent, "--json", "--tta", "all").json
    assert {name: value for name, value in both.items() if not name.startswith("tta")} == facts
    assert both["tta_loss"] != both["loss"]
    assert both["tta_top1"] <= both["tta_top5"] <= 1
    assert "4 pictures of 2 classes" in text
    assert (tmp_path / "confusion.png").exists()
    assert tinymixer("eval", "--weights", theirs).is_error("--data")
    assert tinymixer("eval").is_error("RUN")
    assert tinymixer("eval", "a", "--weights", "b").is_error("not both")


def test_eval_of_a_run_by_weights(tinymixer, finished_run, tmp_path):
    outcome = tinymixer("eval", "--weights", finished_run, "--out", tmp_path / "c.png", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["images"] == 360


def test_a_preset_is_trained_by_a_short_name(tinymixer):
    recipe = tinymixer("train", "photos", "--architecture", "S/16", "--print-recipe").out
    assert "hidden_dim = 512" in recipe
    assert "image_size = 224" in recipe
    assert tinymixer("train", "photos", "--architecture", "S/17").is_error("S/17")
