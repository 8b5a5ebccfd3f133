# %% [markdown]
# # Lesson 11 · To the GPU
#
# *120 minutes. Before: [lesson 04](04_gelu.ipynb) (GELU), [lesson 10](10_training.ipynb) (training).*
#
# The operations of this course run on a GPU when one word is changed. To run *fast* there, they must be written with an eye
# to something that the formulas don't show: how many bytes move, and what waits for what. After this lesson you can
#
# * tell from two rates how fast a piece of work can be at most,
# * time a device that answers before it has finished,
# * count the bytes that a line of array code moves, and say what fusing it saves,
# * write one thread of a CUDA kernel, and read the package's,
# * follow an MLP from its formula through its NumPy lines to a single kernel,
# * round to bfloat16, and say which numbers of a training step must stay in float32,
# * explain why a training step is recorded, and what must not be recorded with it.
#
# **No GPU is needed.** If there is one, two cells use it. Everything else is arithmetic, small models in Python, and numbers that
# were *recorded* on a GPU. They are in the next code cell, with their source.

# %% [markdown]
# ## Before you begin
#
# **1.** `x` is a float32 array. What is the dtype of `np.sqrt(2 / np.pi) * x`, and how do you avoid that? (lesson 04)
#
# <details><summary>Answer</summary>
#
# float64, because `np.sqrt` of a Python number returns a NumPy scalar of that type, and it decides. A Python float such as `math.sqrt(2 / math.pi)` leaves the array's float32 as it is. Float64 moves twice
# the bytes, and most GPUs compute far more slowly with it.
#
# </details>
#
# **2.** With tokens first, `x` is `(S, B, C)`. Which matrix is it in the product of token mixing, and how many bytes have to be moved to make it one? (lesson 08)
#
# <details><summary>Answer</summary>
#
# `(S, B*C)`, and none: it is the same memory seen in another shape. With images first, the array would have to be copied.
#
# </details>
#
# **3.** Apart from weights and gradients, which numbers change from one training step to the next? (lesson 10)
#
# <details><summary>Answer</summary>
#
# The learning rate of the schedule, AdamW's count of steps and its two means (or SGD's velocity), the choice of images, and the random numbers of augmentation and dropout. This list comes back at the end of this lesson.
#
# </details>

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
# the step as it is now has not run on a GPU yet (docs/gpu.md says what it rests on).
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
# A core of an ordinary processor works on a few numbers at a time and is quick with each. A GPU is slower with each, but works on very many:
# an H100 has 132 multiprocessors that hold up to 2,048 *threads* each, about 270,000 in all. At any moment most of them are waiting for memory.
# There are so many of them so that others can always go on.
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
# Write this bound, and say what the work is bound by.


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
# **intensity** $F/M$, the operations per byte, this bound first rises and is then level: a roof. The picture shows two products of the larger of the two Mixers that were
# measured, in bfloat16 with two bytes per number. A product of `(R, I)` and `(I, O)` does $2RIO$ operations and moves at least
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
    alt="A roof that rises and then is level. Channel mixing's product is just below the level part, "
    "token mixing's just below the slope.",
)

