"""Convolutions, poolings, norms, relative attention and networks of them: PyTorch's values, gradients and steps."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make peers")
from torch.nn import functional as F  # noqa: E402, N812  after the check above

from tests.peers.torch_convnets import TWINS, attend, to_ours, to_torch  # noqa: E402
from tinymixer import ops  # noqa: E402
from tinymixer.models import config_class, make_model  # noqa: E402
from tinymixer.optim import SGD  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.timeout(600)]

RNG = np.random.default_rng(0)
normal = RNG.standard_normal


@pytest.fixture(autouse=True)
def one_thread():
    """Arrays this small gain nothing from PyTorch's threads, which wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images_first(x):  # (B, channels, height, width)
    return x.permute(0, 3, 1, 2)


def channels_last(y):
    return y.permute(0, 2, 3, 1)


def standardised(weight, eps):
    variance, mean = torch.var_mean(weight, dim=(0, 1, 2), unbiased=False)
    return (weight - mean) / torch.sqrt(variance + eps)


def convolved(x, weight, bias, stride, padding):
    return channels_last(F.conv2d(images_first(x), weight.permute(3, 2, 0, 1), bias, stride, padding))


def attended(qkv, r_height, r_width, heads):
    return channels_last(attend(images_first(qkv), r_height, r_width, heads))


X = normal((3, 7, 6, 4))
TIES = np.maximum(X, 0)
OPERATIONS = {
    "convolution": ((X, normal((3, 3, 4, 5)), normal(5)), (2, 1), convolved),
    "convolution, stride 1": ((X, normal((3, 2, 4, 5)), normal(5)), (1, 0), convolved),
    "max_pooling": ((X,), (3, 2, 1), lambda x, *sizes: channels_last(F.max_pool2d(images_first(x), *sizes))),
    "max_pooling, ties": ((TIES,), (3, 2, 1), lambda x, *sizes: channels_last(F.max_pool2d(images_first(x), *sizes))),
    "average_pooling": ((X,), (3, 2), lambda x, *sizes: channels_last(F.avg_pool2d(images_first(x), *sizes))),
    "average_pooling, overhang": (
        (X,),
        (2, 2, True),
        lambda x, *sizes: channels_last(F.avg_pool2d(images_first(x), 2, ceil_mode=True, count_include_pad=False)),
    ),
    "global_average_pooling": ((X,), (), lambda x: x.mean(dim=(1, 2))),
    "relu": ((TIES,), (), F.relu),
    "batch_norm": (
        (X, normal(4), normal(4)),
        (1e-5,),
        lambda x, scale, bias, eps: channels_last(F.batch_norm(images_first(x), None, None, scale, bias, True, 0, eps)),
    ),
    "group_norm": (
        (X, normal(4), normal(4)),
        (2, 1e-5),
        lambda x, scale, bias, groups, eps: channels_last(F.group_norm(images_first(x), groups, scale, bias, eps)),
    ),
    "relative_attention": ((normal((3, 3, 4, 24)), normal((5, 4)), normal((7, 4))), (2,), attended),
    "weight_standardisation": ((normal((3, 3, 4, 5)),), (1e-10,), standardised),
    "scaled_weight_standardisation": (
        (normal((3, 3, 4, 5)), normal(5)),
        (1e-6,),
        lambda weight, gain, eps: standardised(weight, eps) * gain / 6,
    ),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_an_operation_has_pytorchs_values_and_gradients(case):
    inputs, constants, oracle = OPERATIONS[case]
    name = case.partition(",")[0]
    y, cache = getattr(ops, f"{name}_forward")(*inputs, *constants)
    tensors = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
    expected = oracle(*tensors, *constants)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-9, atol=1e-11)
    dy = normal(y.shape)
    expected.backward(torch.from_numpy(dy))
    gradients = getattr(ops, f"{name}_backward")(dy, cache)
    for ours, tensor in zip(gradients if isinstance(gradients, tuple) else (gradients,), tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-6, atol=1e-10)


