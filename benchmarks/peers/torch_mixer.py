"""MLP-Mixer in PyTorch."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from torch import nn

from benchmarks.peers import torch_training
from benchmarks.peers.batch import patches_first_batch
from benchmarks.peers.torch_training import peak_bytes, reset_peak, versions
from tinymixer import MixerConfig
from tinymixer.bench.timing import Run
from tinymixer.bench.work import first_weights

__all__ = ["Mixer", "make_forward", "make_step", "peak_bytes", "reset_peak", "versions"]


class Block(nn.Module):
    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.token1 = nn.Linear(config.num_tokens, config.tokens_mlp_dim)
        self.token2 = nn.Linear(config.tokens_mlp_dim, config.num_tokens)
        self.channel_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.channel1 = nn.Linear(config.hidden_dim, config.channels_mlp_dim)
        self.channel2 = nn.Linear(config.channels_mlp_dim, config.hidden_dim)
        self.form = "tanh" if config.gelu == "tanh" else "none"

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, S, C)
        y = self.token1(self.token_norm(x).transpose(1, 2))  # (B, C, DS)
        x = x + self.token2(F.gelu(y, approximate=self.form)).transpose(1, 2)  # (B, S, C)
        y = self.channel1(self.channel_norm(x))  # (B, S, DC)
        return x + self.channel2(F.gelu(y, approximate=self.form))  # (B, S, C)


class Mixer(nn.Module):
    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.stem = nn.Linear(config.patch_features, config.hidden_dim)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.num_blocks)))
        self.norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_dim, config.num_classes)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:  # (B, S, P*P*in_channels) -> (B, K)
        return self.head(self.norm(self.blocks(self.stem(patches))).mean(dim=1))


def load_weights(model: Mixer, weights: dict[str, np.ndarray]) -> None:
    """Load our weights. PyTorch keeps a Linear's weight as (outputs, inputs), as our token mixing does too."""
    arrays = {}
    for name, array in weights.items():
        for ours, theirs in (
            ("token_mixing.weight", "token.weight"), ("token_mixing.bias", "token.bias"),
            ("channel_mixing.weight", "channel.weight"), ("channel_mixing.bias", "channel.bias"),
            ("pre_head_layer_norm", "norm"), ("norm.scale", "norm.weight"),
        ):  # fmt: skip
            name = name.replace(ours, theirs)
        if name[-1].isdigit():  # token.weight1 -> token1.weight
            part, kind = name.rsplit(".", 1)
            name = f"{part}{kind[-1]}.{kind[:-1]}"
        turned = array.ndim == 2 and "token" not in name
        arrays[name] = torch.from_numpy(np.ascontiguousarray(array.T if turned else array))
    model.load_state_dict(arrays)


def make_step(config: MixerConfig, batch: int, precision: str, device: str, compiled: bool = False) -> Run:
    return torch_training.make_step(*_setting(config, batch), precision, device, compiled)


def make_forward(config: MixerConfig, batch: int, precision: str, device: str, compiled: bool = False) -> Run:
    return torch_training.make_forward(*_setting(config, batch), precision, device, compiled)


def _setting(config: MixerConfig, batch: int) -> tuple[Mixer, torch.Tensor, torch.Tensor]:
    """The model with our weights, patches (B, S, features) and labels (B,)."""
    model = Mixer(config)
    load_weights(model, first_weights(config))
    patches, labels = (torch.from_numpy(array) for array in patches_first_batch(config, batch))
    return model, patches, labels
