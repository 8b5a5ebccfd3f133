# %% [markdown]
# # Lesson 11 · To the GPU
#
# *110 minutes. Before: [lesson 04](04_gelu.ipynb) (GELU), [lesson 10](10_training.ipynb) (training).*
#
# The operations of this course run on a GPU when one word is changed. To run *fast* there they must be written with an eye
# to something that the formulas don't show: how many bytes move, and what waits for what. After this lesson you can
#
# * tell from two rates how fast some work can be at most,
# * time a device that answers before it has finished,
# * count the bytes that a line of array code moves, and say what fusing it saves,
# * write one thread of a CUDA kernel, and read the package's,
# * follow an MLP from its formula over its NumPy lines to one kernel,
# * round to bfloat16, and say which numbers of a training step must stay in float32,
# * explain why a training step is recorded, and what must not be recorded with it.
#
# **No GPU is needed.** Where there is one, two cells use it. Everything else is arithmetic, small models in Python, and figures that
# were *recorded* on a GPU. They are in the next cell, with their source.

# %%
import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.backend import get_backend
from tinymixer.data import Batches, load_dataset, normalise
from tinymixer.lessons import check, new_figure, show
from tinymixer.optim import AdamW
from tinymixer.training import train_step

BLUE, ORANGE, GREEN = COLOURS[:3]

# Recorded on one NVIDIA H100 (80 GB), 2026-11-22, with CuPy 14.2.0, CUDA 13, NumPy 2.5.2, PyTorch 2.11,
# JAX 0.11 and nvmath-python 1.0.0. "prototype" is an early version of this package's training step;
# the step as it is now has not run on a GPU yet (docs/gpu.md says what stands behind it).
COPY_RATE = 2.95e12  # bytes per second, read and written
PRODUCT_RATE = 772e12  # operations per second, (8192, 8192) @ (8192, 8192) in bfloat16
PRODUCTS = {  # rows, inner size, columns, operations per second, in bfloat16
    "channel mixing": (65536, 512, 2048, 604e12),
    "token mixing": (256, 64, 524288, 119e12),  # 115 to 123 in several runs
}
# Training steps of nano (S 64, C 128, DS 64, DC 512, 8 blocks), batch 512: images per second, each in the
# fastest of the precisions that were tried.
NANO = {
    "array expressions on CuPy, float16": 36_188,
    "PyTorch eager, tf32": 49_553,
    "PyTorch torch.compile, tf32": 64_506,
    "prototype, launched, bfloat16": 114_130,
    "prototype, captured, bfloat16": 125_728,
    "JAX jit, bfloat16": 157_804,
}
NANO_KERNEL_SECONDS, NANO_LAUNCHES = 3_972e-6, 276  # of one step of the prototype, bfloat16

# %% [markdown]
# ## Two rates
# A core of an ordinary processor works on a few numbers at a time and is quick with each. A GPU is slower with each and works on very many:
# an H100 has 132 multiprocessors that hold up to 2,048 *threads* each, about 270,000 in all. Most of them wait for memory at any
# moment; there are so many in order that some others can always go on.
#
# Two rates say what such a machine can do. The **product rate** counts operations per second in a large matrix product; a
# multiplication and an addition are two operations. The **copy rate** counts the bytes per second that are read and written when an array is
# copied. The package measures both on your processor:

# %%
from tinymixer.bench.ceilings import cpu_ceilings

here = cpu_ceilings(threads=1, repeats=3)
print("                    product rate          copy rate")
print(
    f"this processor      {here['product_flops_per_second'] / 1e12:8.3f} TFLOP/s   "
    f"{here['copy_bytes_per_second'] / 1e12:6.3f} TB/s    measured now, float32"
)
print(
    f"one H100            {PRODUCT_RATE / 1e12:8.3f} TFLOP/s   {COPY_RATE / 1e12:6.3f} TB/s"
    "    recorded, bfloat16"
)
print(f"operations per byte on the H100: {PRODUCT_RATE / COPY_RATE:.0f}")

# %% [markdown]
# Take some work of $F$ operations that moves $M$ bytes, on a machine with product rate $p$ and copy rate $m$. The arithmetic
# takes at least $F/p$ seconds, the memory at least $M/m$. Both go on at the same time, so the longer of the two decides:
#
# $$t \;\ge\; \max\!\left(\frac{F}{p},\, \frac{M}{m}\right).$$
#
# If the first is longer, the work is *bound by arithmetic*; otherwise it is *bound by memory*, and a faster product would not help it at all.
#
# ### Exercise 11.1
# Write this bound, and what it is bound by.


# %%
def my_least_time(flops, nbytes, peak, bandwidth):
    """operations, bytes, operations per second, bytes per second
    ->  seconds, and the text "arithmetic" or "memory"
    """
    ### BEGIN SOLUTION
    arithmetic, memory = flops / peak, nbytes / bandwidth
    return max(arithmetic, memory), "arithmetic" if arithmetic > memory else "memory"
    ### END SOLUTION


check("11.1", my_least_time)

