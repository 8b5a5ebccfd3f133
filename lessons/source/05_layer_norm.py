# %% [markdown]
# # Lesson 05 · LayerNorm: nine lines that everyone gets wrong once
#
# *95 minutes. Before: [lesson 02](02_linear.ipynb) (the chain rule), [lesson 03](03_gradient_checking.ipynb) (gradient checks).*
#
# LayerNorm gives every token numbers of the same size, whatever the layers before it did. It takes four lines forward and five backward, and each
# input reaches the output along three paths at once. After this lesson you can
#
# * say why deep networks normalise, and over which axis,
# * derive the backward pass of LayerNorm, step by step,
# * see its two subtracted terms as directions in which the loss is flat,
# * name five mistakes that are easy to make, and the experiment that exposes each.

# %% [markdown]
# ## Before you begin
#
# **1.** Why does a gradient check of LayerNorm say nothing if `dy` is all ones and the scale is all ones? (lesson 03)
#
# <details><summary>Answer</summary>
#
# It then asks for the gradient of the sum of each row's outputs. LayerNorm takes the mean out, so that sum is always the same, whatever $x$ is. The
# right answer is zero, and many wrong backward passes give zero, too.
#
# </details>
#
# **2.** `x` has the shape `(S, B, C)`. What are the shapes of `x.mean(axis=-1)` and of `x.mean(axis=-1, keepdims=True)`, and which of them can you
# subtract from `x`? (lesson 01)
#
# <details><summary>Answer</summary>
#
# `(S, B)` and `(S, B, 1)`. Subtract the second: its axis of size 1 is repeated over the channels. The first is aligned on the right, so that `B`
# meets `C`: that is an error, or silently wrong where the sizes happen to fit.
#
# </details>
#
# **3.** $d = x - \mu$, where the mean $\mu$ depends on $x$, too. What does the chain rule tell you to do with the two paths from an $x_i$ to a
# $d_j$? (lesson 01b)
#
# <details><summary>Answer</summary>
#
# Multiply along each path and add up over both. The direct path has the slope 1 (only if $i = j$), and the path through the mean has
# $-1 \cdot \frac1C$. In this lesson there is a third path.
#
# </details>

# %%
import numpy as np
from matplotlib.patches import Rectangle

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.gradcheck import check_operation
from tinymixer.gradcheck.planted_faults import layer_norm as faults
from tinymixer.layers import LayerNorm
from tinymixer.lessons import check, new_figure, show
from tinymixer.lessons.backward_pictures import layer_norm_steps
from tinymixer.lessons.steps import show_steps

# %% [markdown]
# ## Why normalise
# A layer makes its numbers a little larger or a little smaller on average. The next layer does it again. A factor per layer becomes a *power* after
# many layers, and powers run away. To see this, we send random rows through 30 layers (Linear, then GELU) and record the size of the numbers after
# each layer: the root of the mean square, rms for short. The weights are random, drawn in three sizes. We do it once as is, and once with each layer
# first normalising what it receives. (Until we have written LayerNorm ourselves, we borrow the package's.)

# %%
C = 64  # channels


