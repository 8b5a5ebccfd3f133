"""Sharpness-aware minimisation around PyTorch's own optimizers, as PyTorch users write it, gives our weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make peers")
from torch.nn import functional  # noqa: E402  after the check above

from tests.peers.torch_mixer import torch_mixer_of  # noqa: E402
from tests.shaken import shaken  # noqa: E402
from tinymixer import MixerConfig  # noqa: E402
from tinymixer.engines import EngineOptions, choose_engine  # noqa: E402
from tinymixer.optim import SGD, AdamW  # noqa: E402
from tinymixer.training import train_step  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.timeout(600)]

CONFIG = MixerConfig(image_size=8, in_channels=1, patch_size=2, hidden_dim=16, num_blocks=2)
RULES = {
    "sgd": (
        lambda parameters: SGD(parameters, momentum=0.9, clip_norm=0.5),
        lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    ),
    "adamw": (
        lambda parameters: AdamW(parameters, eps=1e-3, weight_decay=0.05, decay="all", clip_norm=0.5),
        lambda parameters: torch.optim.AdamW(parameters, lr=0.05, eps=1e-3, weight_decay=0.05),
    ),
}


def sam_step(model, optimizer, loss_of, rho):
    """loss_of() at the weights; the update by the gradient at the perturbed ones, clipped to 0.5."""
    optimizer.zero_grad()
    loss = loss_of()
    loss.backward()
    with torch.no_grad():
        norm = torch.stack([weight.grad.norm() for weight in model.parameters()]).norm()
        moved = [(weight, rho * weight.grad / norm) for weight in model.parameters()]
        for weight, step in moved:
            weight.add_(step)
    optimizer.zero_grad()
    loss_of().backward()
    with torch.no_grad():
        for weight, step in moved:
            weight.sub_(step)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize(("rule", "engine"), [("sgd", "cpu"), ("adamw", "reference")])
def test_five_steps_give_pytorchs_weights_in_float64(rule, engine):
    model = shaken(CONFIG, "float64")
    theirs = torch_mixer_of(model)
    ours, their_rule = RULES[rule][0](model.parameters), RULES[rule][1](theirs.parameters())
    computing = choose_engine(model, EngineOptions(engine=engine, threads=2, slice_images=3, dtype="float64"))
    generator = np.random.default_rng(1)
    for _ in range(5):
        images, labels = generator.standard_normal((16, 8, 8, 1)), generator.integers(0, 10, 16)
        x, y = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels)
        expected = sam_step(
            theirs, their_rule, lambda x=x, y=y: functional.cross_entropy(theirs(x), y, label_smoothing=0.1), 0.1
        )
        found = train_step(computing, ours, images, labels, 0.05, 0.1, micro_batches=3, sam_rho=0.1)
        assert found.loss == pytest.approx(expected, rel=1e-10)
    expected = dict(theirs.named_parameters())
    for name, tensor in torch_mixer_of(model).named_parameters():
        np.testing.assert_allclose(tensor.detach(), expected[name].detach(), rtol=1e-9, atol=1e-10)
