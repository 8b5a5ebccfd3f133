"""A whole training step runs on the stand-in library and gives NumPy's numbers."""

from dataclasses import replace

import numpy as np

from tests.strict_arrays import STRICT
from tinymixer import MixerConfig, MlpMixer
from tinymixer.draws import Draws
from tinymixer.ops import softmax_cross_entropy
from tinymixer.optim import SGD, AdamW

CONFIG = MixerConfig(
    image_size=8,
    patch_size=2,
    hidden_dim=10,
    tokens_mlp_dim=6,
    channels_mlp_dim=12,
    num_blocks=3,
    dropout=0.1,
    drop_path=0.3,
)

VARIANTS = replace(CONFIG, overlap=1, token_groups=5, gated=True, layer_scale=0.5, token_init="local")


def train_two_steps(backend, optimizer_class, config):
    """Loss of each step and the weights after them, as host arrays."""
    model = MlpMixer(config, backend=backend, seed=3)
    optimizer = optimizer_class(model.parameters, weight_decay=0.01, clip_norm=1.0)
    data = np.random.default_rng(5)
    losses = []
    for step in range(2):
        images = model.backend.asarray(data.standard_normal((4, 8, 8, 3), dtype="float32"))
        labels = model.backend.asarray(data.integers(0, 10, 4))
        model.parameters.zero_gradients()
        logits, cache = model.forward(images, train=True, rng=Draws(7, 0, step, np.arange(4)))
        loss, dlogits = softmax_cross_entropy(logits, labels, 0.1)
        model.backward(dlogits, cache)
        optimizer.step(0.1)
        losses.append(float(model.backend.to_numpy(loss)))
    return losses, model.parameters.to_numpy()


def test_training_on_the_strict_library_equals_training_on_numpy():
    for optimizer_class, config in ((SGD, CONFIG), (AdamW, CONFIG), (AdamW, VARIANTS)):
        losses, weights = train_two_steps("numpy", optimizer_class, config)
        strict_losses, strict_weights = train_two_steps(STRICT, optimizer_class, config)
        assert losses == strict_losses
        for name, weight in weights.items():
            np.testing.assert_array_equal(weight, strict_weights[name], err_msg=name)
