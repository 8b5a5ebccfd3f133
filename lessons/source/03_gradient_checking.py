# %% [markdown]
# # Lesson 03 · Gradient checking, and how a check can lie
#
# *100 minutes. Before: [lesson 02](02_linear.ipynb) (what `dy` means, forward and backward of a Linear layer).*
#
# A wrong gradient does not crash. Often the network even learns with it. The one test that needs no reference is to ask the forward pass itself: move
# an input a little and see how far the output moves. The test takes ten lines, and there are at least five ways to write it so that it calls a wrong
# gradient right. After this lesson you can
#
# * estimate a derivative from two evaluations, and say how many of its digits are right,
# * check every element of a gradient, or a million of them along one direction,
# * say how a check with all ones, in float32 or at a single index can lie, and write one that doesn't,
# * run the package's checker on a layer of your own.

# %% [markdown]
# ## Before you begin
#
# **1.** Entry $(i, o)$ of `dweight` is a sum. Over what does it run, and why? (lesson 02)
#
# <details><summary>Answer</summary>
#
# It runs over the rows of the batch: $\sum_n x_{ni}\,\texttt{dy}_{no}$. The weight $W_{io}$ is used once for every row, and each use is one path to
# the loss.
#
# </details>
#
# **2.** $f(a, b) = a\,b^2$ has the slopes 4 and 12 with respect to $a$ and $b$ at $a = 3$, $b = 2$. About how far does $f$ move if $a$ grows by 0.01
# and $b$ *falls* by 0.01? (lesson 01b)
#
# <details><summary>Answer</summary>
#
# By about $4 \cdot 0.01 - 12 \cdot 0.01 = -0.08$: for small steps the moves add up. Exactly, it is $3.01 \cdot 1.99^2 - 12 = -0.0801$.
#
# </details>
#
# **3.** How many decimal digits does a `float32` hold, and how many does a `float64`? (lesson 01)
#
# <details><summary>Answer</summary>
#
# About 7 and about 16. Training needs no more than 7, and half the bytes are moved in half the time. In this lesson you see what happens when you
# subtract two numbers of which only 7 digits are known.
#
# </details>

# %%
import math

import numpy as np

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS
from tinymixer.data import load_dataset
from tinymixer.gradcheck.planted_faults import layer_norm, linear
from tinymixer.layers import Linear
from tinymixer.lessons import check, new_figure, show

# %% [markdown]
# ## A wrong gradient that learns
# Two small networks are trained on 500 digits: Linear, LayerNorm, Linear. LayerNorm takes a row of numbers, subtracts their
# mean and divides by their standard deviation (their typical distance from the mean); [lesson 05](05_layer_norm.ipynb) derives its gradient, which has three
# terms. The networks start from the same weights and differ in one thing: in the second, the third term is missing. The package keeps a collection of
# such wrong backward passes, called *planted faults*; this one is `variance_term_missing`.

# %%
digits = load_dataset("digits")
images = digits.train_images[:500].reshape(500, 64) / np.float32(255)  # (500, 64)
target = np.eye(10, dtype=np.float32)[digits.train_labels[:500]]  # (500, 10)
scale, bias = np.ones(32, np.float32), np.zeros(32, np.float32)  # (32,), (32,)


def losses_with(layer_norm_backward):
    """Train for 100 steps and return the loss before each."""
    first, second = Linear(64, 32, seed=0), Linear(32, 10, seed=1)
    losses = []
    for _ in range(100):
        hidden, first_cache = first.forward(images)  # (500, 32)
        normed, norm_cache = ops.layer_norm_forward(hidden, scale, bias)  # (500, 32)
        y, second_cache = second.forward(normed)  # (500, 10)
        losses.append(np.sum((y - target) ** 2) / (2 * len(y)))
        first.parameters.zero_gradients()
        second.parameters.zero_gradients()
        dnormed = second.backward((y - target) / len(y), second_cache)  # (500, 32)
        dhidden, _, _ = layer_norm_backward(dnormed, norm_cache)  # (500, 32)
        first.backward(dhidden, first_cache)
        for layer in (first, second):
            layer.parameters.values[...] -= 0.03 * layer.parameters.gradients
    return losses


