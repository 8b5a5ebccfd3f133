# %% [markdown]
# # Lesson 06 · Softmax cross-entropy, stably
#
# *80 minutes. Before: [lesson 02](02_linear.ipynb) (the chain rule, the classifier), [lesson 03](03_gradient_checking.ipynb)
# (gradient checks), [lesson 05](05_layer_norm.ipynb) (directions in which the loss is flat).*
#
# A classifier needs a number that says how wrong it is, and in which direction it would get better. Cross-entropy is that number. Its gradient is the
# simplest in the course, and written as in the textbook it breaks at the first large logit. After
# this lesson you can
#
# * turn outputs into probabilities, and say why `exp` is the way to do it,
# * write the loss so that no logit, however large, breaks it,
# * derive its gradient, `(p - target) / B`, and say what it tells the network,
# * say what loss to expect before the first step of training.

# %% [markdown]
# ## Before you begin
#
# **1.** Adding the same number to all inputs of an operation does not change its output. What does that say about `dx`? (lesson 05)
#
# <details><summary>Answer</summary>
#
# The elements of `dx` add up to zero. The loss is flat in the direction $(1, \dots, 1)$, and the gradient has no part along a direction in which the
# loss is flat. You will meet this argument again below.
#
# </details>
#
# **2.** The loss of the first classifier was $\frac{1}{2B}\sum (y - t)^2$. What was `dy`, and where did the factor $\frac12$ go? (lesson 02)
#
# <details><summary>Answer</summary>
#
# $\texttt{dy} = \frac1B (y - t)$. The slope of a square is two times the number, and that 2 cancels the $\frac12$. The $\frac1B$ stays, because the
# loss is a mean over the batch.
#
# </details>
#
# **3.** What are $e^0$ and $\log 1$, and what is the slope of $\log x$ at $x = 0.01$? (lesson 01b)
#
# <details><summary>Answer</summary>
#
# 1, 0 and 100. The slope is $1/x$: near zero, the logarithm is very steep. In this lesson that is why a network that is sure and wrong pays a high
# price.
#
# </details>

# %%
import numpy as np

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.data import load_dataset
from tinymixer.gradcheck import check_operation
from tinymixer.gradcheck.planted_faults import loss as faults
from tinymixer.layers import Linear
from tinymixer.lessons import check, new_figure, show
from tinymixer.lessons.backward_pictures import loss_steps
from tinymixer.lessons.steps import show_steps

# %% [markdown]
# ## From outputs to probabilities
# A classifier of $K$ classes has $K$ outputs for each image, any numbers, positive or negative. They are called **logits**. For one image
# we write them $z_0, \dots, z_{K-1}$. We want probabilities $p_0, \dots, p_{K-1}$ instead: none of them negative, and with the sum 1. The **softmax**
# makes them in two steps ($e^z$ is the exponential function, `np.exp` in code, with $e \approx 2.718$):
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}} .$$
#
# *Why the exponential?* It makes every number positive and keeps their order. And it turns differences into ratios,
#
# $$\frac{p_k}{p_j} = \frac{e^{z_k}}{e^{z_j}} = e^{z_k - z_j},$$
#
# so a logit has a meaning: raising it by one makes its class $e \approx 2.7$ times as probable, compared with any other. *Why divide?* Because then
# they add up to 1, and those ratios don't change.

# %%
z = np.array([2.0, 1.0, 0.0, -1.0])  # (K,)
p = np.exp(z) / np.sum(np.exp(z))  # (K,)

figure, axes = new_figure(1, 3, width=7, height=2.2)
for axis, title, values in zip(
    axes, ("logits", "their exponentials", "probabilities"), (z, np.exp(z), p), strict=True
):
    axis.bar(range(4), values, color=COLOURS[0])
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_title(title)
    axis.set_xticks(range(4))
    axis.set_xlabel("class")
