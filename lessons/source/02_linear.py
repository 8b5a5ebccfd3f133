# %% [markdown]
# # Lesson 02 · Linear, forward and backward
#
# *65 minutes. Before: [lesson 01](01_arrays_and_images.ipynb) (shapes, the matrix product),
# [lesson 01b](01b_chain_rule.ipynb) (partial derivatives, the summation sign, the chain rule).*
#
# Almost all the work of a Mixer is done by one operation: multiply by a matrix of weights, add a bias. If you can run it backwards, you know three
# quarters of backpropagation, the field's name for what a backward pass does. After this lesson you can
#
# * derive the three gradients of a Linear layer from the chain rule alone,
# * write them as two matrix products and a sum,
# * say why gradients are *added* when a weight is used more than once,
# * train a classifier of handwritten digits with them.

# %% [markdown]
# ## Before you begin
#
# **1.** A number reaches the loss along two paths. The local slopes are 3 and 2 along one of them, $-1$ and 4 along the other. What is the slope of
# the loss with respect to that number? (lesson 01b)
#
# <details><summary>Answer</summary>
#
# $3 \cdot 2 + (-1) \cdot 4 = 2$. Multiply along each path, and add up over the paths.
#
# </details>
#
# **2.** `x` has the shape `(5, 4)` and `dy` the shape `(5, 3)`. Which of `x @ dy`, `x.T @ dy` and `x @ dy.T` exist, and what are their shapes? (lesson 01)
#
# <details><summary>Answer</summary>
#
# Only `x.T @ dy`, with the shape `(4, 3)`. A product sums over the last index of the left factor and the first of the right, and these must have the
# same size: 5 and 5 here, but 4 and 5, or 4 and 3, in the other two.
#
# </details>
#
# **3.** There are $K = 4$ classes. What is the one-hot row of label 2, and why do we not train a network to produce the number 2? (lesson 00)
#
# <details><summary>Answer</summary>
#
# `[0, 0, 1, 0]`. A label is a name, not a quantity: class 2 is no nearer to class 1 than to class 0.
#
# </details>

# %%
import numpy as np
from matplotlib.patches import Rectangle

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS
from tinymixer.data import load_dataset
from tinymixer.layers import Linear
from tinymixer.lessons import check, new_figure, show
from tinymixer.lessons.backward_pictures import linear_steps
from tinymixer.lessons.steps import show_steps

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
# A batch of $B$ images is $B$ such rows stacked on top of each other, `x` of shape `(B, I)`. Every row meets the same weights, so one matrix product
# handles them all, and the bias is added to every row:
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
# Training tries to make one number small, the **loss** $L$. Everything that comes after this layer computes it from $y$.
# We don't need to know how. Suppose that those later layers have already told us how $L$ reacts to each of our outputs:
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
# Our one tool is the **chain rule**: if a number $a$ influences $L$ through several outputs, then each path counts, and the paths add up. The sum
# below has a term for every pair $(n, o)$ of a row and an output, $B \cdot O$ terms in all:
#
# $$\frac{\partial L}{\partial a} = \sum_{n,o} \underbrace{\frac{\partial L}{\partial y_{no}}}_{\texttt{dy}_{no}}\;
# \frac{\partial y_{no}}{\partial a} .$$
#
# ## The bias
# Take $a = b_o$. It is added to output $o$ of *every* row, once, so $\partial y_{no} / \partial b_o = 1$ for every $n$, and the other outputs don't
# depend on it. What is left of the chain rule's sum? (With $B = 2$ and $O = 3$, write out its six terms for $a = b_1$, and strike out those that
# $b_1$ has no part in.)
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
# Take $a = W_{io}$, one entry of the table. In the formula for $y_{no}$ it is multiplied by $x_{ni}$, so
# $\partial y_{no} / \partial W_{io} = x_{ni}$. It sits in column $o$ and has no part in the other outputs. Of the chain rule's sum, only the sum over
# the rows is left:
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
# Three nested loops are the definition of a matrix product, but of which one? In $\sum_n x_{ni}\,\texttt{dy}_{no}$ the summed index $n$ is the
# *first* of both factors. A product `a @ b` sums over the *last* index of `a`, so `x` must be transposed: $x^T$ has $n$ last. So
# `dweight = x.T @ dy`: `(I, B) @ (B, O)` is `(I, O)`, the shape of the weights, as it must be.

# %%
print("largest difference between the loops and x.T @ dy:", abs(dweight - x.T @ dy).max())

# %% [markdown]
# ## The input
# Take $a = x_{ni}$. Only row $n$ of the output depends on it. It reaches *every* output of that row, output $o$ with the
# factor $W_{io}$:
#
# $$\frac{\partial L}{\partial x_{ni}} = \sum_{o} \texttt{dy}_{no}\,W_{io} .$$
#
# This time the summed index $o$ is the last of `dy` and the last of `weight`. Which of the two must be transposed so that a matrix product sums over
# it? (Check your answer with the shapes: the result is `(B, I)`.)
#
# ### Exercise 2.3
# Write the whole backward pass. The forward pass leaves what it saw in `cache`, a tuple `(x, weight)`.


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
# ## Watch it move
# Here is the whole backward pass once more, with numbers, for $B = 2$ rows, $I = 3$ inputs and $O = 4$ outputs. Move the slider, or press *next*:
# in each step, the framed numbers are multiplied and added up.

# %%
show_steps(
    linear_steps(
        x=np.array([[1.0, 2, -1], [3, 0, 2]]),  # (B, I)
        weight=np.array([[1.0, 0, 2, -1], [-1, 3, 1, 0], [0, 1, -2, 2]]),  # (I, O)
        dy=np.array([[1.0, -2, 0, 1], [2, 1, -1, 3]]),  # (B, O)
    ),
    alt="Six tables of numbers. Above: x (2, 3), weight (3, 4) and dy (2, 4). Below: dx (2, 3), whose rows are 0, -7, 0 and "
    "-3, 0, 9; dweight (3, 4), whose rows are 7, 1, -3, 10 and 2, -4, 0, 2 and 3, 4, -2, 5; dbias 3, -1, -1, 4.",
)

