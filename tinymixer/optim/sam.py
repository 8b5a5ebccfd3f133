"""Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412): the gradient where the loss nearby is largest.

A model generalises better where the loss stays low in a whole neighbourhood of the weights. So the aim is not the loss
L(w) itself but the largest one within the distance rho (their equation 1):

    minimise over w    max L(w + e)  over all e with |e| <= rho

To first order, L(w + e) = L(w) + <gradient, e>. Among all e of that length the one along the gradient makes the inner
product largest (their equation 2, with p = 2):

    e = rho * gradient / |gradient|

The gradient of L(w + e(w)) with respect to w would bring second derivatives of L, through e(w). They are left out
(their equation 3), which leaves the ordinary gradient, taken at another place:

    gradient of the maximum, about = gradient of L at w + e

A step then is: the gradient at w; the weights moved to w + e; the gradient there; the weights back at w; and the
optimizer's own update with the second gradient (their algorithm 1). It takes two passes, so about twice the time.

The norm is that of all trained parameters together. Weight decay belongs to the update and is no part of L here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinymixer.optim.chunks import ParallelMap
from tinymixer.optim.optimizer import Optimizer


@contextmanager
def perturbed(optimizer: Optimizer, rho: float, norm: Any, parallel_map: ParallelMap = map) -> Iterator[None]:
    """Within the block the weights w are w + rho * gradients / norm; after it they are w again, bit for bit.

    rho    distance, 0 or more
    norm   of the gradients, from `optimizer.gradient_norm`, finite. Where it is 0 there is no uphill: the weights stay

    Frozen parameters stay, too. What the model had collected as the change of its buffers before the block is put back
    after it: so the buffers move by the first pass alone.
    """
    parameters = optimizer.parameters
    length = float(parameters.backend.to_numpy(norm))
    factor = rho / length if length else 0.0
    values, gradients, change = parameters.values, parameters.gradients, parameters.buffer_change
    kept = values.copy(), change.copy()  # (size,), (n,): adding and subtracting would not give the same bits back

    def move(chunk: slice) -> None:
        values[chunk] += factor * gradients[chunk]

    try:
        for _ in parallel_map(move, optimizer.trained_chunks()):
            pass
        yield
    finally:
        values[...], change[...] = kept