show(
    figure,
    alt="Four logits 2, 1, 0, -1 as bars; their exponentials, all positive; "
    "the probabilities, in the same proportions and with the sum 1.",
)
print("probabilities:", p.round(3), "sum:", p.sum().round(6))
print("ratio of neighbours:", (p[:-1] / p[1:]).round(3))

# %% [markdown]
# ## Logits of 1000
# Floating-point numbers do not go on forever. In float32 the largest is about $3.4 \cdot 10^{38}$, which is $e^{88.7}$, and everything
# below about $10^{-45}$, which is $e^{-104}$, becomes zero. (In float16 the largest is 65504, which is $e^{11.1}$.)

# %%
with np.errstate(over="ignore", under="ignore", invalid="ignore"):
    for exponent in (10, 88, 89, -100, -105):
        print(f"exp({exponent}) in float32 is {np.exp(np.float32(exponent))}")

    for logits in ([2, 1], [1000, 999], [-1000, -1001]):
        z = np.array(logits, dtype=np.float32)  # (K,)
        print(f"softmax of {logits} as in the formula: {np.exp(z) / np.sum(np.exp(z))}")

# %% [markdown]
# Infinity divided by infinity is not a number, and neither is zero divided by zero. Yet the answer exists: in all three rows the first logit is
# larger than the second by one, so all three have the same probabilities. That also suggests the cure. *Subtracting the same number* $m$ *from all
# logits changes nothing:*
#
# $$\frac{e^{z_k - m}}{\sum_j e^{z_j - m}} = \frac{e^{-m}\,e^{z_k}}{e^{-m} \sum_j e^{z_j}} = \frac{e^{z_k}}{\sum_j e^{z_j}} .$$
#
# For $m$, choose the largest logit of the row. Then the largest exponent is 0 and nothing can overflow. The largest exponential is $e^0 = 1$, so the
# sum is at least 1 and nothing is divided by zero. A class whose probability is below about $10^{-45}$ still becomes zero, and as a probability, zero
# is a good answer there.
#
# ### Exercise 6.1
# Write a softmax for a batch: one image per row. (`keepdims=True` again, lesson 05.)


# %%
def my_softmax(logits):
    """logits (B, K)  ->  probabilities (B, K), each row with the sum 1"""
    ### BEGIN SOLUTION
    shifted = logits - logits.max(axis=1, keepdims=True)  # (B, K)   the largest is 0
    exponentials = np.exp(shifted)  # (B, K)
    return exponentials / exponentials.sum(axis=1, keepdims=True)  # (B, K)
    ### END SOLUTION


check("6.1", my_softmax)

# %% [markdown]
# ## Surprise
# Let $y$ be the right class of the image, its label. The network gave it the probability $p_y$. How bad is that? The cross-entropy says
#
# $$\ell = -\log p_y ,$$
#
# the *surprise* at learning the truth. ($\log$ is the natural logarithm, which undoes the exponential: $\log e^z = z$, and $\log 1 = 0$. It turns
# products into sums, $\log ab = \log a + \log b$, and its slope at $x$ is $1/x$.) A network that was certain of it ($p_y = 1$) is not surprised at
# all, $\ell = 0$. Every halving of $p_y$ adds the same amount, $\log 2 \approx 0.69$, which is called one **bit**. And there is no limit to what
# being certain of a wrong class can cost.

# %%
p = np.linspace(0.004, 1, 500)
figure, axis = new_figure(width=6, height=2.9)
axis.plot(p, -np.log(p), color=COLOURS[0], linewidth=2)
halvings = 0.5 ** np.arange(8)
axis.plot(
    halvings, -np.log(halvings), "o", color=COLOURS[1], label="each half of the one before"
)
axis.axhline(np.log(10), color=INK, linewidth=1, linestyle="--", label="guessing among ten")
axis.set_xlabel("probability of the right class")
axis.set_ylabel("loss")
bits = axis.secondary_yaxis(
    "right", functions=(lambda x: x / np.log(2), lambda x: x * np.log(2))
)
bits.set_ylabel("in bits", color=INK)
bits.tick_params(colors=INK)
bits.spines["right"].set_color(INK)
axis.legend()
show(
    figure,
    alt="The loss falls from above 5 at probability 0.004 to zero at 1; dots mark the halvings of the "
    "probability, one bit apart; guessing among ten lies at 2.3.",
)

