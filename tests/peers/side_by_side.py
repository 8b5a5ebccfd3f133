"""The same weights, images and steps for a model of ours and for one in PyTorch."""

import numpy as np
import torch
from torch.nn import functional

from tinymixer import ops


def batch(rng, config, dtype, count=16):
    """Random images (B, height, width, in_channels) and labels (B,)."""
    shape = (count, config.image_size, config.image_size, config.in_channels)
    return rng.standard_normal(shape).astype(dtype), rng.integers(0, config.num_classes, count)


def to_torch(images):
    """images (B, height, width, in_channels)  ->  tensor (B, in_channels, height, width)"""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def relative(ours, theirs, floor=0.0):
    """Largest deviation relative to the largest entry of the tensor (or to the floor, for a tensor that is zero)."""
    return np.abs(ours - theirs).max() / max(np.abs(theirs).max(), floor)


def worst_loss_of_twenty_steps(name, model, torch_model, ours, theirs, batches):
    """Take 20 steps with both optimizers, at a learning rate of 0.05: the largest relative difference of the losses."""
    worst = 0.0
    for step in range(20):
        images, labels = batches[step % len(batches)]
        model.parameters.zero_gradients()
        logits, cache = model.forward(images)
        loss, dlogits = ops.softmax_cross_entropy(logits, labels)
        model.backward(dlogits, cache)
        ours.step(0.05)

        theirs.zero_grad()
        torch_loss = functional.cross_entropy(torch_model(to_torch(images)), torch.from_numpy(labels))
        torch_loss.backward()
        theirs.step()
        worst = max(worst, abs(float(loss) / torch_loss.item() - 1))
    print(f"{name}: worst loss of 20 steps {worst:.1e}, last loss {float(loss):.3f}")
    return worst
