"""A Mixer with timm's names and arithmetic (timm/models/mlp_mixer.py, mixer_*_224), written anew from what it does.

stem.proj is a convolution whose stride is its size; a block adds mlp_tokens of the transposed norm1, then mlp_channels
of norm2; the mean over tokens follows norm. LayerNorm's eps is 1e-6, GELU is exact.
"""

import torch
from torch import nn


class Perceptron(nn.Module):
    def __init__(self, features, hidden, approximate):
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, features)
        self.approximate = approximate

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x), approximate=self.approximate))


class Block(nn.Module):
    def __init__(self, tokens, channels, hidden_tokens, hidden_channels, approximate):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels, eps=1e-6), nn.LayerNorm(channels, eps=1e-6)
        self.mlp_tokens = Perceptron(tokens, hidden_tokens, approximate)
        self.mlp_channels = Perceptron(channels, hidden_channels, approximate)

    def forward(self, x):  # (B, S, C)
        mixed = self.mlp_tokens(self.norm1(x).mT)  # (B, C, S)
        x = x + mixed.mT
        return x + self.mlp_channels(self.norm2(x))


class Stem(nn.Module):
    def __init__(self, in_channels, channels, patch):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel_size=patch, stride=patch)

    def forward(self, images):  # (B, in_channels, height, width)
        return self.proj(images).flatten(start_dim=2).mT  # (B, S, C)


class TimmMixer(nn.Module):
    def __init__(self, config):
        super().__init__()
        approximate = {"erf": "none", "tanh": "tanh"}[config.gelu]
        self.stem = Stem(config.in_channels, config.hidden_dim, config.patch_size)
        sizes = config.num_tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
        self.blocks = nn.Sequential(*[Block(*sizes, approximate) for _ in range(config.num_blocks)])
        self.norm = nn.LayerNorm(config.hidden_dim, eps=1e-6)
        self.head = nn.Linear(config.hidden_dim, config.num_classes)

    def forward(self, images):
        x = self.norm(self.blocks(self.stem(images)))
        return self.head(x.mean(dim=1))


def timm_twin(config, arrays):
    """A TimmMixer that has loaded arrays of timm's names, all of them and no others."""
    twin = TimmMixer(config)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    twin = twin.to(next(iter(state.values())).dtype)
    twin.load_state_dict(state, strict=True, assign=True)
    return twin.requires_grad_()
