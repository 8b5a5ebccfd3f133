"""What a captured step's update may contain besides one rule for all: Muon, parameter groups, averaged weights; and a
stem with overlapping windows. Held to the host's engines, on the stand-in GPU, and on a GPU."""

import numpy as np
import pytest

from tests.engines.cuda.test_captured_step import (
    CONFIG,
    ODD,
    Reference,
    assert_same_weights,
    config_with,
    host,
    learning_rate,
    make_step,
    numbers,
    room_of_adamw,
)
from tests.kernels.fake_cupy import LAUNCHES, fake_gpu
from tinymixer.data import Augmentation
from tinymixer.optim import SGD, AdamW, Muon, ParameterGroup, WeightAverage

STEPS = 6
GROUPS = (
    ParameterGroup("blocks.0.token_norm.*", frozen=True),
    ParameterGroup("stem.weight", frozen=True),
    ParameterGroup("blocks.1.*", learning_rate_factor=0.5, weight_decay=0.3),
    ParameterGroup("head.*", learning_rate_factor=2.0),
)
OPTIMIZERS = {
    "sgd": lambda p: SGD(p, momentum=0.9, weight_decay=0.1, clip_norm=0.3, groups=GROUPS),
    "adamw": lambda p: AdamW(p, weight_decay=0.1, clip_norm=0.3, groups=GROUPS),
    "muon": lambda p: Muon(p, weight_decay=0.1, clip_norm=0.3),
    "muon in groups": lambda p: Muon(
        p, iterations=3, groups=(ParameterGroup("blocks.0.channel_mixing.weight1", rule="adamw"), *GROUPS)
    ),
}
MATRICES = "mixing.weight"
AUGMENTATION = Augmentation(crop_padding=2, flip=True, cutout=3)


@pytest.fixture
def stand_in(emulated, monkeypatch):
    monkeypatch.setattr("tinymixer.kernels.products.WORKSPACE_BYTES", 1024)
    with fake_gpu() as module:
        yield module


def average_of(parameters):
    return WeightAverage(parameters, 0.05, every=2)  # 1 - n / (n + 50) at first, then 0.95


def frozen(optimizer):
    return [name for name in optimizer.parameters if optimizer.setting_of(name) is None]


@pytest.mark.parametrize(
    ("config", "name", "captured"),
    [(CONFIG, "sgd", True), (ODD, "adamw", False), (CONFIG, "adamw", True), (CONFIG, "muon", True),
     (ODD, "muon", False), (CONFIG, "muon in groups", False), (ODD, "muon in groups", True)],
)  # fmt: skip
def test_steps_equal_the_reference(cupy, config, name, captured):
    """All of it together, in float32: weights, state and average."""
    config = config_with(config, overlap=1 + (config is CONFIG), drop_path=0.3)
    reference = Reference(config, OPTIMIZERS[name], augmentation=AUGMENTATION)
    reference.average = average_of(reference.model.parameters)
    wanted = reference.run(STEPS)
    model, optimizer, step = make_step(
        cupy, config, OPTIMIZERS[name], average_of, captured=captured, augmentation=AUGMENTATION
    )
    average, before = step._update.average, model.parameters.to_numpy()
    step.stage(numbers(step, STEPS, AUGMENTATION))
    step.run(STEPS)
    step.totals()
    found, close = step.recent(STEPS), 1e-5 if name == "sgd" else 1e-4
    np.testing.assert_allclose(found[:, 0], [r.loss for r in wanted], rtol=close)
    np.testing.assert_allclose(found[:, 1], [r.gradient_norm for r in wanted], rtol=close)
    assert (optimizer.steps, average.updates) == (STEPS, STEPS // 2)
    room = 0.0
    if isinstance(optimizer, AdamW):
        elementwise = reference.model.parameters.mask(
            lambda n, _: (setting := optimizer.setting_of(n)) is not None and not setting.matrix
        )
        rates = 2 * sum(map(learning_rate, range(STEPS)))  # of the largest factor
        room = elementwise * room_of_adamw(reference.optimizer, rates)
        # Newton-Schulz raises roundings up to 485 times; 0.2 sqrt(columns) is an update's length per learning rate
        room += (1 - elementwise) * rates * 485 * 2.0**-22
    assert_same_weights(model.parameters, reference.model.parameters, 1e-5, room)
    for vector, other in ((average.values, reference.average.values),):
        np.testing.assert_array_less(np.abs(host(vector) - other), 1e-5 * (1 + np.abs(other)) + room)
    after = model.parameters.to_numpy()
    for each in frozen(optimizer):
        np.testing.assert_array_equal(after[each], before[each], err_msg=each)
    momentum = "velocity" if name == "sgd" else "mean"
    np.testing.assert_allclose(
        host(optimizer.state[momentum]), reference.optimizer.state[momentum], rtol=1e-4, atol=2e-5
    )


@pytest.mark.parametrize("wrong", [{"momentum": 0.9}, {"iterations": 3}, {"weight_decay": 0.11}], ids=str)
def test_the_room_of_muon_hides_no_mistake(wrong):
    right, other = (Reference(CONFIG, lambda p, s=s: Muon(p, **({"weight_decay": 0.1} | s))) for s in ({}, wrong))
    for each in (right, other):
        each.run(STEPS)
    with pytest.raises(AssertionError, match="times as far from its reference as roundings explain"):
        assert_same_weights(other.model.parameters, right.model.parameters, 1e-5, 1e-4)


@pytest.mark.parametrize(("precision", "distance"), [("tf32", 0.02), ("bfloat16", 0.08), ("float16", 0.02)])
def test_muon_stays_near_float64(cupy, precision, distance):
    """Of the matrices' change over six steps, relative to its norm; measured on the stand-in: 1e-5 (its tf32 is exact),
    0.03 and 0.005. Most of it is the error of the gradients, as without Muon."""
    reference = Reference(CONFIG, OPTIMIZERS["muon"], dtype="float64")
    before = reference.model.parameters.to_numpy()
    reference.run(STEPS)
    model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["muon"], precision=precision)
    step.stage(numbers(step, STEPS))
    step.run(STEPS)
    assert step.totals().skipped == 0
    found, wanted = model.parameters.to_numpy(), reference.model.parameters.to_numpy()
    names = [name for name in wanted if MATRICES in name]
    apart = np.sqrt(sum(np.sum((found[n] - wanted[n]) ** 2) for n in names))
    moved = np.sqrt(sum(np.sum((wanted[n] - before[n]) ** 2) for n in names))
    assert apart < distance * moved