right = losses_with(ops.layer_norm_backward)
wrong = losses_with(layer_norm.variance_term_missing)

figure, axis = new_figure(width=5.5, height=2.6)
axis.semilogy(right, color=COLOURS[0], label="right gradient")
axis.semilogy(wrong, color=COLOURS[1], linestyle="--", label="third term missing")
axis.set_xlabel("step")
axis.set_ylabel("loss")
axis.legend()
show(
    figure,
    alt="Both losses fall. With the wrong gradient the loss jumps at first and ends lower.",
)
print(f"after 100 steps: right {right[-1]:.3f}, third term missing {wrong[-1]:.3f}")

# %% [markdown]
# Both learn. The wrong one jumps at first, and then even pulls ahead. A falling loss proves nothing: any direction that points roughly downhill makes
# it fall, and nobody looks for a mistake in a layer that "works". So let us measure.
#
# ## A derivative from two evaluations
# Let $f$ be a function of one number $x$, with derivatives $f'$, $f''$, $f'''$: the slope, the slope of the slope, and the slope of that. Near $x$ it is a
# *Taylor series* in the step $h$, a sum of ever smaller corrections:
#
# $$f(x+h) = f(x) + h f'(x) + \tfrac{h^2}{2} f''(x) + \tfrac{h^3}{6} f'''(x) + \dots$$
#
# Solved for $f'$, this is the **forward difference**:
#
# $$\frac{f(x+h) - f(x)}{h} = f'(x) + \tfrac{h}{2} f''(x) + \dots$$
#
# It is off by a multiple of $h$. Now take a step to the left as well. There $h$ changes its sign, and so do the odd terms:
#
# $$f(x-h) = f(x) - h f'(x) + \tfrac{h^2}{2} f''(x) - \tfrac{h^3}{6} f'''(x) + \dots$$
#
# Subtract: the even terms cancel, the odd ones double. Divided by $2h$, this is the **central difference**:
#
# $$\frac{f(x+h) - f(x-h)}{2h} = f'(x) + \tfrac{h^2}{6} f'''(x) + \dots$$
#
# It is off by a multiple of $h^2$: a tenth of the step, a hundredth of the error.
#
# ### Exercise 3.1
# Write the central difference.


# %%
def my_central_difference(f, x, h):
    """f a function of one number, x a number, h the step  ->  the slope of f at x"""
    ### BEGIN SOLUTION
    return (f(x + h) - f(x - h)) / (2 * h)
    ### END SOLUTION


check("3.1", my_central_difference)

# %% [markdown]
# ## How small should the step be?
# As small as possible, says Taylor. Let us see, with $f = \sin$ at $x = 1$, whose derivative $\cos 1$ we know.

# %%
steps = 10.0 ** np.linspace(-1, -13, 97)
true_slope = math.cos(1.0)


def slopes(x, h):
    """The forward and the central difference of sin, computed in the dtype of x and h."""
    forward = (np.sin(x + h) - np.sin(x)) / h
    central = (np.sin(x + h) - np.sin(x - h)) / (2 * h)
    return forward, central


wide_forward, wide_central = slopes(np.float64(1), steps)
_, narrow_central = slopes(np.float32(1), steps.astype(np.float32))
curves = (
    ("forward, float64", wide_forward, COLOURS[1]),
    ("central, float64", wide_central, COLOURS[0]),
    ("central, float32", narrow_central, COLOURS[3]),
)
figure, axis = new_figure(width=6.5, height=3.6)
for label, values, colour in curves:
    axis.loglog(steps, abs(values - true_slope) + 1e-17, color=colour, label=label)
axis.set_xlabel("step h")
axis.set_ylabel("error of the slope")
axis.set_xlim(0.2, 1e-13)
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    figure,
    alt="Error over the step, on log axes. As the step shrinks each curve first falls, then "
    "rises: float32 turns near 1e-2, the central difference near 1e-5, the forward near 1e-8.",
)
for label, values, _ in curves:
    print(f"{label}: at h = 1e-3 off by {abs(values - true_slope)[16]:.0e}")

