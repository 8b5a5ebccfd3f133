# %% [markdown]
# # Lesson 04 · GELU, tanh and erf, and the float64 trap
#
# *85 minutes. Before: [lesson 02](02_linear.ipynb) (`dy`, `cache`, the chain rule).*
#
# Between the two Linears of every MLP in a Mixer stands one curve, applied to each number on its own. It has no parameters and takes one line of
# code. But there are two versions of it, a trap that silently doubles a network's memory, and a cost that no formula shows. After this lesson you can
#
# * say why two Linears need something bent between them,
# * derive the slope of GELU in both its forms,
# * spot float64 creeping into a float32 network, and keep it out,
# * count passes over memory, which is what an element-wise operation costs.

# %% [markdown]
# ## Before you begin
#
# **1.** $y = x \tanh x$. What is the slope of $y$ with respect to $x$? (lesson 01b)
#
# <details><summary>Answer</summary>
#
# $\tanh x + x\,(1 - \tanh^2 x)$. There are two paths, one through each factor: along each, the local slope is the other factor, and the second path
# goes through the tanh with its slope $1 - \tanh^2 x$. This lesson uses the same rule twice.
#
# </details>
#
# **2.** Forward, a Linear is one matrix product. How many products is its backward pass, and what do they compute? (lesson 02)
#
# <details><summary>Answer</summary>
#
# Two of the same size: `dx` and `dweight`. So a training step costs about three times as much as a prediction.
#
# </details>
#
# **3.** `x` is a `float32` array. What is the dtype of `x * 2.0`, and of `x * np.sqrt(2.0)`? (lesson 01)
#
# <details><summary>Answer</summary>
#
# `float32` and `float64`. A plain Python number takes on the array's dtype. `np.sqrt` returns one of NumPy's own numbers, a `float64`, and when two
# dtypes meet, the larger one wins.
#
# </details>

# %%
import math
import time

import numpy as np

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS
from tinymixer.gradcheck import check_operation
from tinymixer.layers import Linear
from tinymixer.lessons import check, new_figure, show
from tinymixer.lessons.backward_pictures import gelu_steps
from tinymixer.lessons.steps import show_steps

# %% [markdown]
# ## Two Linears are one
# Let a row $x$ of $I$ numbers pass through a Linear with weight $W_1$ `(I, M)` and bias $b_1$ `(M,)`, and then through a
# second one with $W_2$ `(M, O)` and $b_2$ `(O,)`:
#
# $$y = (x W_1 + b_1)\, W_2 + b_2 .$$
#
# Multiply it out. What is $x$ multiplied by, and what is left over without $x$?
#
# ### Exercise 4.1
# Write the weight and the bias of the *one* Linear that does the same.


# %%
def my_merged_linears(weight1, bias1, weight2, bias2):
    """weight1 (I, M), bias1 (M,), weight2 (M, O), bias2 (O,)  ->  weight (I, O), bias (O,)"""
    ### BEGIN SOLUTION
    weight = weight1 @ weight2  # (I, O)
    bias = (
        bias1 @ weight2 + bias2
    )  # (O,)   the first bias goes through the second Linear, too
    return weight, bias
    ### END SOLUTION


check("4.1", my_merged_linears)

# %% [markdown]
# So a stack of Linears, however deep, can do no more than a single one. To see what that means, take 300 points in a square, and ask for 1 inside a
# circle and -1 outside. We train three small networks with 16 hidden numbers on it. The first has nothing between its two Linears. The second has
# **ReLU**, the simplest bend there is: $\operatorname{relu}(x) = \max(x, 0)$, with slope 1 for $x > 0$ and 0 for $x < 0$. The third has GELU, which
# we come to in a moment.

# %%
rng = np.random.default_rng(0)
points = rng.uniform(-2, 2, size=(300, 2))  # (B, 2)
inside = np.sum(points**2, axis=1, keepdims=True) < 1.6  # (B, 1)
target = np.where(inside, 1.0, -1.0)  # (B, 1)


