"""`cost`: which network gives most accuracy for what its training costs?

Six families in three sizes train for the same number of steps, so that all see as many images. What that costs is
counted (multiply-adds), and measured: a step of every network in turns, in seconds and, where the machine tells, in
joules.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tinymixer.bench.energy import EnergyMeter, gpu_meter, processor_meter
from tinymixer.bench.timing import interleaved
from tinymixer.models.registry import config_class
from tinymixer.studies.cost_picture import draw
from tinymixer.studies.cost_points import ALONE, FAMILIES, LAYER_BY_LAYER, SIZES
from tinymixer.studies.cost_words import compare, conclude
from tinymixer.studies.networks import TRANSFORMER
from tinymixer.studies.part import images_of
from tinymixer.studies.study import Form, Part, Study
from tinymixer.sweeps.plan import without_test
from tinymixer.training.plan import planned_steps
from tinymixer.training.progress import Progress
from tinymixer.training.recipe import Recipe
from tinymixer.training.trainer import Trainer

# What the recipe of each family has of its own. The paper's BoTNet has bottleneck blocks, its NFNets adaptive gradient
# clipping; the head sees the mean over the tokens in the transformer as in the Mixer.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "mixer": {"architecture": "mlp_mixer"},
    "vit": TRANSFORMER,
    "resnet": {"architecture": "resnet"},
    "bit": {"architecture": "bit"},
    "nf_resnet": {"architecture": "nf_resnet", "agc": 0.02},
    "botnet": {"architecture": "botnet"},
}
# Channels (C, or those of the first stage): about as many multiply-adds for all families of a size, and three to four
# times as many in the next. The other widths follow from them as in each family's paper.
QUICK_WIDTHS: Mapping[str, tuple[int, ...]] = {
    "mixer": (16, 32, 64), "vit": (12, 24, 48), "resnet": (6, 12, 24), "bit": (6, 12, 24), "nf_resnet": (6, 12, 24),
    "botnet": (4, 8, 16),
}  # fmt: skip
FULL_WIDTHS: Mapping[str, tuple[int, ...]] = {
    "mixer": (16, 32, 64), "vit": (12, 24, 48), "resnet": (4, 8, 14), "bit": (4, 8, 14), "nf_resnet": (4, 8, 14),
    "botnet": (2, 4, 8),
}  # fmt: skip
DEPTHS, BOTNET_DEPTHS = "1-1-1", "1-1-1-1"  # on 32 x 32 pixels, attention in a third stage would see 256 places
QUICK_STEPS, FULL_STEPS = 150, 400
# What has more than one seed: in the quick form the cheaper sizes, in the full form one family of each kind (MLP,
# attention, convolution).
QUICK_CARRYING = ("small", "medium")
CARRYING = ("mixer", "vit", "resnet")
TURNS = 11
TURN_SECONDS = 0.1


def recipe_of(family: str, size: str, form: Form, seed: int = 0) -> Recipe:
    """The recipe of a family in a size."""
    changes = CHANGES[family]
    kind: Any = config_class(changes["architecture"])
    sizes = kind.sizes_at((QUICK_WIDTHS if form.quick else FULL_WIDTHS)[family][SIZES.index(size)])
    if "width" in sizes:  # a convolutional network
        sizes["depths"] = BOTNET_DEPTHS if family == "botnet" and not form.quick else DEPTHS
    steps = QUICK_STEPS if form.quick else FULL_STEPS
    return form.recipe(seed, steps=steps, **changes, **sizes)


def parts(form: Form) -> list[Part]:
    made = []
    for seed in range(form.seeds):
        for size in SIZES:
            for family in FAMILIES:
                if seed and (size not in QUICK_CARRYING if form.quick else family not in CARRYING):
                    continue
                recipe = recipe_of(family, size, form, seed)
                made.append(Part({"family": family, "size": size}, seed, recipe, measure=multiply_adds_of_the_run))
    made.append(Part(ALONE, measure=measuring_steps(form), alone=True))
    return made


def multiply_adds_of_the_run(trainer: Trainer | None) -> dict[str, int]:
    """Multiply-adds of all steps of a run: three passes, of which two are backward."""
    assert trainer is not None
    images = trainer.step * trainer.recipe.training.batch_size
    return {"training_multiply_adds": 3 * images * int(trainer.model.multiply_adds)}


def measuring_steps(form: Form) -> Callable[[Trainer | None], Mapping[str, Any]]:
    """A part's measurement: `costs_of_steps`, which needs no trained model."""
    return lambda trainer: costs_of_steps(form)


