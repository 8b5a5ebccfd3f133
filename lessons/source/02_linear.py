# %% [markdown]
# # Lesson 02 · Linear, forward and backward
#
# *55 minutes. Before: [lesson 01](01_arrays_and_images.ipynb) (shapes, the matrix product),
# [lesson 01b](01b_chain_rule.ipynb) (partial derivatives, the summation sign, the chain rule).*
#
# Almost all the work of a Mixer is done by one operation: multiply by a matrix of weights, add a bias. If you can
# run it backwards, you know three quarters of backpropagation. After this lesson you can
#
# * derive the three gradients of a Linear layer with nothing but the chain rule,
# * write them as two matrix products and a sum,
# * say why gradients are *added* when a weight is used more than once,
# * train a classifier of handwritten digits with them.

# %%
import numpy as np
from matplotlib.patches import Rectangle

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS
from tinymixer.data import load_dataset
from tinymixer.layers import Linear
from tinymixer.lessons import check, new_figure, show

# %% [markdown]
# ## Forward
# A Linear layer has a table of weights $W$ with a row per input and a column per output, and a bias $b$ with one number
# per output. One image, written as a row $x$ of $I$ numbers, becomes a row $y$ of $O$ numbers:
#
# $$y_o = \sum_{i} x_i\,W_{io} + b_o .$$
#
# With $I = 3$ inputs and $O = 2$ outputs, by hand:

# %%
x = np.array([[1.0, 2.0, 3.0]])  # (1, I)   one image with three numbers
weight = np.array([[0.1, 1.0], [0.2, 0.0], [0.3, -1.0]])  # (I, O)
bias = np.array([10.0, 20.0])  # (O,)

by_hand = [
    1.0 * 0.1 + 2.0 * 0.2 + 3.0 * 0.3 + 10.0,
    1.0 * 1.0 + 2.0 * 0.0 + 3.0 * -1.0 + 20.0,
]
print("by hand:        ", by_hand)
print("matrix product: ", x @ weight + bias)

# %% [markdown]
# A batch of $B$ images is $B$ such rows on top of each other, `x` of shape `(B, I)`. Every row meets the same weights, so
# one matrix product does them all, and the bias is added to every row:
#
# $$y_{no} = \sum_{i} x_{ni}\,W_{io} + b_o , \qquad n = 0, \dots, B-1 .$$
#
# ### Exercise 2.1
# Write the forward pass. One line is enough.


# %%
def my_linear_forward(x, weight, bias):
    """x (B, I), weight (I, O), bias (O,)  ->  y (B, O)"""
    ### BEGIN SOLUTION
    return x @ weight + bias  # (B, O)
    ### END SOLUTION


check("2.1", my_linear_forward)

# %% [markdown]
# ## What "backward" asks
# Training has one number to make small, the **loss** $L$. It is computed from $y$ by everything that comes after this layer.
# We don't need to know how. Suppose that those later layers already told us how $L$ reacts to each of our outputs:
#
# $$\texttt{dy}_{no} = \frac{\partial L}{\partial y_{no}} .$$
#
# ($\partial$ marks a partial derivative: the slope of $L$ when this one number moves and all others stay, lesson 01b.)
# That is all `dy` means, here and in the whole package: *the derivative of the loss with respect to y*, an array of the same shape as `y`.
# Our task is to pass the question on. From `dy` we must find
#
# | name | meaning | shape | who wants it |
# |---|---|---|---|
# | `dx` | $\partial L/\partial x_{ni}$ | `(B, I)`, like `x` | the layer before us |
# | `dweight` | $\partial L/\partial W_{io}$ | `(I, O)`, like `weight` | the optimizer |
# | `dbias` | $\partial L/\partial b_o$ | `(O,)`, like `bias` | the optimizer |
#
# The one tool is the **chain rule**: if a number $a$ influences $L$ through several outputs, then each way counts, and the
# ways add up. The sum below has a term for every pair $(n, o)$ of a row and an output, $B \cdot O$ terms in all:
#
# $$\frac{\partial L}{\partial a} = \sum_{n,o} \underbrace{\frac{\partial L}{\partial y_{no}}}_{\texttt{dy}_{no}}\;
# \frac{\partial y_{no}}{\partial a} .$$
#
# ## The bias
# Take $a = b_o$. It is added to output $o$ of *every* row, once, so $\partial y_{no} / \partial b_o = 1$ for every $n$, and
# the other outputs don't know it. What is left of the chain rule's sum? (With $B = 2$ and $O = 3$, write its six terms out for $a = b_1$, and
# strike those in which $b_1$ has no part.)
#
# ### Exercise 2.2
# Write the gradient of the bias.


