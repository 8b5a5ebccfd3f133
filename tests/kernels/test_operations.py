"""The fused forms of operations: same signatures, same results, generic where no kernel applies."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.fake_cupy import fake_gpu
from tests.ops.test_on_the_strict_library import OPERATIONS
from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.backend import CupyBackend
from tinymixer.errors import ShapeError
from tinymixer.kernels.operations import FusedCache, fused_operations

few = settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
shapes = given(rows=st.integers(1, 20), channels=st.integers(1, 40))
TOLERANCE = {"float32": 2e-5, "float16": 5e-3}


@pytest.fixture(params=["stand-in", pytest.param("on a GPU", marks=pytest.mark.gpu)])
def cupy(request):
    if request.param == "on a GPU":
        yield pytest.importorskip("cupy")
    else:
        request.getfixturevalue("emulated")
        with fake_gpu() as module:
            yield module


def draw(cupy, shape, dtype, seed):
    host = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return host.astype(np.float64), cupy.asarray(host)


def assert_close(found, wanted, dtype):
    tolerance = TOLERANCE[dtype] * max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(np.array(found.get(), np.float64), wanted, rtol=TOLERANCE[dtype], atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@few
@shapes
def test_layer_norm(cupy, dtype, rows, channels):
    fused = fused_operations(cupy)
    x, device_x = draw(cupy, (rows, 2, channels), dtype, 0)
    dy, device_dy = draw(cupy, (rows, 2, channels), dtype, 1)
    (scale, device_scale), (bias, device_bias) = (draw(cupy, channels, "float32", seed) for seed in (2, 3))
    wanted, wanted_cache = ops.layer_norm_forward(x, scale, bias, 1e-2)
    found, cache = fused.layer_norm_forward(device_x, device_scale, device_bias, 1e-2)
    assert isinstance(cache, FusedCache)
    assert_close(found, wanted, dtype)
    results = zip(fused.layer_norm_backward(device_dy, cache), ops.layer_norm_backward(dy, wanted_cache), strict=True)
    for ours, theirs in results:
        assert_close(ours, theirs, dtype)
    np.testing.assert_array_equal(device_dy.get(), dy.astype(dtype))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("form", ["tanh", "erf"])
@few
@shapes
def test_gelu(cupy, dtype, form, rows, channels):
    fused = fused_operations(cupy)
    x, device_x = draw(cupy, (rows, channels), dtype, 0)
    dy, device_dy = draw(cupy, (rows, channels), dtype, 1)
    wanted, wanted_cache = getattr(ops, f"gelu_{form}_forward")(x)
    found, cache = getattr(fused, f"gelu_{form}_forward")(device_x)
    assert_close(found, wanted, dtype)
    dx = getattr(fused, f"gelu_{form}_backward")(device_dy, cache)
    assert_close(dx, getattr(ops, f"gelu_{form}_backward")(dy, wanted_cache), dtype)
    np.testing.assert_array_equal(device_dy.get(), dy.astype(dtype))
    assert dx.dtype == dtype


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_rows_that_begin_inside_an_array_are_read_one_by_one(cupy, dtype):
    """x[1:] of shape (5, 6) is contiguous and starts at no multiple of 16 bytes: 16 bytes at once would be a fault."""
    _, x = draw(cupy, (5 * 8 + 2,), dtype, 0)
    x = x[2:].reshape(5, 8)
    assert x.data.ptr % 16
    fused, host = fused_operations(cupy), np.array(x.get(), np.float64)
    found, cache = fused.gelu_tanh_forward(x)
    assert_close(found, ops.gelu_tanh_forward(host)[0], dtype)
    assert_close(
        fused.gelu_tanh_backward(x, cache), ops.gelu_tanh_backward(host, ops.gelu_tanh_forward(host)[1]), dtype
    )

    _, whole = draw(cupy, (6, 6), dtype, 0)
    part = whole[1:]
    assert part.shape == (5, 6)
    assert part.data.ptr % 16
    assert_close(fused.gelu_erf_forward(part)[0], ops.gelu_erf_forward(np.array(part.get(), np.float64))[0], dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@few
@given(rows=st.integers(1, 9), channels=st.sampled_from([8, 16, 24, 64]), late=st.tuples(*[st.integers(0, 8)] * 4))
def test_layer_norm_of_arrays_that_begin_anywhere(cupy, dtype, rows, channels, late):
    """Input, output gradient, scale and bias each begin some elements late: never a misaligned access."""

    def drawn(shape, dtype, seed, late):
        size = int(np.prod(shape))
        _, device = draw(cupy, (size + late,), dtype, seed)
        device = device[late:].reshape(shape)
        return np.array(device.get(), np.float64), device

    fused, shape = fused_operations(cupy), (rows, channels)
    (x, device_x), (dy, device_dy) = drawn(shape, dtype, 0, late[0]), drawn(shape, dtype, 1, late[1])
    scale, device_scale = drawn((channels,), "float32", 2, late[2])
    bias, device_bias = drawn((channels,), "float32", 3, late[3])
    wanted, wanted_cache = ops.layer_norm_forward(x, scale, bias, 1e-2)
    found, cache = fused.layer_norm_forward(device_x, device_scale, device_bias, 1e-2)
    assert_close(found, wanted, dtype)
    results = zip(fused.layer_norm_backward(device_dy, cache), ops.layer_norm_backward(dy, wanted_cache), strict=True)
    for ours, theirs in results:
        assert_close(ours, theirs, dtype)


def test_a_wrong_shape_is_said_in_letters(cupy):
    _, x = draw(cupy, (3, 4), "float32", 0)
    _, scale = draw(cupy, 5, "float32", 0)
    with pytest.raises(ShapeError, match="scale"):
        fused_operations(cupy).layer_norm_forward(x, scale, scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_runs_on_the_fused_operations(cupy, dtype):
    config = MixerConfig(image_size=8, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7, num_blocks=2)
    rng = np.random.default_rng(0)
    images, dlogits = rng.standard_normal((3, 8, 8, 3)).astype(dtype), rng.standard_normal((3, 10)).astype(dtype)
    reference = MlpMixer(config, dtype=dtype)
    fused = MlpMixer(config, dtype=dtype, backend=CupyBackend("cupy", cupy, fused_operations(cupy)))
    for model in (reference, fused):
        weights = model.parameters.to_numpy()
        weights["head.weight"] = np.random.default_rng(1).standard_normal((6, 10)).astype(dtype)
        model.parameters.load(weights)
    wanted, cache = reference.forward(images)
    found, fused_cache = fused.forward(cupy.asarray(images))
    np.testing.assert_allclose(np.array(found.get()), wanted, rtol=1e-4, atol=1e-5)
    reference.backward(dlogits, cache)
    fused.backward(cupy.asarray(dlogits), fused_cache)
    gradients = np.array(fused.parameters.gradients.get())
    np.testing.assert_allclose(gradients, reference.parameters.gradients, rtol=1e-3, atol=1e-5)


# ------------------------------------------------------------------------------------------ memory order

RNG = np.random.default_rng(0)
CASES = {name: (name, *given) for name, given in OPERATIONS.items()} | {  # rows of whole vectors as well
    "layer_norm, whole vectors": (
        "layer_norm", (RNG.standard_normal((3, 2, 16)), RNG.standard_normal(16), RNG.standard_normal(16)), (1e-6,)
    ),
    "gelu_tanh, whole vectors": ("gelu_tanh", (RNG.standard_normal((3, 2, 16)),), ()),
    "gelu_erf, whole vectors": ("gelu_erf", (RNG.standard_normal((3, 2, 16)),), ()),
}  # fmt: skip
LAYOUTS = (
    "C",
    "Fortran",
    "transposed",
    "axes swapped",
    "strided",
    "strided rows",
    "reversed",
    "broadcast",
    "one number",
)


def laid_out(cupy, host, layout):
    """(host, device): the same values, in a memory order. A broadcast array's are its first row or number, repeated."""
    if layout == "C" or not host.ndim:
        return host, cupy.asarray(host)
    if layout == "Fortran":
        return host, cupy.asarray(host.copy(order="F"))
    if layout == "transposed":
        return host, cupy.asarray(host.T.copy()).T
    if layout == "axes swapped":
        axes = (1, 0, *range(2, host.ndim)) if host.ndim > 1 else (0,)
        return host, cupy.asarray(host.transpose(axes).copy()).transpose(axes)
    if layout == "strided":
        return host, cupy.asarray(host.repeat(2, axis=-1))[..., ::2]
    if layout == "strided rows":
        return host, cupy.asarray(host.repeat(3, axis=0))[1::3]
    if layout == "reversed":
        return host, cupy.asarray(host[..., ::-1].copy())[..., ::-1]
    part = host[:1] if layout == "broadcast" else host[(slice(1),) * host.ndim]
    return np.broadcast_to(part, host.shape), cupy.broadcast_to(cupy.asarray(part.copy()), host.shape)


