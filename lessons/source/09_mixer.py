# %% [markdown]
# # Lesson 09 · The block and the whole Mixer
#
# *85 minutes. Before: [lesson 05](05_layer_norm.ipynb) (LayerNorm), [lesson 06](06_softmax_cross_entropy.ipynb) (the loss) and
# [lesson 08](08_token_mixing.ipynb) (both mixings).*
#
# You have all the parts. This lesson puts them together, forward and backward. Then it asks what you should ask about every new model before its first
# training: are the gradients right, is the first loss what it must be, and can it learn a handful of images by heart? After this lesson you can
#
# * run a residual connection and a whole Mixer block backwards,
# * say what the sums and the LayerNorms do for a deep network, with numbers,
# * predict the first loss of a model whose head starts at zero,
# * count the parameters and the multiplications of any Mixer.

# %% [markdown]
# ## Before you begin
#
# **1.** A Linear does one matrix product forward. How many does it do backward, and for what? (lesson 02)
#
# <details><summary>Answer</summary>
#
# Two: `dy @ weight.T` for `dx`, and `x.T @ dy` for `dweight`. So backward is about twice the work of forward.
#
# </details>
#
# **2.** You add the same number to all channels of a token. What does a LayerNorm over the channels make of it? And what do the entries of its `dx` add up to in each row? (lesson 05)
#
# <details><summary>Answer</summary>
#
# Its output stays the same, because the mean is subtracted. So the loss does not react when a whole row moves, which means that the entries of `dx` in a row add up to zero.
#
# </details>
#
# **3.** All ten logits of an image are equal, and there are 32 images in the batch. What is the gradient for the logit of the right class? (lesson 06)
#
# <details><summary>Answer</summary>
#
# $(p - t)/B$ with $p = 0.1$, $t = 1$ and $B = 32$: that is $-0.9/32 \approx -0.028$. The other nine logits get $0.1/32 \approx 0.003$ each.
#
# </details>

# %%
import inspect
import math

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.data import load_dataset, normalise
from tinymixer.gradcheck import check_model
from tinymixer.lessons import check, new_figure, show
from tinymixer.lessons.flow_pictures import block_steps, draw_block
from tinymixer.lessons.steps import show_steps, show_still

# %% [markdown]
# ## The residual connection
# A Mixer block never replaces its activations with the output of a mixing. It *adds* the output to them. Let $f$ be anything that has a forward and a
# backward pass and keeps the shape, a mixing for example. The **residual connection** around it (He et al. 2015,
# [arXiv 1512.03385](https://arxiv.org/abs/1512.03385)) is
#
# $$y = x + f(x) .$$
#
# $f$ is called the *branch*. Now backwards. Let $x_i$ be one number of $x$. It reaches the loss $L$ in two ways: straight, as a
# part of $y_i$, with the factor 1; and through the branch, where it may change every $f_j$, which is a part of $y_j$. The ways add up:
#
# $$\texttt{dx}_i = \underbrace{\texttt{dy}_i}_{\text{straight}} +
# \underbrace{\sum_j \texttt{dy}_j\,\frac{\partial f_j}{\partial x_i}}_{\text{through the branch}} .$$
#
# The second term is exactly what the backward pass of $f$ computes when it is given `dy`. So there is nothing new to derive.
#
# ### Exercise 9.1
# Write the backward pass of $y = x + f(x)$. The backward pass of the branch is given as a function.


# %%
def my_residual_backward(dy, branch_backward):
    """dy (any shape), branch_backward: a function from dy to the branch's dx  ->  dx (like dy)"""
    ### BEGIN SOLUTION
    return dy + branch_backward(dy)
    ### END SOLUTION


check("9.1", my_residual_backward)

# %% [markdown]
# ## The block
# A Mixer block is two residual connections in a row. Each branch is a LayerNorm followed by a mixing:

# %%
show_still(
    draw_block(),
    alt="The block as a diagram. A line leads from x to a plus, to u, to a second plus, to y. Before the first plus a branch leaves the "
    "line, goes through token_norm and token_mixing (tokens: S to DS to S), and comes back at the plus. Before the second plus another one "
    "goes through channel_norm and channel_mixing (channels: C to DC to C). x, u and y all have the shape (S, B, C).",
)

