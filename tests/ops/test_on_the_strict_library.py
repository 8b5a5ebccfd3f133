"""Every operation runs on the stand-in library, and says there what it says on NumPy."""

from operator import attrgetter

import numpy as np
import pytest

from tests.strict_arrays import STRICT, NotAllowedError, StrictArray
from tinymixer import ops
from tinymixer.ops import array_library
from tinymixer.ops.array_library import namespace

RNG = np.random.default_rng(0)


def floats(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


# name -> (forward inputs, constants); the backward pass gets a gradient of the output's shape
OPERATIONS = {
    "linear": ((floats(3, 2, 5), floats(5, 4), floats(4)), ()),
    "token_linear": ((floats(6, 2, 5), floats(4, 6), floats(4)), ()),
    "gelu_tanh": ((floats(3, 4),), ()),
    "gelu_erf": ((floats(3, 4),), ()),
    "layer_scale": ((floats(3, 2, 5), floats(5)), ()),
    "gate": ((floats(3, 4), floats(3, 4)), ()),
    "layer_norm": ((floats(3, 2, 5), floats(5), floats(5)), (1e-6,)),
    "softmax_cross_entropy": ((floats(4, 3), np.array([0, 2, 1, 1])), (0.1,)),
    "softmax": ((floats(4, 2, 3),), ()),
    "self_attention": ((floats(5, 3, 12),), (2,)),
    "relative_attention": ((floats(3, 3, 2, 12), floats(5, 2), floats(3, 2)), (2,)),
    "position_embedding": ((floats(6, 2, 5), floats(6, 5)), ()),
    "prepend_class_token": ((floats(6, 2, 5), floats(5)), ()),
    "take_class_token": ((floats(6, 2, 5),), ()),
    "images_to_patches": ((floats(2, 4, 6, 3),), (2,)),
    "images_to_windows": ((floats(2, 4, 6, 3),), (2, 3)),
    "mean_over_tokens": ((floats(6, 2, 5),), ()),
    "pool_tokens": ((floats(6, 2, 5),), ((2, 3),)),
    "dropout": ((floats(6, 5), RNG.random((6, 5)) > 0.5), (0.5,)),
    "drop_path": ((floats(6, 4, 5), np.array([True, False, True, True])), (0.25,)),
    "convolution": ((floats(2, 5, 4, 3), floats(3, 2, 3, 4), floats(4)), (2, 1)),
    "max_pooling": ((floats(2, 5, 4, 3),), (3, 2, 1)),
    "average_pooling": ((floats(2, 5, 4, 3),), (2, 2, True)),
    "global_average_pooling": ((floats(2, 5, 4, 3),), ()),
    "relu": ((floats(3, 4),), ()),
    "batch_norm": ((floats(2, 3, 2, 4), floats(4), floats(4)), (1e-5,)),
    "batch_norm_inference": ((floats(2, 3, 2, 4), floats(4), floats(4), floats(4), floats(4) ** 2), (1e-5,)),
    "group_norm": ((floats(2, 3, 2, 4), floats(4), floats(4)), (2, 1e-5)),
    "weight_standardisation": ((floats(3, 2, 3, 4),), (1e-10,)),
    "scaled_weight_standardisation": ((floats(3, 2, 3, 4), floats(4)), (1e-6,)),
}


def test_every_operation_is_listed_here():
    assert {name.removesuffix("_forward") for name in ops.__all__ if name.endswith("_forward")} == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_an_operation_gives_the_same_on_the_strict_library_and_keeps_the_dtype(name, dtype):
    inputs, constants = OPERATIONS[name]
    inputs = [x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs]
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    y, cache = forward(*inputs, *constants)
    strict_y, strict_cache = forward(*(STRICT.asarray(x) for x in inputs), *constants)
    assert isinstance(strict_y, StrictArray)
    np.testing.assert_array_equal(STRICT.to_numpy(strict_y), y)
    wide = "float32" if dtype == "float16" else dtype
    assert y.dtype == (wide if name == "softmax_cross_entropy" else dtype)

    dy = RNG.standard_normal(np.shape(y)).astype(y.dtype)
    gradients, strict_gradients = backward(dy, cache), backward(STRICT.asarray(dy), strict_cache)
    if not isinstance(gradients, tuple):
        gradients, strict_gradients = (gradients,), (strict_gradients,)
    for gradient, strict_gradient in zip(gradients, strict_gradients, strict=True):
        np.testing.assert_array_equal(STRICT.to_numpy(strict_gradient), gradient)
        assert gradient.dtype == dtype


@pytest.mark.parametrize("name", [name for name, (_, constants) in OPERATIONS.items() if constants])
def test_a_constant_that_is_a_numpy_scalar_does_not_widen_the_dtype(name):
    """np.float64(0.1) is not a Python float: beside a float32 array it would make float64."""
    inputs, constants = OPERATIONS[name]
    constants = [np.float64(c) if isinstance(c, float) else c for c in constants]
    y, cache = getattr(ops, f"{name}_forward")(*inputs, *constants)
    gradients = getattr(ops, f"{name}_backward")(np.ones(np.shape(y), "float32"), cache)
    for array in (y, *(gradients if isinstance(gradients, tuple) else (gradients,))):
        assert array.dtype == "float32"


def test_the_stand_in_is_strict():
    x = STRICT.asarray(np.ones((2, 3), "float32"))
    refused = [
        lambda: namespace(x).einsum("ij->i", x),
        lambda: x.tolist(),
        lambda: x + np.ones((2, 3)),
        lambda: np.ones((2, 3)) * x,
        lambda: np.asarray(x),
        lambda: float(x[0, 0]),
        lambda: bool(x[0, 0] > 0),
        lambda: namespace(x).sum(np.ones(3)),
    ]
    for attempt in refused:
        with pytest.raises((NotAllowedError, TypeError)):
            attempt()


def test_the_list_names_what_numpy_has():
    assert all(callable(attrgetter(name)(np)) for name in array_library.FUNCTIONS)
    assert all(callable(getattr(np.ndarray, name)) for name in array_library.METHODS)
    assert all(hasattr(np.ndarray, name) for name in array_library.ATTRIBUTES)
