"""The update rules and what decides about them, held to `tinymixer.optim`; emulated on the CPU, and on a GPU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.calls import Call, f32, few, i32, i64, numbers, plain_and_fast
from tests.kernels.formats import assert_close, unpacked
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.engines.cuda.update_settings import ELEMENTWISE, SETTING, UpdateSettings
from tinymixer.kernels import launch as layouts
from tinymixer.optim import SGD, AdamW
from tinymixer.parameters import Parameters, ParameterSpec

pytestmark = pytest.mark.usefixtures("machine")
RATE, FACTOR = 0.01, 0.25


def state_of(**fields):
    state = np.zeros(1, STEP_STATE)
    for name, value in fields.items():
        state[name] = value
    return state.view(np.uint8)


def weights(call, rows):
    drawn = ParameterSpec((rows, 16), lambda rng, shape: call.rng.standard_normal(shape))
    return Parameters({"weight": drawn, "bias": drawn})


def settings_for(call, optimizer):
    settings = UpdateSettings.of(optimizer)
    return call.input(settings.which), call.input(settings.table.view(np.uint8))


def fill(call, vector):
    vector[...] = call.rng.standard_normal(vector.shape)


@numbers
@plain_and_fast
@few
@given(rows=st.integers(1, 40), nesterov=st.booleans(), decoupled=st.booleans(), skip=st.booleans())
def test_sgd(number, plain, rows, nesterov, decoupled, skip):
    call = Call()
    parameters = weights(call, rows)
    optimizer = SGD(parameters, momentum=0.9, nesterov=nesterov, weight_decay=0.1, decay="all", decoupled=decoupled)
    fill(call, optimizer.state["velocity"])
    gradients = call.rng.standard_normal(parameters.values.shape).astype(np.float32)
    values, velocity = (call.in_place(x, "float") for x in (parameters.values, optimizer.state["velocity"]))
    settings, working = settings_for(call, optimizer), call.output(values.array.shape, number)
    parameters.gradients[...] = gradients * FACTOR
    if not skip:
        optimizer.step(RATE)
    state = call.input(state_of(learning_rate=RATE, gradient_factor=FACTOR, skip=skip))
    size = parameters.values.size
    call.run(f"sgd_update{'_plain' * plain}<{number}>", layouts.flat(size, 1 if plain else 4), state, values, velocity,
             call.input(gradients), *settings, working, f32(0.9), i32(nesterov), i32(decoupled), i64(size))  # fmt: skip
    assert_close(values.array, parameters.values, "float", 8)
    assert_close(velocity.array, optimizer.state["velocity"], "float", 8)
    if not skip:
        assert_close(unpacked(working.array, number), parameters.values, number, 8)


@numbers
@plain_and_fast
@few
@given(rows=st.integers(1, 40), steps=st.integers(0, 20), skip=st.booleans())
def test_adamw(number, plain, rows, steps, skip):
    call = Call()
    parameters = weights(call, rows)
    optimizer = AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.1, decay="all")
    optimizer.steps = steps
    fill(call, optimizer.state["mean"])
    optimizer.state["square"][...] = call.rng.random(parameters.values.shape)
    gradients = call.rng.standard_normal(parameters.values.shape).astype(np.float32)
    vectors = (parameters.values, optimizer.state["mean"], optimizer.state["square"])
    values, mean, square = (call.in_place(x, "float") for x in vectors)
    settings, working = settings_for(call, optimizer), call.output(values.array.shape, number)
    parameters.gradients[...] = gradients * FACTOR
    if not skip:
        optimizer.step(RATE)
    corrections = {"mean_correction": 1 - 0.9 ** (steps + 1), "square_correction": 1 - 0.99 ** (steps + 1)}
    state = call.input(state_of(learning_rate=RATE, gradient_factor=FACTOR, skip=skip, **corrections))
    size = parameters.values.size
    call.run(f"adamw_update{'_plain' * plain}<{number}>", layouts.flat(size, 1 if plain else 4), state, values, mean,
             square, call.input(gradients), *settings, working, f32(0.9), f32(0.99), f32(1e-8), i64(size))  # fmt: skip
    for found, wanted in ((values, parameters.values), (mean, vectors[1]), (square, vectors[2])):
        assert_close(found.array, wanted, "float", 32)
    if not skip:
        assert_close(unpacked(working.array, number), parameters.values, number, 32)


@few
@given(size=st.integers(1, 3000).map(lambda n: 16 * n), clip=st.sampled_from([0.0, 1.0]))
def test_the_norm_clips_and_the_counters_count(size, clip):
    call = Call()
    gradients, bits = call.draw(size)
    layout = layouts.squares(size, 2)
    squares, images = call.output(layout.grid[0]), 300
    everything = np.array([(1, 0, ELEMENTWISE)], SETTING).view(np.uint8)
    call.run("gradient_squares<float>", layout, bits, call.input(np.zeros(size // 16, np.uint16)),
             call.input(everything), squares, i64(size))  # fmt: skip
    losses, losses_bits = call.draw(images)
    correct = call.rng.integers(0, 2, images).astype(np.int32)
    before = state_of(loss_scale=4.0, updates=6)
    state, history = call.in_place(before.view(np.float32), "float"), call.in_place(np.zeros((3, 2)), "float")
    call.run("settle_step<float>", layouts.one_block(), state, call.input(squares.array.copy()), i32(layout.grid[0]),
             losses_bits, call.input(correct), i32(images), history, i32(3), f32(clip), i32(0), i32(2000), f32(0.9),
             f32(0.99), i32(0), f32(0), f32(50))  # fmt: skip
    after, norm = state.array.view(STEP_STATE)[0], np.linalg.norm(gradients) / 4
    assert after["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert after["gradient_factor"] == pytest.approx((min(1, 1 / norm) if clip else 1) / 4, rel=1e-4)
    assert (after["step"], after["updates"], after["images"], after["skip"]) == (1, 7, images, 0)
    assert after["correct"] == correct.sum()
    assert after["loss"] == pytest.approx(losses.mean(), abs=1e-6)
    assert after["square_correction"] == pytest.approx(1 - 0.99**7, rel=1e-5)