# %% [markdown]
# With $u$ for the activations between the two (Tolstikhin et al. 2021, equation 1):
#
# $$u = x + \mathrm{token\_mixing}(\mathrm{token\_norm}(x)) , \qquad
# y = u + \mathrm{channel\_mixing}(\mathrm{channel\_norm}(u)) .$$
#
# The LayerNorms are *inside* the branches. On the lower line there are only additions.
#
# ### Exercise 9.2
# Write the block, forward and backward. `block` has the four layers `block.token_norm`, `block.token_mixing`, `block.channel_norm` and
# `block.channel_mixing`. Like every layer of the package, they have
#
# * `layer.forward(x)`, which returns `(y, cache)`,
# * `layer.backward(dy, cache)`, which returns `dx` and adds the gradients of the layer's parameters where they belong.
#
# Your forward function has to hand over four caches. A tuple will do. Backward goes through the layers in the opposite order.


# %%
def my_block_forward(x, block):
    """x (S, B, C)  ->  y (S, B, C), cache"""
    ### BEGIN SOLUTION
    normed, cache1 = block.token_norm.forward(x)
    branch, cache2 = block.token_mixing.forward(normed)
    u = x + branch  # (S, B, C)
    normed, cache3 = block.channel_norm.forward(u)
    branch, cache4 = block.channel_mixing.forward(normed)
    return u + branch, (cache1, cache2, cache3, cache4)
    ### END SOLUTION


def my_block_backward(dy, cache, block):
    """dy (S, B, C), cache as my_block_forward returned it  ->  dx (S, B, C)"""
    ### BEGIN SOLUTION
    cache1, cache2, cache3, cache4 = cache
    dbranch = block.channel_mixing.backward(dy, cache4)
    du = dy + block.channel_norm.backward(dbranch, cache3)  # (S, B, C)
    dbranch = block.token_mixing.backward(du, cache2)
    return du + block.token_norm.backward(dbranch, cache1)  # (S, B, C)
    ### END SOLUTION


check("9.2", my_block_forward, my_block_backward)

# %% [markdown]
# Now follow `dy` on its way back, step by step, through a block with its first weights. Here `x` and `dy` are random numbers. The *size* in the picture is the root mean square,
# $\sqrt{\mathrm{mean}(\texttt{dy}^2)}$, which tells how large a typical number is. Compare each step with a line of your function.

# %%
DIGITS = {"image_size": 8, "in_channels": 1, "patch_size": 2}
config = MixerConfig(
    **DIGITS, hidden_dim=48, tokens_mlp_dim=24, channels_mlp_dim=96, num_blocks=3
)
rng = np.random.default_rng(0)
x, dy = rng.normal(size=(2, 16, 32, 48)).astype(np.float32)  # (S, B, C) each
show_steps(
    block_steps(MlpMixer(config, seed=0).blocks[0], x, dy),
    alt="The block with arrows from right to left and the size of the gradient at each place: dy at y 1.01; in the second branch 0.68 after "
    "channel_mixing and 0.60 after channel_norm; du at u 1.20; in the first branch 0.76 after token_mixing and 0.78 after token_norm; dx at x 1.44.",
)

# %% [markdown]
# ## What the sums are good for
# Suppose that there were no sums, and each mixing's backward pass made the gradient a little smaller, by a factor of 0.8. After 48 mixings
# (24 blocks) only $0.8^{48}$ of it would be left, about 0.00002, and the first layers would learn next to nothing. With a factor of 1.2 it would be
# about 6,000 times as large. Only a factor very close to 1 works at great depth, and nobody gets that by chance.
#
# With the sums, `dx = dy +` something at every mixing. The gradient at the end arrives at every depth *whole*, and the gradients from
# the branches are added to it. People call this the gradient highway. Let us measure it, on a model of 24 blocks with its first weights. Digits
# go forward, a random `dy` goes back, and after every mixing we note the size of the activations and of the gradient. We do it for the block as it is, without the sums, without the
# LayerNorms, and without both.

# %%
digits = load_dataset("digits")
images = normalise(digits.train_images[:32], digits.mean, digits.std, np.float64)
labels = digits.train_labels[:32]


def root_mean_square(x):
    return math.sqrt(np.mean(x * x))


