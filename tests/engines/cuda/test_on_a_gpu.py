"""What only a GPU can show: whole runs against NumPy, repeatability, memory, and real libraries' own numbers."""

import functools

import numpy as np
import pytest

from tinymixer import MixerConfig, MlpMixer
from tinymixer.data import Batches, epoch_order
from tinymixer.data.batches import mean_colour
from tinymixer.draws import Draws
from tinymixer.engines.cuda.captured_step import CapturedStep
from tinymixer.engines.cuda.staging import draw_step
from tinymixer.engines.step import train_step
from tinymixer.errors import BackendError
from tinymixer.training.build import make_optimizer, schedule_of
from tinymixer.training.recipe import load_recipe

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
RECIPE = load_recipe("cifar10-nano")
BATCH, SEED, SMOOTHING = RECIPE.training.batch_size, RECIPE.training.seed, RECIPE.training.label_smoothing
AUGMENTATION = RECIPE.augmentation
MEAN, STD = [0.45] * 3, [0.25] * 3
STEPS = 50
learning_rate = schedule_of(RECIPE, 50_000 // BATCH)


def data():
    """Images of CIFAR-10's shape whose label can be learned, so that the losses fall and their agreement tells."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 8 * BATCH)
    images = rng.integers(0, 200, (8 * BATCH, 32, 32, 3)) + labels[:, None, None, None] * 5
    return images.astype(np.uint8), labels


@functools.cache
def on_numpy(dtype="float32", steps=STEPS):
    images, labels = data()
    model = MlpMixer(RECIPE.model, dtype=dtype, seed=SEED)
    optimizer, losses = make_optimizer(RECIPE, model.parameters), []
    while len(losses) < steps:
        epoch = len(losses) // 8
        batches = Batches(images, labels, BATCH, SEED, epoch, AUGMENTATION, mean=MEAN, std=STD, dtype=np.dtype(dtype))
        for step, (x, y) in enumerate(batches):
            rng = Draws(SEED, epoch, step, np.arange(BATCH))
            losses.append(train_step(model, optimizer, x, y, learning_rate(len(losses)), SMOOTHING, rng).loss)
            if len(losses) == steps:
                break
    return np.array(losses), model


def on_gpu(steps=STEPS, batch=BATCH, **options):
    images, labels = data()
    model = MlpMixer(RECIPE.model, backend="cupy", seed=SEED)
    step = CapturedStep(
        model, make_optimizer(RECIPE, model.parameters), images, labels, batch_size=batch, mean=MEAN, std=STD,
        fill=mean_colour(MEAN), augmentation=AUGMENTATION, label_smoothing=SMOOTHING, **options,
    )  # fmt: skip
    for s in range(steps):
        epoch, inside = divmod(s, 8)
        indices = epoch_order(SEED, epoch, len(images))[inside * batch : (inside + 1) * batch]
        step.stage([draw_step(indices, AUGMENTATION, learning_rate(s), SEED, epoch, inside)])
        step.run()
    return step.recent(steps)[:, 0], model, step


def test_the_first_fifty_losses_of_cifar10_nano_are_numpys():
    wanted, _ = on_numpy()
    for captured in (True, False):
        losses, _, step = on_gpu(captured=captured)
        assert step.captured == captured, step.note
        np.testing.assert_allclose(losses, wanted, rtol=1e-4)


def test_captured_equals_uncaptured_and_two_runs_agree_to_the_last_bit():
    runs = [on_gpu(captured=captured, precision="bfloat16") for captured in (True, True, False)]
    for losses, model, _ in runs[1:]:
        np.testing.assert_array_equal(losses, runs[0][0])
        np.testing.assert_array_equal(model.parameters.values.get(), runs[0][1].parameters.values.get())


@pytest.mark.parametrize(
    ("precision", "distance"), [("float32", 1e-3), ("tf32", 0.05), ("bfloat16", 0.3), ("float16", 0.1)]
)
def test_ten_steps_stay_near_float64(precision, distance):
    """Of the weights' change, relative to its norm. AdamW divides by the size of a gradient, so that weights whose
    gradient is all rounding error move freely: the distances are larger than SGD's in test_captured_step.py. Those
    weights, token mixing's output biases, are left out."""
    _, reference = on_numpy("float64", 10)
    _, model, _ = on_gpu(10, precision=precision)
    before = MlpMixer(RECIPE.model, seed=SEED).parameters.to_numpy()
    wanted, found = reference.parameters.to_numpy(), model.parameters.to_numpy()
    names = [name for name in wanted if not name.endswith("token_mixing.bias2")]
    moved = np.sqrt(sum(np.square(wanted[name] - before[name]).sum() for name in names))
    apart = np.sqrt(sum(np.square(wanted[name] - found[name]).sum() for name in names))
    assert apart < distance * moved


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
    with pytest.raises(BackendError, match=r"out of GPU memory: .* --batch-size \d+ fits"):
        on_gpu(0, batch=1 << 22)


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
