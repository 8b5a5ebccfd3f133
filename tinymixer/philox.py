"""Philox4x32-10: random words as a function of a counter and a key, in any order, on any device.

Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 4.3. Two multiplications of
32 bits mix half of a counter of four words into the other half, ten times over; between two rounds the key moves on.
Nothing is carried from one call to the next: the same counter and key give the same four words wherever they are asked
for, here, on CuPy, and in `kernels/cuda/bernoulli_masks.cu`.
"""

from tinymixer.ops.array_library import Array

M0, M1 = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # golden ratio and sqrt(3) - 1, as fractions of 2^32
ROUNDS = 10
WORD = 0xFFFFFFFF

Words = tuple[Array, Array, Array, Array]


def philox4x32(counter: Words, key: tuple[int, int]) -> Words:
    """Four random words for each counter.

    counter   four arrays uint64, words below 2^32, of shapes that broadcast;  key   two words  ->  four arrays like it

    One round, with hi and lo the upper and lower half of a product of 64 bits:

        c0, c1, c2, c3  =  hi(M1 c2) ^ c1 ^ k0,   lo(M1 c2),   hi(M0 c0) ^ c3 ^ k1,   lo(M0 c0)

    Give a word that many counters share in its small shape: every word depends on every other only after three rounds,
    and until then the arrays stay small.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = c0 * M0, c2 * M1
        c0, c1 = (product1 >> 32) ^ (c1 ^ k0), product1 & WORD
        c2, c3 = (product0 >> 32) ^ (c3 ^ k1), product0 & WORD
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3