# %% [markdown]
# The *rate* of the work, $F/t$, is therefore at most $\min(p,\; m \cdot F/M)$. Drawn over the
# **intensity** $F/M$, the operations per byte, that is a slope and then a level: a roof. The bigger of the two Mixer models that were measured
# has these products, in bfloat16 with two bytes a number. A product of `(R, I)` and `(I, O)` does $2RIO$ operations and moves at least
# its three matrices.

# %%
figure, axis = new_figure(width=6.5, height=3.4)
intensity = np.logspace(0.5, 4, 200)
axis.plot(
    intensity,
    np.minimum(PRODUCT_RATE, COPY_RATE * intensity) / 1e12,
    color=INK,
    label="the roof",
)
for (name, (rows, inner, columns, rate)), colour in zip(
    PRODUCTS.items(), (BLUE, ORANGE), strict=True
):
    flops = 2 * rows * inner * columns
    nbytes = 2 * (rows * inner + inner * columns + rows * columns)
    roof = min(PRODUCT_RATE, COPY_RATE * flops / nbytes)
    axis.plot(flops / nbytes, rate / 1e12, "o", color=colour, label=f"{name}, recorded")
    print(
        f"{name:15} {flops / 1e9:6.1f} GFLOP, {nbytes / 1e6:.0f} MB: {flops / nbytes:4.0f} per byte, "
        f"roof {roof / 1e12:.0f} TFLOP/s, recorded {rate / 1e12:.0f}: {rate / roof:.0%} of it"
    )
axis.set(
    xscale="log",
    yscale="log",
    xlabel="operations per byte",
    ylabel="TFLOP/s",
    ylim=(5, 1500),
)
axis.legend(loc="lower right")
show(
    figure,
    alt="A roof that rises and then is level; channel mixing's product lies just below the level part, "
    "token mixing's just below the slope.",
)

# %% [markdown]
# Both products move the same number of bytes, and both come near their roof. But token mixing's inner size is only 64: each number that is
# fetched takes part in few operations, and its product cannot go faster than the memory delivers. Everything that is not a product (GELU,
# LayerNorm, sums of residuals, the update of the weights) lies far down the slope on the left. **A Mixer's step is mostly bound by memory.** So
# what counts is bytes.
#
# ## The same line on another library
# CuPy is an array library with NumPy's names whose arrays live in the GPU's memory. An operation of this package asks the array which library it
# comes from (`namespace(x)`), so the same lines serve both:

# %%
backend = get_backend("auto")  # CuPy where it finds a GPU, otherwise NumPy
print(f"backend {backend.name}: {backend.reason}")

rng = np.random.default_rng(0)
x = backend.asarray(rng.normal(size=(4, 6)), dtype=np.float32)  # (4, 6), on the device
y, _ = backend.ops.gelu_tanh_forward(x)  # (4, 6), computed where x is
print(
    f"a result of {type(y).__module__.split('.')[0]}, brought back: {backend.to_numpy(y)[0, :3]}"
)

# %% [markdown]
# Bringing arrays there and back is the first thing that is slow. The bus between the processor and the GPU moves at most 64 GB/s in each
# direction (PCIe 5.0, nominal), about a fiftieth of the GPU's own copy rate. So the package puts the *whole* training set onto the GPU once, as bytes
# (CIFAR-10's 50,000 images are 154 MB), and cuts, augments and normalises images there.
#
# ## A launch returns at once
# The second thing is waiting. The work that the processor (the *host*) gives to the GPU (the *device*) is a **kernel**, a function that many threads
# run, and giving it is a **launch**. A launch takes some microseconds and does not wait for the result: the kernel goes into a queue, and the host continues. Only when
# it needs a number, or calls `synchronize()`, does it wait. That is what makes a GPU fast, and timing it treacherous.
#
# To try that without a GPU, here is a simulated device, whose clock is computed and not measured. `device.start(seconds)` launches a kernel that takes so long.

# %%
from tinymixer.lessons.exercises.lesson_11 import PretendDevice

device = PretendDevice(launch=5e-6, compilation=0)
started = device.clock()
for _ in range(100):
    device.start(seconds=1e-3)  # a hundred kernels of a millisecond
print(f"after launching: {(device.clock() - started) * 1e3:6.1f} ms")
device.synchronize()
print(f"after waiting:   {(device.clock() - started) * 1e3:6.1f} ms")

# %% [markdown]
# The first figure would make a fine headline, and it is a lie: nothing has been computed yet. Below, the same queue for a few kernels: on
# top long ones, whose launches hide behind their predecessors' work; below short ones, for which the device waits for the host. A step
# made of many small kernels is **bound by launches**.

# %%
figure, axes = new_figure(2, 1, width=7, height=3.4, sharex=True)
for axis, microseconds in zip(axes, (14, 2), strict=True):
    device = PretendDevice(launch=5e-6, compilation=0)
    for _ in range(6):
        device.start(microseconds * 1e-6)
    for asked, begins, ends in device.history:
        axis.broken_barh([(asked * 1e6, 4.5)], (1.1, 0.8), color=ORANGE)
        axis.broken_barh(
            [(begins * 1e6, (ends - begins) * 1e6 - 0.5)], (0.1, 0.8), color=BLUE
        )
    axis.set(yticks=(0.5, 1.5), yticklabels=("device", "host"))
    axis.set_title(f"kernels of {microseconds} microseconds, launches of 5", loc="left")
