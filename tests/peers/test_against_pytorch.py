"""The same weights and data in PyTorch give the same losses, gradients and updates."""

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
from tests.peers.torch_mixer import layout, torch_mixer_of  # noqa: E402
from tests.peers.torch_weights import gradients_of  # noqa: E402
from tests.shaken import shaken  # noqa: E402
from tinymixer import MixerConfig, MlpMixer, ops  # noqa: E402
from tinymixer.optim import SGD, AdamW  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.timeout(600)]

RNG = np.random.default_rng(0)
CONFIGS = {
    "digits-like": MixerConfig(image_size=8, in_channels=1, patch_size=2, hidden_dim=32, num_blocks=3),
    "erf, oblong": MixerConfig(image_size=12, patch_size=3, hidden_dim=20, tokens_mlp_dim=9, num_blocks=2, gelu="erf"),
    "overlap": MixerConfig(image_size=12, patch_size=3, overlap=2, hidden_dim=20, tokens_mlp_dim=9, num_blocks=2),
    "grouped": MixerConfig(
        image_size=12, patch_size=3, grouped_channels=4, hidden_dim=20, tokens_mlp_dim=9, num_blocks=2
    ),
    "nano": MixerConfig(),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_every_gradient_agrees_to_1e_9_in_float64(name, label_smoothing):
    model = shaken(CONFIGS[name], "float64")
    torch_model = torch_mixer_of(model)
    images, labels = batch(RNG, model.config, "float64")

    logits, cache = model.forward(images)
    loss, dlogits = ops.softmax_cross_entropy(logits, labels, label_smoothing)
    dimages = model.backward(dlogits, cache)

    torch_images = to_torch(images).requires_grad_()
    torch_loss = functional.cross_entropy(
        torch_model(torch_images), torch.from_numpy(labels), label_smoothing=label_smoothing
    )
    torch_loss.backward()

    assert float(loss) == pytest.approx(torch_loss.item(), rel=1e-12)
    assert relative(dimages, torch_images.grad.numpy().transpose(0, 2, 3, 1)) < 1e-9
    expected = gradients_of(torch_model, layout, model.config, model.parameters.names)
    # The token-mixing output bias is the same for all channels, so every later LayerNorm takes it out again: its true
    # gradient is zero, and what both libraries have there is rounding, which is held to the largest gradient instead.
    floor = 1e-6 * max(np.abs(gradient).max() for gradient in expected.values())
    worst = {key: relative(model.parameters.gradient(key), expected[key], floor) for key in expected}
    print(f"{name}: worst gradient {max(worst, key=worst.get)} {max(worst.values()):.1e}")
    assert max(worst.values()) < 1e-9, worst


@pytest.mark.parametrize("name", ["digits-like", "nano"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_twenty_steps_of_sgd_agree_to_1e_4_in_float32(name, nesterov):
    model = MlpMixer(CONFIGS[name], seed=1)
    torch_model = torch_mixer_of(model)
    ours = SGD(model.parameters, momentum=0.9, nesterov=nesterov, weight_decay=1e-3, decay="all")
    theirs = torch.optim.SGD(torch_model.parameters(), lr=0.05, momentum=0.9, nesterov=nesterov, weight_decay=1e-3)
    batches = [batch(RNG, model.config, "float32", 32) for _ in range(4)]
    assert worst_loss_of_twenty_steps(name, model, torch_model, ours, theirs, batches) < 1e-4


@pytest.mark.parametrize("decay", ["all", "none"])
def test_adamw_and_clipping_agree_with_pytorch(decay):
    model = shaken(CONFIGS["digits-like"], "float64")
    torch_model = torch_mixer_of(model)
    weight_decay = 0.05 if decay == "all" else 0.0
    ours = AdamW(model.parameters, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05, decay=decay, clip_norm=0.5)
    theirs = torch.optim.AdamW(
        torch_model.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=weight_decay
    )
    for _ in range(10):
        images, labels = batch(RNG, model.config, "float64")
        model.parameters.zero_gradients()
        logits, cache = model.forward(images)
        loss, dlogits = ops.softmax_cross_entropy(logits, labels)
        model.backward(dlogits, cache)
        norm = ours.step(1e-3)

        theirs.zero_grad()
        torch_loss = functional.cross_entropy(torch_model(to_torch(images)), torch.from_numpy(labels))
        torch_loss.backward()
        torch_norm = torch.nn.utils.clip_grad_norm_(torch_model.parameters(), 0.5)
        theirs.step()
        # PyTorch divides by norm + 1e-6
        assert float(norm) == pytest.approx(torch_norm.item(), rel=1e-9)
        assert float(loss) == pytest.approx(torch_loss.item(), rel=1e-5)
    weights = {name: tensor.detach().numpy() for name, tensor in torch_mixer_of(model).named_parameters()}
    for name, tensor in torch_model.named_parameters():
        np.testing.assert_allclose(weights[name], tensor.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("forward", "backward", "oracle"),
    [
        (ops.gelu_tanh_forward, ops.gelu_tanh_backward, lambda x: functional.gelu(x, approximate="tanh")),
        (ops.gelu_erf_forward, ops.gelu_erf_backward, functional.gelu),
    ],
)
def test_gelu_agrees_far_into_its_tails(forward, backward, oracle):
    x = np.linspace(-30, 30, 4001)
    y, cache = forward(x)
    dx = backward(np.ones_like(x), cache)
    torch_x = torch.from_numpy(x).requires_grad_()
    torch_y = oracle(torch_x)
    torch_y.sum().backward()
    np.testing.assert_allclose(y, torch_y.detach().numpy(), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(dx, torch_x.grad.numpy(), rtol=1e-9, atol=1e-13)
