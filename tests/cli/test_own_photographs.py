"""The way of somebody with a folder of photographs: train, look, evaluate, predict."""

import numpy as np
import pytest
from PIL import Image

from tests.cli.running import SMALL


@pytest.fixture
def photographs(tmp_path):
    """Twenty pictures of reddish cats and twenty of bluish dogs, 48 x 36 pixels."""
    generator = np.random.default_rng(0)
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(20):
            colour = np.array([150 * (place == 0), 60, 150 * (place == 1)])
            pixels = generator.integers(0, 100, (36, 48, 3)) + colour
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pets" / name / f"{number}.jpg")
    return tmp_path / "pets"


COMMAND = (
    "--epochs",
    "6",
    "--warmup-epochs",
    "1",
    "--image-size",
    "16",
    "--crop-padding",
    "2",
    "--cutout",
    "4",
    *SMALL,
)


def test_train_evaluate_and_predict(tinymixer, photographs, tmp_path):
    (photographs / "cat" / "broken.jpg").write_bytes(b"\xff\xd8no picture")
    trained = tinymixer("train", "photos", "--data", "pets", "--out", "run", *COMMAND)
    assert trained.code == 0, trained.err
    assert "broken.jpg" in trained.err
    assert "4 validation images are too few to choose an epoch by" in trained.err
    assert "pets, 29 training, 4 validation and 7 test images, 16 x 16 in colour, 2 classes" in trained.out
    assert "test accuracy 100.00 % (95 % interval 64.6 to 100.0 %; last weights)" in trained.out
    assert (tmp_path / "run" / "curves.png").exists()

    found = tinymixer("eval", "run", "--json").json
    assert (found["accuracy"], found["images"], found["checkpoint"]) == (1.0, 7, "last")
    assert [entry["name"] for entry in found["classes"]] == ["cat", "dog"]

    predicted = tinymixer("predict", "run", photographs / "dog" / "3.jpg", "--json").json
    assert predicted[0]["predictions"][0]["class"] == "dog"
    assert len(predicted[0]["predictions"]) == 2


def test_a_run_goes_on_with_its_photographs_and_with_no_others(tinymixer, photographs):
    assert tinymixer("train", "--data", "pets", "--out", "run", *COMMAND).code == 0  # photos is the recipe for own data
    assert "already finished" in tinymixer("train", "--out", "run", "--resume").out
    (photographs / "dog" / "7.jpg").unlink()
    assert tinymixer("train", "--out", "run", "--resume").is_error("are others", "pets")


def test_others_are_evaluated_by_the_names_of_their_classes(tinymixer, photographs, tmp_path):
    assert tinymixer("train", "--data", "pets", "--out", "run", *COMMAND).code == 0
    for old, new in (("dog", "a dog"), ("cat", "cat")):
        (tmp_path / "others" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "others" / "train" / new).symlink_to(photographs / old)
    assert tinymixer("eval", "run", "--data", "others").is_error("no class 'a dog'", "cat, dog")
    (photographs / "dog" / "3.jpg").unlink()
    (tmp_path / "others" / "train" / "a dog").rename(tmp_path / "others" / "train" / "dog")
    outcome = tinymixer("eval", "run", "--data", "others")
    assert outcome.code == 0
    assert "of others, not the run's own; all its images, since it has no test set" in outcome.out


def test_data_that_cannot_be_used_is_one_sentence(tinymixer, photographs, tmp_path):
    assert tinymixer("train", "photos").is_error("say where they are with --data FOLDER")
    assert tinymixer("train", "photos", "--data", "nowhere").is_error("There is no folder")
    assert tinymixer("train", "photos", "--data", photographs / "cat").is_error("at least two classes")
    assert tinymixer("train", "photos", "--data", "pets", "--num-classes", "7").is_error("num_classes = 7")
    assert not (tmp_path / "runs").exists()