# %% [markdown]
# From left to right the step shrinks. Each curve falls as Taylor promised, with slope 1 (forward) or 2 (central) on these
# axes. Then it turns and *rises*. The reason is rounding. A computer keeps only the leading digits of $f(x)$, so each value is off by up to $u\,|f|$,
# with $u = 2^{-53} \approx 1.1 \cdot 10^{-16}$ in float64 and $u = 2^{-24} \approx 6 \cdot 10^{-8}$ in float32.
# The difference of two such values may be off by $2u|f|$, and is then divided by the small number $2h$. Both errors together, for
# the central difference:
#
# $$E(h) = \underbrace{\frac{u\,|f|}{h}}_{\text{rounding}} + \underbrace{\frac{h^2}{6}\,|f'''|}_{\text{Taylor}} .$$
#
# It is smallest where its derivative with respect to $h$ vanishes:
#
# $$-\frac{u\,|f|}{h^2} + \frac{h}{3}\,|f'''| = 0 \quad\Rightarrow\quad h = \left(\frac{3u\,|f|}{|f'''|}\right)^{1/3} .$$
#
# Where $f$ and $f'''$ are of ordinary size, that is about the cube root of $u$, and then $E$ is one and a half times $u / h$:
#
# | | $u$ | best $h$, about | error there, about |
# |---|---|---|---|
# | float64 | $10^{-16}$ | $10^{-5}$ | $10^{-11}$ |
# | float32 | $6 \cdot 10^{-8}$ | $4 \cdot 10^{-3}$ | $10^{-5}$ |
#
# So: central differences, float64, $h = 10^{-5}$. And float32 can never be checked well: at $h = 10^{-5}$, which suits float64, only about three of
# its digits are left.

# %% [markdown]
# ## The complex step
# There is a way past the wall. It takes *complex numbers*. A complex number $a + ib$ is two numbers in one, its real part $a$ and its imaginary part
# $b$; we calculate with it as usual, and write $-1$ wherever $i^2$ appears. The trouble was the subtraction of two numbers that are nearly the same.
# Take instead one step along the *imaginary* axis, with $i^2 = -1$, $i^3 = -i$:
#
# $$f(x + ih) = f(x) + i h f'(x) - \tfrac{h^2}{2} f''(x) - i\,\tfrac{h^3}{6} f'''(x) + \dots$$
#
# $f(x)$ and $h f'(x)$ are in different parts of one complex number: nothing is subtracted. Divide the imaginary part, written $\operatorname{Im}$, by $h$:
#
# $$\frac{\operatorname{Im} f(x + ih)}{h} = f'(x) - \tfrac{h^2}{6} f'''(x) + \dots$$
#
# Since there is no rounding wall, $h$ may be $10^{-30}$. Its square is negligible next to anything. (Squire and Trapp 1998,
# *Using complex variables to estimate derivatives of real functions*.)
#
# ### Exercise 3.2
# Write the complex step with $h = 10^{-30}$. Python writes $i$ as `1j`.


# %%
def my_complex_step(f, x):
    """f works element by element, x a number or an array (...)  ->  the slope of f at each x, (...), real"""
    ### BEGIN SOLUTION
    h = 1e-30
    return np.imag(f(x + 1j * h)) / h  # (...)
    ### END SOLUTION


check("3.2", my_complex_step)

# %% [markdown]
# How good is it, and what does it require? The function must accept complex numbers, and it must be *analytic*: made of
# $+$, $\cdot$, $/$, $\exp$, $\tanh$ and the like. Some functions silently lose the imaginary part.

# %%
point = 1.0 + 1e-30j
print(f"complex step of sin: off by {abs(np.sin(point).imag / 1e-30 - true_slope):.0e}")

x = np.array([-1.0, 1.0])
moved = x + 1e-30j
_, cache = ops.gelu_erf_forward(x)
examples = (
    ("|x|", np.abs(moved), np.sign(x)),
    ("x * conj(x)", moved * moved.conj(), 2 * x),
    (
        "exact GELU",
        ops.gelu_erf_forward(moved)[0],
        ops.gelu_erf_backward(np.ones(2), cache),
    ),
)
print(f"\n{'at x = -1 and 1':<18}{'complex step says':<20}true slopes")
for name, value, slope in examples:
    print(f"{name:<18}{np.round(np.imag(value) / 1e-30, 3)!s:<20}{np.round(slope, 3)}")
