"""The MLPs of a Mixer's blocks as tile kernels (`kernels/tiles/`): which of them, their launches, and their sums."""

from collections.abc import Callable
from math import prod
from typing import Any

from tinymixer.engines.cuda.device_sums import DeviceSums
from tinymixer.engines.cuda.memory_plan import NOT_FUSED, FusedMlps
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.tiles.tile_kernels import TileKernel

# Which parameters' gradients a backward pass leaves as partial sums, and which kernel's last arguments they are.
SUMS = ("weight1", "weight2", "bias1")
SUMMED_BY = {"token": "token_backward", "channel": "channel_backward_weights"}


class TileMlps:
    """The kernels that `fused` asks for, by name; none by default.

    A backward pass writes a row of partial sums per block of the GPU, and `finish` adds them up into the gradients, in
    a fixed order. All blocks of the model use the same memory for it, one after the other: while it is in the L2 cache.
    """

    def __init__(self, fused: FusedMlps = NOT_FUSED, kernels: dict[str, TileKernel] | None = None) -> None:
        self.fused, self._kernels = fused, kernels or {}
        self._sums: dict[tuple[str, int], DeviceSums] = {}
        self._partials: dict[str, list[Any]] = {}

    def reserve(self, cupy: Any, blocks: int, target: Callable[[str], int]) -> None:
        """Allocate the partial sums. target: where a parameter's gradient starts in the flat vector, by its name."""
        kinds = [kind for kind in SUMMED_BY if self.fused.backward(kind)]
        for kind in kinds:
            shapes = [array.shape for array in self._kernels[SUMMED_BY[kind]].launch.arrays[-len(SUMS) :]]
            for block in range(blocks):
                sums = self._sums[kind, block] = DeviceSums(deterministic=True)
                offsets = [
                    sums.reserve_whole(parts, prod(rest), target(f"blocks.{block}.{kind}_mixing.{name}"))
                    for name, (parts, *rest) in zip(SUMS, shapes, strict=True)
                ]
                if block == 0:
                    memory = cupy.zeros(sums.nbytes // 4, "float32")
                sums.allocate(cupy, memory)
            self._partials[kind] = [sums.matrix(at, *shape) for at, shape in zip(offsets, shapes, strict=True)]

    def forward(self, kind: str, x: Any, w1: Any, b1: Any, w2: Any, y: Any) -> None:
        """The shapes are those of `token_forward` or `channel_forward`."""
        self._kernels[f"{kind}_forward"](x, w1, b1, w2, y)

    def backward(self, kind: str, x: Any, w1: Any, b1: Any, w2: Any, dx: Any, *, dy: Any) -> None:
        """Write dx, and the partial sums of the weights' gradients."""
        if kind == "token":
            self._kernels["token_backward"](x, dy, w1, b1, w2, dx, *self._partials[kind])
        else:
            self._kernels["channel_backward_input"](x, dy, w1, b1, w2, dx)
            self._kernels["channel_backward_weights"](x, dy, w1, b1, w2, *self._partials[kind])

    def finish(self, kind: str, block: int, kernels: Kernels, gradients: Any, add: bool) -> None:
        """Add up the partial sums of a block of the model into its gradients, or add them to these."""
        self._sums[kind, block].finish(kernels, gradients, add)