# %% [markdown]
# Both products move about as many bytes, and both come close to their roof. But the inner size of token mixing is only 64. Each number that is
# fetched takes part in few operations, and the product cannot go faster than the memory delivers. Everything that is not a product (GELU,
# LayerNorm, the residual sums, the update of the weights) is far down the slope on the left. **A Mixer's step is mostly bound by memory.** So
# bytes are what counts.
#
# ## The same lines with another library
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
# Moving arrays to the GPU and back is the first thing that is slow. The bus between the processor and the GPU moves at most 64 GB/s in each
# direction (PCIe 5.0, nominal), about a fiftieth of the GPU's own copy rate. So the package puts the *whole* training set onto the GPU once, as bytes
# (CIFAR-10's 50,000 images are 154 MB), and cuts, augments and normalises images there.
#
# ## A launch returns at once
# The second thing is waiting. The processor (the *host*) gives work to the GPU (the *device*) in **kernels**. A kernel is a function that many threads
# run, and to start one is a **launch**. A launch takes a few microseconds and does not wait for the result: the kernel goes into a queue, and the host continues. The host waits only when
# it needs a number or calls `synchronize()`. This makes a GPU fast, and it makes timing treacherous.
#
# So that you can try this without a GPU, here is a simulated device. Its clock is computed, not measured. `device.start(seconds)` launches a kernel that takes that long.

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
# The first number would make a fine headline, and it is a lie: nothing has been computed yet. The picture shows the same queue for a few kernels. The kernels
# at the top are long, so their launches hide behind the work of the kernels before them. Those at the bottom are short, so the device has to wait for the host. A step
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
# Write a timer that does not lie: seconds per call of `work()`, a function that launches something. Three things spoil a measurement. The first launch of a kernel
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
# (To be exact, your measurement includes one launch. Over many repeats it does not show.) Printing a loss means waiting, too:
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
# writes a whole array back. On a GPU each is a kernel. NumPy can tell us which arrays are read, with an array that takes notes:


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
# A **fused** kernel does all of this while the number is in a register: it reads `x` once and writes `y` once. What is the difference in bytes?
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
# The hidden layer of channel mixing has `S * B * DC` numbers. This is what it costs for nano with batches of 512 and two bytes per number, once per block and step:

# %%
elements = 64 * 512 * 512  # S * B * DC
for name, passes in (("ten kernels", sum(reads) + len(reads)), ("fused", 2)):
    nbytes = passes * elements * 2
    print(
        f"{name:12} {passes:2} passes, {nbytes / 1e6:4.0f} MB: "
        f"at least {nbytes / COPY_RATE * 1e6:4.0f} us at the recorded copy rate"
    )

# %% [markdown]
# Eight blocks of ten kernels would take eight times 273 us: more than 2,000 us for the forward pass of these GELUs alone. The whole step of the prototype took about
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
# compiler fuses too. Of the prototype's 3,972 us of kernels, 1,516 went into one that kept too few blocks busy (GELU's gradient and the sums over its columns). That kernel has
# been rewritten since. **How fast the step is with it has not been measured.**
#
# You can fuse further, into the product itself. It then applies bias and GELU before its result leaves the chip. For the channel mixing of the larger model this was recorded, too: 327 us for the product with both, and about 500 us for
# product and kernel one after the other (`tinymixer/kernels/epilogues.py`).
#
# ## A kernel of your own
# You write a fused kernel as a function for *one thread*, and very many threads run it at once. They are numbered on two levels. A
# launch starts a **grid** of **blocks**. Each block has the same number of **threads**, at most 1,024. A multiprocessor takes a block as a whole. The threads of a
# block can wait for each other and share a little fast memory. Blocks know nothing of each other and run in any order. A thread finds its place from two numbers, the number of its
# block and its own number within the block, and picks its element:
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
# Blocks are whole. So if the size is not a multiple of the block's, the last block has threads without an element: the **tail**. They exist, and they run.
#
# ### Exercise 11.4
# How many blocks are needed for `size` elements? Enough for all of them, and no block with nothing to do.


# %%
def my_blocks(size, threads_per_block):
    """->  the number of blocks"""
    ### BEGIN SOLUTION
    return (size + threads_per_block - 1) // threads_per_block
    ### END SOLUTION


check("11.4", my_blocks)

# %% [markdown]
# ### Exercise 11.5
# Write the thread of a fused bias + GELU. Memory is flat: `x` holds the rows of a matrix one after the other, `len(bias)` numbers each, and the
# result for element `i` goes into `y[i]`. A thread handles **one** element, or none. The check runs your function for every block and thread, in an order that you
# don't know. The GELU of a single number is given.


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
# `thread`. `T` is the number format of the arrays. The arithmetic is always done in float32. (`by_row` is for token mixing, where a whole row shares one bias.)