def nothing_forward(x):
    return x, None


def nothing_backward(dy, cache):
    return dy


def relu_forward(x):
    return np.maximum(x, 0.0), x


def relu_backward(dy, x):
    return dy * (x > 0)


def trained(bend_forward, bend_backward):
    """Train Linear, bend, Linear for 500 steps; return the network as a function."""
    first = Linear(2, 16, seed=3, dtype="float64")
    second = Linear(16, 1, seed=4, dtype="float64")

    def forward(x):
        hidden, first_cache = first.forward(x)  # (B, 16)
        bent, bend_cache = bend_forward(hidden)  # (B, 16)
        y, second_cache = second.forward(bent)  # (B, 1)
        return y, (first_cache, bend_cache, second_cache)

    for _ in range(500):
        y, (first_cache, bend_cache, second_cache) = forward(points)
        first.parameters.zero_gradients()
        second.parameters.zero_gradients()
        dbent = second.backward((y - target) / len(y), second_cache)  # (B, 16)
        first.backward(bend_backward(dbent, bend_cache), first_cache)
        for layer in (first, second):
            layer.parameters.values[...] -= 0.2 * layer.parameters.gradients
    return forward


networks = {
    "two Linears": trained(nothing_forward, nothing_backward),
    "with ReLU": trained(relu_forward, relu_backward),
    "with GELU": trained(ops.gelu_tanh_forward, ops.gelu_tanh_backward),
}
across = np.linspace(-2, 2, 80)
grid = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)  # (6400, 2)

figure, axes = new_figure(1, 3, width=7.5, height=2.8)
for axis, (name, forward) in zip(axes, networks.items(), strict=True):
    values = forward(grid)[0].reshape(80, 80)  # (80, 80)
    levels = np.linspace(-2, 2, 9)
    axis.contourf(across, across, values, levels, cmap="RdBu", alpha=0.8, extend="both")
    for chosen, colour in ((inside, COLOURS[0]), (~inside, COLOURS[1])):
        axis.scatter(*points[chosen[:, 0]].T, s=5, color=colour)
    axis.set_aspect("equal")
    right = np.mean((forward(points)[0] > 0) == inside)
    axis.set_title(f"{name}: {right:.0%} right")
    axis.axis("off")
show(
    figure,
    alt="Three squares with points, blue inside a circle. Two Linears give nearly one value "
    "everywhere; with ReLU and with GELU the inside of the circle turns blue.",
)

# %% [markdown]
# Blue is "inside". Two Linears can only draw a straight border. Since no straight border helps here, they say "outside" everywhere, which is right
# for two points in three. With a bend between them, the border closes.
#
# ## GELU: a gate that opens gradually
# ReLU is a gate: it multiplies $x$ by 0 or by 1. It has a kink at 0, and where it multiplies by 0, no gradient comes back at all. **GELU**
# (Hendrycks and Gimpel 2016, arXiv 1606.08415) opens the gate gradually: it multiplies $x$ by the *probability* that a random number $Z$, drawn from
# the standard normal distribution (mean 0, variance 1, so a typical distance of 1 from 0), is below $x$. A large $x$ is nearly always above $Z$ and
# passes; a very negative one hardly ever does.
#
# $$y = x\,\Phi(x), \qquad \Phi(x) = P(Z < x) = \int_{-\infty}^{x} \varphi(z)\,dz, \qquad
# \varphi(z) = \frac{1}{\sqrt{2\pi}}\, e^{-z^2/2} .$$
#
# $P$ is read "the probability that", and $\int$ is the area under a curve, here under $\varphi$ and to the left of $x$. $\varphi$ is the bell curve,
# the density of the normal distribution; there is no closed form for its integral $\Phi$. Instead, libraries offer the *error function*
# $\operatorname{erf}(w) = \frac{2}{\sqrt\pi} \int_0^w e^{-s^2} ds$, and a substitution turns one into the other. Half of the area lies left of 0:
#
# $$\Phi(x) = \frac12 + \int_0^x \frac{1}{\sqrt{2\pi}}\, e^{-z^2/2}\, dz .$$
#
# Put $z = \sqrt2\, s$. Then $dz = \sqrt2\, ds$, and the upper end $z = x$ becomes $s = x/\sqrt2$:
#
# $$\Phi(x) = \frac12 + \frac{1}{\sqrt\pi} \int_0^{x/\sqrt2} e^{-s^2} ds = \frac12 \Bigl(1 + \operatorname{erf}\bigl(x/\sqrt2\bigr)\Bigr) .$$
#
# That is why this exact form is called "erf". NumPy has no erf; the package's $\Phi$ is `normal_cdf`. Python's `math.erf` takes one number at a time,
# which is enough to check it against:

# %%
from tinymixer.ops.normal_distribution import normal_cdf

x = np.linspace(-5, 5, 1001)  # (1001,)
by_erf = np.array([0.5 * (1 + math.erf(number / math.sqrt(2))) for number in x])  # (1001,)
print(f"largest difference: {abs(normal_cdf(x) - by_erf).max():.0e}")

# %% [markdown]
# ## The slope of the exact form
# GELU works on each number alone, so a backward pass is `dx = dy * slope`, element by element. $x\,\Phi(x)$ is a product of two
# functions of $x$. The product rule says: differentiate one factor and keep the other, do it both ways round, and add. You need two facts: the
# derivative of $x$ is 1, and the derivative of an integral with respect to its upper end is the integrand there, $\Phi'(x) = \varphi(x)$.
#
# ### Exercise 4.2
# Write the backward pass. The forward pass left `x` and `probability`, which is $\Phi(x)$, in the cache.


# %%
def my_gelu_erf_backward(dy, cache):
    """dy (...), cache (x, probability), each (...)  ->  dx (...)"""
    x, probability = cache
    ### BEGIN SOLUTION
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)  # (...)   phi(x)
    return dy * (probability + x * density)  # (...)
    ### END SOLUTION


check("4.2", my_gelu_erf_backward)

# %% [markdown]
# ## The tanh form
# The paper also gives a stand-in for $\Phi$ that needs no erf. $\tanh$ has the right shape: it rises from -1 to 1, so $\frac12(1 + \tanh u)$ rises
# from 0 to 1. What should $u$ be? To first order it is a multiple of $x$ that makes the gate as steep at 0 as $\Phi$. With $\tanh'(0) = 1$:
#
# $$\underbrace{\tfrac12\, u'(0)}_{\text{slope of } \frac12(1 + \tanh u)} = \underbrace{\varphi(0) = \frac{1}{\sqrt{2\pi}}}_{\text{slope of } \Phi}
# \quad\Rightarrow\quad u'(0) = \frac{2}{\sqrt{2\pi}} = \sqrt{\frac{2}{\pi}} .$$
#
# A small cubic term, whose factor was fitted, does the rest:
#
# $$y = \frac{x}{2}\,(1 + t), \qquad t = \tanh u, \qquad u = \sqrt{\tfrac{2}{\pi}}\,\bigl(x + 0.044715\,x^3\bigr) .$$
#
# The authors of the Mixer train with this form, and it is the package's default. The library timm, whose weights many people load,
# uses the exact one. How far apart are they?

# %%
x = np.linspace(-4.5, 4.5, 901)  # (901,)
ones = np.ones_like(x)  # (901,)   with dy = 1 a backward pass returns the slope
tanh_y, tanh_cache = ops.gelu_tanh_forward(x)
erf_y, erf_cache = ops.gelu_erf_forward(x)
tanh_slope, erf_slope = (
    ops.gelu_tanh_backward(ones, tanh_cache),
    ops.gelu_erf_backward(ones, erf_cache),
)

