"""Every buffer of a training step, counted before any is allocated.

A step's activations lie in one buffer pool whose layout follows from the configuration alone. So we know in advance the
peak memory, and a batch size that fits when the GPU is too small; and addresses never change, which a CUDA graph needs.
In units of the residual stream's size X = S * B * C * itemsize, a block keeps

    x and its normalised rows, twice                       4
    the token MLP's hidden layer before and after GELU     2 DS / S        (1 when recomputed)
    the channel MLP's                                      2 DC / C        (1 when recomputed)

and all blocks share one branch, one gradient of the residual stream, one gradient of a hidden layer. An MLP whose
backward pass is a tile kernel keeps no hidden layer, since that kernel computes it anew: with both, a block keeps 4 X.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.errors import BackendError
from tinymixer.kernels.precision import Precision
from tinymixer.models import MixerConfig

ALIGNMENT = 256  # bytes, as CUDA's own allocations; so no two buffers share a cache line


class BatchTooLargeError(BackendError):
    """The batch does not fit into the GPU's memory, whichever way it is computed on it."""


@dataclass(frozen=True)
class FusedMlps:
    """Which passes of which MLP are tile kernels: "none", "backward" or "both".

    Not the forward pass alone: it keeps no hidden layer, which a backward pass without tile kernels reads.
    """

    token: str = "none"
    channel: str = "none"

    def forward(self, kind: str) -> bool:
        return bool(getattr(self, kind) == "both")

    def backward(self, kind: str) -> bool:
        return bool(getattr(self, kind) != "none")


NOT_FUSED = FusedMlps()


@dataclass(frozen=True)
class Buffer:
    name: str
    shape: tuple[int, ...]
    dtype: Any

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class MemoryPlan:
    """Buffers one after the other, each aligned; `offsets` in bytes."""

    buffers: tuple[Buffer, ...]

    @property
    def offsets(self) -> dict[str, int]:
        offsets, position = {}, 0
        for buffer in self.buffers:
            offsets[buffer.name] = position
            position += _aligned(buffer.nbytes)
        return offsets

    @property
    def nbytes(self) -> int:
        return sum(_aligned(buffer.nbytes) for buffer in self.buffers)

    def views(self, pool: Any) -> dict[str, Any]:
        """Shaped views of a buffer pool, a flat uint8 array of at least `nbytes`."""
        offsets = self.offsets
        return {
            buffer.name: pool[offsets[buffer.name] : offsets[buffer.name] + buffer.nbytes]
            .view(buffer.dtype)
            .reshape(buffer.shape)
            for buffer in self.buffers
        }


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def plan_activations(
    config: MixerConfig, images: int, precision: Precision, recompute: bool = False, fused: FusedMlps = NOT_FUSED
) -> MemoryPlan:
    """The activations of a step, or of a part of one, over `images` images.

    recompute   keep hidden layers only before their GELU and apply it again in the backward pass: less memory for one
                more pass over each hidden layer
    fused       which MLPs are tile kernels
    """
    S, B, C, L = config.num_tokens, images, config.hidden_dim, config.num_blocks
    DS, DC, K = config.tokens_mlp_dim, config.channels_mlp_dim, config.num_classes
    working = precision.storage
    buffers = [
        Buffer("patches", (S * B, config.patch_features), working),
        Buffer("branch", (S * B, C), working),  # a branch's output; backward: its input's gradient
        Buffer("features", (B, C), np.float32),
        Buffer("logits", (B, K), np.float32),
    ]
    for i in range(2 * L + 1):
        buffers.append(Buffer(f"x{i}", (S * B, C), working))
        buffers.append(Buffer(f"mean{i}", (S * B,), np.float32))
        buffers.append(Buffer(f"inv_std{i}", (S * B,), np.float32))
    for i in range(2 * L):
        buffers.append(Buffer(f"normed{i}", (S * B, C), working))
    unfused = {}  # hidden layers whose gradient is stored
    for kind, shape in (("token", (DS, B * C)), ("channel", (S * B, DC))):
        kept = L if not fused.backward(kind) else 0 if fused.forward(kind) else 1
        buffers += [Buffer(f"{kind}_hidden{block}", shape, working) for block in range(kept)]
        kept = min(kept, 1) if recompute else kept
        buffers += [Buffer(f"{kind}_activated{block}", shape, working) for block in range(kept)]
        if not fused.backward(kind):
            unfused[kind] = shape[0] * shape[1]
    buffers.append(Buffer("dx", (S * B, C), working))
    buffers.append(Buffer("dfeatures", (B, C), np.float32))
    if unfused:
        buffers.append(Buffer("dhidden", (max(unfused.values()),), working))
    if config.drop_path:
        buffers.append(Buffer("dbranch", (S * B, C), working))
    return MemoryPlan(tuple(buffers))


def largest_batch(
    config: MixerConfig, precision: Precision, free_bytes: int, recompute: bool = False, fused: FusedMlps = NOT_FUSED
) -> int:
    """The largest batch, rounded down to a multiple of 8, whose activations fit into `free_bytes`; 0 for none."""
    low, high = 0, 1
    while plan_activations(config, high, precision, recompute, fused).nbytes <= free_bytes:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        fits = plan_activations(config, middle, precision, recompute, fused).nbytes <= free_bytes
        low, high = (middle, high) if fits else (low, middle)
    return low // 8 * 8 if low >= 8 else low


def out_of_memory(
    config: MixerConfig, images: int, precision: Precision, free_bytes: int, recompute: bool, parts: int = 1,
    fused: FusedMlps = NOT_FUSED,
) -> str:  # fmt: skip
    """One sentence for a batch that does not fit: what it needs, what there is, and what to do.

    images   of the whole batch, which is computed in `parts` parts
    """
    needed = plan_activations(config, images // parts, precision, recompute, fused).nbytes
    fits = largest_batch(config, precision, int(free_bytes * 0.95), recompute, fused)
    advice = "not even one image fits: choose a smaller model"
    if fits:
        advice = f"--batch-size {fits * parts} fits"
        more = (n for n in range(parts + 1, images + 1) if images % n == 0 and images // n <= fits)
        if (smallest := next(more, None)) is not None:
            advice += f", or keep it and add --micro-batches {smallest}"
    return (
        f"out of GPU memory: a step of {images // parts} images in {precision.name} needs {needed / 2**30:.2f} GiB "
        f"for its activations and {free_bytes / 2**30:.2f} GiB are free; {advice}"
    )
