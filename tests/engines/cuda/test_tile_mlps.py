"""Steps whose MLPs are tile kernels, on the stand-in: the same source runs on NumPy, rounded as on a GPU."""

import sys

import numpy as np
import pytest

from tests.engines.cuda.test_captured_step import BATCH, OPTIMIZERS, Reference, config_with, host, make_step, numbers
from tests.kernels import fake_cupy
from tests.kernels.fake_cupy import LAUNCHES
from tests.kernels.fake_cutile import Usage, fake_cutile
from tinymixer import MixerConfig
from tinymixer.engines.cuda.memory_plan import FusedMlps, plan_activations
from tinymixer.kernels.precision import get_precision

CONFIG = MixerConfig(
    image_size=16, patch_size=4, hidden_dim=16, tokens_mlp_dim=16, channels_mlp_dim=32, num_blocks=2,
    layer_norm_eps=1e-3,
)  # fmt: skip
BOTH = FusedMlps("both", "both")
TILE_NAMES = {
    "token_forward", "token_backward", "channel_forward", "channel_backward_input", "channel_backward_weights",
}  # fmt: skip


@pytest.fixture
def cutile(monkeypatch):
    with fake_cutile(monkeypatch):
        yield


def moved(cupy, steps=3, config=CONFIG, **options):
    """How far the weights have moved, and the step."""
    model, _, step = make_step(cupy, config, OPTIMIZERS["sgd"], **options)
    before = host(model.parameters.values)
    step.stage(numbers(step, steps))
    step.run(steps)
    assert step.totals().skipped == 0
    return host(model.parameters.values) - before, step


@pytest.mark.parametrize(("precision", "distance"), [("bfloat16", 0.04), ("float16", 0.005)], ids=str)
def test_ten_steps_stay_near_float64(stand_in, cutile, precision, distance):
    """Within the bounds that steps without tile kernels keep (test_captured_step.py)."""
    reference = Reference(CONFIG, OPTIMIZERS["sgd"], dtype="float64")
    before = reference.model.parameters.values.copy()
    reference.run(10)
    found, step = moved(stand_in, 10, precision=precision, tiles="always")
    assert step._mixer.tiles.fused == BOTH
    assert step.tiles.note is None
    assert step.captured
    wanted = reference.model.parameters.values - before
    assert np.linalg.norm(found - wanted) < distance * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    "options",
    [
        {"drop_path": 0.5},
        {"micro_batches": 2},
        {"deterministic": False, "recompute": True},
        {"captured": False, "two_streams": False},
    ],
    ids=lambda options: ", ".join(options),
)
def test_tiles_change_nothing_but_roundings(stand_in, cutile, options):
    options = dict(options)
    config = config_with(CONFIG, drop_path=options.pop("drop_path", 0.0))
    without, _ = moved(stand_in, config=config, precision="float16", tiles="never", **options)
    LAUNCHES.clear()
    found, step = moved(stand_in, config=config, precision="float16", tiles="always", **options)
    assert step._mixer.tiles.fused == BOTH
    assert set(LAUNCHES) >= TILE_NAMES
    assert np.linalg.norm(found - without) < 0.003 * np.linalg.norm(without)


@pytest.mark.parametrize("fused", [FusedMlps("backward", "none"), FusedMlps("none", "backward"), FusedMlps("both")])
def test_every_choice_by_pass_and_mlp_gives_the_same_steps(stand_in, cutile, monkeypatch, fused):
    """Whatever was measured faster; the choice is kept, so the second run asks for it."""
    wanted = {kind: getattr(fused, kind) for kind in ("token", "channel")}
    monkeypatch.setattr(
        "tinymixer.engines.cuda.tile_choice._Trial.better", lambda self, kind, kernels, timed: wanted[kind]
    )
    without, _ = moved(stand_in, precision="float16", tiles="never")
    for _ in range(2):
        found, step = moved(stand_in, precision="float16", tiles="measured")
        assert step._mixer.tiles.fused == fused
        assert np.linalg.norm(found - without) < 0.003 * np.linalg.norm(without)
        monkeypatch.setattr("tinymixer.engines.cuda.tile_choice._Trial.__init__", None)  # it is not needed again


