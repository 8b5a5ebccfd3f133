"""The work that all implementations do: the same first weights, the same batch, the same update rule."""

from functools import lru_cache
from typing import Any

import numpy as np

from tinymixer.bench.models import architecture_of
from tinymixer.models import make_model

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 1e-4
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25


def first_weights(config: Any) -> dict[str, np.ndarray]:
    """Initial weights, float32 arrays by parameter name. The head is random too: a zero head gives the loss log K."""
    weights = make_model(architecture_of(config), config, backend="numpy", seed=0).parameters.to_numpy()
    head = np.random.default_rng(1).standard_normal(weights["head.weight"].shape)  # (features, K)
    return weights | {"head.weight": (head * len(head) ** -0.5).astype(np.float32)}


@lru_cache(maxsize=1)
def synthetic_batch(config: Any, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (B, height, width, in_channels) and labels int64 (B,)."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch, config.image_size, config.image_size, config.in_channels), dtype=np.uint8)
    return pixels, rng.integers(0, config.num_classes, batch)


def normalised_images(config: Any, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (B, height, width, in_channels) and labels (B,)."""
    pixels, labels = synthetic_batch(config, batch)
    return ((pixels / np.float32(255) - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)), labels


def loss_of(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of logits (B, K), in float64."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))
