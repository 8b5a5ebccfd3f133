"""The one place that picks an engine."""

from tinymixer.engines.cpu.cpu_mixer import CpuMixer
from tinymixer.engines.engine import ENGINE_NAMES, Engine, EngineOptions, Work
from tinymixer.engines.guarded_cuda import GuardedCudaEngine
from tinymixer.engines.reference import ReferenceEngine
from tinymixer.errors import ConfigError
from tinymixer.models import Model
from tinymixer.optim import Optimizer

FASTEST_FIRST = (GuardedCudaEngine, CpuMixer, ReferenceEngine)

__all__ = ["ENGINE_NAMES", "choose_engine"]


def choose_engine(
    model: Model,
    options: EngineOptions | None = None,
    work: Work | None = None,
    optimizer: Optimizer | None = None,
) -> Engine:
    """The fastest engine that can compute this model, or the one that the options name.

    work, optimizer   what steps will need; without them the engine computes logits and gradients alone

    Raises ConfigError, with the reasons, where the named engine, or with "auto" every engine, cannot compute it.
    """
    options = options or EngineOptions()
    obstacles: dict[str, str] = {}
    for engine in FASTEST_FIRST:
        if options.engine not in ("auto", engine.name):
            continue
        obstacle = engine.obstacle(model, options, work, optimizer)
        if obstacle is None:
            chosen = engine.make(model, options, work, optimizer)
            chosen.passed_over = obstacles
            return chosen
        obstacles[engine.name] = obstacle
    raise ConfigError(
        "; ".join(f"the {name} engine cannot compute this: {reason}" for name, reason in obstacles.items())
    )
