"""The captured step, whole, held to the reference layers, optimizers and batches: on a stand-in GPU, and on a GPU."""

import numpy as np
import pytest

from tests.kernels.fake_cupy import LAUNCHES, MEMORY, fake_gpu
from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.backend import CupyBackend
from tinymixer.data import Augmentation, Batches, epoch_order, normalise
from tinymixer.data.views import TTA
from tinymixer.draws import Draws
from tinymixer.engines.cuda.captured_step import CapturedStep
from tinymixer.engines.cuda.fused_products import FusedProducts
from tinymixer.engines.cuda.memory_plan import plan_activations
from tinymixer.engines.cuda.staging import draw_step
from tinymixer.engines.step import train_step
from tinymixer.errors import BackendError, ConfigError, TrainingError
from tinymixer.kernels.precision import get_precision
from tinymixer.optim import SGD, AdamW

CONFIG = MixerConfig(
    image_size=8, patch_size=4, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=32, num_blocks=2, layer_norm_eps=1e-3
)
ODD = MixerConfig(
    image_size=6, patch_size=2, hidden_dim=7, tokens_mlp_dim=5, channels_mlp_dim=9, num_blocks=3, num_classes=3,
    gelu="erf", layer_norm_eps=1e-3,
)  # fmt: skip
IMAGES, BATCH, SEED = 30, 6, 3
OPTIMIZERS = {
    "sgd": lambda p: SGD(p, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "sgd decoupled": lambda p: SGD(p, momentum=0.5, weight_decay=1e-1, decoupled=True, clip_norm=0.3),
    "adamw": lambda p: AdamW(p, weight_decay=0.1, clip_norm=0.5),
}


def host(vector):
    return np.array(vector.get())


def data(config):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGES, config.image_size, config.image_size, 3)).astype(np.uint8)
    return {
        "pixels": pixels,
        "labels": rng.integers(0, config.num_classes, IMAGES),
        "mean": np.array([0.4, 0.5, 0.6]),
        "std": np.array([0.2, 0.25, 0.3]),
    }


def start(parameters):
    """Weights that are nowhere zero, so that every gradient matters."""
    rng = np.random.default_rng(1)
    host = {name: rng.standard_normal(parameters.shape(name)) * 0.3 for name in parameters}
    parameters.load({n: (a + (n.endswith("scale"))).astype(np.float32) for n, a in host.items()})


def learning_rate(step):
    return 0.02 * (step + 1)


class Reference:
    """The same training through `Batches` and `train_step`, on NumPy."""

    def __init__(
        self, config, make_optimizer, dtype="float32", augmentation=None, label_smoothing=0.0, micro_batches=1
    ):
        self.model = MlpMixer(config, dtype=dtype)
        start(self.model.parameters)
        self.optimizer = make_optimizer(self.model.parameters)
        self.data, self.augmentation = data(config), augmentation
        self.label_smoothing, self.micro_batches = label_smoothing, micro_batches
        self.average = None

    def run(self, steps):
        images, labels = self.data["pixels"], self.data["labels"]
        results = []
        for epoch in range(steps):
            batches = Batches(
                images, labels, BATCH, SEED, epoch, self.augmentation, mean=self.data["mean"], std=self.data["std"],
                dtype=self.model.parameters.dtype,
            )  # fmt: skip
            for step, (x, y) in enumerate(batches):
                rng = Draws(SEED, epoch, step, np.arange(BATCH))
                rate = learning_rate(len(results))
                options = rate, self.label_smoothing, rng, self.micro_batches
                results.append(train_step(self.model, self.optimizer, x, y, *options))
                if self.average is not None:
                    self.average.step(self.optimizer.steps)
                if len(results) == steps:
                    return results
        return results


def make_step(cupy, config, make_optimizer, make_average=None, **options):
    model = MlpMixer(config, backend=CupyBackend("cupy", cupy, ops))
    start(model.parameters)
    optimizer = make_optimizer(model.parameters)
    fill = np.rint(data(config)["mean"] * 255)
    if make_average is not None:
        options["average"] = make_average(model.parameters)
    step = CapturedStep(model, optimizer, batch_size=BATCH, fill=fill, **data(config), **options)
    return model, optimizer, step