try:
    math.exp(point)
except TypeError as error:
    print("\nmath.exp refuses:", error)

# %% [markdown]
# `abs` of a complex number is its length, a real number: the derivative is gone, and the answer is 0. In the exact GELU (lesson 04) only a part of it
# is lost, because a helper deep inside (`tinymixer/ops/normal_distribution.py`) takes `abs(x)`: the answer looks plausible and is wrong.
# `.astype(float)` loses it, too. Comparisons are a matter of luck: Python refuses `1j > 0`, while NumPy compares the real parts first, so
# `x * (x > 0)` works.
#
# So the complex step is a superb second witness, but never the only one: believe it where central differences confirm its leading digits.
#
# ## A whole gradient
# An operation has many inputs and many outputs, and a backward pass answers one question about them: *given `dy`, what is `dx`?* To check it, we
# must choose some `dy` (it is then called the **cotangent**), and with it a loss whose derivative with respect to $y$ is exactly this `dy`:
#
# $$L(x) = \sum_o \texttt{dy}_o\; y_o(x), \qquad \frac{\partial L}{\partial y_o} = \texttt{dy}_o .$$
#
# The sum runs over all elements $o$ of the output. `dy` stays fixed while $x$ moves. Then `dx` must be the derivative of this one number with respect
# to each element of $x$, and central differences can measure that: one element moves, all others stay.
#
# ### Exercise 3.3
# Write the numerical gradient. `forward(x)` returns `y, cache` like every operation of the package; `np.ndindex(x.shape)` goes
# through all indices of an array. Leave `x` itself as it is: it belongs to the caller.


# %%
def my_numerical_gradient(forward, x, dy, h=1e-5):
    """forward(x) -> y, cache; x (...), dy (like y)  ->  dx (...), the derivatives of sum(dy * y)"""
    ### BEGIN SOLUTION
    dx = np.zeros_like(x)  # (...)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)  # (...)
        step[index] = h
        change = forward(x + step)[0] - forward(x - step)[0]  # (like y)
        dx[index] = np.sum(dy * change) / (2 * h)
    return dx
    ### END SOLUTION


check("3.3", my_numerical_gradient)

# %% [markdown]
# ## How far off is too far?
# Two gradients in float64 rarely agree to the last bit. An *absolute* error of $10^{-4}$ is nothing where the gradient is 1000, and everything where
# it is $10^{-5}$. So we divide it by the size of what we compare:
#
# $$\frac{|\texttt{expected} - \texttt{got}|}{\max(|\texttt{expected}|,\; |\texttt{got}|)} .$$
#
# This breaks near zero. Where the true gradient is 0, the backward pass may give some $10^{-17}$, and rounding in the differences some $10^{-11}$:
# "off by 100 %". So the divisor gets a **floor**. How high? Central differences are uncertain by about $10^{-11}$ times the size of the numbers that
# go into them, at worst $10^{-10}$. If the limit is a relative error of $10^{-6}$, then nothing below $10^{-10} / 10^{-6} = 10^{-4}$ can be judged.
# With some margin, and in proportion to the gradient where that is large:
#
# $$\texttt{floor} = 10^{-3} \cdot \max\bigl(1,\; \text{the largest } |\texttt{expected}|\bigr) .$$
#
# ### Exercise 3.4
# Write the relative error of the *worst* element.


# %%
def my_relative_error(expected, got):
    """expected (...), got (...)  ->  the largest relative error, one number"""
    ### BEGIN SOLUTION
    floor = 1e-3 * max(1, np.max(abs(expected)))
    size = np.maximum(np.maximum(abs(expected), abs(got)), floor)  # (...)
    return np.max(abs(expected - got) / size)
    ### END SOLUTION


check("3.4", my_relative_error)

