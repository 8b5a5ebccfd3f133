"""Runs small enough to be repeated many times: 40 training and 10 validation images, 5 steps an epoch, all kinds of
randomness on."""

import signal

import numpy as np

from tinymixer.data import Dataset, load_dataset
from tinymixer.training import Progress, Recipe, Trainer, load_checkpoint

TABLES = {
    "name": "small",
    "model": {
        "image_size": 8,
        "in_channels": 1,
        "patch_size": 4,
        "hidden_dim": 8,
        "tokens_mlp_dim": 4,
        "channels_mlp_dim": 16,
        "num_blocks": 2,
        "dropout": 0.1,
        "drop_path": 0.2,
    },
    "data": {"validation_share": 0.2},
    "augmentation": {"crop_padding": 1, "flip": True, "cutout": 2},
    "optimizer": {"learning_rate": 0.01, "weight_decay": 0.1, "clip_norm": 1.0},
    "schedule": {"schedule": "cosine", "warmup_epochs": 0.5},
    "training": {"epochs": 3, "batch_size": 8, "label_smoothing": 0.1, "backend": "numpy", "seed": 5},
}
STEPS_PER_EPOCH = 5


def small_recipe(**overrides) -> Recipe:
    return Recipe.from_dict(TABLES).with_overrides(overrides)


def small_dataset() -> Dataset:
    """The first five of each digit: 40 to train on, 10 to choose by; 24 to test with."""
    digits = load_dataset("digits")
    first = np.sort(np.concatenate([np.flatnonzero(digits.train_labels == digit)[:5] for digit in range(10)]))
    return Dataset(
        "digits",
        digits.train_images[first],
        digits.train_labels[first],
        digits.test_images[:24],
        digits.test_labels[:24],
        digits.class_names,
        digits.mean,
        digits.std,
    )


class Recorder(Progress):
    """Keeps what it hears, and may do something after a step."""

    def __init__(self, after_step=None):
        self.after_step = after_step or (lambda step: None)
        self.steps, self.rows, self.notes, self.results = [], [], [], []

    def on_start(self, trainer):
        self.trainer = trainer

    def on_step(self, step, loss, accuracy, images_per_second, seconds_left):
        self.steps.append((step, loss, accuracy, images_per_second, seconds_left))
        self.after_step(step)

    def on_epoch(self, row):
        self.rows.append(row)

    def on_note(self, text):
        self.notes.append(text)

    def on_end(self, result):
        self.results.append(result)


class StopAfter(Recorder):
    """Raises a signal in this process after a step."""

    def __init__(self, step, number=signal.SIGINT):
        super().__init__(lambda now: signal.raise_signal(number) if now == step else None)


def run_small(folder, progress=None, resume=False, **overrides):
    return Trainer(small_recipe(**overrides), folder, small_dataset(), progress, resume).run()


def assert_same_checkpoint(path, other):
    """Weights, averages, optimizer state and every number of the run but the clock are equal bit for bit."""
    one, two = load_checkpoint(path), load_checkpoint(other)
    for kind in ("parameters", "buffers", "optimizer", "average"):
        arrays, others = getattr(one, kind), getattr(two, kind)
        assert arrays.keys() == others.keys()
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], others[name], err_msg=name)
    for name in ("epoch", "step", "loss_sum", "correct", "images", "best_epoch", "best_accuracy", "best_loss"):
        assert getattr(one.state, name) == getattr(two.state, name)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def without_times(rows):
    return [{key: row[key] for key in row if key not in ("seconds", "images_per_second")} for row in rows]