def make_step_or_skip(cupy, *arguments, **options):
    """Real libraries may have no algorithm for an epilogue in some format: then there is nothing to compare."""
    try:
        return make_step(cupy, *arguments, **options)
    except Exception as error:
        if cupy.__version__ == "stand-in" or "cublas" not in f"{type(error).__name__} {error}".lower():
            raise
        pytest.skip(f"cuBLASLt cannot do it: {error}")


def numbers(step, steps, augmentation=None, first=0):
    """What the trainer stages: the numbers of so many steps from the run's start."""
    per_epoch, staged = IMAGES // BATCH, []
    for s in range(first, first + steps):
        epoch, inside = divmod(s, per_epoch)
        indices = epoch_order(SEED, epoch, IMAGES)[inside * BATCH : (inside + 1) * BATCH]
        augment = augmentation or Augmentation(0, False, 0)
        staged.append(draw_step(indices, augment, learning_rate(s), SEED, epoch, inside))
    return staged


def assert_same_weights(found, wanted, tolerance, room=0.0):
    """room: how far each weight may be from its reference besides, one number or a vector like the weights."""
    apart = np.abs(found.backend.to_numpy(found.values) - wanted.values)
    allowed = tolerance * (1 + np.abs(wanted.values)) + room
    for name, share in wanted.to_numpy(apart / allowed).items():
        assert share.max() <= 1, f"{name} is {share.max():.2f} times as far from its reference as roundings explain"


def room_of_adamw(optimizer, total_rate, rounding=2.0**-16):
    """How far roundings of gradients may move each weight: AdamW divides a gradient by its own typical size.

    A gradient whose error is `rounding` times the largest gradient of the model makes an update of at most
    learning rate * error / size wrong, and at most as wrong as the whole update, the learning rate, is large. So the
    weights with the smallest gradients get the most room: all there is where the gradient is nothing but roundings, as
    that of token mixing's output bias is (ARCHITECTURE.md says why).
    """
    size = np.sqrt(optimizer.state["square"] / (1 - optimizer.betas[1] ** optimizer.steps))
    error = rounding * size.max()
    return total_rate * np.minimum(2.0, error / np.maximum(size, 1e-30))


def config_with(config, **changes):
    return MixerConfig.from_dict(config.to_dict() | changes)


@pytest.mark.parametrize("captured", [True, False], ids=["captured", "uncaptured"])
@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("config", [CONFIG, ODD], ids=["even", "odd"])
def test_ten_steps_equal_the_reference(cupy, config, make_optimizer, captured):
    config = config_with(config, drop_path=0.4)
    augmentation = Augmentation(crop_padding=2, flip=True, cutout=3)
    options = {"augmentation": augmentation, "label_smoothing": 0.1}
    reference = Reference(config, make_optimizer, **options)
    wanted = reference.run(10)
    model, optimizer, step = make_step(cupy, config, make_optimizer, captured=captured, slots=4, **options)
    assert step.captured == captured
    done = 0
    while done < 10:
        count = min(step.free_slots, 10 - done)
        step.stage(numbers(step, count, augmentation, done))
        step.run(count)
        done += count
    found = step.recent(4)
    room, close = 0.0, 1e-5
    if isinstance(optimizer, AdamW):
        close = 1e-4  # the room that the weights get is a ten thousandth of most of them, and the losses are theirs
        room = room_of_adamw(reference.optimizer, sum(map(learning_rate, range(10))))
    np.testing.assert_allclose(found[:, 0], [r.loss for r in wanted[-4:]], rtol=close)
    np.testing.assert_allclose(found[:, 1], [r.gradient_norm for r in wanted[-4:]], rtol=close)
    totals = step.totals()
    assert totals.images == 10 * BATCH
    assert totals.correct == sum(r.correct for r in wanted)
    assert totals.loss_sum == pytest.approx(sum(r.loss for r in wanted) * BATCH, rel=close)
    assert optimizer.steps == 10
    assert step.captured == captured, step.note
    assert_same_weights(model.parameters, reference.model.parameters, 1e-5, room)
    for name, vector in optimizer.state.items():
        np.testing.assert_allclose(host(vector), reference.optimizer.state[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"weight_decay": 0.11}, {"betas": (0.9, 0.998)}, {"betas": (0.89, 0.999)}], ids=str)
