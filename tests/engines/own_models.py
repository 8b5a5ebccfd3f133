"""Models as people bring them: subclasses, changed ones, and some that break what engines rely on."""

import numpy as np

from tinymixer.layers import MixerBlock
from tinymixer.models import MixerConfig, MlpMixer

CONFIG = MixerConfig(
    image_size=8, in_channels=1, patch_size=4, hidden_dim=8, tokens_mlp_dim=4, channels_mlp_dim=16, num_blocks=2
)


class TwiceTheLogits(MlpMixer):
    """A forward pass of its own: the stock model's logits, doubled, and said to treat images by themselves."""

    independent_images = True

    def forward(self, images, train=False, rng=None):
        logits, cache = super().forward(images, train, rng)
        return 2 * logits, cache

    def backward(self, dlogits, cache):
        return super().backward(2 * dlogits, cache)


class BatchCentred(MlpMixer):
    """Takes the batch's mean away from the logits, and claims that images are independent."""

    independent_images = True

    def forward(self, images, train=False, rng=None):
        logits, cache = super().forward(images, train, rng)
        return logits - np.mean(logits, axis=0), cache

    def backward(self, dlogits, cache):
        return super().backward(dlogits - np.mean(dlogits, axis=0), cache)


class KeepsItsCache(MlpMixer):
    """Keeps what the backward pass needs on itself, as many hand-written layers do."""

    independent_images = True

    def forward(self, images, train=False, rng=None):
        logits, self.kept = super().forward(images, train, rng)
        return logits, None

    def backward(self, dlogits, cache):
        return super().backward(dlogits, self.kept)


def with_relu(config=CONFIG, **keywords):
    """A Mixer whose first channel MLP has ReLU in the place of GELU."""
    model = MlpMixer(config, **keywords)
    model.blocks[0].channel_mixing._gelu_forward = lambda x: (np.maximum(x, 0), x > 0)
    model.blocks[0].channel_mixing._gelu_backward = lambda dy, cache: dy * cache
    return model


def with_another_block(config=CONFIG, **keywords):
    """A Mixer with a block appended, whose weights are not among the model's."""
    model = MlpMixer(config, **keywords)
    model.blocks.append(MixerBlock(config.block_sizes, dtype=str(model.parameters.dtype), seed=7))
    return model
