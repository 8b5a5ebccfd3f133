# %% [markdown]
# # Lesson 01b · The chain rule on ten scalars
#
# *135 minutes. Before: [lesson 01](01_arrays_and_images.ipynb) (arrays, indices, the matrix product). A good place for a break is before* A graph with numbers on it.
#
# Training a network comes down to one question, asked for each of its numbers: *if this number grows a little, what happens to the loss?* One
# rule answers it for all of them. Here you apply that rule to ten single numbers. A single number, as opposed to an array, is
# called a **scalar**. Everything is small enough to do by hand. From lesson 02 on, the same rule is applied to arrays. After this lesson you can
#
# * say what a slope and a partial derivative are, and measure both,
# * read the summation sign $\sum$ with one index or two, and write it as loops,
# * multiply along one path, and add up over several paths,
# * say why networks go backward, and count what that saves,
# * write a small engine that differentiates whatever is computed with it, and check it.
#
# You need to have seen the derivative of a function of one number, such as $x^2$. If functions of several numbers are familiar too, start at *A graph with
# numbers on it*, and do the exercises before it quickly.

# %% [markdown]
# ## Before you begin
#
# **1.** What is the loss, and what is a gradient? (lesson 00)
#
# <details><summary>Answer</summary>
#
# The loss is one number that says how wrong the network was on a batch: the smaller, the better. A gradient holds, for every number of an array, how
# the loss changes when that number grows a little.
#
# </details>
#
# **2.** `images` has the shape `(5, 8, 8, 1)`. What is the shape of `images.mean(axis=(1, 2, 3))`? And with `keepdims=True`? (lesson 01)
#
# <details><summary>Answer</summary>
#
# `(5,)`: the axes that you name disappear. With `keepdims=True` they stay with size 1: `(5, 1, 1, 1)`.
#
# </details>
#
# **3.** `a` has the shape `(2, 3)` and `b` the shape `(3, 4)`. Over which index does `a @ b` sum, and what is the shape of the result? (lesson 01)
#
# <details><summary>Answer</summary>
#
# It sums over the last index of `a`, which is the first of `b`, of size 3. That index is gone from the result, whose shape is `(2, 4)`.
#
# </details>

# %%
import math
import time

import numpy as np

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.gradcheck import check_operation
from tinymixer.lessons import check, new_figure
from tinymixer.lessons.graph_picture import graph_steps
from tinymixer.lessons.steps import show_steps, show_still
from tinymixer.lessons.tape import Tape

# %% [markdown]
# ## The slope of a curve
# Take $f(x) = x^2$ at $x = 3$, where $f = 9$. Move $x$ a little to the right, by a step $h$, and look how far $f$ moves:
#
# | step $h$ | $f(3 + h)$ | $f$ has moved by | that, divided by $h$ |
# |--:|--:|--:|--:|
# | 1 | 16 | 7 | 7 |
# | 0.1 | 9.61 | 0.61 | 6.1 |
# | 0.01 | 9.0601 | 0.0601 | 6.01 |
# | 0.001 | 9.006001 | 0.006001 | 6.001 |
#
# The last column settles at 6. This is the **slope** of $f$ at $x = 3$, also called its **derivative** there. The same in letters, for any $x$:
#
# $$\frac{(x + h)^2 - x^2}{h} = \frac{2xh + h^2}{h} = 2x + h .$$
#
# As $h$ shrinks, only $2x$ is left, and $2 \cdot 3 = 6$. We write $\frac{df}{dx} = 2x$, or $f'(x) = 2x$, and read it as "the derivative of $f$ *with
# respect to* $x$". Those last words say which number moves.
#
# In this course a slope is a *factor*:
#
# > When $x$ moves by a small $h$, $f$ moves by about the slope times $h$.
#
# At $x = 3$, $f$ moves 6 times as far as $x$. Where a slope is negative, $f$ falls when $x$ grows. Where it is 0, $f$ hardly moves at all. And the
# promise holds only for *small* steps: for $h = 1$ it says 6, and the truth is 7.

# %%
x = np.linspace(0.8, 4.6, 100)  # (100,)

figure, axis = new_figure(width=5.5, height=3)
axis.plot(x, x**2, color=COLOURS[0], label="f(x) = x * x")
axis.plot(
    x, 9 + 6 * (x - 3), color=COLOURS[1], linestyle="--", label="the line with slope 6"
)
axis.plot([3, 4, 4], [9, 9, 15], color=INK, linewidth=1)
axis.plot(3, 9, "o", color=COLOURS[1])
axis.text(3.55, 7.2, "1 to the right", ha="center", color=INK)
axis.text(4.06, 11.5, "6 up", color=INK)
axis.set_xlabel("x")
axis.set_ylabel("f")
axis.legend()
show_still(
    figure,
    alt="The curve x squared. At x = 3 a straight dashed line touches it. The line rises by 6 where it goes 1 to the "
    "right, and leaves the curve the further it gets from 3.",
)

