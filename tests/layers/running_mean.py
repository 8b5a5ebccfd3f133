"""Layers with buffers, small enough to be read at a glance: a running mean, alone and inside others."""

from tinymixer.layers import Layer, Linear
from tinymixer.layers.initialisation import zeros
from tinymixer.models import Model
from tinymixer.models.image_config import PatchConfig
from tinymixer.parameters import BufferSpec, prefixed


class RunningMean(Layer):
    """y = x - mean, with mean (C,) a running mean over the batches so far.

    mean = (1 - momentum) * mean + momentum * mean of the batch
    """

    def __init__(self, features, momentum=0.1, **keywords):
        super().__init__(self.specification(features), **keywords)
        self.momentum = momentum

    @staticmethod
    def specification(features):
        return {"mean": BufferSpec((features,), zeros)}

    def forward(self, x, train=False, rng=None):
        """x (B, C)  ->  y (B, C), cache: the batch's mean (C,) in training, else None"""
        return x - self.parameters.buffer("mean"), x.mean(axis=0) if train else None

    def backward(self, dy, cache):
        return 1 * dy

    def update_buffers(self, cache):
        mean = self.parameters.buffer("mean")
        mean *= 1 - self.momentum
        mean += self.momentum * cache


class WritesInForward(RunningMean):
    """Does what no forward pass may."""

    def forward(self, x, train=False, rng=None):
        result = super().forward(x, train, rng)
        self.update_buffers(x.mean(axis=0))
        return result


class Centred(Layer):
    """Linear, running mean, Linear: a layer that passes `update_buffers` on."""

    def __init__(self, in_features, hidden, out_features, **keywords):
        super().__init__(self.specification(in_features, hidden, out_features), **keywords)
        part = self.parameters.part
        self.first = Linear(in_features, hidden, parameters=part("first"))
        self.mean = RunningMean(hidden, parameters=part("mean"))
        self.second = Linear(hidden, out_features, parameters=part("second"))

    @staticmethod
    def specification(in_features, hidden, out_features):
        return {
            **prefixed("first", Linear.specification(in_features, hidden)),
            **prefixed("mean", RunningMean.specification(hidden)),
            **prefixed("second", Linear.specification(hidden, out_features)),
        }

    def forward(self, x, train=False, rng=None):
        """x (B, in_features)  ->  y (B, out_features), cache"""
        hidden, first_cache = self.first.forward(x, train, rng)  # (B, hidden)
        centred, mean_cache = self.mean.forward(hidden, train, rng)  # (B, hidden)
        y, second_cache = self.second.forward(centred, train, rng)  # (B, out_features)
        return y, (first_cache, mean_cache, second_cache)

    def backward(self, dy, cache):
        first_cache, mean_cache, second_cache = cache
        dcentred = self.second.backward(dy, second_cache)  # (B, hidden)
        return self.first.backward(self.mean.backward(dcentred, mean_cache), first_cache)

    def update_buffers(self, cache):
        self.mean.update_buffers(cache[1])


class CentredModel(Model):
    """The same as a model: images, as one vector each, to logits. It takes the sizes of a PatchConfig."""

    independent_images = True

    def __init__(self, config=None, **keywords):
        config = config or PatchConfig(image_size=4, in_channels=1, patch_size=4, hidden_dim=5, num_classes=3)
        sizes = config.image_size**2 * config.in_channels, config.hidden_dim, config.num_classes
        super().__init__(prefixed("body", Centred.specification(*sizes)), **keywords)
        self.config = config
        self.body = Centred(*sizes, parameters=self.parameters.part("body"))

    def forward(self, images, train=False, rng=None):
        """images (B, height, width, in_channels)  ->  logits (B, K), cache"""
        self.check_images(images)
        logits, cache = self.body.forward(images.reshape(len(images), -1), train, rng)
        return logits, (images.shape, cache)

    def backward(self, dlogits, cache):
        return self.body.backward(dlogits, cache[1]).reshape(cache[0])

    def update_buffers(self, cache):
        self.body.update_buffers(cache[1])
