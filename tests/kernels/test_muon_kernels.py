"""Muon's kernels, what they do beside the products, and averaged weights, held to NumPy; emulated, and on a GPU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.calls import Call, f32, few, i32, i64, numbers
from tests.kernels.formats import ROUNDING, assert_close, packed, unpacked
from tests.kernels.test_update_kernels import FACTOR, RATE, state_of
from tinymixer.engines.cuda.device_muon import stacks_of
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.engines.cuda.update_settings import ELEMENTWISE, FROZEN, MATRIX, UpdateSettings
from tinymixer.kernels import launch as layouts
from tinymixer.optim import AdamW, Muon, ParameterGroup, WeightAverage
from tinymixer.parameters import Parameters, ParameterSpec

pytestmark = pytest.mark.usefixtures("machine")
MOMENTUM = 0.9


def muon_for(call, rows, columns):
    """Two wide matrices and a tall one in one stack, a square one, and a bias that is not Muon's."""
    shapes = {"blocks.0.a": (rows, columns), "blocks.0.b": (columns, rows), "blocks.0.bias": (5,),
              "blocks.1.a": (rows, columns), "blocks.1.c": (columns, columns)}  # fmt: skip
    drawn = {name: ParameterSpec(shape, lambda rng, s: call.rng.standard_normal(s)) for name, shape in shapes.items()}
    parameters = Parameters(drawn)
    groups = [ParameterGroup("blocks.1.a", learning_rate_factor=0.5, weight_decay=0.3)]
    optimizer = Muon(parameters, momentum=MOMENTUM, weight_decay=0.1, groups=groups)
    optimizer.state["mean"][...] = call.rng.standard_normal(parameters.values.shape)
    parameters.gradients[...] = call.rng.standard_normal(parameters.values.shape)
    return optimizer


@numbers
@few
@given(rows=st.integers(1, 40), more=st.integers(0, 40), skip=st.booleans())
def test_momentum_goes_into_the_stacks_and_directions_into_the_weights(number, rows, more, skip):
    call = Call()
    optimizer = muon_for(call, rows, rows + more)
    parameters, velocity = optimizer.parameters, optimizer.state["mean"]
    stacks, table, (wide, _) = stacks_of(optimizer)
    matrices = [name for name in parameters if (setting := optimizer.setting_of(name)) and setting.matrix]
    assert sum(stack.shape[0] for stack in stacks) == len(matrices) == 4
    layout = layouts.per_matrix(len(table), int((table["rows"] * table["columns"]).max()))
    state = call.input(state_of(learning_rate=RATE, gradient_factor=FACTOR, skip=skip))
    table = call.input(table.view(np.uint8))
    gradients, found = call.input(parameters.gradients), call.in_place(velocity, "float")
    norms = call.in_place(np.zeros((len(matrices), layout.grid[0])), "float")
    call.run("muon_momentum<float>", layout, state, table, found, gradients, norms, f32(MOMENTUM))
    x = call.in_place(np.zeros(wide), number)
    call.run(f"muon_begin<{number}>", layout, state, table, found, gradients, norms, x, f32(MOMENTUM))
    values, working = call.in_place(parameters.values, "float"), call.output(parameters.values.shape, number)
    call.run(f"muon_update<{number}>", layout, state, table, values, x, working)
    if skip:
        np.testing.assert_array_equal(found.array, velocity)
        np.testing.assert_array_equal(values.array, parameters.values)
        return
    before = parameters.to_numpy()
    views = [parameters.views_of(vector) for vector in (velocity, found.array, values.array, working.array)]
    for name in parameters:
        old, new, weights, copy = (view[name] for view in views)
        if name not in matrices:
            np.testing.assert_array_equal(new, old)
            np.testing.assert_array_equal(weights, before[name])
            continue
        setting, gradient = optimizer.setting_of(name), FACTOR * parameters.gradient(name)
        wanted = MOMENTUM * old + gradient
        assert_close(new, wanted, "float", 4)
        ahead = gradient + MOMENTUM * wanted
        direction = unpacked(packed(ahead / np.linalg.norm(ahead), number), number)
        rate = RATE * setting.learning_rate_factor
        moved = weights - (1 - rate * setting.weight_decay) * before[name].astype(np.float64)
        update = -rate * 0.2 * np.sqrt(max(ahead.shape)) * direction
        np.testing.assert_allclose(moved, update, rtol=ROUNDING[number], atol=2e-6)  # a direction rounded up or down
        assert_close(unpacked(copy, number), weights, number, 4)


