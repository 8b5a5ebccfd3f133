"""Channel mixing with a gate in its hidden layer (Shazeer 2020, arXiv 2002.05202)."""

from tinymixer.layers.initialisation import lecun_normal, zeros
from tinymixer.layers.mlp import ChannelMixing
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification


class GatedChannelMixing(ChannelMixing):
    """Channel mixing whose hidden layer is multiplied by a second Linear of its input (GEGLU, equation 5).

    x (S, B, C); weight1, bias1, weight2, bias2 as in `ChannelMixing`, gate_weight (C, DC), gate_bias (DC,)

        y = (gelu(x W1 + b1) * (x V + c)) W2 + b2

    The hidden layer stays as wide as without a gate, DC, so there are half as many weights more. Shazeer makes it
    narrower by a third to compare at the same cost. Token mixing gets no gate.
    """

    @staticmethod
    def specification(hidden_dim: int, channels_mlp_dim: int) -> Specification:
        return {
            **ChannelMixing.specification(hidden_dim, channels_mlp_dim),
            "gate_weight": ParameterSpec((hidden_dim, channels_mlp_dim), lecun_normal(hidden_dim)),
            "gate_bias": ParameterSpec((channels_mlp_dim,), zeros),
        }

    def hidden_forward(self, x: Array) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  gelu(x W1 + b1) * (x V + c) (S, B, DC), cache"""
        activated, hidden_cache = super().hidden_forward(x)  # (S, B, DC)
        gate, gate_cache = self._linear_forward(x, self.parameters["gate_weight"], self.parameters["gate_bias"])
        gated, product_cache = self.ops.gate_forward(activated, gate)  # (S, B, DC)
        return gated, (hidden_cache, gate_cache, product_cache)

    def hidden_backward(self, dactivated: Array, cache: Cache) -> Array:
        """dgated (S, B, DC)  ->  dx (S, B, C). x goes into two Linears, so two gradients come back to it."""
        hidden_cache, gate_cache, product_cache = cache
        dactivated, dgate = self.ops.gate_backward(dactivated, product_cache)  # (S, B, DC) each
        dx, dweight, dbias = self._linear_backward(dgate, gate_cache)  # (S, B, C)
        self.parameters.gradient("gate_weight")[...] += dweight
        self.parameters.gradient("gate_bias")[...] += dbias
        return dx + super().hidden_backward(dactivated, hidden_cache)