figure, axes = new_figure(1, 3, width=8, height=2.7)
axes[0].plot(x, relu_forward(x)[0], color=COLOURS[1], linestyle=":", label="ReLU")
axes[0].plot(x, erf_y, color=COLOURS[0], label="GELU")
axes[1].plot(x, relu_backward(ones, x), color=COLOURS[1], linestyle=":", label="ReLU")
axes[1].plot(x, erf_slope, color=COLOURS[0], label="GELU")
axes[2].plot(x, 1000 * (tanh_y - erf_y), color=COLOURS[2], label="function")
axes[2].plot(x, 1000 * (tanh_slope - erf_slope), color=COLOURS[3], label="slope")
for axis, title in zip(axes, ("function", "slope", "1000 (tanh - erf)"), strict=True):
    axis.set_title(title)
    axis.set_xlabel("x")
    axis.legend()
show(
    figure,
    alt="Left: ReLU and GELU, which dips a little below 0 left of it. Middle: their slopes; "
    "GELU's rises smoothly from 0, overshoots 1 and comes back. Right: a thousand times the "
    "difference of the two forms, waves of less than 1.",
)
print(f"largest difference, function: {abs(tanh_y - erf_y).max():.5f}")
print(f"largest difference, slope:    {abs(tanh_slope - erf_slope).max():.5f}")
print(f"GELU's lowest point:          {erf_y.min():.3f} at x = {x[erf_y.argmin()]:.2f}")
print(f"GELU's slope:                 {erf_slope.min():.3f} to {erf_slope.max():.3f}")

# %% [markdown]
# They differ by less than 0.001: too little to see in a drawing of both, and too much to ignore. A model that loads weights trained with the other
# form gives slightly different answers, and the backward pass of the other form is a wrong gradient. The configuration of a model names its form:
# `MixerConfig(gelu="tanh")` or `"erf"`.
#
# ## The slope of the tanh form
# Now we have a chain: $y$ depends on $x$ directly and through $t$, $t$ depends on $u$, and $u$ on $x$. Begin with the product rule, and continue
# with the chain rule:
#
# $$\frac{dy}{dx} = \frac12\,(1 + t) + \frac{x}{2}\,\frac{dt}{dx}, \qquad \frac{dt}{dx} = \tanh'(u)\;\frac{du}{dx} .$$
#
# $\tanh$ is $\sinh / \cosh$, with $\sinh x = \frac12(e^x - e^{-x})$ and $\cosh x = \frac12(e^x + e^{-x})$, so that $\sinh' = \cosh$ and
# $\cosh' = \sinh$. The quotient rule, $(f/g)' = (f'g - fg')/g^2$, gives
#
# $$\tanh' = \frac{\cosh^2 - \sinh^2}{\cosh^2} = 1 - \tanh^2, \qquad \text{so} \quad \tanh'(u) = 1 - t^2 .$$
#
# The forward pass has already computed $t$, and that is why it goes into the cache: no second tanh is needed. $du/dx$ is left to you.
#
# ### Exercise 4.3
# Write the backward pass.


# %%
def my_gelu_tanh_backward(dy, cache):
    """dy (...), cache (x, t), each (...)  ->  dx (...)"""
    x, t = cache
    ### BEGIN SOLUTION
    du_dx = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)  # (...)
    dt_dx = (1 - t * t) * du_dx  # (...)
    return dy * (0.5 * (1 + t) + 0.5 * x * dt_dx)  # (...)
    ### END SOLUTION


check("4.3", my_gelu_tanh_backward)


# %% [markdown]
# ## Watch it move
# Here is the backward pass at five inputs. Move the slider, or press *next*. At each input a short line shows the slope of the curve there, and `dy` is
# multiplied by it. Where the curve is flat, hardly any of `dy` gets through. Where it falls, `dx` has the opposite sign of `dy`.

