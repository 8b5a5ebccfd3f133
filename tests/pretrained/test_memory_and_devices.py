"""Loading takes one model's memory, and works on another array library than NumPy."""

import tracemalloc

import numpy as np
import pytest

from tests.pretrained.files import authors_file, small
from tests.strict_arrays import STRICT, StrictArray
from tinymixer.pretrained import load_weights


@pytest.mark.parametrize(("layout", "compressed"), [("authors", True), ("timm", False)])
def test_a_model_is_in_memory_once(tmp_path, layout, compressed):
    """Half as much again as the file is the promise; one array at a time stands beside the model."""
    model = small(image_size=32, hidden_dim=128, tokens_mlp_dim=64, channels_mlp_dim=512, num_blocks=6)
    path = authors_file(tmp_path / "a.npz", model, layout, compressed=compressed)
    load_weights(path, backend="numpy")  # what is imported and kept is no part of it
    tracemalloc.start()
    try:
        load_weights(path, backend="numpy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * model.parameters.values.nbytes, (peak, model.parameters.values.nbytes)


def test_on_an_array_library_that_is_not_numpy(tmp_path):
    model = small()
    path = authors_file(tmp_path / "a.npz", model)
    loaded = load_weights(path, backend=STRICT)
    assert isinstance(loaded.parameters["stem.weight"], StrictArray)
    for name, array in loaded.parameters.to_numpy().items():
        np.testing.assert_array_equal(array, model.parameters[name])
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    expected = load_weights(path, backend="numpy").predict(picture).probabilities
    np.testing.assert_allclose(loaded.predict(picture).probabilities, expected, rtol=1e-4)
    assert loaded.engine.name == "reference"


@pytest.mark.gpu
def test_on_a_gpu(tmp_path):
    path = authors_file(tmp_path / "a.npz", small())
    loaded = load_weights(path, backend="cupy")
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    expected = load_weights(path, backend="numpy").predict(picture).probabilities
    np.testing.assert_allclose(loaded.predict(picture).probabilities, expected, rtol=1e-3)
    assert loaded.computed_by.startswith(("reference engine", "cuda engine"))
