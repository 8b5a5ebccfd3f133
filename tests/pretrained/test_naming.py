"""The table of names and axes: held to the published names, to the arithmetic, and to itself."""

import re

import numpy as np
import pytest

from tests.pretrained.files import authors_file, pretrained, same_parameters, small
from tinymixer.models import MixerConfig, preset
from tinymixer.ops import gelu_tanh_forward
from tinymixer.pretrained import export_weights, load_weights
from tinymixer.pretrained.export import foreign_arrays
from tinymixer.pretrained.naming import AUTHORS, LAYOUTS, OLDER, TIMM, authors_shapes, rows

# Written down from the authors' code (vit_jax/models_mixer.py) and timm's (timm/models/mlp_mixer.py), for B/16.
PUBLISHED = {
    AUTHORS: {
        "stem/kernel": (16, 16, 3, 768),
        "stem/bias": (768,),
        "MixerBlock_11/LayerNorm_0/scale": (768,),
        "MixerBlock_0/LayerNorm_1/bias": (768,),
        "MixerBlock_0/token_mixing/Dense_0/kernel": (196, 384),
        "MixerBlock_0/token_mixing/Dense_1/kernel": (384, 196),
        "MixerBlock_0/token_mixing/Dense_1/bias": (196,),
        "MixerBlock_0/channel_mixing/Dense_0/kernel": (768, 3072),
        "MixerBlock_0/channel_mixing/Dense_1/kernel": (3072, 768),
        "pre_head_layer_norm/scale": (768,),
        "head/kernel": (768, 1000),
        "head/bias": (1000,),
    },
    OLDER: {
        "embedding/kernel": (16, 16, 3, 768),
        "Mixer/encoderblock_0/token_mixing_phase_0/kernel1": (196, 384),
        "Mixer/encoderblock_0/token_mixing_phase_0/bias2": (196,),
        "Mixer/encoderblock_11/channel_mixing_phase_0/kernel2": (3072, 768),
        "Mixer/encoder_norm/scale": (768,),
        "head/kernel": (768, 1000),
    },
    TIMM: {
        "stem.proj.weight": (768, 3, 16, 16),
        "stem.proj.bias": (768,),
        "blocks.0.norm1.weight": (768,),
        "blocks.11.norm2.bias": (768,),
        "blocks.0.mlp_tokens.fc1.weight": (384, 196),
        "blocks.0.mlp_tokens.fc2.weight": (196, 384),
        "blocks.0.mlp_channels.fc1.weight": (3072, 768),
        "blocks.0.mlp_channels.fc2.weight": (768, 3072),
        "norm.weight": (768,),
        "head.weight": (1000, 768),
        "head.bias": (1000,),
    },
}
B16 = {"PH": 16, "PW": 16, "I": 3, "C": 768, "S": 196, "DS": 384, "DC": 3072, "K": 1000}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_and_shapes_are_the_published_ones(layout):
    table = {row.name(layout): tuple(B16[each] for each in row.letters(layout)) for row in rows(12)}
    assert len(table) == 2 + 12 * 12 + 4
    assert {name: table[name] for name in PUBLISHED[layout]} == PUBLISHED[layout]


def test_the_shapes_of_the_authors_file_are_those_that_are_written():
    shapes = authors_shapes(preset("B/16"))
    assert {name: shapes[name] for name in PUBLISHED[AUTHORS]} == PUBLISHED[AUTHORS]
    model = small()
    written = {name: array.shape for name, array in foreign_arrays(model, AUTHORS).items()}
    assert authors_shapes(model.config) == written
    assert list(authors_shapes(model.config)) == list(written)


def test_the_table_has_each_of_our_parameters_once_and_in_order():
    model = small()
    assert [row.ours for row in rows(2)] == model.parameters.names
    for layout in LAYOUTS:
        assert len({row.name(layout) for row in rows(2)}) == len(rows(2))
    for row in rows(2):
        for letters in (row.our_letters, *map(row.letters, LAYOUTS)):
            assert len(set(letters)) == len(letters)  # so that the letters say how to turn axes
            assert sorted(letters) == sorted(row.our_letters)


