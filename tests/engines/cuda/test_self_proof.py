"""The self-proof: what it must find, what it must let pass, and what it may not touch."""

import gc
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engines.cuda.proofs import (
    CONFIG,
    assert_five_per_cent_are_found,
    optimizer_for,
    planted,
    proof_of,
    scaled,
    without_the_variance_term,
    work_for,
)
from tests.kernels.fake_cupy import LAUNCHES, MEMORY, fake_gpu
from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.backend import CupyBackend
from tinymixer.data import Augmentation
from tinymixer.engines.cuda import device_mixer, self_proof
from tinymixer.engines.cuda.image_records import MIX
from tinymixer.engines.cuda.self_proof import proof_images, proof_weights, prove
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.engines.engine import EngineOptions
from tinymixer.optim import SGD, AdamW

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


@pytest.fixture
def cupy(emulated, monkeypatch):
    monkeypatch.setattr("tinymixer.kernels.products.WORKSPACE_BYTES", 1024)  # the stand-in fills it, which takes time
    with fake_gpu() as module:
        yield module


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_right_step_passes(cupy, precision):
    proof = proof_of(cupy, precision, captured=True, rule=AdamW)
    assert proof.passed
    names = {comparison.name for comparison in proof.comparisons}
    for parameter in MlpMixer(CONFIG).parameters:
        for step in (1, 2):
            assert {f"gradient of {parameter}, step {step}", f"update of {parameter}, step {step}"} <= names
    assert {"loss, step 1", "loss, step 2", "logits"} <= names


# A kernel, and an output of it by its place among the arguments. Not here: the sums over channels that end in token
# mixing's output bias (13 of layer_norm_backward), whose gradient is zero, five per cent more or not.
OUTPUTS = [
    ("gather_patches", 3), ("layer_norm_forward", 6), ("layer_norm_forward", 7), ("layer_norm_forward", 9),
    ("layer_norm_mean_forward", 7), ("layer_norm_mean_forward", 9), ("bias_gelu_forward_columns", 2),
    ("bias_gelu_forward_rows", 2), ("bias_gelu_backward_columns", 0), ("bias_gelu_backward_columns", 3),
    ("bias_gelu_backward_rows", 0), ("bias_gelu_backward_rows", 3), ("layer_norm_backward", 8),
    ("layer_norm_backward", 9), ("layer_norm_backward", 10), ("layer_norm_backward", 11), ("layer_norm_backward", 12),
    ("cross_entropy", 7), ("cross_entropy", 8), ("fill_rows", 0), ("finish_sums", 3), ("branch_factors", 4),
    ("dropout", 0), ("gradient_squares", 3), ("sgd_update", 1), ("sgd_update", 2),
]  # fmt: skip


OF_STRONG_AUGMENTATION = [("augment_images", 4), ("mix_patches", 3), ("cross_entropy", 7), ("cross_entropy", 8)]
STRONG = Augmentation(
    1, True, 2, alternate_flip=True, transforms="rotate(20, 0.5) contrast(0.5, 0.5) posterize erase(0.3, 0.5)",
    mixup=0.8, cutmix=1.0,
)  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_right_step_with_strong_augmentation_passes(cupy, precision):
    """One of its two steps is mixed by mixup, the other by CutMix."""
    proof = proof_of(cupy, precision, work=work_for(CONFIG, augmentation=STRONG), captured=True)
    assert proof.passed, proof.worst


@pytest.mark.parametrize(("kernel", "output"), OF_STRONG_AUGMENTATION)
def test_five_per_cent_in_its_kernels_are_found(cupy, kernel, output):
    with planted(kernel, scaled(output)):
        proof = proof_of(cupy, "bfloat16", work=work_for(CONFIG, augmentation=STRONG))
    assert any(name.startswith(f"{kernel}<") for name in LAUNCHES)
    assert not proof.passed, proof.worst


@pytest.mark.parametrize("step", [0, 1], ids=["mixup's share", "CutMix's box"])
def test_a_wrong_mix_is_found(cupy, step):
    """The shares of mixup the other way round; a box that ends two rows too early."""

    def change(arguments, before):
        if before[0].view(STEP_STATE)[0]["step"] == step:
            record = np.asarray(arguments[8]).view(MIX)
            if step == 0:
                record["own"], record["partner"] = record["partner"].copy(), record["own"].copy()
            record["bottom"] -= 2 * (record["bottom"] > 0)

    with planted("begin_step", change):
        assert not proof_of(cupy, "bfloat16", work=work_for(CONFIG, augmentation=STRONG)).passed


@pytest.mark.parametrize(("kernel", "output"), OUTPUTS)
def test_five_per_cent_in_any_kernel_are_found(cupy, kernel, output):
    """In bfloat16, whose own errors are the largest."""
    assert_five_per_cent_are_found(kernel, output, lambda: proof_of(cupy, "bfloat16"))


def test_every_kernel_of_a_step_is_among_them(cupy):
    proof_of(cupy, "float16")
    proof_of(cupy, "float16", work=work_for(CONFIG, augmentation=STRONG))
    launched = {name.split("<")[0] for name in LAUNCHES}
    assert launched - {"begin_step", "settle_step", "copy_weights"} <= {
        kernel for kernel, _ in OUTPUTS + OF_STRONG_AUGMENTATION
    }


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("place", [0, 7, 15])
def test_five_per_cent_in_one_product_are_found(cupy, precision, place):
    from nvmath.bindings import cublas

    multiply, count = cublas.gemm_ex, iter(range(10_000))
    per_step = 3 * (2 + 4 * CONFIG.num_blocks) - 1  # the images' gradient is not computed

    def spoiled(handle, *arguments):
        if next(count) % per_step != place:
            return multiply(handle, *arguments)
        larger = np.array([1.05], np.float32)
        return multiply(handle, *arguments[:5], larger.ctypes.data, *arguments[6:])

    with mock.patch.object(cublas, "gemm_ex", spoiled):
        assert not proof_of(cupy, precision).passed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_layer_norm_without_its_third_term_is_found(cupy, precision):
    with planted("layer_norm_backward", without_the_variance_term):
        assert not proof_of(cupy, precision).passed