# %%
def my_bias_gradient(dy):
    """dy (B, O)  ->  dbias (O,)"""
    ### BEGIN SOLUTION
    return dy.sum(axis=0)  # (O,)   every row shares the bias
    ### END SOLUTION


check("2.2", my_bias_gradient)

# %% [markdown]
# ## The weights
# Take $a = W_{io}$, one entry of the table. In the formula for $y_{no}$ it is multiplied by $x_{ni}$, so that
# $\partial y_{no} / \partial W_{io} = x_{ni}$. It sits in column $o$ and has no part in the other outputs. The chain rule's
# sum keeps its sum over rows only:
#
# $$\frac{\partial L}{\partial W_{io}} = \sum_{n} x_{ni}\;\texttt{dy}_{no} .$$
#
# Read it slowly: column $i$ of `x` and column $o$ of `dy`, multiplied element by element and added up. The picture shows
# which numbers meet in one entry of `dweight`.

# %%
rng = np.random.default_rng(0)
B, I, O = 5, 4, 3
x, dy = rng.integers(-3, 4, size=(B, I)), rng.integers(-3, 4, size=(B, O))
dweight = np.zeros((I, O), dtype=int)
for i in range(I):
    for o in range(O):
        for n in range(B):
            dweight[i, o] += x[n, i] * dy[n, o]


def draw_table(axis, values, title, column, rows):
    """A table of numbers, with a frame around some rows of one column."""
    limit = abs(values).max()
    axis.imshow(values, cmap="RdBu", vmin=-1.6 * limit, vmax=1.6 * limit)
    for (row, other), value in np.ndenumerate(values):
        axis.text(other, row, value, ha="center", va="center", color="black")
    frame = {"fill": False, "edgecolor": COLOURS[1], "linewidth": 4, "clip_on": False}
    axis.add_patch(Rectangle((column - 0.5, rows.start - 0.5), 1, len(rows), **frame))
    axis.set_title(title)
    axis.axis("off")


i, o = 1, 2
figure, axes = new_figure(1, 3, width=6, height=2.4)
draw_table(axes[0], x, f"column {i} of x (B, I)", i, range(B))
draw_table(axes[1], dy, f"column {o} of dy (B, O)", o, range(B))
draw_table(axes[2], dweight, f"dweight[{i}, {o}]", o, range(i, i + 1))
alt = "Framed: column 1 of x and column 2 of dy. Their products add up to entry (1, 2) of dweight."
show(figure, alt)
products = " + ".join(f"({x[n, i]})({dy[n, o]})" for n in range(B))
print(f"dweight[{i}, {o}] = {products} = {dweight[i, o]}")

# %% [markdown]
# Three nested loops are the definition of a matrix product, but of which one? In $\sum_n x_{ni}\,\texttt{dy}_{no}$ the summed
# index $n$ is the *first* of both factors. A product `a @ b` sums over the *last* index of `a`, so `x` must be turned: $x^T$ has
# $n$ last. So `dweight = x.T @ dy`: `(I, B) @ (B, O)` is `(I, O)`, the shape of the weights, as it must be.

# %%
print("largest difference between the loops and x.T @ dy:", abs(dweight - x.T @ dy).max())

# %% [markdown]
# ## The input
# Take $a = x_{ni}$. Row $n$ of the output sees it, no other row. It reaches *every* output of that row, output $o$ with the
# factor $W_{io}$:
#
# $$\frac{\partial L}{\partial x_{ni}} = \sum_{o} \texttt{dy}_{no}\,W_{io} .$$
#
# This time the summed index $o$ is the last of `dy` and the last of `weight`. Which of the two must be turned so that a
# matrix product sums over it? (Check your answer with the shapes: the result is `(B, I)`.)
#
# ### Exercise 2.3
# Write the whole backward pass. What the forward pass saw is handed over in `cache`, a tuple `(x, weight)`.