# %% [markdown]
# ## One direction through everything
# The numerical gradient evaluates the forward pass twice per element. A small Mixer has a hundred thousand weights or more, which makes two hundred
# thousand forward passes. But there is a question that costs only two, whatever the size: how fast does $L$ change if *all* elements move
# at once, each by $h$ times its entry in a **direction** $v$ of the same shape as $x$? By the chain rule the paths add up:
#
# $$\frac{d}{dh}\,L(x + h v)\Big|_{h=0} = \sum_i \frac{\partial L}{\partial x_i}\, v_i = \sum_i \texttt{dx}_i\, v_i .$$
#
# (The bar says where the derivative is taken: at $h = 0$.) A central difference measures the left side, and the backward pass predicts the right
# side. With a random $v$, every element of `dx` plays a part in the sum. One wrong element changes the sum, in proportion to its share.
#
# ### Exercise 3.5
# Measure and predict.


# %%
def my_directional_check(forward, backward, x, dy, direction, h=1e-5):
    """x (...), dy (like y), direction (like x); backward(dy, cache) -> dx (...)

    ->  measured, predicted: the slope of sum(dy * y) along the direction, two numbers
    """
    ### BEGIN SOLUTION
    _, cache = forward(x)
    change = forward(x + h * direction)[0] - forward(x - h * direction)[0]  # (like y)
    measured = np.sum(dy * change) / (2 * h)
    predicted = np.sum(backward(dy, cache) * direction)
    return measured, predicted
    ### END SOLUTION


check("3.5", my_directional_check)

# %% [markdown]
# ## Five lies
# Now for the art of fooling yourself. The cells below use `numerical_gradient` from `tinymixer/analysis/checks_that_lie.py`, which does the same as
# Exercise 3.3.
#
# ### Lie 1: all ones
# We must choose some `dy`, and `dy = 1` is the obvious choice: it asks for the gradient of `y.sum()`. Here it is with LayerNorm, for the right
# backward pass and for the one without its third term, and below it a random `dy`.

# %%
from tinymixer.analysis.checks_that_lie import numerical_gradient

rng = np.random.default_rng(3)
x = rng.normal(size=(3, 5))  # three rows of five channels
scale, bias = np.ones(5), np.zeros(5)  # as every new layer has them


def norm_forward(x):
    """x (3, 5)  ->  y (3, 5), cache"""
    return ops.layer_norm_forward(x, scale, bias)


y, cache = norm_forward(x)
print(f"{'dy':<10}{'largest dx':<14}{'right, off by':<18}third term missing, off by")
for name, dy in (("all ones", np.ones_like(y)), ("random", rng.normal(size=y.shape))):
    expected = numerical_gradient(norm_forward, x, dy)  # (3, 5)
    right, *_ = ops.layer_norm_backward(dy, cache)  # (3, 5)
    wrong, *_ = layer_norm.variance_term_missing(dy, cache)  # (3, 5)
    off_right, off_wrong = abs(right - expected).max(), abs(wrong - expected).max()
    print(f"{name:<10}{abs(expected).max():<14.1e}{off_right:<18.1e}{off_wrong:.1e}")

# %% [markdown]
# With all ones, both pass: the wrong one looks *as good as the right one*. The reason is in the column "largest dx": LayerNorm subtracts the mean, so
# the outputs of a row always sum to 0, whatever $x$ is. A constant has gradient 0, and so the check compares nothing except zeros and rounding. The
# outputs of a softmax sum to 1: the same trap. A random `dy` asks about all outputs at once, each with a different weight, and no such accident
# survives that.
#
# ### Lie 2: fresh parameters
# `scale = np.ones(5)` took part in that lie. A new layer's scale is 1 and its bias is 0, and if the backward pass forgets a factor of 1, nobody can see it.

# %%
dy = rng.normal(size=(3, 5))  # (3, 5)
for name, scale in (("ones", np.ones(5)), ("random", rng.normal(size=5))):
    y, cache = ops.layer_norm_forward(x, scale, bias)
    right, *_ = ops.layer_norm_backward(dy, cache)  # (3, 5)
    wrong, *_ = layer_norm.scale_forgotten_in_dx(dy, cache)  # (3, 5)
    print(
        f"scale {name:<8} the backward that forgets it is off by {abs(right - wrong).max():.1e}"
    )