# %% [markdown]
# One image tells us nothing about another, so the probability of *all* the labels of a batch is the product of their probabilities, and its logarithm
# is a sum. As the loss of a batch of $B$ images we take the mean. With $n$ for the image and $y_n$ for its label,
#
# $$L = -\frac1B \sum_{n} \log p_{n,y_n} .$$
#
# **What to expect before training.** A network that knows nothing gives every class $1/K$. Its loss is $-\log \frac1K = \log K$,
# which is 2.303 for ten classes. The head of a Mixer starts with weights of zero, so all its logits are zero and its first loss is exactly that. This
# is the cheapest test there is: if the first loss is far from $\log K$, find out why before you go on training.

# %%
labels = np.arange(10)  # (B,)
loss, _ = ops.softmax_cross_entropy(np.zeros((10, 10)), labels)
sure, _ = ops.softmax_cross_entropy(20 * np.roll(np.eye(10), 1, axis=1), labels)
print(f"all logits zero: loss {loss:.4f}, log 10 = {np.log(10):.4f}")
print(f"certain and wrong every time: loss {sure:.1f}")

# %% [markdown]
# ## The logarithm of zero
# It would be natural to compute the softmax and then its logarithm. But a probability that became zero has no logarithm, and
# this time zero is *not* a good answer. We take the logarithm on paper first:
#
# $$\log p_k = \log \frac{e^{z_k - m}}{\sum_j e^{z_j - m}} = (z_k - m) - \log \sum_j e^{z_j - m} .$$
#
# In the numerator, the logarithm has undone the exponential. The sum that remains is at least 1, so its logarithm is safe. The second part, together
# with $m$, has a name: $\operatorname{logsumexp}(z) = m + \log \sum_j e^{z_j - m} = \log \sum_j e^{z_j}$.
# The loss of one image becomes
#
# $$\ell = -\log p_y = \operatorname{logsumexp}(z) - z_y .$$

# %%
z = np.array([[0.0, 200.0]], dtype=np.float32)  # (1, 2)   very sure of class 1
shifted = z - z.max(axis=1, keepdims=True)  # (1, 2)
p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)  # (1, 2)
with np.errstate(divide="ignore"):
    print("if the label is 0, logarithm of the softmax:", -np.log(p)[0, 0])
loss, _ = ops.softmax_cross_entropy(z, np.array([0]))
print("if the label is 0, the package:             ", loss)

# %% [markdown]
# ### Exercise 6.2
# Write the loss of a batch. `logits[np.arange(B), labels]` picks the logit of its label from each row.


# %%
def my_cross_entropy(logits, labels):
    """logits (B, K), labels (B,) whole numbers 0..K-1  ->  loss, a number: the mean over the batch"""
    ### BEGIN SOLUTION
    largest = logits.max(axis=1)  # (B,)
    exponentials = np.exp(logits - largest[:, None])  # (B, K)
    log_sum_exp = largest + np.log(exponentials.sum(axis=1))  # (B,)
    right = logits[np.arange(len(labels)), labels]  # (B,)
    return np.mean(log_sum_exp - right)
    ### END SOLUTION


check("6.2", my_cross_entropy)