@pytest.mark.parametrize("config", [CONFIG, ODD], ids=["even", "odd"])
def test_the_room_of_adamw_hides_no_mistake(config, wrong):
    """Settings that are a tenth off move the weights further than roundings can."""
    runs = []
    for settings in ({}, wrong):
        runs.append(Reference(config, lambda p, s=settings: AdamW(p, **({"weight_decay": 0.1, "clip_norm": 0.5} | s))))
        runs[-1].run(10)
    right, other = runs
    room = room_of_adamw(right.optimizer, sum(map(learning_rate, range(10))))
    assert np.median(room) < 1e-3
    with pytest.raises(AssertionError, match="times as far from its reference as roundings explain"):
        assert_same_weights(other.model.parameters, right.model.parameters, 1e-5, room)


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.3},
        {"dropout": 0.3, "drop_path": 0.5, "micro_batches": 2},
        {"dropout": 0.1, "micro_batches": 3, "recompute": True},
        {"micro_batches": 6, "deterministic": False},
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("config", [CONFIG, ODD], ids=["even", "odd"])
def test_dropout_and_parts_equal_the_reference(cupy, config, options):
    """The same masks, drawn on the device, and the same gradients, added up part by part."""
    options = dict(options)
    config = config_with(config, **{name: options.pop(name) for name in ("dropout", "drop_path") if name in options})
    reference = Reference(config, OPTIMIZERS["sgd"], micro_batches=options.get("micro_batches", 1))
    wanted = reference.run(3)
    model, _, step = make_step(cupy, config, OPTIMIZERS["sgd"], **options)
    step.stage(numbers(step, 3))
    step.run(3)
    np.testing.assert_allclose(step.recent(3)[:, 0], [r.loss for r in wanted], rtol=1e-5)
    assert step.totals().correct == sum(r.correct for r in wanted)
    assert_same_weights(model.parameters, reference.model.parameters, 2e-5)


@pytest.mark.parametrize(
    "options", [{"dropout": 0.2}, {"micro_batches": 2}, {"dropout": 0.2, "micro_batches": 3}], ids=", ".join
)
def test_epilogues_leave_room_for_dropout_and_parts(cupy, options):
    """GELU's gradient would go past dropout, the bias's overwrite what parts add up: then they are left out."""
    results, options = [], dict(options)
    config = config_with(CONFIG, dropout=options.pop("dropout", 0.0))
    for epilogues in ("never", "always"):
        model, _, step = make_step_or_skip(
            cupy, config, OPTIMIZERS["sgd"], precision="float16", epilogues=epilogues, **options
        )
        fused, always = step._mixer.fused, epilogues == "always"
        assert (fused.forward, fused.bias_gradient) == (always, False)
        assert fused.gelu_gradient == (always and not config.dropout)
        before = host(model.parameters.values)
        step.stage(numbers(step, 3))
        step.run(3)
        results.append(host(model.parameters.values) - before)
    assert np.linalg.norm(results[0] - results[1]) < 0.003 * np.linalg.norm(results[0])


def test_gradients_equal_the_layers(cupy):
    reference = Reference(CONFIG, OPTIMIZERS["sgd"], dtype="float64")
    reference.run(1)
    model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], captured=False)
    step.stage(numbers(step, 1))
    step.run()
    assert np.abs(reference.model.parameters.gradients).max() > 0.1
    wanted = reference.model.parameters.to_numpy(reference.model.parameters.gradients)
    for name, gradient in model.parameters.to_numpy(model.parameters.gradients).items():
        np.testing.assert_allclose(gradient, wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("precision", "distance"), [("float32", 1e-5), ("tf32", 0.01), ("bfloat16", 0.04), ("float16", 0.005)]
)
def test_ten_steps_stay_near_float64(cupy, precision, distance):
    """The stated distances: of the weights' change over ten steps, relative to its norm."""
    reference = Reference(CONFIG, OPTIMIZERS["sgd"], dtype="float64")
    before = reference.model.parameters.values.copy()
    reference.run(10)
    model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision=precision)
    step.stage(numbers(step, 10))
    step.run(10)
    assert step.totals().skipped == 0
    moved = np.linalg.norm(reference.model.parameters.values - before)
    assert np.linalg.norm(host(model.parameters.values) - reference.model.parameters.values) < distance * moved


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_epilogues_change_nothing_but_roundings(cupy, precision, recompute):
    results = []
    for epilogues in ("never", "always"):
        model, _, step = make_step_or_skip(
            cupy, CONFIG, OPTIMIZERS["sgd"], precision=precision, epilogues=epilogues, recompute=recompute
        )
        fused = epilogues == "always"
        assert step._mixer.fused == FusedProducts(fused, fused, fused)
        before = host(model.parameters.values)
        step.stage(numbers(step, 3))
        step.run(3)
        results.append(host(model.parameters.values) - before)
    distance = {"tf32": 2e-3, "bfloat16": 0.02, "float16": 0.003}[precision]
    assert np.linalg.norm(results[0] - results[1]) < distance * np.linalg.norm(results[0])
    assert np.linalg.norm(results[0]) > 0.01