def test_matrices_of_one_shape_and_of_that_shape_turned_over_are_multiplied_together(stand_in, monkeypatch):
    from nvmath.bindings import cublas

    shapes, multiply = [], cublas.gemm_strided_batched_ex

    def counted(*arguments):
        shapes.append((arguments[20], arguments[3:6]))
        multiply(*arguments)

    monkeypatch.setattr(cublas, "gemm_strided_batched_ex", counted)
    _, _, step = make_step(stand_in, CONFIG, OPTIMIZERS["muon"], precision="bfloat16", captured=False)
    step.stage(numbers(step, 1))
    step.run()
    assert len(shapes) == 2 * 5 * 3  # stacks: (4, 8) of tokens and (16, 32) of channels
    assert {count for count, _ in shapes} == {4}  # two matrices in each of two blocks
    muon = [name for name in LAUNCHES if name.startswith("muon")]
    assert len(muon) == 3 + 5


def test_a_step_left_out_moves_neither_momentum_nor_average(cupy):
    """The average is due after every second update, whatever the number of steps is."""
    model, optimizer, step = make_step(cupy, CONFIG, OPTIMIZERS["muon"], average_of, precision="float16")
    average = step._update.average
    kept = host(average.values)
    step.stage(numbers(step, 12))
    step.run(1)
    before = [host(vector) for vector in (model.parameters.values, *optimizer.state.values())]
    step._update.write(loss_scale=2.0**40)
    step.run(1)
    step._update.write(loss_scale=2.0**13)
    assert step.totals().skipped == 1
    for vector, old in zip((model.parameters.values, *optimizer.state.values()), before, strict=True):
        np.testing.assert_array_equal(host(vector), old)
    assert (optimizer.steps, average.updates) == (1, 0)
    np.testing.assert_array_equal(host(average.values), kept)
    step.run(1)
    step.totals()
    assert (optimizer.steps, average.updates) == (2, 1)
    moved = host(model.parameters.values) - kept
    np.testing.assert_allclose(host(average.values), kept + np.float32(50 / 51) * moved, rtol=1e-6, atol=1e-7)


def test_the_average_is_evaluated_and_training_goes_on(cupy):
    """Within `applied` and `refresh` the logits are those of the averaged weights; afterwards nothing has changed."""
    runs = []
    for looks in (True, False):
        model, _, step = make_step(cupy, CONFIG, OPTIMIZERS["muon"], average_of, precision="bfloat16")
        average = step._update.average
        step.stage(numbers(step, 5))
        step.run(3)
        step.totals()
        if looks:
            with average.applied():
                step.refresh()
                averaged = step.logits(step.training_pixels, np.arange(8))
            step.refresh()
            raw = step.logits(step.training_pixels, np.arange(8))
            assert np.abs(averaged - raw).max() > 0.01
            reference = Reference(CONFIG, OPTIMIZERS["muon"])
            reference.model.parameters.load(model.parameters.to_numpy(average.values))
            x = (reference.data["pixels"][:8] / 255 - reference.data["mean"]) / reference.data["std"]
            wanted = reference.model.forward(x.astype(np.float32))[0]
            np.testing.assert_allclose(averaged, wanted, rtol=0.05, atol=0.05)
            state = average.state_dict()
            assert state["updates"] == 1
            average.load_state_dict(state)
        step.run(2)
        step.totals()
        runs.append((host(model.parameters.values), host(average.values), average.updates))
    assert runs[0][2] == runs[1][2] == 2
    for looked, did_not in zip(runs[0][:2], runs[1][:2], strict=True):
        np.testing.assert_array_equal(looked, did_not)


def test_gradients_of_frozen_parameters_do_not_count(cupy):
    """Not even when they are not finite."""
    model, optimizer, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"])
    step.stage(numbers(step, 1))
    kernels, update = step._kernels, step._update
    gradients = np.random.default_rng(0).standard_normal(model.parameters.values.shape).astype(np.float32)
    gradients[model.parameters.span_of("stem.weight")] = np.inf
    with step.stream:
        model.parameters.gradients[...] = cupy.asarray(gradients)
        update.losses[...] = 1
        update.settle(kernels)
    gradients[model.parameters.span_of("stem.weight")] = 0
    trained = np.concatenate([gradients[chunk] for chunk in optimizer.trained_chunks()])
    assert step.state["gradient_norm"] == pytest.approx(np.linalg.norm(trained), rel=1e-5)
    assert step.state["failed_step"] == 0
