"""A Mixer as a PyTorch user would write it: (B, S, C), a convolution as the stem, transpose around the token MLP.

It shares nothing with the package but the names, so that agreement means something.
"""

import torch
from torch import nn

from tests.peers.torch_weights import with_our_weights


class TorchBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        approximate = "tanh" if config.gelu == "tanh" else "none"
        self.token_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.tokens, self.together = config.num_tokens, config.grouped_channels
        self.token_mixing = nn.Sequential(
            nn.Linear(self.together * config.num_tokens, config.tokens_mlp_dim),
            nn.GELU(approximate=approximate),
            nn.Linear(config.tokens_mlp_dim, self.together * config.num_tokens),
        )
        self.channel_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.channel_mixing = nn.Sequential(
            nn.Linear(config.hidden_dim, config.channels_mlp_dim),
            nn.GELU(approximate=approximate),
            nn.Linear(config.channels_mlp_dim, config.hidden_dim),
        )

    def forward(self, x):  # (B, S, C)
        normed = self.token_norm(x)
        columns = torch.cat([normed[..., g :: self.together] for g in range(self.together)], dim=1)  # (B, G*S, C / G)
        mixed = self.token_mixing(columns.transpose(1, 2)).transpose(1, 2)
        x = x + torch.stack(mixed.split(self.tokens, dim=1), dim=-1).flatten(2)
        return x + self.channel_mixing(self.channel_norm(x))


class TorchMixer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.stem = nn.Conv2d(config.in_channels, config.hidden_dim, config.window_size, stride=config.patch_size)
        self.overlap = config.overlap
        self.blocks = nn.ModuleList(TorchBlock(config) for _ in range(config.num_blocks))
        self.pre_head_layer_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_dim, config.num_classes)

    def forward(self, images):  # (B, in_channels, height, width)
        images = nn.functional.pad(images, [self.overlap] * 4, mode="reflect")
        x = self.stem(images).flatten(2).transpose(1, 2)  # (B, S, C)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pre_head_layer_norm(x).mean(dim=1))


def layout(name, config):
    """PyTorch's name of one of our parameters, and the functions that carry an array over and back."""
    patch = (config.window_size, config.window_size, config.in_channels)
    if name == "stem.weight":  # (P*P*in_channels, C) <-> (C, in_channels, P, P)
        return (
            name,
            lambda ours: ours.reshape(*patch, -1).transpose(3, 2, 0, 1),
            lambda theirs: theirs.transpose(2, 3, 1, 0).reshape(-1, config.hidden_dim),
        )
    if "token_mixing" in name:  # both are (outputs, inputs)
        name = name.replace("weight1", "0.weight").replace("weight2", "2.weight")
        return name.replace("bias1", "0.bias").replace("bias2", "2.bias"), lambda a: a, lambda a: a
    name = name.replace("weight1", "0.weight").replace("weight2", "2.weight").replace(".scale", ".weight")
    name = name.replace("bias1", "0.bias").replace("bias2", "2.bias")
    return name, lambda ours: ours.T, lambda theirs: theirs.T  # vectors are their own transposes


def torch_mixer_of(model):
    """A TorchMixer with the same weights and dtype."""
    return with_our_weights(TorchMixer(model.config), model, layout)