def on_host(array):
    return np.array(array.get() if hasattr(array, "get") else array, np.float64)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_memory_order_of_no_input_changes_a_number(cupy, case, dtype, data):
    name, inputs, constants = CASES[case]
    hosts, devices = [], []
    for x in inputs:
        floats = x.dtype.kind == "f"
        parameter = floats and name == "layer_norm" and x.ndim == 1  # which have kernels in float32 alone
        x = x.astype("float32" if parameter else dtype) if floats else x
        # One number repeated has no variance: the standardised weight is then its rounding, times 1e5.
        layouts = LAYOUTS[:-1] if name == "weight_standardisation" else LAYOUTS
        host, device = laid_out(cupy, x, data.draw(st.sampled_from(layouts)))
        hosts.append(host.astype(np.float64) if floats else host)
        devices.append(device)
    fused = fused_operations(cupy)
    wanted, wanted_cache = getattr(ops, f"{name}_forward")(*hosts, *constants)
    found, cache = getattr(fused, f"{name}_forward")(*devices, *constants)
    np.testing.assert_allclose(on_host(found), wanted, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])

    dy = np.array(np.random.default_rng(1).standard_normal(np.shape(wanted)), found.dtype)
    dy, device_dy = laid_out(cupy, dy, data.draw(st.sampled_from(LAYOUTS)))
    theirs = getattr(ops, f"{name}_backward")(dy.astype(np.float64), wanted_cache)
    ours = getattr(fused, f"{name}_backward")(device_dy, cache)
    assert isinstance(ours, tuple) == isinstance(theirs, tuple)
    ours, theirs = (x if isinstance(x, tuple) else (x,) for x in (ours, theirs))
    for gradient, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(on_host(gradient), wanted, rtol=TOLERANCE[dtype], atol=20 * TOLERANCE[dtype])
    np.testing.assert_array_equal(on_host(device_dy), dy.astype(np.float64))


