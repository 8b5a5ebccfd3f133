"""Steps in PyTorch, eager or compiled: fused optimizer, tensor cores where the precision allows, no host syncs."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from torch import nn

from tinymixer.bench.timing import Run
from tinymixer.bench.work import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def make_step(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, precision: str, device: str, compiled: bool
) -> Run:
    model, images, labels, autocast = _placed(model, images, labels, precision, device)
    # The fused update is one kernel for all weights; on the CPU it exists since 2.4.
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, fused=True
    )
    scaler = torch.amp.GradScaler(device, enabled=precision == "float16")

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with autocast():
            return F.cross_entropy(model(images).float(), labels)

    # "reduce-overhead" replays CUDA graphs, as our own step does.
    loss_of = torch.compile(loss_of, mode="reduce-overhead" if device == "cuda" else "default") if compiled else loss_of

    def run(steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(images, labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        _wait(device)
        return loss.item()

    return run


def make_forward(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, precision: str, device: str, compiled: bool
) -> Run:
    model, images, _, autocast = _placed(model, images, labels, precision, device)
    model.eval()
    if compiled and device == "cpu":
        from torch._inductor import config as inductor

        inductor.freezing = True  # weights as constants, laid out for oneDNN ahead of time
    forward = torch.compile(model, mode="reduce-overhead" if device == "cuda" else "default") if compiled else model

    def run(steps: int) -> np.ndarray:
        # inference_mode is faster, but a compiled and frozen model needs no_grad.
        with torch.no_grad() if compiled else torch.inference_mode(), autocast():
            for _ in range(steps):
                logits = forward(images)
        return logits.float().cpu().numpy()  # waits

    return run


def _placed(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, precision: str, device: str
) -> tuple[nn.Module, torch.Tensor, torch.Tensor, Any]:
    """Model and batch on the device, and what to compute in."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")  # "high" is TF32
    kind = AUTOCAST.get(precision)

    def autocast():
        return nullcontext() if kind is None else torch.autocast(device, kind)

    return model.to(device), images.to(device), labels.to(device), autocast


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
