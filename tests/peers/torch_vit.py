"""A Vision Transformer as a PyTorch user would write it: (B, S, C), and PyTorch's own attention.

It shares nothing with the package but the names, so that agreement means something.
"""

import torch
from torch import nn

from tests.peers.torch_weights import with_our_weights

NAMES = (  # ours, PyTorch's
    ("token_mixing.weight_qkv", "attention.in_proj_weight"),
    ("token_mixing.bias_qkv", "attention.in_proj_bias"),
    ("token_mixing.weight_out", "attention.out_proj.weight"),
    ("token_mixing.bias_out", "attention.out_proj.bias"),
    ("channel_mixing.weight1", "channel_mixing.0.weight"),
    ("channel_mixing.bias1", "channel_mixing.0.bias"),
    ("channel_mixing.weight2", "channel_mixing.2.weight"),
    ("channel_mixing.bias2", "channel_mixing.2.bias"),
    ("class_token.token", "class_token"),
    ("positions.embedding", "positions"),
    (".scale", ".weight"),
)


class TorchBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.token_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.attention = nn.MultiheadAttention(config.hidden_dim, config.heads, batch_first=True)
        self.channel_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.channel_mixing = nn.Sequential(
            nn.Linear(config.hidden_dim, config.channels_mlp_dim),
            nn.GELU(approximate="tanh" if config.gelu == "tanh" else "none"),
            nn.Linear(config.channels_mlp_dim, config.hidden_dim),
        )

    def forward(self, x):  # (B, S, C)
        normed = self.token_norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.channel_mixing(self.channel_norm(x))


class TorchViT(nn.Module):
    def __init__(self, config):
        super().__init__()
        channels, self.pool = config.hidden_dim, config.pool
        tokens = config.num_tokens + (config.pool == "class")
        self.stem = nn.Conv2d(config.in_channels, channels, config.patch_size, stride=config.patch_size)
        if self.pool == "class":
            self.class_token = nn.Parameter(torch.zeros(channels))
        self.positions = nn.Parameter(torch.zeros(tokens, channels))
        self.blocks = nn.ModuleList(TorchBlock(config) for _ in range(config.num_blocks))
        self.pre_head_layer_norm = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.head = nn.Linear(channels, config.num_classes)

    def forward(self, images):  # (B, in_channels, height, width)
        x = self.stem(images).flatten(2).transpose(1, 2)  # (B, S, C)
        if self.pool == "class":
            x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, S+1, C)
        x = x + self.positions
        for block in self.blocks:
            x = block(x)
        x = self.pre_head_layer_norm(x)
        return self.head(x[:, 0] if self.pool == "class" else x.mean(dim=1))


def layout(name, config):
    """PyTorch's name of one of our parameters, and the functions that carry an array over and back."""
    theirs = name
    for ours, torchs in NAMES:
        theirs = theirs.replace(ours, torchs)
    if name == "stem.weight":  # (P*P*in_channels, C) <-> (C, in_channels, P, P)
        patch = (config.patch_size, config.patch_size, config.in_channels)
        return (
            theirs,
            lambda ours: ours.reshape(*patch, -1).transpose(3, 2, 0, 1),
            lambda theirs: theirs.transpose(2, 3, 1, 0).reshape(-1, config.hidden_dim),
        )
    if name == "positions.embedding":  # both are (S, C)
        return theirs, lambda ours: ours, lambda theirs: theirs
    return theirs, lambda ours: ours.T, lambda theirs: theirs.T  # vectors are their own transposes


def torch_vit_of(model):
    """A TorchViT with the same weights and dtype."""
    return with_our_weights(TorchViT(model.config), model, layout)
