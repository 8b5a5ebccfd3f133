"""Carries weights and gradients between a model of ours and one in PyTorch."""

import torch


def with_our_weights(torch_model, model, layout):
    """The PyTorch model with the weights and dtype of ours.

    layout   (our name, config)  ->  PyTorch's name, and the functions that carry an array over and back
    """
    torch_model = torch_model.to(getattr(torch, str(model.parameters.dtype)))
    weights = dict(torch_model.named_parameters())
    with torch.no_grad():
        for name, array in model.parameters.to_numpy().items():
            theirs, carry, _ = layout(name, model.config)
            weights.pop(theirs).copy_(torch.from_numpy(carry(array).copy()))
    assert not weights, f"PyTorch's parameters {sorted(weights)} have no counterpart"
    return torch_model


def gradients_of(torch_model, layout, config, names):
    """The PyTorch model's gradients under our names and in our layout."""
    theirs = dict(torch_model.named_parameters())
    return {name: layout(name, config)[2](theirs[layout(name, config)[0]].grad.numpy()) for name in names}
