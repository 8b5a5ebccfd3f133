"""Adds up the gradients of one thread's slices, and then those of all threads."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinymixer.engines.cpu.folding import unfold_gradients
from tinymixer.engines.cpu.gelu import GeluForm
from tinymixer.engines.cpu.stack import BlockStack
from tinymixer.models.mlp_mixer import MlpMixer
from tinymixer.parameters import Parameters

Views = dict[str, np.ndarray]  # by name


class GradientAccumulator:
    """A thread's own gradients, a flat vector laid out like the parameters: the first slice writes, later ones add.

    vector (size,)              the gradients; those of folded weights where the weights are folded (`folding.py`)
    token_bias1 (L, DS, 1, C)   the gradients of the folded first biases of token mixing, which have another shape
    top                         name -> view, for the parameters outside the blocks
    blocks                      for each block, name -> view, "token_bias1" among them
    """

    def __init__(self, model: MlpMixer) -> None:
        parameters, config = model.parameters, model.config
        self.vector = np.zeros_like(parameters.values)
        views = parameters.views_of(self.vector)
        bias_shape = config.num_blocks, config.tokens_mlp_dim, 1, config.hidden_dim
        self.token_bias1 = np.zeros(bias_shape, parameters.dtype)
        self.top = {name: view for name, view in views.items() if not name.startswith("blocks.")}
        self.blocks = [
            {name: views[f"blocks.{i}.{name}"] for name in block.parameters} | {"token_bias1": self.token_bias1[i]}
            for i, block in enumerate(model.blocks)
        ]
        largest = max(view.size for block in (self.top, *self.blocks) for view in block.values())
        self._partial = np.empty(largest, parameters.dtype)
        self.empty = True

    def product(self, multiply: Callable[..., Any], a: np.ndarray, b: np.ndarray, view: np.ndarray) -> None:
        """view += a times b, by a function like np.matmul"""
        if self.empty:
            multiply(a, b, view)
        else:
            partial = self._partial[: view.size].reshape(view.shape)
            multiply(a, b, partial)
            np.add(view, partial, view)


def add_up_blocks(
    accumulators: Sequence[GradientAccumulator],
    parameters: Parameters,
    stack: BlockStack,
    blocks: slice,
    gelu: GeluForm,
) -> None:
    """Add the accumulators' gradients of some blocks (a slice), in order and unfolded, to the model's."""
    total, *others = accumulators
    rows, bias1 = stack.rows(total.vector)[blocks], total.token_bias1[blocks]
    for other in others:
        np.add(rows, stack.rows(other.vector)[blocks], rows)
        np.add(bias1, other.token_bias1[blocks], bias1)
    unfold_gradients(stack.views(parameters.values, blocks), stack.views(total.vector, blocks), bias1, gelu)
    gradients = stack.rows(parameters.gradients)[blocks]
    np.add(gradients, rows, gradients)


def add_up_stem_and_head(accumulators: Sequence[GradientAccumulator], parameters: Parameters) -> None:
    """The same outside the blocks. The stem's weights are folded: centring its gradients unfolds them."""
    total, *others = accumulators
    for name, view in total.top.items():
        for other in others:
            np.add(view, other.top[name], view)
        if name.startswith("stem."):
            view -= np.mean(view, axis=-1, keepdims=True)
        gradient = parameters.gradient(name)
        np.add(gradient, view, gradient)