# %% [markdown]
# These are all the slopes that the course needs:
#
# | $f(x)$ | slope | in words |
# |---|---|---|
# | $c$, a constant | $0$ | what does not depend on $x$ does not move |
# | $x + c$ | $1$ | the whole curve moves up; its slope stays the same |
# | $c\,x$ | $c$ | $c$ times as far |
# | $x^2$ | $2x$ | see above |
# | $1/x$ | $-1/x^2$ | falls when $x$ grows |
# | $e^x$ | $e^x$ | its slope is its own value |
# | $\log x$ | $1/x$ | steep near 0, flatter and flatter to the right |
# | $\tanh x$ | $1 - (\tanh x)^2$ | slope 1 at 0, flat far out |
#
# The last three may be new. $e^x$, in code `exp(x)`, is the number $e \approx 2.718$ to the power of $x$. It is always positive: $e^0 = 1$, and
# $e^{-5} \approx 0.007$. The **logarithm** $\log x$ undoes it: it is the number whose exponential is $x$, so $\log e^x = x$ and $\log 1 = 0$. (In
# this course `log` is always this one, the natural logarithm.) And $\tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}$ is a smooth step that rises from
# $-1$ to $1$, and is 0 at 0.
#
# Don't take a table's word for it. Measure:

# %%
h = 1e-6  # a millionth
print("at x = 2      measured    table")
for name, f, slope in (
    ("x * x", lambda x: x * x, 2 * 2),
    ("1 / x", lambda x: 1 / x, -1 / 2**2),
    ("exp(x)", math.exp, math.exp(2)),
    ("log(x)", math.log, 1 / 2),
    ("tanh(x)", math.tanh, 1 - math.tanh(2) ** 2),
):
    print(f"{name:10} {(f(2 + h) - f(2)) / h:11.5f} {slope:8.5f}")

# %% [markdown]
# ## Several numbers: partial derivatives
# Take $f(a, b) = a\,b^2$ at $a = 3$, $b = 2$, where $f = 3 \cdot 4 = 12$. Now there are two numbers to move.
#
# * Only $a$ moves, by 0.001, and $b$ stays: $f(3.001,\ 2) = 3.001 \cdot 4 = 12.004$. It has moved by 0.004, so the slope is 4.
# * Only $b$ moves, by 0.001, and $a$ stays: $f(3,\ 2.001) = 3 \cdot 4.004001 = 12.012003$. It has moved by 0.012003, so the slope is about 12.
#
# These are the **partial derivatives** of $f$: *one number moves, all others stay where they are*. They are written with a rounded d:
#
# $$\frac{\partial f}{\partial a} = b^2 = 4 , \qquad \frac{\partial f}{\partial b} = 2ab = 12 .$$
#
# $\partial$ is read "partial d", and $\partial f / \partial a$ "the partial derivative of $f$ with respect to $a$". To find one, treat all the other numbers as
# constants and use the table: with $b = 2$ fixed, $f = 4a$ has the slope 4. All partial derivatives of $f$ together are its **gradient**.
#
# And if both move? Then for small steps the moves simply add up. With $a$ and $b$ both moved by 0.001 we expect $4 \cdot 0.001 + 12 \cdot 0.001 = 0.016$, and
# $3.001 \cdot 2.001^2 - 12 = 0.016007$.

# %%
a, b = np.linspace(1, 5, 50), np.linspace(0.5, 3.5, 50)  # (50,), (50,)

figure, (first, second) = new_figure(1, 2, width=7.5, height=2.8, sharey=True)
first.plot(a, a * 2**2, color=COLOURS[0])
first.plot([2, 4], [12 - 4, 12 + 4], color=COLOURS[1], linewidth=4, alpha=0.7)
first.set_title("b stays at 2: slope 4")
first.set_xlabel("a")
first.set_ylabel("f = a * b * b")
second.plot(b, 3 * b**2, color=COLOURS[0])
second.plot([1.4, 2.6], [12 - 7.2, 12 + 7.2], color=COLOURS[1], linewidth=4, alpha=0.7)
second.set_title("a stays at 3: slope 12")
second.set_xlabel("b")
for axis, place in ((first, 3), (second, 2)):
    axis.plot(place, 12, "o", color=COLOURS[1])
show_still(
    figure,
    alt="Two curves through the same point. Left, f over a with b fixed at 2: a straight line of slope 4. Right, f over b "
    "with a fixed at 3: a parabola, touched at b = 2 by a line of slope 12.",
)

# %% [markdown]
# ### Exercise 1b.1
# Measure both partial derivatives of any function `f(a, b)`, with a small step `h`.


# %%
def my_partials(f, a, b, h):
    """f a function of two numbers, a, b numbers, h the step  ->  df/da, df/db, two numbers"""
    ### BEGIN SOLUTION
    df_da = (f(a + h, b) - f(a, b)) / h  # b stays
    df_db = (f(a, b + h) - f(a, b)) / h  # a stays
    return df_da, df_db
    ### END SOLUTION


check("1b.1", my_partials)