# %%
show_steps(
    gelu_steps(x=np.array([-3.0, -1, 0, 1, 3]), dy=np.array([1.0, 2, 3, -1, 1])),
    alt="The curve of GELU with five points and a short tangent at each, and a table. At x = -3 the slope is -0.012, dy 1 and "
    "dx -0.012. At -1: slope -0.083, dy 2, dx -0.166. At 0: slope 0.5, dy 3, dx 1.5. At 1: slope 1.083, dy -1, dx -1.083. "
    "At 3: slope 1.012, dy 1, dx 1.012.",
)

# %% [markdown]
# Where does 0.044715 come from? Let us try constants around it, and see how far the gate $\frac12(1 + \tanh u)$ is from $\Phi$ where the two are
# furthest apart.

# %%
x = np.linspace(-6, 6, 1201)  # (1201,)
exact_gate = normal_cdf(x)  # (1201,)
constants = np.linspace(0.043, 0.047, 401)
farthest = []
for constant in constants:
    u = math.sqrt(2 / math.pi) * (x + constant * x * x * x)  # (1201,)
    farthest.append(abs(0.5 * (1 + np.tanh(u)) - exact_gate).max())
best = int(np.argmin(farthest))
print(
    f"best constant: {constants[best]:.5f}, and there the gates differ by {farthest[best]:.5f}"
)

# %% [markdown]
# So the published constant makes the worst case about as good as a single constant allows.
#
# **Try it.** (a) In the middle picture GELU's slope is larger than 1 for some $x$. Where is it largest? Differentiate $\Phi(x) + x\,\varphi(x)$ once
# more, with $\varphi'(x) = -x\,\varphi(x)$, and compare with the printed numbers. (b) For which $x$ is the slope almost 0, so that no gradient gets
# through, with ReLU and with GELU?

# %% [markdown] tags=["solution"]
# **About the questions.** (a) The derivative of the slope is $\varphi + \varphi - x^2 \varphi = (2 - x^2)\,\varphi$, which vanishes at
# $x = \pm\sqrt2$: at $\sqrt2$ the slope is largest, 1.129, and at $-\sqrt2$ smallest, -0.129. (b) With ReLU, for every negative $x$. With GELU, for
# those below about -4, and near $x = -0.75$, its lowest point; in between the slope is small and negative, but not 0.

# %% [markdown]
# ## The float64 trap
# Networks mostly train in float32: half the memory of float64, and twice the numbers per instruction. Here is the tanh form as many people would
# write it, beside the package's.

# %%
TANH_CUBIC = 0.044715


def with_numpy_constant(x):
    """x (...)  ->  y (...)"""
    u = np.sqrt(2 / np.pi) * (x + TANH_CUBIC * x * x * x)  # (...)
    return 0.5 * x * (1 + np.tanh(u))


def milliseconds(function, *arguments):
    """The fastest of as many runs as fit into a fifth of a second, at least three."""
    times = []
    while len(times) < 3 or sum(times) < 0.2:
        started = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


x = rng.normal(size=(64, 512)).astype(np.float32)  # (rows, DC)
weight = rng.normal(size=(512, 128)).astype(np.float32)  # (DC, C)
for name, function in (
    ("with np.sqrt(2 / np.pi)", with_numpy_constant),
    ("the package's", lambda x: ops.gelu_tanh_forward(x)[0]),
):
    y = function(x)  # (rows, DC)
    took, next_took = milliseconds(function, x), milliseconds(np.matmul, y, weight)
    print(
        f"{name:<24} {y.dtype}  {y.nbytes / 1e3:.0f} kB  GELU {took:.3f} ms"
        f"  next Linear {next_took:.3f} ms"
    )
difference = abs(with_numpy_constant(x) - ops.gelu_tanh_forward(x)[0]).max()
print(f"largest difference of the values: {difference:.0e}")

# %% [markdown]
# Nothing warns you. The values agree to six or seven digits, so no test of values notices. But the output is float64, twice as large and slower to
# compute, and everything after it is float64, too: the next Linear, its output, all gradients on the way back.
#
# The reason: `np.sqrt(2 / np.pi)` is not a Python float but a *NumPy scalar*, an `np.float64`. A NumPy scalar has a dtype of its own, and where two
# dtypes meet, the wider one wins. (That is so since NumPy 2. In NumPy 1 this line stayed float32, so old code changes its dtype without anyone
# touching it.) A Python float has no dtype: it takes on the array's.

