"""Replicas: the same values in the same memory, gradients and buffers of their own, for every kind of layer."""

import copy
import functools
import math
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layers.running_mean import Centred
from tinymixer import MixerConfig, MlpMixer, get_backend, ops
from tinymixer.errors import ConfigError
from tinymixer.layers import Layer, LayerNorm, Linear
from tinymixer.layers.replica import replica
from tinymixer.parameters import prefixed

SMALL = MixerConfig(image_size=8, patch_size=2, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7, num_blocks=2)


def scale(x):
    return 2 * x


class Odd(Layer):
    """Layers in lists, dicts and tuples, shared parameters, and views, constants, functions and a module."""

    def __init__(self, **keywords):
        specification = {
            **prefixed("a", Linear.specification(4, 4)),
            **prefixed("norm", LayerNorm.specification(4)),
            **prefixed("b", Linear.specification(4, 4)),
        }
        super().__init__(specification, **keywords)
        part = self.parameters.part
        shared = part("a")
        self.layers = [Linear(4, 4, parameters=shared), (LayerNorm(4, parameters=part("norm")),)]
        self.by_name = {"again": Linear(4, 4, parameters=shared), "b": Linear(4, 4, parameters=part("b"))}
        self.alias = self.by_name["b"]
        self.weight = self.parameters["b.weight"]
        self.bias_gradient = self.parameters.gradient("b.bias")[1:]
        self.constant = np.arange(4.0)
        self.calls = 0
        self.library, self.function, self.bound = math, scale, self.count
        self.partial = functools.partial(scale)

    def count(self):
        self.calls += 1

    def forward(self, x, train=False, rng=None):
        self.bound()
        caches = []
        for layer in (self.layers[0], self.layers[1][0], self.by_name["again"], self.alias):
            x, cache = layer.forward(self.partial(x) + self.constant)
            caches.append(cache)
        return x, caches

    def backward(self, dy, caches):
        layers = (self.layers[0], self.layers[1][0], self.by_name["again"], self.alias)
        for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
            dy = 2 * layer.backward(dy, cache)
        self.bias_gradient[...] += 1
        return dy


def passes(layer, x, seed=1):
    """(y, dx, a copy of the gradients) of a forward and a backward pass."""
    layer.parameters.zero_gradients()
    y, cache = layer.forward(x)
    dx = layer.backward(np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype), cache)
    return y, dx, layer.parameters.gradients.copy()


def mixer():
    model = MlpMixer(SMALL, dtype="float64", seed=1)
    model.head.parameters["weight"][...] = 0.1
    return model, np.random.default_rng(0).standard_normal((3, 8, 8, 3))


def odd():
    return Odd(dtype="float64"), np.random.default_rng(0).standard_normal((3, 4))


def centred():
    return Centred(4, 3, 2, dtype="float64"), np.random.default_rng(0).standard_normal((3, 4))


