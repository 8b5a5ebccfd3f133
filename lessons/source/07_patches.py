# %% [markdown]
# # Lesson 07 · Patches: the stem as one matrix product
#
# *80 minutes. Before: [lesson 01](01_arrays_and_images.ipynb) (reshape, transpose, tokens) and [lesson 02](02_linear.ipynb) (Linear).*
#
# The first thing a Mixer does with an image is to cut it into patches and multiply each patch by the same table of weights, the **stem**. Elsewhere
# this is called a convolution, which makes it look far more complicated than it is. After this lesson you can
#
# * say where each pixel goes, and cut a batch of images without a loop,
# * send a gradient back through any permutation,
# * show that a convolution by patches is one matrix product,
# * predict how a Mixer copes with shuffled pixels, and prove it.

# %% [markdown]
# ## Before you begin
#
# **1.** `x` has the shape `(2, 3, 4)`. What is the shape of `x.transpose(2, 0, 1)`? Does `x.reshape(4, 2, 3)` hold the same numbers in the same places? (lesson 01)
#
# <details><summary>Answer</summary>
#
# `(4, 2, 3)`. The reshape has the same shape, but its numbers are in other places: a reshape keeps their order in memory, while a transposition moves the axes.
#
# </details>
#
# **2.** A Linear layer has `x (6, 4)` and `weight (4, 3)`. What is the shape of `dweight`, and which numbers does each of its entries add up? (lesson 02)
#
# <details><summary>Answer</summary>
#
# `(4, 3)`, the shape of the weight. It is `x.T @ dy`, so each entry is a sum over the six rows of the batch, because all rows share the weight.
#
# </details>
#
# **3.** Why does a gradient check use a random `dy` and not all ones? (lesson 03)
#
# <details><summary>Answer</summary>
#
# With all ones, only the gradient of the sum of all outputs is checked. Mistakes that cancel in that sum go unnoticed. A random `dy` weights every output differently.
#
# </details>

# %%
import dataclasses
import time

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS
from tinymixer.data import Batches, load_dataset, normalise
from tinymixer.lessons import check, cifar10_or_advice, new_figure, show
from tinymixer.optim import SGD, cosine

# %% [markdown]
# ## Where does a pixel go?
# An image has the shape `(height, width, channels)`. Patches of $P \times P$ pixels make a grid of `down` $= \text{height} / P$ rows and
# `across` $= \text{width} / P$ columns, so there are $S = \texttt{down} \cdot \texttt{across}$ of them. They are numbered in reading order, and so are the pixels in a patch. Each patch becomes one
# row of $F = P \cdot P \cdot \text{channels}$ numbers, the **patch vector**.
#
# Take the number in row $y$, column $x$ and channel $c$ of the image, all counted from 0. Division by $P$ with a remainder tells which patch it is in, and where:
#
# $$y = i P + u, \qquad x = j P + v, \qquad 0 \le u, v < P .$$
#
# The patch is in row $i$ and column $j$ of the grid, and the pixel in row $u$ and column $v$ of the patch. In Python, `i = y // P` and `u = y % P`. Here is an
# image of 4 x 6 pixels with one channel and $P = 2$. On the left is the number $s$ of the token that each pixel goes to, and on the right its place $f$ in the patch vector.

# %%
height, width, P = 4, 6, 2
numbers = np.arange(height * width).reshape(1, height, width, 1)  # (1, 4, 6, 1)
patches, cache = ops.images_to_patches_forward(numbers, P)  # (6, 1, 4)
token_of, place_of = np.zeros(24, int), np.zeros(24, int)
for s in range(6):
    for f in range(4):
        token_of[patches[s, 0, f]], place_of[patches[s, 0, f]] = s, f

figure, axes = new_figure(1, 2, width=6, height=2)
panels = ((axes[0], "token s", token_of), (axes[1], "place f", place_of))
for axis, title, values in panels:
    for pixel, value in enumerate(values):
        y, x = divmod(pixel, width)
        colour = COLOURS[token_of[pixel]]
        frame = {"boxstyle": "square,pad=0.5", "facecolor": "none", "edgecolor": colour}
        axis.text(x, y, value, color=colour, ha="center", va="center", bbox=frame)
    axis.set(xlim=(-0.6, 5.6), ylim=(3.6, -0.6), title=title)
    axis.axis("off")
