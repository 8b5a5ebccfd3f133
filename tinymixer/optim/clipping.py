"""The norm of all gradients together, and a bound on it."""

from typing import Any

from tinymixer.ops.array_library import namespace
from tinymixer.optim.pieces import pieces_of

SMALL = 1e-6  # keeps the quotient finite when every gradient is zero


def global_norm(gradients: Any) -> Any:
    """Euclidean norm of the flat vector of all gradients (size,), in its own dtype: a 0-d array of the backend."""
    xp = namespace(gradients)
    squares = [xp.sum(gradients[piece] * gradients[piece]) for piece in pieces_of(gradients)]
    return xp.sqrt(xp.sum(xp.stack(squares)))


def clip_by_global_norm(gradients: Any, max_norm: float) -> Any:
    """Scale the gradients (size,) down, in place, to a global norm of at most `max_norm` (Pascanu et al. 2013).

        gradients *= min(1, max_norm / (norm + 1e-6))

    All share one factor, so the direction stays. Returns the norm before clipping, a 0-d array of the backend. Nothing
    is brought to the host, so that a GPU does not wait.
    """
    xp = namespace(gradients)
    norm = global_norm(gradients)
    gradients *= xp.minimum(max_norm / (norm + SMALL), 1.0)
    return norm