def sizes_through_depth(blocks, x, dlast, residual, norm):
    """x, dlast (S, B, C)  ->  sizes of the activations and of the gradients, mixing by mixing"""
    sizes, branches = [root_mean_square(x)], []
    for block in blocks:
        for layers in (
            (block.token_norm, block.token_mixing),
            (block.channel_norm, block.channel_mixing),
        ):
            y, caches = x, []
            for layer in layers if norm else layers[1:]:
                y, cache = layer.forward(y)  # (S, B, C)
                caches.append((layer, cache))
            x = x + y if residual else y
            sizes.append(root_mean_square(x))
            branches.append(caches)
    dx, gradient_sizes = dlast, [root_mean_square(dlast)]
    for caches in reversed(branches):
        dy = dx
        for layer, cache in reversed(caches):
            dy = layer.backward(dy, cache)  # (S, B, C)
        dx = dx + dy if residual else dy
        gradient_sizes.append(root_mean_square(dx))
    return sizes, gradient_sizes[::-1]


deep = MixerConfig(
    **DIGITS, hidden_dim=32, tokens_mlp_dim=32, channels_mlp_dim=64, num_blocks=24
)
model = MlpMixer(deep, dtype="float64", seed=0)
patches, _ = ops.images_to_patches_forward(images, deep.patch_size)  # (S, B, P*P)
x, _ = model.stem.forward(patches)  # (S, B, C)
dlast = np.random.default_rng(1).normal(size=x.shape)  # (S, B, C)

figure, axes = new_figure(1, 2, width=8, height=3.2, sharex=True)
print("size of the           activations, at the end    gradients, at the beginning")
variants = (
    ("sums and LayerNorms", True, True),
    ("LayerNorms only", False, True),
    ("sums only", True, False),
    ("neither", False, False),
)
for (label, residual, norm), colour in zip(variants, COLOURS, strict=False):
    sizes, gradient_sizes = sizes_through_depth(model.blocks, x, dlast, residual, norm)
    axes[0].plot(sizes, color=colour, label=label)
    axes[1].plot(gradient_sizes, color=colour, label=label)
    print(f"{label:22} {sizes[-1]:15.1e} {gradient_sizes[0]:27.1e}")
axes[0].set_title("activations, going forward")
axes[1].set_title("gradients (they go from right to left)")
for axis in axes:
    axis.set_yscale("log")
    axis.set_xlabel("mixings passed")
figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=4,
    frameon=False,
    labelcolor=INK,
)
show(
    figure,
    alt="Sizes over 48 mixings, on a logarithmic scale. With sums and LayerNorms activations and "
    "gradients stay within a factor of about ten. With LayerNorms only the gradients grow by "
    "hundreds, with sums only both grow by ten thousand, with neither both shrink to nothing.",
)

# %% [markdown]
# In three of the four variants the lines are straight on a logarithmic scale. That means a fixed factor per mixing.
#
# * **Neither.** Each mixing makes its input smaller. At the end nothing is left of the image, and at the beginning nothing is left of the gradient.
# * **Sums only.** Each branch adds something in proportion to its input. That is compound interest.
# * **LayerNorms only.** The activations are brought back to their size before each mixing. But going back, a LayerNorm divides the gradient by the standard deviation of
#   its row (lesson 05), and the mixings don't make up for it exactly. Again this is a fixed factor.
# * **Both.** The branch gets normalised numbers, so it adds about the same amount at every depth. The sum grows slowly, and the longer it is, the less
#   one more term changes it. From block to block the factor comes closer to 1, for activations and for gradients. That is what makes great depth possible.
#
# ## The whole model
# There is not much around the blocks. Here is the whole Mixer, stage by stage, with the package's own layers and small sizes for the digits: `B` = 32 images, `S` = 16 tokens,
# `C` = 48 channels, `K` = 10 classes.

# %%
model = MlpMixer(config, seed=0)
images = normalise(digits.train_images[:32], digits.mean, digits.std)  # (B, 8, 8, 1)

stages = {"images": images}
x, _ = ops.images_to_patches_forward(images, config.patch_size)  # (S, B, P*P*in_channels)
stages["patches"] = x
x, _ = model.stem.forward(x)  # (S, B, C)
stages["stem"] = x
for block in model.blocks:
    x, _ = block.forward(x)  # (S, B, C)
stages[f"{config.num_blocks} blocks"] = x
x, _ = model.pre_head_layer_norm.forward(x)  # (S, B, C)
stages["pre_head_layer_norm"] = x
features, _ = ops.mean_over_tokens_forward(x)  # (B, C)
stages["mean over tokens"] = features
logits, _ = model.head.forward(features)  # (B, K)
stages["head"] = logits
for name, values in stages.items():
    print(f"{name:20} {values.shape}")