# %% [markdown]
# ## The gradient
# One image first. We differentiate both parts of $\ell = \operatorname{logsumexp}(z) - z_y$ with respect to the logit $z_k$.
#
# **The first part.** The derivative of a logarithm is one over its argument, times the derivative of the argument. In the sum $\sum_j e^{z_j}$ only
# the term $j = k$ moves with $z_k$, and its derivative is itself:
#
# $$\frac{\partial}{\partial z_k} \log \sum_j e^{z_j} = \frac{1}{\sum_j e^{z_j}}\; e^{z_k} = p_k .$$
#
# So the gradient of log-sum-exp is the softmax.
#
# **The second part.** $\partial z_y / \partial z_k$ is 1 if $k$ is the label $y$ and 0 otherwise. These $K$ numbers are the label's one-hot row,
# which we met in lessons 00 and 02: the **target** $t_k$. Together, the two parts give
#
# $$\frac{\partial \ell}{\partial z_k} = p_k - t_k .$$
#
# The loss of the batch is the mean over its images, so each has a share of $1/B$:
#
# $$\boxed{\;\texttt{dlogits}_{nk} = \frac{1}{B}\,\big(p_{nk} - t_{nk}\big)\;}$$
#
# ### Exercise 6.3
# Write it. You may call `my_softmax`.


# %%
def my_cross_entropy_gradient(logits, labels):
    """logits (B, K), labels (B,) whole numbers 0..K-1  ->  dlogits (B, K)"""
    ### BEGIN SOLUTION
    target = np.eye(logits.shape[1])[labels]  # (B, K)
    return (my_softmax(logits) - target) / len(labels)  # (B, K)
    ### END SOLUTION


check("6.3", my_cross_entropy_gradient)


# %% [markdown]
# ## Watch it move
# Here is one image of a batch of two, with the four logits from the beginning of this lesson and the label 1. Move the slider, or press *next*.

# %%
show_steps(
    loss_steps(logits=np.array([2.0, 1, 0, -1]), label=1, batch=2),
    alt="Six groups of four bars, one for each class. Logits: 2, 1, 0, -1. Their exponentials after subtracting 2: 1, 0.37, "
    "0.14, 0.05. Probabilities: 0.64, 0.24, 0.09, 0.03. Target: 0, 1, 0, 0. p - t: 0.64, -0.76, 0.09, 0.03. "
    "dlogits, half of that: 0.32, -0.38, 0.04, 0.02.",
)

# %% [markdown]
# ## What the gradient tells the network
# To see the gradient at work, we briefly train the classifier of lesson 02, a single Linear layer, with the package's loss, and look at an image
# that it still gets wrong.

# %%
digits = load_dataset("digits")
train_x = digits.train_images.reshape(-1, 64) / np.float32(255)  # (1437, 64)
test_x = digits.test_images.reshape(-1, 64) / np.float32(255)  # (360, 64)


def trained(loss_and_gradient, learning_rate, steps):
    """One Linear layer, trained on all images at once; its loss and test accuracy after each step."""
    layer = Linear(64, 10)
    layer.parameters.values[...] = 0
    losses, accuracies = [], []
    for _step in range(steps):
        logits, cache = layer.forward(train_x)  # (1437, 10)
        loss, dlogits = loss_and_gradient(logits, digits.train_labels)
        layer.parameters.zero_gradients()
        layer.backward(dlogits, cache)
        layer.parameters.values[...] -= learning_rate * layer.parameters.gradients
        guesses = layer.forward(test_x)[0].argmax(axis=1)  # (360,)
        losses.append(float(loss))
        accuracies.append(np.mean(guesses == digits.test_labels))
    return layer, losses, accuracies


layer, losses, _ = trained(ops.softmax_cross_entropy, learning_rate=1.0, steps=20)
print(f"the first loss: {losses[0]:.4f}, as expected; after 20 steps: {losses[-1]:.4f}")

logits, _ = layer.forward(test_x)  # (360, 10)
wrong = np.flatnonzero(logits.argmax(axis=1) != digits.test_labels)
image, label = digits.test_images[wrong[0]], digits.test_labels[wrong[0]]
first = wrong[:1]  # (1,)
_, cache = ops.softmax_cross_entropy_forward(logits[first], digits.test_labels[first])
log_p, target, _ = cache  # (1, K), (1, K)
p, t = np.exp(log_p[0]), target[0]  # (K,), (K,)