# %% [markdown]
# ## The summation sign
# Take three numbers, $x_0 = 2$, $x_1 = 5$, $x_2 = 7$. The small lowered number is the **index**. It counts from 0, as in Python. The sum of the
# three is written
#
# $$\sum_{i=0}^{2} x_i \;=\; x_0 + x_1 + x_2 \;=\; 2 + 5 + 7 \;=\; 14 .$$
#
# Read the sign $\sum$ as an instruction: *let $i$ run from 0 to 2, write down what follows the sign for each $i$, and add it all up.* It is a loop:
#
# ```
# total = 0
# for i in range(3):
#     total += x[i]
# ```
#
# Where the shape says how far an index runs, the limits are left out: $\sum_i x_i$.
#
# ### Two indices
# A table has two indices: $a_{ij}$ stands in row $i$ and column $j$, in code `a[i, j]`. Let both tables below have 2 rows and 3 columns:
#
# $$a = \begin{pmatrix} 1 & 2 & 3 \\ 4 & 5 & 6 \end{pmatrix} , \qquad b = \begin{pmatrix} 1 & 0 & 2 \\ -1 & 3 & 1 \end{pmatrix} .$$
#
# With two indices under the sign, *every pair* $(i, j)$ gives a term. Here that is $2 \cdot 3 = 6$ terms:
#
# $$\sum_{i,j} a_{ij}\,b_{ij}
# = \underbrace{a_{00}b_{00} + a_{01}b_{01} + a_{02}b_{02}}_{i \,=\, 0} + \underbrace{a_{10}b_{10} + a_{11}b_{11} + a_{12}b_{12}}_{i \,=\, 1} .$$
#
# In numbers:
#
# $$\underbrace{1 \cdot 1 + 2 \cdot 0 + 3 \cdot 2}_{7} + \underbrace{4 \cdot (-1) + 5 \cdot 3 + 6 \cdot 1}_{17} \;=\; 24 .$$
#
# It is two loops, one inside the other. It makes no difference which one is outside, since a sum can be added up in any order.
#
# ### One index is summed, one is free
# Now only $i$ stands under the sign, and $j$ appears after it:
#
# $$c_j = \sum_i a_{ij}\,b_{ij} .$$
#
# $j$ is **free**: for each value of $j$ there is one such sum. So these are three sums of two terms each:
#
# $$c_0 = 1 \cdot 1 + 4 \cdot (-1) = -3 , \qquad c_1 = 2 \cdot 0 + 5 \cdot 3 = 15 , \qquad c_2 = 3 \cdot 2 + 6 \cdot 1 = 12 .$$
#
# *An index under the sign disappears. A free index stays, and gives the result its shape.* In NumPy the index under the sign is the axis that you name:
# `(a * b).sum(axis=0)` has the shape `(3,)`.

# %%
a = np.array([[1, 2, 3], [4, 5, 6]])  # (2, 3)
b = np.array([[1, 0, 2], [-1, 3, 1]])  # (2, 3)

total = 0
for i in range(2):
    for j in range(3):
        total += a[i, j] * b[i, j]
print("over i and j:   ", total, "  in NumPy:", (a * b).sum())
print("over i, j free: ", (a * b).sum(axis=0))
print("over j, i free: ", (a * b).sum(axis=1))

# %% [markdown]
# ### Exercise 1b.2
# Write $\sum_{i,j} a_{ij} b_{ij}$ and $\sum_i a_{ij} b_{ij}$ for tables of any size. Loops or NumPy, as you like.


# %%
def my_sums(a, b):
    """a (I, J), b (I, J)  ->  total: over i and j, a number; columns (J,): over i"""
    ### BEGIN SOLUTION
    total = 0.0
    columns = np.zeros(a.shape[1])  # (J,)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j] * b[i, j]
            columns[j] += a[i, j] * b[i, j]
    return total, columns
    ### END SOLUTION


check("1b.2", my_sums)

# %% [markdown]
# ### The slope of a sum
# There is one more thing about sums that we need all the time. What is the partial derivative of $\sum_i x_i^2$ with respect to $x_1$? Write it out.
# Only $x_1$ moves:
#
# $$\frac{\partial}{\partial x_1} \bigl(x_0^2 + x_1^2 + x_2^2\bigr) = 0 + 2x_1 + 0 = 2x_1 .$$
#
# So $\frac{\partial}{\partial x_k} \sum_i x_i^2 = 2 x_k$: of all the terms, only the one with $i = k$ moves, and *the summation sign is gone*. We
# wrote $k$ because $i$ is already taken: it is the index that runs. When a formula confuses you, do the same: write the sum out for two or three
# terms, and see which of them move.
#
# ## The chain rule: along one path
# Take three numbers, $x = 3$, $w = -2$ and $b = 10$. From them we compute, step by step,
#
# $$p = w\,x = -6 , \qquad s = p + b = 4 , \qquad g = s \cdot s = 16 .$$
#
# How does $g$ react to $w$? Let $w$ move by a small $h$ and follow the move:
#
# * $p = w\,x$ moves $x$ times as far: by $3h$.
# * $s = p + b$ moves just as far as $p$: by $1 \cdot 3h$.
# * $g = s^2$ moves $2s = 8$ times as far as $s$: by $8 \cdot 1 \cdot 3h = 24h$.
#
# Each step passes the move on, multiplied by its own slope. So the slope of the whole path is the *product* of the slopes of its steps:
#
# $$\frac{\partial g}{\partial w} = \frac{\partial g}{\partial s} \cdot \frac{\partial s}{\partial p} \cdot \frac{\partial p}{\partial w} = 2s \cdot 1 \cdot x = 8 \cdot 1 \cdot 3 = 24 .$$
#
# The slope of a single step is called **local**. It depends only on the numbers that go into this step: for a sum it is 1, for a product it is *the
# other factor*. Let us measure whether that is right:


# %%
def g_of(w, x=3.0, b=10.0):
    p = w * x
    s = p + b
    return s * s


for h in (1e-1, 1e-3, 1e-5):
    print(f"h = {h:g}: measured slope {(g_of(-2 + h) - g_of(-2)) / h:.5f}")

# %% [markdown]
# ### Exercise 1b.3
# The path goes on: $e = g - t$ with one more given number $t$ (a *target*), and $L = e \cdot e$. All of it in one line:
#
# $$L = \bigl((w\,x + b)^2 - t\bigr)^2 .$$
#
# Write the slopes of $L$ with respect to $w$ and $b$. Go through the steps from the end to the beginning, and multiply. (For $x = 3$, $w = -2$,
# $b = 10$, $t = 20$ the answers are $-192$ and $-64$.)


# %%
def my_slopes_of_one_way(x, w, b, t):
    """x, w, b, t numbers  ->  dw, db: the slopes of L with respect to w and b, two numbers"""
    ### BEGIN SOLUTION
    s = w * x + b
    e = s * s - t
    dL_de = 2 * e
    dL_dg = dL_de * 1  # e = g - t
    dL_ds = dL_dg * 2 * s  # g = s * s
    return dL_ds * x, dL_ds * 1  # s = w * x + b
    ### END SOLUTION


check("1b.3", my_slopes_of_one_way)

# %% [markdown]
# ## Several paths
# In $g = s \cdot s$ the same number appears twice. Why is the slope $2s$? Let $s = 4$ move by $h$. The first factor moves, and the product moves by
# the other factor times $h$, that is $4h$. The second factor moves too, and adds another $4h$. Together $8h$. So $s$ reaches $g$ along *two paths*.
# Each path counts, and **the paths add up**.
#
# This is the whole chain rule:
#
# > Multiply along a path. Add up over the paths.
#
# As a formula: suppose that a number $a$ reaches $L$ through several numbers $y_0, y_1, \dots$ Then
#
# $$\frac{\partial L}{\partial a} = \sum_k \frac{\partial L}{\partial y_k}\,\frac{\partial y_k}{\partial a} .$$
#
# For each $k$ there is a path through $y_k$. Its first step has the local slope $\partial y_k / \partial a$, and $\partial L / \partial y_k$ is the
# slope of everything that comes after.
#
# ### Exercise 1b.4
# Here $x$ reaches $y$ directly and through a $\tanh$. (Every block of a Mixer has this form, lesson 09.)
#
# $$y = x + \tanh(w\,x)$$
#
# Write the slope of $y$ with respect to $x$.


# %%
def my_slope_of_two_ways(x, w):
    """x, w numbers  ->  dx: the slope of y = x + tanh(w * x) with respect to x, a number"""
    ### BEGIN SOLUTION
    t = math.tanh(w * x)
    direct = 1.0
    through_tanh = (1 - t * t) * w
    return direct + through_tanh
    ### END SOLUTION


check("1b.4", my_slope_of_two_ways)

# %% [markdown]
# ## A graph with numbers on it
# Now for the ten scalars. Four are put in, and six are computed from them:
#
# | put in | | | computed | | local slopes |
# |---|--:|---|---|--:|---|
# | $x$ | 3 | | $p = w\,x$ | $-6$ | $x$ for $w$, and $w$ for $x$ |
# | $w$ | $-2$ | | $s = p + b$ | 4 | 1 and 1 |
# | $b$ | 10 | | $g = s \cdot s$ | 16 | $s$, twice |
# | $m$ | $-20$ | | $r = g + x$ | 19 | 1 and 1 |
# | | | | $e = r + m$ | $-1$ | 1 and 1 |
# | | | | $L = e \cdot e$ | 1 | $e$, twice |
#
# Think of $x$ as an input, $w$ and $b$ as parameters, $r$ as the answer, 20 as the answer that we want ($m$ is minus that), $e$ as the error and $L$
# as the loss. Note that $x$ is used twice. Draw the ten numbers, with an arrow from each number to the numbers that are computed from it: that is a
# **graph**.
#
# Step through it. First *forward*: each number is computed from those before it. Then *backward*: $L$ has the slope 1 with respect to itself. Each
# number that knows its slope hands it back to the numbers it was computed from, multiplied by the local slope on the arrow. What arrives at a number
# is added up. The slope of a number is complete when all the arrows that leave it have reported back. Look at $x$: it gets $-2$ first, and 32 at the
# very end.

# %%
names = ["x", "w", "b", "m", "p", "s", "g", "r", "e", "L"]
formulas = {
    "p": "w * x",
    "s": "p + b",
    "g": "s * s",
    "r": "g + x",
    "e": "r + m",
    "L": "e * e",
}
points = {
    "x": (0, 0.5),
    "w": (0, 2.3),
    "p": (1.75, 1.9),
    "b": (1.75, 3.2),
    "s": (3.5, 2.3),
    "g": (5.25, 2.3),
    "r": (7, 1.6),
    "m": (7, 3.2),
    "e": (8.75, 2.1),
    "L": (10.5, 2.1),
}


def ten_scalars(tape, x, w, b, m):
    """Compute the ten numbers on a tape (explained below); return the place of L."""
    x, w, b, m = (tape.write(number) for number in (x, w, b, m))
    p = tape.multiply(w, x)
    s = tape.add(p, b)
    g = tape.multiply(s, s)
    r = tape.add(g, x)
    e = tape.add(r, m)
    return tape.multiply(e, e)