@numbers
@few
@given(rows=st.integers(1, 40))
def test_the_polynomial(number, rows):
    call = Call()
    optimizer = muon_for(call, rows, rows + 3)
    stacks, table, (_, squares) = stacks_of(optimizer)
    gram, gram_bits = call.draw(squares, number)
    square, square_bits = call.draw(squares)
    polynomial = call.in_place(np.zeros(squares), number)
    layout = layouts.per_matrix(len(table), int(table["rows"].max()) ** 2)
    call.run(f"muon_polynomial<{number}>", layout, call.input(table.view(np.uint8)), gram_bits, square_bits, polynomial,
             f32(3), f32(-4), f32(2))  # fmt: skip
    found = unpacked(polynomial.array, number)
    for stack in stacks:
        wanted = 3 * np.eye(stack.shape[1]) - 4 * stack.square(gram) + 2 * stack.square(square)
        assert_close(stack.square(found), wanted, number, 4)


@few
@given(rows=st.integers(1, 40), due=st.booleans(), skip=st.booleans())
def test_the_average_moves_when_it_is_due(rows, due, skip):
    call, size = Call(), 16 * rows
    average, values = call.rng.standard_normal(size), call.rng.standard_normal(size).astype(np.float32)
    found = call.in_place(average, "float")
    state = call.input(state_of(average_due=due, average_share=0.25, skip=skip))
    call.run("average_weights<float>", layouts.flat(size, 4), state, found, call.input(values), i64(size))
    wanted = average + 0.25 * (values - average) if due and not skip else average
    assert_close(found.array, wanted, "float", 4)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_which_step_moves_it_and_how_far(decay):
    """As `WeightAverage`, by the number of updates; a step that is left out is none."""
    average = WeightAverage(Parameters({"w": ParameterSpec((4,), lambda rng, s: np.zeros(s))}), decay, every=3)
    call = Call()
    state = call.in_place(state_of(loss_scale=1.0).view(np.float32), "float")
    history = call.in_place(np.zeros((2, 2)), "float")
    for step in range(1, 13):
        overflows = step % 4 == 0
        square = call.input(np.array([np.inf if overflows else 1], np.float32))
        call.run("settle_step<float>", layouts.one_block(), state, square, i32(1), call.input(np.ones(3, np.float32)),
                 call.input(np.ones(3, np.int32)), i32(3), history, i32(2), f32(0), i32(1), i32(2000), f32(0), f32(0),
                 i32(3), f32(1 - decay), f32(50))  # fmt: skip
        found = state.array.view(STEP_STATE)[0]
        updates = step - step // 4
        assert found["updates"] == updates
        assert found["averaged"] == updates // 3
        assert found["average_due"] == (not overflows and updates % 3 == 0)
        if found["average_due"]:
            assert found["average_share"] == pytest.approx(average.share(updates // 3), rel=1e-6)


def test_settings_are_told_for_every_sixteen_weights():
    call = Call()
    optimizer = muon_for(call, 3, 7)
    settings = UpdateSettings.of(optimizer)
    for name in optimizer.parameters:
        span, setting = optimizer.parameters.span_of(name), optimizer.setting_of(name)
        rows = settings.table[settings.which[span.start // 16 : span.stop // 16]]
        assert (rows["rule"] == (ELEMENTWISE if name.endswith("bias") else MATRIX)).all()
        assert (rows["rate_factor"] == np.float32(setting.learning_rate_factor)).all()
        assert (rows["decay"] == np.float32(setting.weight_decay)).all()
    frozen = AdamW(optimizer.parameters, groups=[ParameterGroup("blocks.0.*", frozen=True)])
    settings = UpdateSettings.of(frozen)
    assert settings.table["rule"][settings.which[0]] == FROZEN
    assert settings.table["rule"][settings.which[-1]] == ELEMENTWISE
