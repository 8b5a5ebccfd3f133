# %% [markdown]
# # Lesson 01 · Arrays, shapes, images as tokens
#
# *70 minutes. Before: [lesson 00](00_start_here.ipynb) (how exercises work, the letters of the shapes).*
#
# Everything in a network is an array: images, weights, gradients. If you can name the shape that a line produces before you run it, you catch most
# mistakes before they happen. After this lesson you can
#
# * say what an index, an axis and a stride are, and which shape a mean or a sum has,
# * broadcast on purpose, and notice it when it happens by accident,
# * write a matrix product as a sum over an index,
# * tell a reshape from a transposition, and a view from a copy,
# * cut images into tokens, with the tokens on the first axis.

# %% [markdown]
# ## Before you begin
#
# **1.** What do `B`, `S`, `C` and `K` count? Which of them do you choose, and which follow from the images and their labels? (lesson 00)
#
# <details><summary>Answer</summary>
#
# `B` counts the images in a batch, `S` the tokens of an image, `C` the numbers in a token, `K` the classes. You choose `B` and `C`. `K` comes from
# the labels, and `S` follows from the size of the images and the patch size `P` that you choose.
#
# </details>
#
# **2.** The pixels are whole numbers from 0 to 255. Why does `images // 255` not give numbers from 0 to 1? (lesson 00)
#
# <details><summary>Answer</summary>
#
# `//` divides and drops the remainder: everything below 255 becomes 0, and only 255 becomes 1. `/` keeps the decimals.
#
# </details>
#
# **3.** `logits` has the shape `(360, 10)`. What is `logits.argmax(axis=1)`, and what do you get when you compare it with the labels and take the
# mean? (lesson 00)
#
# <details><summary>Answer</summary>
#
# It has the shape `(360,)` and holds for each image the number of the class with the largest logit, the prediction. The comparison gives 360 times
# true or false, which count as 1 and 0, so the mean is the share of right predictions: the accuracy.
#
# </details>

# %%
import time

import numpy as np

from tinymixer import get_backend, ops
from tinymixer.analysis.curves import COLOURS
from tinymixer.backend import namespace
from tinymixer.data import load_dataset
from tinymixer.lessons import check, new_figure, show

digits = load_dataset("digits")
images = digits.train_images / np.float32(255)  # (1437, 8, 8, 1)

# %% [markdown]
# ## A row of numbers and a shape
# In the computer's memory an array is one long row of numbers. The **shape** says how to read it. With the shape `(3, 4)` the first four numbers are
# row 0, the next four row 1, the last four row 2. An **index** has one number for each axis, and counts from 0.

# %%
row = np.arange(12)  # (12,)
table = row.reshape(3, 4)  # (3, 4)
print(row)
print(table)
print("table[2, 1] is", table[2, 1], "and stands at place 4 * 2 + 1 of the row")

# %% [markdown]
# To get to the next row of the table, go 4 places further; to get to the next column, 1 place. These steps are called **strides**. An index becomes a
# place by multiplying and adding: place $= 4 \cdot \text{row} + 1 \cdot \text{column}$. NumPy counts its strides in bytes, so we
# divide by the size of one number.
#
# A batch of $B$ images has four axes, `(B, height, width, channels)`. The digits are grey, with one channel; a colour photograph has three (red, green and
# blue). Neighbours along the last axis lie closest together in memory, neighbours along the first axis farthest apart:

# %%
print("table: ", table.shape, "strides", [s // table.itemsize for s in table.strides])
print("images:", images.shape, "strides", [s // images.itemsize for s in images.strides])

# %% [markdown]
# One image is 64 numbers away from the next, one row of pixels 8 numbers, and one pixel 1 number.
#
# ## Axes
# A sum or a mean over an axis takes all the numbers that differ only in this index, and turns them into one. So *the axis that you name disappears*:

# %%
for axis, words in (
    (0, "the mean image"),
    ((1, 2, 3), "one number for each image"),
    ((0, 1, 2), "one number for each channel"),
    (None, "one number for everything"),
):
    print(f"axis={axis!s:10} shape {images.mean(axis=axis).shape!s:10} {words}")

figure, axes = new_figure(1, 10, width=7.5, height=1.1)
for digit, axis in enumerate(axes):
    mean_image = images[digits.train_labels == digit].mean(axis=0)  # (8, 8, 1)
    axis.imshow(mean_image[:, :, 0], cmap="gray")
    axis.set_title(f"mean {digit}", fontsize=9)
    axis.axis("off")
show(
    figure,
    alt="For each digit the mean of all its training images: a blurred 0, a blurred 1, and so on.",
)

# %% [markdown]
# ## Broadcasting
# Arrays of different shapes can be added or multiplied if their shapes can be **broadcast**. NumPy writes one shape below the other, aligned on the
# *right*, and looks at each axis: the two sizes must be equal, or one of them must be 1 or missing. An axis whose size is 1 or missing is repeated to
# the size of the other.
#
# | first | second | result | |
# |---|---|---|---|
# | `(B, 8, 8, 3)` | `(3,)` | `(B, 8, 8, 3)` | one number for each channel |
# | `(B, 8, 8, 3)` | `(B, 1, 1, 1)` | `(B, 8, 8, 3)` | one number for each image |
# | `(B, 8, 8, 3)` | `(B,)` | error, unless `B` is 3 or 1 | `B` meets the channels |
# | `(B, C)` | `(B,)` | error, unless `B` is `C` or 1 | `B` meets the channels |
#
# The last two rows are where accidents happen: if the sizes happen to fit, there is no error, and the numbers are wrong. An axis of size 1 in the
# right place prevents that. A mean with `keepdims=True` leaves an axis of size 1 where it would otherwise remove one:

# %%
batch = images[:5]  # (5, 8, 8, 1)
print("without:", batch.mean(axis=(1, 2, 3)).shape)
print("with:   ", batch.mean(axis=(1, 2, 3), keepdims=True).shape)

# %% [markdown]
# ### Exercise 1.1
# Some images are brighter than others. Remove the brightness: from every image, subtract *its own* mean over all its pixels and channels.


# %%
def my_centred(images):
    """images (B, height, width, channels)  ->  same shape, the mean of each image is 0"""
    ### BEGIN SOLUTION
    means = images.mean(axis=(1, 2, 3), keepdims=True)  # (B, 1, 1, 1)
    return images - means
    ### END SOLUTION


check("1.1", my_centred)

# %% [markdown]
# ## The matrix product
# Take two tables, $a$ of shape $(I, J)$ and $b$ of shape $(J, O)$. Their **matrix product** `a @ b` has the shape $(I, O)$ and the entries
#
# $$(ab)_{io} = \sum_{j=0}^{J-1} a_{ij}\,b_{jo} .$$
#
# The sign $\sum_{j=0}^{J-1}$ says: let $j$ run from 0 to $J-1$, and add up what follows the sign. ([Lesson 01b](01b_chain_rule.ipynb) writes such sums out.)
# Row $i$ of $a$ meets column $o$ of $b$: multiply entry by entry, and add up. The index $j$ that is summed over is the *last* of $a$ and the *first*
# of $b$, and it is gone from the result. That is all there is to it, and it is worth knowing by heart: in lesson 02, every gradient turns out to be a
# sum over some index, and the only question left is which product that is.
#
# ### Exercise 1.2
# Write the matrix product with loops, as the formula says, without `@` and its relatives.


# %%
def my_matrix_product(a, b):
    """a (I, J), b (J, O)  ->  (I, O)"""
    product = np.zeros((a.shape[0], b.shape[1]))  # (I, O)
    ### BEGIN SOLUTION
    for i in range(a.shape[0]):
        for o in range(b.shape[1]):
            for j in range(a.shape[1]):
                product[i, o] += a[i, j] * b[j, o]
    ### END SOLUTION
    return product


check("1.2", my_matrix_product)

# %% [markdown]
# Nobody computes like that, because a loop in Python spends its time on everything but the numbers. Here is how long one multiplication with its
# addition takes, first one by one, then in a matrix product.

# %%
left, right = np.random.default_rng(0).random((2, 500, 500), dtype=np.float32)
numbers = left[0].tolist() * 200  # 100,000 of them
started = time.perf_counter()
total = 0.0
for number in numbers:
    total += number * number
one_by_one = (time.perf_counter() - started) / len(numbers)

left @ right  # the first product wakes the threads
started = time.perf_counter()
left @ right
together = (time.perf_counter() - started) / 500**3
print(f"one by one:       {1e9 * one_by_one:7.3f} ns each")
print(
    f"matrix product:   {1e9 * together:7.3f} ns each, {one_by_one / together:,.0f} times as fast"
)

# %% [markdown]
# With more than two axes on the left, `@` sums over the last one and leaves the others alone. A batch of tokens `x` of shape `(S, B, C)` times
# weights `(C, O)` is `(S, B, O)`: every token of every image meets the same weights. It is the same as one large table with $S \cdot B$ rows:

# %%
rng = np.random.default_rng(1)
S, B, C, O = 4, 3, 5, 2
x, weight = rng.normal(size=(S, B, C)), rng.normal(size=(C, O))
as_table = (x.reshape(S * B, C) @ weight).reshape(S, B, O)  # (S, B, O)
print((x @ weight).shape, "largest difference:", abs(x @ weight - as_table).max())

# %% [markdown]
# ## Reshape and transpose
# Both can turn a shape `(2, 3)` into `(3, 2)`, but they are not the same. A **reshape** leaves the row of numbers in memory as it is and reads it in
# lines of a different length. A **transposition** swaps the indices: what was at `[0, 2]` is at `[2, 0]`.

# %%
table = np.arange(6).reshape(2, 3)  # (2, 3)
panels = (
    ("the row in memory", table.reshape(1, 6)),
    ("table (2, 3)", table),
    ("table.reshape(3, 2)", table.reshape(3, 2)),
    ("table.T (3, 2)", table.T),
)
figure, axes = new_figure(1, 4, width=7, height=1.7, width_ratios=[6, 3, 2, 2])
for axis, (title, values) in zip(axes, panels, strict=True):
    for (line, column), value in np.ndenumerate(values):
        colour = COLOURS[0] if value < 3 else COLOURS[1]
        frame = {"boxstyle": "square,pad=0.6", "facecolor": "none", "edgecolor": colour}
        axis.text(column, line, value, ha="center", va="center", color=colour, bbox=frame)
    axis.set(xlim=(-0.6, values.shape[1] - 0.4), ylim=(2.6, -0.6))
    axis.set_title(title, fontsize=9)
    axis.axis("off")
show(
    figure,
    alt="The row 0 1 2 3 4 5. As a table (2, 3): 0 1 2 and 3 4 5. Reshaped to (3, 2): 0 1, 2 3, 4 5. "
    "Transposed: 0 3, 1 4, 2 5.",
)

# %% [markdown]
# How does NumPy transpose? It doesn't move a single number. It swaps the *strides*: the result is a **view**, another way of reading the same memory.
# A reshape is a view too, where possible. After this transposition it is not possible, because no fixed stride leads through 0, 3, 1, 4, 2, 5: then
# NumPy quietly makes a **copy**, a new row in memory.

# %%
for name, array in (
    ("table", table),
    ("table.reshape(3, 2)", table.reshape(3, 2)),
    ("table.T", table.T),
    ("table.T.reshape(6)", table.T.reshape(6)),
):
    strides = [stride // array.itemsize for stride in array.strides]
    kind = "same memory" if np.shares_memory(array, table) else "a copy"
    print(f"{name:22} strides {strides!s:8} {kind}")

# %% [markdown]
# Two things follow. Views cost nothing, copies cost time and memory. And writing into a view changes the original:

# %%
original = np.arange(6)
view = original.reshape(2, 3)
view[0, 0] = 100
print("original:", original)

# %% [markdown]
# So the package has a rule, which the exercises' checks enforce: *a function never writes into its inputs.* It makes a new array (`y = x * 2`) and
# does not change the old one (`x *= 2`).
#
# For more than two axes there is `transpose`, which takes the old axes in their new order: `x.transpose(2, 0, 1)` puts axis 2 first.
#
# ### Exercise 1.3
# Tokens often come image by image, `(B, S, C)`. Put the tokens first: entry `[n, s, c]` of `x` goes to `[s, n, c]`.


# %%
def my_tokens_first(x):
    """x (B, S, C)  ->  (S, B, C)"""
    ### BEGIN SOLUTION
    return x.transpose(1, 0, 2)  # (S, B, C)
    ### END SOLUTION


check("1.3", my_tokens_first)

# %% [markdown]
# ## Images as tokens
# A Mixer doesn't look at pixels one by one. It cuts each image into patches of `P` x `P` pixels, row by row, in reading order, and writes the pixels
# of each patch into one row: that is a token. With 8 x 8 pixels and `P` = 4 there are `S` = 4 tokens of 16 numbers each.

# %%
P = 4
patches, _ = ops.images_to_patches_forward(images[17:18], P)  # (4, 1, 16)

figure, (whole, rows) = new_figure(1, 2, width=7, height=2.1, width_ratios=[1, 2.6])
whole.imshow(images[17, :, :, 0], cmap="gray")
whole.axhline(3.5, color=COLOURS[1])
whole.axvline(3.5, color=COLOURS[1])
for token, (y, x) in enumerate(((0, 0), (0, 7), (7, 0), (7, 7))):
    whole.text(x, y, token, color=COLOURS[1], ha="center", va="center")
whole.set_title("an image in 4 patches", fontsize=9)
whole.axis("off")
rows.imshow(patches[:, 0], cmap="gray", aspect="auto")
for edge in (0.5, 1.5, 2.5):
    rows.axhline(edge, color=COLOURS[1])
rows.set_yticks(range(4))
rows.set_ylabel("token", fontsize=9)
rows.set_xticks([])
rows.set_title("the same numbers as tokens (4, 16)", fontsize=9)
show(
    figure,
    alt="Left, a digit with lines that cut it into four patches, numbered 0 to 3. Right, four rows of 16 "
    "pixels, one row for each patch.",
)

# %% [markdown]
# A batch of images becomes tokens of shape `(S, B, P*P*channels)`, tokens *first*. That looks odd, and most other packages don't do it. Here is the
# reason: a Mixer multiplies once over the channels of each token and once over the tokens of each channel. With tokens first, both products find
# their table without moving a single number, `(S*B, C)` and `(S, B*C)`; [lesson 08](08_token_mixing.ipynb) makes use of that. With images first, the
# second table has to be a copy:

# %%
x = np.zeros((S, B, C))  # tokens first
print("(S*B, C) same memory:", np.shares_memory(x, x.reshape(S * B, C)))
print("(S, B*C) same memory:", np.shares_memory(x, x.reshape(S, B * C)))
z = np.zeros((B, S, C))  # images first
print("from (B, S, C):      ", np.shares_memory(z, z.transpose(1, 0, 2).reshape(S, B * C)))

# %% [markdown]
# ### Exercise 1.4
# Cut a batch of images into tokens, for any `P` that divides height and width. Two loops over the patches will do: with a slice, take the same patch
# out of *all* images, and turn it into one row per image. `np.stack` stacks a list of arrays along a new first axis. (Lesson 07 does all of this with
# a reshape, a transposition and another reshape.)


# %%
def my_images_to_tokens(images, P):
    """images (B, height, width, channels)  ->  tokens (S, B, P*P*channels)

    Tokens go row by row over the image, the numbers of a token row by row over the patch.
    """
    B, height, width, channels = images.shape
    ### BEGIN SOLUTION
    tokens = []
    for top in range(0, height, P):
        for left in range(0, width, P):
            patch = images[:, top : top + P, left : left + P]  # (B, P, P, channels)
            tokens.append(patch.reshape(B, P * P * channels))
    return np.stack(tokens)  # (S, B, P*P*channels)
    ### END SOLUTION


check("1.4", my_images_to_tokens)

# %% [markdown]
# ## How precise is a number?
# The **dtype** says how a number is stored. `float64` takes 8 bytes and is accurate to about 16 decimal digits, `float32` takes 4 bytes and is
# accurate to about 7. Training needs no more than 7, and half the bytes are moved in half the time. For gradient checks, which depend on tiny
# differences, 7 digits are too few ([lesson 03](03_gradient_checking.ipynb)).

# %%
for dtype in (np.float32, np.float64):
    third = dtype(1) / dtype(3)
    a = rng.normal(size=(700, 700)).astype(dtype)
    a @ a
    started = time.perf_counter()
    a @ a
    milliseconds = 1000 * (time.perf_counter() - started)
    print(
        f"{dtype.__name__}: 1/3 = {third:.20f}   product of 700 x 700: {milliseconds:.1f} ms"
    )

# %% [markdown]
# When two dtypes meet, the larger one wins, and one `float64` number is enough to widen a whole array. A plain Python number is the exception: it
# takes on the array's dtype. NumPy's own numbers, such as what `np.sqrt` returns, do not. Lesson 04 runs into this.

# %%
x = np.ones(3, np.float32)
print("x * 2.0         ", (x * 2.0).dtype)
print("x * np.sqrt(2.0)", (x * np.sqrt(2.0)).dtype)

# %% [markdown]
# ## One line, two libraries
# CuPy has NumPy's arrays and functions, but its arrays live in the memory of a GPU. A function that asks its argument which library it belongs to
# works with both. That is what `namespace` is for, and by convention the answer is called `xp`. You will see this line in nearly every operation of
# the package. Without a GPU, the second answer below comes from NumPy, too.


# %%
def brightness(images):
    """images (B, height, width, channels)  ->  the mean of each image (B,), on the same device"""
    xp = namespace(images)
    return xp.mean(images, axis=(1, 2, 3))


print("NumPy:", brightness(images[:3]))
backend = get_backend("auto")
answer = brightness(backend.asarray(images[:3]))
print(f"{backend.name} ({type(answer).__module__}):", backend.to_numpy(answer))

# %% [markdown]
# **Try it.** (a) A batch has the shape `(8, 8, 8, 1)`. What is the shape of `batch - batch.mean(axis=(1, 2, 3))`? Is it an error? (b) What do
# `x.reshape(B, S, C)` and `x.transpose(1, 0, 2)` do with tokens `x` of shape `(S, B, C)`, and how would you notice that the wrong one was used? (c)
# `images[::2]` takes every other image. Is it a view? What are its strides?

# %% [markdown] tags=["solution"]
# **About the questions.** (a) The means have the shape `(8,)`, which is aligned on the right and meets the channels. There is only one channel, so
# it is repeated. The result has the shape `(8, 8, 8, 8)`, with eight channels where there was one, and there is no error. (b) Both have the shape
# `(B, S, C)`. The transposition is right. The reshape mixes tokens of different images, and no shape gives that away: look at the numbers of one
# token, as the checks do. A network with this mistake may still learn something, which makes it hard to find. (c) It is a view; its first stride is
# twice that of `images`, the others are the same.

# %% [markdown]
# ## Questions
#
# **1.** `x` has the shape `(4, 5, 6)`. What are the shapes of `x.sum(axis=1)`, of `x.sum(axis=1, keepdims=True)` and of `x.mean(axis=(0, 2))`?
#
# <details><summary>Answer</summary>
#
# `(4, 6)`, `(4, 1, 6)` and `(5,)`. The axes that you name disappear, or stay with size 1. In the last one, only axis 1 is not named, so its 5 is
# left.
#
# </details>
#
# **2.** Images have the shape `(B, 8, 8, 3)`, and you have the mean of each channel in an array of shape `(3, 1, 1)`. What happens when you subtract
# it?
#
# <details><summary>Answer</summary>
#
# Aligned on the right, 3 meets 1, 8 meets 1, and 8 meets 3: an error, since 8 and 3 are different and neither is 1. On images 3 pixels high there
# would be no error: each *row* of pixels would lose another number. The shape `(3,)` is the right one, because the channels are the last axis.
#
# </details>
#
# **3.** Find the fault in `def scaled(images): images /= 255; return images`, for images in `float32`.
#
# <details><summary>Answer</summary>
#
# It returns the right numbers and overwrites the caller's array. Whoever still uses `images` afterwards has small numbers without knowing it, and
# calling the function twice divides twice. `return images / 255` makes a new array.
#
# </details>
#
# **4.** `x` has the shape `(16, 32, 64)` and `weight` the shape `(64, 256)`. What is the shape of `x @ weight`? About how long does it take on a
# machine that does 10 GFLOP/s?
#
# <details><summary>Answer</summary>
#
# `(16, 32, 256)`: the 64 is summed over. Each of these 131,072 numbers takes 64 multiplications and as many additions, which makes 16.8 million
# operations in all. At ten thousand million per second that is 1.7 milliseconds.
#
# </details>
#
# **5.** Explain to a colleague why `x.T` takes no time even for a huge table, but `x.T.reshape(-1)` does.
#
# <details><summary>Answer</summary>
#
# `x.T` moves nothing. It is a view of the same memory with the two strides swapped. Reshaped to one row, the numbers would have to be read in an
# order that no single stride describes, so NumPy copies them one by one into a new row.
#
# </details>

# %% [markdown]
# ## What you have now
#
# | | |
# |---|---|
# | shape and strides | how one row of numbers is read as a table, an image, a batch |
# | `sum(axis=...)` | the axis that you name disappears, or stays with size 1 with `keepdims=True` |
# | broadcasting | aligned on the right; sizes are equal, or 1 is repeated |
# | `a @ b` | a sum over the last index of `a` and the first (of a table) of `b` |
# | `reshape`, `transpose` | the same order in lines of another length; swapped indices |
# | tokens | patches as rows of numbers, `(S, B, P*P*channels)` |
#
# **Where the package does this:** `tinymixer/ops/array_library.py` (`namespace`, and the few functions of NumPy and CuPy that the operations use),
# `tinymixer/ops/patches.py` (images to tokens), `tinymixer/backend.py` (moving arrays to a GPU and back), `tinymixer/ops/shapes.py` (errors that
# name the letters).
#
# Next: [lesson 01b, the chain rule on ten scalars](01b_chain_rule.ipynb). If partial derivatives and sums over two indices are old friends of yours, go on to
# [lesson 02, Linear, forward and backward](02_linear.ipynb).