def test_epilogues_are_left_out_where_they_do_not_fit(stand_in):
    for config, options in ((ODD, {"precision": "bfloat16"}), (CONFIG, {"precision": "float32"})):
        _, _, step = make_step(stand_in, config, OPTIMIZERS["sgd"], epilogues="always", **options)
        assert not step._mixer.fused.forward


@pytest.mark.parametrize("options", [{"recompute": True}, {"deterministic": False}], ids=lambda o: next(iter(o)))
def test_variants_change_nothing(cupy, options):
    results = []
    for chosen in ({}, options):
        model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], **chosen)
        step.stage(numbers(step, 3))
        step.run(3)
        results.append(host(model.parameters.values))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6, atol=1e-6)


def test_recording_does_no_step_of_its_own_and_replays_launch_nothing_new(stand_in):
    cupy = stand_in
    model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["adamw"])
    uncaptured, _, other = make_step(cupy, CONFIG, OPTIMIZERS["adamw"], captured=False)
    for runner in (step, other):
        runner.stage(numbers(runner, 3))
    step.run(1)
    LAUNCHES.clear()
    step.run(2)
    assert not LAUNCHES
    other.run(3)
    np.testing.assert_array_equal(host(model.parameters.values), host(uncaptured.parameters.values))
    assert step.totals() == other.totals()


def test_an_overflow_halves_the_loss_scale_and_leaves_the_weights_alone(cupy):
    model, optimizer, step = make_step(cupy, CONFIG, OPTIMIZERS["adamw"], precision="float16")
    step._update.write(loss_scale=2.0**40)
    before = host(model.parameters.values)
    step.stage(numbers(step, 12))
    step.run(1)
    np.testing.assert_array_equal(host(model.parameters.values), before)
    state = step._update.read()
    assert (state["loss_scale"], state["skip"], state["updates"], state["step"]) == (2.0**39, 1, 0, 1)
    step._update.write(loss_scale=2.0**13)
    step.run(1)
    assert step.totals().skipped == 1
    assert optimizer.steps == 1
    assert not np.array_equal(host(model.parameters.values), before)