axes[1].set_xlabel("microseconds")
show(
    figure,
    alt="Long kernels follow one another without a gap on the device; short kernels leave the device idle "
    "between launches.",
)

# %% [markdown]
# ### Exercise 11.2
# Write a timer that does not lie: seconds per call of `work()`, a function that launches something. Three things spoil a figure. The first launch of a kernel
# *compiles* it, which can take a second. The queue may not be empty when you begin. And the device has not finished when the launch returns.


# %%
def my_seconds(work, device, repeats):
    """work() launches once; device.clock() is the time in seconds, device.synchronize() waits
    ->  seconds per launch, measured over `repeats` launches
    """
    ### BEGIN SOLUTION
    work()  # compiles
    device.synchronize()
    started = device.clock()
    for _ in range(repeats):
        work()
    device.synchronize()
    return (device.clock() - started) / repeats
    ### END SOLUTION


check("11.2", my_seconds)

# %% [markdown]
# (To be exact, what you measure includes one launch. Over many repeats it does not show.) A printed loss is a wait, too:
# `print(float(loss))` after every step empties the queue every time. The package reads losses back every 32 steps, while the next 32 run.
#
# ## Counting bytes
# Here are the lines of `tinymixer/ops/gelu.py` again, with the bias that the Linear before them adds:
#
#     z = x + bias
#     t = tanh(TANH_SLOPE * (z + TANH_CUBIC * z * z * z))
#     y = 0.5 * z * (1.0 + t)
#
# Every `+`, `*` and `tanh` in them is a function of its own. It reads one or two whole arrays from memory, does *one* thing with each number, and
# writes a whole array back. On a GPU each is a kernel. Let us have NumPy tell which arrays are read, with an array that takes notes:


# %%
NOTES = []  # (name, whole arrays read) of each function


class Noting(np.ndarray):
    """An array that notes for each element-by-element function how many whole arrays it reads."""

    def __array_ufunc__(self, function, method, *inputs, **keywords):
        plain = [x.view(np.ndarray) if isinstance(x, Noting) else x for x in inputs]
        whole = sum(np.size(x) == self.size for x in plain)
        NOTES.append((function.__name__, whole))
        return getattr(function, method)(*plain, **keywords).view(Noting)


x = np.ones((32, 16), np.float32).view(Noting)  # (rows, columns)
bias = np.ones(16, np.float32)  # (columns,): too small to count
ops.gelu_tanh_forward(x + bias)
reads = [whole for _, whole in NOTES]
print(", ".join(f"{name} reads {whole}" for name, whole in NOTES))
print(f"{len(reads)} kernels, {sum(reads)} arrays read, {len(reads)} written")

# %% [markdown]
# A **fused** kernel does all of it while the number is in a register: it reads `x` once and writes `y` once. What is the difference in bytes?
#
# ### Exercise 11.3
# `reads` lists how many whole arrays each kernel reads; each also writes one. An array has `elements` numbers of `itemsize` bytes.


# %%
def my_bytes_moved(reads, elements, itemsize):
    """reads: a list of counts, one per kernel; elements, itemsize: of an array
    ->  bytes moved by the kernels one after the other, bytes moved by one fused kernel
    """
    ### BEGIN SOLUTION
    unfused = (sum(reads) + len(reads)) * elements * itemsize
    fused = 2 * elements * itemsize
    return unfused, fused
    ### END SOLUTION


check("11.3", my_bytes_moved)

# %% [markdown]
# The hidden layer of channel mixing has `S * B * DC` numbers. For nano at batch 512 and two bytes a number, once per block and step:

# %%
elements = 64 * 512 * 512  # S * B * DC
for name, passes in (("ten kernels", sum(reads) + len(reads)), ("fused", 2)):
    nbytes = passes * elements * 2
    print(
        f"{name:12} {passes:2} passes, {nbytes / 1e6:4.0f} MB: "
        f"at least {nbytes / COPY_RATE * 1e6:4.0f} us at the recorded copy rate"
    )

# %% [markdown]
# Eight blocks of ten kernels would take eight times 273 us: more than 2,000 us for these GELUs alone, forward alone. The whole step of the prototype took about
# 4,000. The bars show what was recorded for training steps of nano:

# %%
figure, axis = new_figure(width=7, height=2.6)
colours = [
    GREEN if "prototype" in name else BLUE if "CuPy" in name else INK for name in NANO
]
axis.barh(list(NANO), [rate / 1000 for rate in NANO.values()], color=colours)
axis.invert_yaxis()
axis.set_xlabel("thousand images per second, recorded")
show(
    figure,
    alt="Images per second: array expressions 36 thousand, PyTorch 50 and 65, the prototype 114 "
    "launched and 126 captured, JAX 158 thousand.",
)