print("as the package computes it:", np.array_equal(logits, model.forward(images)[0]))

# %% [markdown]
# * **`pre_head_layer_norm`.** The activations have been added up through all blocks and were never normalised themselves. The last LayerNorm does it once, before
#   they are used.
# * **Mean over tokens.** The table of each image becomes one row of $C$ numbers: $\bar{x}_{nc} = \frac{1}{S}\sum_s x_{snc}$ for image $n$ and channel $c$. (It is also
#   called global average pooling.)
# * **Head.** One Linear from `C` to `K`, a logit per class.
#
# ### Exercise 9.3
# The only part that has no backward pass yet is the mean. Write it. How much does the mean change when one $x_{snc}$ grows a little? And which $x_{snc}$ does it
# depend on?


# %%
def my_mean_over_tokens_backward(dy, shape):
    """dy (B, C), shape: (S, B, C) of what was averaged  ->  dx (S, B, C)"""
    ### BEGIN SOLUTION
    return np.broadcast_to(dy / shape[0], shape)  # (S, B, C)   every token the same
    ### END SOLUTION


check("9.3", my_mean_over_tokens_backward)

# %% [markdown]
# Now you could write the backward pass of the whole model. It is the forward pass read from bottom to top, with each line replaced by its backward
# function. This is the package's:

# %%
print(inspect.getsource(MlpMixer.backward))

# %% [markdown]
# Did we get everything right, from the pixels to the loss? The gradient check of lesson 03 answers that for a whole model with the loss at its end. It checks every parameter
# and the images themselves, in float64.

# %%
TINY = {"image_size": 4, "in_channels": 1, "patch_size": 2, "num_classes": 3}
tiny = MixerConfig(**TINY, hidden_dim=5, tokens_mlp_dim=3, channels_mlp_dim=7, num_blocks=2)
report = check_model(
    MlpMixer(tiny, dtype="float64"),
    np.random.default_rng(0).normal(size=(3, 4, 4, 1)),  # (B, height, width, in_channels)
    np.array([0, 2, 1]),  # (B,)
)
print("passed:", report.passed, "· checks:", len(report.rows))
print(f"worst relative error of a gradient: {report.worst_error:.0e}")

# %% [markdown]
# ## The first loss
# The head of a new Mixer is zero: all its weights and its bias. That is on purpose. All $K$ logits are then zero for every image. The softmax
# (lesson 06) gives equal logits equal probabilities, $1/K$ for each class. So the loss is known before anything is computed, whatever the image and whatever its label:
#
# $$L = -\log \frac{1}{K} = \log K .$$
#
# The model starts without an opinion. And you get a test for free: if the first loss is not $\log K$, something is wrong with the
# head, the loss or the form of the labels.

# %%
logits, cache = model.forward(images)
loss, dlogits = ops.softmax_cross_entropy(logits, labels)
print(f"first loss {loss:.6f}, log K {math.log(config.num_classes):.6f}")


def sizes_of_gradients():
    """The root mean square of the gradient of each part's weight, after one forward and backward."""
    logits, cache = model.forward(images)
    _, dlogits = ops.softmax_cross_entropy(logits, labels)
    model.parameters.zero_gradients()
    model.backward(dlogits, cache)
    parts = ("stem.weight", "blocks.0.token_mixing.weight1", "head.weight")
    return {name: root_mean_square(model.parameters.gradient(name)) for name in parts}


before = sizes_of_gradients()
model.parameters.values[...] -= 0.3 * model.parameters.gradients  # one step downhill
after = sizes_of_gradients()
print(f"\n{'gradient of':32} {'first step':>10} {'second step':>12}")
for name in before:
    print(f"{name:32} {before[name]:10.1e} {after[name]:12.1e}")

# %% [markdown]
# In the first step only the head learns. The layers below it receive `dfeatures = dlogits @ head.weight.T`, and that weight is
# zero. After one step it no longer is, and all layers learn from then on.
#
# This is why `check_model` moves all parameters at random before it checks. With a zero head, all gradients below it are zero, right ones and wrong ones alike.
#
# ## Overfit one batch
# Before you train a model on a whole data set, spend a few seconds to see whether it can learn *one* batch by heart. The only goal is a small loss on these 32
# images. A model with a thousand times more parameters than images must manage that. If it does not, the fault is in the code or in the step size, not in the data.
# We take plain steps downhill, as in lesson 02.

