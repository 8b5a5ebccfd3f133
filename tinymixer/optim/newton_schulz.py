"""The orthogonal matrix nearest to a matrix, by matrix products alone.

With the singular value decomposition G = U diag(s) V^T, that matrix is U V^T: every singular value becomes 1 (the polar
factor). Newton-Schulz iteration finds it without the decomposition. Start with X = G / |G|, whose singular values lie
between 0 and 1, and repeat

    X <- a X + b (X X^T) X + c (X X^T)^2 X

Since X X^T = U diag(s^2) U^T, the result is U diag(a s + b s^3 + c s^5) V^T: the singular vectors stay, and each
singular value goes through a polynomial. Coefficients are chosen so that the repeated polynomial moves all of (0, 1]
close to 1.
"""

from collections.abc import Sequence

from tinymixer.ops.array_library import Array, namespace

Coefficients = Sequence[tuple[float, float, float]]  # (a, b, c) of each step

# One polynomial five times (Jordan 2024, https://kellerjordan.github.io/posts/muon): steep at 0, so that small singular
# values rise fast; those above 0.01 end between 0.68 and 1.14, which is near enough to 1 for an optimizer.
FIVE_STEPS: Coefficients = ((3.4445, -4.7750, 2.0315),) * 5

# Another polynomial in every step, each the best for the interval that the one before leaves (Amsel et al. 2025, arXiv
# 2505.16932): the odd quintic with the smallest largest distance from 1. Singular values above 0.02 end between 0.90
# and 1.10 after three steps.
THREE_STEPS: Coefficients = (
    (7.7110, -22.1138, 16.2487),
    (3.2153, -2.4112, 0.5013),
    (2.2183, -1.5940, 0.4107),
)

TINY = 1e-20  # keeps the quotient finite for a matrix of zeros


def newton_schulz(matrices: Array, coefficients: Coefficients = FIVE_STEPS) -> Array:
    """Move the singular values of many matrices of one shape close to 1.

    matrices (n, rows, columns)  ->  (n, rows, columns), in the same dtype; a matrix of zeros stays one
    """
    xp = namespace(matrices)
    rows, columns = matrices.shape[1:]
    tall = rows > columns
    x = matrices.transpose(0, 2, 1) if tall else matrices  # wide: X X^T is the smaller of the two products
    norms = xp.sqrt(xp.sum(xp.sum(x * x, axis=2), axis=1)).reshape(-1, 1, 1)  # (n, 1, 1)
    x = x / (norms + TINY)
    for a, b, c in coefficients:
        gram = x @ x.transpose(0, 2, 1)  # (n, rows, rows)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.transpose(0, 2, 1) if tall else x
