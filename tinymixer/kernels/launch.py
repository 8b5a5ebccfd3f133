"""Launch layouts: how the work of a kernel is divided over threads. Plain arithmetic, tested on the host.

A launch is (grid, block, bytes of shared memory). Each kernel in `cuda/` says which layout it expects.
"""

from dataclasses import dataclass
from typing import Any

WARP = 32
THREADS = 256  # per block: enough warps to hide memory latency, few enough for eight blocks per multiprocessor
ACCESS_BYTES = 16  # the widest load and store of a thread
SHARED_BYTES = 48 * 1024  # shared memory that every block may use without a special request
LARGEST_GRID_Y = 65535
BLOCKS_PER_MULTIPROCESSOR = 4  # in a persistent grid whose blocks each write a row of partial sums
MANY_BLOCKS = 16  # per multiprocessor, for blocks without partial sums: more than fit at once, to keep all of them busy


@dataclass(frozen=True)
class Launch:
    """The grid in blocks (x, y), the block in threads (x, y), and dynamic shared memory in bytes."""

    grid: tuple[int, int]
    block: tuple[int, int]
    shared: int = 0


def divide_up(number: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-number // by)


def power_of_two_at_least(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def vector_width(itemsize: int, row_length: int, aligned: bool = True) -> int:
    """Elements per load or store: 16 bytes' worth if that divides a row, so that every row starts aligned; else 1.

    aligned   whether every array of the launch begins at a multiple of 16 bytes (see `all_aligned`)
    """
    wide = ACCESS_BYTES // itemsize
    return wide if aligned and row_length % wide == 0 else 1


def all_aligned(*arrays: Any) -> bool:
    """Whether every array begins at a multiple of 16 bytes. CUDA's allocations do; a view such as x[1:] may not.

    A 16-byte access elsewhere is an error of the GPU that ends the whole process's use of it.
    """
    return all(array.data.ptr % ACCESS_BYTES == 0 for array in arrays)


def flat(size: int, per_thread: int = 1) -> Launch:
    """One thread for every `per_thread` of `size` elements."""
    return Launch((divide_up(size, THREADS * per_thread), 1), (THREADS, 1))


def striding(size: int, per_thread: int, multiprocessors: int) -> Launch:
    """`dropout`: each thread takes `per_thread` elements at a time; a limited grid strides over all of them."""
    blocks = min(divide_up(size, THREADS * per_thread), multiprocessors * MANY_BLOCKS)
    return Launch((blocks, 1), (THREADS, 1))


def squares(size: int, multiprocessors: int) -> Launch:
    """`gradient_squares`: each thread takes four floats at a time; a limited grid strides over all of them."""
    blocks = min(divide_up(size, THREADS * 4), multiprocessors * BLOCKS_PER_MULTIPROCESSOR)
    return Launch((blocks, 1), (THREADS, 1), WARP * 4)


def per_matrix(matrices: int, largest: int) -> Launch:
    """muon.cu: up to WARP blocks for each matrix, of which the largest has that many elements."""
    return Launch((min(WARP, divide_up(largest, THREADS * 4)), matrices), (THREADS, 1), WARP * 4)


def one_block(threads: int = THREADS) -> Launch:
    """`settle_step`: a single block that computes one sum per quantity."""
    return Launch((1, 1), (threads, 1), WARP * 4)


@dataclass(frozen=True)
class RowLayout:
    """How `lanes` neighbouring threads share a row of channels (layer_norm.cu).

    groups   rows that a block works on at once
    pieces   K, the number of vectors that each thread takes from a row
    vector   V, the number of channels in a vector
    """

    lanes: int
    groups: int
    pieces: int
    vector: int

    @classmethod
    def of(cls, channels: int, itemsize: int, aligned: bool = True) -> "RowLayout":
        """The layout for rows of `channels`: one vector per thread, up to a warp of threads; then several vectors each.

        aligned   as for `vector_width`

        There are as many groups as fill a block of `THREADS`, fewer where their sums would not fit in shared memory.
        """
        vector = vector_width(itemsize, channels, aligned)
        lanes = min(WARP, power_of_two_at_least(channels // vector))
        pieces = divide_up(channels, lanes * vector)
        smallest = WARP // lanes  # groups that fill a warp
        groups = max(smallest, THREADS // lanes)
        while groups > smallest and groups * channels * 4 > SHARED_BYTES:
            groups //= 2
        return cls(lanes, groups, pieces, vector)

    @property
    def template(self) -> str:
        """The last template arguments of the kernels: V, K, L."""
        return f"{self.vector}, {self.pieces}, {self.lanes}"

    @property
    def block(self) -> tuple[int, int]:
        return self.lanes, self.groups

    @property
    def resident(self) -> int:
        """Blocks of `layer_norm_backward` that a multiprocessor has registers for (see its __launch_bounds__)."""
        held = self.pieces * self.vector
        return 3 if held <= 8 else 2 if held <= 16 else 1

    def every_row(self, rows: int) -> Launch:
        """`layer_norm_forward`: a group for each row."""
        return Launch((divide_up(rows, self.groups), 1), self.block)

    def every_image(self, images: int, channels: int) -> Launch:
        """`layer_norm_mean_forward`: a block for each image."""
        return Launch((images, 1), self.block, self.groups * channels * 4)

    def persistent(self, rows: int, channels: int, multiprocessors: int) -> Launch:
        """`layer_norm_backward`: a grid that strides over the rows; each block writes one row of sums."""
        blocks = min(divide_up(rows, self.groups), multiprocessors * self.resident)
        return Launch((blocks, 1), self.block, self.groups * channels * 4)


def over_columns(
    rows: int, columns: int, vector: int, multiprocessors: int, blocks: int = BLOCKS_PER_MULTIPROCESSOR
) -> Launch:
    """`bias_gelu_*_columns`: lanes over columns, groups over rows; grid.y is the number of rows of partial sums.

    blocks   per multiprocessor: few for the backward pass, MANY_BLOCKS for the forward pass
    """
    lanes = min(WARP, power_of_two_at_least(columns // vector))
    groups = THREADS // lanes
    column_blocks = divide_up(columns, lanes * vector)
    wanted = divide_up(multiprocessors * blocks, column_blocks)
    row_blocks = min(divide_up(rows, groups), wanted, LARGEST_GRID_Y)
    return Launch((column_blocks, row_blocks), (lanes, groups), groups * lanes * vector * 4)


def over_rows(rows: int, columns: int, vector: int, multiprocessors: int) -> Launch:
    """`bias_gelu_*_rows`: a block stays in one row; grid.x is the number of chunks a row is cut into.

    Raises ValueError for more rows than a grid has (token-mixing MLPs stay far below).
    """
    if rows > LARGEST_GRID_Y:
        raise ValueError(f"a grid has at most {LARGEST_GRID_Y} rows, got {rows}")
    turns = divide_up(columns, THREADS * vector)  # turns that one block alone would need for a row
    each = min(4, max(1, turns * rows // (multiprocessors * MANY_BLOCKS)))  # turns per block: up to 4 if blocks suffice
    chunks = divide_up(turns, each)
    return Launch((chunks, rows), (THREADS, 1), WARP * 4)


def per_image(images: int) -> Launch:
    """`augment_images`: a block for each image, with the floats of two sums over its warps."""
    return Launch((images, 1), (THREADS, 1), 2 * WARP * 4)


def patch_rows(rows: int, features: int, vector: int) -> Launch:
    """`gather_patches`, `mix_patches`: neighbouring threads share a row of `features` entries, `vector` each."""
    lanes = min(THREADS, features // vector)
    groups = THREADS // lanes
    return Launch((divide_up(rows, groups), 1), (lanes, groups))


def per_warp(items: int, warps: int = 4) -> Launch:
    """`cross_entropy`, `layer_norm_forward_lanes`: a warp for each item."""
    return Launch((divide_up(items, warps), 1), (WARP, warps))


def sum_blocks(columns_of_sums: list[int]) -> tuple[list[int], Launch]:
    """`finish_sums`: the flattened list of (number of the sum, first column), a pair per block, and the launch."""
    blocks = [
        number
        for which, columns in enumerate(columns_of_sums)
        for first in range(0, columns, WARP)
        for number in (which, first)
    ]
    return blocks, Launch((max(1, len(blocks) // 2), 1), (WARP, 8), 8 * 33 * 4)