# %% [markdown]
# Array expressions with CuPy's own matrix product come last, behind PyTorch. The prototype, with fused kernels and its own calls of the matrix product, was three times as fast. It was not the fastest: JAX's
# compiler fuses too. Of the prototype's 3,972 us of kernels, 1,516 went into one with too few blocks at work (GELU's gradient and the sums over its columns). That kernel has
# been rewritten since; **how fast the step is with it has not been measured**.
#
# One can fuse further, into the product itself, which applies bias and GELU before its result leaves the chip. For the bigger model's channel mixing that was recorded, too: 327 us for the product with both, about 500 us for
# product and kernel one after the other (`tinymixer/kernels/epilogues.py`).
#
# ## A kernel of your own
# How is a fused kernel written? As a function for *one thread*, which is then run by very many of them at once. They are numbered in two levels. A
# launch starts a **grid** of **blocks**; each block has the same number of **threads**, at most 1,024. A multiprocessor takes a block as a whole; the threads of a
# block can wait for each other and share a little fast memory, blocks know nothing of each other and run in any order. A thread finds its place from two numbers, its
# block's and its own within the block, and picks its element:
#
#     i = block * threads_per_block + thread

# %%
size, threads_per_block = 10, 4
figure, axis = new_figure(width=7, height=1.7)
for block in range(3):
    for thread in range(threads_per_block):
        i = block * threads_per_block + thread
        inside = i < size
        axis.bar(
            i + 0.3 * block + 0.46,
            1,
            width=0.92,
            color=COLOURS[block] if inside else "none",
            edgecolor=COLOURS[block],
            hatch=None if inside else "///",
        )
        place = (i + 0.3 * block + 0.46, 1.3)
        axis.text(*place, str(thread), ha="center", color=INK)
        axis.text(place[0], -0.55, str(i) if inside else "none", ha="center", color=INK)
    axis.text(4.3 * block + 2, 1.9, f"block {block}", ha="center", color=COLOURS[block])
axis.text(-0.3, 1.3, "thread", ha="right", color=INK)
axis.text(-0.3, -0.55, "element", ha="right", color=INK)
axis.set(xlim=(-2, 13), ylim=(-0.8, 2.4))
axis.axis("off")
show(
    figure,
    alt="Three blocks of four threads for ten elements: the last two threads of the last block have no element.",
)

# %% [markdown]
# Blocks are whole, so where the size is no multiple of the block, the last block has threads without an element: the **tail**. They exist, and they run.
#
# ### Exercise 11.4
# How many blocks are needed for `size` elements? Enough for all of them, and none that has nothing to do.


# %%
def my_blocks(size, threads_per_block):
    """->  the number of blocks"""
    ### BEGIN SOLUTION
    return (size + threads_per_block - 1) // threads_per_block
    ### END SOLUTION


check("11.4", my_blocks)

# %% [markdown]
# ### Exercise 11.5
# Write the thread of a fused bias + GELU. Memory is flat: `x` holds the rows of a matrix one after the other, `len(bias)` numbers each, and `y` is where the
# result of element `i` goes, at `y[i]`. A thread handles **one** element, or none. The check runs your function for every block and thread, in an order that you
# don't know. The GELU of one number is given.


# %%
def gelu(value):
    """The package's GELU of a single number."""
    return float(ops.gelu_tanh_forward(np.asarray(value))[0])


def my_bias_gelu_thread(block, thread, threads_per_block, x, bias, y):
    """x (rows * columns,), bias (columns,), y (rows * columns,), which is written; returns nothing"""
    ### BEGIN SOLUTION
    i = block * threads_per_block + thread
    if i >= len(x):  # the tail
        return
    column = i % len(bias)
    y[i] = gelu(x[i] + bias[column])
    ### END SOLUTION


check("11.5", my_bias_gelu_thread)

# %% [markdown]
# Now you can read the package's own kernel. This is the first stage of `tinymixer/kernels/cuda/gelu.cu`, in C++. `blockIdx.x`, `blockDim.x` and `threadIdx.x` are your `block`, `threads_per_block` and
# `thread`; `T` is the number format of the arrays, and the arithmetic is done in float32 whatever it is. (`by_row` is for token mixing, where a row shares its bias.)

# %%
from tinymixer.kernels.modules import source

text = source("gelu.cu")
start = text.index("// One thread per element")
print(text[start : text.index("// One thread per entry", start)].strip())

# %% [markdown]
# It is right, and it is slow: a kernel of this kind reached 0.85 TB/s of the possible 2.95 (recorded). The stages after it in the same file take these steps, in the words of the source:

# %%
start = text.index("// Step 1")
print(text[start : text.index("template", start)].strip())

# %% [markdown]
# The prototype's kernel with 16-byte accesses and the hardware's tanh reached the copy rate. Reading 16 bytes at a time means that a thread handles eight neighbouring numbers of 16 bits; walking over rows means that it has many elements
# after all, at a fixed distance. Both are refinements of the index that you have written. (There is no GPU in the package's usual tests: there the same source is compiled for the processor, and each kernel is held to its operation in `ops`.)
#
# ## Sums, and their order
# A sum over rows, as for the gradient of the bias, needs numbers of many threads. The short way is an *atomic* addition: every thread, or every block, adds its number to one place
# in memory, whoever comes first. The result is right, but not the same twice, because floating-point addition is not associative:

# %%
print("(0.1 + 0.2) + 0.3 =", (0.1 + 0.2) + 0.3)
print("0.1 + (0.2 + 0.3) =", 0.1 + (0.2 + 0.3))