# %%
from tinymixer.kernels.modules import source

text = source("gelu.cu")
start = text.index("// One thread per element")
print(text[start : text.index("// One thread per entry", start)].strip())

# %% [markdown]
# It is right, but slow: a kernel of this kind reached 0.85 TB/s of the possible 2.95 (recorded). The later stages in the same file take these steps, in the words of the source:

# %%
start = text.index("// Step 1")
print(text[start : text.index("template", start)].strip())

# %% [markdown]
# The prototype's kernel with 16-byte accesses and the hardware's tanh reached the copy rate. Reading 16 bytes at a time means that a thread handles eight neighbouring numbers of 16 bits. Walking over rows means that it has many elements
# after all, at a fixed distance. Both are refinements of the index that you have written. (The package's usual tests have no GPU. They compile the same source for the processor, and compare each kernel with its operation in `ops`.)
#
# ## Sums, and their order
# A sum over rows, as for the gradient of the bias, needs numbers from many threads. The short way is an *atomic* addition: every thread, or every block, adds its number to one place
# in memory, in whatever order they come. The result is right, but not the same every time, because floating-point addition is not associative:

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
# If bytes are what counts, halve them. A floating-point number is a sign, an exponent and a *mantissa*, the digits after the leading one:
#
# | format | exponent bits | mantissa bits | steps above 1 | smallest number above 0 | largest |
# |---|---|---|---|---|---|
# | float32 | 8 | 23 | $2^{-23}$ | $2^{-149}$ | $3.4\cdot10^{38}$ |
# | tf32 (in products only) | 8 | 10 | $2^{-10}$ | as float32 | as float32 |
# | bfloat16 | 8 | 7 | $2^{-7}$ | $2^{-133}$ | $3.4\cdot10^{38}$ |
# | float16 | 5 | 10 | $2^{-10}$ | $2^{-24}$ | 65504 |
#
# bfloat16 is the upper half of a float32: same sign, same exponent, mantissa cut to 7 bits. So you can round to it by working on the bits. `x.view(np.uint32)` looks at the same 32 bits as a whole number. If we simply cleared the lower 16,
# numbers would always be cut towards zero. To round to the *nearest* one, add a little less than half a step, `0x7FFF`, before clearing: everything above the middle carries into the upper half. A number exactly in the middle would then always go
# down. The usual rule is that ties go to the neighbour whose last kept bit is 0. To follow it, add one more where that bit, number 16, is 1.
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
# How far do 7 bits get you? Let us count to 1,000 with them, and make a thousand small steps down from 1. (The cell uses the course's own answer to the exercise, so that it runs before you have yours.)

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
# The count stops at 256: there the steps between numbers are 2, and 257 is rounded back. The weight never moves at all, because the steps below 1 are $2^{-8} \approx 0.004$, and 0.001 is less than half of that. A learning rate times a gradient usually *is*
# that small. So the rule is: **activations and the factors of products in 16 bits; sums, statistics, the loss and the weights themselves in float32.** The package does so in both its 16-bit precisions: the products add up in float32, and the
# optimizer updates float32 weights and writes a 16-bit copy of them for the products of the next step.
#
# float16 has finer steps than bfloat16, but a small range. Below $2^{-14}$ all its numbers are $2^{-24}$ apart. So small numbers have few digits, and everything below $2^{-25}$ becomes zero. Gradients
# *are* small: the loss is a mean over the batch, so each image's share is divided by the size of the batch, and an image that is already recognised hardly counts. Here are the gradients that reach the pixels of 512 digits after a
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
    alt="A histogram of gradients. Most of them are where float16 has few digits, and some are below its smallest "
    "number. Multiplied by 8192, nearly all of them have moved to the right, where float16 has all its digits.",
)