# %%
array32 = np.ones(3, np.float32)
examples = (
    ("x * 2.0", array32 * 2.0),
    ("x * math.sqrt(2)", array32 * math.sqrt(2)),
    ("x * np.pi", array32 * np.pi),
    ("x * np.sqrt(2)", array32 * np.sqrt(2)),
    ("x / np.sqrt(len(x))", array32 / np.sqrt(len(array32))),
    ("x + rng.normal(size=3)", array32 + rng.normal(size=3)),
    ("x * np.linspace(0, 1, 3)", array32 * np.linspace(0, 1, 3)),
    ("x - x.mean()", array32 - array32.mean()),
)
print(f"type of np.sqrt(2): {type(np.sqrt(2)).__name__};  of np.pi: {type(np.pi).__name__}")
for text, value in examples:
    print(f"{text:<26} {value.dtype}")

# %% [markdown]
# ### Exercise 4.4
# Write the forward pass of the tanh form so that the dtype that goes in comes out: float32 for float32, and float64, with all its digits, for float64.


# %%
def my_gelu_tanh(x):
    """x (...)  ->  y (...), of the dtype of x"""
    ### BEGIN SOLUTION
    u = math.sqrt(2 / math.pi) * (x + TANH_CUBIC * x * x * x)  # (...)
    return 0.5 * x * (1 + np.tanh(u))  # (...)
    ### END SOLUTION


check("4.4", my_gelu_tanh)

# %% [markdown]
# `np.float32(math.sqrt(2 / math.pi))` would be no cure: in float64 it has only seven right digits, and gradient checks run in float64. The package's
# checker has a line for this trap. Here is a planted fault whose numbers are right:

# %%
from tinymixer.gradcheck.planted_faults import gelu

print(
    check_operation(
        ops.gelu_tanh_forward, gelu.float64_from_a_constant, rng.normal(size=(3, 4))
    )
)

# %% [markdown]
# ## What an element-wise operation costs
# A Linear that makes 512 numbers from 128 does 128 multiplications and additions for each number that it writes. GELU does about nine operations for
# each. Next to the Linear it should cost almost nothing. Does it?

# %%
rows = rng.normal(size=(4096, 128)).astype(np.float32)  # (rows, C)
weight = rng.normal(size=(128, 512)).astype(np.float32)  # (C, DC)
hidden = rows @ weight / 12  # (rows, DC)
product = milliseconds(np.matmul, rows, weight)

print(f"matrix product (4096, 128) @ (128, 512)  {product:6.2f} ms")
for name, function in (
    ("2.0 * x", lambda x: 2.0 * x),
    ("np.tanh(x)", np.tanh),
    ("x * x * x", lambda x: x * x * x),
    ("x ** 3", lambda x: x**3),
    ("GELU, tanh form", ops.gelu_tanh_forward),
    ("GELU, exact", ops.gelu_erf_forward),
):
    took = milliseconds(function, hidden)
    print(f"{name:<40} {took:6.2f} ms, {took / product:5.2f} products")

# %% [markdown]
# It costs far from nothing. The matrix product brings each number close to the arithmetic and uses it hundreds of times while it is there. `2.0 * x`
# reads a number from memory, does *one* thing with it, and writes it back: you pay for the trip, not for the multiplication. And NumPy makes that
# trip for every operator. Count them in
#
# ```
# t = np.tanh(TANH_SLOPE * (x + TANH_CUBIC * x * x * x))
# y = 0.5 * x * (1.0 + t)
# ```
#
# Three multiplications for the cube, one addition, one multiplication, one tanh; then a multiplication, an addition, a multiplication: nine
# **passes** over eight megabytes. Each of them also makes a new array, and finding memory for that costs time, too. The exact form makes far more
# passes, because `normal_cdf` sums a series of 25 terms, with three passes for each. And `x ** 3` is a single pass, but through the general power
# function, which is made for exponents like 2.7. Two multiplications would do.
#
# ## Fewer arrays, and whose arrays they are
# An *in-place* operator such as `a *= b` writes its result over `a` and makes no new array, which saves memory and the time it takes to get it. But
# the array must be yours. This backward pass of a plain tanh saves memory in the wrong place:


# %%
def overwriting_tanh_backward(dy, t):
    """For t = tanh(x): dy (...), cache t (...)  ->  dx (...), with t as scratch paper."""
    t *= t
    return dy * (1 - t)  # (...)


x, dy = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
t = np.tanh(x)  # (3, 4)
right = dy * (1 - t * t)  # (3, 4)
for attempt in ("first", "second"):
    off = abs(overwriting_tanh_backward(dy, t) - right).max()
    print(f"{attempt} backward from the same cache: off by {off:.1e}")

# %% [markdown]
# The first answer is right, so a gradient check that asks only once is satisfied. But the cache is spoilt, and whatever uses it next gets nonsense: a
# second backward pass, a check, a picture of the activations. The same goes for `dy`, which another part of the network may still need: in
# $y = x + f(x)$, the same `dy` goes down both paths. So the package has a rule: *inputs, `dy` and caches are read, never written*. The checks in
# these lessons enforce it: the arrays that they pass in can't be written to.
#
# What a function has made itself, it may overwrite as it likes.
#
# ### Exercise 4.5
# Write the backward pass of 4.3 once more, so that no more than three arrays of the size of `x` exist at any time (not counting those that come in).
# Begin with a new array, such as `slope = x * x`, and go on in place: `slope *= ...`, `slope += ...`.


# %%
def my_frugal_backward(dy, cache):
    """dy (...), cache (x, t), each (...)  ->  dx (...)"""
    x, t = cache
    ### BEGIN SOLUTION
    slope = x * x  # (...)
    slope *= 3 * TANH_CUBIC * math.sqrt(2 / math.pi)
    slope += math.sqrt(2 / math.pi)  # du/dx
    slope *= x
    rest = t * t  # (...)
    np.subtract(1, rest, out=rest)  # 1 - t^2
    slope *= rest  # x dt/dx
    slope += t
    slope += 1
    slope *= 0.5  # (1 + t) / 2 + x/2 dt/dx
    slope *= dy
    return slope
    ### END SOLUTION


check("4.5", my_frugal_backward)

# %% [markdown]
# ## In chunks that stay close
# You can save passes as well: take a few rows, do all nine operations on them, then take the next few. A small chunk stays in the processor's cache,
# a memory of some hundred kilobytes or a few megabytes right beside the arithmetic, and every pass after the first finds it there. How large should
# a chunk be?

# %%


def gelu_in_chunks(x, size):
    """x (rows, DC)  ->  y (rows, DC), computed `size` rows at a time"""
    y = np.empty_like(x)  # (rows, DC)
    for start in range(0, len(x), size):
        chunk = slice(start, start + size)
        y[chunk], _ = ops.gelu_tanh_forward(x[chunk])
    return y


sizes = 2 ** np.arange(2, 13)
kilobytes = sizes * hidden[0].nbytes / 1000
times = [milliseconds(gelu_in_chunks, hidden, size) for size in sizes]

figure, axis = new_figure(width=5.5, height=2.8)
axis.semilogx(kilobytes, times, color=COLOURS[0], marker="o", label="GELU in chunks")
axis.axhline(product, color=COLOURS[1], linestyle="--", label="matrix product")
axis.set_xlabel("size of a chunk of x in kB")
axis.set_ylabel("milliseconds")
axis.set_ylim(bottom=0)
axis.legend()
show(
    figure,
    alt="Time over the size of a chunk: long for a few rows, shortest in a valley in between, "
    "longer again for the whole array.",
)
best = int(np.argmin(times))
print(f"best: {sizes[best]} rows, {kilobytes[best]:.0f} kB, {times[best]:.2f} ms")
print(f"all at once: {times[-1]:.2f} ms, {times[-1] / times[best]:.1f} times as long")

