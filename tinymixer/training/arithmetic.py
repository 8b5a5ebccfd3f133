"""Records what decides how a run's numbers are rounded: engine, threads, slices, NumPy and BLAS."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinymixer.engines import Engine
from tinymixer.parallel.ranks import ONE_RANK, Ranks


def arithmetic_of(engine: Engine, ranks: Ranks = ONE_RANK) -> dict[str, Any]:
    """Engine, threads, slices, ranks, NumPy and BLAS as values for JSON; where all are the same, a run gives the same
    bits.
    """
    several = {"ranks": ranks.size} if ranks.size > 1 else {}
    return {**engine.arithmetic, **several, "numpy": np.__version__, "blas": blas_libraries()}


def other_arithmetic(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """A sentence for a run that resumes with other arithmetic than it began with; None where nothing changed."""
    differing = [
        f"{name} {then.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    if not then or not differing:
        return None
    about = " (about 1e-6)" if then.get("precision") == now.get("precision") else ""
    return (
        f"the run goes on with other arithmetic ({'; '.join(differing)}): its numbers will be the same to rounding"
        f"{about}, not bit for bit those of an unbroken run"
    )


@functools.cache  # every checkpoint asks, and a process keeps its libraries
def blas_libraries() -> str:
    """The BLAS libraries, their versions, and the processor type that their kernels are for, as far as known."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown (threadpoolctl is not installed)"
    found = {
        f"{pool['internal_api']} {pool.get('version') or ''} {pool.get('architecture') or ''}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"