# %% [markdown]
# The cure is to multiply the loss by a large number, a **loss scale**. The backward pass is linear in `dlogits`, so every gradient grows by the same factor. The optimizer divides by it again, in float32. The package begins with
# $2^{13}$, halves it when a gradient overflows (that update is left out), and doubles it after 2,000 good steps (Micikevicius et al. 2018, arXiv 1710.03740). bfloat16 has float32's range and needs none of this.
#
# ## From the formula to the tile kernel
# Now you have everything you need to fuse a whole MLP. Token mixing multiplies each column of $X$, one number per token, by two matrices with a GELU between them, and each row has its own first bias:
#
# $$Z = W_1 X + b_1, \qquad A = \mathrm{gelu}(Z), \qquad Y = W_2 A.$$
#
# In NumPy, with the columns of all channels and images side by side (the second bias is added later, in the kernel of the next LayerNorm):

# %%
S, DS, columns = 16, 32, 256
x = rng.normal(size=(S, columns))  # (S, B*C)
w1, b1 = rng.normal(size=(DS, S)) / 4, rng.normal(size=DS)  # (DS, S), (DS,)
w2 = rng.normal(size=(S, DS)) / 6  # (S, DS)

z = w1 @ x + b1[:, None]  # (DS, B*C)
a, cache = ops.gelu_tanh_forward(z)  # (DS, B*C)
y = w2 @ a  # (S, B*C)

# %% [markdown]
# Every line is a trip through memory: the first product reads `x` and writes `z`, GELU reads `z` and writes `a`, the second product reads `a` and writes `y`. With DS = S, as in nano, that is six passes. But each column of `y` needs only *its* column of `x` and
# the two weights, which are small. So a block of the GPU can take a **tile** of 128 columns, keep `z` and `a` on the chip, and write its part of `y`: two passes.
#
# In CUDA C++ that takes several hundred lines, because the tensor cores, which make products fast, want their factors in an order of their own. A *tile language* leaves that to its compiler. NVIDIA's tile language, cuTile, is Python. This is the package's kernel:

# %%
import inspect

from tinymixer.kernels.tiles import token_mlp

text = inspect.getsource(token_mlp)
start = text.index("    def token_forward")
print(inspect.cleandoc(text[start : text.index("    @ct.kernel", start)]))

# %% [markdown]
# These are the three NumPy lines, with what a tile needs around them: `ct.bid(0)` is the number of the block; `ct.load` takes the tile of that shape at that place, here the columns `column * N` to `(column + 1) * N`; `ct.astype(..., number)` rounds the
# factors of a product to bfloat16, while sums stay in float32; `ct.store` writes the result. No line says anything about threads.
#
# For the compiler, `ct` is the module `cuda.tile`. It can also be an object whose `load`, `mma` and `tanh` are NumPy's. Then the *same source* runs here, one block after the other:

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
# It is exact in float64, and off by a fraction of $2^{-8} \approx 0.004$ with the factors in bfloat16. This is how the package's tests compare the kernels with the operations on machines without a GPU.
#
# The backward pass gains the most. From `dy` it computes $dZ$ and then four results,
#
# $$dZ = (W_2^\top dY) \odot \mathrm{gelu}'(Z), \qquad dX = W_1^\top dZ, \qquad dW_1 = dZ\, X^\top, \qquad dW_2 = dY A^\top, \qquad db_1 = \textstyle\sum_{\text{columns}} dZ,$$
#
# where $\odot$ multiplies entry by entry, $\top$ transposes and $\mathrm{gelu}'$ is the slope of GELU. Its kernel needs nothing stored from the forward pass: it computes $Z$ again, one more small product instead of two stored hidden layers. $dW_1$, $dW_2$ and $db_1$ are sums over *all* columns. So a block walks over many tiles, adds up on the chip, and writes its sums
# next to those of the other blocks. They are then added up in a fixed order.

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
# There are four tiles and three blocks: the first block takes tiles 0 and 3, the others take one each. Channel mixing is fused in the same way, except that its hidden layer is too wide for the chip and goes through in pieces (`kernels/tiles/channel_mlp.py`). A block of nano makes 83 passes over
# its activations, forward and backward. When both MLPs are tile kernels, 31 remain, and none of the block's hidden layers is kept. The compiler accepts the kernels for four generations of GPUs. **They have not run on one**, so no speed is printed here. On a GPU, the package first computes a block in
# both ways, compares the results, times both, and uses the faster one.
#
# **Try it.** (1) Why does the forward kernel not walk over tiles, as the backward one does? (2) Launch the backward kernel with `blocks = 7`. What do blocks 4 to 6 write, and why is the result right? (3) You want to call `ct.mma` with factors in float32 instead of bfloat16. Which line of the kernel would you change?

