"""Loading weights: number formats, older names, what is told by the layout and what may be told otherwise."""

import numpy as np
import pytest

import tinymixer
from tests.pretrained.files import authors_file, pretrained, raw_npz, same_parameters, small
from tests.real_pictures import real_pictures
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models import LinearMixer, LinearMixerConfig, Prediction
from tinymixer.pretrained import catalogue, export_weights, load_weights, published
from tinymixer.pretrained.class_names import imagenet_classes
from tinymixer.pretrained.export import foreign_arrays


def bfloat16(array):
    """The nearest number of eight bits' precision, as float32 whose lower half is zero."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


@pytest.mark.parametrize("descr", ["|V2", "<V2"])
def test_bfloat16_npz(tmp_path, descr):
    """As `np.savez` writes arrays of ml_dtypes' bfloat16: two bytes without a name."""
    model = small()
    rounded = {name: bfloat16(array) for name, array in foreign_arrays(model, "authors").items()}
    members = {}
    for name, array in rounded.items():
        header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {array.shape}, }}".ljust(117).encode() + b"\n"
        upper = (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        members[f"{name}.npy"] = b"\x93NUMPY\x01\x00\x76\x00" + header + upper
    loaded = load_weights(raw_npz(tmp_path / "bf16.npz", members), backend="numpy")
    for name, array in foreign_arrays(loaded.model, "authors").items():
        np.testing.assert_array_equal(array, rounded[name])


def test_bfloat16_as_ml_dtypes_and_safetensors_write_it(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    numpy_safetensors = pytest.importorskip("safetensors.numpy")
    arrays = {name: array.astype(ml_dtypes.bfloat16) for name, array in foreign_arrays(small(), "timm").items()}
    np.savez(tmp_path / "bf16.npz", **arrays)
    views = {name: array.view(np.uint16) for name, array in arrays.items()}
    numpy_safetensors.save_file(views, tmp_path / "bf16.safetensors")
    content = (tmp_path / "bf16.safetensors").read_bytes().replace(b'"U16"', b'"BF16"', len(views))
    header = int.from_bytes(content[:8], "little") + len(views)  # one letter more for each array
    (tmp_path / "bf16.safetensors").write_bytes(header.to_bytes(8, "little") + content[8:])
    for ending in ("npz", "safetensors"):
        loaded = load_weights(tmp_path / f"bf16.{ending}", backend="numpy")
        for name, array in foreign_arrays(loaded.model, "timm").items():
            np.testing.assert_array_equal(array, arrays[name].astype(np.float32))


@pytest.mark.parametrize("stored", ["float16", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_precisions(tmp_path, stored, dtype):
    def change(arrays):
        for name in arrays:
            arrays[name] = arrays[name].astype(stored)

    model = small()
    loaded = load_weights(authors_file(tmp_path / "a.npz", model, change=change), dtype=dtype, backend="numpy")
    for name in model.parameters:
        np.testing.assert_array_equal(loaded.parameters[name], model.parameters[name].astype(stored).astype(dtype))


def test_columns_first_arrays_and_a_prefix(tmp_path):
    def change(arrays):
        for name in list(arrays):
            arrays[f"params/{name}"] = np.asfortranarray(arrays.pop(name))

    model = small()
    assert same_parameters(load_weights(authors_file(tmp_path / "a.npz", model, change=change)), model)


def test_the_older_layout_with_its_axes_of_length_one_and_its_count_of_layers(tmp_path):
    """Before Linen, flax counted all of a block's layers together: LayerNorm_0 and LayerNorm_2."""

    def change(arrays):
        for name in list(arrays):
            array = arrays.pop(name)
            if "token_mixing_phase_0/bias" in name:
                array = array.reshape(1, -1, 1)
            arrays[name.replace("LayerNorm_1", "LayerNorm_2")] = array

    model = small()
    loaded = load_weights(authors_file(tmp_path / "a.npz", model, "authors-older", change))
    assert same_parameters(loaded, model)
    assert loaded.layout == "authors-older"


def test_what_the_layout_tells(tmp_path):
    authors = load_weights(authors_file(tmp_path / "a.npz", small()), backend="numpy")
    assert (authors.config.gelu, authors.preprocessing.name, authors.layout) == ("tanh", "authors", "authors")
    assert authors.config.layer_norm_eps == 1e-6
    timm = load_weights(authors_file(tmp_path / "t.npz", small(), "timm"), backend="numpy")
    assert (timm.config.gelu, timm.preprocessing.name) == ("erf", "timm")
    assert timm.class_names == tuple("0123456")
    assert "timm's layout, GELU erf" in timm.source


def test_what_can_be_told_otherwise(tmp_path):
    path = authors_file(tmp_path / "a.npz", small())
    other = load_weights(path, gelu="erf", preprocessing="big_vision", class_names=list("abcdefg"), backend="numpy")
    assert (other.config.gelu, other.preprocessing.name, other.class_names[6]) == ("erf", "big_vision", "g")
    with pytest.raises(ConfigError, match="a different name for each of the 7 classes, got 2"):
        load_weights(path, class_names=["a", "b"])
    with pytest.raises(ConfigError, match=r"no preprocessing 'tim'.*Did you mean 'timm'"):
        load_weights(path, preprocessing="tim")
    with pytest.raises(ConfigError, match="makes images of 24 x 24 with 3 channels, the model takes 12 x 12 with 3"):
        load_weights(path, preprocessing=published("timm", 24))


@pytest.mark.parametrize(("name", "expected"), [
    ("mixer_b16_224.miil_in21k_ft_in1k.safetensors", "miil"), ("mixer_b16_224.safetensors", "timm"),
])  # fmt: skip
def test_whose_timm_weights_is_told_by_the_name(tmp_path, name, expected):
    export_weights(pretrained(small(gelu="erf", num_classes=1000)), tmp_path / "plain.npz", "timm")
    (tmp_path / "plain.npz").rename(tmp_path / name)
    loaded = load_weights(tmp_path / name, backend="numpy")
    assert loaded.preprocessing.name == expected
    assert (loaded.preprocessing.mean[0], loaded.preprocessing.interpolation) == {
        "miil": (0.0, "bilinear"), "timm": (0.5, "bicubic"),
    }[expected]  # fmt: skip


def test_timm_s_own_config_beside_the_file(tmp_path):
    folder = tmp_path / "mixer"
    folder.mkdir()
    np.savez(folder / "model.npz", **foreign_arrays(small(), "timm"))
    (folder / "config.json").write_text(
        '{"architecture": "mixer_b16_224", "num_classes": 7, "pretrained_cfg": {"interpolation": "bilinear", '
        '"crop_pct": 0.5, "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "input_size": [3, 12, 12]}}'
    )
    ways = load_weights(folder, backend="numpy").preprocessing  # the folder's only file of weights
    assert (ways.short_side, ways.interpolation, ways.mean) == (24, "bilinear", (0.1, 0.2, 0.3))
    (folder / "config.json").write_text('{"architecture": "x", "interpolation": "lanczos"}')
    with pytest.raises(CheckpointError, match="asks for lanczos pictures"):
        load_weights(folder)
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        load_weights(folder)
    (folder / "config.json").write_text('{"name": "of something else"}')
    assert load_weights(folder).preprocessing.name == "timm"


def test_imagenet_classes_by_their_number(tmp_path):
    loaded = load_weights(authors_file(tmp_path / "a.npz", small(num_classes=1000)), backend="numpy")
    assert loaded.class_names[:2] == ("tench", "goldfish")
    assert loaded.synsets[0] == "n01440764"
    assert "1,000 classes are taken for ImageNet-1k's, by their number" in loaded.source
    assert load_weights(authors_file(tmp_path / "b.npz", small(num_classes=1001))).synsets is None


def test_class_names_are_different_and_in_order():
    for count, name in ((1_000, "ImageNet-1k"), (21_843, "ImageNet-21k"), (11_221, "ImageNet-21K-P")):
        classes = imagenet_classes(count)
        assert classes.name == name
        assert len(set(classes.names)) == len(set(classes.synsets)) == count
        assert list(classes.synsets) == sorted(classes.synsets)
    one = imagenet_classes(1_000)
    assert (one.names[134], one.names[517]) == ("crane (n02012849)", "crane (n03126707)")
    assert (one.names[285], one.names[999], one.synsets[999]) == ("Egyptian cat", "toilet tissue", "n15075141")
    assert imagenet_classes(10) is None


def test_real_photographs_have_the_names_of_their_labels():
    names = imagenet_classes(1_000).names
    assert [names[label] for _, label in real_pictures("imagenet")][:4] == [
        "bull mastiff", "folding chair", "beaker", "buckeye",
    ]  # fmt: skip


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "model", [small("float64"), small(tokens="pool"), LinearMixer(LinearMixerConfig(num_classes=3))]
)
def test_our_own_layout_has_everything(tmp_path, model, ending):
    model.parameters["head.bias"][...] = 1 / 3
    first = pretrained(model)
    assert export_weights(first, tmp_path / f"own{ending}", "tinymixer") == []
    loaded = load_weights(tmp_path / f"own{ending}", dtype=str(model.parameters.dtype), backend="numpy")
    assert same_parameters(loaded, model)
    assert type(loaded.model) is type(model)
    assert (loaded.config, loaded.preprocessing, loaded.class_names, loaded.source) == (
        first.config, first.preprocessing, first.class_names, first.source,
    )  # fmt: skip
    if hasattr(model.config, "gelu"):
        with pytest.raises(ConfigError, match="says itself that its GELU is 'tanh'"):
            load_weights(tmp_path / f"own{ending}", gelu="erf")


def test_what_another_layout_has_no_names_for(tmp_path):
    for model, what in (
        (small(tokens="pool"), "mlp_mixer with tokens = pool"),
        (LinearMixer(LinearMixerConfig()), "linear_mixer"),
    ):
        for layout in ("authors", "timm"):
            with pytest.raises(ConfigError, match=f"layout has no names for {what}"):
                export_weights(pretrained(model), tmp_path / "a.npz", layout)
    with pytest.raises(ConfigError, match=r"should end in .npz or .safetensors"):
        export_weights(pretrained(small()), tmp_path / "a.onnx", "timm")
    with pytest.raises(ConfigError, match="unknown layout 'keras'"):
        export_weights(pretrained(small()), tmp_path / "a.npz", "keras")

    class Own(type(small())):
        pass

    with pytest.raises(ConfigError, match="is not one of tinymixer's models"):
        export_weights(pretrained(Own(small().config)), tmp_path / "a.npz", "tinymixer")
    broken = small()
    broken.parameters["head.bias"][0] = np.nan
    with pytest.raises(ConfigError, match=r"'parameters/head.bias' holds numbers that are not finite"):
        export_weights(pretrained(broken), tmp_path / "a.npz", "authors")
    assert list(tmp_path.iterdir()) == []


def test_safetensors_are_those_of_the_package_of_that_name(tmp_path):
    safetensors = pytest.importorskip("safetensors")
    from safetensors.numpy import load_file, save_file

    model = small(gelu="erf")
    arrays = foreign_arrays(model, "timm")
    export_weights(pretrained(model), tmp_path / "ours.safetensors", "timm")
    theirs = load_file(tmp_path / "ours.safetensors")
    assert theirs.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
    with safetensors.safe_open(tmp_path / "ours.safetensors", "np") as file:
        assert file.metadata()["format"] == "pt"
    save_file(arrays, tmp_path / "theirs.safetensors", {"format": "pt"})
    assert same_parameters(load_weights(tmp_path / "theirs.safetensors"), model)


def test_the_object_does_it_all(tmp_path):
    loaded = load_weights(authors_file(tmp_path / "a.npz", small()), backend="numpy")
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    images = loaded.preprocessing(picture)[None]
    assert (images.shape, images.dtype) == ((1, 12, 12, 3), np.float32)
    logits, cache = loaded.forward(images)
    assert loaded.backward(np.ones_like(logits), cache).shape == images.shape
    np.testing.assert_allclose(loaded.logits(images), logits, rtol=2e-5)
    prediction = loaded.predict(picture)
    assert isinstance(prediction, Prediction)
    expected = np.exp(logits[0]) / np.exp(logits[0]).sum()
    np.testing.assert_allclose(prediction.probabilities, expected, rtol=1e-4)
    assert [name for name, _ in prediction.best(5)] == [loaded.class_names[k] for k in np.argsort(-logits[0])[:5]]
    many = loaded.predict_many([picture] * 20)
    assert len(many) == 20
    assert loaded.predict_many([]) == []
    assert loaded.computed_by.startswith("cpu engine, ")
    assert "Mixer of 2 blocks" in repr(loaded)


def test_files_and_names_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYMIXER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match=r"there is no file of weights Mixer-B_16\.npz"):
        tinymixer.load_weights("Mixer-B_16.npz")
    with pytest.raises(CheckpointError, match="no published weights 'mixer-b16'"):
        tinymixer.load_weights("mixer-b16")
    with pytest.raises(CheckpointError, match="is a folder that holds no weights"):
        tinymixer.load_weights(tmp_path)
    for name in ("a.npz", "b.npz"):
        authors_file(tmp_path / name, small())
    with pytest.raises(CheckpointError, match="holds 2 files of weights"):
        tinymixer.load_weights(tmp_path)


def test_a_published_name_is_loaded_as_its_card_says(tmp_path, monkeypatch):
    """The catalogue's file is another one here: of random weights, in the same layout."""
    path = authors_file(tmp_path / "cached.npz", small(num_classes=1000))
    monkeypatch.setattr(catalogue, "find", lambda name: path)
    entry = catalogue.entry_of("mixer-s16-gsam")
    loaded = tinymixer.load_weights("mixer-s16-gsam", backend="numpy")
    assert (loaded.config.gelu, loaded.preprocessing.name) == (entry.gelu, entry.preprocessing)
    miil = tinymixer.load_weights("mixer_b16_224.miil_in21k_ft_in1k", backend="numpy")
    assert (miil.config.gelu, miil.preprocessing.name) == ("erf", "miil")
