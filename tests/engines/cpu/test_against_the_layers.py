"""The cpu engine gives what the layers give: losses, logits and every gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shaken import shaken
from tinymixer import MixerConfig, MlpMixer
from tinymixer.draws import Draws
from tinymixer.engines.cpu import CpuMixer, default_threads
from tinymixer.engines.cpu.threads import ThreadTeam
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.models.mlp_mixer import MlpMixer as Model
from tinymixer.ops import softmax_cross_entropy

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # of the largest entry of each gradient

CONFIGS = {
    "nano, two blocks": MixerConfig(num_blocks=2),
    "odd sizes": MixerConfig(
        image_size=9, patch_size=3, hidden_dim=7, tokens_mlp_dim=5, channels_mlp_dim=11, num_blocks=3
    ),
    "ones": MixerConfig(
        image_size=1, in_channels=1, patch_size=1, hidden_dim=1, tokens_mlp_dim=1, channels_mlp_dim=1, num_blocks=1
    ),
    "erf": MixerConfig(image_size=8, patch_size=2, hidden_dim=16, num_blocks=2, gelu="erf"),
    "drop path": MixerConfig(image_size=8, patch_size=2, hidden_dim=16, num_blocks=3, drop_path=0.5),
    "overlap": MixerConfig(image_size=8, patch_size=4, overlap=2, hidden_dim=16, tokens_mlp_dim=6, num_blocks=2),
    "dropout": MixerConfig(image_size=8, patch_size=2, hidden_dim=16, num_blocks=2, dropout=0.2, drop_path=0.2),
}


def batch(config, count, dtype, soft=False):
    rng = np.random.default_rng(count)
    images = rng.standard_normal((count, config.image_size, config.image_size, config.in_channels)).astype(dtype)
    labels = rng.integers(0, config.num_classes, count)
    return images, rng.dirichlet(np.ones(config.num_classes), count).astype(dtype) if soft else labels


def draws_for(images, seed):
    return Draws(seed, 0, 0, np.arange(len(images)))


def by_layers(model, images, labels, smoothing, seed):
    model.parameters.zero_gradients()
    logits, cache = model.forward(images, train=True, rng=draws_for(images, seed))
    loss, dlogits = softmax_cross_entropy(logits, labels, smoothing)
    model.backward(dlogits, cache)
    target = labels if labels.ndim == 1 else labels.argmax(1)
    return float(loss), int((logits.argmax(1) == target).sum()), model.parameters.to_numpy(model.parameters.gradients)


def assert_same_gradients(gradients, expected, tolerance):
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for name, gradient in expected.items():
        # The gradient of a token-mixing output bias is zero; in the layers it is rounding of larger numbers.
        scale = largest if "token_mixing.bias2" in name else max(np.abs(gradient).max(), 1e-3 * largest)
        assert np.abs(gradients[name] - gradient).max() <= tolerance * scale, name


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("count", "threads", "slice_images"), [(1, 1, 0), (1, 3, 0), (11, 2, 3), (12, 3, 0)])
def test_loss_and_gradients_are_those_of_the_layers(name, dtype, count, threads, slice_images):
    model = shaken(CONFIGS[name], dtype)
    images, labels = batch(model.config, count, dtype, soft=count == 12)
    loss, correct, expected = by_layers(model, images, labels, 0.1, seed=5)
    model.parameters.zero_gradients()
    fast = CpuMixer(model, threads, slice_images)
    for _ in range(2):  # gradients are added
        fast_loss, fast_correct = fast.loss_and_gradients(images, labels, 0.1, draws_for(images, 5), share=0.5)
        assert fast_loss == pytest.approx(loss, rel=TOLERANCE[dtype])
        assert fast_correct == correct
    assert_same_gradients(model.parameters.to_numpy(model.parameters.gradients), expected, TOLERANCE[dtype])


@settings(deadline=None, max_examples=40)
@given(
    side=st.integers(1, 4),
    patch=st.integers(1, 3),
    sizes=st.tuples(*[st.integers(1, 40)] * 3),
    blocks=st.integers(1, 3),
    count=st.integers(1, 9),
    threads=st.integers(1, 3),
    slice_images=st.integers(0, 5),
    overlap=st.integers(0, 3),
)
def test_any_sizes_give_the_gradients_of_the_layers(side, patch, sizes, blocks, count, threads, slice_images, overlap):
    hidden, tokens_mlp, channels_mlp = sizes
    config = MixerConfig(
        image_size=side * patch, in_channels=2, patch_size=patch, hidden_dim=hidden, tokens_mlp_dim=tokens_mlp,
        channels_mlp_dim=channels_mlp, num_blocks=blocks, num_classes=3, overlap=min(overlap, side * patch - 1),
    )  # fmt: skip
    model = shaken(config, "float64")
    images, labels = batch(config, count, "float64")
    loss, _, expected = by_layers(model, images, labels, 0.0, seed=0)
    model.parameters.zero_gradients()
    fast_loss, _ = CpuMixer(model, threads, slice_images).loss_and_gradients(images, labels)
    assert fast_loss == pytest.approx(loss, rel=1e-11)
    assert_same_gradients(model.parameters.to_numpy(model.parameters.gradients), expected, 1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_the_layers(name):
    model = shaken(CONFIGS[name], "float32")
    images, _ = batch(model.config, 13, "float32")
    expected = model.forward(images)[0]
    np.testing.assert_allclose(CpuMixer(model, 2, 4).logits(images), expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_a_number_shows_in_the_loss():
    model = shaken(CONFIGS["odd sizes"], "float32")
    images, labels = batch(model.config, 5, "float32")
    images[3, 0, 0, 0] = np.nan
    loss, _ = CpuMixer(model, 2).loss_and_gradients(images, labels)
    assert np.isnan(loss)


def test_the_same_threads_give_the_same_bits():
    model = shaken(CONFIGS["drop path"], "float32")
    images, labels = batch(model.config, 37, "float32")
    runs = []
    for _ in range(5):
        model.parameters.zero_gradients()
        fast = CpuMixer(model, threads=2, slice_images=3)
        fast.loss_and_gradients(images, labels, rng=draws_for(images, 0))
        runs.append(model.parameters.gradients.copy())
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])


def test_huge_activations_overflow_nowhere_that_matters():
    model = shaken(CONFIGS["nano, two blocks"], "float32")
    for block in model.blocks:
        block.channel_mixing.parameters["weight1"][...] *= 1000
        block.token_mixing.parameters["weight1"][...] *= 1000
    images, labels = batch(model.config, 4, "float32")
    loss, _ = CpuMixer(model, 1).loss_and_gradients(images, labels)
    assert np.isfinite(loss)
    assert np.isfinite(model.parameters.gradients).all()
    np.testing.assert_allclose(CpuMixer(model, 1).logits(images), model.forward(images)[0], rtol=1e-2, atol=1e-2)


def test_a_row_of_activations_may_be_longer_than_a_chunk_for_gelu(monkeypatch):
    monkeypatch.setattr("tinymixer.engines.cpu.workspace.GELU_ELEMENTS", 1)
    monkeypatch.setattr("tinymixer.engines.cpu.channel_mixing.ROWS", 1)
    model = shaken(CONFIGS["odd sizes"], "float64")
    images, labels = batch(model.config, 9, "float64")
    _, _, expected = by_layers(model, images, labels, 0.0, seed=0)
    model.parameters.zero_gradients()
    fast = CpuMixer(model, 2, slice_images=100)
    fast.loss_and_gradients(images, labels)
    assert_same_gradients(model.parameters.to_numpy(model.parameters.gradients), expected, TOLERANCE["float64"])
    np.testing.assert_allclose(fast.logits(images), model.forward(images)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scale_of_zero_has_its_gradient(dtype):
    """Folding puts LayerNorm's scale where its gradient comes out multiplied by it."""
    model = shaken(CONFIGS["odd sizes"], dtype)
    model.blocks[1].token_norm.parameters["scale"][::2] = 0
    images, labels = batch(model.config, 5, dtype)
    _, _, expected = by_layers(model, images, labels, 0.0, seed=0)
    model.parameters.zero_gradients()
    CpuMixer(model, 1).loss_and_gradients(images, labels)
    assert np.abs(expected["blocks.1.token_norm.scale"][::2]).min() > 0
    assert_same_gradients(model.parameters.to_numpy(model.parameters.gradients), expected, TOLERANCE[dtype])


