# %% [markdown]
# # Lesson 09 · The block and the whole Mixer
#
# *75 minutes. Before: [lesson 05](05_layer_norm.ipynb) (LayerNorm), [lesson 06](06_softmax_cross_entropy.ipynb) (the loss) and
# [lesson 08](08_token_mixing.ipynb) (both mixings).*
#
# All parts are there. This lesson puts them together, forward and backward, and then asks what one asks of every new model before its first
# training: are the gradients right, is the first loss what it must be, and can it learn a handful of images by heart? After this lesson you can
#
# * run a residual connection and a whole Mixer block backwards,
# * say what the sums and the LayerNorms do for a deep network, with figures,
# * predict the first loss of a model whose head starts at zero,
# * count the parameters and the multiplications of any Mixer.

# %%
import inspect
import math

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.data import load_dataset, normalise
from tinymixer.gradcheck import check_model
from tinymixer.lessons import check, new_figure, show

# %% [markdown]
# ## The residual connection
# A Mixer block never replaces its activations by the output of a mixing. It *adds* the output to them. Let $f$ be anything that has a forward and a
# backward pass and keeps the shape, a mixing for example. The **residual connection** around it (He et al. 2015,
# [arXiv 1512.03385](https://arxiv.org/abs/1512.03385)) is
#
# $$y = x + f(x) .$$
#
# One calls $f$ the *branch*. Now backwards. Let $x_i$ be one number of $x$. It reaches the loss $L$ in two ways: straight, as a
# part of $y_i$, with the factor 1; and through the branch, where it may change every $f_j$, which is a part of $y_j$. The ways add up:
#
# $$\texttt{dx}_i = \underbrace{\texttt{dy}_i}_{\text{straight}} +
# \underbrace{\sum_j \texttt{dy}_j\,\frac{\partial f_j}{\partial x_i}}_{\text{through the branch}} .$$
#
# The second term is exactly what the backward pass of $f$ computes, if it is given `dy`. So nothing new has to be derived.
#
# ### Exercise 9.1
# Write the backward pass of $y = x + f(x)$. You get the backward pass of the branch as a function.


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
#
# ```
# x ──┬── token_norm ── token_mixing ── + ──┬── channel_norm ── channel_mixing ── + ── y
#     │                                 │   │                                     │
#     └─────────────────────────────────┘   └─────────────────────────────────────┘
# ```
#
# With $u$ for what is between the two (Tolstikhin et al. 2021, equation 1):
#
# $$u = x + \mathrm{token\_mixing}(\mathrm{token\_norm}(x)) , \qquad
# y = u + \mathrm{channel\_mixing}(\mathrm{channel\_norm}(u)) .$$
#
# The LayerNorms stand *inside* the branches. What runs along the lower line is touched by nothing but additions.
#
# ### Exercise 9.2
# Write the block, forward and backward. `block` has the four layers `block.token_norm`, `block.token_mixing`, `block.channel_norm` and
# `block.channel_mixing`. As every layer of the package they have
#
# * `layer.forward(x)`, which returns `(y, cache)`,
# * `layer.backward(dy, cache)`, which returns `dx` and adds the gradients of the layer's parameters where they belong.
#
# Your forward must hand over four caches; a tuple will do. Backward meets the layers in the opposite order.


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
# ## What the sums are good for
# Suppose that there were no sums, and each mixing's backward pass made the gradient a little smaller, by a factor of 0.8. After 48 mixings
# (24 blocks) it would be smaller by $0.8^{48}$, about 0.00002, and the first layers would learn next to nothing. With a factor of 1.2 it would be larger
# by 6,000. Only a factor of very nearly 1 survives a great depth, and nobody hits that by chance.
#
# With the sums, `dx = dy +` something in every branch. The gradient at the end arrives at every depth *whole*, and what comes
# through the branches is added to it. People call this the gradient highway. Let us measure it, on a model of 24 blocks with its first weights. Digits
# go forward, a random `dy` goes back, and after every mixing we note the *root mean square* of the
# activations and of the gradient, $\sqrt{\mathrm{mean}(x^2)}$, which is the size of a typical number. We do it for the block as it is, without the sums, without the LayerNorms, and
# without both.

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