figure, axes = new_figure(1, 3, width=8, height=2.3, width_ratios=(1, 1.6, 1.6))
axes[0].imshow(image[..., 0], cmap="gray")
axes[0].set_title(f"label {label}")
axes[0].axis("off")
axes[1].bar(range(10), p, color=COLOURS[0])
axes[1].set_title("p: what it believes")
axes[2].bar(range(10), p - t, color=[COLOURS[2] if d < 0 else COLOURS[4] for d in p - t])
axes[2].axhline(0, color=INK, linewidth=0.8)
axes[2].set_title("p - t: the gradient")
for axis in axes[1:]:
    axis.set_xticks(range(10))
    axis.set_xlabel("class")
show(
    figure,
    alt="A digit; the ten probabilities the network gives it, the largest not at its label; and p - t: "
    "one bar points down, at the label, all others up, in proportion to their probability.",
)
print(f"sum of p - t: {np.sum(p - t):.0e}, as near to zero as float32 comes")

# %% [markdown]
# Training walks *against* the gradient. So the logit of the right class (the bar that points down) is raised, by as much as its probability falls
# short of 1, and every other logit is lowered, in proportion to the probability that its class has wrongly been given. A network that is right and
# sure gets almost no gradient: it is left alone. (The gradient of lesson 02 had outputs where this one has probabilities. There an output of 3 at
# the right class was an error of 2. Here it is a reason to be sure.)
#
# Up and down cancel: **every row of the gradient adds up to zero**. You can see why without a calculation. Adding the same number to all logits of an
# image changes no probability, so it does not change the loss, and along a direction in which the loss is flat, the gradient has no part. It is the
# same argument as in lesson 05.
#
# ## Why the two belong together
# We could write a softmax with its own backward pass, and after it a loss $-\log p_y$ with its own backward pass. Let us see what that would look
# like. By the quotient rule, with the sum $Z = \sum_j e^{z_j}$, whose derivative with respect to $z_k$ is $e^{z_k}$:
#
# $$\frac{\partial p_j}{\partial z_k} = \frac{\partial}{\partial z_k} \frac{e^{z_j}}{Z}
# = \frac{\delta_{jk}\, e^{z_j}\, Z - e^{z_j}\, e^{z_k}}{Z^2} = p_j\,(\delta_{jk} - p_k) ,$$
#
# where $\delta_{jk}$ is 1 for $j = k$ and 0 otherwise: a whole $K \times K$ matrix per image. The loss, written for any target, is
# $-\sum_j t_j \log p_j$, so its derivative with respect to $p_j$ is $-t_j / p_j$. The chain rule joins the two:
#
# $$\sum_j \Big(-\frac{t_j}{p_j}\Big)\, p_j\,(\delta_{jk} - p_k) = -t_k + p_k \sum_j t_j = p_k - t_k ,$$
#
# since the target adds up to 1. The result is the same, and on paper the two $p_j$ cancel. In floating point they don't get the chance:

# %%
label = np.array([0])
for gap in (10, 80, 200):
    z = np.array([[0, gap]], dtype=np.float32)  # (1, 2)   the label's logit is far below
    p = np.exp(z - gap) / np.sum(np.exp(z - gap))  # (1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        dp = -np.eye(2, dtype=np.float32)[label] / p  # (1, 2)
        in_two = p * (dp - np.sum(dp * p))  # (1, 2)   the matrix applied to dp
    _, in_one = ops.softmax_cross_entropy(z, label)  # (1, 2)
    print(f"logits 0 and {gap:3}:  in two operations {in_two[0]},  in one {in_one[0]}")