# %%
model = MlpMixer(config, seed=0)
losses = []
for _step in range(600):
    logits, cache = model.forward(images)  # (B, K)
    loss, dlogits = ops.softmax_cross_entropy(logits, labels)
    losses.append(float(loss))
    model.parameters.zero_gradients()
    model.backward(dlogits, cache)
    model.parameters.values[...] -= 0.3 * model.parameters.gradients

correct = np.sum(model.forward(images)[0].argmax(axis=1) == labels)
print(f"{model.parameters.count:,} parameters, {len(images)} images")
print(f"loss {losses[0]:.3f} -> {losses[-1]:.5f}, {correct} of {len(images)} correct")

figure, axis = new_figure(width=6, height=2.8)
axis.plot(losses, color=COLOURS[0])
axis.axhline(math.log(10), color=COLOURS[1], linestyle="--", label="log K")
axis.set_yscale("log")
axis.set_xlabel("step")
axis.set_ylabel("loss on the batch")
axis.legend()
show(
    figure,
    alt="The loss starts at log K, jumps up once near the beginning, and falls below 0.001 "
    "within 600 steps.",
)

# %% [markdown]
# It passes. (A jump near the beginning is a step that was too long at that point: it landed higher up on the other side of the valley, as in lesson 02. Lesson 10 is about
# the length of steps.) Whether the model says anything sensible about a digit it has not seen is another question, for lessons 10 and 13. But there is no point in training a model
# that fails here.
#
# ## Counting parameters
# You counted the parameters of both mixings in lesson 08. A LayerNorm has two per channel, scale and bias. The stem is a Linear from a patch vector to $C$, the head a
# Linear from $C$ to $K$.
#
# ### Exercise 9.4
# Count the parameters of a whole Mixer with $L$ blocks. (Elsewhere the letter $L$ is the loss. As a size it is the number of blocks.)


# %%
def my_parameter_count(S, C, DS, DC, L, P, K, in_channels):
    """S tokens, C channels, DS and DC the hidden sizes of token and channel mixing, L blocks,
    P x P pixels a patch, K classes, in_channels colours of a pixel  ->  number of parameters"""
    ### BEGIN SOLUTION
    token_mixing = 2 * S * DS + DS + S
    channel_mixing = 2 * C * DC + DC + C
    block = token_mixing + channel_mixing + 2 * 2 * C  # two LayerNorms
    stem = P * P * in_channels * C + C
    head = C * K + K
    return stem + L * block + 2 * C + head
    ### END SOLUTION


check("9.4", my_parameter_count)

# %% [markdown]
# Here are three models: the package's small model for CIFAR-10 ("nano", its default configuration), and two from the paper, for 1000 classes.

# %%
NANO = MixerConfig()
PAPER = {"image_size": 224, "patch_size": 16, "num_classes": 1000}
MIXER_S16 = MixerConfig(
    **PAPER, hidden_dim=512, tokens_mlp_dim=256, channels_mlp_dim=2048, num_blocks=8
)
MIXER_B16 = MixerConfig(
    **PAPER, hidden_dim=768, tokens_mlp_dim=384, channels_mlp_dim=3072, num_blocks=12
)
MODELS = {"nano": NANO, "Mixer-S/16": MIXER_S16, "Mixer-B/16": MIXER_B16}

print(
    f"{'':10} {'S':>4} {'C':>4} {'DS':>4} {'DC':>5} {'blocks':>6} {'parameters':>11} {'no head':>11}"
)
for name, model_config in MODELS.items():
    head = (model_config.hidden_dim + 1) * model_config.num_classes
    sizes = (
        f"{model_config.num_tokens:4} {model_config.hidden_dim:4} {model_config.tokens_mlp_dim:4} "
        f"{model_config.channels_mlp_dim:5} {model_config.num_blocks:6}"
    )
    total = model_config.parameter_count
    print(f"{name:10} {sizes} {total:11,} {total - head:11,}")
print("\nnano, counted in the model itself:", f"{MlpMixer(NANO).parameters.count:,}")