show(
    figure,
    alt="A grid of 4 by 6 pixels. Left, the tokens: 0 0 1 1 2 2 in the upper two rows, 3 3 4 4 5 5 "
    "in the others. Right, the places: 0 1 0 1 0 1 in the first and third row, 2 3 2 3 2 3 in the others.",
)

# %% [markdown]
# ### Exercise 7.1
# Write both numbers as formulas. The channels of a pixel lie next to each other in the patch vector. (Check your formulas against the picture before you run the cell.)


# %%
def my_place_of_pixel(y, x, channel, width, channels, P):
    """row y, column x and channel of a number in the image  ->  token s, place f in its vector"""
    i, u = y // P, y % P
    j, v = x // P, x % P
    across = width // P
    ### BEGIN SOLUTION
    token = i * across + j
    place = (u * P + v) * channels + channel
    return token, place
    ### END SOLUTION


check("7.1", my_place_of_pixel)

# %% [markdown]
# ## Cutting without a loop
# In memory, pixel $(y, x)$ of an image with one channel is at place $y \cdot \text{width} + x$. Insert $y = iP + u$ and $x = jP + v$:
#
# $$(iP + u) \cdot \text{width} + jP + v \;=\; i \cdot (P \cdot \text{width}) + u \cdot \text{width} + j \cdot P + v .$$
#
# These are four indices with four strides. Each stride is the product of the sizes of all axes after it. So a plain reshape splits the axes, and no number moves:
#
# `(B, height, width, channels)` $\;\to\;$ `(B, down, P, across, P, channels)`, with the indices $(n, i, u, j, v, c)$, where $n$ is the image.
#
# We want `(S, B, F)`. Its first index is made of $i$ and $j$, its second is $n$, and its third is made of $u$, $v$ and $c$, in that order. So we put the six
# indices into the right order with a transposition, and then merge axes with a second reshape. (A reshape can only merge neighbouring axes. That is why the transposition
# has to come first.)
#
# ### Exercise 7.2
# Write the transposition and the second reshape.


# %%
def my_images_to_patches(images, P):
    """images (B, height, width, channels)  ->  patches (S, B, P*P*channels)"""
    B, height, width, channels = images.shape
    down, across = height // P, width // P
    grid = images.reshape(B, down, P, across, P, channels)  # axes n, i, u, j, v, c
    ### BEGIN SOLUTION
    tokens_first = grid.transpose(1, 3, 0, 2, 4, 5)  # (down, across, B, P, P, channels)
    return tokens_first.reshape(down * across, B, P * P * channels)
    ### END SOLUTION


check("7.2", my_images_to_patches)

# %% [markdown]
# From here on the package's `ops.images_to_patches_forward` does this. It also returns a `cache`, which holds what the backward pass needs: the shape of the images and $P$.
#
# ## The way back
# Cutting neither adds nor multiplies anything. Every number of the patches is one number of the images, in another place: a **permutation**. From here on $x$ is what goes in and
# $y$ what comes out, as in lesson 02. Number all places from 0 on, and let $\pi(k)$ be the
# place in the images that fills place $k$ of the patches:
#
# $$y_k = x_{\pi(k)} .$$
#
# How does $y_k$ react to $x_m$? Not at all, unless it is that very number: $\partial y_k / \partial x_m$ is 1 if $m = \pi(k)$ and 0 otherwise. The chain rule adds up over all
# outputs. Only one term of that sum is left, because every $x_m$ is used exactly once, at the $k$ with $\pi(k) = m$. This $k$ is written $\pi^{-1}(m)$:
#
# $$\texttt{dx}_m = \sum_k \texttt{dy}_k\,\frac{\partial y_k}{\partial x_m} = \texttt{dy}_{\pi^{-1}(m)} .$$
#
# In words: *each gradient goes back to where its number came from.* The backward pass of a permutation is the inverse permutation. With six numbers:

# %%
rng = np.random.default_rng(0)
order = rng.permutation(6)  # pi
x, dy = np.arange(6) * 10, np.arange(6) + 0.5
y = x[order]
dx = np.empty(6)
dx[order] = dy  # y[k] came from x[order[k]], so dy[k] goes there
print("x ", x)
print("y ", y, "  order", order)
print("dy", dy)
print("dx", dx, "  the same:", np.array_equal(dx, dy[np.argsort(order)]))

