"""A model for tests in which no mistake can hide behind a zero."""

import numpy as np

from tinymixer import MlpMixer


def shaken(config, dtype, seed=0):
    """A model whose every weight is random: zero biases and a zero head would hide mistakes."""
    model = MlpMixer(config, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    for name in model.parameters:
        model.parameters[name][...] += 0.1 * rng.standard_normal(model.parameters.shape(name))
    return model