# %% [markdown]
# So the package has one operation for both. It is simpler (no matrix, no division), and nothing in it can overflow.
#
# ## Mean or sum
# Why the mean over the batch? With a sum, the gradient would grow with the batch, and a learning rate found at one batch size would be wrong at
# another. Here is the length of an untrained layer's gradient (the root of the sum of the squares of its elements) for three batch sizes. With the
# mean it hardly depends on the size (small batches are noisier); with a sum it grows:

# %%
layer = Linear(64, 10)
layer.parameters.values[...] = 0
for size in (32, 320, 1437):
    logits, cache = layer.forward(train_x[:size])  # (size, 10)
    _, dlogits = ops.softmax_cross_entropy(logits, digits.train_labels[:size])
    layer.parameters.zero_gradients()
    layer.backward(dlogits, cache)
    length = np.linalg.norm(layer.parameters.gradients)
    print(f"{size:4} images: with the mean {length:.2f}, with a sum {size * length:.0f}")

# %% [markdown]
# ## A check that lies, again
# The rows of `dlogits` add up to zero. So a gradient check that moves all logits together finds no change in the loss, just as the gradient predicts,
# and just as most wrong gradients predict, too. Here are four planted faults of this operation. We ask each one twice: what change do you predict if
# all logits move together, and what if each moves by a random amount?

# %%
rng = np.random.default_rng(0)
logits, labels = rng.normal(size=(4, 5)), np.array([0, 4, 2, 2])  # (B, K), (B,)
together = np.ones_like(logits)  # (B, K)
apart = rng.normal(size=logits.shape)  # (B, K)
h = 1e-5


def measured(direction):
    """How fast the loss (with label smoothing 0.1) changes in this direction."""
    above, _ = ops.softmax_cross_entropy_forward(logits + h * direction, labels, 0.1)
    below, _ = ops.softmax_cross_entropy_forward(logits - h * direction, labels, 0.1)
    return (above - below) / (2 * h)


_, cache = ops.softmax_cross_entropy_forward(logits, labels, 0.1)
print(f"{'':<26}{'together':>10}{'apart':>10}")
print(f"{'measured':<26}{abs(measured(together)):>10.4f}{measured(apart):>10.4f}")
for fault in (
    faults.batch_mean_forgotten,
    faults.label_smoothing_forgotten,
    faults.target_minus_probability,
    faults.softmax_over_the_batch,
):
    dlogits = fault(1.0, cache)  # (B, K)
    name = fault.__name__.replace("_", " ")
    print(f"{name:<26}{abs(dlogits.sum()):>10.4f}{np.sum(dlogits * apart):>10.4f}")

print()
for backward in (ops.softmax_cross_entropy_backward, faults.label_smoothing_forgotten):
    report = check_operation(
        ops.softmax_cross_entropy_forward, backward, logits, labels, 0.1
    )
    print(f"check_operation, {backward.__name__}: {'passes' if report.passed else 'fails'}")

# %% [markdown]
# In the first column, three of the four agree with the measurement; in the second, none does. For a softmax alone it is the all-ones `dy` that lies:
# the outputs add up to 1 whatever the logits are.
#
# ## Label smoothing
# A target of 1 can never be reached: $p_y = 1$ would need an infinite logit, and $p - t$ keeps pushing the logits apart forever. Szegedy et al. 2016
# ([arXiv 1512.00567](https://arxiv.org/abs/1512.00567), section 7) ask for a little less. With a small number
# $\alpha$, for instance 0.1, each target becomes
#
# $$t'_k = (1 - \alpha)\,t_k + \frac{\alpha}{K} .$$
#
# The row still adds up to 1, and nothing in the derivation changes. With $\sum_k t'_k = 1$,
#
# $$-\sum_k t'_k \log p_k = \sum_k t'_k\,\big(\operatorname{logsumexp}(z) - z_k\big) = \operatorname{logsumexp}(z) - \sum_k t'_k\,z_k ,$$
#
# and the derivative with respect to $z_k$ is $p_k - t'_k$. It is zero at $p = t'$, which finite logits reach: the right one must be larger than the
# others by $\log \frac{1 - \alpha + \alpha/K}{\alpha/K}$, which is $\log 91 \approx 4.5$ for $\alpha = 0.1$ and ten classes.
#
# ### Exercise 6.4
# Write the pair as the package has it: the forward pass with label smoothing, and a backward pass that gets `dloss`. `dloss` is a number, the
# derivative of whatever is minimised in the end with respect to this loss: usually 1, and something else if the loss is scaled or is one of several.