# %%
def my_linear_backward(dy, cache):
    """dy (B, O), cache (x, weight)  ->  dx (B, I), dweight (I, O), dbias (O,)"""
    x, weight = cache
    ### BEGIN SOLUTION
    dx = dy @ weight.T  # (B, I)
    dweight = x.T @ dy  # (I, O)
    dbias = dy.sum(axis=0)  # (O,)
    return dx, dweight, dbias
    ### END SOLUTION


check("2.3", my_linear_backward)

# %% [markdown]
# ## Does nature agree?
# A derivative makes a promise: change a weight by a little $h$ and the loss changes by about `dweight` times $h$. Let us
# hold the package's backward pass to it, with a loss that is easy to differentiate, $L = \frac12 \sum y_{no}^2$, for
# which $\texttt{dy} = y$.

# %%
x, weight, bias = rng.normal(size=(B, I)), rng.normal(size=(I, O)), rng.normal(size=O)


def loss_with_weight_moved_by(h):
    """The loss after entry (1, 2) of the weight has grown by h."""
    moved = weight.copy()
    moved[1, 2] += h
    y, _ = ops.linear_forward(x, moved, bias)
    return 0.5 * np.sum(y * y)


y, cache = ops.linear_forward(x, weight, bias)
dx, dweight, dbias = ops.linear_backward(y, cache)  # dy is y for this loss

steps = np.linspace(-1, 1, 41)
losses = [loss_with_weight_moved_by(h) for h in steps]
start = loss_with_weight_moved_by(0)

figure, axis = new_figure(width=5.5, height=3)
axis.plot(steps, losses, color=COLOURS[0], label="loss, computed again")
axis.plot(
    steps,
    start + dweight[1, 2] * steps,
    color=COLOURS[1],
    linestyle="--",
    label="what the gradient predicts",
)
axis.set_xlabel("change of weight[1, 2]")
axis.set_ylabel("loss")
axis.legend()
show(
    figure,
    alt="The loss is a parabola in one weight; the gradient's straight line touches it where the change is zero.",
)
print(f"slope from the backward pass: {dweight[1, 2]:.6f}")
print(
    f"slope from a tiny step:       {(loss_with_weight_moved_by(1e-6) - start) / 1e-6:.6f}"
)

# %% [markdown]
# The line touches the curve at zero: the gradient is right *there*, and only near there. That is why training takes many
# small steps, and it is the whole idea of gradient checking, the subject of [lesson 03](03_gradient_checking.ipynb).
#
# ## A weight that is used twice
# In $y = (x W) W$ the same square matrix is applied twice. The chain rule's rule, *the ways add up*, tells what to do: pretend
# that they were two matrices, find the gradient for each, and add the two.
#
# ### Exercise 2.4
# Write the backward pass of `y = (x @ weight) @ weight`. The cache holds `x` and `weight`; compute again what else you need.


# %%
def my_twice_backward(dy, cache):
    """dy (B, I), cache (x, weight) with weight (I, I)  ->  dx (B, I), dweight (I, I)"""
    x, weight = cache
    ### BEGIN SOLUTION
    hidden = x @ weight  # (B, I)   what entered the second product
    dhidden = dy @ weight.T  # (B, I)
    dweight = hidden.T @ dy + x.T @ dhidden  # (I, I)   second use, plus first use
    dx = dhidden @ weight.T  # (B, I)
    return dx, dweight
    ### END SOLUTION


check("2.4", my_twice_backward)

# %% [markdown]
# This is why layers in the package *add* into their gradients (`+=`) and never overwrite them, and why a batch's
# gradient is the sum over its images: each image is one more use of the same weights.
#
# ## Two products, not one
# Forward is one matrix product. Backward is two, `dx` and `dweight`, of the same size. So a backward pass costs about
# twice a forward pass, and a training step about three times what a prediction costs. That holds for every network in this course.

# %%
import time


def milliseconds(function, *arguments):
    """The fastest of seven runs."""
    times = []
    for _ in range(7):
        started = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


x = rng.normal(size=(4096, 256)).astype(np.float32)
weight, bias = rng.normal(size=(256, 256)).astype(np.float32), np.zeros(256, np.float32)
y, cache = ops.linear_forward(x, weight, bias)
forward, backward = (
    milliseconds(ops.linear_forward, x, weight, bias),
    milliseconds(ops.linear_backward, y, cache),
)
print(
    f"forward {forward:.1f} ms, backward {backward:.1f} ms: {backward / forward:.1f} times as long"
)