partial = rng.normal(size=1000).astype(
    np.float32
)  # (blocks,)   what each block has added up


def one_after_the_other(numbers):
    """A float32 sum in the order given, as atomic additions make it."""
    return np.cumsum(numbers, dtype=np.float32)[-1]


as_they_end = {float(one_after_the_other(rng.permutation(partial))) for _ in range(20)}
in_fixed_order = {float(one_after_the_other(partial)) for _ in range(20)}
print(f"20 sums in whatever order blocks end: {len(as_they_end)} different results")
print(f"20 sums in a fixed order:             {len(in_fixed_order)} different result")

# %% [markdown]
# Two runs with the same seed that drift apart are hard to debug. So the package's blocks write their sums side by side, and one more small kernel adds them up in a fixed order (`tinymixer/kernels/cuda/sums.cu`).
#
# ## Fewer bits
# If bytes decide, halve them. A floating-point number is a sign, an exponent and a *mantissa*, the digits after the leading one:
#
# | format | exponent bits | mantissa bits | steps above 1 | smallest number above 0 | largest |
# |---|---|---|---|---|---|
# | float32 | 8 | 23 | $2^{-23}$ | $2^{-149}$ | $3.4\cdot10^{38}$ |
# | tf32 (in products only) | 8 | 10 | $2^{-10}$ | as float32 | as float32 |
# | bfloat16 | 8 | 7 | $2^{-7}$ | $2^{-133}$ | $3.4\cdot10^{38}$ |
# | float16 | 5 | 10 | $2^{-10}$ | $2^{-24}$ | 65504 |
#
# bfloat16 is the upper half of a float32: same sign, same exponent, mantissa cut to 7 bits. So rounding to it can be done on the bits. `x.view(np.uint32)` looks at the same 32 bits as a whole number. If we simply cleared the lower 16,
# numbers would always be cut towards zero. To round to the *nearest* one, add a little less than half a step, `0x7FFF`, before clearing: what lies above the middle carries into the upper half. A number exactly in the middle would then always go
# down. The usual rule is that ties go to the neighbour whose last kept bit is 0; adding one more where that bit, number 16, is 1 does it.
#
# ### Exercise 11.6
# Round float32 to bfloat16, as float32 numbers whose lower 16 bits are zero. (Infinities and NaN are left out here.)


# %%
def my_bfloat16(x):
    """x (...) float32  ->  the nearest numbers of bfloat16, (...) float32"""
    bits = x.view(np.uint32)  # (...)
    ### BEGIN SOLUTION
    last_kept = (bits >> 16) & 1  # (...)
    rounded = (bits + 0x7FFF + last_kept) & 0xFFFF0000  # (...)
    return rounded.view(np.float32)
    ### END SOLUTION


check("11.6", my_bfloat16)

# %% [markdown]
# What does a number with 7 bits do? Count to 1,000 with it, and make a thousand small steps from 1. (The cell takes the course's own answer to the exercise, so that it runs before yours.)

# %%
from tinymixer.lessons.exercise import find_exercise

bfloat16 = find_exercise("11.6").reference
count, weight = np.zeros(1, np.float32), np.ones(1, np.float32)
for _ in range(1000):
    count = bfloat16(count + np.float32(1))
    weight = bfloat16(weight - np.float32(0.001))
print(f"1 added a thousand times:            {count[0]:.0f}")
print(f"0.001 taken from 1 a thousand times: {weight[0]}")

# %% [markdown]
# The count stops at 256: there the steps between numbers are 2, and 257 is rounded back. The weight never moves at all, for the steps below 1 are $2^{-8} \approx 0.004$, and 0.001 is less than half of that. A learning rate times a gradient usually *is*
# that small. So the rule is: **activations and the factors of products in 16 bits; sums, statistics, the loss and the weights themselves in float32.** The package does so in both its 16-bit precisions: the products add up in float32, the
# optimizer updates float32 weights, and writes a 16-bit copy of them for the next step's products.
#
# float16 has finer steps than bfloat16, but a small range. Below $2^{-14}$ its numbers lie $2^{-24}$ apart, all of them, so that small ones have few digits, and what is below $2^{-25}$ becomes zero. Gradients
# *are* small: the loss is a mean over the batch, so that each image's share is divided by its size, and an image that is recognised hardly counts. Here are the gradients that reach the pixels of 512 digits after a
# few epochs of training:

# %%
digits = load_dataset("digits")
config = MixerConfig(
    image_size=8, in_channels=1, patch_size=2, hidden_dim=32, tokens_mlp_dim=32,
    channels_mlp_dim=64, num_blocks=2,
)  # fmt: skip
model = MlpMixer(config)
optimizer = AdamW(model.parameters)
for epoch in range(6):
    for images, labels in Batches(
        digits.train_images,
        digits.train_labels,
        32,
        epoch=epoch,
        mean=digits.mean,
        std=digits.std,
    ):
        train_step(model, optimizer, images, labels, learning_rate=3e-3)