# %%
def my_smoothed_forward(logits, labels, label_smoothing):
    """logits (B, K), labels (B,), label_smoothing a number  ->  loss, cache (what your backward needs)"""
    images, classes = logits.shape
    ### BEGIN SOLUTION
    one_hot = np.eye(classes)[labels]  # (B, K)
    target = (1 - label_smoothing) * one_hot + label_smoothing / classes  # (B, K)
    shifted = logits - logits.max(axis=1, keepdims=True)  # (B, K)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # (B, K)
    return -np.sum(target * log_p) / images, (log_p, target)
    ### END SOLUTION


def my_smoothed_backward(dloss, cache):
    """dloss a number, cache from your forward  ->  dlogits (B, K)"""
    ### BEGIN SOLUTION
    log_p, target = cache  # (B, K), (B, K)
    return dloss * (np.exp(log_p) - target) / len(target)  # (B, K)
    ### END SOLUTION


check("6.4", my_smoothed_forward, my_smoothed_backward)

# %% [markdown]
# ## The classifier of lesson 02, with a better loss
# We take the same layer, the same images, the same 300 steps, and two losses. A fair comparison tries several learning rates for each loss, since a
# large step for one is a small step for the other.


# %%
def squared_error(outputs, labels):
    """The loss of lesson 02 and its gradient."""
    difference = outputs - np.eye(10, dtype=np.float32)[labels]  # (B, K)
    return 0.5 * np.mean(np.sum(difference**2, axis=1)), difference / len(outputs)


figure, axis = new_figure(width=6.5, height=3)
for number, (name, loss_and_gradient, learning_rates) in enumerate(
    (
        ("squared error", squared_error, (0.05, 0.1, 0.15)),
        ("cross-entropy", ops.softmax_cross_entropy, (0.5, 1.5, 5.0)),
    )
):
    for learning_rate, style in zip(learning_rates, (":", "--", "-"), strict=True):
        _, losses, accuracies = trained(loss_and_gradient, learning_rate, steps=300)
        percent = 100 * np.array(accuracies)
        curve = f"{name}, {learning_rate}"
        axis.plot(percent, style, color=COLOURS[number], linewidth=1.6, label=curve)
        print(f"{curve:<20} last loss {losses[-1]:.3f}, test accuracy {accuracies[-1]:.1%}")
axis.set_ylim(80, 100)
axis.set_xlabel("step")
axis.set_ylabel("test accuracy in %")
axis.legend(ncols=2, fontsize="small")
show(
    figure,
    alt="Test accuracy over 300 steps: the three curves of the squared error end near 91 or 92 percent, "
    "those of cross-entropy above them.",
)

# %% [markdown]
# How to read this table:
#
# * Don't compare the losses of the two: they are different quantities in different units. Accuracy means the same for both.
# * There are 360 test images, so one image is 0.28 %. A difference of two or three images could be chance. The best runs of the two losses are more
#   than ten images apart. (Picking the best run by its test images flatters both losses, but in the same way.)
# * We also tried larger steps with the squared error: at 0.2 it diverges, for the reason that lesson 02 shows. The gradient of the cross-entropy
#   can't grow like that, because no $|p - t|$ is larger than 1.
# * The layer is the same, so it *can* express the same things. But the squared error wants outputs of exactly 0 and 1, and keeps adjusting the
#   weights for images that are already right.
#
# **Try it.** Train with `lambda z, y: ops.softmax_cross_entropy(z, y, 0.1)`. What is the smallest loss that label smoothing allows? And how large is
# the largest logit, compared with training without?