# %% [markdown] tags=["solution"]
# **About *Try it*.** (1) It has no sums over columns. With one block per tile, the GPU can choose the order of the work. (2) They have no tile, so they write their sums as they began, zeros. (3) None: `number` is an argument of `token_kernels`, and with a format of 32 bits `ct.astype` changes nothing.

# %% [markdown]
# ## The recorded step
# Back to waiting. This is how many launches the prototype's step of nano took:

# %%
launched = 512 / NANO["prototype, launched, bfloat16"]
captured = 512 / NANO["prototype, captured, bfloat16"]
print(
    f"kernels alone             {NANO_KERNEL_SECONDS * 1e6:5.0f} us in {NANO_LAUNCHES} launches"
)
print(f"launched one by one       {launched * 1e6:5.0f} us a step")
print(f"captured in a CUDA graph  {captured * 1e6:5.0f} us a step")

# %% [markdown]
# A **CUDA graph** is a list of launches that is recorded once and then given to the device as a whole. The device goes from one kernel to the next by itself. The host starts a replay and is free. (Here the recorded difference is a tenth. With a smaller
# model or batch, the kernels get shorter and the launches don't, so the difference grows.)
#
# The graph records *which kernel with which arguments*: arrays by their addresses, and numbers by the values they had. That is a famous trap. Here is a recorder in a few lines of Python:


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

# 2. The learning rate is in memory, at an address that is recorded. It is written before each replay.
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
# The first run trains on with the learning rate of step 0 forever, and says nothing. So in a recorded step
#
# * **everything that changes is in device memory**: the learning rate, the step counter, which images, which crops, which branches are dropped;
# * **nothing waits for the host**: no `float(loss)`, no `if gradient_norm > 1:` in Python. A kernel decides about clipping and "skip this update";
# * **arrays stay where they are**: a new array in every step would have another address. All buffers are made once, and written into;
# * **no library may do anything that cannot be recorded.** CuPy refuses its own matrix products during a capture, so the package calls cuBLAS through nvmath-python.
#
# This is what the package's step keeps on the device instead of in Python variables:

# %%
from tinymixer.engines.cuda.step_state import STEP_STATE

print(", ".join(STEP_STATE.names))

# %% [markdown]
# **Try it.** (1) A recorded step contains the Python line `if step < 5: rate = 0.01`. What does it do in step 7? (2) Which of these two may be recorded: `gradient *= 0.5` and
# `gradient = gradient * 0.5`? (3) If you have a GPU, time something with `backend.synchronize()`: how long does the launch of a product of two (4096, 4096) matrices take, and how long does the product take?

# %% [markdown] tags=["solution"]
# **About *Try it*.** (1) Python's `if` ran once, while step 0 was recorded. What it launched then is launched in step 7, too. (2) The first writes into the array whose address was recorded. The
# second makes a new array and gives it an old name: kernels that were recorded with the old array still read that one. (3) The launch takes microseconds. The product is $2 \cdot 4096^3 = 137$ GFLOP, so even at the
# recorded product rate of bfloat16 it takes 178 us, and longer in float32.