SIZES = {"image_size": 16, "width": 8, "depths": "1-2-1"}
CASES = [(name, {}) for name in TWINS] + [
    ("resnet", {"block": "bottleneck", "stem": "imagenet", "image_size": 32}),
    ("bit", {"block": "bottleneck", "groups": 2}),
    ("nf_resnet", {"block": "bottleneck", "stem": "imagenet", "image_size": 32}),
    ("botnet", {"block": "basic", "stem": "imagenet", "image_size": 20, "heads": 2}),  # sides 20, 5, 3, 2
]


def pair(name, more, dtype, head=True):
    model = make_model(name, config_class(name)(**SIZES | more), dtype=dtype, seed=1)
    for key in model.parameters:
        if head or not key.startswith("head"):  # zero biases and a zero head would hide mistakes
            model.parameters[key][...] += 0.1 * RNG.standard_normal(model.parameters.shape(key))
    return model, TWINS[name](model)


def batch(model, dtype, count=8):
    side = model.config.image_size
    return normal((count, side, side, 3)).astype(dtype), RNG.integers(0, 10, count)


@pytest.mark.parametrize(("name", "more"), CASES)
def test_every_gradient_of_a_network_agrees_and_batch_norms_statistics(name, more):
    model, twin = pair(name, more, "float64")
    pixels, labels = batch(model, "float64")
    logits, cache = model.forward(pixels, train=True)
    loss, dlogits = ops.softmax_cross_entropy(logits, labels)
    dimages = model.backward(dlogits, cache)
    model.update_buffers(cache)
    images = torch.from_numpy(pixels).requires_grad_()
    expected = F.cross_entropy(twin.logits(images), torch.from_numpy(labels))
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
    np.testing.assert_allclose(dimages, images.grad.numpy(), rtol=1e-6, atol=1e-6 * np.abs(dimages).max())
    largest = max(weight.grad.abs().max().item() for weight in twin.weights.values())
    for key, weight in twin.weights.items():
        theirs = to_ours(weight.grad)
        floor = max(np.abs(theirs).max(), 1e-6 * largest)  # a weight before a norm may have a gradient of zero
        assert np.abs(model.parameters.gradient(key) - theirs).max() < 1e-6 * floor, key
    assert set(twin.buffers) == set(model.parameters.buffer_names)
    for key, found in twin.buffers.items():
        np.testing.assert_allclose(model.parameters.buffer(key), found.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TWINS)
def test_twenty_steps_of_sgd_agree_to_1e_4(name):
    model, twin = pair(name, {"image_size": 8}, "float64", head=False)
    ours = SGD(model.parameters, momentum=0.9, weight_decay=1e-3, decay="all")
    theirs = torch.optim.SGD(twin.weights.values(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    batches = [batch(model, "float64", 16) for _ in range(4)]
    for step in range(20):
        pixels, labels = batches[step % 4]
        model.parameters.zero_gradients()
        logits, cache = model.forward(pixels, train=True)
        loss, dlogits = ops.softmax_cross_entropy(logits, labels)
        model.backward(dlogits, cache)
        ours.step(0.05)
        model.update_buffers(cache)
        theirs.zero_grad()
        expected = F.cross_entropy(twin.logits(torch.from_numpy(pixels)), torch.from_numpy(labels))
        expected.backward()
        theirs.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-4), step
    for key, found in twin.buffers.items():
        np.testing.assert_allclose(model.parameters.buffer(key), found.numpy(), rtol=1e-4, atol=1e-6)
    print(f"{name}: last loss {float(loss):.4f} and {expected.item():.4f}")


def test_kept_statistics_give_pytorchs_predictions():
    x, vectors, statistics = X, [normal(4), normal(4)], [normal(4), normal(4) ** 2]
    y, _ = ops.batch_norm_inference_forward(x, *vectors, *statistics)
    expected = F.batch_norm(
        images_first(torch.from_numpy(x)), *map(to_torch, statistics), *map(to_torch, vectors), False, 0, 1e-5
    )
    np.testing.assert_allclose(y, channels_last(expected).numpy(), rtol=1e-10)