# %% [markdown]
# ### Lie 3: one index
# Checking every element is slow, so people draw one at random. `last_element_left_out` is a weight gradient from a loop that stops one short: its
# last element stays 0. How often does a random index find it in a weight of 20 x 20?

# %%
x, weight, bias = rng.normal(size=(7, 20)), rng.normal(size=(20, 20)), np.zeros(20)


def forward_of_weight(weight):
    """weight (20, 20)  ->  y (7, 20), cache"""
    return ops.linear_forward(x, weight, bias)


y, cache = forward_of_weight(weight)
dy = rng.normal(size=y.shape)  # (7, 20)
expected = numerical_gradient(forward_of_weight, weight, dy)  # (20, 20)
_, wrong, _ = linear.last_element_left_out(dy, cache)  # (20, 20)
off = abs(expected - wrong) > 1e-6  # (20, 20)

found = [off[tuple(rng.integers(20, size=2))] for _ in range(10_000)]
print(f"one random index:      found in {sum(found)} of 10000 checks")
found = []
for _ in range(10_000):
    direction = rng.normal(size=weight.shape)  # (20, 20)
    measured = np.sum(expected * direction)
    found.append(abs(measured - np.sum(wrong * direction)) > 1e-6 * abs(measured))
print(f"one random direction:  found in {sum(found)} of 10000 checks")

# %% [markdown]
# (To save thousands of forward passes, the slope along each direction is computed from the numerical gradient, which gives the same number.) A
# direction costs no more than an index, and sees them all.
#
# ### Lie 4: float32
# The picture above shows it: in float32 a central difference is good to a few digits. So the tolerance must be loose, or the right gradient would
# fail as well; and anything that is only a little wrong slips through a loose tolerance. `cubic_constant_rounded_in_the_backward` is GELU
# (lesson 04) with 0.0447 in its backward pass, where the forward pass has 0.044715.

# %%
from tinymixer.gradcheck.planted_faults import gelu

print(f"{'':<22}{'right, off by':<18}constant rounded, off by")
for dtype, h in (("float64", 1e-5), ("float32", 1e-5), ("float32", 4e-3)):
    x = np.linspace(-3, 3, 20, dtype=dtype)  # (20,)
    dy = np.random.default_rng(9).normal(size=20).astype(dtype)  # (20,)
    y, cache = ops.gelu_tanh_forward(x)
    expected = numerical_gradient(ops.gelu_tanh_forward, x, dy, h)  # (20,)
    right = ops.gelu_tanh_backward(dy, cache)  # (20,)
    wrong = gelu.cubic_constant_rounded_in_the_backward(dy, cache)  # (20,)
    off_right, off_wrong = abs(right - expected).max(), abs(wrong - expected).max()
    print(f"{dtype}, h = {h:<8.0e}{off_right:<18.1e}{off_wrong:.1e}")

# %% [markdown]
# In float64 their errors differ by a factor of a million. In float32, even with the best step, the two can't be told apart. So *train* in float32,
# but *check* in float64: the formulas are the same.
#
# ### Lie 5: the same seed
# Everyone writes `np.random.default_rng(0)`. Some write it twice: once for `x` in the test, once for `dy` in the checker. If the two have the same
# shape, they are the same numbers, and the weight gradient $x^T \texttt{dy} = x^T x$ is symmetric:

# %%
x = np.random.default_rng(0).normal(size=(4, 4))  # in the test
dy = np.random.default_rng(0).normal(size=(4, 4))  # in the checker
dweight = x.T @ dy  # (4, 4)
print(
    "largest difference between dweight and its transpose:", abs(dweight - dweight.T).max()
)

# %% [markdown]
# A transposed `dweight` passes.
#
# ### Exercise 3.6: find the bug
# Write a checker that tells right from wrong. It is tried on ten pairs of forward and backward: some are right (one of them has a gradient that is 0
# everywhere), and some are wrong, including everything above. Use your functions from 3.3 and 3.4. A relative error below $10^{-6}$ counts as
# right. One more trap: a gradient with a NaN ("not a number") in it is wrong, and NaN is neither
# larger nor smaller than any number.


