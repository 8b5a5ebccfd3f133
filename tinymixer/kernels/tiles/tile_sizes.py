"""Which tile kernels a Mixer's step needs, with which tiles, and what a GPU has room for.

A tile kernel's sizes are fixed when it is compiled. For each kernel a few are tried, the preferred one first; the
compiler says how much shared memory and how many registers each takes (`cubin.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tinymixer.kernels.precision import Precision
from tinymixer.kernels.tiles.channel_mlp import channel_kernels
from tinymixer.kernels.tiles.token_mlp import token_kernels

Kind = Literal["token", "channel"]
KINDS: tuple[Kind, ...] = ("token", "channel")
FORWARD: dict[Kind, tuple[str, ...]] = {"token": ("token_forward",), "channel": ("channel_forward",)}
BACKWARD: dict[Kind, tuple[str, ...]] = {
    "token": ("token_backward",),
    "channel": ("channel_backward_input", "channel_backward_weights"),
}

KIB = 1024
SHARED_BYTES = {  # the most that one block may use, by architecture (CUDA programming guide, compute capabilities)
    "sm_80": 163 * KIB,
    "sm_86": 99 * KIB,
    "sm_89": 99 * KIB,
    "sm_90": 227 * KIB,
    "sm_100": 227 * KIB,
    "sm_120": 99 * KIB,
}
# Bytes of float32 tiles that a block may hold at once. A multiprocessor has 256 KiB of registers. The tensor cores of
# sm_90 and sm_100 read their factors from shared memory; all others need registers for these, too.
MOST_SUMS = dict.fromkeys(SHARED_BYTES, 80 * KIB) | {"sm_90": 208 * KIB, "sm_100": 208 * KIB}
WIDEST = 256  # channels of a channel kernel: wider rows spill with every tile
FEW_SPILLS = 64  # bytes a thread: so few that no smaller tile is tried
MOST_SPILLS = 1 * KIB  # a kernel with more is not even timed
SMALLEST = 16  # the least size of a factor of a tensor core's product
NUMBERS = ("bfloat16", "float16")  # precisions whose products tile kernels compute; cuTile has the same names

COLUMNS = (128, 64, 32, 16)  # of a token tile
ROWS_AND_HIDDEN = ((128, 64), (64, 64), (64, 32), (32, 32), (32, 16), (16, 16))  # of a channel tile


@dataclass(frozen=True)
class MlpSizes:
    """What the kernels must know of a model and a batch."""

    S: int
    C: int
    DS: int
    DC: int
    images: int
    multiprocessors: int

    @property
    def columns(self) -> int:
        return self.images * self.C

    @property
    def rows(self) -> int:
        return self.S * self.images


@dataclass(frozen=True)
class TileArray:
    """An argument of a kernel: a C-contiguous array in the activations' format, or in float32."""

    shape: tuple[int, ...]
    activation: bool


@dataclass(frozen=True)
class TileLaunch:
    """A kernel with its sizes: how to make it, what it is given, how many blocks run it.

    make     from (`cuda.tile` or `NumpyTiles`, the format of a product's factors) to the kernel
    tile     its tile's sizes, for tables
    sums     bytes of the float32 tiles that a block holds at once, about
    """

    name: str
    make: Callable[[Any, Any], Any]
    arrays: tuple[TileArray, ...]
    grid: tuple[int, ...]
    tile: tuple[int, ...]
    sums: int


def obstacle(sizes: MlpSizes, precision: Precision, gelu: str, dropout: float, architecture: str) -> str | None:
    """Why tile kernels cannot compute such a step, as the end of a sentence; None if they can."""
    lengths = {"tokens": sizes.S, "hidden_dim": sizes.C, "tokens_mlp_dim": sizes.DS, "channels_mlp_dim": sizes.DC}
    odd = [f"{name} is {n}" for name, n in lengths.items() if n < SMALLEST or n & (n - 1)]
    if precision.name not in NUMBERS:
        return f"they multiply in 16 bits, not in {precision.name}"
    if odd:
        return f"their tiles are powers of two from {SMALLEST} on, and {', '.join(odd)}"
    if sizes.rows * sizes.C >= 1 << 31:
        return "they count in 32 bits, and the batch has 2^31 activations or more: more micro-batches would do"
    if gelu != "tanh":
        return f"they have the tanh form of GELU, not {gelu}"
    if dropout:
        return "they have no dropout"
    if architecture not in SHARED_BYTES:
        return f"they are compiled for {', '.join(SHARED_BYTES)}, and this GPU is {architecture}"
    return None


def candidates(name: str, sizes: MlpSizes, architecture: str) -> list[TileLaunch]:
    """The kernel of that name with every tile that may fit the sizes, the preferred one first; may be empty."""
    if name.startswith("token"):
        found = [_token(name, sizes, N) for N in COLUMNS if sizes.columns % N == 0]
    else:
        tiles = ROWS_AND_HIDDEN if sizes.C <= WIDEST else ()
        fitting = [(M, H) for M, H in tiles if sizes.rows % M == 0 and sizes.DC % H == 0]
        found = [_channel(name, sizes, M, H) for M, H in fitting]
    return [launch for launch in found if launch.sums <= MOST_SUMS[architecture]]


def _token(name: str, sizes: MlpSizes, N: int) -> TileLaunch:
    S, DS, columns = sizes.S, sizes.DS, sizes.columns
    stream, bias = TileArray((S, columns), True), TileArray((DS,), False)
    weights = TileArray((DS, S), True), bias, TileArray((S, DS), True)
    tiles = columns // N
    if name == "token_forward":
        return TileLaunch(
            name, lambda ct, number: token_kernels(ct, S, DS, N, number).forward,
            (stream, *weights, stream), (tiles,), (N,), 4 * N * (S + DS),
        )  # fmt: skip
    blocks = min(tiles, sizes.multiprocessors)
    sums = tuple(TileArray(shape, False) for shape in ((blocks, DS, S), (blocks, S, DS), (blocks, DS)))
    return TileLaunch(
        name, lambda ct, number: token_kernels(ct, S, DS, N, number).backward,
        (stream, stream, *weights, stream, *sums), (blocks,), (N,), 4 * (2 * S * DS + N * (2 * DS + S)),
    )  # fmt: skip


def _channel(name: str, sizes: MlpSizes, M: int, H: int) -> TileLaunch:
    C, DC, rows = sizes.C, sizes.DC, sizes.rows
    stream, bias = TileArray((rows, C), True), TileArray((DC,), False)
    weights = TileArray((C, DC), True), bias, TileArray((DC, C), True)
    if name == "channel_forward":
        return TileLaunch(
            name, lambda ct, number: channel_kernels(ct, C, DC, M, H, number).forward,
            (stream, *weights, stream), (rows // M,), (M, H), 4 * M * (H + C),
        )  # fmt: skip
    if name == "channel_backward_input":
        return TileLaunch(
            name, lambda ct, number: channel_kernels(ct, C, DC, M, H, number).backward_input,
            (stream, stream, *weights, stream), (rows // M,), (M, H), 4 * M * (2 * H + C),
        )  # fmt: skip
    pieces = DC // H
    parts = max(1, min(rows // M, sizes.multiprocessors // pieces))
    sums = tuple(TileArray(shape, False) for shape in ((parts, C, DC), (parts, DC, C), (parts, DC)))
    return TileLaunch(
        name, lambda ct, number: channel_kernels(ct, C, DC, M, H, number).backward_weights,
        (stream, stream, *weights, *sums), (pieces, parts), (M, H), 4 * (2 * C * H + 2 * M * H),
    )  # fmt: skip
