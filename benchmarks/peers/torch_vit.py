"""The Vision Transformer in PyTorch: one Linear for queries, keys and values, and PyTorch's fused attention."""

import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from torch import nn

from benchmarks.peers import torch_training
from benchmarks.peers.batch import patches_first_batch
from benchmarks.peers.torch_training import peak_bytes, reset_peak, versions
from tinymixer.bench.timing import Run
from tinymixer.bench.work import first_weights
from tinymixer.models import ViTConfig

__all__ = ["VisionTransformer", "make_forward", "make_step", "peak_bytes", "reset_peak", "versions"]
NAMES = (  # ours, PyTorch's
    ("token_mixing.weight_", ""), ("token_mixing.bias_", ""),
    ("channel_mixing.weight", "channel"), ("channel_mixing.bias", "channel"),
    ("class_token.token", "class_token"), ("positions.embedding", "positions"), ("pre_head_layer_norm", "norm"),
)  # fmt: skip


class Block(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        channels = config.hidden_dim
        self.heads, self.form = config.heads, "tanh" if config.gelu == "tanh" else "none"
        self.token_norm = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.channel_norm = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.channel1 = nn.Linear(channels, config.channels_mlp_dim)
        self.channel2 = nn.Linear(config.channels_mlp_dim, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, S, C)
        images, tokens, channels = x.shape
        qkv = self.qkv(self.token_norm(x)).reshape(images, tokens, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, S, D) each
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)  # (B, S, C)
        x = x + self.out(mixed)
        return x + self.channel2(F.gelu(self.channel1(self.channel_norm(x)), approximate=self.form))


class VisionTransformer(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        channels = config.hidden_dim
        self.stem = nn.Linear(config.patch_features, channels)
        self.class_token = nn.Parameter(torch.zeros(channels)) if config.pool == "class" else None
        self.positions = nn.Parameter(torch.zeros(config.sequence_length, channels))
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.num_blocks)))
        self.norm = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.head = nn.Linear(channels, config.num_classes)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:  # (B, S, P*P*in_channels) -> (B, K)
        x = self.stem(patches)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, S+1, C)
        x = self.norm(self.blocks(x + self.positions))
        return self.head(x.mean(dim=1) if self.class_token is None else x[:, 0])


def load_weights(model: VisionTransformer, config: ViTConfig) -> None:
    """Load our weights. PyTorch keeps a Linear's weight as (outputs, inputs)."""
    arrays = {}
    for name, array in first_weights(config).items():
        theirs = name
        for ours, renamed in NAMES:
            theirs = theirs.replace(ours, renamed)
        part, _, kind = theirs.rpartition(".")
        if kind in ("qkv", "out", "channel1", "channel2"):  # blocks.0.qkv, of a weight or of a bias
            theirs = f"{theirs}.{'weight' if array.ndim == 2 else 'bias'}"
        theirs = f"{part}.weight" if kind == "scale" else theirs
        turned = array.ndim == 2 and name != "positions.embedding"
        arrays[theirs] = torch.from_numpy(array.T.copy() if turned else array)
    model.load_state_dict(arrays)


def make_step(config: ViTConfig, batch: int, precision: str, device: str, compiled: bool = False) -> Run:
    return torch_training.make_step(*_setting(config, batch), precision, device, compiled)


def make_forward(config: ViTConfig, batch: int, precision: str, device: str, compiled: bool = False) -> Run:
    return torch_training.make_forward(*_setting(config, batch), precision, device, compiled)


def _setting(config: ViTConfig, batch: int) -> tuple[VisionTransformer, torch.Tensor, torch.Tensor]:
    """The model with our weights, patches (B, S, features) and labels (B,)."""
    model = VisionTransformer(config)
    load_weights(model, config)
    patches, labels = (torch.from_numpy(array) for array in patches_first_batch(config, batch))
    return model, patches, labels
