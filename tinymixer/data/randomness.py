"""Random numbers by key: whoever asks with the same (seed, purpose, epoch, step) gets the same numbers.

Nothing is carried from one step to the next, so a run resumed in the middle of an epoch, or on another backend, draws
exactly what the uninterrupted run would have drawn.
"""

import numpy as np

from tinymixer.errors import ConfigError, nearest

# Part of every run's reproducibility: numbers may be added, never changed.
PURPOSES = {"init": 0, "order": 1, "split": 5}  # 2 and 3 were format 1's; 4 is `draws`


def generator(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """A fresh NumPy generator for one purpose ("init", "order" or "split") at one moment of training.

    The key goes in as a spawn key, which NumPy keeps apart from the seed: no two keys share a stream.
    Raises ConfigError for a number out of range or an unknown purpose.
    """
    if purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise ConfigError(f"'{purpose}' is not a purpose for random numbers ({known}).{nearest(purpose, PURPOSES)}")
    for name, value in (("seed", seed), ("epoch", epoch), ("step", step)):
        if value < 0:
            raise ConfigError(f"The {name} of a random generator must be 0 or more, got {value}.")
        if name != "seed" and value >= 2**32:  # a number of two words could be mistaken for two numbers
            raise ConfigError(f"The {name} of a random generator must be less than {2**32:,}, got {value:,}.")
    key = np.random.SeedSequence(seed, spawn_key=(PURPOSES[purpose], epoch, step))
    return np.random.Generator(np.random.PCG64(key))
