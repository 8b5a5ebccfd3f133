# %% [markdown]
# # Lesson 08 · Token mixing: the transposed Linear
#
# *110 minutes. Before: [lesson 02](02_linear.ipynb) (Linear), [lesson 04](04_gelu.ipynb) (GELU) and
# [lesson 07](07_patches.ipynb) (patches and the stem).*
#
# The stem makes a table of each image: a row for each token, a column for each channel. A Mixer mixes the numbers within each column, then
# those within each row, and so on in turns. The first is called token mixing, the second channel mixing. After this lesson you can
#
# * say which numbers token mixing brings together, and which channel mixing,
# * run token mixing forwards and backwards as transpose, Linear, transpose,
# * build the simplest network that has both mixings, and say what it cannot learn,
# * lay out the numbers in memory so that no transposition is needed, and derive the gradients once more for that layout,
# * count the parameters of both mixings, and say why all channels share one set of token-mixing weights.

# %% [markdown]
# ## Before you begin
#
# **1.** A number is used in several places of a network. How do you get its gradient? (lesson 01b)
#
# <details><summary>Answer</summary>
#
# It reaches the loss in several ways, one through each place. Along each way you multiply the local slopes, and then you add up over the ways.
#
# </details>
#
# **2.** GELU works entry by entry. By what does its backward pass multiply each entry of `dy`, and why is there no sum in it? (lesson 04)
#
# <details><summary>Answer</summary>
#
# By the slope of GELU at the number that went in at that entry. There is no sum because each input number reaches only one output number.
#
# </details>
#
# **3.** The forward pass only moves numbers to other places. What does the backward pass do? (lesson 07)
#
# <details><summary>Answer</summary>
#
# It moves each gradient to the place its number came from. It is the inverse permutation, and nothing is added or multiplied.
#
# </details>

# %%
import time

import numpy as np

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.model_picture import model_picture
from tinymixer.data import load_dataset, normalise
from tinymixer.gradcheck import check_layer
from tinymixer.layers import ChannelMixing, Linear, TokenMixing
from tinymixer.lessons import check, new_figure, show
from tinymixer.lessons.flow_pictures import token_mixing_steps
from tinymixer.lessons.steps import show_steps
from tinymixer.models import LinearMixer, LinearMixerConfig, MixerConfig, MlpMixer

# %% [markdown]
# ## A table for each image
# Let us work at the size of the paper's models: images of 224 x 224 pixels in 3 colours, patches of 16 x 16 pixels. Two
# digits will do as images: 8 x 8 pixels, each pixel enlarged to a square of 28 x 28, the same grey in all three colours.
# The letters are those of lesson 07:
#
# | letter | meaning | here |
# |---|---|---|
# | `B` | images in the batch | 2 |
# | `S` | tokens (patches) of an image | 14 · 14 = 196 |
# | `C` | channels of a token | 512 |

# %%
digits = load_dataset("digits")
small = digits.train_images[:2] / np.float32(255)  # (2, 8, 8, 1)
images = np.tile(small.repeat(28, axis=1).repeat(28, axis=2), (1, 1, 1, 3))
print("images        ", images.shape)

patches, _ = ops.images_to_patches_forward(images, 16)  # (S, B, 768)
print("patches       ", patches.shape, " (tokens first, as the package has them)")
patches = patches.transpose(1, 0, 2)  # (B, S, 768)
print("patches       ", patches.shape, " (images first, the familiar order)")

stem = Linear(16 * 16 * 3, 512, seed=0)
x, _ = stem.forward(patches)  # (B, S, C)
print("after the stem", x.shape)

# %% [markdown]
# The package puts tokens first, `(S, B, C)`. Most other code puts images first, `(B, S, C)`. We begin with the familiar order, and
# the second half of the lesson shows what the other order is good for.
#
# ## Which numbers meet
# Channel mixing computes each output number from the numbers of one *token*. Token mixing computes it from the numbers of
# one *channel*. The package has both as layers, so you can see this before you know how they work. Take one image of 6
# tokens and 10 channels, change a single number, and look at which numbers change in the output.

# %%
rng = np.random.default_rng(0)
table = rng.normal(size=(6, 1, 10))  # (S, B, C)   one image
changed = table.copy()
changed[2, 0, 6] += 1.0  # token 2, channel 6

channel_mixing = ChannelMixing(10, 16, dtype="float64", seed=1)
token_mixing = TokenMixing(6, 16, dtype="float64", seed=2)


def output_of(layers, x):
    """x (S, B, C) through the layers, one after the other  ->  (S, B, C)"""
    for layer in layers:
        x, _ = layer.forward(x)
    return x


figure, axes = new_figure(1, 4, width=8, height=2.3)
experiments = (
    ("the change", ()),
    ("after channel mixing", (channel_mixing,)),
    ("after token mixing", (token_mixing,)),
    ("after both", (token_mixing, channel_mixing)),
)
for axis, (title, layers) in zip(axes, experiments, strict=True):
    moved = output_of(layers, changed) != output_of(layers, table)  # (S, B, C)
    blue_or_nothing = np.where(moved[:, 0], 0.6, np.nan)  # (S, C)   nan is not drawn
    axis.pcolormesh(blue_or_nothing, cmap="Blues", vmin=0, vmax=1, edgecolor=INK, lw=0.4)
    axis.invert_yaxis()
    axis.set_title(title)
    axis.set_xlabel("channel")
    axis.set_xticks([])
    axis.set_yticks([])