# %% [markdown]
# The paper's table 1 gives 18 and 59 million for the last two. That agrees with the last column: the table leaves the head out.
#
# ## Counting the work
# The product of an `(a, b)` matrix and a `(b, c)` matrix has $a \cdot c$ results, each a sum of $b$ products: $a\,b\,c$ **multiply-adds** (one multiplication and one addition
# each). Everything else takes few operations compared with the products, so their number measures the work of a model. For one image, the first product of token mixing is `(DS, S) @ (S, C)`. What
# are the others?
#
# ### Exercise 9.5
# Count the multiply-adds of all matrix products of a Mixer for one image, forward. Leave out biases, LayerNorm, GELU and the mean.


# %%
def my_multiply_adds(S, C, DS, DC, L, P, K, in_channels):
    """Sizes as in exercise 9.4  ->  multiply-adds of the matrix products, for one image"""
    ### BEGIN SOLUTION
    stem = S * (P * P * in_channels) * C  # (S, P*P*in_channels) @ (P*P*in_channels, C)
    token_mixing = 2 * DS * S * C  # (DS, S) @ (S, C) and (S, DS) @ (DS, C)
    channel_mixing = 2 * S * C * DC  # (S, C) @ (C, DC) and (S, DC) @ (DC, C)
    head = C * K  # (1, C) @ (C, K)
    return stem + L * (token_mixing + channel_mixing) + head
    ### END SOLUTION


check("9.5", my_multiply_adds)

# %% [markdown]
# There is a shorter way to say it. A weight of token mixing is used once for each channel, a weight of the stem or of channel mixing once for each token, and a weight of the
# head just once. So the number of multiply-adds is the number of weights times the number of uses. Where are the parameters, and where is the work?

# %%
PARTS = {
    "stem": COLOURS[2],
    "token_mixing": COLOURS[1],
    "channel_mixing": COLOURS[0],
    "head": COLOURS[3],
    "LayerNorms": COLOURS[4],
}


def parameters_and_work(config):
    """Parameters and multiply-adds for one image of each part: two dicts."""
    parameters, work = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    uses = {"stem": config.num_tokens, "token_mixing": config.hidden_dim}
    uses |= {"channel_mixing": config.num_tokens, "head": 1}
    for name, specification in MlpMixer.specification(config).items():
        part = name.split(".")[-2]  # "blocks.0.token_mixing.weight1" -> "token_mixing"
        part = "LayerNorms" if "norm" in part else part
        parameters[part] += math.prod(specification.shape)
        if len(specification.shape) == 2:
            work[part] += math.prod(specification.shape) * uses[part]
    return parameters, work


figure, axes = new_figure(1, 2, width=8, height=2.2, sharey=True)
for row, (name, model_config) in enumerate(MODELS.items()):
    counts = parameters_and_work(model_config)
    for axis, count in zip(axes, counts, strict=True):
        left = 0.0
        for part, number in count.items():
            share = 100 * number / sum(count.values())
            label = part if row == 0 else None
            axis.barh(row, share, 0.6, left=left, color=PARTS[part], label=label)
            left += share
    work = counts[1]
    print(
        f"{name:10} {sum(work.values()):>14,} multiply-adds an image, "
        f"{work['token_mixing'] / sum(work.values()):.0%} of them in token mixing"
    )
axes[0].set_yticks(range(len(MODELS)), list(MODELS))
axes[0].invert_yaxis()
for axis, title in zip(axes, ("parameters, %", "multiply-adds, %"), strict=True):
    axis.set_title(title)
    axis.set_xlim(0, 100)
figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=5,
    frameon=False,
    labelcolor=INK,
)
show(
    figure,
    alt="Stacked bars for nano, Mixer-S/16 and Mixer-B/16. Channel mixing holds nine tenths or "
    "more of the parameters and most of the work; token mixing is second in the work.",
)

# %% [markdown]
# Backward costs twice as much as forward (lesson 02), so a training step costs about three times the printed number for every image of the batch.
#
# **Try it.** (a) Overfit the batch with labels that mean nothing, `labels = np.random.default_rng(0).integers(0, 10, 32)`. Does it work? What does that say about a small
# training loss? (b) After any backward pass, look at `model.parameters.gradient("blocks.0.token_mixing.bias2")`. It is zero, up to rounding. Always. Why? (Follow what this bias adds,
# through everything that reads it.) (c) Repeat the experiment on depth with 100 blocks. Which of the four variants still works?

