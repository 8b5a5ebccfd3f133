"""Random generators by key: the same (seed, purpose, epoch, step) always gives the same numbers.

No generator state passes from one step to the next. So a run that is resumed in the middle of an epoch, or on another
backend, draws exactly the numbers that the uninterrupted run would have drawn.
"""

import numpy as np

from tinymixer.errors import ConfigError, nearest

# Old runs are reproduced by these numbers: new ones may be added, none may be changed. Checkpoint format 1 used 2 and
# 3; the module `draws` uses 4.
PURPOSES = {"init": 0, "order": 1, "split": 5, "mixing": 6, "whitening": 7, "study": 8}


def generator(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """A new NumPy generator for one purpose, of those in PURPOSES ("init", "order", ...), at one step of training.

    (purpose, epoch, step) becomes NumPy's spawn key, so different keys give independent random numbers.
    Raises ConfigError for a number out of range or an unknown purpose.
    """
    if purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise ConfigError(f"'{purpose}' is not a purpose for random numbers ({known}).{nearest(purpose, PURPOSES)}")
    for name, value in (("seed", seed), ("epoch", epoch), ("step", step)):
        if value < 0:
            raise ConfigError(f"The {name} of a random generator must be 0 or more, got {value}.")
        if name != "seed" and value >= 2**32:  # NumPy splits it into 32-bit words: (1, 0) and 1 would collide
            raise ConfigError(f"The {name} of a random generator must be less than {2**32:,}, got {value:,}.")
    key = np.random.SeedSequence(seed, spawn_key=(PURPOSES[purpose], epoch, step))
    return np.random.Generator(np.random.PCG64(key))