# %% [markdown]
# ## On a GPU
# If you have a GPU, this is all you need to do:
#
#     pip install 'tinymixer[cuda13] @ git+https://github.com/tinymixer/tinymixer'   # or [cuda12], to match your driver
#     pip install 'tinymixer[cutile] @ git+https://github.com/tinymixer/tinymixer'   # also the fused MLPs: CUDA 13
#     tinymixer doctor                       # says what is missing
#     tinymixer train cifar10-nano --backend cupy --precision bfloat16
#     tinymixer bench --backend cupy --model nano --precision bfloat16 --profile
#
# `--no-captured` launches kernel by kernel, and `--kernels reference` uses the plain array expressions of this course. Compare their speed. This cell measures the two rates, if it can:

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
# captured step are compiled for A100 and H100, and tested on an emulator against the operations of this course. Its tile kernels are tested on NumPy. They have not run on a GPU yet. `docs/gpu.md` lists what was measured.

# %% [markdown]
# ## Questions
#
# **1.** You time `a @ b` on a GPU with a clock before and after the line. It takes 20 us, however large the matrices are. Why?
#
# <details><summary>Answer</summary>
#
# You have timed the launch. The product goes into a queue, and the line returns before it has been computed. Call `synchronize()` before you read the clock, both times.
#
# </details>
#
# **2.** A kernel adds two arrays of 100 million float32 numbers. What is the least time it can take on the H100 of this lesson (2.95 TB/s)? What changes with bfloat16?
#
# <details><summary>Answer</summary>
#
# It reads two arrays and writes one: $3 \cdot 4 \cdot 10^8 = 1.2 \cdot 10^9$ bytes, which take about 407 us. The $10^8$ additions are nothing beside that, so it is bound by memory. With two bytes per number it takes half as long, about 203 us.
#
# </details>
#
# **3.** Somebody launches `size // 256` blocks of 256 threads. All tests with 1,024 elements pass. What happens with 1,000 elements, and what should the tests have tried?
#
# <details><summary>Answer</summary>
#
# There are 3 blocks, so the last 232 elements are never computed, and `y` keeps whatever was in memory there. The number of blocks has to be rounded up. Tests need sizes that are not multiples of the block's, and sizes below one block.
#
# </details>
#
# **4.** A step has 300 kernels that take 1 ms together, and a launch takes 5 us. Estimate how long the step takes, launched one by one and as a recorded graph. What changes when the batch becomes four times as large?
#
# <details><summary>Answer</summary>
#
# Launched one by one, the host needs $300 \cdot 5$ us $= 1.5$ ms, so the step takes at least that. Recorded, it takes about 1 ms. With four times the batch the kernels take up to 4 ms. The launches then hide behind them, and the graph gains little.
#
# </details>
#
# **5.** A colleague stores the weights in bfloat16, "because the products round them anyway". Explain what goes wrong.
#
# <details><summary>Answer</summary>
#
# Rounding for one product costs a small error that does not stay. But an update is a small number added to a large one: near 1, bfloat16's steps are 0.004 below and 0.008 above, and a smaller update is rounded away every time. The weights stop learning. So the weights
# are kept and updated in float32, and only a copy for the products is rounded.
#
# </details>

# %% [markdown]
# ## What you have now
# | what is slow | why | what helps |
# |---|---|---|
# | copies between host and device | the bus | keep the data there, as bytes |
# | waiting for a result | the queue runs empty | read losses rarely, decide on the device |
# | many small kernels | a launch takes microseconds | fuse, record the step once |
# | element-by-element array code | every line is a trip through memory | fuse, 16-bit numbers |
# | products with a small inner size | few operations per byte | fewer bytes: a whole MLP in one kernel |
#
# **Where the package does this:** `tinymixer/backend.py` (which library), `tinymixer/kernels/` (CUDA sources, launches, products), `tinymixer/engines/cuda/` (the recorded step; begin with `captured_step.py`), `docs/gpu.md` (the bytes of a
# whole block, counted).
#
# Next: [lesson 12, what it learned](12_what_it_learned.ipynb).
