"""One flat vector with views that cannot be lost."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strict_arrays import STRICT
from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.parameters import ALIGNMENT, BufferSpec, Parameters, ParameterSpec


def draw(generator, shape):
    return generator.standard_normal(shape)


def make(shapes, **keywords):
    return Parameters({name: ParameterSpec(shape, draw) for name, shape in shapes.items()}, **keywords)


SHAPES = {
    "stem.weight": (3, 5),
    "stem.bias": (5,),
    "blocks.0.scale": (7,),
    "blocks.0.weight": (2, 9),
    "head.bias": (1,),
}

shapes = st.lists(st.lists(st.integers(1, 9), max_size=3).map(tuple), min_size=1, max_size=6).map(
    lambda listed: {f"part{i % 2}.{i}": shape for i, shape in sorted(enumerate(listed), key=lambda pair: pair[0] % 2)}
)


@given(shapes)
def test_views_share_memory_and_do_not_overlap(shapes):
    parameters = make(shapes)
    assert parameters.count == sum(int(np.prod(shape)) for shape in shapes.values())
    marks = np.zeros_like(parameters.values)
    for i, name in enumerate(parameters):
        assert parameters[name].shape == parameters.gradient(name).shape == shapes[name]
        assert np.shares_memory(parameters[name], parameters.values)
        assert np.shares_memory(parameters.gradient(name), parameters.gradients)
        parameters.gradient(name)[...] = i + 1
    marks = parameters.gradients
    for i, shape in enumerate(shapes.values()):
        assert (marks == i + 1).sum() == np.prod(shape)
    assert (marks == 0).sum() == marks.size - parameters.count


def test_views_start_at_multiples_of_64_bytes_of_the_vector():
    parameters = make(SHAPES)
    start = parameters.values.__array_interface__["data"][0]
    for name in parameters:
        assert (parameters[name].__array_interface__["data"][0] - start) % (4 * ALIGNMENT) == 0


def test_a_part_is_a_slice_of_the_same_memory():
    parameters = make(SHAPES)
    part = parameters.part("blocks.0")
    assert part.names == ["scale", "weight"]
    part["weight"][...] = 4
    part.gradient("scale")[...] = 5
    np.testing.assert_array_equal(parameters["blocks.0.weight"], 4)
    np.testing.assert_array_equal(parameters.gradient("blocks.0.scale"), 5)
    part.zero_gradients()
    np.testing.assert_array_equal(parameters.gradients, 0)
    with pytest.raises(KeyError, match="starts with 'block"):
        parameters.part("block")


def test_a_view_cannot_be_replaced():
    parameters = make(SHAPES)
    with pytest.raises(TypeError, match=r"parameters\['stem.bias'\]\[...\] = array"):
        parameters["stem.bias"] = np.zeros(5)
    for attribute in ("values", "gradients", "buffers"):
        with pytest.raises(AttributeError):
            setattr(parameters, attribute, np.zeros(3))
    parameters["stem.bias"][...] += 1  # writing into a view is the way


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(KeyError, match=r"Did you mean 'stem.weight'\?"):
        make(SHAPES)["stem.weights"]


def test_the_same_seed_gives_the_same_weights_in_both_dtypes():
    narrow, wide = make(SHAPES, seed=5), make(SHAPES, seed=5, dtype="float64")
    np.testing.assert_array_equal(narrow.values, wide.values.astype("float32"))
    assert not np.array_equal(narrow.values, make(SHAPES, seed=6).values)
    with pytest.raises(ConfigError, match="float32 or float64"):
        make(SHAPES, dtype="float16")


def test_mask_and_round_trip_through_names():
    parameters, other = make(SHAPES, seed=1), make(SHAPES, seed=2)
    matrices = parameters.mask(lambda name, shape: len(shape) == 2)
    assert matrices.sum() == 3 * 5 + 2 * 9
    other.load(parameters.to_numpy())
    np.testing.assert_array_equal(other.values, parameters.values)
    momentum = np.zeros_like(parameters.values)
    parameters.load(parameters.to_numpy(), into=momentum)
    np.testing.assert_array_equal(momentum, parameters.values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("head.bias"), "'head.bias' is missing"),
        (lambda arrays: arrays.update({"tail": np.zeros(1)}), "no parameter 'tail'"),
        (lambda arrays: arrays.update({"head.bias": np.zeros(2)}), r"'head.bias' should have shape \(1,\), got \(2,\)"),
        (lambda arrays: arrays.update({"head.bias": np.zeros(1, int)}), "should hold floating-point numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_whole(change, message):
    parameters = make(SHAPES)
    before = parameters.values.copy()
    arrays = {name: array + 1 for name, array in parameters.to_numpy().items()}
    change(arrays)
    with pytest.raises(CheckpointError, match=message):
        parameters.load(arrays)
    np.testing.assert_array_equal(parameters.values, before)


def test_a_part_knows_its_place_in_the_whole():
    parameters = make(SHAPES)
    assert parameters.prefix == ""
    assert parameters.part("blocks").prefix == "blocks"
    assert parameters.part("blocks").part("0").prefix == parameters.part("blocks.0").prefix == "blocks.0"
    empty = parameters.part("blocks.0.pool", may_be_empty=True)
    assert (empty.prefix, empty.names, empty.count) == ("blocks.0.pool", [], 0)
    with pytest.raises(ConfigError, match=r"others were declared before 'a.y'. Declare them one after the other"):
        make({"a.x": (3,), "b.x": (3,), "a.y": (3,)}).part("a")


@given(shapes, st.booleans())
def test_gradients_take_no_memory_until_they_are_asked_for(shapes, part_first):
    parameters = make(shapes)
    prefix = next(iter(shapes)).split(".")[0]
    part = parameters.part(prefix)
    parameters.zero_gradients()
    part.zero_gradients()
    assert not parameters.gradients_allocated
    owners = (part, parameters) if part_first else (parameters, part)
    for owner in owners:
        owner.gradient(owner.names[0])[...] += 1
    assert parameters.gradients_allocated
    assert part.gradients_allocated
    np.testing.assert_array_equal(parameters.gradient(f"{prefix}.{part.names[0]}"), part.gradient(part.names[0]))
    assert np.shares_memory(part.gradients, parameters.gradients)
    part.zero_gradients()
    assert not part.gradients.any()


def test_threads_that_ask_first_at_once_are_given_the_same_gradients():
    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            parameters = make(SHAPES)
            parts = [parameters.part("blocks.0") for _ in range(4)]
            vectors = list(pool.map(lambda part: part.gradients, parts))
            assert all(np.shares_memory(vector, parameters.gradients) for vector in vectors)


@pytest.mark.parametrize("backend", ["numpy", STRICT])
def test_without_a_seed_nothing_is_drawn(backend):
    def refuse(generator, shape):
        raise AssertionError("nothing may be drawn")

    specification = {"weight": ParameterSpec((3, 5), refuse), "mean": BufferSpec((3,), refuse)}
    parameters = Parameters(specification, backend, seed=None)
    assert not parameters.to_numpy()["weight"].any()
    assert not parameters.buffers_to_numpy()["mean"].any()
    parameters.load({"weight": np.ones((3, 5))})
    parameters.load_buffers({"mean": np.ones(3)})
    assert parameters.to_numpy()["weight"].all()
    assert parameters.buffers_to_numpy()["mean"].all()


def test_a_large_model_is_in_memory_once():
    """Built without first values and loaded array by array, it takes its values' memory and hardly more."""
    config = MixerConfig(hidden_dim=256, channels_mlp_dim=1024, num_blocks=8)
    arrays = MlpMixer(config, seed=1).parameters.to_numpy()
    size = sum(array.nbytes for array in arrays.values())
    tracemalloc.start()
    try:
        model = MlpMixer(config, seed=None)
        model.parameters.load(arrays)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size < peak < 1.1 * size
    assert not model.parameters.gradients_allocated
    for name, array in arrays.items():
        np.testing.assert_array_equal(model.parameters[name], array)


@given(shapes, st.sampled_from(["float32", "float64"]))
def test_loading_converts_the_dtype_and_leaves_the_padding_zero(shapes, dtype):
    parameters = make(shapes, dtype=dtype, seed=None)
    arrays = {name: np.ones(shape, "float16") for name, shape in shapes.items()}
    view = parameters[parameters.names[0]]
    parameters.load(arrays)
    assert parameters.values.dtype == dtype
    assert parameters.values.sum() == parameters.count
    assert (view == 1).all()


def test_a_mask_may_have_another_dtype():
    mask = make(SHAPES).mask(lambda name, shape: len(shape) == 2, bool)
    assert mask.dtype == bool
    assert mask.sum() == 3 * 5 + 2 * 9