# %% [markdown]
# Tiny chunks cost thousands of calls from Python, large ones cost trips to memory; the best size lies in between. The package's cpu engine uses this:
# `tinymixer/engines/cpu` takes slices of the batch through a whole block, and computes GELU and its slope in chunks of 131,072 numbers. On a GPU the
# same idea is a *fused kernel* ([lesson 11](11_gpu.ipynb)).

# %% [markdown]
# ## Questions
#
# **1.** What are GELU and its slope at $x = 100$ and at $x = -100$?
#
# <details><summary>Answer</summary>
#
# At 100, GELU is 100 and its slope is 1: the gate is fully open. At $-100$ both are 0: the gate is shut. No gradient comes back through such a
# number, just as with ReLU.
#
# </details>
#
# **2.** What would happen if you replaced every GELU in a network by $y = 2x$?
#
# <details><summary>Answer</summary>
#
# Nothing bent would be left: a Linear, a factor of 2 and another Linear are together one Linear. However many hidden numbers there are, the two
# layers could express no more than a single one could.
#
# </details>
#
# **3.** Find the fault: `dx = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t) ** 2 * du_dx)`. At which $x$ would a test not notice it?
#
# <details><summary>Answer</summary>
#
# The slope of tanh is $1 - t^2$, but `(1 - t) ** 2` is $1 - 2t + t^2$. They agree where $t = 0$ or $t = 1$: at $x = 0$ and for large positive $x$. A
# test at only those points would pass, so test at many random ones.
#
# </details>
#
# **4.** Activations of shape `(64, 128, 512)` are in float32. How many bytes is that? About how many bytes do GELU's nine passes move if each reads
# one such array and writes one?
#
# <details><summary>Answer</summary>
#
# $64 \cdot 128 \cdot 512 = 4{,}194{,}304$ numbers of 4 bytes, so 16.8 MB. Nine passes that read and write 16.8 MB each move about 302 MB. At 20 GB/s
# that takes 15 ms, whatever the arithmetic costs.
#
# </details>
#
# **5.** Explain to a colleague why tests that compare values do not find the float64 trap, and which test does.
#
# <details><summary>Answer</summary>
#
# The values are right, even more accurate than asked for, so every comparison with a tolerance passes. Only the type is wrong, and it costs memory
# and time in everything that follows. A test finds it by asking for the dtype of the output and of every gradient, once with float32 inputs.
#
# </details>

# %% [markdown]
# ## What you have now
# | | exact | tanh form |
# |---|---|---|
# | gate | $\Phi(x)$ | $\frac12(1 + t)$, $t = \tanh u$, $u = \sqrt{2/\pi}\,(x + 0.044715\,x^3)$ |
# | forward | $x\,\Phi(x)$ | $\frac{x}{2}(1 + t)$ |
# | slope | $\Phi(x) + x\,\varphi(x)$ | $\frac12(1 + t) + \frac{x}{2}(1 - t^2)\,u'$, $u' = \sqrt{2/\pi}\,(1 + 3 \cdot 0.044715\,x^2)$ |
# | used by | timm | the authors of the Mixer; the default here |
#
# Three habits: constants are Python floats; inputs, `dy` and caches are read, never written; and before you count multiplications, count passes over memory.
#
# **Where the package does this:** `tinymixer/ops/gelu.py`, `tinymixer/ops/normal_distribution.py` ($\Phi$ without erf),
# `tinymixer/engines/cpu/gelu.py` (the cpu engine's), `tinymixer/gradcheck/planted_faults/gelu.py` (ten ways to get it wrong).
#
# Next: [lesson 05, LayerNorm](05_layer_norm.ipynb).