tape = Tape()
last = ten_scalars(tape, 3.0, -2.0, 10.0, -20.0)
show_steps(
    graph_steps(tape, names, formulas, points),
    alt="A graph of ten numbers with the slope of L below each: x = 3 with slope 30, w = -2 with -48, b = 10 with -16, m = -20 "
    "with -2, p = -6 with -16, s = 4 with -16, g = 16 with -2, r = 19 with -2, e = -1 with -2, L = 1 with 1.",
)

# %% [markdown]
# Check one of the results by hand. If $x$ grows by 0.001 to 3.001, then $p = -6.002$, $s = 3.998$, $g = 15.984004$, $r = 18.985004$, $e = -1.014996$ and
# $L = 1.0302$. It has grown by 0.0302, which is about 30 times 0.001.
#
# What are the slopes good for? $L$ falls when $w$ and $b$ grow, since their slopes are negative. So let both take a small step *against* their
# slopes, and the loss falls. ($x$ and $m$ stay where they are: they are data.)

# %%
slopes = dict(zip(names, tape.backward(last), strict=True))
step = 0.001
w, b = -2.0 - step * slopes["w"], 10.0 - step * slopes["b"]
moved = Tape()
place = ten_scalars(moved, 3.0, w, b, -20.0)
print("slopes:", {name: round(slope, 6) for name, slope in slopes.items()})
print(
    f"w {w:g}, b {b:g}: the loss was {tape.values[last]:g}, now it is {moved.values[place]:.4f}"
)

# %% [markdown]
# That is training. Lesson 02 does it with 650 parameters, and nothing else changes.
#
# ## Why backward?
# There are three ways to find out how $L$ reacts to the numbers that are put in.
#
# * **Try it out.** Move one number by a small step and compute everything again. With 4 numbers that is 4 more passes forward, with 100,000 it is 100,000.
# * **Go forward along the arrows.** Start at one number, say $w$, with the slope 1, and carry along the answer to "how does this number react to
#   $w$?": 3 at $p$, 3 at $s$, 24 at $g$ and so on. At the end you have
#   the slope of $L$ with respect to $w$, and with respect to nothing else. So each number needs a pass of its own.
# * **Go backward along the arrows.** Start at $L$ and carry along the answer to "how does $L$ react to this number?" When the pass is over, *every* number has its slope.
#
# Backward needs one pass for all inputs because there is only one $L$, and a loss is always a single number. The graph above has 12 arrows: 12
# multiplications and additions give all ten slopes. What it costs is memory. The local slopes contain numbers from the forward pass (the other
# factor, the $\tanh$), so these must be kept until the way back. This is what the `cache` of every operation in this package is for.
#
# ## An engine
# The backward pass needs no thought. So let a program do it. It writes every number down, one after the other, on a **tape**, and beside each number
# the *ways* into it, one for each arrow: from *which* earlier number, and with *which* local slope. On the tape a number is known by its place: 0, 1,
# 2, ...
#
# | place | value | ways: (place, local slope) | |
# |--:|--:|---|---|
# | 0 | 3 | none | $x$ |
# | 1 | $-2$ | none | $w$ |
# | 2 | $-6$ | (1, 3), (0, $-2$) | $p = w\,x$ |
#
# ### Exercise 1b.5
# Write `multiply` and `tanh`. `add` shows how: look up the values, write down the result together with its ways, and return its place.


# %%
class MyTape:
    """values: numbers in the order in which they were made; ways: pairs (place, local slope) for each."""

    def __init__(self):
        self.values, self.ways = [], []

    def write(self, value, *ways):
        """Write a number down and return its place; ways: pairs (place of an earlier number, local slope)."""
        self.values.append(value)
        self.ways.append(ways)
        return len(self.values) - 1

    def add(self, a, b):
        """a, b places  ->  the place of the sum"""
        return self.write(self.values[a] + self.values[b], (a, 1.0), (b, 1.0))

    def multiply(self, a, b):
        """a, b places  ->  the place of the product"""
        ### BEGIN SOLUTION
        x, y = self.values[a], self.values[b]
        return self.write(x * y, (a, y), (b, x))
        ### END SOLUTION

    def tanh(self, a):
        """a a place  ->  the place of the tanh"""
        ### BEGIN SOLUTION
        t = math.tanh(self.values[a])
        return self.write(t, (a, 1 - t * t))
        ### END SOLUTION


check("1b.5", MyTape)

# %% [markdown]
# Now the backward pass. A number can only be computed from numbers that stand *before* it on the tape. So if you go through the tape from the end to
# the beginning, every number has received all its parts by the time its turn comes. That is the whole trick.
#
# ### Exercise 1b.6
# Write the backward pass: a list of slopes, one for each number on the tape. Start with zeros. The number at place `last` has the slope 1. (There may
# be numbers after it. They don't influence it, and their slope stays 0.)


