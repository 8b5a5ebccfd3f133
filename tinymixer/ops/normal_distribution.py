"""The normal distribution function, written here because neither NumPy nor CuPy has erf in its main namespace."""

import math

from tinymixer.ops.array_library import Array, namespace

SQRT_HALF = math.sqrt(0.5)

# Chebyshev coefficients on t in [0, 1] of  log(erfc(z) / t) + z^2,  where t = 2 / (2 + z). Computed with mpmath at
# 40 digits (64 Chebyshev nodes); the next coefficient is below 2e-16.
COEFFICIENTS = (
    -0.6513268598908547171,
    0.64196979235649026031,
    0.019476473204185836309,
    -0.0095615147868086316401,
    -0.0009465953444820368667,
    0.00036683949785276145088,
    0.000042523324806907773901,
    -0.00002027857811253424637,
    -1.6242900046470217663e-6,
    1.3036558355805194227e-6,
    1.5626441722069451487e-8,
    -8.5238095914928940469e-8,
    6.5290544391000212966e-9,
    5.0593434955516810668e-9,
    -9.9136415649459661178e-10,
    -2.2736512229047919355e-10,
    9.6467911016672237497e-11,
    2.3940380868353814734e-12,
    -6.8860275301007107897e-12,
    8.9448793023944580279e-13,
    3.1309213806575009085e-13,
    -1.1270822305359780822e-13,
    3.8109134548334214587e-16,
    7.1060955263545299053e-15,
    -1.5230251285822685535e-15,
)


def normal_cdf(x: Array) -> Array:
    """Probability that a standard normal variable is below x; absolute error under 2e-16 in float64.

    x (...)  ->  probability (...)

        Phi(x) = erfc(-x / sqrt(2)) / 2        erfc(z) = t * exp(-z^2 + p(t)),  t = 2 / (2 + z),  for z >= 0

    The second formula defines p. It is so smooth that 25 Chebyshev terms give it in double precision; Clenshaw's
    recurrence adds them up. This gives Phi for x < 0; for x >= 0 we use Phi(x) = 1 - Phi(-x).
    """
    xp = namespace(x)
    z = xp.abs(x) * SQRT_HALF  # (...)
    t = 2.0 / (2.0 + z)  # (...)
    twice_s = 4.0 * t - 2.0  # (...) twice the Chebyshev variable s = 2 t - 1
    current = following = xp.zeros_like(z)  # (...)
    for coefficient in reversed(COEFFICIENTS[1:]):
        current, following = twice_s * current - following + coefficient, current
    exponent = 0.5 * twice_s * current - following + COEFFICIENTS[0]  # (...) this is p(t)
    tail = 0.5 * t * xp.exp(exponent - z * z)  # (...)
    return xp.where(x < 0, tail, 1.0 - tail)