def test_a_mask_of_another_place_is_found(cupy, monkeypatch):
    place = device_mixer.dropout_place
    monkeypatch.setattr(device_mixer, "dropout_place", lambda block, kind: place(0, kind))
    assert not proof_of(cupy, "bfloat16").passed


def test_a_copy_of_the_weights_that_is_not_renewed_is_found(cupy):
    """16-bit precisions multiply with a copy of the weights: the second step would still use the first step's."""

    def stale(arguments, before):
        arguments[6][...] = before[6]

    with planted("sgd_update", stale):
        proof = proof_of(cupy, "bfloat16")
    assert not proof.passed
    assert "step 2" in proof.worst.name or proof.worst.name == "logits"


def test_a_wrong_epilogue_is_found(cupy):
    right = proof_of(cupy, "float16", epilogues="always")
    assert right.passed
    with mock.patch("tests.kernels.fake_cublas.ops.gelu_tanh_backward", lambda dy, cache: dy * 1.05):
        assert not proof_of(cupy, "float16", MixerConfig.from_dict(CONFIG.to_dict() | {"dropout": 0.0}),
                            epilogues="always").passed  # fmt: skip


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_alarm_for_right_steps(cupy, data):
    draw, pick = data.draw, st.sampled_from
    patch, across, parts = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    config = MixerConfig(
        image_size=patch * across, patch_size=patch, in_channels=draw(pick([1, 3])), hidden_dim=draw(pick([8, 9, 16])),
        tokens_mlp_dim=draw(st.integers(1, 12)), channels_mlp_dim=draw(pick([1, 7, 16])),
        num_blocks=draw(st.integers(1, 3)), num_classes=draw(pick([2, 10])), gelu=draw(pick(["tanh", "erf"])),
        dropout=draw(pick([0.0, 0.3])), drop_path=draw(pick([0.0, 0.3])),
    )  # fmt: skip
    work = work_for(
        config, parts * draw(st.integers(1, 4)), draw(st.integers(0, 99)), micro_batches=parts,
        augmentation=Augmentation(0, draw(st.booleans()), 0),
    )  # fmt: skip
    proof = proof_of(cupy, draw(pick(PRECISIONS)), config, draw(pick([SGD, AdamW])), work, captured=draw(st.booleans()))
    assert proof.passed, proof.worst


def test_the_runs_own_model_is_not_touched_and_memory_is_given_back(cupy):
    model = MlpMixer(CONFIG, backend=CupyBackend("cupy", cupy, ops))
    optimizer, work = optimizer_for(model.parameters), work_for(CONFIG)
    before = np.array(model.parameters.values)
    gc.collect()
    held = MEMORY.held
    prove(model, optimizer, work, EngineOptions(precision="bfloat16"))
    gc.collect()
    assert MEMORY.held == held
    np.testing.assert_array_equal(model.parameters.values, before)
    assert optimizer.steps == 0
    assert not model.parameters.gradients_allocated
    assert not any(np.any(vector) for vector in optimizer.state.values())


def test_a_first_overflow_of_float16_is_no_failure(cupy, monkeypatch):
    monkeypatch.setattr("tinymixer.engines.cuda.device_update.FIRST_LOSS_SCALE", 2.0**19)
    assert proof_of(cupy, "float16").passed


def test_a_large_batch_is_proved_with_fewer_images_where_float64_is_slow():
    nano, small = (
        MixerConfig(
            image_size=32, patch_size=4, hidden_dim=C, tokens_mlp_dim=C // 2, channels_mlp_dim=4 * C, num_blocks=8
        )
        for C in (128, 512)
    )
    work = work_for(nano, 512)
    assert [proof_images(nano, work, fast) for fast in (False, True)] == [512, 512]
    large = work_for(small, 1024, micro_batches=4)
    slow, fast = (proof_images(small, large, fast) for fast in (False, True))
    assert fast == 1024
    assert slow < 1024
    assert slow % 4 == 0


def test_the_proofs_weights_leave_no_gradient_zero():
    weights = proof_weights(CONFIG)
    assert all(np.abs(weight).min() > 0 for weight in weights.values())
    assert all(np.array_equal(weight, proof_weights(CONFIG)[name]) for name, weight in weights.items())


def test_the_batch_is_worked_through_in_parts_where_memory_is_short(cupy, monkeypatch):
    monkeypatch.setattr(self_proof, "PART_BYTES", 1)
    assert proof_of(cupy, "float32").passed


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_nano_proves_itself_on_a_gpu_in_two_seconds(precision):
    """The second time: the first waits for CuPy to compile its own kernels."""
    cupy = pytest.importorskip("cupy")
    from tinymixer.engines.cuda.capability import precision_here
    from tinymixer.training.recipe import load_recipe

    if precision_here(precision, cupy)[0] != precision:
        pytest.skip(f"this GPU has no {precision}")
    config = load_recipe("cifar10-nano").model
    work = work_for(config, 512)
    first, second = (proof_of(cupy, precision, config, AdamW, work, "measured", captured=True) for _ in range(2))
    assert first.passed, first.worst
    assert second.seconds < 2