def test_the_loss_scale_grows_after_enough_good_steps(cupy):
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="float16")
    step._update.write(good_steps=1999)
    scale = step._update.read()["loss_scale"]
    step.stage(numbers(step, 1))
    step.run()
    assert step._update.read()["loss_scale"] == 2 * scale


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_weights(cupy):
    model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"])
    model.parameters["head.bias"][0] = np.inf
    before = host(model.parameters.values)
    step.stage(numbers(step, 2))
    step.run(2)
    with pytest.raises(TrainingError, match=r"the loss became nan at step 0 .* lower learning_rate"):
        step.totals()
    np.testing.assert_array_equal(host(model.parameters.values), before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_evaluation_gives_the_models_logits(cupy, precision):
    _, _, step = make_step(cupy, config_with(CONFIG, drop_path=0.5), OPTIMIZERS["sgd"], precision=precision)
    reference = Reference(CONFIG, OPTIMIZERS["sgd"])
    chosen = np.arange(3, 20)
    pixels = reference.data["pixels"]
    x = (pixels[chosen] / 255 - reference.data["mean"]) / reference.data["std"]
    wanted = reference.model.forward(x.astype(np.float32))[0]
    found = step.logits(step.resident(pixels), chosen)
    tolerance = 1e-5 if precision == "float32" else 0.05
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("config", [CONFIG, ODD])
def test_evaluation_sees_the_views_that_the_host_sees(cupy, config):
    _, _, step = make_step(cupy, config, OPTIMIZERS["sgd"], augmentation=Augmentation(2, True, 3))
    reference = Reference(config, OPTIMIZERS["sgd"])
    chosen, known = np.array([4, 0, 29, 4, 7, 8, 9]), reference.data
    for view in TTA["all"]:
        x = normalise(view(known["pixels"][chosen]), known["mean"], known["std"])
        found = step.logits(step.training_pixels, chosen, view)
        np.testing.assert_allclose(found, reference.model.forward(x)[0], rtol=1e-5, atol=1e-5)


def test_without_nvmath_the_step_runs_uncaptured_and_says_why(emulated):
    with fake_gpu(with_nvmath=False) as cupy:
        model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"])
        assert not step.captured
        assert "nvmath-python cannot be used" in step.note
        assert 'pip install "tinymixer[cuda13] @ git+' in step.note
        step.stage(numbers(step, 2))
        step.run(2)
        step.totals()
    reference = Reference(CONFIG, OPTIMIZERS["sgd"])
    reference.run(2)
    assert_same_weights(model.parameters, reference.model.parameters, 1e-5)


def test_a_library_that_will_not_be_captured_leaves_the_step_running(stand_in, monkeypatch):
    from nvmath.bindings import cublas

    gemm = cublas.gemm_ex

    def refuses_captures(*arguments):
        if stand_in.cuda.get_current_stream().is_capturing():
            raise cublas.cuBLASError("CUBLAS_STATUS_NOT_SUPPORTED")
        gemm(*arguments)

    monkeypatch.setattr(cublas, "gemm_ex", refuses_captures)
    model, _, step = make_step(stand_in, CONFIG, OPTIMIZERS["sgd"])
    step.stage(numbers(step, 2))
    step.run(2)
    assert not step.captured
    assert step.note == "the step could not be captured in a CUDA graph: CUBLAS_STATUS_NOT_SUPPORTED"
    reference = Reference(CONFIG, OPTIMIZERS["sgd"])
    reference.run(2)
    assert step.totals().images == 2 * BATCH
    assert_same_weights(model.parameters, reference.model.parameters, 1e-5)


@pytest.mark.parametrize("library", ["cublas", "cublasLt"])
def test_a_library_that_fails_is_done_without(stand_in, monkeypatch, library):
    """cuBLAS's errors are no RuntimeErrors."""
    from nvmath import bindings

    module = getattr(bindings, library)
    error = {"cublas": "cuBLASError", "cublasLt": "cuBLASLtError"}[library]

    def create():
        raise getattr(module, error)("CUBLAS_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(module, "create", create)
    _, _, step = make_step(stand_in, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16", epilogues="measured")
    assert step.captured == (library == "cublasLt")
    assert not step._mixer.fused.forward
    step.stage(numbers(step, 1))
    step.run(1)


def test_out_of_memory_names_a_batch_that_fits(stand_in, monkeypatch):
    needed = plan_activations(CONFIG, BATCH, get_precision("float32")).nbytes
    monkeypatch.setattr(MEMORY, "free", needed - 1)
    monkeypatch.setattr("tinymixer.kernels.products.WORKSPACE_BYTES", 1024)
    with pytest.raises(BackendError, match=r"a step of 6 images in float32 needs .* --batch-size \d+ fits") as caught:
        make_step(stand_in, CONFIG, OPTIMIZERS["sgd"])
    fits = int(str(caught.value).split("--batch-size ")[1].split()[0])
    assert 1 <= fits < BATCH
    assert str(caught.value).endswith(f"--batch-size {fits} fits, or keep it and add --micro-batches 2")


def test_what_the_step_cannot_do_is_said(cupy):
    with pytest.raises(ConfigError, match="micro_batches must divide the batch of 6 images, got 4"):
        make_step(cupy, CONFIG, OPTIMIZERS["sgd"], micro_batches=4)
    with pytest.raises(ConfigError, match=r"unknown precision 'bfloat'.*'bfloat16'"):
        make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat")


def test_loaded_weights_are_taken_over(cupy):
    model, optimizer, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16")
    fresh, _, other = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], precision="bfloat16")
    step.stage(numbers(step, 2))
    step.run(2)
    start(model.parameters)
    for vector in optimizer.state.values():
        vector.fill(0)
    optimizer.steps = 0
    step.refresh()
    for runner in (step, other):
        runner.stage(numbers(runner, 1))
        runner.run(1)
    np.testing.assert_array_equal(host(model.parameters.values), host(fresh.parameters.values))