@pytest.mark.parametrize("make", [mixer, odd, centred])
def test_a_replica_computes_the_same_and_writes_into_its_own_gradients_only(make):
    layer, x = make()
    expected = passes(layer, x)
    layer.parameters.gradients[...] = 5
    copied_layer = replica(layer)
    assert type(copied_layer) is type(layer)
    assert np.shares_memory(copied_layer.parameters.values, layer.parameters.values)
    for got, wanted in zip(passes(copied_layer, x), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert (layer.parameters.gradients == 5).all()
    layer.parameters.values[...] *= 1.5  # an update in place is the replica's, too
    for got, wanted in zip(passes(copied_layer, x), passes(layer, x), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_everything_a_layer_keeps_is_kept_apart_or_shared_as_it_must_be():
    layer, x = odd()
    copied_layer = replica(layer)
    copied_layer.forward(x)
    assert (layer.calls, copied_layer.calls) == (0, 1)
    assert copied_layer.alias is copied_layer.by_name["b"]
    assert copied_layer.layers[0].parameters is copied_layer.by_name["again"].parameters
    assert np.shares_memory(copied_layer.weight, layer.weight)
    assert np.shares_memory(copied_layer.bias_gradient, copied_layer.parameters.gradient("b.bias"))
    assert not np.shares_memory(copied_layer.bias_gradient, layer.bias_gradient)
    assert not np.shares_memory(copied_layer.constant, layer.constant)
    assert copied_layer.library is math
    assert copied_layer.function is scale
    assert copied_layer.layers[1][0].parameters.prefix == "norm"


def test_a_replica_takes_no_memory_for_gradients_until_they_are_asked_for():
    model, images = mixer()
    copied_layer = replica(model)
    copied_layer.forward(images)
    assert not copied_layer.parameters.gradients_allocated
    passes(copied_layer, images)
    assert not model.parameters.gradients_allocated


def test_a_replica_of_a_part_is_a_part():
    model, _ = mixer()
    block = replica(model.blocks[1])
    assert block.parameters.prefix == "blocks.1"
    assert block.token_mixing.parameters.prefix == "blocks.1.token_mixing"
    block.token_mixing.parameters.gradient("bias1")[...] = 3
    assert np.count_nonzero(block.parameters.gradients) == 5
    assert not model.parameters.gradients.any()


def test_buffers_are_copied_as_they_are():
    layer, x = centred()
    layer.update_buffers(layer.forward(x, train=True)[1])
    copied_layer = replica(layer)
    np.testing.assert_array_equal(copied_layer.parameters.buffers, layer.parameters.buffers)
    copied_layer.update_buffers(copied_layer.forward(x, train=True)[1])
    assert not np.array_equal(copied_layer.parameters.buffers, layer.parameters.buffers)
    copied_layer.parameters.take_buffers(layer.parameters)
    np.testing.assert_array_equal(copied_layer.mean.parameters.buffer("mean"), layer.mean.parameters.buffer("mean"))


def test_operations_and_the_backend_are_never_copied():
    """A faster operation may hold what cannot be copied: a device, compiled kernels."""

    class Device:
        def __deepcopy__(self, memo):
            raise TypeError("a device cannot be copied")

        def layer_norm_forward(self, *arguments):
            return ops.layer_norm_forward(*arguments)

        def gelu(self, x):
            return ops.gelu_tanh_forward(x)

    device = Device()
    replacements = {
        "layer_norm_forward": device.layer_norm_forward,
        "gelu_tanh_forward": functools.partial(device.gelu),
    }
    fast = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__} | replacements)
    model = MlpMixer(SMALL, backend=replace(get_backend("numpy"), ops=fast))
    for copied in (replica(model), copy.deepcopy(model)):
        assert copied.backend is model.backend
        assert copied.blocks[0].token_mixing._gelu_forward is replacements["gelu_tanh_forward"]


def test_a_deep_copy_shares_nothing_and_holds_together():
    model, images = mixer()
    expected = passes(model, images)
    copied = copy.deepcopy(model)
    np.testing.assert_array_equal(copied.parameters.gradients, model.parameters.gradients)
    copied.parameters.values[...] *= 2
    for got, wanted in zip(passes(model, images), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert np.shares_memory(copied.head.parameters["weight"], copied.parameters.values)
    assert np.shares_memory(copied.head.parameters.gradient("weight"), copied.parameters.gradients)
    assert copy.copy(model.backend) is model.backend


class WithLock(Linear):
    def __init__(self):
        super().__init__(3, 3)
        self.lock = threading.Lock()


class WithClosure(Linear):
    def __init__(self):
        super().__init__(3, 3)
        self.add = lambda dy: self.parameters.gradient("bias").__iadd__(dy)


class WithGradientClosure(Linear):
    def __init__(self):
        super().__init__(3, 3)
        gradient = self.parameters.gradient("bias")
        self.add = lambda dy: gradient.__iadd__(dy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (WithLock, "WithLock cannot be copied for several threads .*lock.*: keep locks, open files"),
        (WithClosure, "WithClosure cannot be copied for several threads: it keeps a function that refers to the layer"),
        (WithGradientClosure, "it keeps a function that refers to the layer"),
    ],
)
def test_what_cannot_be_copied_is_refused_in_a_sentence(make, message):
    with pytest.raises(ConfigError, match=message):
        replica(make())


@settings(deadline=None, max_examples=20)
@given(threads=st.integers(2, 4), count=st.integers(4, 9))
def test_slices_on_threads_add_up_to_the_whole_batch(threads, count):
    model, _ = mixer()
    images = np.random.default_rng(0).standard_normal((count, 8, 8, 3))
    dlogits = np.random.default_rng(1).standard_normal((count, 10))
    _, cache = model.forward(images)
    model.backward(dlogits, cache)
    whole = model.parameters.gradients.copy()
    replicas = [replica(model) for _ in range(threads)]

    def work(index):
        _, cache = replicas[index].forward(images[index::threads])
        replicas[index].backward(dlogits[index::threads], cache)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    summed = sum(copied_layer.parameters.gradients for copied_layer in replicas)
    np.testing.assert_allclose(summed, whole, rtol=1e-10, atol=1e-12)
