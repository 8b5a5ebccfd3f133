"""Shows the weights of each hidden unit of token mixing as an image.

A unit of token mixing has one weight per token, so its weights are an image of the patch grid. The authors show such
images (Mixer, "Visualization") and see many pairs of opposite phase: nearly the same image with its sign reversed.
"""

import numpy as np

from tinymixer.errors import ConfigError, ShapeError
from tinymixer.models import LinearMixer, MlpMixer


def as_images(model: MlpMixer | LinearMixer, block: int) -> np.ndarray:
    """A copy of the first weights of a block's token mixing, shaped like the patch grid: (DS, height / P, width / P).

    Token mixing by a single Linear has only these weights, (S, height / P, width / P). With untied_groups there are
    those of all groups, one after the other, and with grouped_channels = G a unit has G images, one for each channel
    that it sees. Raises ConfigError for a block whose token mixing has no weights.
    """
    mixing = model.blocks[block].token_mixing
    parameters = {} if mixing is None else mixing.parameters
    names = [name for name in parameters if name.rpartition(".")[2] in ("weight1", "weight")]
    if not names:
        raise ConfigError(
            "the token mixing of this block has no weight per token, if it has any: there are none to show"
        )
    weights = [model.backend.to_numpy(parameters[name]) for name in names]  # (DS, S) each
    return np.concatenate(weights).reshape(-1, *model.config.grid)


def cosines(weights: np.ndarray) -> np.ndarray:
    """The cosine of the angle between any two units: weights (D, ...) -> (D, D), from -1 to 1.

    It is 1 for weights that differ only in scale and -1 for opposite ones. A unit whose weights are all 0 has cosine 0
    with every other one. Raises ShapeError for fewer than two units.
    """
    rows = weights.reshape(len(weights), -1)  # (D, S)
    if len(rows) < 2:
        raise ShapeError(f"expected at least two units to compare, got weights of shape {weights.shape}")
    length = np.sqrt(np.sum(rows * rows, axis=1, keepdims=True))  # (D, 1)
    directions = rows / np.where(length > 0, length, 1)  # (D, S)
    return directions @ directions.T  # (D, D)


def opposite_phases(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find for each unit the one most nearly opposite to it: weights (D, ...) -> partner (D,), cosine (D,)."""
    angles = cosines(weights)  # (D, D)
    partner = np.argmin(angles, axis=1)  # (D,)
    return partner, angles[np.arange(len(angles)), partner]


def opposite_pairs(weights: np.ndarray) -> list[tuple[int, int, float]]:
    """Pair the units as in the paper's figure: (unit, unit, cosine), the most nearly opposite pair first.

    Takes the most nearly opposite pair, then the most nearly opposite pair of the remaining units, and so on. With an
    odd number of units one stays without a partner.
    """
    angles = cosines(weights)  # (D, D)
    first, second = np.triu_indices(len(angles), 1)
    left, pairs = set(range(len(angles))), []
    for index in np.argsort(angles[first, second], kind="stable"):
        one, other = int(first[index]), int(second[index])
        if one in left and other in left:
            left -= {one, other}
            pairs.append((one, other, float(angles[one, other])))
    return pairs
