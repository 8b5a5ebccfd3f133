"""MLP-Mixer in PyTorch, eager or compiled: fused optimizer, tensor cores where the precision allows, no host syncs."""

from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from torch import nn

from benchmarks.peers.batch import patches_first_batch
from tinymixer import MixerConfig
from tinymixer.bench.timing import Run
from tinymixer.bench.work import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, first_weights

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
    model, patches, labels, autocast = _setting(config, batch, precision, device)
    # The fused update is one kernel for all weights; on the CPU it exists since 2.4.
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, fused=True
    )
    scaler = torch.amp.GradScaler(device, enabled=precision == "float16")

    def loss_of(patches: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with autocast():
            return F.cross_entropy(model(patches).float(), labels)

    # "reduce-overhead" replays CUDA graphs, as our own step does.
    loss_of = torch.compile(loss_of, mode="reduce-overhead" if device == "cuda" else "default") if compiled else loss_of

    def run(steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(patches, labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        _wait(device)
        return loss.item()

    return run


def make_forward(config: MixerConfig, batch: int, precision: str, device: str, compiled: bool = False) -> Run:
    model, patches, _, autocast = _setting(config, batch, precision, device)
    model.eval()
    if compiled and device == "cpu":
        from torch._inductor import config as inductor

        inductor.freezing = True  # weights as constants, laid out for oneDNN ahead of time
    forward = torch.compile(model, mode="reduce-overhead" if device == "cuda" else "default") if compiled else model

    def run(steps: int) -> np.ndarray:
        # inference_mode is faster, but a compiled and frozen model needs no_grad.
        with torch.no_grad() if compiled else torch.inference_mode(), autocast():
            for _ in range(steps):
                logits = forward(patches)
        return logits.float().cpu().numpy()  # waits

    return run


def _setting(config: MixerConfig, batch: int, precision: str, device: str):
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")  # "high" is TF32
    model = Mixer(config)
    load_weights(model, first_weights(config))
    model = model.to(device)
    patches, labels = (torch.from_numpy(array).to(device) for array in patches_first_batch(config, batch))
    kind = AUTOCAST.get(precision)

    def autocast():
        return nullcontext() if kind is None else torch.autocast(device, kind)

    return model, patches, labels, autocast


def versions() -> str:
    return f"PyTorch {torch.__version__}"


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> int | None:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
