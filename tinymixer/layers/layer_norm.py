"""The LayerNorm layer."""

from tinymixer.layers.initialisation import ones, zeros
from tinymixer.layers.layer import Layer
from tinymixer.parameters import ParameterSpec


class LayerNorm(Layer):
    """Normalise over the channels, then scale and shift: scale (C,), bias (C,)."""

    def __init__(self, hidden_dim, eps=1e-6, **keywords):
        super().__init__(self.specification(hidden_dim), **keywords)
        self.eps = eps

    @staticmethod
    def specification(hidden_dim):
        return {"scale": ParameterSpec((hidden_dim,), ones), "bias": ParameterSpec((hidden_dim,), zeros)}

    def forward(self, x, train=False, rng=None):
        """x (..., C)  ->  y (..., C), cache"""
        return self.ops.layer_norm_forward(x, self.parameters["scale"], self.parameters["bias"], self.eps)

    def backward(self, dy, cache):
        """dy (..., C)  ->  dx (..., C)"""
        dx, dscale, dbias = self.ops.layer_norm_backward(dy, cache)
        self.parameters.gradient("scale")[...] += dscale
        self.parameters.gradient("bias")[...] += dbias
        return dx
