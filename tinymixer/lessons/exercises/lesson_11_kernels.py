"""Exercises 11.4 to 11.6: blocks, one thread of a kernel, bfloat16."""

import numpy as np

from tinymixer import ops
from tinymixer.kernels.launch import divide_up
from tinymixer.lessons.exercise import Mistake, exercise


class WatchedArray:
    """What a thread may write into: remembers how often each element was written. At first it holds anything."""

    def __init__(self, size: int) -> None:
        self.values, self.writes = np.linspace(100, 200, size), np.zeros(size, int)

    def __setitem__(self, index, value):
        self.values[index] = value
        self.writes[index] += 1

    def __getitem__(self, index):
        return self.values[index]

    def __len__(self) -> int:
        return len(self.values)


# ------------------------------------------------------------------------------------------ 11.4 blocks

exercise(
    "11.4",
    "How many blocks",
    "my_blocks",
    reference=lambda size, threads_per_block: divide_up(size, threads_per_block),
    cases=lambda generator: ((10, 4), (12, 4), (11, 4), (1_000_000, 256), (256, 256), (3, 8), (1, 1)),
    returns="blocks",
    mistakes=[
        Mistake(
            "The quotient is rounded down, so the last few elements get no thread.",
            lambda size, threads_per_block: size // threads_per_block,
        ),
        Mistake(
            "There is a block too many when the size is a multiple of the block's: look at 12 elements and 4 threads.",
            lambda size, threads_per_block: size // threads_per_block + 1,
        ),
        Mistake(
            "The quotient is rounded to the nearest number, so sometimes the last elements get no thread.",
            lambda size, threads_per_block: round(size / threads_per_block),
        ),
        Mistake(
            "This number has a fraction. A number of blocks is whole, and large enough for every element.",
            lambda size, threads_per_block: size / threads_per_block,
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 11.5 one thread of a kernel


def _gelu(value):
    return ops.gelu_tanh_forward(np.asarray(value))[0]


def _run_all_threads(function, block, thread, threads_per_block, x, bias, y):
    """Start the function for every block and thread, in an order that nobody promised."""
    written = WatchedArray(len(x))
    blocks = divide_up(len(x), threads_per_block)
    order = np.random.default_rng(len(x)).permutation(blocks * threads_per_block)
    for number in order:
        function(*divmod(int(number), threads_per_block), threads_per_block, x, bias, written)
    return written.values, written.writes


def _bias_gelu_thread(block, thread, threads_per_block, x, bias, y):
    i = block * threads_per_block + thread
    if i >= len(x):
        return
    y[i] = _gelu(x[i] + bias[i % len(bias)])


def _thread(index, value=None, guard=lambda i, x: i < len(x)):
    """A mistaken thread: another index, another value or another guard than the right one."""

    def run(block, thread, threads_per_block, x, bias, y):
        i = index(block, thread, threads_per_block)
        if guard(i, x):
            y[i] = value(i, x, bias) if value else _gelu(x[i] + bias[i % len(bias)])

    return run


def _added_to_fresh_memory(block, thread, threads_per_block, x, bias, y):
    i = block * threads_per_block + thread
    if i < len(x):
        y[i] += _gelu(x[i] + bias[i % len(bias)])


def _right_index(block, thread, threads_per_block):
    return block * threads_per_block + thread


def _whole_array_by_every_thread(block, thread, threads_per_block, x, bias, y):
    for i in range(len(x)):
        y[i] = _gelu(x[i] + bias[i % len(bias)])


def _thread_inputs(generator):
    """rows x columns and threads per block: with a tail, without one, square, one row."""
    for rows, columns, threads_per_block in ((3, 4, 5), (4, 6, 8), (5, 5, 4), (1, 7, 32)):
        size = rows * columns
        blocks = divide_up(size, threads_per_block)
        x, bias = generator.normal(size=size), generator.normal(size=columns)
        yield f"0 to {blocks - 1}", f"0 to {threads_per_block - 1}", threads_per_block, x, bias, np.zeros(size)


exercise(
    "11.5",
    "One thread of a kernel",
    "my_bias_gelu_thread",
    reference=_bias_gelu_thread,
    cases=_thread_inputs,
    returns=("y", "writes"),
    call=_run_all_threads,
    mistakes=[
        Mistake(
            "Nothing is ever written into y. `y = ...` only gives the name y another value, and the value that a "
            "thread returns is lost: write into an element, y[...].",
            lambda block, thread, threads_per_block, x, bias, y: None,
        ),
        Mistake(
            "The result is added to what y held before, and nobody has set that to 0: fresh memory holds anything. "
            "Write the element; don't add to it.",
            _added_to_fresh_memory,
        ),
        Mistake(
            "The guard for the tail is missing: the last block has more threads than there are elements left. Python "
            "stops here; a GPU would have read and written memory that belongs to somebody else.",
            _thread(_right_index, guard=lambda i, x: True),
        ),
        Mistake(
            "The guard lets one thread too many through: the last element is number len(x) - 1.",
            _thread(_right_index, guard=lambda i, x: i <= len(x)),
        ),
        Mistake(
            "The guard stops one thread too many: the last element is never written.",
            _thread(_right_index, guard=lambda i, x: i < len(x) - 1),
        ),
        Mistake(
            "The index does not use the block, so all blocks write the same few elements.",
            _thread(lambda block, thread, threads_per_block: thread),
        ),
        Mistake(
            "The index does not use the number of threads in a block, so the blocks overlap.",
            _thread(lambda block, thread, threads_per_block: block + thread),
        ),
        Mistake(
            "The index does not use the thread, so all threads of a block write the same element.",
            _thread(lambda block, thread, threads_per_block: block * threads_per_block),
        ),
        Mistake(
            "Block and thread have changed places in the index.",
            _thread(lambda block, thread, threads_per_block: thread * threads_per_block + block),
        ),
        Mistake(
            "The bias is picked by the row (the quotient). Rows lie one after the other in memory and each holds all "
            "columns: the column is the remainder.",
            _thread(_right_index, lambda i, x, bias: _gelu(x[i] + bias[i // len(bias)])),
        ),
        Mistake(
            "The bias is picked by the thread. A block does not begin at column 0: work the column out from the index.",
            lambda block, thread, threads_per_block, x, bias, y: _thread(
                _right_index, lambda i, x, bias: _gelu(x[i] + bias[thread % len(bias)])
            )(block, thread, threads_per_block, x, bias, y),
        ),
        Mistake(
            "The bias is added after the GELU, but it belongs to the Linear before it.",
            _thread(_right_index, lambda i, x, bias: _gelu(x[i]) + bias[i % len(bias)]),
        ),
        Mistake("The GELU is missing.", _thread(_right_index, lambda i, x, bias: x[i] + bias[i % len(bias)])),
        Mistake("The bias is missing.", _thread(_right_index, lambda i, x, bias: _gelu(x[i]))),
        Mistake(
            "Every thread does the whole array, so each element is written many times. One thread has one element.",
            _whole_array_by_every_thread,
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 11.6 bfloat16


def _bfloat16(x):
    bits = x.view(np.uint32)
    rounding = 0x7FFF + ((bits >> 16) & 1)
    return ((bits + rounding) & 0xFFFF0000).view(np.float32)


def _bfloat16_inputs(generator):
    """Ordinary numbers; numbers exactly half way between two neighbours; small and negative ones; zero."""
    yield (generator.normal(size=(4, 3)).astype(np.float32),)
    yield (np.array([1 + 1 / 256, 1 + 3 / 256, 1 + 5 / 256, -1 - 3 / 256, 0.0], np.float32),)
    yield ((1e-3 * generator.normal(size=8)).astype(np.float32),)
    yield ((1e30 * generator.normal(size=8)).astype(np.float32),)


exercise(
    "11.6",
    "Rounding to bfloat16",
    "my_bfloat16",
    reference=_bfloat16,
    cases=_bfloat16_inputs,
    returns="rounded",
    mistakes=[
        Mistake(
            "The lower half of the bits is cut off without rounding, so every number moves towards zero.",
            lambda x: (x.view(np.uint32) & 0xFFFF0000).view(np.float32),
        ),
        Mistake(
            "Numbers exactly half way always move away from zero. At a tie the last kept bit decides: it must be 0.",
            lambda x: ((x.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32),
        ),
        Mistake(
            "Numbers exactly half way always move towards zero. At a tie the last kept bit decides: it must be 0.",
            lambda x: ((x.view(np.uint32) + 0x7FFF) & 0xFFFF0000).view(np.float32),
        ),
        Mistake(
            "At a tie the odd neighbour is taken. The bit to add is the last one kept, as it is.",
            lambda x: ((x.view(np.uint32) + 0x8000 - ((x.view(np.uint32) >> 16) & 1)) & 0xFFFF0000).view(np.float32),
        ),
        Mistake(
            "This is float16, another format: 10 bits of mantissa and 5 of exponent.",
            lambda x: x.astype(np.float16).astype(np.float32),
        ),
        Mistake(
            "The numbers were converted to whole numbers, but their bits are asked for. Compare `astype` with `view`.",
            lambda x: ((x.astype(np.uint32) + 0x7FFF + ((x.astype(np.uint32) >> 16) & 1)) & 0xFFFF0000).view(
                np.float32
            ),
        ),
        Mistake(
            "The bits are right, but whole numbers came back. View their bits as float32, "
            "which is not the same as converting them (astype).",
            lambda x: (x.view(np.uint32) + 0x7FFF + ((x.view(np.uint32) >> 16) & 1)) & 0xFFFF0000,
        ),
    ],
)
