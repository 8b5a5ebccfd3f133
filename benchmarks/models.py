"""The models that are compared, with the batch each is measured at, and how much arithmetic a step is."""

from tinymixer import MixerConfig

NANO = MixerConfig()
SMALL4 = MixerConfig(hidden_dim=512, tokens_mlp_dim=256, channels_mlp_dim=2048)
MODELS = {"nano": (NANO, 512), "small/4": (SMALL4, 1024)}


def step_flops(config: MixerConfig, batch: int) -> float:
    """Floating-point operations of a training step's products: two per multiplication, forward and twice backward.

    The stem's product has no gradient for the images, so it counts twice; the head is left out, being tiny.
    """
    S, C, DS, DC = config.tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
    blocks = config.num_blocks * 2 * (S * C * DC + S * C * DS)
    return 2.0 * batch * (3 * blocks + 2 * S * config.patch_features * C)