# %%
def my_check(forward, backward, x):
    """forward(x) -> y, cache; backward(dy, cache) -> dx (like x)

    ->  True if the gradient is right, else False
    """
    ### BEGIN SOLUTION
    y, cache = forward(x)
    rng = np.random.default_rng(20210504)  # a seed that nobody else uses
    dy = rng.normal(size=y.shape)  # (like y)
    expected = my_numerical_gradient(forward, x, dy)  # (like x)
    got = backward(dy, cache)  # (like x)
    return bool(my_relative_error(expected, got) < 1e-6)  # False for NaN too
    ### END SOLUTION


check("3.6", my_check)

# %% [markdown]
# ## The whole table
# Is that all? The experiment in `checks_that_lie.py` tries six home-made checks on the package's planted faults in Linear, GELU and LayerNorm, each
# with five different draws of random numbers, and the package's own checker beside them. The first check is that of Exercise 3.6; each of the others
# adds the lie that it is named after.

# %%
from tinymixer.analysis.checks_that_lie import share_caught

table = share_caught()
checks = list(next(iter(table.values())))
missed = {fault: row for fault, row in table.items() if min(row.values()) < 1}
print(
    f"{len(table)} faults, {len(table) - len(missed)} of them caught by every check, always"
)

figure, axis = new_figure(width=7.5, height=4.6)
for line, row in enumerate(missed.values()):
    for column, share in enumerate(row.values()):
        axis.scatter(column, line, s=130 * (1 - share), color=COLOURS[4])
axis.set_xticks(range(len(checks)), checks, rotation=30, ha="left")
axis.set_yticks(range(len(missed)), missed)
axis.xaxis.tick_top()
axis.invert_yaxis()
axis.grid(alpha=0.25)
axis.spines[:].set_visible(False)
axis.tick_params(length=0)
show(
    figure,
    alt="Rows are planted faults, columns are checks. A dot says that the fault gets through, "
    "its size how often. Each lying check has dots of its own, random dy has one, "
    "check_operation has none.",
)

# %% [markdown]
# A dot is a fault that gets through; the largest dots always do. (A check that refuses the right gradient as well has not told them apart: that is a
# dot, too.) Each lie has its own victims. One fault passes every home-made check, even the honest one: `float64 from a constant` computes the right
# numbers in the wrong dtype (lesson 04). A gradient can have the right values and still be wrong in use.
#
# ## The package's checker
# `check_operation` does what you wrote, with more care: it takes several steps, in proportion to $x$, so that each derivative comes with its own
# uncertainty; it checks every output with respect to every input (the *Jacobian*) where arrays are small; and it uses the complex step where it can
# be confirmed. It also checks the contract of an operation: inputs and cache are only read, the dtype that goes in comes out, and a second call
# gives the same answer as the first.

# %%
from tinymixer.gradcheck import check_layer, check_operation

x, scale, bias = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=5)
report = check_operation(ops.layer_norm_forward, ops.layer_norm_backward, x, scale, bias)
print(report.table(details=True))

# %%
wrong = layer_norm.variance_term_missing
print(check_operation(ops.layer_norm_forward, wrong, x, scale, bias))

# %% [markdown]
# It works for your own code, too. A *layer* holds parameters; it needs `forward(x)`, which returns `y, cache`, and `backward(dy, cache)`, which
# **adds** to the gradients and returns `dx`. Two dicts are enough:


# %%
class Gain:
    """y = x * gain, with one gain for each channel."""

    def __init__(self, channels):
        self.parameters = {"gain": np.ones(channels)}
        self.gradients = {"gain": np.zeros(channels)}

    def forward(self, x):
        """x (B, C)  ->  y (B, C), cache"""
        return x * self.parameters["gain"], x

    def backward(self, dy, x):
        """dy (B, C)  ->  dx (B, C); adds to the gradient (C,)"""
        self.gradients["gain"] += np.sum(dy * x, axis=0)  # (C,)   every row shares the gain
        return dy * self.parameters["gain"]  # (B, C)


