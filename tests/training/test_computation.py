"""Which way a model is computed."""

import pytest

from tests.shaken import shaken
from tinymixer import MixerConfig, MlpMixer
from tinymixer.engines.cpu import CpuMixer
from tinymixer.training.computation import LayerByLayer, make_computation

CONFIG = MixerConfig(image_size=4, patch_size=2, hidden_dim=3, num_blocks=1)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_kernels_reference_switches_every_faster_twin_off(backend):
    """Also where only the model is handed on, as in an evaluation."""
    if make_computation(MlpMixer(CONFIG, backend=backend)).model.backend.name == "numpy":
        assert isinstance(make_computation(MlpMixer(CONFIG, backend=backend)), CpuMixer)
    assert isinstance(make_computation(MlpMixer(CONFIG, backend=backend, kernels="reference")), LayerByLayer)


def test_threads_and_slices_are_passed_on():
    computation = make_computation(shaken(CONFIG, "float32"), threads=1, slice_images=3)
    assert (computation.threads, computation.slice_size.images) == (1, 3)