def sizes_through_layers(weight_size, normalise, layers=30):
    """The rms of the activations after each of the layers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, C))  # (B, C)
    scale, zeros = np.ones(C), np.zeros(C)  # (C,), (C,)
    sizes = []
    for _ in range(layers):
        weight = weight_size * rng.normal(size=(C, C)) / np.sqrt(C)  # (C, C)
        if normalise:
            x, _ = ops.layer_norm_forward(x, scale, zeros)  # (B, C)
        x, _ = ops.linear_forward(x, weight, zeros)  # (B, C)
        x, _ = ops.gelu_tanh_forward(x)  # (B, C)
        sizes.append(np.sqrt(np.mean(x * x)))
    return sizes


figure, axis = new_figure(width=7, height=3.2)
for weight_size, colour in zip((1.0, 1.5, 2.0), COLOURS, strict=False):
    for normalise, style in ((False, "-"), (True, ":")):
        sizes = sizes_through_layers(weight_size, normalise)
        label = None if normalise else f"weights of size {weight_size}"
        axis.semilogy(range(1, 31), sizes, style, color=colour, label=label, linewidth=2)
        words = "normalised" if normalise else "left alone"
        print(f"weights {weight_size}, {words}: after 30 layers {sizes[-1]:.1e}")
axis.set_xlabel("layer (dotted: normalised)")
axis.set_ylabel("rms of the activations")
axis.legend()
show(
    figure,
    alt="On a logarithmic scale, two of three solid curves run away in straight lines, one up and one down; "
    "the three dotted curves stay level near 1.",
)

# %% [markdown]
# A straight line on a logarithmic scale is a power. Weights of size 2 make the activations tens of thousands of times
# larger, weights of size 1 a billion times smaller. You hit the right size in between only by luck, and lose it again when training moves the
# weights. With normalisation, each layer starts from the same size, so nothing accumulates. Going backward, the gradients meet the same factors in
# the opposite order, so they vanish or explode in the same way.
#
# ## Over which axis
# In the Mixer, activations have the shape `(S, B, C)`: $S$ tokens of $B$ images, each token a row of $C$ channels. LayerNorm (Ba, Kiros and Hinton
# 2016, [arXiv 1607.06450](https://arxiv.org/abs/1607.06450)) takes the mean and the variance over the *channels of one token*. BatchNorm (Ioffe and
# Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167)) takes them over the batch, for each channel.

# %%
rng = np.random.default_rng(0)
x = rng.normal(size=(6, 8))  # (rows, C)   six tokens with eight channels

figure, axes = new_figure(1, 2, width=6.5, height=2.4)
for axis, title, corner, width, height in (
    (axes[0], "LayerNorm: along a row", (-0.5, 1.5), 8, 1),
    (axes[1], "BatchNorm: along a column", (4.5, -0.5), 1, 6),
):
    axis.imshow(x, cmap="RdBu", vmin=-2.5, vmax=2.5)
    frame = {"fill": False, "edgecolor": COLOURS[1], "linewidth": 4, "clip_on": False}
    axis.add_patch(Rectangle(corner, width, height, **frame))
    axis.set_title(title)
    axis.set_xlabel("channel")
    axis.set_ylabel("token")
show(
    figure,
    alt="A table of six tokens and eight channels, twice: "
    "on the left a frame around one row, on the right around one column.",
)

# %% [markdown]
# The axis decides what depends on what. If you take the statistics over the batch, the output for one image changes with the other images that happen
# to be in the batch. If you take them over the channels, every token is on its own:


# %%
def along_rows(x):
    """LayerNorm without scale and bias."""
    channels = x.shape[-1]
    return ops.layer_norm_forward(x, np.ones(channels), np.zeros(channels))[0]


others = 3 + rng.normal(size=(5, 8))  # (5, C)
company = np.concatenate([x[:1], others])  # (6, C)   row 0, among other rows
rows_moved = abs(along_rows(company) - along_rows(x))[0].max()
columns_moved = abs(along_rows(company.T).T - along_rows(x.T).T)[0].max()
print(f"row 0 moves, with statistics along rows:    {rows_moved:.2f}")
print(f"row 0 moves, with statistics along columns: {columns_moved:.2f}")

# %% [markdown]
# ## Forward
# Everything that follows is about **one row** of channels, $x_0, \dots, x_{C-1}$. We use the indices $i$, $j$ and $k$, each from 0 to $C-1$.
#
# $$\begin{array}{ll}
# \text{the mean} & \mu = \frac1C \sum_k x_k \\[4pt]
# \text{the row, centred} & d_i = x_i - \mu \\[4pt]
# \text{the variance} & v = \frac1C \sum_k d_k^2 \\[4pt]
# \text{one over the standard deviation} & r = (v + \varepsilon)^{-1/2} \\[4pt]
# \text{the row, normalised} & \hat x_i = d_i\, r \\[4pt]
# \text{the output} & y_i = s_i\,\hat x_i + b_i
# \end{array}$$
#
# In the code $d$ is called `centred`, $r$ `inv_std`, $\hat x$ `x_hat`, $s$ `scale` and $b$ `bias`.
# The root of the variance is the standard deviation, the typical distance from the mean. Dividing by it makes that distance 1.
# Two more things are in the formulas:
#
# * $\varepsilon$ (`eps`, 1e-6 in the Mixer) keeps the root from being zero. A row whose channels are all equal has $v = 0$.
# * `scale` and `bias` are parameters, one of each per channel, shared by all tokens. They start at 1 and 0, and let training choose another size and
#   another mean for a channel where that is better.
#
# Here is a row of four channels by hand:

# %%
row = np.array([10.0, 2.0, 4.0, 4.0])  # (C,)
# mean 5, so centred is 5, -3, -1, -1
# variance (25 + 9 + 1 + 1) / 4 = 9, so the standard deviation is 3
by_hand = np.array([5, -3, -1, -1]) / 3  # (C,)
y, _ = ops.layer_norm_forward(row, np.ones(4), np.zeros(4))  # (C,)
print("by hand:", by_hand.round(4))
print("package:", y.round(4))

# %% [markdown]
# ### Exercise 5.1
# Write the forward pass for an array of any shape whose last axis is the channels. `keepdims=True` keeps the axis of a mean with length 1, so that
# each mean lines up with its own row when you subtract. The backward pass will need three things: return them as the cache.


# %%
def my_layer_norm_forward(x, scale, bias, eps=1e-6):
    """x (..., C), scale (C,), bias (C,)  ->  y (..., C), cache (x_hat, inv_std, scale)"""
    ### BEGIN SOLUTION
    centred = x - x.mean(axis=-1, keepdims=True)  # (..., C)
    inv_std = (np.mean(centred**2, axis=-1, keepdims=True) + eps) ** -0.5  # (..., 1)
    x_hat = centred * inv_std  # (..., C)
    return scale * x_hat + bias, (x_hat, inv_std, scale)
    ### END SOLUTION


check("5.1", my_layer_norm_forward)

# %% [markdown]
# ## Backward: scale and bias
# The question is the same as in [lesson 02](02_linear.ipynb). We are given `dy`, the derivative of the loss $L$ with respect to $y$, and look for the
# derivatives with respect to `x`, `scale` and `bias`. The two parameters are easy. Let $n$ count all rows (in the Mixer, all tokens of
# all images):
#
# $$y_{ni} = s_i\,\hat x_{ni} + b_i
# \qquad\Rightarrow\qquad \frac{\partial y_{ni}}{\partial s_i} = \hat x_{ni}, \qquad \frac{\partial y_{ni}}{\partial b_i} = 1 .$$
#
# All rows share them, and every use adds its part to the gradient (lesson 02, *a weight that is used twice*):
#
# $$\texttt{dscale}_i = \sum_n \texttt{dy}_{ni}\,\hat x_{ni}, \qquad \texttt{dbias}_i = \sum_n \texttt{dy}_{ni} .$$
#
# ### Exercise 5.2
# Write both gradients. The rows take up two axes here.


# %%
def my_scale_and_bias_gradients(dy, x_hat):
    """dy (S, B, C), x_hat (S, B, C)  ->  dscale (C,), dbias (C,)"""
    ### BEGIN SOLUTION
    dscale = (dy * x_hat).sum(axis=(0, 1))  # (C,)
    dbias = dy.sum(axis=(0, 1))  # (C,)
    return dscale, dbias
    ### END SOLUTION


check("5.2", my_scale_and_bias_gradients)

# %% [markdown]
# ## Backward: the input
# Rows do not affect each other, so we again need only one. First we go back through the scale: $y_j$ depends on $\hat x_j$ with the factor $s_j$, so
# the gradient that reaches $\hat x_j$ is
#
# $$g_j = \frac{\partial L}{\partial \hat x_j} = \texttt{dy}_j\,s_j .$$
#
# What remains are the paths from $x_i$ to $\hat x_j$. There are three of them.

# %%
figure, axis = new_figure(width=6.5, height=2.7)
nodes = {
    "x": ("$x_i$", (0, 0)),
    "mean": (r"mean $\mu$", (1.6, 0.9)),
    "variance": ("variance $v$", (1.6, -0.9)),
    "x_hat": (r"$\hat x_j$", (3.2, 0)),
}
for words, place in nodes.values():
    axis.text(*place, words, ha="center", va="center", fontsize=12, color=INK)
for start, end, colour in (
    ("x", "x_hat", COLOURS[0]),
    ("x", "mean", COLOURS[1]),
    ("mean", "x_hat", COLOURS[1]),
    ("x", "variance", COLOURS[2]),
    ("variance", "x_hat", COLOURS[2]),
):
    style = {
        "arrowstyle": "-|>",
        "color": colour,
        "linewidth": 2,
        "shrinkA": 24,
        "shrinkB": 24,
    }
    axis.annotate("", xy=nodes[end][1], xytext=nodes[start][1], arrowprops=style)
axis.text(1.6, 0.08, "direct, if i = j", color=COLOURS[0], ha="center")
axis.text(2.7, 0.62, "what is subtracted", color=COLOURS[1])
axis.text(2.7, -0.74, "what is divided by", color=COLOURS[2])
axis.set_xlim(-0.5, 4.4)
axis.set_ylim(-1.25, 1.25)
axis.axis("off")
show(
    figure,
    alt="Three paths from x_i to x_hat_j: a direct arrow, one through the mean "
    "and one through the variance.",
)

# %% [markdown]
# We go through the lines of the forward pass from top to bottom, and differentiate each with respect to $x_i$. We write $\delta_{ij}$ for the number
# that is 1 if $i = j$ and 0 otherwise: it is $\partial x_j / \partial x_i$.
#
# **The mean.** $x_i$ is one of the $C$ numbers in it:
#
# $$\frac{\partial \mu}{\partial x_i} = \frac1C .$$
#
# **The centred row.** $d_j = x_j - \mu$:
#
# $$\frac{\partial d_j}{\partial x_i} = \delta_{ij} - \frac1C .$$
#
# **The variance.** $v = \frac1C \sum_k d_k^2$, and every $d_k$ moves with $x_i$:
#
# $$\frac{\partial v}{\partial x_i} = \frac1C \sum_k 2\,d_k \Big(\delta_{ik} - \frac1C\Big)
# = \frac2C\, d_i - \frac{2}{C^2} \sum_k d_k = \frac2C\, d_i .$$
#
# Pause at the last step. Centred numbers add up to zero, $\sum_k d_k = 0$, so the mean's influence on the variance drops out. That is why the picture
# has no arrow from the mean to the variance.
#
# **One over the standard deviation.** $r = (v + \varepsilon)^{-1/2}$, which is one over a root. The slope of $v^a$ is $a\,v^{a-1}$, so the
# derivative of $r$ with respect to $v$ is $-\frac12 (v + \varepsilon)^{-3/2} = -\frac12 r^3$. With the line before,
#
# $$\frac{\partial r}{\partial x_i} = -\frac12 r^3 \cdot \frac2C\, d_i = -\frac{1}{C}\, r^2 \,(r\,d_i) = -\frac1C\, r^2\, \hat x_i .$$
#
# **The normalised row.** $\hat x_j = d_j\,r$ is a product, and both factors move:
#
# $$\frac{\partial \hat x_j}{\partial x_i} = \frac{\partial d_j}{\partial x_i}\, r + d_j\,\frac{\partial r}{\partial x_i}
# = r\Big(\delta_{ij} - \frac1C\Big) - \frac1C\,(d_j\, r)\, r\,\hat x_i .$$
#
# With $d_j\,r = \hat x_j$ we get the result:
#
# $$\boxed{\;\frac{\partial \hat x_j}{\partial x_i} = r\,\Big(\;\underbrace{\delta_{ij}}_{\text{direct}} \;-\;
# \underbrace{\frac1C}_{\text{mean}} \;-\; \underbrace{\frac{\hat x_i\,\hat x_j}{C}}_{\text{variance}}\;\Big)\;}$$
#
# These are $C \times C$ numbers, the **Jacobian** of the normalisation: entry $(j, i)$ says how output $j$ moves with input $i$.
#
# ### Exercise 5.3
# Build that matrix from a normalised row and its `inv_std`. (`np.eye` and `np.outer` help.)


# %%
def my_normalise_jacobian(x_hat, inv_std):
    """x_hat (C,), inv_std a number  ->  jacobian (C, C), entry [j, i]: d x_hat[j] / d x[i]"""
    ### BEGIN SOLUTION
    channels = len(x_hat)
    mean_part = 1 / channels
    variance_part = np.outer(x_hat, x_hat) / channels  # (C, C)
    return inv_std * (np.eye(channels) - mean_part - variance_part)  # (C, C)
    ### END SOLUTION


check("5.3", my_normalise_jacobian)

# %% [markdown]
# Here are the parts as pictures, for a row of eight channels, each without the factor $r$. Below them we ask the forward pass itself: move each $x_i$
# a little and see how far each output moves.

# %%
row = x[0]  # (C,)
_, (x_hat, inv_std, _) = ops.layer_norm_forward(row, np.ones(8), np.zeros(8))
direct = np.eye(8)  # (C, C)
mean = np.full((8, 8), -1 / 8)  # (C, C)
variance = -np.outer(x_hat, x_hat) / 8  # (C, C)
bracket = direct + mean + variance  # (C, C)

figure, axes = new_figure(1, 4, width=8, height=2.3)
for axis, title, part in zip(
    axes,
    ("direct", "mean", "variance", "sum"),
    (direct, mean, variance, bracket),
    strict=True,
):
    axis.imshow(part, cmap="RdBu", vmin=-1, vmax=1)
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel("input i")
axes[0].set_ylabel("output j")
show(
    figure,
    alt="Four 8 by 8 matrices: a blue diagonal, an even pale red, a chequered pattern of "
    "x_hat times x_hat, and their sum.",
)

h = 1e-6
measured = np.zeros((8, 8))  # (C, C)
for i in range(8):
    step = h * np.eye(8)[i]  # (C,)
    above, _ = ops.layer_norm_forward(row + step, np.ones(8), np.zeros(8))
    below, _ = ops.layer_norm_forward(row - step, np.ones(8), np.zeros(8))
    measured[:, i] = (above - below) / (2 * h)
difference = abs(measured - inv_std * bracket).max()
print(f"largest difference between the formula and small steps: {difference:.0e}")

# %% [markdown]
# ### From the matrix to three terms
# The chain rule adds up the paths from $x_i$ through all outputs $\hat x_j$:
#
# $$\texttt{dx}_i = \sum_j g_j\,\frac{\partial \hat x_j}{\partial x_i}
# = r\,\Big(\sum_j g_j\,\delta_{ij} \;-\; \frac1C\sum_j g_j \;-\; \hat x_i\;\frac1C \sum_j g_j\,\hat x_j\Big) .$$
#
# The first sum has one term that is not zero, $g_i$. The second is the mean of $g$ over the row, the third the mean of $g\,\hat x$:
#
# $$\boxed{\;\texttt{dx} = r\,\big(\,g \;-\; \operatorname{mean}(g) \;-\; \hat x\,\operatorname{mean}(g\,\hat x)\,\big)\;}$$
#
# The matrix is gone. Instead of $C^2$ numbers, a row needs two, its means. And nothing was approximated: $\varepsilon$ is inside $r$.
#
# ### Exercise 5.4
# Write the whole backward pass. You may call `my_scale_and_bias_gradients`.


# %%
def my_layer_norm_backward(dy, cache):
    """dy (S, B, C), cache (x_hat, inv_std, scale)  ->  dx (S, B, C), dscale (C,), dbias (C,)"""
    x_hat, inv_std, scale = cache  # (S, B, C), (S, B, 1), (C,)
    ### BEGIN SOLUTION
    dscale, dbias = my_scale_and_bias_gradients(dy, x_hat)  # (C,), (C,)
    g = dy * scale  # (S, B, C)
    along_x_hat = (g * x_hat).mean(axis=-1, keepdims=True)  # (S, B, 1)
    dx = inv_std * (g - g.mean(axis=-1, keepdims=True) - x_hat * along_x_hat)  # (S, B, C)
    return dx, dscale, dbias
    ### END SOLUTION


check("5.4", my_layer_norm_backward)


# %% [markdown]
# ## Watch it move
# Here are the three terms on the row $(10, 2, 4, 4)$ that we normalised by hand, with a scale of $(1, 2, 1, 1)$. Move the slider, or press *next*.

# %%
show_steps(
    layer_norm_steps(
        x=np.array([10.0, 2, 4, 4]),
        scale=np.array([1.0, 2, 1, 1]),
        dy=np.array([2.0, -1, 1, 3]),
    ),
    alt="Five groups of four bars, one for each channel. x_hat: 1.67, -1, -0.33, -0.33. g = dy * scale: 2, -2, 1, 3. "
    "After the second term: 1, -3, 0, 2. After the third term: -0.67, -2, 0.33, 2.33. dx, after the factor r = 0.333: "
    "-0.22, -0.67, 0.11, 0.78.",
)

# %% [markdown]
# ## A picture of the three terms
# You can see the result without any calculation. Ask: what can happen to $x$ that LayerNorm does not notice?
#
# 1. **The same number is added to all channels.** The mean takes it out again.
# 2. **The row is stretched around its mean.** The division takes that out again (except for $\varepsilon$).
#
# Moving $x$ in these two directions does not move the output, so it does not move the loss. A gradient has no part along a direction in which the
# loss is flat: `dx` must be orthogonal to both (at right angles: the products of their elements add up to zero). The first direction is
# $(1, 1, \dots, 1)$. The second is $d$, or $\hat x$, which points the same way.
#
# How do we remove the part of $g$ along a direction $u$? We subtract $u\,\frac{\sum_j g_j u_j}{\sum_j u_j u_j}$, the projection of $g$ onto $u$. For
# $u = (1, \dots, 1)$ that is $\operatorname{mean}(g)$. For $u = \hat x$, with $\sum_j \hat x_j \hat x_j = C$, it is
# $\hat x \operatorname{mean}(g\,\hat x)$. There they are, the two subtracted terms. They do not interfere with each other, since $\hat x$ adds up to
# zero, which makes it orthogonal to $(1, \dots, 1)$.
#
# With three channels we can draw this. We look along $(1, 1, 1)$, so adding a number to all channels does not move anything in the picture (that
# takes care of the first of the two terms). Every normalised row lies on a circle around the origin: $\sum_j \hat x_j^2 = 3$.

# %%
x3 = np.array([[1.0, 0.2, -1.5]])  # (1, 3)   one row with three channels
y3, cache3 = ops.layer_norm_forward(x3, np.ones(3), np.zeros(3))  # (1, 3)
g3 = np.array([[1.6, -0.3, 0.5]])  # (1, 3)   any gradient; scale is 1, so g is dy
dx3, _, _ = ops.layer_norm_backward(g3, cache3)  # (1, 3)
x_hat3, inv_std3, _ = cache3

# Two directions at right angles to (1, 1, 1) and to each other, each of length 1.
view = np.array([[1, -1, 0], [1, 1, -2]]).T / np.sqrt([2, 6])  # (3, 2)


figure, axis = new_figure(width=7, height=3.4)
angle = np.linspace(0, 2 * np.pi, 200)
axis.plot(np.sqrt(3) * np.cos(angle), np.sqrt(3) * np.sin(angle), color=INK, linewidth=1)
removed3 = x_hat3 * np.mean(g3 * x_hat3)  # (1, 3)
arrows = (
    (0 * x_hat3, x_hat3, r"$\hat x$"),
    (x_hat3, g3, r"$g$"),
    (x_hat3, dx3 / inv_std3, r"what is left, dx / $r$"),
    (x_hat3, removed3, r"removed, $\hat x\,$mean($g\,\hat x$)"),
)
for (start, arrow, words), colour in zip(arrows, COLOURS, strict=False):
    tail, tip = (start @ view)[0], ((start + arrow) @ view)[0]  # (2,), (2,)
    style = {
        "arrowstyle": "-|>",
        "color": colour,
        "linewidth": 2.2,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axis.annotate("", xy=tip, xytext=tail, arrowprops=style)
    axis.plot([], [], color=colour, linewidth=2.2, label=words)
axis.set_aspect("equal")
axis.set_xlim(-2, 6)
axis.set_ylim(-1.9, 2.5)
axis.axis("off")
axis.legend(loc="center right")
show(
    figure,
    alt="A circle with an arrow x_hat from its centre to its rim. At the tip, g points outwards "
    "at an angle; its part along x_hat is removed, and what is left, dx, is tangent to the circle.",
)

# %% [markdown]
# The gradient at the tip of $\hat x$ wants to leave the circle. It cannot: LayerNorm keeps $\hat x$ on it. What is left is the part
# that runs along the rim. Let us measure both claims on larger arrays, the flat directions and the right angles:

# %%
x = rng.normal(size=(16, 4, 32))  # (S, B, C)
scale, bias = rng.normal(size=32), rng.normal(size=32)  # (C,), (C,)
dy = rng.normal(size=x.shape)  # (S, B, C)
y, cache = ops.layer_norm_forward(x, scale, bias)
dx, dscale, dbias = ops.layer_norm_backward(dy, cache)
x_hat, inv_std, _ = cache

mean = x.mean(axis=-1, keepdims=True)  # (S, B, 1)
shifted, _ = ops.layer_norm_forward(x + 5, scale, bias)
stretched, _ = ops.layer_norm_forward(mean + 3 * (x - mean), scale, bias)
along_ones = abs(dx.sum(axis=-1)).max()
along_x_hat = abs((dx * x_hat).sum(axis=-1)).max()
dy_along_x_hat = abs((dy * x_hat).sum(axis=-1)).max()
print(f"y moves when 5 is added to all x:         {abs(shifted - y).max():.0e}")
print(f"y moves when x is stretched by 3:         {abs(stretched - y).max():.0e}")
print(f"dx along (1, ..., 1), largest of 64 rows: {along_ones:.0e}")
print(f"dx along x_hat, largest of 64 rows:       {along_x_hat:.0e}")
print(f"dy along x_hat, for comparison:           {dy_along_x_hat:.0e}")

# %% [markdown]
# The first and the third are zero but for rounding. The second and the fourth are merely small. That is because of $\varepsilon$: with it
# $\frac1C \sum_j \hat x_j^2 = v\,r^2 = \frac{v}{v + \varepsilon}$, a little less than 1, and the stretched row is divided by slightly less than three
# times the root. The formula for `dx` is exact all the same, since its derivation never used $\sum_j \hat x_j^2 = C$. Only the picture did.
#
# **Try it.** What can $\hat x$ be when there are only $C = 2$ channels? What is `dx` then? Think first, then run `ops.layer_norm_forward` and
# `ops.layer_norm_backward` on rows of two.

# %% [markdown] tags=["solution"]
# **About the question.** Two centred numbers are $a$ and $-a$, and their standard deviation is $|a|$, so $\hat x$ is $(1, -1)$ or
# $(-1, 1)$, whatever $x$ was. The output says no more than which of the two is larger, and the derivative of that is zero: two flat directions in a
# space of two dimensions leave nothing. Because of $\varepsilon$, something of size $\varepsilon$ is left. In general, $C - 2$ directions survive: a
# LayerNorm over only a few channels throws a lot away.

# %% [markdown]
# ## Nine lines, five mistakes
# ### 1. The third term is missing
# It is easy to see that the mean moves with each x. It is just as easy to forget that the variance moves too, and a naive gradient check lets that pass. In
# [lesson 03](03_gradient_checking.ipynb) you met the culprit: a `dy` of all ones. With that and a scale of ones, $g = 1$, so
# $g - \operatorname{mean}(g) = 0$ and $\operatorname{mean}(g\,\hat x) = \operatorname{mean}(\hat x) = 0$: the right answer is zero, and so are many wrong
# ones. The package keeps a list of planted faults that it tests its own checker with. Here are those that belong to `dx`, measured with `dy` all ones
# and with a random `dy` in a fresh LayerNorm (scale 1), and with a random `dy` and a random scale:

# %%
planted = (
    faults.variance_term_missing,
    faults.mean_term_missing,
    faults.scale_forgotten_in_dx,
    faults.means_over_the_wrong_axis,
    faults.not_divided_by_the_deviation,
    faults.variance_over_one_less,
)
_, fresh = ops.layer_norm_forward(x, np.ones(32), np.zeros(32))
_, trained = ops.layer_norm_forward(x, scale, bias)
settings = (
    ("ones, scale 1", np.ones(x.shape), fresh),
    ("random, scale 1", dy, fresh),
    ("random, any scale", dy, trained),
)
print(
    f"{'largest error of dx when dy is':<31}"
    + "".join(f"{name:>19}" for name, _, _ in settings)
)
for fault in planted:
    line = f"{fault.__name__.replace('_', ' '):<31}"
    for _, some_dy, some_cache in settings:
        right_dx = ops.layer_norm_backward(some_dy, some_cache)[0]  # (S, B, C)
        error = abs(fault(some_dy, some_cache)[0] - right_dx).max()
        line += f"{'invisible':>19}" if error < 1e-9 else f"{error:>19.2f}"
    print(line)

# %% [markdown]
# All ones cannot see four of the six. One of them, the forgotten scale, stays invisible to a random `dy` as well, as long as the scale is 1, that is,
# until the first step of training. So a check needs random numbers *everywhere*. The package's checker uses them:

# %%
inputs = x[:3, :2, :5], scale[:5], bias[:5]
right = check_operation(ops.layer_norm_forward, ops.layer_norm_backward, *inputs)
wrong = check_operation(ops.layer_norm_forward, faults.variance_term_missing, *inputs)
print("the package's backward passes:", right.passed)
print("without the third term:       ", wrong.passed)
print(wrong.failures[0].sentence())

# %% [markdown]
# ### 2. The variance of a sample
# There are two variances. LayerNorm divides the sum of squares by $C$. A statistician who estimates the variance of a population from a sample
# divides by $C - 1$, and some libraries do that unless you tell them otherwise (`torch.var`; NumPy's `np.var` divides by $C$).

# %%
for channels in (8, 128):
    ratio = np.sqrt(np.var(x.ravel()[:channels]) / np.var(x.ravel()[:channels], ddof=1))
    print(f"C = {channels:3}: every x_hat is {1 - ratio:.1%} too small")

# %% [markdown]
# No gradient check notices this one if the backward pass makes the same choice: a gradient check compares backward with forward, never forward
# with the paper. Training would not suffer. You would notice it only with someone else's weights, because the logits are a little off.
#
# ### 3. eps outside the root
# $\sqrt{v + \varepsilon}$ and $\sqrt v + \varepsilon$ look alike, and for most rows they are nearly the same. For a row that is nearly constant (the
# background of an image) they are not:

# %%
print("deviation of the row    1/sqrt(v + eps)    1/(sqrt(v) + eps)")
for deviation in (1.0, 1e-2, 1e-3, 0.0):
    inside, outside = 1 / np.sqrt(deviation**2 + 1e-6), 1 / (deviation + 1e-6)
    print(f"{deviation:<20g}{inside:>19.6g}{outside:>21.6g}")

# %% [markdown]
# With eps inside, a row is never multiplied by more than a thousand. With eps outside, the factor reaches a million, and noise becomes signal. Worse,
# the derivative of $\sqrt v$ with respect to $v$ is infinite at $v = 0$.
#
# ### 4. The mean over the wrong axis
# When the sizes differ, a wrong axis crashes, or makes an array whose shape does not fit later. With `keepdims=True` it does neither: NumPy subtracts
# a mean over the batch as readily as a mean over the channels. "Means over the wrong axis" in the table above is this mistake, made in the backward
# pass. You already know the test: a row must not depend on the rows beside it.
#
# ### 5. Statistics in too few digits
# There are two ways to lose digits. The first is the textbook's shortcut $v = \operatorname{mean}(x^2) - \operatorname{mean}(x)^2$, which saves a
# pass over the data, but subtracts two large numbers to find a small one. Here it is in float32, with a row far from zero:

# %%
noise = rng.normal(size=512)  # (C,)   deviation about 1
print("mean of the row    shortcut, float32    centred first, float32    float64")
for distance in (0, 100, 10_000):
    row = (distance + noise).astype(np.float32)  # (C,)
    shortcut = np.mean(row * row) - np.mean(row) ** 2
    centred = row - np.mean(row)  # (C,)
    exact = np.var(row.astype(np.float64))
    print(f"{distance:<19}{shortcut:<21.4f}{np.mean(centred * centred):<26.4f}{exact:.4f}")

# %% [markdown]
# The second is float16, in which GPUs often keep activations: its largest number is 65504. The square of any number above 256 is too large for it:

# %%
half = (100 * noise).astype(np.float16)  # (C,)
with np.errstate(over="ignore"):
    centred = half - np.mean(half)  # (C,)   float16
    squares = centred * centred  # (C,)   float16
infinite = np.isinf(squares).sum()
print(f"squares that became infinite in float16: {infinite} of {len(squares)}")

y_half = along_rows(half)  # (C,)   the package computes its statistics in float32
y_exact = along_rows(half.astype(np.float64))  # (C,)
print(f"the package, given float16, is off by {abs(y_half - y_exact).max():.4f}")

# %% [markdown]
# One infinite square makes the variance infinite, `inv_std` zero and the whole row zero. The package computes the statistics of float16 rows in
# float32 (`tinymixer/ops/precision.py`) and rounds only once, at the end.
#
# ## A relative with one term fewer
# RMSNorm (Zhang and Sennrich 2019, [arXiv 1910.07467](https://arxiv.org/abs/1910.07467)) leaves the mean alone, divides only by the rms, and has no bias:
#
# $$r = \Big(\frac1C \sum_k x_k^2 + \varepsilon\Big)^{-1/2}, \qquad \hat x_i = x_i\, r, \qquad y_i = s_i\, \hat x_i .$$
#
# ### Exercise 5.5
# Write both passes, and decide for yourself what goes into the cache. Derive the backward pass first: which of the three paths from $x_i$ to
# $\hat x_j$ are left? In which direction is the loss flat?


# %%
def my_rms_norm_forward(x, scale, eps=1e-6):
    """x (S, B, C), scale (C,)  ->  y (S, B, C), cache (whatever your backward pass needs)"""
    ### BEGIN SOLUTION
    inv_rms = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)  # (S, B, 1)
    x_hat = x * inv_rms  # (S, B, C)
    return scale * x_hat, (x_hat, inv_rms, scale)
    ### END SOLUTION


def my_rms_norm_backward(dy, cache):
    """dy (S, B, C), cache from your forward  ->  dx (S, B, C), dscale (C,)"""
    ### BEGIN SOLUTION
    x_hat, inv_rms, scale = cache
    dscale = (dy * x_hat).sum(axis=(0, 1))  # (C,)
    g = dy * scale  # (S, B, C)
    dx = inv_rms * (g - x_hat * (g * x_hat).mean(axis=-1, keepdims=True))  # (S, B, C)
    return dx, dscale
    ### END SOLUTION


check("5.5", my_rms_norm_forward, my_rms_norm_backward)

# %% [markdown] tags=["solution"]
# **About the derivation.** $\partial r / \partial x_i = -\frac12 r^3 \cdot \frac2C x_i = -\frac1C r^2 \hat x_i$, as before. The product rule
# gives $\partial \hat x_j / \partial x_i = r\,(\delta_{ij} - \hat x_i \hat x_j / C)$: direct, and through the rms. The mean's term is gone, since
# RMSNorm does notice when a number is added to all channels. Only one direction is flat, that of $\hat x$ itself.

# %% [markdown]
# ## The layer
# The package's `LayerNorm` holds `scale` and `bias` and adds to their gradients, as every layer does:

# %%
layer = LayerNorm(32, dtype="float64")
y, cache = layer.forward(x)  # (S, B, C)
dx = layer.backward(dy, cache)  # (S, B, C)
once = layer.parameters.gradient("scale").copy()  # (C,)
layer.backward(dy, cache)
twice = layer.parameters.gradient("scale")  # (C,)
print("scale begins at", np.unique(layer.parameters["scale"]))
print("bias begins at", np.unique(layer.parameters["bias"]))
print("two backward passes add up:", np.allclose(twice, 2 * once))

# %% [markdown]
# A Mixer has two of them in each block, before token mixing and before channel mixing, and one before its head (`pre_head_layer_norm`).

# %% [markdown]
# ## Questions
#
# **1.** By hand we found that $(10, 2, 4, 4)$ becomes $(5, -3, -1, -1)/3$. What do $(20, 4, 8, 8)$ and $(13, 5, 7, 7)$ become?
#
# <details><summary>Answer</summary>
#
# The same row (but for $\varepsilon$). The first is the row stretched by 2 and the second is the row with 3 added. The mean takes out what is added,
# and the division takes out the stretching.
#
# </details>
#
# **2.** `x` has the shape `(16, 32, 64)`. What are the shapes of `inv_std`, `x_hat` and `dscale`, and of the Jacobian of one row?
#
# <details><summary>Answer</summary>
#
# `(16, 32, 1)`, `(16, 32, 64)` and `(64,)`. Each token has one standard deviation, and all tokens share the 64 scales. The Jacobian says how each of
# the 64 outputs moves with each of the 64 inputs: `(64, 64)`.
#
# </details>
#
# **3.** Find the fault: `dx = inv_std * (g - g.mean() - x_hat * (g * x_hat).mean())`. Which test would not notice it?
#
# <details><summary>Answer</summary>
#
# The means have no axis, so they run over all tokens of all images instead of one row's channels. Every token then gets gradients that depend on the
# others. With a single row the two are the same, so a test with only one token passes.
#
# </details>
#
# **4.** A batch has 32 images of 196 tokens with 512 channels each. How many numbers would the Jacobians of all its rows hold? How many means does
# the formula need instead?
#
# <details><summary>Answer</summary>
#
# $32 \cdot 196 = 6{,}272$ rows with $512^2$ numbers each are 1,644,167,168 numbers, 6.6 GB in float32. The formula needs two means per row, 12,544
# numbers. That is why the derivation does not stop at the matrix.
#
# </details>
#
# **5.** Explain to a colleague, without a formula, why the elements of `dx` in one row add up to zero.
#
# <details><summary>Answer</summary>
#
# Add the same small number to all channels of a token: LayerNorm subtracts it again together with the mean. So the output does not move, and neither
# does the loss. The change that the gradient predicts for this movement is the sum of the row's `dx` times that number, so the sum must be zero.
#
# </details>

# %% [markdown]
# ## What you have now
# The nine lines, with means over the channels of each row and sums over all rows:
#
# | forward | backward |
# |---|---|
# | `centred = x - mean(x)` | `dscale = sum(dy * x_hat)` |
# | `inv_std = 1 / sqrt(mean(centred * centred) + eps)` | `dbias = sum(dy)` |
# | `x_hat = centred * inv_std` | `g = dy * scale` |
# | `y = scale * x_hat + bias` | `along = mean(g * x_hat)` |
# | | `dx = inv_std * (g - mean(g) - x_hat * along)` |
#
# And you have a way of thinking that needs no formulas: *where the output does not notice a movement of the input, the gradient has no part along
# it*. In the next lesson it explains another gradient.
#
# **Where the package does this:** `tinymixer/ops/layer_norm.py` (the nine lines), `tinymixer/layers/layer_norm.py` (the layer),
# `tinymixer/gradcheck/planted_faults/layer_norm.py` (nine ways to get it wrong), and on a GPU `tinymixer/kernels/cuda/layer_norm.cu` (the same
# formula, a row per group of threads).
#
# Next: [lesson 06, softmax cross-entropy](06_softmax_cross_entropy.ipynb).