axes[0].set_ylabel("token")
show(
    figure,
    alt="Four tables of 6 tokens and 10 channels. One number changes; after channel mixing its row "
    "has changed, after token mixing its column, after both the whole table.",
)

# %% [markdown]
# Channel mixing keeps to the row of the table, token mixing to the column. After one of each, every number of the output depends on
# every number of the image.
#
# With images first, channel mixing is easy. It works along the last axis, so it is the Linear of lesson 02, whose rows are now all
# pairs (image, token). In its simplest form that is `ops.linear_forward(x, weight, bias)` with a weight of shape `(C, C)`. Token mixing has to
# work along the axis in the middle.
#
# ## Forward: transpose, Linear, transpose
# We start with the simplest token mixing, one Linear from $S$ tokens to $O$ tokens (in a Mixer that keeps the number of
# tokens, $O = S$). Its weight $W$ has a row for each token that goes in and a column for each token that comes out. With $n$ for the image,
# $s$ and $o$ for tokens in and out, $c$ for the channel, and $b_o$ for the bias:
#
# $$y_{noc} = \sum_{s} x_{nsc}\,W_{so} + b_o .$$
#
# The weight has no index $c$: every channel is mixed with the same $W$. That is a choice, and we will come back to it.
#
# `ops.linear_forward` sums over the last axis. So we bring $s$ there: `x.transpose(0, 2, 1)` swaps axes 1 and 2, which turns
# `(B, S, C)` into `(B, C, S)`. After the Linear the axes are swapped back.
#
# ### Exercise 8.1
# Write token mixing with one Linear. The two ingredients are `transpose` and `ops.linear_forward`, which returns `(y, cache)`.


# %%
def my_token_mixing_forward(x, weight, bias):
    """x (B, S, C), weight (S, O), bias (O,)  ->  y (B, O, C)"""
    ### BEGIN SOLUTION
    turned = x.transpose(0, 2, 1)  # (B, C, S)
    y, _ = ops.linear_forward(turned, weight, bias)  # (B, C, O)
    return y.transpose(0, 2, 1)  # (B, O, C)
    ### END SOLUTION


check("8.1", my_token_mixing_forward)

# %% [markdown]
# Beware of `x.reshape(B, C, S)`. Its shape is right, but its numbers are in the wrong places: a reshape keeps their order in memory and
# cuts it in other places, while a transposition follows the axes.

# %%
little = np.array([[1, 2, 3], [10, 20, 30]])  # (S, C)   two tokens, three channels
print(little.T, " <- transposed: a row is a channel\n")
print(little.reshape(3, 2), " <- reshaped: rows of nothing in particular")

# %% [markdown]
# ## Backward: the gradient of a transposition
# Backward goes through the same three steps in the opposite order. You know the Linear already (lesson 02). What is the gradient of a
# transposition? Let $t = $ `x.transpose(0, 2, 1)`, that is $t_{ncs} = x_{nsc}$. As always, `dt` is
# $\partial L/\partial t$, the derivative of the loss $L$ with respect to $t$. The number $x_{nsc}$ appears in $t$ in exactly one place, unchanged. So the
# chain rule's sum has a single term, with $\partial t_{ncs}/\partial x_{nsc} = 1$:
#
# $$\texttt{dx}_{nsc} = \frac{\partial L}{\partial t_{ncs}} \cdot 1 = \texttt{dt}_{ncs} .$$
#
# In words: `dx = dt.transpose(0, 2, 1)`. *The gradient of a transposition is the transposition back.* Each number's gradient returns to
# the place the number came from, as it did with the patches in lesson 07.
#
# So the backward pass is once more transpose, Linear (backward), transpose, with these shapes:
#
# | step | forward | backward |
# |---|---|---|
# | turn | `(B, S, C)` to `(B, C, S)` | `dx`: `(B, C, S)` to `(B, S, C)` |
# | Linear | `(B, C, S)` to `(B, C, O)` | `(B, C, O)` to `(B, C, S)`, and `dweight`, `dbias` |
# | turn back | `(B, C, O)` to `(B, O, C)` | `dy`: `(B, O, C)` to `(B, C, O)` |
#
# The rows of this Linear are all pairs (image, channel), $B \cdot C$ of them. All rows share the weight, so `dweight` sums over images
# *and* channels:
#
# $$\texttt{dweight}_{so} = \sum_{n}\sum_{c} x_{nsc}\;\texttt{dy}_{noc} , \qquad
# \texttt{dbias}_{o} = \sum_{n}\sum_{c} \texttt{dy}_{noc} .$$
#
# Watch `dy` on its way back, for one image of 3 tokens with 4 channels, and 2 tokens out. Each token has its own colour. The numbers are whole, so you can check every
# entry in your head:

# %%
tokens = np.array([[1, 2, 0, 1], [0, 1, 3, 2], [2, 0, 1, 1]])  # (S, C)   one image
mixing_weight = np.array([[1, -1], [0, 2], [2, 1]])  # (S, O)
mixing_bias = np.array([1, 0])  # (O,)
arriving = np.array([[1, 0, -1, 2], [0, 1, 1, -1]])  # dy (O, C)
show_steps(
    token_mixing_steps(tokens, mixing_weight, mixing_bias, arriving),
    alt="Two rows of tables. Upper row, forward: x (3 by 4), x transposed (4 by 3), weight and bias, their Linear's output (4 by 2), and y "
    "(2 by 4). Lower row, read from right to left: dy (2 by 4), dy transposed (4 by 2), dweight with the rows 3 1, 1 2, 3 0 and dbias 2 1, "
    "the Linear's dx (4 by 3), and dx (3 by 4), whose first column is 1 0 2.",
)

# %% [markdown]
# ### Exercise 8.2
# Write the backward pass. `ops.linear_backward(dy, cache)` expects the cache `(x, weight)` of the Linear, with the `x` that the
# Linear saw.


# %%
def my_token_mixing_backward(dy, cache):
    """dy (B, O, C), cache (x, weight) with x (B, S, C), weight (S, O)
    ->  dx (B, S, C), dweight (S, O), dbias (O,)"""
    x, weight = cache
    ### BEGIN SOLUTION
    turned = x.transpose(0, 2, 1)  # (B, C, S)
    dy_turned = dy.transpose(0, 2, 1)  # (B, C, O)
    dturned, dweight, dbias = ops.linear_backward(dy_turned, (turned, weight))
    return dturned.transpose(0, 2, 1), dweight, dbias  # (B, S, C), (S, O), (O,)
    ### END SOLUTION


check("8.2", my_token_mixing_backward)

# %% [markdown]
# The same at full size, on our two images, with every shape on the way:

# %%
mixing = Linear(196, 196, seed=1)
weight, bias = mixing.parameters["weight"], mixing.parameters["bias"]
dy = rng.normal(size=(2, 196, 512)).astype(np.float32)  # as if the later layers had sent it

turned = x.transpose(0, 2, 1)
linear_y, linear_cache = ops.linear_forward(turned, weight, bias)
y = linear_y.transpose(0, 2, 1)
print(f"forward:   {x.shape} -> {turned.shape} -> {linear_y.shape} -> {y.shape}")

dlinear_y = dy.transpose(0, 2, 1)
dturned, dweight, dbias = ops.linear_backward(dlinear_y, linear_cache)
dx = dturned.transpose(0, 2, 1)
print(f"backward:  {dx.shape} <- {dturned.shape} <- {dlinear_y.shape} <- {dy.shape}")
print(f"           dweight {dweight.shape}, dbias {dbias.shape}")

# %% [markdown]
# ## The simplest network with both mixings
# One Linear over the tokens and one over the channels are enough for a whole network. The package calls it `linear_mixer`. It is good to look at, because
# there is so little in it: the stem, then blocks, then the mean over the tokens, and the head. Each block *adds* both mixings to its input:
#
# $$X \leftarrow X + \text{token mixing}(X) \qquad\qquad X \leftarrow X + \text{channel mixing}(X)$$
#
# (Lesson 09 explains why they are added.) Here it is at the sizes of our two images, with one block. Its tokens lie on a grid of 14 x 14 places, `(B, 512, 14, 14)` in
# the order that is usual for convolutions. For token mixing the grid is only a list of 196 places.

# %%
sizes = LinearMixerConfig(image_size=224, patch_size=16, hidden_dim=512, num_blocks=1)
block = LinearMixer(sizes).blocks[0]
token_weight = block.token_mixing.parameters["weight"]
channel_weight = block.channel_mixing.parameters["weight"]
token_weight[...] = (
    weight.T
)  # a block starts with zeros; here it gets the weight from above
channel_weight[...] = rng.normal(size=(512, 512)) / np.sqrt(512)

grid = x.transpose(0, 2, 1).reshape(2, 512, 14, 14)
row_of_places = grid.reshape(2, 512, 196)
print(f"tokens          {grid.shape} -> {row_of_places.shape}")
print(f"token mixing    Linear{token_weight.shape}")
print(f"channel mixing  Linear{channel_weight.shape}")

by_hand = x + y  # (B, S, C)   y is the token mixing of x, computed above
by_hand = (
    by_hand + ops.linear_forward(by_hand, channel_weight, np.zeros(512, np.float32))[0]
)
by_block, _ = block.forward(x.transpose(1, 0, 2))  # tokens first, (S, B, C)
difference = abs(by_hand - by_block.transpose(1, 0, 2)).max() / abs(by_hand).max()
print(f"by hand and by the package's block: largest relative difference {difference:.0e}")

# %% [markdown]
# Can it read digits? We train it with plain steps downhill (lesson 02), and next to it a Mixer with as many tokens, channels and blocks. We hold back a tenth of the training images, and
# judge both networks by those. With patches of 4 x 4 pixels, each image has four tokens.

