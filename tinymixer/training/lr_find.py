"""The learning rate range test: a short run whose learning rate rises from step to step, and the loss of each step.

Smith 2017, "Cyclical learning rates for training neural networks" (arXiv 1506.01186), section 3.3. The paper raises the
rate along a line; here it rises exponentially, so that each power of ten gets the same number of steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from tinymixer.data import Dataset
from tinymixer.engines import choose_engine
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.files import Say, say_nothing
from tinymixer.models import Model
from tinymixer.parallel.ranks import ONE_RANK
from tinymixer.training.build import build_model, make_optimizer, require_batch, work_of
from tinymixer.training.fine_tuning import choose_start, start_with
from tinymixer.training.memory import out_of_memory
from tinymixer.training.plan import planned_steps
from tinymixer.training.prepare import prepare
from tinymixer.training.recipe import Recipe
from tinymixer.training.whitening import whiten_stem

DIVERGED = 4.0  # times the lowest loss: where the test ends
FOLLOWING = 0.8  # share of the running mean that is kept from step to step; it decides where the test ends
SMOOTHED_OVER = 0.02  # of the planned steps: standard deviation of the window that smooths the curve
FEWEST_STEPS = 10
LEAST_FALL = 0.02  # of the first loss: what falls less may be chance


@dataclass(frozen=True)
class RangeTest:
    """The result: one entry per step.

    rates      learning rates, float64 (N,), rising
    losses     training loss of each batch before its update, float64 (N,)
    smoothed   the losses, averaged over neighbouring steps on both sides, which shifts the curve to neither
    ended      why it ended before the last step, in words; "" where it did not
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    ended: str = ""

    @property
    def lowest(self) -> int:
        """The step at which the smoothed loss is lowest."""
        return int(np.argmin(self.smoothed))

    @property
    def falls(self) -> bool:
        """Whether the smoothed loss falls by enough to suggest anything: 2 % of its first value."""
        return bool(self.smoothed[self.lowest] < (1 - LEAST_FALL) * self.smoothed[0])

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss falls fastest, in the logarithm of the rate; None where it does not fall.

        Only steps up to the lowest loss count.
        """
        if not self.falls:
            return None
        slopes = np.gradient(self.smoothed, np.log(self.rates))[: self.lowest + 1]
        return float(self.rates[np.argmin(slopes)])

    @property
    def tenth_of_lowest(self) -> float | None:
        """A tenth of the rate at which the smoothed loss is lowest; None where it does not fall."""
        return float(self.rates[self.lowest]) / 10 if self.falls else None

    @property
    def still_falling(self) -> bool:
        """Whether the loss was lowest among the last twentieth of the steps, so that larger rates might be better."""
        return not self.ended and self.lowest >= 0.95 * (len(self.rates) - 1)


def find_learning_rate(
    recipe: Recipe,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    dataset: Dataset | None = None,
    model: Model | None = None,
    say: Say = say_nothing,
    on_step: Callable[[int, float, float], None] = lambda step, rate, loss: None,
) -> RangeTest:
    """Train for `steps` steps while the learning rate rises from `lowest` to `highest`, and return what the loss did.

    The steps are the first ones of the run that the recipe describes: the same weights, batches, augmentation,
    optimizer and engine; only the schedule is replaced. Nothing is saved, and no validation or test image is used.

    dataset, model   as `Trainer` takes them; the weights of a model that is given are changed
    on_step          receives the steps done, the rate and the loss

    The test ends early where the running mean of the loss exceeds 4 times its lowest value, and where a loss is not
    finite. Raises ConfigError for a range or a number of steps that cannot work, and where recipe and data do not fit;
    DataError where there are no data; TrainingError where the very first step fails.
    """
    if not 0 < lowest < highest < math.inf:
        raise ConfigError(
            f"the learning rate rises from a number above 0 to a larger one, got {lowest:g} to {highest:g}"
        )
    if steps < FEWEST_STEPS:
        raise ConfigError(f"a curve needs at least {FEWEST_STEPS} steps, got {steps}")
    weights = choose_start(recipe, None, has_weights=model is not None)
    recipe, images = prepare(recipe, dataset, model, weights, None, ONE_RANK, say)
    training = recipe.training
    chosen, _ = images.split(recipe.data.validation_share, training.seed)
    require_batch(recipe, images, len(chosen))
    own_model, model = model is not None, model or build_model(recipe)
    whiten_stem(model, images, chosen, training.seed, ONE_RANK, say, own_model)
    recipe = start_with(model, weights, recipe, images.class_names, say, asked=False)
    optimizer = make_optimizer(recipe, model.parameters)
    work = work_of(recipe, images)
    engine = choose_engine(model, training, work, optimizer)
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    ended, mean, best = "", 0.0, math.inf
    try:
        for step in islice(planned_steps(chosen, training.batch_size, training.seed, rates.item), steps):
            try:
                # A plan of one step: engines that report several steps at once then report this one alone.
                totals = [totals for _, totals in engine.steps([step])]
            except TrainingError as error:
                if not losses:
                    raise
                ended = str(error).partition(": try ")[0]  # what the error advises is not meant for this test
                break
            loss = sum(each.loss_sum for each in totals) / sum(each.images for each in totals)
            losses.append(loss)
            on_step(len(losses), step.learning_rate, loss)
            mean = FOLLOWING * mean + (1 - FOLLOWING) * loss
            followed = mean / (1 - FOLLOWING ** len(losses))  # without the pull towards the 0 that the mean began with
            best = min(best, followed)
            if followed > DIVERGED * best:
                ended = f"the loss exceeded {DIVERGED:g} times its lowest value at {step.learning_rate:.3g}"
                break
    except MemoryError as error:
        raise TrainingError(out_of_memory(error, recipe, images, model)) from error
    if engine.note:
        say(engine.note)
    taken = np.array(losses)
    return RangeTest(rates[: len(taken)], taken, smoothed(taken, max(1.0, SMOOTHED_OVER * steps)), ended)


def smoothed(losses: np.ndarray, width: float) -> np.ndarray:
    """Losses (N,) averaged with their neighbours on both sides, weighted by a bell of standard deviation `width`.

    One that exceeds 4 times the lowest counts as that: what a diverged step loses must not reach back to good ones.
    """
    values = np.minimum(losses, DIVERGED * losses.min())
    places = np.arange(len(values))
    weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)  # (N, N)
    return weights @ values / weights.sum(axis=1)
