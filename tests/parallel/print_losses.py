"""Prints the losses of 50 steps of every rank as JSON: what test_with_mpi.py compares."""

import json
import sys

import numpy as np

from tinymixer.data import load_dataset
from tinymixer.engines import EngineOptions, Step, Work, choose_engine
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.optim import AdamW
from tinymixer.parallel.launched import launched_ranks
from tinymixer.training import load_recipe

ranks = launched_ranks(print)
data, recipe = load_dataset("digits"), load_recipe("digits")
config = MixerConfig(
    image_size=8, in_channels=1, patch_size=2, hidden_dim=32, tokens_mlp_dim=16, channels_mlp_dim=64, num_blocks=2,
    dropout=0.1, drop_path=0.2,
)  # fmt: skip
model = MlpMixer(config, seed=1)
optimizer = AdamW(model.parameters, weight_decay=0.1, clip_norm=1.0)
batch, images = 33, data.train_images  # two ranks get 16 and 17 images
work = Work(images, data.train_labels, data.mean, data.std, batch, recipe.augmentation, 0.1, seed=3, ranks=ranks)
engine = choose_engine(model, EngineOptions(threads=1), work, optimizer)
plan = (Step((7 * step + 29 * np.arange(batch)) % len(images), 0, step, 3e-3) for step in range(50))
losses = [totals.loss_sum / totals.images for _, totals in engine.steps(plan)]
for every in ranks.gather(losses):
    if ranks.rank == 0:
        sys.stdout.write(json.dumps(every) + "\n")
