"""The Linear layer."""

from tinymixer.layers.initialisation import lecun_normal, zeros
from tinymixer.layers.layer import Layer
from tinymixer.parameters import ParameterSpec


class Linear(Layer):
    """y = x W + b over the last axis: weight (in_features, out_features), bias (out_features,)."""

    def __init__(self, in_features, out_features, *, initialise=None, **keywords):
        super().__init__(self.specification(in_features, out_features, initialise), **keywords)

    @staticmethod
    def specification(in_features, out_features, initialise=None):
        return {
            "weight": ParameterSpec((in_features, out_features), initialise or lecun_normal(in_features)),
            "bias": ParameterSpec((out_features,), zeros),
        }

    def forward(self, x, train=False, rng=None):
        """x (..., in_features)  ->  y (..., out_features), cache"""
        return self.ops.linear_forward(x, self.parameters["weight"], self.parameters["bias"])

    def backward(self, dy, cache):
        """dy (..., out_features)  ->  dx (..., in_features)"""
        dx, dweight, dbias = self.ops.linear_backward(dy, cache)
        self.parameters.gradient("weight")[...] += dweight
        self.parameters.gradient("bias")[...] += dbias
        return dx
