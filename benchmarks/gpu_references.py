"""What a GPU's first steps are held to: the same steps in float64 on the processor, computed beforehand.

    python -m benchmarks.gpu_references        # some 16 minutes on a core; writes benchmarks/gpu_references.npz

A machine with a GPU is often rented by the minute, and NumPy's steps would take most of them. So the losses and
gradient norms of 40 steps lie in a file, and with them a sketch of how the weights had moved after ten: 64 numbers for
every parameter, whose differences tell the distance of two sets of weights without the weights (`sketches`).

In the file as it stands the losses are float64's and the sketches a float32 run's, whose losses over those ten steps
agree with float64's to 1e-7; the command makes both in float64.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer import MixerConfig, MlpMixer
from tinymixer.data import Augmentation, Batches, epoch_order
from tinymixer.data.batches import mean_colour
from tinymixer.draws import Draws
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.engines.cuda.staging import StepNumbers, draw_step
from tinymixer.engines.step import train_step
from tinymixer.optim import AdamW
from tinymixer.parameters import Parameters

PATH = Path(__file__).with_name("gpu_references.npz")
STEPS, MOVED_AFTER = 40, 10
SKETCH = 64
SEED, SMOOTHING = 3, 0.1
MEAN, STD = np.array([0.45] * 3), np.array([0.25] * 3)
FILL = mean_colour(MEAN)


@dataclass(frozen=True)
class Setting:
    """A model, its data and its optimizer: everything that decides the losses.

    batches   in an epoch; the data set has as many images as they need
    """

    config: MixerConfig
    batch: int
    batches: int
    augmentation: Augmentation

    @property
    def images(self) -> int:
        return self.batch * self.batches

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Images whose label can be learned, so that the losses fall and their agreement tells."""
        config, rng = self.config, np.random.default_rng(0)
        labels = rng.integers(0, config.num_classes, self.images)
        images = rng.integers(0, 200, (self.images, config.image_size, config.image_size, config.in_channels))
        return (images + labels[:, None, None, None] * 5).astype(np.uint8), labels

    def optimizer(self, parameters: Parameters) -> AdamW:
        return AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.1, clip_norm=1.0)

    def learning_rate(self, step: int) -> float:
        """Rises for ten steps, and stays."""
        return 1e-3 * min(1.0, (step + 1) / 10)

    def staged(self, steps: Iterable[int]) -> list[StepNumbers]:
        """What the captured step needs to take these steps, counted from the run's start."""
        found = []
        for s in steps:
            epoch, inside = divmod(s, self.batches)
            indices = epoch_order(SEED, epoch, self.images)[inside * self.batch : (inside + 1) * self.batch]
            size, colours = self.config.image_size, self.config.in_channels
            rate, shape = self.learning_rate(s), (size, size, colours)
            found.append(draw_step(indices, self.augmentation, rate, SEED, epoch, inside, shape=shape))
        return found


NANO = Setting(MixerConfig(drop_path=0.1), 512, 8, Augmentation(crop_padding=4, flip=True, cutout=8))


def compute(
    setting: Setting, steps: int, dtype: str = "float64", say: Callable[[str], Any] = print, engine: str = "layers"
) -> dict[str, Any]:
    """Train on the processor: losses and norms (steps,), and the sketches after MOVED_AFTER steps by "moved/NAME".

    engine   "layers", or the name of an engine that computes the steps
    """
    model = MlpMixer(setting.config, dtype=dtype, seed=SEED)
    before, optimizer = model.parameters.to_numpy(), setting.optimizer(model.parameters)
    computed = model if engine == "layers" else choose_engine(model, EngineOptions(engine=engine))
    images, labels = setting.data()
    losses, norms, moved = [], [], {}
    for s in range(steps):
        epoch, inside = divmod(s, setting.batches)
        if not inside:
            batches = iter(Batches(images, labels, setting.batch, SEED, epoch, setting.augmentation, mean=MEAN, std=STD,
                                   dtype=np.dtype(dtype)))  # fmt: skip
        x, y = next(batches)
        draws = Draws(SEED, epoch, inside, np.arange(setting.batch))
        found = train_step(computed, optimizer, x, y, setting.learning_rate(s), SMOOTHING, draws)
        losses.append(found.loss)
        norms.append(found.gradient_norm)
        say(f"step {s}: loss {found.loss:.12f}, gradient norm {found.gradient_norm:.6f}")
        if s + 1 == MOVED_AFTER:
            moved = sketches(before, model.parameters.to_numpy())
    return {"losses": np.array(losses), "norms": np.array(norms)} | {f"moved/{n}": x for n, x in moved.items()}


def sketches(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How far each parameter moved, folded to 64 numbers with random signs: float64 (64,) by name.

    Folding adds up, under signs drawn once, the numbers whose places agree modulo 64 (the "count sketch" of Charikar,
    Chen and Farach-Colton 2002). It is linear, and keeps the square of a difference's norm on average; over the
    hundred parameters of nano together to about two percent. A parameter of up to 64 numbers is kept exactly.
    """
    found = {}
    for name, array in after.items():
        change = (np.asarray(array, np.float64) - before[name]).ravel()
        signed = change * (np.random.default_rng(change.size).integers(0, 2, change.size) * 2.0 - 1)
        padded = np.zeros(-(-change.size // SKETCH) * SKETCH)
        padded[: change.size] = signed
        found[name] = padded.reshape(-1, SKETCH).sum(axis=0)
    return found


def distance(found: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]) -> float:
    """How far the weights are from the reference's after MOVED_AFTER steps, relative to how far those had moved.

    found   the sketches of the weights' change. Token mixing's output biases are left out: their gradient is zero but
            for rounding errors (ARCHITECTURE.md says why), and Adam divides those by their own size.
    """
    names = [name for name in found if not name.endswith("token_mixing.bias2")]
    apart = math.fsum(float(np.square(found[n] - references[f"moved/{n}"]).sum()) for n in names)
    moved = math.fsum(float(np.square(references[f"moved/{n}"]).sum()) for n in names)
    return math.sqrt(apart / moved)


def load(path: Path = PATH) -> dict[str, np.ndarray]:
    """The references of NANO, as `compute` returns them."""
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PATH)
    chosen = parser.parse_args()
    found = compute(NANO, STEPS)
    small = {name: x.astype(np.float32) if name.startswith("moved/") else x for name, x in found.items()}
    np.savez_compressed(chosen.out, **small)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