# %%
pixels = normalise(digits.train_images, digits.mean, digits.std)  # (1437, 8, 8, 1)
order = np.random.default_rng(0).permutation(len(pixels))
held_back, to_learn = np.split(order, [len(order) // 10])


def train(model, epochs=30, learning_rate=0.1):
    """Plain steps, 32 images at a time  ->  the share of right answers on the images held back"""
    shuffle = np.random.default_rng(0)
    for _epoch in range(epochs):
        shuffled = shuffle.permutation(to_learn)
        for batch in np.array_split(shuffled, len(shuffled) // 32):
            logits, cache = model.forward(pixels[batch])
            _, dlogits = ops.softmax_cross_entropy(logits, digits.train_labels[batch])
            model.parameters.zero_gradients()
            model.backward(dlogits, cache)
            model.parameters.values[...] -= learning_rate * model.parameters.gradients
    logits, _ = model.forward(pixels[held_back])
    return np.mean(logits.argmax(axis=1) == digits.train_labels[held_back])


sizes = {
    "image_size": 8,
    "in_channels": 1,
    "patch_size": 4,
    "hidden_dim": 32,
    "num_blocks": 2,
}
linear_mixer = LinearMixer(LinearMixerConfig(**sizes))
mixer = MlpMixer(MixerConfig(**sizes, tokens_mlp_dim=16, channels_mlp_dim=64))
for name, model in (("linear Mixer", linear_mixer), ("Mixer", mixer)):
    print(f"{name:12} {train(model):.0%} of {len(held_back)} images read correctly")

# %%
shown = held_back[0]
logits, _ = linear_mixer.forward(pixels[shown : shown + 1])  # (1, K)
scores = np.exp(logits[0] - logits.max())
figure = model_picture(
    linear_mixer,
    digits.train_images[shown],
    scores / scores.sum(),
    digits.class_names,
)
show(
    figure,
    alt="A digit cut into 4 patches; boxes for patches, stem, a block of token Linear and channel Linear, mean and "
    "head; and ten bars, one for the probability of each digit.",
)

# %% [markdown]
# It learns, but it stays well behind. The reason is worth seeing: **a Linear after a Linear is a Linear**, because the product of two matrices is a matrix. Let $T$ be the weight
# of a token mixing, which multiplies the table from the left, and $M$ the weight of a channel mixing, on the right. (Biases only add constants, so we leave them out.) With
# $I$ for the identity matrix, a block turns $X$ into $(I + T)\,X\,(I + M)$. Two blocks turn it into
#
# $$(I + T_2)(I + T_1)\;X\;(I + M_1)(I + M_2) = A\,X\,R ,$$
#
# Any number of blocks does no more than one: a matrix $A$ on the left, a matrix $R$ on the right. After the mean over the tokens, only a single row is left of $A$: the mean $a$ of
# its rows. So the whole network comes down to a *weighted sum of the patches*, with one weight per token, and a matrix. All ten classes look at the same mixture of four patches.
# Let us check that on the trained network. The stem and the head belong to the right side, too.

# %%
left = np.eye(4)
right = linear_mixer.stem.parameters["weight"]  # (16, C)
for block in linear_mixer.blocks:
    left = left + block.token_mixing.parameters["weight"] @ left  # (S, S)
    right = right + right @ block.channel_mixing.parameters["weight"]  # (16, C)
right = right @ linear_mixer.head.parameters["weight"]  # (16, K)
weight_of_token = left.mean(axis=0)  # (S,)

images = pixels[held_back]
patches, _ = ops.images_to_patches_forward(images, 4)  # (S, B, 16)
mixed_patch = np.tensordot(weight_of_token, patches, 1)  # (B, 16)
constant, _ = linear_mixer.forward(np.zeros_like(images[:1]))  # what the biases add up to
difference = linear_mixer.forward(images)[0] - (mixed_patch @ right + constant)
print("weights of the four tokens:", weight_of_token.round(2))
print(
    f"largest difference between the network and its one sum and one matrix: {abs(difference).max():.0e}"
)

# %% [markdown]
# ## Two Linears with a bend in between
# So the Linears need something between them that is not linear. In a Mixer each mixing is an **MLP**: Linear, GELU, Linear. In the familiar layout the MLP takes the place of the Linear, between the two
# transpositions. The first Linear leads into a hidden layer. You are free to choose its size:
#
# | letter | name in `MixerConfig` | hidden size of | in the paper's Mixer-S/16 |
# |---|---|---|---|
# | `DS` | `tokens_mlp_dim` | token mixing: $S \to D_S \to S$ | 256 |
# | `DC` | `channels_mlp_dim` | channel mixing: $C \to D_C \to C$ | 2048 |
#
# The paper writes one image as a matrix $X$ with a row per token and a column per channel, and both MLPs as matrix
# products (Tolstikhin et al. 2021, [arXiv 2105.01601](https://arxiv.org/abs/2105.01601), equation 1). Without biases, and
# without the LayerNorm and the sum around them, which come in lesson 09:
#
# $$\text{token mixing:}\quad W_2\;\mathrm{gelu}(W_1 X) \qquad\qquad
# \text{channel mixing:}\quad \mathrm{gelu}(X\,W_3)\;W_4 .$$
#
# (Tokens can be mixed in other ways. With `tokens = "pool"` each patch takes the mean of the patches around it, and nothing is learned there: the operation
# `pool_tokens` of the package. `"linear"` is the one matrix that you have just met, and `"none"` leaves token mixing out.)
#
# Here $W_1$ is $(D_S, S)$, $W_2$ is $(S, D_S)$, $W_3$ is $(C, D_C)$ and $W_4$ is $(D_C, C)$. Look at the sides. (The paper prints $W_3$ and $W_4$
# on the left too, because it writes one row of $X$ at a time, as a column. When rows are written as rows, these weights are on the right.)
#
# $X$ is never transposed. A product from the *right* combines the columns of $X$, which are channels. A product from the *left* combines its
# rows, which are tokens. Our transposition was only needed because we insisted on multiplying from the right.
#
# ## Tokens first
# That is one image. For a batch we need the left product for all images at once. Lay the images' tables *side by side*: $S$ rows,
# and as columns first all channels of image 0, then all of image 1, and so on. That is the array of shape `(S, B, C)`, seen as
# a matrix with $S$ rows and $B \cdot C$ columns. One product serves the whole batch:
#
# | mixing | the same memory, seen as | product |
# |---|---|---|
# | token mixing | `(S, B*C)` | `(DS, S) @ (S, B*C)`, weight on the left |
# | channel mixing | `(S*B, C)` | `(S*B, C) @ (C, DC)`, weight on the right |
#
# The picture shows memory as a strip, for two images with three tokens of four channels. Each token has its own colour, and the second image is fainter.

# %%
B, S, C = 2, 3, 4
token = np.broadcast_to(np.arange(S)[None, :, None], (B, S, C))
image = np.broadcast_to(np.arange(B)[:, None, None], (B, S, C))
layouts = (
    ("(B, S, C)", (0, 1, 2)),
    ("(B, C, S)", (0, 2, 1)),
    ("(S, B, C)", (1, 0, 2)),
)
colour_of_token, alpha_of_image = COLOURS[:3], ("ff", "70")  # the second image is fainter
figure, axis = new_figure(width=7, height=1.9)
for row, (_, order) in enumerate(layouts):
    in_memory = zip(
        token.transpose(order).ravel(), image.transpose(order).ravel(), strict=True
    )
    colours = [colour_of_token[s] + alpha_of_image[n] for s, n in in_memory]
    axis.bar(range(B * S * C), 0.7, width=0.9, bottom=row - 0.35, color=colours)
axis.invert_yaxis()
axis.set_yticks(range(3), [name for name, _ in layouts])
axis.set_xlabel("place in memory")
show(
    figure,
    alt="Three strips of 24 numbers, coloured by token. In (B, S, C) each token appears in two places, "
    "in (B, C, S) tokens alternate number by number, in (S, B, C) each token is one block.",
)

# %% [markdown]
# In `(S, B, C)` all numbers of a token lie in one block: row $s$ of the matrix `(S, B*C)` *is* token $s$, and nothing needs to be moved.
# In `(B, S, C)` a token has a part in each image. The transposed form multiplies the matrix `(B*C, S)`, the middle strip. Its numbers
# are in another order, so NumPy has to copy them. It says so if you ask:

# %%
familiar = np.zeros((2, 196, 512), np.float32)  # (B, S, C)
tokens_first = np.zeros((196, 2, 512), np.float32)  # (S, B, C)
views = {
    "(B, S, C) -> transpose -> (B*C, S)": (
        familiar,
        familiar.transpose(0, 2, 1).reshape(1024, 196),
    ),
    "(S, B, C) -> (S, B*C)": (tokens_first, tokens_first.reshape(196, 1024)),
    "(S, B, C) -> (S*B, C)": (tokens_first, tokens_first.reshape(392, 512)),
}
for name, (before, after) in views.items():
    print(f"{name:36}", "same memory" if np.shares_memory(before, after) else "a copy")

# %% [markdown]
# ## The gradients, left and right swapped
# Let $m$ count the $B \cdot C$ columns. The weight is now written as in the paper: $W$ has the shape $(D_S, S)$, with a row for each
# token that comes *out*, and
#
# $$y_{dm} = \sum_{s} W_{ds}\,x_{sm} + b_d .$$
#
# The three gradients follow from the chain rule just as in lesson 02. Which outputs does a number reach, and with which factor?
#
# * $x_{sm}$ reaches every output $d$ of its own column $m$, with the factor $W_{ds}$:
#
# $$\texttt{dx}_{sm} = \sum_{d} W_{ds}\;\texttt{dy}_{dm} .$$
#
# * $W_{ds}$ reaches output $d$ in every column, with the factor $x_{sm}$:
#
# $$\texttt{dweight}_{ds} = \sum_{m} \texttt{dy}_{dm}\;x_{sm} .$$
#
# * $b_d$ reaches output $d$ in every column, with the factor 1:
#
# $$\texttt{dbias}_{d} = \sum_{m} \texttt{dy}_{dm} .$$
#
# A product `a @ b` sums over the last index of `a` and the first of `b`. Which factor has to be transposed in each of the first two sums?
#
# ### Exercise 8.3
# Write the backward pass of the product from the left. All you need is two views, two products and a sum. (The package calls the pair
# `ops.token_linear_forward` and `ops.token_linear_backward`. Write this one without them.)


# %%
def my_token_linear_backward(dy, cache):
    """dy (DS, B, C), cache (x, weight) with x (S, B, C), weight (DS, S)
    ->  dx (S, B, C), dweight (DS, S), dbias (DS,)"""
    x, weight = cache
    ### BEGIN SOLUTION
    columns = x.reshape(len(x), -1)  # (S, B*C)
    dy_columns = dy.reshape(len(dy), -1)  # (DS, B*C)
    dx = (weight.T @ dy_columns).reshape(x.shape)  # (S, B, C)
    dweight = dy_columns @ columns.T  # (DS, S)
    dbias = dy_columns.sum(axis=1)  # (DS,)
    return dx, dweight, dbias
    ### END SOLUTION


check("8.3", my_token_linear_backward)

# %% [markdown]
# Side by side, for a weight on the right and a weight on the left:
#
# | | from the right, $y = xW$ | from the left, $y = Wx$ |
# |---|---|---|
# | `dx` | `dy @ weight.T` | `weight.T @ dy` |
# | `dweight` | `x.T @ dy` | `dy @ x.T` |
# | `dbias` | sum over rows | sum over columns |
#
# ## One mixing, two layouts
# The transposed form says $y_{noc} = \sum_s x_{nsc} W_{so} + b_o$. The token-major form says, with the column $m$ written out as its image and channel,
# $y_{dnc} = \sum_s W_{ds} x_{snc} + b_d$. These are the same sums. Two things differ: the order of the
# axes, and the weight, whose two indices are swapped. So when both `x` and `weight` are transposed, the two forms must agree up to rounding.
#
# ### Exercise 8.4
# Show that they agree: compute exercise 8.1 once more, with `ops.token_linear_forward(x, weight, bias)` as the only product. It takes
# `x (S, B, C)` and `weight (O, S)` and returns `(y, cache)` with `y (O, B, C)`. Your own function still takes and returns the familiar layout.


# %%
def my_token_mixing_tokens_first(x, weight, bias):
    """x (B, S, C), weight (S, O), bias (O,)  ->  y (B, O, C), by ops.token_linear_forward"""
    ### BEGIN SOLUTION
    y, _ = ops.token_linear_forward(x.transpose(1, 0, 2), weight.T, bias)  # (O, B, C)
    return y.transpose(1, 0, 2)  # (B, O, C)
    ### END SOLUTION


check("8.4", my_token_mixing_tokens_first)

# %% [markdown]
# And the gradients? Here are both forms at full size. The first of each pair is the result of the transposed form above. They may differ
# by the rounding of float32, whose numbers have about seven digits. A 0 means that they are the same to the last bit.

# %%
y2, cache2 = ops.token_linear_forward(x.transpose(1, 0, 2), weight.T, bias)
dx2, dweight2, dbias2 = ops.token_linear_backward(dy.transpose(1, 0, 2), cache2)
pairs = {
    "y": (y, y2.transpose(1, 0, 2)),
    "dx": (dx, dx2.transpose(1, 0, 2)),
    "dweight": (dweight, dweight2.T),
    "dbias": (dbias, dbias2),
}
for name, (one, other) in pairs.items():
    difference = abs(one - other).max() / abs(one).max()
    print(f"{name:8} {one.shape!s:14} largest relative difference {difference:.0e}")

# %% [markdown]
# ## The token-mixing MLP
# From here on activations are `(S, B, C)`, tokens first, and no transposition is left. The MLP is three calls of the package's operations.
#
# ### Exercise 8.5
# Write the forward pass of token mixing as the Mixer has it: Linear from the left, GELU (the tanh form, `ops.gelu_tanh_forward`), Linear
# from the left. Every operation returns a pair of the output and its cache; here only the output is wanted.


# %%
def my_token_mixing_mlp_forward(x, weight1, bias1, weight2, bias2):
    """x (S, B, C), weight1 (DS, S), bias1 (DS,), weight2 (S, DS), bias2 (S,)  ->  y (S, B, C)"""
    ### BEGIN SOLUTION
    hidden, _ = ops.token_linear_forward(x, weight1, bias1)  # (DS, B, C)
    activated, _ = ops.gelu_tanh_forward(hidden)  # (DS, B, C)
    y, _ = ops.token_linear_forward(activated, weight2, bias2)  # (S, B, C)
    return y
    ### END SOLUTION


check("8.5", my_token_mixing_mlp_forward)

# %% [markdown]
# Its backward pass is the three backward functions in the opposite order, and nothing in it is new. The package's layer
# `TokenMixing` does just that, and adds up the gradients of its parameters. A gradient check ([lesson 03](03_gradient_checking.ipynb))
# tells whether it is right, for both mixings, in float64 and at sizes that all differ:

# %%
table = rng.normal(size=(4, 2, 3))  # (S, B, C)
for layer in (TokenMixing(4, 5, dtype="float64"), ChannelMixing(3, 5, dtype="float64")):
    report = check_layer(layer, table)
    verdict = "passes" if report.passed else "FAILS"
    print(
        f"{type(layer).__name__:14} {verdict}, worst relative error {report.worst_error:.0e}"
    )

# %% [markdown]
# ## What the copies cost
# Both forms do the same multiplications. The transposed form also makes copies: of `x` before the product, of the result
# after it (so that the next layer finds `(B, S, C)` in memory), and of the gradients on the way back. Let us time the forward and the
# backward pass of one Linear, at the sizes of our small CIFAR-10 model: 128 images, 64 tokens, 128 channels, 64 hidden.


# %%
def transposed_form(x, weight, bias, dy):
    """Forward and backward in the layout (B, S, C)."""
    y, cache = ops.linear_forward(x.transpose(0, 2, 1), weight, bias)  # (B, C, O)
    y = np.ascontiguousarray(y.transpose(0, 2, 1))  # (B, O, C)   copied into its new order
    dx, dweight, dbias = ops.linear_backward(dy.transpose(0, 2, 1), cache)
    return y, np.ascontiguousarray(dx.transpose(0, 2, 1)), dweight, dbias


def token_major_form(x, weight, bias, dy):
    """Forward and backward in the layout (S, B, C)."""
    y, cache = ops.token_linear_forward(x, weight, bias)  # (O, B, C)
    return y, *ops.token_linear_backward(dy, cache)


x_familiar = rng.normal(size=(128, 64, 128)).astype(np.float32)  # (B, S, C)
dy_familiar = rng.normal(size=(128, 64, 128)).astype(np.float32)  # (B, O, C)
weight = rng.normal(size=(64, 64)).astype(np.float32)  # (S, O)
bias = np.zeros(64, np.float32)
x_major = x_familiar.transpose(1, 0, 2).copy()  # (S, B, C)
dy_major = dy_familiar.transpose(1, 0, 2).copy()  # (O, B, C)

seconds = {"transposed": [], "token-major": []}
for _turn in range(15):  # in turns, so that a busy moment of the machine meets both
    started = time.perf_counter()
    transposed_form(x_familiar, weight, bias, dy_familiar)
    between = time.perf_counter()
    token_major_form(x_major, weight.T, bias, dy_major)
    seconds["transposed"].append(between - started)
    seconds["token-major"].append(time.perf_counter() - between)

fastest = {form: min(times) for form, times in seconds.items()}
for form, least in fastest.items():
    print(f"{form:12} {1000 * least:5.1f} ms")
print(f"transposed / token-major: {fastest['transposed'] / fastest['token-major']:.2f}")

# %% [markdown]
# The last line says what the copies cost on the machine that ran this notebook, as a ratio: 1 would mean that they are free. It differs from
# machine to machine and from size to size, because the time of a copy depends on the memory and the time of a product on the arithmetic.
#
# ## Counting, and sharing
# Most parameters of a Mixer are in channel mixing. How many are left for token mixing?
#
# ### Exercise 8.6
# Count the parameters of one token-mixing MLP and of one channel-mixing MLP: all weights and all biases.


# %%
def my_mixing_parameters(S, C, DS, DC):
    """Sizes (whole numbers)  ->  parameters of token mixing, parameters of channel mixing"""
    ### BEGIN SOLUTION
    token_mixing = DS * S + DS + S * DS + S
    channel_mixing = C * DC + DC + DC * C + C
    return token_mixing, channel_mixing
    ### END SOLUTION


check("8.6", my_mixing_parameters)

# %%
S, C, DS, DC = 196, 512, 256, 2048  # Mixer-S/16
token_mixing = TokenMixing(S, DS).parameters.count
channel_mixing = ChannelMixing(C, DC).parameters.count
print(f"token mixing                    {token_mixing:>12,}")
print(f"channel mixing                  {channel_mixing:>12,}")
print(f"token mixing, a set per channel {C * token_mixing:>12,}")

# %% [markdown]
# The last line is what one block would have if every channel had token-mixing weights of its own. Sharing them among the channels has several consequences:
#
# * **Size.** The number of token-mixing parameters does not grow with $C$ (nor that of channel mixing with $S$: all tokens share its
#   weights).
# * **Evidence.** In `dweight` the sum runs over images and channels: each image is 512 examples for the same matrix.
# * **Speed.** One large product in place of 512 small ones.
# * **Freedom given up.** All channels must agree on which places belong together. A depthwise convolution does not share like this: it has
#   a kernel for each channel. The authors found no loss of accuracy from sharing (section 2 of the paper).
#
# The hidden layer has one more advantage. As long as $D_S$ stays the same, its $2\,S\,D_S$ weights grow in proportion to the number of tokens. The weights of a single Linear
# from $S$ to $S$ would grow with the square of that number.
#
# **Try it.** (a) Make an `x` of shape `(S, B, C)`, shuffle its tokens, `x[order]` with `order = rng.permutation(S)`, and send both through `ChannelMixing` and
# through `TokenMixing`. Which of the two gives the old output, shuffled? What does that mean for a Mixer? (Nothing tells it where a token is in the image. It has no position
# embedding, for example.) (b) Shuffle the channels instead. (c) In the time measurement, try 2 images, or 16 tokens.

# %% [markdown] tags=["solution"]
# **About *Try it*.** (a) Channel mixing treats each token by itself, with the same weights wherever it is: its output is the old one, shuffled.
# Token mixing has weights of its own for each place, so shuffled tokens give a different output. That is how a
# Mixer knows where things are in the image, and why it needs no position embedding.
# (b) The other way round: token mixing treats all channels alike and gives the old output with its channels shuffled, channel mixing does not. In code:
# `layer.forward(x[order])[0]` against `layer.forward(x)[0][order]`, and the same with `[..., order]`. (c) With small arrays everything stays in the
# processor's cache, where copies cost less, and calling functions costs relatively more. The ratio depends on the sizes and on the machine. Only measuring tells.

# %% [markdown]
# ## Questions
#
# **1.** You change one number of `x (S, B, C)`: token 5, image 1, channel 7. Which numbers of the output change after token mixing? Which after channel mixing?
#
# <details><summary>Answer</summary>
#
# After token mixing: all tokens of image 1 in channel 7, because it works along a column of the table. After channel mixing: all channels of token 5 in image 1, because it works along a row. The other images never change.
#
# </details>
#
# **2.** $S = 49$, $B = 32$, $C = 512$, $D_S = 256$, tokens first. What are the shapes of `weight1`, of the hidden layer and of `dweight1`? How many products does one entry of `dweight1` add up?
#
# <details><summary>Answer</summary>
#
# `weight1` is `(256, 49)`, the hidden layer `(256, 32, 512)`, and `dweight1` is `(256, 49)` like its weight. Every image and every channel uses the same weight, so an entry adds up $32 \cdot 512 = 16{,}384$ products.
#
# </details>
#
# **3.** Somebody writes `x.reshape(B, C, S)` where `x.transpose(0, 2, 1)` belongs, and reshapes back in the backward pass. All shapes are right, and the gradient check passes. How would you find the fault?
#
# <details><summary>Answer</summary>
#
# Change one number of `x` and look at which outputs change, as at the beginning of this lesson. In token mixing only one channel may change, but here other channels change as well, because a reshaped row holds numbers of several
# channels. The gradient check can't help: backward is the right gradient of a wrong forward.
#
# </details>
#
# **4.** The images of Mixer-S/16 become twice as wide and twice as high, and the patches stay the same. Estimate what happens to the parameters of both mixings. Can the trained weights still be used?
#
# <details><summary>Answer</summary>
#
# $S$ grows from 196 to 784. Token mixing has $2\,S\,D_S + D_S + S$ parameters, which grow from 100,804 to 402,448, four times as many. Channel mixing keeps its 2,099,712, because no $S$ appears there. Its weights can still be used, while those of token
# mixing no longer fit: they have a row or a column for each token.
#
# </details>
#
# **5.** A colleague builds a network of both mixings without any GELU or LayerNorm, and gives it twenty blocks to make up for that. Explain why the blocks don't help.
#
# <details><summary>Answer</summary>
#
# Without the bend, each block multiplies the table by one matrix on the left, $I + T$, and by one on the right, $I + M$. A product of matrices is a matrix. So twenty blocks still compute $A\,X\,R$, just like one. After the mean over the tokens it is one weighted sum of the patches and one matrix.
#
# </details>

# %% [markdown]
# ## What you have now
# * Channel mixing works along a row of the table tokens x channels, token mixing along a column.
# * Token mixing is transpose, Linear, transpose. The gradient of a transposition is the transposition back.
# * Linears alone, however many, come down to one weighted sum of the patches and one matrix. It is the bend of the GELU that makes depth count.
# * With tokens first, `(S, B, C)`, token mixing multiplies from the left, `(DS, S) @ (S, B*C)`, channel mixing from the right,
#   `(S*B, C) @ (C, DC)`, and nothing is ever copied into another order.
# * From the left, `dx = weight.T @ dy` and `dweight = dy @ x.T`.
#
# **Where the package does this:** `tinymixer/ops/linear.py` (both products, forward and backward),
# `tinymixer/layers/mlp.py` (`Mlp`, and `TokenMixing` and `ChannelMixing`, which differ in one line), `tinymixer/layers/token_mixing.py` (other ways to mix
# tokens, `TokenLinear` among them), `tinymixer/models/linear_mixer.py` (the linear Mixer), `tests/layers/test_layers.py`
# (`test_token_mixing_is_transpose_mlp_transpose` holds both forms of the MLP equal), `tinymixer/gradcheck/planted_faults/linear.py` (the wrong gradients
# that a check must catch).
#
# Next: [lesson 09, the block and the whole Mixer](09_mixer.ipynb).