def test_two_runs_agree_to_the_last_bit(stand_in, cutile):
    first, second = (moved(stand_in, precision="bfloat16", tiles="always")[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_plan_shrinks_from_14_to_4_passes_a_block():
    """In passes X = S*B*C*itemsize over the stream, of nano, as docs/gpu.md counts them."""
    nano = MixerConfig(image_size=32, patch_size=4, hidden_dim=128, tokens_mlp_dim=64, channels_mlp_dim=512)
    bf16 = get_precision("bfloat16")
    X = nano.num_tokens * 512 * nano.hidden_dim * bf16.itemsize

    def per_block(fused):
        """What one block more costs; statistics of rows come on top."""
        sizes = [
            plan_activations(config_with(nano, num_blocks=blocks), 512, bf16, fused=fused).nbytes for blocks in (4, 5)
        ]
        return (sizes[1] - sizes[0]) / X

    statistics = 2 * 2 * 4 * nano.num_tokens * 512 / X
    assert per_block(FusedMlps()) == pytest.approx(14 + statistics)
    assert per_block(FusedMlps("both", "none")) == pytest.approx(12 + statistics)
    assert per_block(FusedMlps("none", "backward")) == pytest.approx(6 + statistics)
    assert per_block(BOTH) == pytest.approx(4 + statistics)
    names = {buffer.name for buffer in plan_activations(nano, 512, bf16, fused=BOTH).buffers}
    assert not {name for name in names if "hidden" in name or "activated" in name}


# ------------------------------------------------------------------------------------------ what fails


def assert_runs_without(cupy, message, **options):
    """The step runs on products, and says why."""
    without, _ = moved(cupy, precision="bfloat16", tiles="never")
    found, step = moved(cupy, precision="bfloat16", tiles="measured", **options)
    assert step._mixer.tiles.fused == FusedMlps()
    assert message in step.tiles.note
    assert step.tiles.failed == ("cuTile cannot be used" not in message)
    assert step.captured
    np.testing.assert_array_equal(found, without)


def test_without_cutile_the_products_compute_the_step(stand_in, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.tile", None)
    assert_runs_without(stand_in, "the MLPs are not fused into tile kernels: cuTile cannot be used (")


def test_a_kernel_that_cannot_be_compiled(stand_in, monkeypatch):
    def usage(name, architecture):
        raise FileNotFoundError("'tileiras' compiler not found")

    with fake_cutile(monkeypatch, usage=usage):
        assert_runs_without(
            stand_in,
            "the token MLP is not fused into a tile kernel: cuTile cannot compile token_backward for sm_80 "
            "(FileNotFoundError: 'tileiras' compiler not found); the channel MLP is not fused",
        )


@pytest.mark.parametrize("where", ["load", "launch"])
def test_a_driver_that_does_not_take_a_kernel(stand_in, cutile, monkeypatch, where):
    from tests.kernels.fake_cutile import Module

    def refuse(*arguments, **keywords):
        raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image")

    if where == "load":
        monkeypatch.setattr(Module, "load", refuse)
    else:
        monkeypatch.setattr(Module, "get_function", lambda self, name: refuse)
    message = "the driver does not load token_backward (CUDA" if where == "load" else "RuntimeError: CUDA_ERROR_NO_BIN"
    assert_runs_without(stand_in, message)


def test_a_kernel_that_cannot_be_captured(stand_in, cutile, monkeypatch):
    from tests.kernels.fake_cuda import Stream
    from tests.kernels.fake_cutile import Module

    make = Module.get_function

    def get_function(self, name):
        launch = make(self, name)

        def refuses_captures(*arguments, **keywords):
            if Stream.capture is not None:
                fake_cupy.fake_cuda._refuse("cudaErrorStreamCaptureUnsupported")
            launch(*arguments, **keywords)

        return refuses_captures

    monkeypatch.setattr(Module, "get_function", get_function)
    assert_runs_without(stand_in, "CaptureError: cudaErrorStreamCaptureUnsupported")


@pytest.mark.parametrize(
    ("kernel", "position", "message"),
    [
        ("token_forward", -1, "the token MLP is not fused into a tile kernel: its output is off by"),
        ("token_backward", -1, "the token MLP is not fused into a tile kernel: its bias1's gradient is off by"),
        ("channel_backward_input", -1, "the channel MLP is not fused into a tile kernel: its input's gradient is"),
        ("channel_backward_weights", -1, "the channel MLP is not fused into a tile kernel: its bias1's gradient is"),
        ("channel_backward_weights", -2, "the channel MLP is not fused into a tile kernel: its weight2's gradient"),
    ],
)
def test_a_kernel_that_is_off_by_5_percent_is_not_used(stand_in, monkeypatch, kernel, position, message):
    def damage(name, arrays):
        if name == kernel:
            array = arrays[position]
            everything = tuple(slice(None) for _ in array.shape)
            array[everything] = array[everything] * np.float32(1.05)

    other = "channel" if "token" in kernel else "token"
    with fake_cutile(monkeypatch, damage=damage):
        _, step = moved(stand_in, 1, precision="bfloat16", tiles="always")
    assert message in step.tiles.note
    assert step._mixer.tiles.fused == FusedMlps(**{other: "both"})  # the other MLP's kernels are right


def test_what_tile_kernels_cannot_compute_is_left_to_products(stand_in, cutile):
    for changes, options, reason in (
        ({}, {"precision": "float32"}, "not in float32"),
        ({"dropout": 0.1}, {"precision": "bfloat16"}, "they have no dropout"),
        ({"gelu": "erf"}, {"precision": "bfloat16"}, "the tanh form of GELU, not erf"),
        ({"hidden_dim": 24}, {"precision": "bfloat16"}, "powers of two from 16 on, and hidden_dim is 24"),
    ):
        _, _, step = make_step(stand_in, config_with(CONFIG, **changes), OPTIMIZERS["sgd"], tiles="always", **options)
        assert step._mixer.tiles.fused == FusedMlps()
        assert reason in step.tiles.note


def test_an_mlp_that_is_too_wide_is_left_to_products_and_is_no_failure(stand_in, cutile, monkeypatch):
    monkeypatch.setattr("tinymixer.kernels.tiles.tile_sizes.WIDEST", 8)
    _, _, step = make_step(stand_in, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16", tiles="always")
    assert step._mixer.tiles.fused == FusedMlps("both", "none")
    assert step.tiles.note.startswith("the channel MLP is not fused into a tile kernel: it is too wide")
    assert not step.tiles.failed


def test_an_old_gpu_is_left_to_products(stand_in, cutile, monkeypatch):
    monkeypatch.setitem(fake_cupy.CAPABILITY, "device", "75")
    _, _, step = make_step(stand_in, CONFIG, OPTIMIZERS["sgd"], precision="float16", tiles="always")
    assert "compiled for sm_80, sm_86, sm_89, sm_90, sm_100, sm_120, and this GPU is sm_75" in step.tiles.note


@pytest.mark.parametrize(("capability", "most"), [("80", 163), ("86", 99), ("90", 227), ("100", 227), ("120", 99)])
def test_a_kernel_above_the_limit_of_an_architecture_is_never_chosen(stand_in, monkeypatch, capability, most):
    monkeypatch.setitem(fake_cupy.CAPABILITY, "device", capability)
    for shared, fits in ((most * 1024, True), (most * 1024 + 1, False)):
        with fake_cutile(monkeypatch, usage=lambda name, architecture, shared=shared: Usage(shared=shared)):
            _, _, step = make_step(stand_in, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16", tiles="always")
        assert step._mixer.tiles.fused == (BOTH if fits else FusedMlps())
        assert (step.tiles.note is None) == fits
        if not fits:
            assert f"token_backward needs more shared memory or registers than sm_{capability} has" in step.tiles.note


def test_batches_of_the_step_are_multiples_of_a_tile(stand_in, cutile):
    """A tile of 16 rows or columns does not always divide S*B and B*C; here it does, with all 6 images."""
    _, _, step = make_step(stand_in, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16", tiles="always")
    assert BATCH * CONFIG.hidden_dim % 32 == 0
    assert {kernel.launch.tile for kernel in step._mixer.tiles._kernels.values()} == {(32,), (32, 32)}
