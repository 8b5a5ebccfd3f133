"""The published sizes, with random weights in timm's layout, give what timm's model gives for a photograph."""

import gc

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make peers")
from torch.nn import functional  # noqa: E402  after the check above

from tests.peers.torch_timm_mixer import timm_twin  # noqa: E402
from tests.shaken import shaken  # noqa: E402
from tinymixer import ops  # noqa: E402
from tinymixer.engines import choose_engine  # noqa: E402
from tinymixer.models import preset  # noqa: E402
from tinymixer.pretrained.export import foreign_arrays  # noqa: E402
from tinymixer.pretrained.naming import TIMM, rows  # noqa: E402
from tinymixer.pretrained.preprocessing import published  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.timeout(600)]


def photograph():
    """Something smooth with edges, 260 x 300, as a picture's pixels."""
    y, x = np.mgrid[:260, :300]
    waves = [np.sin(x / 17 + k) * np.cos(y / 23 - k) + 0.6 * ((x + 40 * k) // 60 % 2) for k in range(3)]
    return np.clip(128 + 60 * np.stack(waves, axis=-1), 0, 255).astype(np.uint8)


def relative(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def images_for(dtype):
    image = published("timm", 224)(photograph())
    return image[None].astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtype", "gelu", "bound"),
    [
        ("S/32", "float64", "erf", 1e-5),
        ("S/32", "float64", "tanh", 1e-5),
        ("S/32", "float32", "erf", 1e-4),
        ("S/32", "float32", "tanh", 1e-4),
        ("B/16", "float64", "erf", 1e-5),
        ("B/16", "float32", "erf", 1e-4),
        ("B/16", "float32", "tanh", 1e-4),
    ],
)
def test_logits_are_those_of_timm(name, dtype, gelu, bound):
    model = shaken(preset(name, gelu=gelu), dtype)
    twin = timm_twin(model.config, foreign_arrays(model, TIMM))
    images = images_for(dtype)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    ours, _ = model.forward(images)
    worst = relative(ours, theirs)
    print(f"{name} {dtype} {gelu}: {worst:.1e}")
    assert worst < bound
    if dtype == "float32":
        assert relative(choose_engine(model).logits(images), theirs) < bound
    del twin
    gc.collect()


@pytest.mark.parametrize("gelu", ["erf", "tanh"])
def test_all_gradients_of_s_32_are_those_of_timm(gelu):
    model = shaken(preset("S/32", gelu=gelu), "float64")
    arrays = foreign_arrays(model, TIMM)
    twin = timm_twin(model.config, arrays)
    images, labels = np.concatenate([images_for("float64"), -images_for("float64")]), np.array([3, 998])

    logits, cache = model.forward(images)
    loss, dlogits = ops.softmax_cross_entropy(logits, labels)
    model.backward(dlogits, cache)
    torch_loss = functional.cross_entropy(
        twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())), torch.from_numpy(labels)
    )
    torch_loss.backward()

    assert float(loss) == pytest.approx(torch_loss.item(), rel=1e-12)
    theirs = {name: parameter.grad.numpy() for name, parameter in twin.named_parameters()}
    largest = max(np.abs(gradient).max() for gradient in theirs.values())
    worst = {}
    for row in rows(model.config.num_blocks):
        ours = model.parameters.gradient(row.ours)
        expected = row.to_ours(theirs[row.timm], TIMM).reshape(ours.shape)
        # The token-mixing output bias has the gradient zero, up to rounding: held to the largest gradient instead.
        floor = 1e-6 * largest
        worst[row.ours] = np.abs(ours - expected).max() / max(np.abs(expected).max(), floor)
    print(f"S/32 {gelu}: worst gradient {max(worst, key=worst.get)} {max(worst.values()):.1e}")
    assert max(worst.values()) < 1e-6, worst
    assert len(worst) == len(theirs) == len(model.parameters)