# %% [markdown]
# The same as a matrix: $y = \Pi x$, where $\Pi$ has a single 1 in each row (every output is one input) and in each column (every input is used once). Lesson 02 says how a
# gradient goes back through a product, with the transposed matrix: $\texttt{dx} = \Pi^T\,\texttt{dy}$. For a matrix like this, the transpose *is* the inverse. Here is $\Pi$ for the image of 4 x 6
# pixels above, found by cutting 24 images that have a single 1 each:

# %%
single_ones = np.eye(24).reshape(24, height, width, 1)  # (24, 4, 6, 1)
cut, _ = ops.images_to_patches_forward(single_ones, P)  # (6, 24, 4)
matrix = cut.transpose(0, 2, 1).reshape(24, 24)  # row: place in the patches; column: pixel

figure, axes = new_figure(1, 2, width=6, height=3)
places, sources = np.nonzero(matrix)
colours = [COLOURS[place // 4] for place in places]
axes[0].scatter(sources, places, c=colours, marker="s", s=26)
axes[1].scatter(places, sources, c=colours, marker="s", s=26)
by_patch, by_row = range(0, 24, 4), range(0, 24, 6)
axes[0].set(title="forward: $\\Pi$", xlabel="pixel", ylabel="place in the patches")
axes[1].set(title="backward: $\\Pi^T$", xlabel="place in the patches", ylabel="pixel")
axes[0].set(xticks=by_row, yticks=by_patch)
axes[1].set(xticks=by_patch, yticks=by_row)
for axis in axes:
    axis.set(xlim=(-0.7, 23.7), ylim=(23.7, -0.7), aspect="equal")
show(
    figure,
    alt="Two square matrices of 24 rows with one coloured dot in each row and column, a colour for each "
    "patch. The second is the first, mirrored at the diagonal.",
)

dpatches = rng.normal(size=(6, 1, 4))
dimages = ops.images_to_patches_backward(dpatches, cache)  # (1, 4, 6, 1)
print("Pi^T Pi is the identity:", np.array_equal(matrix.T @ matrix, np.eye(24)))
print("Pi^T dy is the backward:", np.allclose(matrix.T @ dpatches.ravel(), dimages.ravel()))

# %% [markdown]
# Nobody stores $\Pi$: for one photograph of 224 x 224 pixels it would have 150,528 rows. The inverse of *reshape, transpose, reshape* undoes the same three steps in the opposite
# order: split the axes, put them back in their old order, merge height and width. How is a transposition undone? Suppose the forward pass says `x.transpose(1, 2, 0)`. The new
# axis 0 is the old 1, the new 1 is the old 2, and the new 2 is the old 0. To get back, ask where each old axis is now: old 0 is at 2, old 1 at 0, old 2 at 1. So
# `transpose(2, 0, 1)` undoes it.
#
# ### Exercise 7.3
# Write the backward pass.


# %%
def my_patches_backward(dpatches, cache):
    """dpatches (S, B, P*P*channels), cache (shape of the images, P)  ->  dimages, of that shape"""
    (B, height, width, channels), P = cache
    down, across = height // P, width // P
    ### BEGIN SOLUTION
    split = dpatches.reshape(down, across, B, P, P, channels)  # axes i, j, n, u, v, c
    grid = split.transpose(2, 0, 3, 1, 4, 5)  # axes n, i, u, j, v, c
    return grid.reshape(B, height, width, channels)
    ### END SOLUTION


check("7.3", my_patches_backward)

# %% [markdown]
# (Training has no use for the gradient of the images, because nothing before them is learned. But that gradient tells which pixels a decision depends on, and
# [lesson 12](12_what_it_learned.ipynb) looks at it.)
#
# ## The stem: a convolution and a matrix product
# A **convolution** slides a small window over the image. At each position it multiplies the pixels under the window by a table of weights, the **kernel**, and adds up the products. It does this
# with $C$ kernels at once. The window of the stem is as large as a patch, $P \times P$, and moves on by $P$ pixels at a time (its **stride**). So it visits every patch once and never straddles two. With a
# kernel `(P, P, channels, C)`, its output at position $(i, j)$ for image $n$ and kernel $o$ is
#
# $$\text{out}_{nijo} = b_o + \sum_{u=0}^{P-1} \sum_{v=0}^{P-1} \sum_{c} \text{image}_{n,\; iP+u,\; jP+v,\; c}\;\; \text{kernel}_{u,v,c,o} .$$
#
# Now read the image's index with exercise 7.1 in mind: row $iP + u$, column $jP + v$, channel $c$ is the number at token $s$ and place $f = (uP + v) \cdot \text{channels} + c$. As $u$, $v$ and $c$ run
# through their values, $f$ takes each of the values $0, 1, \dots, F - 1$ once. When the kernel is reshaped to a table `(F, C)`, its entry $(u, v, c, o)$ is in row $f$ too, by the same formula. So the three sums become one:
#
# $$\text{out}_{so} = b_o + \sum_{f=0}^{F-1} \text{patches}_{sf}\;\text{weight}_{fo} ,$$
#
# for each image. That is a matrix product: the Linear layer of lesson 02, applied to each patch vector.
#
# ### Exercise 7.4
# Write the stem with a kernel `(P, P, channels, C)` as one matrix product. `ops.images_to_patches_forward(images, P)` does the cutting. It returns the patches and a cache.


# %%
def my_stem(images, kernel, bias):
    """images (B, height, width, channels), kernel (P, P, channels, C), bias (C,)  ->  (S, B, C)"""
    P, C = kernel.shape[0], kernel.shape[3]
    patches, _ = ops.images_to_patches_forward(images, P)  # (S, B, P*P*channels)
    ### BEGIN SOLUTION
    weight = kernel.reshape(-1, C)  # (P*P*channels, C)
    return patches @ weight + bias  # (S, B, C)
    ### END SOLUTION


check("7.4", my_stem)

# %% [markdown]
# Does the package's stem agree with a convolution written in loops, just as the formula says? And what do we gain from the product?

# %%
config = MixerConfig(
    image_size=8,
    in_channels=1,
    patch_size=2,
    hidden_dim=32,
    tokens_mlp_dim=16,
    channels_mlp_dim=64,
    num_blocks=2,
    num_classes=10,
)
P, C = config.patch_size, config.hidden_dim
across = config.image_size // P
digits = load_dataset("digits")
pixels = {"mean": digits.mean, "std": digits.std}
images = normalise(digits.test_images[:20], **pixels)  # (20, 8, 8, 1)
model = MlpMixer(config, seed=0)


def convolution(images, kernel, bias):
    """The formula above, as it stands. images (B, 8, 8, 1)  ->  (S, B, C)"""
    out = np.zeros((config.num_tokens, len(images), C), images.dtype)  # (S, B, C)
    for n in range(len(images)):
        for s in range(config.num_tokens):
            i, j = divmod(s, across)
            for o in range(C):
                out[s, n, o] = bias[o]
                for u in range(P):
                    for v in range(P):
                        pixel = images[n, i * P + u, j * P + v, 0]
                        out[s, n, o] += pixel * kernel[u, v, 0, o]
    return out


weight, bias = model.parameters["stem.weight"], model.parameters["stem.bias"]
kernel = weight.reshape(P, P, 1, C)
started = time.perf_counter()
slow = convolution(images, kernel, bias)
middle = time.perf_counter()
patches, _ = ops.images_to_patches_forward(images, P)  # (16, 20, 4)
fast, _ = model.stem.forward(patches)  # (16, 20, 32)
ended = time.perf_counter()
print("largest difference:", abs(slow - fast).max())
print(f"loops {1000 * (middle - started):.1f} ms, ", end="")
print(f"cutting and product {1000 * (ended - middle):.2f} ms")

# %% [markdown]
# They agree up to the rounding of `float32`. (A convolution in a mathematics book flips its kernel before it multiplies. Those of neural networks don't.)
#
# Going back through the stem needs nothing new either: `dweight`, `dbias` and `dpatches` are those of Linear, and the inverse permutation does the rest. All
# $S \cdot B$ patches use the same weights, so `dweight` is the sum over all of them.
#
# **Counting.** The stem has $F \cdot C$ weights and $C$ biases. For each image it does $S \cdot F \cdot C$ multiplications. For colour images of 32 x 32 pixels and $C = 128$ that makes:

# %%
print("  P    S     F   parameters  multiplications")
for size in (2, 4, 8, 16):
    sizes = MixerConfig(image_size=32, in_channels=3, patch_size=size, hidden_dim=128)
    S, F = sizes.num_tokens, sizes.patch_features
    print(f"{size:3}  {S:3}  {F:4}  {F * 128 + 128:11,}  {S * F * 128:15,}")

# %% [markdown]
# The number of multiplications doesn't depend on $P$, because $S \cdot F$ is the number of pixels times channels, however they are cut. $P$ matters after the stem: all blocks work on
# $S$ tokens, so halving $P$ makes about four times the work there.
#
# ## What is lost, and what is not
# Cutting loses no numbers. But is the *picture* lost? Nothing tells the stem which pixels of a patch are neighbours, and nothing tells the blocks which tokens are. Put the pixels inside every patch in another order,
# the same in all patches of all images. The sum over $f$ is the same in any order. So if the rows of the weights are put in the new order too, everything is as before:

# %%
pixel_order = rng.permutation(P * P)
tokens, _ = ops.linear_forward(patches, weight, bias)  # (16, 20, 32)
from_shuffled, _ = ops.linear_forward(patches[..., pixel_order], weight[pixel_order], bias)
print("largest difference:", abs(tokens - from_shuffled).max())

# %% [markdown]
# And before training, the weights are random numbers: in another order they are just as good a start. So shuffling the pixels inside the patches can't make learning harder or easier. The same holds for the order of the
# tokens: token mixing ([lesson 08](08_token_mixing.ipynb)) has a weight for each token, and its weights can be put in another order as well.
#
# That is a claim about the whole network and the whole training, and we can test it. Three small Mixers learn digits:
#
# 1. from the images as they are;
# 2. from images whose patches are shuffled, and the pixels inside the patches too, with first weights shuffled in the same way;
# 3. from images whose 64 pixels are shuffled across the whole image, so that a patch holds pixels from anywhere.
#
# In 2 and 3 the order is drawn once and is the same for all images, in training and in the test. To shuffle the patches we cut the images, change the order, and put the images back together. The backward function comes in
# handy here: it makes images out of *any* patches.

# %%
token_order, any_order = rng.permutation(config.num_tokens), rng.permutation(64)


def as_they_are(images):
    return images


def patches_shuffled(images):
    """Patches in another order, and the pixels inside each patch too: (N, 8, 8, 1) -> the same"""
    patches, cache = ops.images_to_patches_forward(images, P)  # (S, N, P*P)
    return ops.images_to_patches_backward(patches[token_order][:, :, pixel_order], cache)


def all_shuffled(images):
    """Pixels in another order, across patches: (N, 8, 8, 1) -> the same"""
    return images.reshape(-1, 64)[:, any_order].reshape(images.shape)


def shuffle_weights(parameters):
    """Give every weight that meets a pixel or a token its new place."""
    parameters["stem.weight"][...] = parameters["stem.weight"][pixel_order]
    for block in range(config.num_blocks):
        mixing = parameters.part(f"blocks.{block}.token_mixing")
        # weight1 (DS, S) has a column for each token that goes in,
        # weight2 (S, DS) a row for each token that comes out.
        mixing["weight1"][...] = mixing["weight1"][:, token_order]
        mixing["weight2"][...] = mixing["weight2"][token_order]


# %% [markdown]
# The training is the one from lesson 00, with the same five lines.


# %%
def train(model, dataset, change, epochs=6, batch_size=32):
    """Train on changed images; return the loss of each step and the accuracy on changed test images."""
    train_images, losses = change(dataset.train_images), []
    pixels = {"mean": dataset.mean, "std": dataset.std}
    steps = epochs * (len(train_images) // batch_size)
    rate = cosine(0.1, total_steps=steps, warmup_steps=20)
    optimizer = SGD(model.parameters, momentum=0.9)
    for epoch in range(epochs):
        data = train_images, dataset.train_labels, batch_size
        for images, labels in Batches(*data, epoch=epoch, **pixels):
            model.parameters.zero_gradients()
            logits, cache = model.forward(images, train=True)
            loss, dlogits = ops.softmax_cross_entropy(logits, labels)
            model.backward(dlogits, cache)
            optimizer.step(rate(len(losses)))
            losses.append(float(loss))
    logits, _ = model.forward(normalise(change(dataset.test_images), **pixels))
    return np.array(losses), np.mean(logits.argmax(axis=1) == dataset.test_labels)


first, second, third = (MlpMixer(config, seed=0) for _ in range(3))
shuffle_weights(second.parameters)
runs = {
    "as they are": train(first, digits, as_they_are),
    "patches shuffled": train(second, digits, patches_shuffled),
    "all pixels shuffled": train(third, digits, all_shuffled),
}
for name, (_, accuracy) in runs.items():
    print(f"{name:20} test accuracy {accuracy:.1%}")
difference = abs(runs["as they are"][0] - runs["patches shuffled"][0]).max()
print(f"the first two losses differ by {difference:.0e} at most")

# %%
figure, (*axes, curves) = new_figure(1, 4, width=8, height=2.4, width_ratios=[1, 1, 1, 2.4])
changes = (as_they_are, patches_shuffled, all_shuffled)
looks = (("-", 4.0), ("--", 1.3), ("-", 1.0))
for number, (name, (losses, _)) in enumerate(runs.items()):
    changed = changes[number](digits.test_images[1:2])  # (1, 8, 8, 1)
    axes[number].imshow(changed[0, :, :, 0], cmap="gray")
    axes[number].set_title(name, fontsize=9)
    axes[number].set(xticks=[], yticks=[])
    axes[number].spines[:].set_visible(True)
    means = losses.reshape(-1, 12).mean(axis=1)  # of 12 steps each
    (style, width), colour = looks[number], COLOURS[number]
    steps = 12 * np.arange(len(means)) + 6
    curves.plot(steps, means, style, linewidth=width, color=colour, label=name)
curves.set(xlabel="step", ylabel="loss")
curves.legend(fontsize=8)
show(
    figure,
    alt="A digit as it is, with its patches shuffled, and with all pixels shuffled, unreadable. The loss "
    "curves of the first two lie on top of each other; the third falls in much the same way.",
)

# %% [markdown]
# Up to the rounding of `float32`, the first two runs are the same, step by step, although the second has never seen a digit that you could read. The third run is different: no
# shuffling of weights can undo a shuffling across patches, because the stem sees patches one by one. Even so, it learns these digits about as well. They are so small, and so well
# centred, that each pixel means the same in every image.
#
# Photographs are another matter, because a patch of neighbouring pixels shows an edge or a texture wherever it is. The authors did this experiment with a Mixer of 16 x 16 patches, trained on JFT-300M and tested on
# ImageNet (Tolstikhin et al. 2021, section 3.4 and figure 4). There, too, the curves of the first two kinds match. With all pixels shuffled, the Mixer's accuracy drops by about 45 %. That of a
# ResNet, which is built from convolutions with overlapping windows, drops by about 75 %.
#
# So this is what a Mixer knows about images before it has seen any: which pixels belong to the same patch, and that all patches are read alike. It has to learn what is next to what. (That is also why it needs a lot of data, or
# strong regularisation: [lesson 13](13_overfitting.ipynb).)
#
# A stem that sees beyond its patch knows a little more: which patches are neighbours. `MixerConfig(overlap=2)` cuts windows of $(P + 4) \times (P + 4)$ pixels, still $P$ apart, with `ops.images_to_windows_forward`
# (`tinymixer/ops/windows.py`). Then several windows read the same pixel. Cutting is no longer a permutation, and the backward pass adds up what comes back from all of them.
#
# ## On photographs
# If CIFAR-10 is on your machine, see for yourself: 4,000 photographs, as they are and with all pixels shuffled (this cell takes the longest).

# %%
cifar10 = cifar10_or_advice()
if cifar10 is not None:
    few = dataclasses.replace(
        cifar10,
        train_images=cifar10.train_images[:4000],
        train_labels=cifar10.train_labels[:4000],
        test_images=cifar10.test_images[:1000],
        test_labels=cifar10.test_labels[:1000],
    )
    photo_order = rng.permutation(32 * 32)

    def photos_shuffled(images):
        """Pixels in another order, each with its three channels: (N, 32, 32, 3) -> the same"""
        return images.reshape(-1, 32 * 32, 3)[:, photo_order].reshape(images.shape)

    photo_config = MixerConfig(
        hidden_dim=64, tokens_mlp_dim=32, channels_mlp_dim=128, num_blocks=2
    )
    for name, change in (
        ("as they are", as_they_are),
        ("all pixels shuffled", photos_shuffled),
    ):
        model = MlpMixer(photo_config, seed=0)
        _, accuracy = train(model, few, change, epochs=3, batch_size=64)
        print(f"{name:20} test accuracy {accuracy:.1%}")

# %% [markdown]
# **Try it.** (a) Set `patch_size` to 1 and run everything from the cell with `config` on. If you shuffle its first weights in the right way, one of the curves falls onto another: which one, and why? What would happen with `patch_size` 8?
# (b) Leave out `shuffle_weights`. Are the first two runs still the same? Is one of them better? (c) What would a Mixer learn if every image were shuffled in an order of its own?

# %% [markdown] tags=["solution"]
# **About *Try it*.** (a) With $P = 1$ every pixel is a token, so shuffling all pixels is shuffling tokens. With token-mixing weights shuffled by `any_order`, the third run falls onto the
# first. With $P = 8$ there is one patch, and shuffling all pixels is shuffling inside it: then the rows of the stem's weights must be shuffled. (b) No, they start from different weights, as with
# another seed. Neither is better: which one comes out ahead is chance, and changes with the seed. (c) The positions of the pixels would be lost. All that is left of a digit is how much of each shade it has, and
# that says little about which digit it is.

# %% [markdown]
# ## Questions
#
# **1.** 64 colour images of 32 x 32 pixels are cut into patches with $P = 4$. What is the shape of the patches, and what is the shape of the stem's weight for $C = 128$?
#
# <details><summary>Answer</summary>
#
# The patches are `(64, 64, 48)`: $S = 8 \cdot 8 = 64$ tokens, $B = 64$ images, and $F = 4 \cdot 4 \cdot 3 = 48$ numbers in a patch vector. The weight is `(48, 128)`, because it takes a patch vector to $C$ channels.
#
# </details>
#
# **2.** You give the backward pass of cutting a `dpatches` of all ones. What comes out? What does that say about a check that uses nothing else?
#
# <details><summary>Answer</summary>
#
# All ones. A permutation only moves numbers, and when all of them are equal you cannot see where they went. So a wrong order passes such a check. This is the trap of lesson 03 once more.
#
# </details>
#
# **3.** Somebody cuts images of 8 x 8 pixels (one channel, $P = 2$) with `images.reshape(B, 16, 4).transpose(1, 0, 2)`. The shape is right, and the backward pass gives the right gradients for it. What is wrong?
#
# <details><summary>Answer</summary>
#
# A reshape takes four numbers that follow each other in memory. So each "patch" is half a row of the image, 1 x 4 pixels instead of 2 x 2. It is a permutation like any other, and so its gradients can be right.
# A gradient check only says that backward fits forward, never that forward does what you meant.
#
# </details>
#
# **4.** For CIFAR-10 (32 x 32 pixels, three colours) and $C = 128$ you change $P$ from 4 to 2. Estimate what happens to the number of tokens, to the stem's parameters and multiplications, and to the work of the blocks.
#
# <details><summary>Answer</summary>
#
# There are four times as many tokens, 256 instead of 64. The stem's weight has a quarter of the rows, 12 instead of 48, so it has 1,664 parameters instead of 6,272. Its multiplications stay the same, 393,216 per image, since
# $S \cdot F$ stays the same. The blocks work on four times as many tokens, so their work is about four times as large.
#
# </details>
#
# **5.** A colleague says: "With overlapping windows the backward pass is still the inverse of the forward pass." Explain why that is not so.
#
# <details><summary>Answer</summary>
#
# An overlapping window reads pixels that its neighbours read too, so forward *copies* numbers, and there are more numbers after it than before. One pixel now reaches the loss in several ways, and the ways add up. So backward sums
# the gradients of all copies of a pixel, while an inverse would have to pick one of them.
#
# </details>

# %% [markdown]
# ## What you have now
#
# | | forward | backward |
# |---|---|---|
# | any permutation | `y = x[order]` | `dx[order] = dy` |
# | a transposition | `x.transpose(axes)` | `dy.transpose(np.argsort(axes))` |
# | images to patches | reshape, transpose, reshape | the three undone, from the end |
# | the stem | `patches @ weight + bias` | Linear, then the inverse permutation |
#
# A convolution whose stride equals the size of its window is a matrix product of patches. And nothing tells a Mixer what is next to what: it knows which pixels share a patch, and learns the rest.
#
# **Where the package does this:** `tinymixer/ops/patches.py` (both directions), `tinymixer/models/mlp_mixer.py` (the stem, a `Linear`), `tinymixer/kernels/cuda/patches.cu` (the same on a GPU),
# `tinymixer/gradcheck/planted_faults/tokens.py` (three wrong ways to put patches back; a gradient check catches each of them).
#
# Next: [lesson 08, token mixing: the transposed Linear](08_token_mixing.ipynb).
