"""Muon with 3 and with 5 Newton-Schulz steps: processor time of an update, and what becomes of the singular values.

    python benchmarks/newton_schulz.py [--data CIFAR10] [--steps 30]

The matrices are those that Muon makes orthogonal (gradient + momentum * velocity) after some steps of training on
CIFAR-10. The times are of all threads together, the smallest of several in turns, so other work on the machine counts
little.
"""

import argparse
import time

import numpy as np

from tinymixer.data import Augmentation, load_dataset
from tinymixer.engines import EngineOptions, Step, Work, choose_engine
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.optim import AdamW, Muon, newton_schulz
from tinymixer.optim.muon import ITERATIONS

SIZES = {
    "cifar10-nano": MixerConfig(),
    "C 256, DS 128, DC 1024": MixerConfig(hidden_dim=256, tokens_mlp_dim=128, channels_mlp_dim=1024),
}
BATCH, LEARNING_RATE, MOMENTUM, REPEATS = 128, 2e-3, 0.95, 12


def processor_times(model, parallel_map):
    """Milliseconds of an update of all parameters: rule -> the smallest of REPEATS."""
    rules = {"adamw": AdamW(model.parameters)}
    rules |= {f"{steps} steps": Muon(model.parameters, iterations=steps) for steps in ITERATIONS}
    times = {name: [] for name in rules}
    for repeat in range(REPEATS + 1):
        for name, rule in rules.items():
            start = time.process_time()
            rule.step(0.0, parallel_map)
            if repeat:  # the first one makes its memory
                times[name].append(1e3 * (time.process_time() - start))
    return {name: min(each) for name, each in times.items()}


def trained(model, data, steps):
    """Train for some steps: the engine, and by shape the matrices (n, rows, columns) that Muon then orthogonalises."""
    parameters = model.parameters
    rule = Muon(parameters, MOMENTUM)
    work = Work(data.train_images, data.train_labels, data.mean, data.std, BATCH, Augmentation(flip=True), classes=10)
    engine = choose_engine(model, EngineOptions(), work, rule)
    order = np.random.default_rng(0).permutation(len(data.train_images))
    for _ in engine.steps([Step(order[BATCH * i : BATCH * (i + 1)], 0, i, LEARNING_RATE) for i in range(steps)]):
        pass
    velocities = parameters.views_of(rule.state["mean"])
    by_shape = {}
    for name in parameters.names:
        if name.startswith("blocks.") and len(parameters.shape(name)) == 2:
            looked_ahead = parameters.gradient(name) + MOMENTUM * velocities[name]
            by_shape.setdefault(looked_ahead.shape, []).append(looked_ahead)
    return engine, {shape: np.stack(matrices) for shape, matrices in by_shape.items()}


def spread(matrices):
    """The 5th, 50th and 95th percentile of the singular values, and the share below 0.5."""
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.transpose(0, 2, 1)
    wide = wide.astype(np.float64)
    squares = np.linalg.eigvalsh(wide @ wide.transpose(0, 2, 1))  # quicker than the decomposition of the matrices
    values = np.sqrt(np.maximum(squares, 0))  # (n, smaller side)
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{low:.3f} {middle:.3f} {high:.3f}, {np.mean(values < 0.5):.0%} below 0.5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="CIFAR-10's archive or folder; without it, the cache")
    parser.add_argument("--steps", type=int, default=30, help="of training before the matrices are looked at")
    arguments = parser.parse_args()
    data = load_dataset("cifar10", path=arguments.data)
    for name, config in SIZES.items():
        model = MlpMixer(config)
        engine, by_shape = trained(model, data, arguments.steps)
        times = processor_times(model, engine.parallel_map)
        print(f"{name}: " + ", ".join(f"{rule} {each:.0f} ms" for rule, each in times.items()), flush=True)
        for shape, matrices in by_shape.items():
            normed = matrices / np.linalg.norm(matrices, axis=(1, 2), keepdims=True)
            print(f"  {len(matrices)} matrices {shape}: before {spread(normed)}", flush=True)
            for steps, coefficients in ITERATIONS.items():
                print(f"    {steps} steps: {spread(newton_schulz(matrices, coefficients))}", flush=True)


if __name__ == "__main__":
    main()