# %% [markdown] tags=["solution"]
# **About the questions.** At best $p = t'$, and the loss is then $-\sum_k t'_k \log t'_k$, the entropy of the target. For $\alpha = 0.1$ and $K = 10$ that is
# $-0.91 \log 0.91 - 9 \cdot 0.01 \log 0.01 \approx 0.50$, so the 0.66 that the layer reaches after 300 steps of 1.5 is not as far from the end as it
# looks. Its largest logit is 6.5, compared with 10.9 without smoothing: it no longer gains anything by being more than 4.5 above the others. Losses
# with different smoothing can't be compared either.

# %% [markdown]
# ## Questions
#
# **1.** All ten logits of an image are 7. What are its probabilities and its loss?
#
# <details><summary>Answer</summary>
#
# Every class has the probability 0.1, since equal logits give equal probabilities, whatever their size. The loss is
# $-\log 0.1 = \log 10 \approx 2.303$.
#
# </details>
#
# **2.** An image has the probabilities $(0.7,\ 0.2,\ 0.1)$ and the label 1. What is the gradient with respect to its logits, for a batch of this one
# image? Which logits does a training step raise?
#
# <details><summary>Answer</summary>
#
# $p - t = (0.7,\ -0.8,\ 0.1)$, which adds up to zero. A step goes against the gradient. So it raises only the logit of class 1, and it lowers the
# one of class 0 seven times as much as the one of class 2.
#
# </details>
#
# **3.** Find the fault: to avoid $\log 0$, someone writes `loss = -np.log(p + 1e-8)`, with `p` the probability of the label. What goes wrong for an
# image that the network gets badly wrong?
#
# <details><summary>Answer</summary>
#
# The loss can never exceed $-\log 10^{-8} \approx 18.4$. Worse, where $p$ is far below $10^{-8}$ the loss hardly depends on $p$ any more, so its
# gradient is close to zero: the network learns least from the images that it gets most wrong. `logsumexp(z) - z[label]` has neither problem.
#
# </details>
#
# **4.** Your network has ten classes, and its first loss is 8.1. Is that a good sign? Roughly what probability does it give the right class?
#
# <details><summary>Answer</summary>
#
# No: a network that knows nothing should start at $\log 10 \approx 2.3$. A loss of 8.1 means a probability of about $e^{-8.1} \approx 0.0003$ for
# the right class. The network is sure of wrong answers from the start, so its first logits are far too large: look at the weights' first values and
# at the size of the inputs.
#
# </details>
#
# **5.** Explain to a colleague why the package has one operation for softmax and cross-entropy, and not two.
#
# <details><summary>Answer</summary>
#
# In two operations, the loss divides by a probability and the softmax multiplies by it again. On paper that cancels, but a probability that has
# become zero in floating point gives infinity times zero. Together, the gradient is simply $(p - t)/B$, with no division by a probability and no
# $K \times K$ matrix.
#
# </details>

# %% [markdown]
# ## What you have now
#
# | | formula | to remember |
# |---|---|---|
# | probabilities | softmax of the logits | subtract the largest logit of each row first |
# | loss | mean of `logsumexp(z) - z[label]` | never the logarithm of a softmax |
# | gradient | `(p - target) / B` | every row adds up to zero |
# | first loss | `log K` | 2.303 for ten classes |
#
# Linear, GELU, LayerNorm and this loss do nearly all the computing of a Mixer. What is still missing mostly moves numbers around: patches, and the
# transposition.
#
# **Where the package does this:** `tinymixer/ops/softmax_cross_entropy.py` (both passes, also for targets that are rows of
# probabilities), `tinymixer/gradcheck/planted_faults/loss.py` (the faults above), `tinymixer/engines/step.py` (its place in a training step).
#
# Next: [lesson 07, patches](07_patches.ipynb).
