"""Initial values of the parameters: as in the Mixer authors' code (Flax defaults, and a zero head), and He's."""

import math

import numpy as np

from tinymixer.parameters import Initialise

# Standard deviation of a standard normal distribution cut off at -2 and 2.
TRUNCATED_STD = 0.87962566103423978


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