print(check_layer(Gain(4), rng.normal(size=(3, 4))))

# %% [markdown]
# The gains are 1 at first, but `check_layer` moves every parameter at random while it checks: no lie 2.
#
# **Try it.** Break `Gain`, and read what the report says. (a) Write `=` instead of `+=`, with `[...]` so that it stays the same array. (b) Take the
# mean instead of the sum. (c) Keep `x` on `self` instead of in the cache. (d) Write `dy *= ...` in the
# last line. Which of them could a comparison of numbers, such as `my_check`, find?

# %% [markdown] tags=["solution"]
# **About the question.** Only (b) is a wrong number: "jacobian" and "random cotangent" find it, and `my_check` would. (a) is right for a single
# backward pass and wrong for two: "gradients added". (c) is right until another forward comes before the backward: "stale cache". (d) writes into
# an array that belongs to the layer above: "dy untouched". Numbers can be right and still wrong in use, which is why the package checks the contract as well.

# %% [markdown]
# ## Questions
#
# **1.** You make the step $h$ ten times as small, from $10^{-2}$ to $10^{-3}$. What happens to the error of a forward difference, and to that of a
# central one?
#
# <details><summary>Answer</summary>
#
# The forward difference's error becomes a tenth, since it is a multiple of $h$. The central difference's error becomes a hundredth, since it is a
# multiple of $h^2$. At these steps rounding does not matter yet.
#
# </details>
#
# **2.** In float64, what would happen to a central difference if you used $h = 10^{-9}$ instead of $10^{-5}$, "to be more exact"?
#
# <details><summary>Answer</summary>
#
# It would get worse. Taylor's error is negligible at both steps, but rounding contributes about $u/h$, which grows from $10^{-11}$ to $10^{-7}$.
# Three or four of its digits are lost.
#
# </details>
#
# **3.** Find the faults in a check that asks for `np.max(expected - got) / np.max(abs(expected)) < 1e-6`.
#
# <details><summary>Answer</summary>
#
# The difference keeps its sign, so any element that is too *large* in `got` passes. And every element is divided by the largest one of all, so a
# small element may be completely wrong. A check needs the absolute difference, divided by each element's own size with a floor.
#
# </details>
#
# **4.** A network has 100,000 weights, and a forward pass takes 10 ms. How long does its whole numerical gradient take, with central differences?
# And a check along one random direction?
#
# <details><summary>Answer</summary>
#
# The whole gradient takes $2 \cdot 100{,}000$ forward passes, 2,000 seconds or more than half an hour. One direction takes two forward passes for
# the measured slope, and a forward and a backward pass for the predicted one: about 50 ms, since a backward pass costs about two forward passes.
#
# </details>
#
# **5.** Explain to a colleague why `dy = np.ones(...)` is a bad choice for the gradient check of a softmax, whose outputs always add up to 1.
#
# <details><summary>Answer</summary>
#
# With all ones, the check asks how the *sum* of the outputs changes. That sum is always 1, so the right answer is zero everywhere, and many wrong
# backward passes give zero as well. A random `dy` gives each output a different weight, so it can't hide behind the others.
#
# </details>

# %% [markdown]
# ## What you have now
# | | rule | because |
# |---|---|---|
# | difference | central, $h = 10^{-5}$, float64 | $h^2$ against rounding $u/h$; good to nine digits and more |
# | complex step | a second witness | accurate to the last digits, but silently lost in `abs` and casts |
# | `dy` | random, from a seed of its own | all ones and `dy = x` hide what sums to zero or is symmetric |
# | parameters | moved away from 1 and 0 | a missing factor of 1 goes unseen |
# | elements | all, or random directions | one index sees one of 400 elements |
# | error | relative, worst element, with a floor | zero next to rounding is not a mistake; NaN is |
#
# **Where the package does this:** `tinymixer/gradcheck` (its docstring has the rest of the story), `tinymixer/gradcheck/planted_faults` (the mistakes that
# the checker itself is checked with), `tinymixer gradcheck` on the command line (everything in the package).
#
# Next: [lesson 04, GELU](04_gelu.ipynb).
