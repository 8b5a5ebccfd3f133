"""Learning rates over the steps of a run: a linear warm-up, then constant, cosine, linear or trapezoid.

Each function returns a `Schedule`, step -> learning rate, for steps 0, 1, ... `total_steps` - 1. Warm-up step s gets
peak * (s + 1) / warmup_steps, so no step is wasted on a rate of zero. After it, with p rising from 0 to 1,

    p = (step - warmup_steps) / (total_steps - warmup_steps)

    constant   peak
    cosine     final + (peak - final) * (1 + cos(pi * p)) / 2        (Loshchilov and Hutter 2017, without restarts)
    linear     final + (peak - final) * (1 - p)
    trapezoid  peak, then along a line to final over the last `cooldown_share` of all steps  (Zhai et al. 2022, arXiv
               2106.04560, section 3.5): what was trained at the peak can be cooled down at any length

From `total_steps` on the rate stays at its last value.
"""

import math
from collections.abc import Callable

from tinymixer.errors import ConfigError, nearest

Schedule = Callable[[int], float]


def constant(peak: float, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """Warm up, then stay at the peak (`final` has no effect). Raises ConfigError for values that cannot work."""
    return _warm_up_then(lambda progress: peak, peak, total_steps, warmup_steps, final)


def cosine(peak: float, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """Warm up, then fall to `final` along half a cosine. Raises ConfigError for values that cannot work."""
    height = peak - final
    return _warm_up_then(
        lambda progress: final + height * (1 + math.cos(math.pi * progress)) / 2, peak, total_steps, warmup_steps, final
    )


def linear(peak: float, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """Warm up, then fall to `final` along a line. Raises ConfigError for values that cannot work."""
    height = peak - final
    return _warm_up_then(lambda progress: final + height * (1 - progress), peak, total_steps, warmup_steps, final)


def trapezoid(
    peak: float, total_steps: int, warmup_steps: int = 0, final: float = 0.0, cooldown_share: float = 0.4
) -> Schedule:
    """Warm up, stay at the peak, then fall to `final` along a line over the last `cooldown_share` of all steps.

    Raises ConfigError for values that cannot work.
    """
    if not 0 < cooldown_share <= 1:
        raise ConfigError(f"cooldown_share must be above 0 and at most 1, got {cooldown_share!r}")
    falling = min(1.0, cooldown_share * total_steps / max(1, total_steps - warmup_steps))  # share after the warm-up
    height = peak - final
    return _warm_up_then(
        lambda progress: final + height * min(1.0, (1 - progress) / falling), peak, total_steps, warmup_steps, final
    )


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "trapezoid": trapezoid,
}


def make_schedule(
    name: str,
    peak: float,
    total_steps: int,
    warmup_steps: int = 0,
    final: float = 0.0,
    cooldown_share: float = 0.4,
) -> Schedule:
    """The schedule of that name; `cooldown_share` is the trapezoid's. Raises ConfigError for an unknown one."""
    if name not in SCHEDULES:
        raise ConfigError(
            f"unknown schedule '{name}': expected one of {', '.join(SCHEDULES)}.{nearest(name, SCHEDULES)}"
        )
    own = {"cooldown_share": cooldown_share} if name == "trapezoid" else {}
    return SCHEDULES[name](peak, total_steps, warmup_steps, final, **own)


def _warm_up_then(
    after: Callable[[float], float], peak: float, total_steps: int, warmup_steps: int, final: float
) -> Schedule:
    """Check the numbers; return the warm-up followed by `after`(progress from 0 to 1)."""
    if total_steps < 1:
        raise ConfigError(f"a schedule needs at least one step, got total_steps={total_steps}")
    if not 0 <= warmup_steps <= total_steps:
        raise ConfigError(f"warmup_steps must lie between 0 and total_steps ({total_steps}), got {warmup_steps}")
    if not (math.isfinite(peak) and 0 <= final <= peak):
        raise ConfigError(f"a schedule needs 0 <= final <= peak, got final={final!r} and peak={peak!r}")

    def learning_rate(step: int) -> float:
        if step < 0:
            raise ConfigError(f"steps are counted from 0, got {step}")
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        return after(min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))

    return learning_rate