# %% [markdown]
# ## A first classifier
# Enough to learn something. The bundled digits are 8 x 8 images; flattened, each is a row of 64 numbers. One Linear layer
# with ten outputs is to say which digit it is: the largest output wins. As loss we take the mean squared
# distance to the *one-hot* target, a row with 1 at the right digit and 0 elsewhere. (Lesson 06 brings a better loss.)
#
# $$L = \frac{1}{2B}\sum_{n,o} (y_{no} - t_{no})^2 \quad\Rightarrow\quad \texttt{dy}_{no} = \frac{1}{B}\,(y_{no} - t_{no})$$
#
# The layer is the package's `Linear`. Its backward pass is the one you wrote, and adds the gradients into
# `layer.parameters.gradients`.

# %%
digits = load_dataset("digits")
train_x = digits.train_images.reshape(-1, 64) / np.float32(255)  # (1437, 64)
test_x = digits.test_images.reshape(-1, 64) / np.float32(255)  # (360, 64)
target = np.eye(10, dtype=np.float32)[digits.train_labels]  # (1437, 10)

layer = Linear(64, 10)
layer.parameters.values[...] = 0  # one layer alone may start at zero; two would never part
test_accuracy = []
for _step in range(300):
    y, cache = layer.forward(train_x)  # (1437, 10)
    dy = (y - target) / len(y)  # (1437, 10)
    layer.parameters.zero_gradients()
    layer.backward(dy, cache)
    layer.parameters.values[...] -= 0.15 * layer.parameters.gradients  # one step downhill
    test_accuracy.append(
        np.mean(layer.forward(test_x)[0].argmax(axis=1) == digits.test_labels)
    )

print(f"test accuracy after 300 steps: {test_accuracy[-1]:.1%}")

# %%
figure, axes = new_figure(2, 5, width=7.5, height=3.4)
limit = abs(layer.parameters["weight"]).max()
for digit, axis in enumerate(axes.flat):
    template = layer.parameters["weight"][:, digit].reshape(8, 8)
    axis.imshow(template, cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set_title(f"weights of '{digit}'")
    axis.axis("off")
show(
    figure,
    alt="Ten 8 by 8 pictures of weights: blue where ink speaks for a digit, red where it speaks against it.",
)

# %% [markdown]
# Each column of the weights, folded back to 8 x 8, is a template: where it is blue, ink speaks for the digit; where red, against it.
# The middle of the 0 is red. A single Linear layer can do no more than that: compare with ten templates. To do better,
# it takes two Linears with something bent in between ([lesson 04](04_gelu.ipynb)).
#
# **Try it.** What happens with a step of 0.3 in place of 0.15, and why? Which digit is missed most often, and what is it taken for?

# %% [markdown] tags=["solution"]
# **About the questions.** With a step of 0.3 the weights jump over the bottom of the valley and land higher on its other side. The
# loss grows from step to step until it is infinite (NumPy warns of an `overflow`). The picture in "Does nature agree?" shows why: far from
# zero the gradient's promise is worthless. [Lesson 10](10_training.ipynb) finds the largest step that works. The confusions are in
# `guess = layer.forward(test_x)[0].argmax(axis=1)`: compare it with `digits.test_labels` where they differ. 8 is missed most often, and taken
# for 1 or 6. One template cannot fit all the ways to write an 8.

# %% [markdown]
# ## What you have now
# For $y = xW + b$:
#
# | gradient | sum over | in code | shape |
# |---|---|---|---|
# | `dx` | outputs | `dy @ weight.T` | `(B, I)` |
# | `dweight` | rows | `x.T @ dy` | `(I, O)` |
# | `dbias` | rows | `dy.sum(axis=0)` | `(O,)` |
#
# The shapes alone nearly force the answer: only one way to put `dy`, `x` and `weight` together fits. But *nearly*: with
# square matrices wrong answers fit as well, and nothing crashes. So the next lesson learns to catch them.
#
# **Where the package does this:** `tinymixer/ops/linear.py` (the same lines, for any number of leading axes),
# `tinymixer/layers/linear.py` (the layer that holds the parameters), `tests/ops` and `tests/gradcheck` (which check them).
#
# Next: [lesson 03, gradient checking](03_gradient_checking.ipynb).