def test_batches_of_other_sizes_and_evaluations_in_between_change_nothing():
    """All sizes work in the same memory."""
    model = shaken(CONFIGS["odd sizes"], "float32")
    fast = CpuMixer(model, threads=2, slice_images=4)
    for count in (11, 3, 16, 1, 11, 8):
        images, labels = batch(model.config, count, "float32")
        _, _, expected = by_layers(model, images, labels, 0.0, seed=0)
        logits = fast.logits(images)
        model.parameters.zero_gradients()
        fast.loss_and_gradients(images, labels)
        assert_same_gradients(model.parameters.to_numpy(model.parameters.gradients), expected, TOLERANCE["float32"])
        np.testing.assert_allclose(logits, model.forward(images)[0], rtol=1e-4, atol=1e-5)


def test_a_smaller_last_batch_takes_no_more_memory(monkeypatch):
    monkeypatch.setattr("tinymixer.engines.cpu.buffer_pool.CHUNK_BYTES", 1 << 14)
    model = shaken(CONFIGS["odd sizes"], "float32")
    fast = CpuMixer(model, threads=1, slice_images=8)
    images, labels = batch(model.config, 8, "float32")
    fast.loss_and_gradients(images, labels)
    held = sum(chunk.size for chunk in fast._pools[0]._chunks)
    assert held > 1 << 15
    fast.loss_and_gradients(images[:5], labels[:5])
    fast.logits(images)
    assert sum(chunk.size for chunk in fast._pools[0]._chunks) == held