DIGITS = {"image_size": 8, "in_channels": 1, "patch_size": 2}
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
# Straight lines on a logarithmic scale: a fixed factor per mixing, in three of the four.
#
# * **Neither.** Each mixing makes its input smaller. At the end nothing is left of the image, at the beginning nothing of the gradient.
# * **Sums only.** Each branch adds something in proportion to what it was given. That is compound interest.
# * **LayerNorms only.** Activations are put right again before each mixing. But going back, a LayerNorm divides the gradient by the deviation of
#   its row (lesson 05), and the mixings don't make up for it exactly: a fixed factor again.
# * **Both.** The branch is given normalised numbers, so what it adds has about the same size at every depth. The sum grows slowly, and the longer it is the less
#   one more term changes it: the factor approaches 1 from block to block, for activations and for gradients. That is what makes great depth possible.
#
# ## The whole model
# Around the blocks there is not much. Here is the whole Mixer, stage by stage, with the package's own layers and small sizes for the digits: `B` = 32 images, `S` = 16 tokens,
# `C` = 48 channels, `K` = 10 classes.

# %%
config = MixerConfig(
    **DIGITS, hidden_dim=48, tokens_mlp_dim=24, channels_mlp_dim=96, num_blocks=3
)
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
# * **Mean over tokens.** The table of each image becomes one row of $C$ numbers: $\bar{x}_{nc} = \frac{1}{S}\sum_s x_{snc}$ for image $n$ and channel $c$. (Global average
#   pooling is another name.)
# * **Head.** One Linear from `C` to `K`, a logit per class.
#
# ### Exercise 9.3
# The one part without a backward pass so far is the mean. Write it. How much does the mean change when one $x_{snc}$ grows by a little? And which $x_{snc}$ does it
# depend on?


# %%
def my_mean_over_tokens_backward(dy, shape):
    """dy (B, C), shape: (S, B, C) of what was averaged  ->  dx (S, B, C)"""
    ### BEGIN SOLUTION
    return np.broadcast_to(dy / shape[0], shape)  # (S, B, C)   every token the same
    ### END SOLUTION


check("9.3", my_mean_over_tokens_backward)

# %% [markdown]
# Now the backward pass of the whole model can be written down. It is the forward pass read from bottom to top, each line replaced by its backward
# function. Here it is, as the package has it:

# %%
print(inspect.getsource(MlpMixer.backward))