# %% [markdown]
# ## Does it hold up?
# A derivative makes a promise: change a weight by a small $h$, and the loss changes by about `dweight` times $h$. Let us hold the package's backward
# pass to that promise, with a loss that is easy to differentiate, $L = \frac12 \sum y_{no}^2$, for
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
axis.plot(steps, losses, color=COLOURS[0], label="the loss, computed anew")
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
# In $y = (x W) W$ the same square matrix is applied twice. The chain rule, *the paths add up*, tells us what to do: pretend that there are two
# matrices, find the gradient of each, and add the two.
#
# ### Exercise 2.4
# Write the backward pass of `y = (x @ weight) @ weight`. The cache holds `x` and `weight`; recompute whatever else you need.


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
# This is why layers in the package *add* into their gradients (`+=`) and never overwrite them, and why the gradient of a batch is the sum over its
# images: each image is one more use of the same weights.
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
# This is enough to learn something. The bundled digits are 8 x 8 images; flattened, each is a row of 64 numbers. One Linear layer with ten outputs
# has to say which digit it is: the largest output wins. As the loss we take half the mean squared distance to the *one-hot* target, a row with 1 at
# the right digit and 0 elsewhere. (Lesson 06 brings a better loss.)
#
# $$L = \frac{1}{2B}\sum_{n,o} (y_{no} - t_{no})^2 \quad\Rightarrow\quad \texttt{dy}_{no} = \frac{1}{B}\,(y_{no} - t_{no})$$
#
# The layer is the package's `Linear`. Its backward pass is the one you wrote, and it adds the gradients into
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
# Each column of the weights, folded back to 8 x 8, is a template: where it is blue, ink speaks for the digit; where it is red, ink speaks against it.
# The middle of the 0 is red. A single Linear layer can do no more than compare an image with ten templates. Doing better takes two Linears with
# something bent in between ([lesson 04](04_gelu.ipynb)).
#
# **Try it.** What happens with a step of 0.3 instead of 0.15, and why? Which digit is misread most often, and what is it taken for?

# %% [markdown] tags=["solution"]
# **About the questions.** With a step of 0.3 the weights jump over the bottom of the valley and land higher on its other side. The
# loss grows from step to step until it is infinite (NumPy warns of an `overflow`). The picture in "Does it hold up?" shows why: far from zero, the
# gradient's promise is worthless. [Lesson 10](10_training.ipynb) finds the largest step that works. The confusions are in
# `guess = layer.forward(test_x)[0].argmax(axis=1)`: compare it with `digits.test_labels` where they differ. 8 is misread most often, and taken for 1
# or 6. One template cannot fit all the ways to write an 8.

# %% [markdown]
# ## Questions
#
# **1.** `x` has the shape `(32, 64)` and `weight` the shape `(64, 10)`. What are the shapes of `y`, `dx`, `dweight` and `dbias`?
#
# <details><summary>Answer</summary>
#
# `y` is `(32, 10)`. The gradients have the shapes of what they belong to: `dx` is `(32, 64)`, `dweight` is `(64, 10)` and `dbias` is `(10,)`.
#
# </details>
#
# **2.** Every image of a batch is put into it twice. What happens to `dweight` if each row of `dy` stays as it is? And if the loss is a mean over
# the batch?
#
# <details><summary>Answer</summary>
#
# It doubles, because it is a sum over the rows and each term now occurs twice. With a mean, each row of `dy` has the factor $1/(2B)$ instead of
# $1/B$. Then the two changes cancel, and `dweight` is the same as before.
#
# </details>
#
# **3.** Find the fault: a colleague writes `dweight = dy.T @ x`. All tests pass, since they use a `Linear` with 64 inputs and 64 outputs. Which test
# would have failed?
#
# <details><summary>Answer</summary>
#
# The result is the transposed gradient, with the shape `(O, I)`. In a square layer the shape fits anyway, and nothing crashes. Any test with
# different numbers of inputs and outputs finds it, and so does a comparison with a few small steps.
#
# </details>
#
# **4.** A batch of 1,437 images goes through a `Linear` of 64 inputs and 10 outputs. How many multiplications does the forward pass take, and how
# many the whole backward pass? Which part of the backward pass does the classifier of this lesson not need?
#
# <details><summary>Answer</summary>
#
# Forward it is $1437 \cdot 64 \cdot 10 = 919{,}680$. Backward there are two products of the same size, 1,839,360 multiplications. The classifier
# does not need `dx`, because nothing comes before its only layer.
#
# </details>
#
# **5.** Explain to a colleague why `dbias` and `dweight` are sums over the batch, but `dx` is not.
#
# <details><summary>Answer</summary>
#
# All rows share the weights and the bias. Each row is one more path from them to the loss, and the paths add up. A number in `x` belongs to one row
# alone, so it reaches only that row's outputs. Its sum runs over these instead.
#
# </details>

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
# The shapes alone nearly force the answer: only one way to put `dy`, `x` and `weight` together fits. But only *nearly*: with square matrices, wrong
# answers fit as well, and nothing crashes. So in the next lesson you learn to catch them.
#
# **Where the package does this:** `tinymixer/ops/linear.py` (the same lines, for any number of leading axes),
# `tinymixer/layers/linear.py` (the layer that holds the parameters), `tests/ops` and `tests/gradcheck` (which check them).
#
# Next: [lesson 03, gradient checking](03_gradient_checking.ipynb).