def test_the_docstring_of_the_model_names_an_array_rightly():
    from tinymixer import MlpMixer

    ours, theirs = re.search(r"`(blocks\.\S+)` is `(MixerBlock_\S+)`,\s+transposed", MlpMixer.__doc__).groups()
    (row,) = [row for row in rows(1) if row.ours == ours]
    assert row.authors == theirs
    assert row.letters(AUTHORS) == row.our_letters[::-1]


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_ours_to_timm_to_ours_bit_for_bit(tmp_path, ending, dtype, gelu):
    model, path = small(dtype, gelu=gelu), tmp_path / f"timm{ending}"
    notes = export_weights(pretrained(model), path, TIMM)
    loaded = load_weights(path, dtype=dtype, backend="numpy")
    assert same_parameters(loaded, model)
    assert len(notes) == (gelu == "tanh")  # timm computes the exact form
    # metadata in .safetensors says the form; an .npz has none, and timm's is taken
    assert loaded.config.gelu == (gelu if ending == ".safetensors" else "erf")


@pytest.mark.parametrize("layout", [AUTHORS, OLDER])
@pytest.mark.parametrize("compressed", [False, True])
def test_authors_to_ours_to_authors_bit_for_bit(tmp_path, layout, compressed):
    first = authors_file(tmp_path / "a.npz", small(), layout, compressed=compressed)
    loaded = load_weights(first, backend="numpy")
    export_weights(loaded, tmp_path / "b.npz", layout)
    before, after = (dict(np.load(path)) for path in (first, tmp_path / "b.npz"))
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        assert after[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


def authors_logits(arrays, images, patch, blocks):
    """The authors' network by the letter of their code, on their own arrays: no table and no layer of ours."""

    def norm(x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-6) * arrays[f"{name}/scale"] + arrays[f"{name}/bias"]

    def dense(x, name):
        return x @ arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]

    def mlp(x, name):
        return dense(gelu_tanh_forward(dense(x, f"{name}/Dense_0"))[0], f"{name}/Dense_1")

    side = images.shape[1] // patch
    kernel = arrays["stem/kernel"]
    x = np.stack([
        np.einsum("bhwi,hwic->bc", images[:, patch * i : patch * (i + 1), patch * j : patch * (j + 1)], kernel)
        for i in range(side) for j in range(side)
    ], axis=1) + arrays["stem/bias"]  # fmt: skip
    for i in range(blocks):
        block = f"MixerBlock_{i}"
        y = norm(x, f"{block}/LayerNorm_0").swapaxes(1, 2)
        x = x + mlp(y, f"{block}/token_mixing").swapaxes(1, 2)
        x = x + mlp(norm(x, f"{block}/LayerNorm_1"), f"{block}/channel_mixing")
    return dense(norm(x, "pre_head_layer_norm").mean(1), "head")


def test_the_authors_arrays_give_the_authors_logits(tmp_path):
    """The arrays have nothing of ours in them: random ones, in the authors' shapes."""
    rng = np.random.default_rng(0)
    arrays = {name: 0.3 * rng.standard_normal(array.shape)
              for name, array in foreign_arrays(small("float64"), AUTHORS).items()}  # fmt: skip
    np.savez(tmp_path / "theirs.npz", **arrays)
    loaded = load_weights(tmp_path / "theirs.npz", dtype="float64", backend="numpy")
    assert loaded.config == MixerConfig(
        image_size=12, patch_size=4, hidden_dim=10, num_blocks=2, num_classes=7, tokens_mlp_dim=5, channels_mlp_dim=14
    )
    images = rng.standard_normal((3, 12, 12, 3))
    expected = authors_logits(arrays, images, 4, 2)
    np.testing.assert_allclose(loaded.forward(images)[0], expected, rtol=1e-11)
    np.testing.assert_allclose(loaded.logits(images), expected, rtol=1e-11)
