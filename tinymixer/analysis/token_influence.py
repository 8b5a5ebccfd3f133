"""Measures how strongly each input token of some blocks influences each output token, and over what distance."""

from collections.abc import Sequence

import numpy as np

from tinymixer.layers import MixerBlock


def token_influence(
    blocks: Sequence[MixerBlock], x: np.ndarray, generator: np.random.Generator, tokens: Sequence[int] | None = None
) -> np.ndarray:
    """Squared derivatives of the output tokens of some blocks with respect to their input tokens.

    x (S, B, C); tokens: numbers of the output tokens, None for all  ->  (len(tokens), S), mean over images

        influence[s, t] = mean_b sum_ij (d y[s, b, i] / d x[t, b, j])^2

    The sum over the output channels i is estimated with one draw of random signs v: a backward pass with dy = v gives
    sum_i v_i dy_i/dx_j, and the expectation of its square is that sum. The gradients of the parameters are restored.
    """
    chosen = range(x.shape[0]) if tokens is None else tokens
    before = [block.parameters.gradients.copy() for block in blocks]
    y, caches = x, []
    for block in blocks:
        y, cache = block.forward(y)  # (S, B, C)
        caches.append(cache)
    influence = np.zeros((len(chosen), x.shape[0]))
    for row, token in enumerate(chosen):
        dx = np.zeros_like(y)  # (S, B, C)
        dx[token] = generator.choice(np.array([-1, 1], y.dtype), size=y.shape[1:])
        for block, cache in zip(reversed(blocks), reversed(caches), strict=True):
            dx = block.backward(dx, cache)  # (S, B, C)
        influence[row] = np.mean(np.sum(dx * dx, axis=2), axis=1)
    for block, gradients in zip(blocks, before, strict=True):
        block.parameters.gradients[...] = gradients
    return influence


def grid_distances(side: int) -> np.ndarray:
    """Distances between the tokens of a square grid, in patches: (S, S) with S = side * side."""
    rows, columns = np.divmod(np.arange(side * side), side)  # (S,) each
    return np.hypot(rows[:, None] - rows, columns[:, None] - columns)