images = normalise(digits.train_images[:512], digits.mean, digits.std)  # (512, 8, 8, 1)
logits, cache = model.forward(images)
loss, dlogits = ops.softmax_cross_entropy(logits, digits.train_labels[:512])
gradients = model.backward(dlogits, cache).ravel()  # (512 * 64,)
gradients = gradients[gradients != 0]

figure, axis = new_figure(width=6.5, height=2.8)
for scale, colour in ((1, BLUE), (2**13, ORANGE)):
    scaled = gradients * np.float32(scale)
    rounded = scaled.astype(np.float16).astype(np.float32)
    error = np.median(abs(rounded - scaled) / abs(scaled))
    print(
        f"loss times {scale:4}: {np.mean(rounded == 0):5.2%} of the gradients become zero, "
        f"the median's rounding error is {error:.3%}"
    )
    axis.hist(
        np.log2(abs(scaled)),
        np.arange(-40, 9),
        alpha=0.7,
        color=colour,
        label=f"times {scale}",
    )
axis.axvspan(-24, -14, color=INK, alpha=0.25, linewidth=0, label="fewer digits")
axis.axvline(-24, color=INK, linestyle="--", label="smallest number")
axis.set(xlabel="log2 of the gradient's size", ylabel="gradients", xlim=(-40, 9))
axis.legend(loc="upper left")
show(
    figure,
    alt="A histogram of gradients, most of which lie where float16 has few digits and some below its smallest "
    "number; multiplied by 8192 nearly all of it has moved to the right, where float16 has all its digits.",
)

# %% [markdown]
# The cure is to multiply the loss by a large number, a **loss scale**. The backward pass is linear in `dlogits`, so every gradient grows by the same factor; the optimizer divides by it again, in float32. The package begins with
# $2^{13}$, halves it when a gradient overflows (that update is left out), and doubles it after 2,000 good steps (Micikevicius et al. 2018, arXiv 1710.03740). bfloat16 has float32's range and needs none of it.
#
# ## From the formula to the tile kernel
# Now everything is there to fuse a whole MLP. Token mixing multiplies each column of $X$, one number per token, by two matrices with a GELU between them, and its first bias belongs to a row:
#
# $$Z = W_1 X + b_1, \qquad A = \mathrm{gelu}(Z), \qquad Y = W_2 A.$$
#
# As NumPy lines, with the columns of all channels and images side by side (the second bias is added later, in the next LayerNorm's kernel):

# %%
S, DS, columns = 16, 32, 256
x = rng.normal(size=(S, columns))  # (S, B*C)
w1, b1 = rng.normal(size=(DS, S)) / 4, rng.normal(size=DS)  # (DS, S), (DS,)
w2 = rng.normal(size=(S, DS)) / 6  # (S, DS)

z = w1 @ x + b1[:, None]  # (DS, B*C)
a, cache = ops.gelu_tanh_forward(z)  # (DS, B*C)
y = w2 @ a  # (S, B*C)

# %% [markdown]
# Every line is a trip through memory: the first product reads `x` and writes `z`, GELU reads `z` and writes `a`, the second product reads `a` and writes `y`. With DS = S, as in nano, that is six passes. But each column of `y` needs *its* column of `x` and
# the two weights, which are small. So a block of the GPU can take a **tile** of 128 columns, keep `z` and `a` on the chip, and write its part of `y`: two passes.
#
# In CUDA C++ that is several hundred lines, for the tensor cores that make products fast want their factors in an order of their own. A *tile language* leaves that to its compiler. NVIDIA's, cuTile, is Python; this is the package's kernel:

# %%
import inspect

from tinymixer.kernels.tiles import token_mlp

text = inspect.getsource(token_mlp)
start = text.index("    def token_forward")
print(inspect.cleandoc(text[start : text.index("    @ct.kernel", start)]))

# %% [markdown]
# These are the three NumPy lines, and around them what a tile needs: `ct.bid(0)` is the number of the block; `ct.load` takes the tile of that shape at that place, here the columns `column * N` to `(column + 1) * N`; `ct.astype(..., number)` rounds the
# factors of a product to bfloat16, while sums stay in float32; `ct.store` writes the result. No line says anything about threads.
#
# The compiler takes `ct` for the module `cuda.tile`. It can also be an object whose `load`, `mma` and `tanh` are NumPy's, and then the *same source* runs here, one block after the other:

# %%
from tinymixer.kernels.tiles.on_numpy import NumpyTiles