# %% [markdown]
# Did we get everything right, from the pixels to the loss? The gradient check of lesson 03 answers that for a whole model with the loss at its end. It looks at every parameter
# and at the images themselves, in float64.

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
# The model starts without an opinion. And you get a test for nothing: where the first loss is not $\log K$, something is wrong with the
# head, the loss or the labels.

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
# In the first step only the head learns. What the layers below it receive is `dfeatures = dlogits @ head.weight.T`, and that weight is
# zero. After one step it is not, and all layers learn from then on.
#
# This is why `check_model` moves all parameters at random before it checks. With a zero head, all gradients below are zero, right ones and wrong ones alike.
#
# ## Overfit one batch
# Before a model is trained on a whole data set, it is worth a few seconds to see whether it can learn *one* batch by heart. Nothing is wanted here but a small loss on these 32
# images. A model with a thousand times more parameters than images must manage, and if it does not, the fault is in the code or in the step size, not in the data.
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
# It passes. (A jump near the beginning is a step that was too long for where it was taken: the loss landed higher on the other side of the valley, as in lesson 02. Lesson 10 is about
# the length of steps.) Whether the model says anything sensible about a digit it has not seen is another question, for lessons 10 and 13. But a model that fails here need not be
# trained.
#
# ## Counting parameters
# You counted the parameters of both mixings in lesson 08. A LayerNorm has two per channel, scale and bias. The stem is a Linear from a patch vector to $C$, the head a
# Linear from $C$ to $K$.
#
# ### Exercise 9.4
# Count the parameters of a whole Mixer with $L$ blocks. (The letter $L$ is the loss elsewhere; as a size it is the number of blocks.)


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
# Three models: the package's small model for CIFAR-10 ("nano", its default configuration), and two of the paper's, for 1000 classes.

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
# The paper's table 1 gives 18 and 59 million for the latter two. That is the last column: the table leaves the head out.
#
# ## Counting the work
# A product of an `(a, b)` with a `(b, c)` matrix has $a \cdot c$ results, each a sum of $b$ products: $a\,b\,c$ **multiply-adds** (one multiplication and one addition
# each). Counted in operations, everything else is small beside the products, so they measure the work of a model. For one image, the first product of token mixing is `(DS, S) @ (S, C)`. What
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
# There is a shorter way to say it. A weight of token mixing is used once for each channel, a weight of the stem or of channel mixing once for each token, a weight of the
# head once. So the multiply-adds are the number of weights times the number of uses. Where do parameters and work sit?

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
# Backward costs twice as much as forward (lesson 02), so a training step costs about three times the printed figure for every image of the batch.
#
# **Try it.** (a) Overfit the batch with labels that mean nothing, `labels = np.random.default_rng(0).integers(0, 10, 32)`. Does it work? What does that say about a small
# training loss? (b) After any backward pass, look at `model.parameters.gradient("blocks.0.token_mixing.bias2")`. It is zero, up to rounding. Always. Why? (Follow what this bias adds,
# through everything that reads it.) (c) Give the experiment on depth 100 blocks. Which of the four variants still works?

# %% [markdown] tags=["solution"]
# **About the questions.** (a) It works just as well: the model can memorise anything. A small loss on the training images shows that gradients and steps are right, and
# nothing about digits. (b) `bias2` has one number per token, and adds it to *all channels* of that token. It is carried along by the sums to the end of the model, but
# whatever reads the activations on the way, a mixing or the head, reads them through a LayerNorm, which subtracts the mean over the channels, and with it this number. No output
# changes, so the gradient is zero. (The parameter is kept because the published models have it.) (c) Only the one with sums and LayerNorms: its gradient at the
# beginning is about 30 times that at the end. The three straight lines just go on; with LayerNorms only, the factor is some $10^{11}$.

# %% [markdown]
# ## What you have now
# * $y = x + f(x)$ goes back as `dx = dy + branch_backward(dy)`: the gradient arrives at every depth whole, plus what the branches add.
# * A block is two of these, each around a LayerNorm and a mixing. Sums without LayerNorms, or LayerNorms without sums, don't stand a great depth; both together do.
# * The mean over tokens gives each token the same gradient, `dy / S`.
# * A zero head makes the first loss $\log K$, and only the head learns in the first step.
# * Three tests before any training: the gradient check, the first loss, one batch by heart.
# * Nearly all parameters are in channel mixing.
#
# Blocks have been varied in many ways that leave them a Mixer's. Two of them need an operation that you haven't met, and that you can derive in a line: `layer_scale` multiplies each channel of a branch by a number that is
# learnt (`MixerConfig(layer_scale=0.1)`), and `gate` multiplies the hidden layer of channel mixing by a second Linear of its input (`MixerConfig(gated=True)`). Both are in the cheat sheet.
#
# **Where the package does this:** `tinymixer/layers/mixer_block.py` (the block, and stochastic depth), `tinymixer/models/mlp_mixer.py` (the whole model),
# `tinymixer/models/mixer_config.py` (the sizes and `parameter_count`), `tinymixer/ops/mean_over_tokens.py`, `tinymixer/gradcheck/layer.py` (`check_model`).
#
# Next: [lesson 10, SGD, momentum, schedules](10_training.ipynb).