def test_a_bias_in_another_format_than_the_scale_is_not_read_as_float32(cupy):
    x, device_x = draw(cupy, (3, 8), "float32", 0)
    (scale, device_scale), (bias, device_bias) = draw(cupy, 8, "float32", 1), draw(cupy, 8, "float64", 2)
    found, _ = fused_operations(cupy).layer_norm_forward(device_x, device_scale, device_bias)
    assert_close(found, ops.layer_norm_forward(x, scale, bias)[0], "float32")


@pytest.mark.parametrize("name", ["gelu_tanh", "gelu_erf", "layer_norm"])
@pytest.mark.parametrize("shape", [(8,), (1, 8), (2, 3, 8), (3, 8, 1), (6, 8)])
def test_an_output_gradient_of_another_shape_is_refused(cupy, name, shape):
    """A kernel would read beyond its end, or leave a part of it unread."""
    fused = fused_operations(cupy)
    (_, x), (_, parameter), (_, dy) = (draw(cupy, s, "float32", 0) for s in ((3, 8), (8,), shape))
    inputs = (x, parameter, parameter) if name == "layer_norm" else (x,)
    _, cache = getattr(fused, f"{name}_forward")(*inputs)
    with pytest.raises(ShapeError, match=r"dy .*\(3, 8\)|dy .* C=8"):
        getattr(fused, f"{name}_backward")(dy, cache)
