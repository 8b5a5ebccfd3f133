"""Where one thread adds up its gradients, and how the threads' are brought together."""

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
    """A flat vector of a thread's own, laid out like the parameters: its first slice writes, later ones add.

    token_bias1 (L, DS, 1, C) stands beside it, the gradients of the blocks' first token-mixing biases as they are
    folded. top has the views outside the blocks by name, blocks[i] those of a block and its "token_bias1".
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
    """The accumulators' gradients of some blocks (a slice), in the accumulators' order, unfolded, to the model's."""
    total, *others = accumulators
    mine, bias1 = stack.rows(total.vector)[blocks], total.token_bias1[blocks]
    for other in others:
        np.add(mine, stack.rows(other.vector)[blocks], mine)
        np.add(bias1, other.token_bias1[blocks], bias1)
    unfold_gradients(stack.views(parameters.values, blocks), stack.views(total.vector, blocks), bias1, gelu)
    gradients = stack.rows(parameters.gradients)[blocks]
    np.add(gradients, mine, gradients)


def add_up_stem_and_head(accumulators: Sequence[GradientAccumulator], parameters: Parameters) -> None:
    """The same for what is outside the blocks. The stem's were made by a stream that is centred, see folding.py."""
    total, *others = accumulators
    for name, view in total.top.items():
        for other in others:
            np.add(view, other.top[name], view)
        if name.startswith("stem."):
            view -= np.mean(view, axis=-1, keepdims=True)
        gradient = parameters.gradient(name)
        np.add(gradient, view, gradient)