def timed_recipes(form: Form) -> dict[str, Recipe]:
    """What is timed, by name: every family in every size, and the Mixers once more layer by layer."""
    recipes = {f"{family} {size}": recipe_of(family, size, form) for family in FAMILIES for size in SIZES}
    for size in SIZES:
        recipes[f"{LAYER_BY_LAYER} {size}"] = recipes[f"mixer {size}"].with_overrides({"engine": "reference"})
    return {name: recipe.with_overrides({"threads": 1}) for name, recipe in recipes.items()}


class Steps:
    """Takes steps of a run, whose learning rate alone is not its own but 0, and notes what one costs in each turn."""

    def __init__(self, trainer: Trainer, meter: EnergyMeter, clock: Callable[[], float]) -> None:
        training = trainer.recipe.training
        self.trainer, self.meter, self.clock = trainer, meter, clock
        self.plan = planned_steps(trainer.train_indices, training.batch_size, training.seed, lambda number: 0.0)
        self.seconds: list[float] = []
        self.joules: list[float | None] = []

    def __call__(self, steps: int) -> None:
        before, started = self.meter.joules(), self.clock()
        for _ in self.trainer.engine.steps(itertools.islice(self.plan, steps)):
            pass
        self.seconds.append((self.clock() - started) / steps)
        after = self.meter.joules()
        self.joules.append(None if before is None or after is None else (after - before) / steps)

    def spread_of_seconds(self, turns: int) -> float:
        """Of the last turns, the longest step less the shortest one, as a share of their median."""
        last = self.seconds[-turns:]
        return (max(last) - min(last)) / statistics.median(last)

    def median_joules(self, turns: int) -> float | None:
        """Of the last turns; None where one of them was not told."""
        last = [value for value in self.joules[-turns:] if value is not None]
        return statistics.median(last) if len(last) == turns else None


def costs_of_steps(form: Form) -> dict[str, Any]:
    """Seconds and joules of a training step of every network, measured in turns.

    On a processor, seconds are those that it worked for this process, on one thread, so that other programs disturb
    little. Joules are everything that the machine's processors, or its GPU, took in during a turn.
    """
    from threadpoolctl import threadpool_limits

    dataset = without_test(images_of(form))
    with TemporaryDirectory() as scratch, threadpool_limits(1):
        trainers = {
            name: Trainer(recipe, Path(scratch) / str(number), dataset, Progress())
            for number, (name, recipe) in enumerate(timed_recipes(form).items())
        }
        on_gpu = any(trainer.backend.name == "cupy" for trainer in trainers.values())
        meter = gpu_meter() if on_gpu else processor_meter()
        clock = time.perf_counter if on_gpu else time.process_time
        runs = {name: Steps(trainer, meter, clock) for name, trainer in trainers.items()}
        seconds = interleaved(runs, TURN_SECONDS, TURNS, clock)
    joules = {name: run.median_joules(TURNS) for name, run in runs.items()}
    told = all(value is not None for value in joules.values())
    return {
        "step_seconds": seconds,
        "spread_of_step_seconds": {name: run.spread_of_seconds(TURNS) for name, run in runs.items()},
        "seconds_of": "a GPU" if on_gpu else "a processor, one thread",
        "step_joules": joules if told else None,
        "joules_of": meter.source if told else None,
        "turns": TURNS,
    }


STUDY = Study(
    name="cost",
    question="Which network gives most accuracy for what its training costs?",
    paper="sections 3.1 and 3.2, figures 2 (left) and 3, tables 2 and 3 (arXiv 2105.01601)",
    parts=parts,
    draw=draw,
    conclude=conclude,
    compare=compare,
    seeds=(2, 3),
)
