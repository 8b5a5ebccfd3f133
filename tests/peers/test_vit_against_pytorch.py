"""Attention's operations and the Vision Transformer: PyTorch's values, gradients and updates."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make peers")
from torch.nn import functional  # noqa: E402  after the check above

from tests.peers.side_by_side import (  # noqa: E402
    batch,
    relative,
    to_torch,
    worst_loss_of_twenty_steps,
)
from tests.peers.torch_vit import layout, torch_vit_of  # noqa: E402
from tests.peers.torch_weights import gradients_of  # noqa: E402
from tinymixer import ops  # noqa: E402
from tinymixer.models import VisionTransformer, ViTConfig  # noqa: E402
from tinymixer.optim import SGD  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.timeout(600)]

RNG = np.random.default_rng(0)
CONFIGS = {
    "class token": ViTConfig(image_size=8, patch_size=2, hidden_dim=24, heads=3, channels_mlp_dim=40, num_blocks=3),
    "mean, erf": ViTConfig(
        image_size=9, in_channels=1, patch_size=3, hidden_dim=20, heads=5, num_blocks=2, pool="mean", gelu="erf"
    ),
}


def heads_first(x, heads):
    """x (S, B, C)  ->  (B, heads, S, D)"""
    tokens, images, channels = x.shape
    return x.reshape(tokens, images, heads, channels // heads).permute(1, 2, 0, 3)


def attention_of_pytorch(qkv, heads=2):
    q, k, v = (heads_first(part, heads) for part in qkv.chunk(3, dim=-1))
    return functional.scaled_dot_product_attention(q, k, v).permute(2, 0, 1, 3).flatten(2)


def with_class_token(x, token):
    return torch.cat([token.expand(1, x.shape[1], -1), x])


@pytest.mark.parametrize(
    ("name", "shapes", "constants", "oracle"),
    [
        ("softmax", [(3, 4, 7)], (), lambda x: functional.softmax(x, dim=-1)),
        ("self_attention", [(9, 5, 24)], (2,), attention_of_pytorch),
        ("position_embedding", [(6, 3, 4), (6, 4)], (), lambda x, embedding: x + embedding[:, None]),
        ("prepend_class_token", [(6, 3, 4), (4,)], (), with_class_token),
        ("take_class_token", [(6, 3, 4)], (), lambda x: x[0]),
    ],
)
def test_values_and_gradients_of_an_operation_agree(name, shapes, constants, oracle):
    inputs = [3 * RNG.standard_normal(shape) for shape in shapes]
    y, cache = getattr(ops, f"{name}_forward")(*inputs, *constants)
    theirs = [torch.from_numpy(value).requires_grad_() for value in inputs]
    torch_y = oracle(*theirs)
    dy = RNG.standard_normal(y.shape)
    torch_y.backward(torch.from_numpy(dy))
    gradients = getattr(ops, f"{name}_backward")(dy, cache)
    assert relative(y, torch_y.detach().numpy()) < 1e-12
    for ours, value in zip(gradients if isinstance(gradients, tuple) else (gradients,), theirs, strict=True):
        assert relative(ours, value.grad.numpy()) < 1e-12


@pytest.mark.parametrize("name", CONFIGS)
def test_every_gradient_agrees_to_1e_9_in_float64(name):
    model = VisionTransformer(CONFIGS[name], dtype="float64", seed=0)
    for parameter in model.parameters:
        model.parameters[parameter][...] += 0.1 * RNG.standard_normal(model.parameters.shape(parameter))
    torch_model, (images, labels) = torch_vit_of(model), batch(RNG, model.config, "float64")
    logits, cache = model.forward(images)
    loss, dlogits = ops.softmax_cross_entropy(logits, labels, 0.1)
    dimages = model.backward(dlogits, cache)

    torch_images = to_torch(images).requires_grad_()
    torch_loss = functional.cross_entropy(torch_model(torch_images), torch.from_numpy(labels), label_smoothing=0.1)
    torch_loss.backward()
    assert float(loss) == pytest.approx(torch_loss.item(), rel=1e-12)
    assert relative(dimages, torch_images.grad.numpy().transpose(0, 2, 3, 1)) < 1e-9
    # The bias of the keys adds the same to all scores of a row, which softmax takes out again: its true gradient is
    # zero. It is a third of bias_qkv, so the whole vector is compared.
    expected = gradients_of(torch_model, layout, model.config, model.parameters.names)
    worst = {key: relative(model.parameters.gradient(key), expected[key]) for key in expected}
    print(f"{name}: worst gradient {max(worst, key=worst.get)} {max(worst.values()):.1e}")
    assert max(worst.values()) < 1e-9, worst


@pytest.mark.parametrize("name", CONFIGS)
def test_twenty_steps_of_sgd_agree_to_1e_4_in_float32(name):
    model = VisionTransformer(CONFIGS[name], seed=1)
    torch_model = torch_vit_of(model)
    ours = SGD(model.parameters, momentum=0.9, weight_decay=1e-3, decay="all")
    theirs = torch.optim.SGD(torch_model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    batches = [batch(RNG, model.config, "float32", 32) for _ in range(4)]
    assert worst_loss_of_twenty_steps(name, model, torch_model, ours, theirs, batches) < 1e-4