# %% [markdown] tags=["solution"]
# **About *Try it*.** (a) It works just as well: the model can memorise anything. A small loss on the training images shows that gradients and steps are right, and
# nothing about digits. (b) `bias2` has one number per token, and adds it to *all channels* of that token. The sums carry it along to the end of the model. But every mixing, and the
# head too, reads the activations through a LayerNorm. That subtracts the mean over the channels, and this number with it. No output
# changes, so the gradient is zero. (The parameter is kept because the published models have it.) (c) Only the one with sums and LayerNorms: its gradient at the
# beginning is about 30 times as large as at the end. The three straight lines just go on. With LayerNorms only, the factor is about $10^{11}$.

# %% [markdown]
# ## Questions
#
# **1.** A new Mixer tells 100 classes apart. What is its first loss? Yours prints 7.1. Where would you look?
#
# <details><summary>Answer</summary>
#
# $\log 100 \approx 4.61$, because a zero head gives each class the probability 1/100. With 7.1 the logits are not all equal, so look at the head first, and then at the loss itself. Labels that belong to other
# images can't be the cause: with equal logits, every class costs the same.
#
# </details>
#
# **2.** The last activations are `(64, 32, 128)`. What are the shapes of `dfeatures` and of the `dx` of the mean over tokens? How do the tokens' gradients differ from each other?
#
# <details><summary>Answer</summary>
#
# `dfeatures` is `(32, 128)`, a row for each image, and `dx` is `(64, 32, 128)`. The gradients of the tokens don't differ at all: each token of an image gets `dfeatures / 64`, because the mean depends on every token with the same factor 1/64.
#
# </details>
#
# **3.** In somebody's block, backward says `du = block.channel_norm.backward(dbranch, cache3)`. The loss still falls. What is wrong, and how would you notice?
#
# <details><summary>Answer</summary>
#
# The straight way is missing: it must be `dy +` that. The head and the last mixing still get their right gradients, so the loss falls, but all earlier layers get only what comes through the branch, and that shrinks or grows with depth. A gradient
# check of the block shows it at once.
#
# </details>
#
# **4.** Estimate without a computer how many parameters the blocks of nano have in channel mixing and in token mixing: $S = 64$, $C = 128$, $D_S = 64$, $D_C = 512$, 8 blocks.
#
# <details><summary>Answer</summary>
#
# Only the matrices count. Channel mixing: $2 \cdot 128 \cdot 512 \approx 131{,}000$ per block, about 1.05 million in all. Token mixing: $2 \cdot 64 \cdot 64 \approx 8{,}200$ per block, about 66,000 in all. With biases
# it is 1,053,696 and 66,560.
#
# </details>
#
# **5.** A colleague moves the LayerNorms out of the branches and onto the main line: $y = \mathrm{LayerNorm}(x + f(x))$. Explain what changes for the gradient.
#
# <details><summary>Answer</summary>
#
# The gradient has to go through the LayerNorm before it comes to the plus. So the straight way no longer has the factor 1: each LayerNorm on it divides by a standard deviation and takes out two directions. The gradient of the loss does not arrive
# whole at every depth any more, and a deep network becomes harder to train.
#
# </details>

# %% [markdown]
# ## What you have now
# * $y = x + f(x)$ goes back as `dx = dy + branch_backward(dy)`: the gradient arrives at every depth whole, plus what the branches add.
# * A block is two of these, each around a LayerNorm and a mixing. Sums without LayerNorms fail at great depth, and so do LayerNorms without sums. Both together work.
# * The mean over tokens gives each token the same gradient, `dy / S`.
# * A zero head makes the first loss $\log K$, and only the head learns in the first step.
# * Three tests before any training: the gradient check, the first loss, one batch by heart.
# * Nearly all parameters are in channel mixing.
#
# There are many variants of this block. Two of them need an operation that you haven't met, but that you can derive in a line: `layer_scale` multiplies each channel of a branch by a learned
# number (`MixerConfig(layer_scale=0.1)`), and `gate` multiplies the hidden layer of channel mixing by a second Linear of its input (`MixerConfig(gated=True)`). Both are in the cheat sheet.
#
# **Where the package does this:** `tinymixer/layers/mixer_block.py` (the block, and stochastic depth), `tinymixer/models/mlp_mixer.py` (the whole model),
# `tinymixer/models/mixer_config.py` (the sizes and `parameter_count`), `tinymixer/ops/mean_over_tokens.py`, `tinymixer/gradcheck/layer.py` (`check_model`).
#
# Next: [lesson 10, SGD, momentum, schedules](10_training.ipynb).
