"""Initial values of the parameters: as in the Mixer authors' code (Flax defaults, and a zero head), local, and He's."""

import math

import numpy as np

from tinymixer.parameters import Initialise

# Standard deviation of a standard normal distribution cut off at -2 and 2.
TRUNCATED_STD = 0.87962566103423978
LOCAL_SIGMA = 1.0  # patches: how far a unit of local token mixing sees at first


def zeros(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape)


def ones(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape)


def he_normal(fan_in: int) -> Initialise:
    """He et al. 2015 (arXiv 1502.01852), eq. 10: normal with variance 2 / fan_in, for layers before a ReLU."""

    def initialise(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return generator.standard_normal(shape) * math.sqrt(2 / fan_in)

    return initialise


def normal(std: float) -> Initialise:
    """Normal with mean 0 and that standard deviation."""
    return lambda generator, shape: std * generator.standard_normal(shape)


def lecun_normal(fan_in: int) -> Initialise:
    """LeCun normal (LeCun et al. 1998, section 4.6): variance 1 / fan_in, from a normal cut off at two deviations.

    Cutting lowers the standard deviation from 1 to TRUNCATED_STD; dividing by that makes the variance 1 / fan_in.
    """

    def initialise(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        draws = generator.standard_normal(shape)
        while (outside := np.abs(draws) > 2).any():
            draws[outside] = generator.standard_normal(int(outside.sum()))
        return draws * (math.sqrt(1 / fan_in) / TRUNCATED_STD)

    return initialise


def local_tokens(grid: tuple[int, int], initialise: Initialise, units_first: bool) -> Initialise:
    """Token-mixing weights by which each hidden unit acts on neighbouring patches at first.

    grid          patches down and across, S = down * across
    initialise    draws the weights as they would be otherwise
    units_first   whether the shape is (DS, S), as weight1's, or (S, DS), as weight2's

    Every unit has a home, a position of the grid (`homes`). Its S weights are multiplied by a Gaussian bump around it,

        exp(-d^2 / (2 LOCAL_SIGMA^2)),   d the distance from the home in patches,

    and by the number that leaves their expected sum of squares as it was. Where a unit sees G channels at once
    (`GroupedTokenMixing`), the shape is (DS, S*G) or (S*G, DS), and each channel gets the same bump. The draws are the
    same as without bumps, so that nothing else of the model changes.
    """

    def initialise_locally(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        draws = initialise(generator, shape)  # (DS, S*G) or (S*G, DS), mostly with G = 1
        places = np.stack(np.divmod(np.arange(grid[0] * grid[1]), grid[1]), axis=1)  # (S, 2), row and column
        centres = places[homes(grid, shape[0 if units_first else 1])]  # (DS, 2)
        squares = ((centres[:, None] - places) ** 2).sum(axis=2)  # (DS, S), d^2
        bumps = np.exp(-squares / (2 * LOCAL_SIGMA**2))  # (DS, S)
        bumps *= np.sqrt(len(places) / (bumps**2).sum(axis=1, keepdims=True))
        bumps = np.tile(bumps, (1, shape[1 if units_first else 0] // len(places)))  # (DS, S*G)
        return draws * (bumps if units_first else bumps.T)

    return initialise_locally


def homes(grid: tuple[int, int], units: int) -> np.ndarray:
    """The position 0..S-1 on the grid that each unit has at home: spread evenly, and again from the first after S.

    Each position is the one farthest from all before it; the first is in the middle.
    """
    down, across = grid
    rows, columns = np.divmod(np.arange(down * across), across)  # (S,) each
    order = [down // 2 * across + across // 2]
    nearest = np.full(down * across, np.inf)  # (S,), squared distance to the nearest position in the order
    while len(order) < min(units, down * across):
        nearest = np.minimum(nearest, (rows - rows[order[-1]]) ** 2 + (columns - columns[order[-1]]) ** 2)
        order.append(int(nearest.argmax()))
    return np.resize(np.array(order), units)
