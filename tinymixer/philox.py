"""Philox4x32-10: random words as a function of a counter and a key, in any order, on any device.

Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 4.3. Two multiplications of
32 bits mix half of a counter of four words into the other half, ten times over; between two rounds the key moves on.
Nothing is carried from one call to the next: the same counter and key give the same four words wherever they are asked
for, here, on CuPy, and in `kernels/cuda/philox.cuh`.
"""

import numpy as np

from tinymixer.ops.array_library import Array, namespace

MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)  # golden ratio and sqrt(3) - 1, as fractions of 2^32
ROUNDS = 10
WORD = 0xFFFFFFFF


def philox4x32(counter: Array, key: tuple[int, int]) -> Array:
    """Four random words for each counter.

    counter   uint64 (4, ...), words below 2^32;  key   two words  ->  uint64 (4, ...), words below 2^32

    One round, with hi and lo the upper and lower half of a product of 64 bits:

        c0, c1, c2, c3  =  hi(M1 c2) ^ c1 ^ k0,   lo(M1 c2),   hi(M0 c0) ^ c3 ^ k1,   lo(M0 c0)

    It is written for the pairs (c0, c2) and (c1, c3) at once: what was above goes below.
    """
    xp = namespace(counter)
    column = (2, *(1 for _ in counter.shape[1:]))
    multipliers = xp.asarray(MULTIPLIERS.reshape(column))
    keys = np.array(key, np.uint64)
    mixed, kept = counter[::2], counter[1::2]  # (2, ...) each
    for _ in range(ROUNDS):
        product = mixed * multipliers  # (2, ...)
        mixed = (product >> 32)[::-1]
        mixed ^= kept
        mixed ^= xp.asarray(keys.reshape(column))
        product &= WORD
        kept = product[::-1]
        keys = np.bitwise_and(keys + KEY_STEPS, np.uint64(WORD))
    return xp.stack([mixed[0], kept[0], mixed[1], kept[1]])