def test_what_cannot_be_sliced_is_a_sentence():
    from tests.strict_arrays import STRICT

    config = CONFIGS["odd sizes"]
    with pytest.raises(ConfigError, match="it is for NumPy, and the model computes with strict"):
        CpuMixer(Model(config, backend=STRICT))
    with pytest.raises(ConfigError, match="threads must be 0"):
        CpuMixer(MlpMixer(config), threads=-1)
    with pytest.raises(ShapeError, match="expected images of shape"):
        CpuMixer(MlpMixer(config), 1).logits(np.zeros((2, 8, 8, 3), "float32"))
    assert default_threads() >= 1


def test_a_forward_pass_in_groups_of_blocks_gives_the_same_logits(monkeypatch):
    model = shaken(CONFIGS["odd sizes"], "float32")
    images, _ = batch(model.config, 11, "float32")
    together = CpuMixer(model, threads=2, slice_images=3).logits(images)
    monkeypatch.setattr("tinymixer.engines.cpu.cpu_mixer.FOLDED_BYTES", 0)  # as many blocks at a time as threads
    # Not the same bits: how many blocks are folded together decides in which order BLAS adds.
    np.testing.assert_allclose(CpuMixer(model, threads=2, slice_images=3).logits(images), together, 1e-5, 1e-6)


def test_a_single_image_leaves_blas_its_threads_and_gives_the_same_logits(monkeypatch):
    """One slice keeps one of our threads busy, so BLAS may use the cores."""
    model = MlpMixer(MixerConfig(image_size=8, patch_size=4, hidden_dim=8, num_blocks=2), seed=0, dtype="float64")
    model.parameters["head.weight"][...] = np.random.default_rng(1).standard_normal((8, 10))
    engine, alone = CpuMixer(model, threads=2, slice_images=4), []
    run = ThreadTeam.run_on_one
    monkeypatch.setattr(ThreadTeam, "run_on_one", lambda self, *rest: (alone.append(rest[1]), run(self, *rest))[1])
    images = np.random.default_rng(0).standard_normal((3, 8, 8, 3))
    several = engine.logits(images)
    assert not alone
    np.testing.assert_allclose(engine.logits(images[:1]), several[:1], rtol=1e-12)
    assert len(alone) == 1