# %%
def my_backward(tape, last):
    """tape with values and ways, last a place  ->  for each number the slope of number `last` with respect to it"""
    slopes = [0.0] * len(tape.values)
    ### BEGIN SOLUTION
    slopes[last] = 1.0
    for place in range(last, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += slopes[place] * local_slope
    return slopes
    ### END SOLUTION


check("1b.6", my_backward)

# %% [markdown]
# Together these are some thirty lines, and they differentiate anything that is built from sums, products and $\tanh$. Do they get it right? A
# gradient that nobody has checked is a rumour. The package has the same engine, `tinymixer/lessons/tape.py`; the cells below use it, so that they
# run before yours is finished. *Once it is, write `MyTape, my_backward` in the first line, and see that nothing changes.*
#
# First against small steps. We take central differences, one step to each side, which are much more accurate ([lesson
# 03](03_gradient_checking.ipynb) says why).

# %%
engine, backward_of = Tape, Tape.backward  # yours: MyTape, my_backward


def loss_of(numbers):
    """The loss of the ten scalars, for these four numbers."""
    tape = engine()
    return tape.values[ten_scalars(tape, *numbers)]


numbers = np.array([3.0, -2.0, 10.0, -20.0])  # (4,)   x, w, b, m
tape = engine()
slopes = backward_of(tape, ten_scalars(tape, *numbers))
print("      small steps    the tape")
for place in range(4):
    step = np.zeros(4)  # (4,)   one number moves, the others stay
    step[place] = 1e-5
    measured = (loss_of(numbers + step) - loss_of(numbers - step)) / 2e-5
    print(f"{names[place]:4} {measured:12.6f} {slopes[place]:11.6f}")

# %% [markdown]
# Then with the package's checker. It wants the two functions that every operation in the course has: `forward`, which returns the result and a
# cache, and `backward`, which takes `dy`, the slope of the loss with respect to that result, and the cache. Here the cache is a tape. We put a
# $\tanh$ at the end, so that all three operations take part. (`dtype=`: the checker also demands that the dtype that goes in comes out, lesson 04.)


# %%
def forward(numbers):
    """numbers (4,)  ->  y (1,): tanh of a fiftieth of the loss of the ten scalars; the tape and y's place"""
    tape = engine()
    loss = ten_scalars(tape, *(float(number) for number in numbers))
    place = tape.tanh(tape.multiply(loss, tape.write(0.02)))
    y = np.array([tape.values[place]], dtype=numbers.dtype)  # (1,)
    return y, (tape, place)


def backward(dy, cache):
    """dy (1,)  ->  dnumbers (4,)"""
    tape, place = cache
    return dy * np.array(backward_of(tape, place)[:4], dtype=dy.dtype)


print(check_operation(forward, backward, numbers, name="tape"))

# %% [markdown]
# ## How many passes?
# Let us count, for a sum of products with a $\tanh$ after it, $y = \tanh\bigl(\sum_i w_i x_i\bigr)$, which is one output of a Linear layer and a
# bend. How many operations does it take to find the slopes with respect to all $w_i$ and $x_i$?

# %%
print("numbers put in    by small steps    backward")
for count in (2, 10, 100, 1000):
    tape = Tape()
    rng = np.random.default_rng(0)
    given = [tape.write(float(number)) for number in rng.normal(size=2 * count)]
    products = [
        tape.multiply(w, x) for w, x in zip(given[:count], given[count:], strict=True)
    ]
    total = products[0]
    for product in products[1:]:
        total = tape.add(total, product)
    y = tape.tanh(total)
    operations = len(tape.values) - len(given)  # of one pass forward
    arrows = sum(len(ways) for ways in tape.ways)  # of one pass backward
    print(f"{len(given):14,} {(len(given) + 1) * operations:17,} {arrows:11,}")

# %% [markdown]
# With small steps, the work grows with the *square* of the size: ten times the numbers, a hundred times the work. Backward, it only grows with the
# size. That is why networks with millions of parameters can be trained at all.
#
# ## The same graph, as a row of arrays
# A tape of scalars is slow: each number costs a trip through Python. But look at the numbers of a layer. They all do the same thing, so they can be
# put into arrays, and whole groups of arrows become one line.
#
# Take $I = 2$ inputs $x_i$ and $O = 3$ outputs $y_o$. Each output is a sum of products and a bias:
#
# $$y_o = \sum_i x_i\,W_{io} + b_o , \qquad \text{for example} \quad y_1 = x_0\,W_{01} + x_1\,W_{11} + b_1 .$$
#
# $i$ is under the sign. $o$ is free: three outputs. $W$ is a table with a row for each input and a column for each output, and this is a row of $I$
# numbers times a matrix.

# %%
figure, axes = new_figure(1, 2, width=8, height=2.6)
inputs = [(0, 1.5), (0, 0.5)]
outputs = [(2, 2), (2, 1), (2, 0)]
for axis, title, chosen, slopes in (
    (
        axes[0],
        "from x[0] to L: three paths, which add up",
        {(0, 0), (0, 1), (0, 2)},
        ("dy[0] * W[0, 0]", "dy[1] * W[0, 1]", "dy[2] * W[0, 2]"),
    ),
    (axes[1], "from W[1, 2] to L: one path", {(1, 2)}, ("", "", "dy[2] * x[1]")),
):
    for i, (x0, y0) in enumerate(inputs):
        for o, (x1, y1) in enumerate(outputs):
            marked = (i, o) in chosen
            style = {
                "arrowstyle": "-|>",
                "color": COLOURS[4] if marked else INK,
                "linewidth": 2.4 if marked else 0.8,
                "shrinkA": 14,
                "shrinkB": 14,
            }
            axis.annotate("", xy=(x1, y1), xytext=(x0, y0), arrowprops=style)
    for i, (x0, y0) in enumerate(inputs):
        axis.text(x0, y0, f"x[{i}]", ha="center", va="center", color=COLOURS[0])
    for o, (x1, y1) in enumerate(outputs):
        axis.text(x1, y1, f"y[{o}]", ha="center", va="center", color=COLOURS[0])
        axis.text(x1 + 0.35, y1, slopes[o], va="center", color=COLOURS[4])
    axis.set(xlim=(-0.3, 3.6), ylim=(-0.35, 2.4))
    axis.set_title(title)
    axis.axis("off")
show_still(
    figure,
    alt="Two inputs and three outputs, an arrow from each input to each output. Left, the three arrows from x[0] are "
    "marked; beside the outputs stand dy[0] * W[0, 0], dy[1] * W[0, 1] and dy[2] * W[0, 2]. Right, only the arrow from "
    "x[1] to y[2] is marked, on which W[1, 2] lies, and beside y[2] stands dy[2] * x[1].",
)

# %% [markdown]
# The layers after this one have told us how the loss reacts to each output: $\texttt{dy}_o = \partial L / \partial y_o$, three numbers. We go one
# step further back, for each kind of number. *How many paths lead from it to $L$, and what is the local slope on each?*
#
# * **A bias** $b_o$ reaches $y_o$ only, with the local slope 1. One path: $\partial L / \partial b_o = \texttt{dy}_o$.
# * **A weight** $W_{io}$ reaches $y_o$ only, multiplied by $x_i$. One path: $\partial L / \partial W_{io} = x_i\,\texttt{dy}_o$. Both indices are
#   free: a table `(I, O)`, like $W$.
# * **An input** $x_i$ reaches *every* output, $y_o$ with the local slope $W_{io}$. Three paths, and they add up: $\partial L / \partial x_i = \sum_o \texttt{dy}_o\,W_{io}$.
#
# In numbers, with $x = (2, 5)$, $W = \begin{pmatrix} 1 & 0 & 2 \\ -1 & 3 & 1 \end{pmatrix}$ and $\texttt{dy} = (1, -2, 3)$: the slope for $x_0$ is
# $1 \cdot 1 + (-2) \cdot 0 + 3 \cdot 2 = 7$, for $x_1$ it is $1 \cdot (-1) + (-2) \cdot 3 + 3 \cdot 1 = -4$, and for $W_{12}$ it is $5 \cdot 3 = 15$.
#
# ### Exercise 1b.7
# Write these three gradients, with loops over $i$ and $o$. (Shorter, if you see how: without loops.)


# %%
def my_row_backward(dy, x, weight):
    """dy (O,), x (I,), weight (I, O)  ->  dx (I,), dweight (I, O), dbias (O,)"""
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(dy.shape)
    ### BEGIN SOLUTION
    for o in range(len(dy)):
        dbias[o] = dy[o]
        for i in range(len(x)):
            dweight[i, o] = x[i] * dy[o]
            dx[i] += dy[o] * weight[i, o]  # the paths to all outputs add up
    return dx, dweight, dbias
    ### END SOLUTION


check("1b.7", my_row_backward)

# %% [markdown]
# The tape and the array operation of the package do the same sums. Here are both on a layer of 60 inputs and 60 outputs:

# %%
I, O = 60, 60
rng = np.random.default_rng(1)
x, weight, dy = rng.normal(size=I), rng.normal(size=(I, O)), rng.normal(size=O)

started = time.perf_counter()
tape = Tape()
x_places = [tape.write(number) for number in x]
weight_places = [[tape.write(number) for number in row] for row in weight]
# The loss is the sum over o of dy[o] * y[o]: its slope with respect to y[o] is dy[o].
loss = tape.write(0.0)
for o in range(O):
    y = tape.write(0.0)
    for i in range(I):
        y = tape.add(y, tape.multiply(x_places[i], weight_places[i][o]))
    loss = tape.add(loss, tape.multiply(y, tape.write(dy[o])))
dx_of_tape = np.array(tape.backward(loss))[x_places]  # (I,)
tape_seconds = time.perf_counter() - started

started = time.perf_counter()
_, cache = ops.linear_forward(x[None], weight, np.zeros(O))
dx, dweight, dbias = ops.linear_backward(dy[None], cache)
array_seconds = time.perf_counter() - started

print(f"largest difference: {abs(dx_of_tape - dx[0]).max():.0e}")
print(f"the tape, {len(tape.values):,} numbers: {1000 * tape_seconds:.1f} ms")
print(f"two lines of arrays:      {1000 * array_seconds:.2f} ms")

# %% [markdown]
# [Lesson 02](02_linear.ipynb) adds one thing: a *batch*. $B$ rows meet the same weights and the same bias. So each weight and each bias now reaches
# the loss along $B$ paths, one for each row, and the paths add up: one more sum, over the rows. You know where it comes from.
#
# ## The symbols of the course
# Come back to this table when a symbol is unfamiliar. All of them are explained again where they are needed.
#
# | symbol | read | meaning | from |
# |---|---|---|---|
# | $df/dx$, $f'$ | derivative of $f$ with respect to $x$ | the slope; $f''$ is the slope of the slope | here |
# | $\partial L / \partial x$ | partial derivative | the slope when only $x$ moves | here |
# | $\sum_i$ | sum over $i$ | a loop that adds up | here |
# | $e^x$, $\log x$ | exp, natural logarithm | $\log$ undoes exp | here, 06 |
# | mean $\mu$, variance $v$ | | of 1, 3 and 5: the mean is 3, the distances from it are $-2$, 0, 2, their squares 4, 0, 4; the variance is the mean of these squares, $8/3 \approx 2.67$ | 03, 05 |
# | standard deviation | | the root of the variance, here 1.63: the typical distance from the mean | 03, 05 |
# | $i$ with $i^2 = -1$ | the imaginary unit | $a + ib$ is a *complex number*, two numbers in one. A *complex step* moves $x$ by $ih$ in place of $h$ | 03 |
# | $\int$ | integral | the area under a curve | 04 |
# | $\delta_{ij}$ | delta | 1 where $i = j$, else 0 | 05 |
# | eigenvector, eigenvalue | | a matrix turns most directions. Those that it only stretches are its eigenvectors, and the factors are the eigenvalues | 10 |

# %% [markdown]
# **Try it.** (a) Give `MyTape` a method `exp`, then one that divides. Check them with `check_operation`, as above. (b) Change `+=` to `=` in
# `my_backward` and read what its check says. (c) What would `backward` have to look like if there were two losses, $L_1 + L_2$?

# %% [markdown] tags=["solution"]
# **About the questions.** (a) `exp` writes `math.exp(x)` with the single way `(a, math.exp(x))`. A quotient $x / y$ has the value `x / y` and the
# ways `(a, 1 / y)` and `(b, -x / (y * y))`: it is $x$ times $1/y$, and the table has the slope of $1/y$. (b) The hint says that a number that is
# used twice keeps only one of its ways. (c) Nothing changes. Let the tape add the two losses, and start at the sum. Starting with the slope 1 at
# both places, and going back once, gives the same.

# %% [markdown]
# ## Questions
#
# **1.** $f(a, b, c) = a\,b + c$ at $a = 2$, $b = 5$, $c = 1$. What are the three partial derivatives? By about how much does $f$ grow if all three
# numbers grow by 0.01?
#
# <details><summary>Answer</summary>
#
# With respect to $a$ it is $b = 5$, with respect to $b$ it is $a = 2$, and with respect to $c$ it is 1. For small steps the moves add up:
# $(5 + 2 + 1) \cdot 0.01 = 0.08$. (Exactly, it is 0.0801.)
#
# </details>
#
# **2.** $a$ has the shape $(4, 5)$. How many terms does $\sum_{i,j} a_{ij}$ have? How many sums is $\sum_j a_{ij}$, and how many terms does each of
# them have?
#
# <details><summary>Answer</summary>
#
# The first has 20 terms, one for each pair. The second is 4 sums, one for each $i$, of 5 terms each: $i$ is free, so the result has the shape $(4,)$.
#
# </details>
#
# **3.** Find the fault: an engine's backward pass writes `slopes[part] = ...` where `+=` belongs. What does it answer for a weight that is used
# three times in a network?
#
# <details><summary>Answer</summary>
#
# It keeps one of the three paths, the one that it comes to last, and forgets the other two. No error appears, and the loss may even fall. Only a
# check finds it.
#
# </details>
#
# **4.** A network has a million parameters. How many passes does it take to find all slopes by small steps, forward along the arrows, and backward?
#
# <details><summary>Answer</summary>
#
# By small steps it takes about a million passes forward (and one more, or twice as many with a step to each side). Forward along the arrows it takes
# a million, one for each parameter. Backward it takes one pass forward to get the numbers, and one pass back.
#
# </details>
#
# **5.** Explain to a colleague why the backward pass needs numbers from the forward pass. Which ones does a product need, which a $\tanh$, and which
# a sum?
#
# <details><summary>Answer</summary>
#
# The local slopes are made of them. A product needs both its factors, because the slope for one is the other. A $\tanh$ needs its result, since its
# slope is $1 - t^2$. A sum needs nothing: its local slopes are 1.
#
# </details>

# %% [markdown]
# ## What you have now
# | | rule | on ten scalars |
# |---|---|---|
# | slope | how far $f$ moves when $x$ moves a little, divided by how far $x$ moves | $x^2$ at 3: 6 |
# | partial derivative | one number moves, the others stay | $\partial (wx) / \partial w = x$ |
# | sum | an index under the sign disappears, a free one stays | 6 terms for a table of $2 \times 3$ |
# | along a path | multiply the local slopes | $g$ with respect to $w$: $8 \cdot 1 \cdot 3$ |
# | over the paths | add | $x$: $-2 + 32 = 30$ |
# | backward | one pass for all inputs, because there is one loss | 12 arrows, ten slopes |
#
# **Where the package does this:** `tinymixer/lessons/tape.py` (the engine), `tinymixer/gradcheck` (the checker). The rest of the package has no
# tape. Its operations know their own local slopes, array by array, and each layer calls them in the opposite order by hand. From now on you write
# them.
#
# Next: [lesson 02, Linear](02_linear.ipynb).