N = 64
for ct, name in (
    (NumpyTiles(), "float64"),
    (NumpyTiles(np.float32, rounding=True), "bfloat16"),
):
    kernel = token_mlp.token_kernels(ct, S, DS, N, ct.bfloat16).forward
    tiled = np.zeros_like(y)
    ct.launch(kernel, (columns // N,), x, w1, b1, w2, tiled)
    error = np.linalg.norm(tiled - y) / np.linalg.norm(y)
    print(
        f"{columns // N} blocks, factors in {name:8}: off by {error:.0e} of the result's size"
    )

# %% [markdown]
# Exact in float64, and off by a fraction of $2^{-8} \approx 0.004$ with the factors in bfloat16. The package's tests hold the kernels to the operations in this way, on machines without a GPU.
#
# The backward pass is where it pays most. From `dy` it needs four results,
#
# $$dZ = (W_2^\top dY) \odot \mathrm{gelu}'(Z), \qquad dX = W_1^\top dZ, \qquad dW_1 = dZ\, X^\top, \qquad dW_2 = dY A^\top, \qquad db_1 = \textstyle\sum_{\text{columns}} dZ,$$
#
# where $\odot$ multiplies entry by entry, $\top$ transposes and $\mathrm{gelu}'$ is the slope of GELU. The kernel for it keeps nothing from the forward pass: it computes $Z$ again, one more small product instead of two stored hidden layers. $dW_1$, $dW_2$ and $db_1$ are sums over *all* columns, so a block walks over many tiles, adds up on the chip, and writes its sums
# side by side with the other blocks', to be added in a fixed order.

# %%
start = text.index("        for column in range")
print(inspect.cleandoc(text[start : text.index("        ct.store(dw1", start)]))

# %%
dy = rng.normal(size=(S, columns))  # (S, B*C)
dz = ops.gelu_tanh_backward(w2.T @ dy, cache)  # (DS, B*C)
wanted = w1.T @ dz, dz @ x.T, dy @ a.T, dz.sum(axis=1)

ct, blocks = NumpyTiles(), 3
kernel = token_mlp.token_kernels(ct, S, DS, N, ct.bfloat16).backward
dx, dw1, dw2, db1 = (
    np.zeros(shape) for shape in (x.shape, (blocks, DS, S), (blocks, S, DS), (blocks, DS))
)
ct.launch(kernel, (blocks,), x, dy, w1, b1, w2, dx, dw1, dw2, db1)
found = dx, dw1.sum(axis=0), dw2.sum(axis=0), db1.sum(axis=0)
for name, ours, right in zip(("dx", "dw1", "dw2", "db1"), found, wanted, strict=True):
    print(f"{name:4} off by {np.linalg.norm(ours - right) / np.linalg.norm(right):.0e}")

# %% [markdown]
# Four tiles and three blocks: the first block has taken tiles 0 and 3, the others one each. Channel mixing is fused in the same way, except that its hidden layer is too wide for the chip and goes through in pieces (`kernels/tiles/channel_mlp.py`). Of the 83 passes that a block of nano makes over
# its activations, forward and backward, 31 remain when both are tile kernels, and none of a block's hidden layers is kept. The compiler takes the kernels for four generations of GPUs; **they have not run on one**, so that no speed is printed here. Where the package meets a GPU, it computes a block in
# both ways first, compares, times them, and takes the faster.
#
# **Try it.** (1) Why does the forward kernel not walk over tiles, as the backward one does? (2) Launch the backward kernel with `blocks = 7`. What do blocks 4 to 6 write, and why is the result right? (3) Let `ct.mma` be called with factors in float32 instead of bfloat16: which line of the kernel would you change?

# %% [markdown] tags=["solution"]
# **About the questions.** (1) It has no sums over columns. A block per tile leaves the order of the work to the GPU. (2) They have no tile, so they write their sums as they began, zeros. (3) None: `number` is an argument of `token_kernels`, and with a format of 32 bits `ct.astype` changes nothing.

# %% [markdown]
# ## The recorded step
# Back to waiting. The prototype's step of nano was this many launches:

# %%
launched = 512 / NANO["prototype, launched, bfloat16"]
captured = 512 / NANO["prototype, captured, bfloat16"]
print(
    f"kernels alone             {NANO_KERNEL_SECONDS * 1e6:5.0f} us in {NANO_LAUNCHES} launches"
)
print(f"launched one by one       {launched * 1e6:5.0f} us a step")
print(f"captured in a CUDA graph  {captured * 1e6:5.0f} us a step")

# %% [markdown]
# A **CUDA graph** is a list of launches that is recorded once and then given to the device as a whole. It goes from one kernel to the next by itself; the host starts a replay and is free. (The recorded difference is a tenth here. With a smaller
# model or batch, kernels are shorter and launches are not, and the difference grows.)
#
# What is recorded is *which kernel with which arguments*: addresses of arrays as they are, and numbers as they were. That has a famous trap. A recorder is easily written in Python:


# %%
class Recorder:
    """Runs kernels as they are launched, or notes them down: a CUDA graph without a GPU."""

    def __init__(self):
        self.notes = None

    def launch(self, kernel, *arguments):
        if self.notes is None:
            kernel(*arguments)
        else:
            self.notes.append((kernel, arguments))

    def record(self, step, *arguments):
        """Note down what the step launches, and return it."""
        self.notes = []
        step(*arguments)
        graph, self.notes = self.notes, None
        return graph


def replay(graph):
    for kernel, arguments in graph:
        kernel(*arguments)


def update_kernel(weight, gradient, learning_rate, history):
    weight -= learning_rate * gradient
    history.append(float(np.squeeze(learning_rate)))


def schedule(step):
    return 0.1 * (1 - step / 20)


recorder = Recorder()
weight, gradient = np.ones(1), np.ones(1)

# 1. The learning rate is a number.
baked_in = []
graph = recorder.record(
    lambda: recorder.launch(update_kernel, weight, gradient, schedule(0), baked_in)
)
for _step in range(20):
    replay(graph)

# 2. The learning rate lies in memory, at an address that is recorded; it is written before each replay.
from_memory, rate = [], np.zeros(1)
graph = recorder.record(
    lambda: recorder.launch(update_kernel, weight, gradient, rate, from_memory)
)
for step in range(20):
    rate[...] = schedule(step)
    replay(graph)

figure, axis = new_figure(width=5.5, height=2.4)
axis.plot(baked_in, "o-", markersize=4, color=ORANGE, label="a number, recorded")
axis.plot(
    from_memory, "o-", markersize=4, color=BLUE, label="in memory, read at each replay"
)
axis.set(xlabel="step", ylabel="learning rate used", ylim=(0, 0.15), xticks=range(0, 20, 5))
axis.legend(loc="upper right", ncols=2)
show(
    figure,
    alt="The recorded number stays at 0.1 for all twenty steps, the one in memory falls as the schedule says.",
)

# %% [markdown]
# The first run trains on, with the learning rate of step 0 for ever, and says nothing. So in a recorded step
#
# * **everything that changes lies in device memory**: the learning rate, the step counter, which images, which crops, which branches are dropped;
# * **nothing waits for the host**: no `float(loss)`, no `if gradient_norm > 1:` in Python. Clipping and "skip this update" are decided by a kernel;
# * **arrays stay where they are**: a new array in every step would have another address. All buffers are made once, and written into;
# * **no library does something that cannot be recorded.** CuPy refuses its own matrix products during a capture, so the package calls cuBLAS through nvmath-python.
#
# This is what the package's step keeps on the device instead of in Python variables:

# %%
from tinymixer.engines.cuda.step_state import STEP_STATE

print(", ".join(STEP_STATE.names))

# %% [markdown]
# **Try it.** (1) A recorded step contains the Python line `if step < 5: rate = 0.01`. What does it do in step 7? (2) Which of these two may be recorded: `gradient *= 0.5` and
# `gradient = gradient * 0.5`? (3) Time something with `backend.synchronize()` if you have a GPU: how long does the launch of a product of two (4096, 4096) matrices take, and how long the product?

# %% [markdown] tags=["solution"]
# **About the questions.** (1) Python's `if` ran once, while step 0 was recorded. What it launched then is launched in step 7, too. (2) The first writes into the array whose address was recorded. The
# second makes a new array and gives it an old name: kernels that were recorded with the old array still read that one. (3) The launch takes microseconds. The product is $2 \cdot 4096^3 = 137$ GFLOP, so even at the
# recorded product rate of bfloat16 it takes 178 us, and longer in float32.

# %% [markdown]
# ## On a GPU
# With a GPU at hand, this is all there is to do:
#
#     pip install 'tinymixer[cuda13] @ git+https://github.com/tinymixer/tinymixer'   # or [cuda12], to match your driver
#     pip install 'tinymixer[cutile] @ git+https://github.com/tinymixer/tinymixer'   # also the fused MLPs: CUDA 13
#     tinymixer doctor                       # says what is missing
#     tinymixer train cifar10-nano --backend cupy --precision bfloat16
#     tinymixer bench --backend cupy --model nano --precision bfloat16 --profile
#
# `--no-captured` launches kernel by kernel, `--kernels reference` goes through the plain array expressions of this course: compare their speed. This cell measures the two rates, if it can:

# %%
if backend.name == "cupy":
    from tinymixer.bench.ceilings import gpu_ceilings

    rates = gpu_ceilings("bfloat16")
    print(
        f"product rate {rates['product_flops_per_second'] / 1e12:.0f} TFLOP/s in bfloat16"
    )
    print(f"copy rate    {rates['copy_bytes_per_second'] / 1e12:.2f} TB/s")
else:
    print(
        "No GPU here. Recorded on one H100:",
        f"{PRODUCT_RATE / 1e12:.0f} TFLOP/s, {COPY_RATE / 1e12} TB/s",
    )

# %% [markdown]
# **What was measured and what was not.** The rates, the products, and the bars of PyTorch, JAX, array expressions and prototype were measured on one H100 with the versions in the first cell. The prototype's gradients were not checked against a reference. The package's own kernels and
# captured step are compiled for A100 and H100 and tested on an emulator, against the operations of this course, its tile kernels on NumPy; on a GPU they have not run yet. `docs/gpu.md` lists what was measured.
#
# ## What you have now
# | what is slow | why | what helps |
# |---|---|---|
# | copies between host and device | the bus | keep the data there, as bytes |
# | waiting for a result | the queue runs empty | read losses seldom, decide on the device |
# | many small kernels | a launch takes microseconds | fuse, record the step once |
# | element-by-element array code | every line is a trip through memory | fuse, 16-bit numbers |
# | products with a small inner size | few operations per byte | fewer bytes: a whole MLP in one kernel |
#
# **Where the package does this:** `tinymixer/backend.py` (which library), `tinymixer/kernels/` (CUDA sources, launches, products), `tinymixer/engines/cuda/` (the recorded step; begin with `captured_step.py`), `docs/gpu.md` (the bytes of a
# whole block, counted).
#
# Next: [lesson 12, what it learned](12_what_it_learned.ipynb).
