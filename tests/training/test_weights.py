"""tinymixer.load_weights takes runs too, and predicts as they do; and accuracy on folders laid out like ImageNet's."""

import numpy as np
import pytest
from PIL import Image

import tinymixer
from tests.pretrained.files import authors_file, same_parameters, small
from tests.real_pictures import real_pictures
from tinymixer.errors import ConfigError, DataError
from tinymixer.pretrained import PretrainedModel, export_weights, published
from tinymixer.training import load_run
from tinymixer.training.folder_accuracy import labelled_pictures, measure_folder
from tinymixer.training.weights import is_run


def test_first_mixer_is_the_same_either_way(tmp_path):
    run, loaded = load_run("first-mixer"), tinymixer.load_weights("first-mixer")
    picture = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    np.testing.assert_allclose(loaded.predict(picture).probabilities, run.predict(picture).probabilities, atol=1e-6)
    assert loaded.class_names[0] == "airplane"
    with pytest.raises(ConfigError, match="is a run's, which knows its GELU"):
        tinymixer.load_weights("first-mixer", gelu="erf")
    # Exported and read again, it still knows all of that.
    export_weights(loaded, tmp_path / "own.safetensors", "tinymixer")
    again = tinymixer.load_weights(tmp_path / "own.safetensors")
    assert same_parameters(again, loaded)
    np.testing.assert_array_equal(again.predict(picture).probabilities, loaded.predict(picture).probabilities)


def test_what_a_run_is(tmp_path):
    (tmp_path / "folder").mkdir()
    authors_file(tmp_path / "a.npz", small())
    for path in (tmp_path / "folder", tmp_path / "a.npz", tmp_path / "nothing", "mixer-s16-gsam"):
        assert not is_run(path)
    (tmp_path / "folder" / "last.npz").touch()
    assert is_run(tmp_path / "folder")
    assert is_run("first-mixer")


def test_first_mixer_on_real_cifar_10_images():
    """Lossless CIFAR-10 images, which it was not trained on in this form: about seven in ten is what it is good for."""
    loaded = tinymixer.load_weights("first-mixer")
    pictures = real_pictures("cifar10")
    predictions = loaded.predict_many([file for file, _ in pictures])
    right = sum(prediction.label == label for prediction, (_, label) in zip(predictions, pictures, strict=True))
    assert right >= 12, right


@pytest.fixture
def brightness():
    """A Mixer that tells how light a picture is: class 0 is black, class 6 white, the others are never found."""
    model = small(num_classes=7)
    for name in model.parameters:
        model.parameters[name][...] = 0
    model.parameters["stem.weight"][:, 0] = 1  # the sum of a patch's pixels
    model.parameters["pre_head_layer_norm.scale"][...] = 1
    model.parameters["head.weight"][0, 6], model.parameters["head.weight"][0, 0] = 1, -1
    ways = published("authors", 12)
    names = ("black", "b", "c", "d", "e", "f", "pure white")
    synsets = tuple(f"n{k:08}" for k in range(7))
    return PretrainedModel(model, ways, names, "by hand", "tinymixer", None, synsets)


def folder_of(tmp_path, names, part=""):
    """Two pictures of each shade: what is told by the folder's name is what is in them, but for one."""
    for name, shade in names.items():
        (tmp_path / part / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (20, 16), (shade,) * 3).save(tmp_path / part / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("names", [
    {"n00000000": 0, "n00000006": 255}, {"0": 0, "0006": 255}, {"black": 0, "pure_white": 255},
    {"0": 0, "n00000006": 255},
])  # fmt: skip
@pytest.mark.parametrize("part", ["", "val"])
def test_accuracy_on_a_folder(tmp_path, brightness, names, part):
    folder = folder_of(tmp_path, names, part)
    Image.new("RGB", (20, 16), "white").save(folder / part / next(iter(names)) / "wrong.png")
    pictures = labelled_pictures(brightness, folder)
    assert [label for _, label in pictures] == [0, 0, 0, 6, 6]
    heard = []
    result = measure_folder(brightness, pictures, heard.append)
    assert (result.images, result.top1, result.top5) == (5, 4, 4)
    assert result.worst(3) == [(0, 6, 1)]
    assert dict(result.true) == {0: 3, 6: 2}
    assert dict(result.right) == {0: 2, 6: 2}
    low, high = result.interval
    assert 0.3 < low < 0.8 < high < 1
    assert heard == [5]


def test_one_bad_picture_costs_only_itself(tmp_path, brightness):
    folder = folder_of(tmp_path, {"0": 0, "6": 255})
    (folder / "6" / "broken.png").write_text("no picture")
    result = measure_folder(brightness, labelled_pictures(brightness, folder))
    assert (result.images, result.top1) == (4, 4)
    assert len(result.broken) == 1
    assert "broken.png" in result.broken[0]
    for file in (*folder.rglob("0.png"), *folder.rglob("1.png")):
        file.unlink()
    with pytest.raises(DataError, match="none of the 1 pictures can be read"):
        measure_folder(brightness, labelled_pictures(brightness, folder))


@pytest.mark.parametrize(("name", "message"), [
    ("n00000099", "knows no class n00000099"), ("7", "'7', which is no class"),
    ("pure whit", "Did you mean 'pure white'"),
])  # fmt: skip
def test_a_folder_that_is_no_class(tmp_path, brightness, name, message):
    with pytest.raises(DataError, match=message):
        labelled_pictures(brightness, folder_of(tmp_path, {"0": 0, name: 255}))


def test_folders_without_classes(tmp_path, brightness):
    with pytest.raises(DataError, match="There is no folder"):
        labelled_pictures(brightness, tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no pictures in subfolders"):
        labelled_pictures(brightness, tmp_path)


def test_a_published_size_by_a_short_name():
    from tinymixer.training import load_recipe

    own = load_recipe("photos").with_overrides({"architecture": "S/16"})
    assert (own.architecture, own.model.image_size, own.model.hidden_dim, own.model.num_blocks) == (
        "mlp_mixer", 224, 512, 8,
    )  # fmt: skip
    assert load_recipe("photos").with_overrides({"architecture": "S/16", "image_size": 64}).model.image_size == 64
    cifar = load_recipe("cifar10-tiny").with_overrides({"architecture": "b/16", "num_blocks": 3})
    assert (cifar.model.hidden_dim, cifar.model.num_blocks) == (768, 3)
    assert "image_size" in cifar.from_data  # the images are as large as they are
