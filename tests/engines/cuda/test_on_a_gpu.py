"""What only a GPU can show: steps against stored references, repeatability, memory, and real libraries' own numbers.

The references are those of `benchmarks/gpu_references.py`, computed beforehand: NumPy's steps would take minutes here.
"""

import dataclasses

import numpy as np
import pytest

from benchmarks import gpu_references as references
from benchmarks.gpu_steps import BOUNDS, first_losses, make_step
from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import BackendError

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
SETTING = references.NANO


def on_gpu(steps=references.STEPS, precision="float32", **options):
    model, step = make_step(SETTING, precision, **options)
    for s in range(steps):
        step.stage(SETTING.staged([s]))
        step.run()
    return step.recent(steps)[:, 0], model, step


@pytest.mark.parametrize("captured", [True, False])
def test_the_first_losses_of_nano_are_numpys(captured):
    losses, _, step = on_gpu(captured=captured)
    assert step.captured == captured, step.note
    np.testing.assert_allclose(losses, references.load()["losses"], rtol=1e-4)


def test_captured_equals_uncaptured_and_two_runs_agree_to_the_last_bit():
    runs = [on_gpu(captured=captured, precision="bfloat16") for captured in (True, True, False)]
    for losses, model, _ in runs[1:]:
        np.testing.assert_array_equal(losses, runs[0][0])
        np.testing.assert_array_equal(model.parameters.values.get(), runs[0][1].parameters.values.get())


@pytest.mark.parametrize("precision", list(BOUNDS))
def test_losses_and_weights_stay_near_float64(precision):
    """Of the weights' change over ten steps, relative to its norm. AdamW divides by the size of a gradient, so that
    weights whose gradient is all rounding error move freely: the distances are larger than SGD's in
    test_captured_step.py."""
    row = first_losses(SETTING, references.load(), precision)
    assert row.get("right"), row


def test_memory_is_what_the_plan_says():
    import cupy

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.used_bytes()
    _, model, step = on_gpu(3, precision="bfloat16")
    used = pool.used_bytes() - before
    planned = step._mixer.plan.nbytes
    rest = 12 * model.parameters.values.nbytes + (64 << 20)  # weights, optimizer, sums, cuBLAS's workspace, images
    assert planned <= used <= planned + rest


def test_a_batch_that_does_not_fit_is_answered_with_one_that_does():
    small = dataclasses.replace(SETTING, batch=8)
    with pytest.raises(BackendError, match=r"out of GPU memory: .* --batch-size \d+ fits"):
        make_step(small, "float32", batch_size=1 << 22)


def test_cublas_has_the_constants_we_use():
    cublas = pytest.importorskip("nvmath.bindings.cublas")
    from tinymixer.kernels import precision

    assert int(cublas.ComputeType.COMPUTE_32F) == precision.COMPUTE_32F
    assert int(cublas.ComputeType.COMPUTE_32F_FAST_TF32) == precision.COMPUTE_32F_FAST_TF32


def test_a_model_passes_the_gradient_check_on_the_gpu():
    from tinymixer.gradcheck import check_model

    config = MixerConfig(image_size=8, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7, num_blocks=2)
    model = MlpMixer(config, backend="cupy", dtype="float64")
    rng = np.random.default_rng(0)
    images = model.backend.asarray(rng.standard_normal((3, 8, 8, 3)))
    check_model(model, images, model.backend.asarray(rng.integers(0, 10, 3))).raise_if_failed()
