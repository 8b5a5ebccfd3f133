# %% [markdown]
# # Lesson 10 · SGD, momentum, schedules: training
#
# *125 minutes. Before: [lesson 02](02_linear.ipynb) (gradients), [lesson 06](06_softmax_cross_entropy.ipynb) (the loss),
# [lesson 09](09_mixer.ipynb) (the whole Mixer).*
#
# The backward pass says which way is down. How far should you go, how often should you look, and what should you remember of the last steps? This
# lesson is about these questions, and the answers decide whether a network learns in a minute or never. After it you can
#
# * say how large a learning rate may be, and predict it for a real layer,
# * write SGD with momentum, Nesterov's look-ahead and decoupled weight decay,
# * write a learning-rate schedule, clipping, and the batches of an epoch,
# * train a Mixer, read its learning curve, and resume a run that was cut off.

# %% [markdown]
# ## Before you begin
#
# **1.** $f(w) = 3w^2$ has the slope 12 at $w = 2$. By about how much does $f$ change when $w$ goes to 1.99? (lesson 01b)
#
# <details><summary>Answer</summary>
#
# By about $12 \cdot (-0.01) = -0.12$. (Exactly: $3 \cdot 1.99^2 - 12 = -0.1197$.) The slope is a promise for small steps.
#
# </details>
#
# **2.** Your loss is a mean over the batch. What happens to the `dlogits` of a single image when the batch becomes twice as large? (lesson 06)
#
# <details><summary>Answer</summary>
#
# They become half as large: $(p - t)/B$. Each image has a smaller share in the mean. The sum over the batch, and so the gradient of a weight, keeps about its size.
#
# </details>
#
# **3.** In the first step of a new Mixer only the head learns. Why? (lesson 09)
#
# <details><summary>Answer</summary>
#
# The head's weight is zero, and `dfeatures = dlogits @ head.weight.T`. So all gradients below the head are zero until the first step has moved the head.
#
# </details>

# %%
import math
import time

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.data import Batches, Dataset, load_dataset, normalise
from tinymixer.layers import Linear
from tinymixer.lessons import check, cifar10_or_advice, fewer_in_browser, new_figure, show
from tinymixer.optim import SGD, AdamW, cosine
from tinymixer.parameters import Parameters, ParameterSpec
from tinymixer.training import Progress, Recipe, Trainer, load_recipe, read_rows, train_step

# %% [markdown]
# ## One step downhill
# Put all weights of a network into one vector $w$. The loss $L(w)$ is a number, and its gradient $g = \partial L/\partial w$ is a
# vector as long as $w$. For a small change $d$ of the weights the gradient promises
#
# $$L(w + d) \approx L(w) + \sum_i g_i\,d_i .$$
#
# To make the loss fall, choose $d = -\eta\,g$ with a small number $\eta > 0$, the **learning rate**. Then the promised change is
# $-\eta \sum_i g_i^2$, and a sum of squares with a minus sign in front is never positive. That is **gradient descent**:
#
# $$w \leftarrow w - \eta\,g .$$
#
# ### Exercise 10.1
# Write one step. The package's optimizers overwrite the weights. Your function should leave its inputs alone and
# return the new weights.


# %%
def my_sgd_step(weights, gradient, learning_rate):
    """weights (n,), gradient (n,), learning_rate a number  ->  the new weights (n,)"""
    ### BEGIN SOLUTION
    return weights - learning_rate * gradient  # (n,)
    ### END SOLUTION


check("10.1", my_sgd_step)

# %% [markdown]
# ## How large may the learning rate be?
# The promise holds only for small changes. How small is small? Take a single weight and the simplest valley there is, a
# parabola $L = \frac12 c\,w^2$. Its gradient is $c\,w$, and $c$, the second derivative, is the **curvature**. Write $w_t$ for
# the weight after $t$ steps. A step gives
#
# $$w_{t+1} = w_t - \eta\,c\,w_t = (1 - \eta c)\,w_t \quad\Rightarrow\quad w_t = (1 - \eta c)^t\,w_0 .$$
#
# Everything depends on the factor $1 - \eta c$:
#
# | learning rate | factor | what happens |
# |---|---|---|
# | below 1/c | between 0 and 1 | slides to the bottom |
# | 1/c | 0 | is there in one step |
# | between 1/c and 2/c | between -1 and 0 | jumps over the bottom, lands nearer each time |
# | above 2/c | below -1 | lands farther away each time |
#
# So the limit is $\eta < 2/c$. With many weights the valley has a curvature for every direction. One learning rate must serve them all: the
# *largest* curvature sets the limit, and the *smallest* curvature sets the pace, with a factor $1 - \eta c$ close to 1. The picture has
# two weights with curvatures 1 and 25, so the limit is $2/25 = 0.08$. The package's `SGD` does the steps. It works on any
# `Parameters`, not only on a network's.

# %%
CURVATURES = np.array([1.0, 25.0])  # (2,)
START = np.array([-4.0, 1.0])  # (2,)


def walk(learning_rate, steps=60, **settings):
    """The weights after each step of SGD in the valley L = sum(curvature * w^2) / 2: (steps + 1, 2)."""
    spec = ParameterSpec((2,), lambda generator, shape: START)
    parameters = Parameters({"w": spec}, dtype="float64")
    optimizer = SGD(parameters, **settings)
    path = [START]
    for _ in range(steps):
        parameters.gradient("w")[...] = CURVATURES * parameters["w"]
        optimizer.step(learning_rate)
        path.append(parameters["w"].copy())
    return np.array(path)  # (steps + 1, 2)


def draw_valley(axis, path, colour, title):
    """Lines of equal loss in grey, the path on top."""
    across, up = np.meshgrid(np.linspace(-4.5, 4.5, 121), np.linspace(-1.8, 1.8, 81))
    loss = 0.5 * (CURVATURES[0] * across**2 + CURVATURES[1] * up**2)  # (81, 121)
    axis.contour(across, up, loss, [1, 5, 13, 25], colors=INK, linewidths=0.6)
    axis.plot(path[:, 0], path[:, 1], ".-", color=colour, linewidth=1.2, markersize=4)
    axis.set_title(title)
    axis.set_xlim(-4.5, 4.5)
    axis.set_ylim(-1.8, 1.8)


figure, axes = new_figure(1, 3, width=6.6, height=2, sharey=True)
for axis, rate, colour in zip(axes, (0.02, 0.07, 0.081), COLOURS, strict=False):
    path = walk(rate, steps=30, momentum=0)
    draw_valley(axis, path, colour, f"learning rate {rate}")
    distance = np.linalg.norm(path[-1])
    factors = 1 - rate * CURVATURES
    print(
        f"rate {rate}: factors {factors.round(3)}, distance after 30 steps {distance:.2f}"
    )
axes[0].set_ylabel("curvature 25")
axes[1].set_xlabel("curvature 1")
show(
    figure,
    alt="Three paths in a narrow valley. The first slides down slowly, the second zigzags to the middle, "
    "the third zigzags wider and wider.",
)

# %% [markdown]
# The first path is safe and slow. The second crosses the valley at every step. The third is just above the limit: along the
# valley it does well, across it every jump is longer than the one before.
#
# ### The limit of a real layer
# Does this hold for more than a toy? In lesson 02 a Linear layer learned the digits with the loss
# $L = \frac{1}{2B}\sum_{n,o}(y_{no} - t_{no})^2$, $y = xW + b$. That is a parabola in many directions. Give $x$ a 65th column of ones, so that
# the bias is just one more row of $W$. Call the result $X$, of shape `(B, 65)`. Write $W_o$ and $t_o$ for column $o$ of the weights and of the
# targets. By lesson 02, the gradient of column $o$ is $\frac1B X^T(XW_o - t_o)$. Differentiate once more with respect to $W_o$: $t_o$ drops out, and what is left is the
# table of second derivatives (how each slope moves with each weight),
#
# $$H = \tfrac1B\,X^T X ,$$
#
# the same for every $o$. A matrix turns most directions. The directions that it only stretches are its *eigenvectors*, and the factors are its
# *eigenvalues*. The curvature is largest along one of the eigenvectors of $H$, and there it is the largest eigenvalue.
# So the limit is 2 / (largest eigenvalue). We train just below it and just above:

# %%
digits = load_dataset("digits")
pixels = digits.train_images.reshape(-1, 64) / np.float32(255)  # (1437, 64)
targets = np.eye(10, dtype=np.float32)[digits.train_labels]  # (1437, 10)

with_ones = np.hstack([pixels, np.ones((len(pixels), 1), np.float32)])  # (1437, 65), X
curvature_table = with_ones.T @ with_ones / len(with_ones)  # (65, 65), H
largest = np.linalg.eigvalsh(curvature_table)[-1]
limit = 2 / largest
print(f"largest curvature {largest:.2f}, so the limit is {limit:.4f}")

for share in (0.5, 0.98, 1.02):
    layer, losses = Linear(64, 10), []
    for _step in range(200):
        y, cache = layer.forward(pixels)  # (1437, 10)
        losses.append(0.5 * np.sum((y - targets) ** 2) / len(y))
        layer.parameters.zero_gradients()
        layer.backward((y - targets) / len(y), cache)
        layer.parameters.values[...] -= share * limit * layer.parameters.gradients
    at = ", ".join(f"{losses[step]:.4g}" for step in (0, 100, 199))
    print(f"{share:.2f} times the limit: loss after 0, 100 and 199 steps {at}")

# %% [markdown]
# Four per cent make the difference between learning and disaster. (That is why lesson 02 used 0.15.) In a deep network the curvatures are
# unknown and change as it learns, so you find the learning rate by trying. The shape of the answer stays the same:
# too small is slow, somewhat larger is faster, and then comes a cliff.
#
# ## Momentum: remember the last steps
# In the middle picture the gradient across the valley changes its sign at every step, while along the valley it keeps it. So
# add up the gradients of the last steps: what alternates cancels out, and what persists grows. The sum is called the **velocity** $v$,
# and old gradients fade from it by a factor $m$ per step, the **momentum**:
#
# $$v \leftarrow m\,v + g, \qquad w \leftarrow w - \eta\,v .$$
#
# Start from $v = 0$, call the gradients $g_1, g_2, \dots$, and insert the rule into itself:
#
# $$v_t = g_t + m\,v_{t-1} = g_t + m\,g_{t-1} + m^2\,v_{t-2} = \dots = g_t + m\,g_{t-1} + m^2\,g_{t-2} + \dots + m^{t-1} g_1 .$$
#
# * A gradient that stays the same, $g_t = g$, gives $g\,(1 + m + m^2 + \dots)$, which tends to $g / (1 - m)$. With $m = 0.9$ the steps become
#   **ten times** as long.
# * One that alternates, $g, -g, g, \dots$, gives $g\,(1 - m + m^2 - \dots)$, which tends to $g / (1 + m)$: about **half**.
#
# (Both are geometric series. Multiply $s = 1 + m + m^2 + \dots$ by $m$, and you get all of its terms but the first: $m s = s - 1$. For the second series put
# $-m$ in place of $m$.)
#
# ### Exercise 10.2
# Write a step with momentum. The velocity comes in and goes out, because a function keeps nothing.


# %%
def my_momentum_step(weights, velocity, gradient, learning_rate, momentum):
    """weights, velocity, gradient (n,)  ->  new weights (n,), new velocity (n,)"""
    ### BEGIN SOLUTION
    velocity = momentum * velocity + gradient  # (n,)
    return weights - learning_rate * velocity, velocity
    ### END SOLUTION


check("10.2", my_momentum_step)

# %% [markdown]
# Books differ here. Some put $(1 - m)$ in front of the gradient, and some keep $\eta$ inside the velocity. With a constant learning rate
# these are the same steps with another $\eta$. The form above is PyTorch's and the package's.
#
# ### Look ahead
# Nesterov's idea (1983): the velocity will carry us on by $-\eta m v$ anyway, so measure the gradient *there*. Call the
# place where we stand $u$ and the place we look at $w = u - \eta m v$. The rule is
#
# $$g = \text{gradient at } w, \qquad v' = m\,v + g, \qquad u' = u - \eta\,v' .$$
#
# It is awkward to keep two places. So we follow $w$ alone. The next place to look at is
#
# $$w' = u' - \eta m v' = u - \eta v' - \eta m v' = (w + \eta m v) - \eta v' - \eta m v' .$$
#
# Since $v' - m v = g$, this is
#
# $$w' = w - \eta\,(g + m\,v') .$$
#
# That is all: momentum with $g + m v'$ in place of $v'$. The network holds the weights $w$, the place we look at.
# Here are all three in the same valley, with the same learning rate:

# %%
walks = {
    "plain": walk(0.04, momentum=0),
    "momentum 0.8": walk(0.04, momentum=0.8),
    "Nesterov, 0.8": walk(0.04, momentum=0.8, nesterov=True),
}
figure, axes = new_figure(2, 2, width=6.4, height=3.6)
for axis, (name, path), colour in zip(axes.flat, walks.items(), COLOURS, strict=False):
    draw_valley(axis, path, colour, name)
    distance = np.linalg.norm(path, axis=1)  # (steps + 1,)
    axes[1, 1].semilogy(distance, color=colour, label=name)
    print(f"{name:14s} distance after 60 steps: {distance[-1]:.4f}")
axes[1, 1].set_title("distance from the minimum, same colours")
axes[1, 1].set_xlabel("step")
show(
    figure,
    alt="Plain descent creeps along the valley; with momentum the path overshoots and swings back, with Nesterov's "
    "look-ahead it swings less. On a logarithmic scale both are a hundred times nearer after 60 steps.",
)

# %% [markdown]
# Momentum overshoots like a ball and has to roll back. Looking ahead brakes it earlier. Both are far ahead of plain descent.
#
# **Try it.** How large may the learning rate be with momentum $m$, in a valley of curvature $c$? At the limit the weight
# jumps between $a$ and $-a$ forever. Put $w_t = (-1)^t a$ and $v_t = (-1)^t b$ into the two rules and solve for $\eta$. Try your answer with
# `walk`. What does Nesterov's rule give?

# %% [markdown] tags=["solution"]
# **About *Try it*.** Take $t$ even, so $w_t = a$, $v_t = b$, $v_{t+1} = -b$, $w_{t+1} = -a$. The first rule says $-b = m b + c a$, so
# $b = -c a / (1 + m)$. The second says $-a = a + \eta\,b$, so $2 a = \eta\,c a / (1 + m)$ and $\eta = 2 (1 + m) / c$: momentum nearly
# doubles the limit. In our valley with $m = 0.8$ that is 0.144; `walk(0.143, momentum=0.8)` comes down, `walk(0.145, momentum=0.8)`
# does not. Nesterov's second rule is $-a = a - \eta\,(c a - m b)$, so $2 = \eta\,c\,(1 + m/(1+m))$ and $\eta = 2 (1+m) / (c\,(1+2m))$: 0.055, less than
# without any momentum. Looking ahead brakes well where the curvature is mild, and does not help where it is steep.

# %% [markdown]
# ## Weight decay
# Large weights make a network react sharply to small changes in its input. We can put a price on them: add $\frac{\lambda}{2}\sum_i w_i^2$ to
# the loss, with a small number $\lambda$. The gradient of that is $\lambda w$, so the optimizer sees $g + \lambda w$. In plain SGD
#
# $$w - \eta\,(g + \lambda w) = (1 - \eta\lambda)\,w - \eta\,g :$$
#
# every step shrinks all weights by the same factor, which gave **weight decay** its name. With momentum, a price in the loss and a shrinking factor are no longer the same.
# When the decay is added to the gradient, it goes through the velocity too. Loshchilov and Hutter ([arXiv 1711.05101](https://arxiv.org/abs/1711.05101))
# proposed to keep it out: first shrink the weights, $w \leftarrow (1 - \eta\lambda)\,w$, then take the step as if there were no
# decay. That is **decoupled** weight decay, `decoupled=True` in the package's `SGD`.
#
# By default the package lets only matrices decay. There are few biases and LayerNorm scales, and the natural value of a scale is 1, not 0.
#
# ### Exercise 10.3
# Write the whole step: decoupled weight decay first, then momentum with Nesterov's look-ahead.


# %%
def my_nesterov_step(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    """weights, velocity, gradient (n,)  ->  new weights (n,), new velocity (n,)"""
    ### BEGIN SOLUTION
    velocity = momentum * velocity + gradient  # (n,)
    weights = weights - learning_rate * weight_decay * weights  # (n,)
    return weights - learning_rate * (gradient + momentum * velocity), velocity
    ### END SOLUTION


check("10.3", my_nesterov_step)

# %% [markdown]
# ## AdamW: a pace for every weight
# The trouble in the valley was one learning rate for directions of different curvature. Adam
# ([arXiv 1412.6980](https://arxiv.org/abs/1412.6980)) keeps, for every weight, a running mean $\bar g$ of its gradients and a
# running mean $\bar q$ of their squares. Its step is the first divided by the root of the second. With decoupled decay it is called AdamW:
#
# $$\bar g \leftarrow \beta_1 \bar g + (1 - \beta_1)\,g, \qquad \bar q \leftarrow \beta_2 \bar q + (1 - \beta_2)\,g^2, \qquad
# w \leftarrow (1 - \eta\lambda)\,w - \eta\,\frac{\bar g / (1 - \beta_1^t)}{\sqrt{\bar q / (1 - \beta_2^t)} + \varepsilon} .$$
#
# Here $t$ counts the steps from 1, $\beta_1, \beta_2$ are the shares kept (0.9 and 0.999 are usual), and the tiny $\varepsilon$ prevents a division
# by zero. Both means start at 0, which is too small. Dividing by $1 - \beta^t$ makes up for that. Look at the first step, $t = 1$: then
# $\bar g = (1 - \beta_1) g$ and $\bar q = (1 - \beta_2) g^2$, so the quotient is $g / |g|$. *Every* weight moves by $\eta$, up or down,
# however small its gradient:

# %%
parameters = Parameters(
    {"w": ParameterSpec((4,), lambda generator, shape: np.zeros(shape))}
)
parameters.gradient("w")[...] = [100.0, 1.0, -0.01, -0.0001]
AdamW(parameters).step(learning_rate=0.003)
print("gradient:", parameters.gradient("w"))
print("step:    ", parameters["w"])

# %% [markdown]
# This makes Adam easy to use: the learning rate is about the size of a step, and 0.001 to 0.003 is a fair first guess for most networks. It also makes the first steps bold at a moment when
# little is known. We will come back to that under *warm-up*.
#
# ## Mini-batches
# The loss is a mean over all training images, and so is its gradient. But you know a mean well enough long before you have
# looked at all the images: for $B$ images drawn at random, the mean of their gradients is the right one plus **noise**, and the
# size of that noise falls like $1/\sqrt{B}$. (The variance $\sigma^2$ of a random number is the mean of its squared distance from its mean. Its root $\sigma$ is the typical distance. The variance of a sum of independent numbers is the sum of their variances. For a mean of $B$ it is
# therefore $B \sigma^2 / B^2 = \sigma^2 / B$, and its root is $\sigma/\sqrt{B}$.) Let us look at a real one, the gradient of a small Mixer after a few steps:

# %%
SMALL = MixerConfig(
    image_size=8,
    in_channels=1,
    patch_size=2,
    hidden_dim=32,
    tokens_mlp_dim=16,
    channels_mlp_dim=128,
    num_blocks=2,
)
images = normalise(digits.train_images, digits.mean, digits.std)  # (1437, 8, 8, 1)
labels = digits.train_labels  # (1437,)


def gradient_of(model, chosen):
    """The gradient of the mean loss over the chosen images: (size,), a copy."""
    model.parameters.zero_gradients()
    logits, cache = model.forward(images[chosen], train=True)  # (B, K)
    _, dlogits = ops.softmax_cross_entropy(logits, labels[chosen])
    model.backward(dlogits, cache)
    return model.parameters.gradients.copy()


model, rng = MlpMixer(SMALL), np.random.default_rng(0)
optimizer = SGD(model.parameters)
for _ in range(10):
    gradient_of(model, rng.integers(len(images), size=64))
    optimizer.step(learning_rate=0.02)
exact = gradient_of(model, slice(None))
size = np.linalg.norm(exact)
print(f"{len(images)} images: length of the gradient {size:.2f}")
for B in (16, 64, 256):
    drawn = [gradient_of(model, rng.integers(len(images), size=B)) for _ in range(8)]
    noise = np.sqrt(np.mean([np.sum((one - exact) ** 2) for one in drawn]))
    print(f"{B:4d} images: noise {noise:.2f}, that is {noise / size:.0%} of the gradient")

# %% [markdown]
# Four times as many images cost four times the work, and the noise is only halved. The noise of a small batch may well be larger than
# the gradient itself. Even so, the steps go down on average, because the noise points in another direction each time and the gradient does not. So many
# small steps with a noisy gradient get further than a few exact ones. That is the S in **SGD**, *stochastic* gradient descent.
#
# One pass over all images is an **epoch**: shuffle the images, cut the row into batches of $B$, and take a step with each. The
# last batch is usually smaller. The package leaves it out, so that every step has the same shapes. The order is new in every
# epoch, so different images are left out each time.
#
# ### Exercise 10.4
# Write the batches of one epoch, as lists of image numbers. All randomness must come from the generator that your function is given
# (`generator.permutation(count)` is a random order of 0 ... count - 1).


# %%
def my_epoch_batches(count, batch_size, generator):
    """The full batches of one epoch over images 0 ... count - 1.

    A list of arrays (batch_size,) of image numbers.
    """
    ### BEGIN SOLUTION
    order = generator.permutation(count)  # (count,)
    full = count // batch_size
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(full)]
    ### END SOLUTION


check("10.4", my_epoch_batches)

# %% [markdown]
# ### Why shuffle?
# Data often comes sorted: all zeros, then all ones, and so on. We train twice on digits sorted like that, once shuffled by
# `Batches` and once as they are. Everything else is the same.

# %%
by_class = np.argsort(labels, kind="stable")  # (1437,)
sorted_images, sorted_labels = digits.train_images[by_class], labels[by_class]
statistics = {"mean": digits.mean, "std": digits.std}
test_images = normalise(digits.test_images, **statistics)  # (360, 8, 8, 1)

epochs = fewer_in_browser(4, 2)
for shuffle in (True, False):
    model = MlpMixer(SMALL)
    optimizer = SGD(model.parameters, nesterov=True, clip_norm=1.0)
    accuracies = []
    for epoch in range(epochs):
        for batch in Batches(
            sorted_images, sorted_labels, 32, epoch=epoch, shuffle=shuffle, **statistics
        ):
            train_step(model, optimizer, *batch, learning_rate=0.05)
        guesses = model.forward(test_images)[0].argmax(axis=1)  # (360,)
        accuracies.append(f"{np.mean(guesses == digits.test_labels):.0%}")
    last_classes = f"; it says 8 or 9 to {np.mean(guesses >= 8):.0%}"
    print("shuffled:" if shuffle else "sorted:  ", ", ".join(accuracies) + last_classes)
print(f"eights and nines in the test set: {np.mean(digits.test_labels >= 8):.0%}")

# %% [markdown]
# When the images are sorted, the network sees four or five batches of zeros and learns to say "zero". Then it sees ones, and forgets. At the end of the epoch it knows only the
# last two classes. The noise of a batch is harmless only if it is *fair*: on average it must be zero.
#
# ## Schedules
# Noise also limits how close you get. Take the parabola again, with a gradient $c\,w + \xi$: the true one plus noise $\xi$ with
# mean 0 and variance $\sigma^2$, drawn again at each step. Then $w_{t+1} = (1 - \eta c)\,w_t - \eta\,\xi_t$. The noise is
# independent of $w_t$, so the variances add:
#
# $$\mathrm{var}(w_{t+1}) = (1 - \eta c)^2\,\mathrm{var}(w_t) + \eta^2\sigma^2 .$$
#
# In the long run the variance no longer changes. Write $V$ for both and solve, with $1 - (1 - \eta c)^2 = 2\eta c - \eta^2 c^2$:
#
# $$V\,(2\eta c - \eta^2 c^2) = \eta^2\sigma^2 \quad\Rightarrow\quad V = \frac{\eta\,\sigma^2}{c\,(2 - \eta c)} .$$
#
# So the weight never comes to rest. It trembles around the minimum, and it trembles more the larger $\eta$ is (without bound as $\eta$
# approaches $2/c$, our limit again). A large rate travels fast but trembles. A small one creeps, but would end up close. The remedy is to
# use both, one after the other: a **schedule** that lowers the rate. We walk with $c = \sigma = 1$, a thousand times with different noise. The picture
# shows the first walk. The printed distance (root of the mean square) is over all walks.

# %%
STEPS, COPIES = 400, 1000
noise = np.random.default_rng(1).normal(size=(STEPS, COPIES))  # (steps, copies)
falling = cosine(0.5, total_steps=STEPS)
rates = {
    "0.5 throughout": lambda step: 0.5,
    "0.005 throughout": lambda step: 0.005,
    "cosine from 0.5 to 0": falling,
}
figure, axis = new_figure(width=5.6, height=2.3)
for (name, rate), colour in zip(rates.items(), COLOURS, strict=False):
    w, trace = np.full(COPIES, 5.0), []  # (copies,)   the same walk with other noise
    for step in range(STEPS):
        w -= rate(step) * (w + noise[step])
        trace.append(w[0])
    axis.plot(trace, color=colour, label=name, linewidth=1)
    print(f"{name:21s} distance at the end: {np.sqrt(np.mean(w * w)):.3f}")
print(f"formula for 0.5:      {math.sqrt(0.5 / (2 - 0.5)):.3f}")
axis.set_xlabel("step")
axis.set_ylabel("weight")
axis.legend()
show(
    figure,
    alt="Three traces from 5 towards 0: the large rate arrives at once and trembles to the end, "
    "the small one is still on its way at step 400, the cosine schedule arrives at once and comes to rest.",
)

# %% [markdown]
# A common schedule falls along half a cosine (Loshchilov and Hutter, [arXiv 1608.03983](https://arxiv.org/abs/1608.03983)):
# slowly at first, so that the large rate has time to travel, and slowly at the end, so that the trembling dies away. Before that there is a short
# **warm-up**, where the rate rises along a straight line. The first gradients come from random weights and tell little, and Adam's first steps
# are as bold as any. The warm-up keeps them small.
#
# With steps counted from 0, `peak` the largest rate $\eta_{\max}$, $N$ steps in all and $n$ of them warm-up:
#
# $$\eta_{\text{step}} = \begin{cases} \eta_{\max}\,\dfrac{\text{step} + 1}{n} & \text{step} < n \\[2mm]
# \eta_{\max}\,\dfrac{1 + \cos(\pi p)}{2}, \quad p = \dfrac{\text{step} - n}{N - n} & \text{from then on.} \end{cases}$$
#
# ($\text{step} + 1$, since a rate of zero would waste the first step. $p$ rises from 0 to 1, so the cosine falls from 1 to -1.)
#
# ### Exercise 10.5
# Write this schedule. It must also work without a warm-up.


# %%
def my_learning_rate(step, peak, total_steps, warmup_steps):
    """The learning rate of a step, 0 <= step < total_steps: a number."""
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2
    ### END SOLUTION


check("10.5", my_learning_rate)

# %% [markdown]
# Here is the package's schedule for 30 epochs of 44 steps, with the first epoch as warm-up:

# %%
schedule = cosine(peak=0.003, total_steps=30 * 44, warmup_steps=44)
figure, axis = new_figure(width=6, height=2.2)
axis.plot([schedule(step) for step in range(30 * 44)], color=COLOURS[0])
axis.set_xlabel("step")
axis.set_ylabel("learning rate")
show(
    figure, alt="A steep straight rise to 0.003, then half a cosine down to 0 at step 1320."
)

# %% [markdown]
# ## Clipping
# Once in a while a batch gives a huge gradient: an odd image, or weights at the edge of a cliff. One such step can undo an hour's work.
# The remedy is to bound the *length* of the gradient, the **global norm** over all weights of all layers together:
#
# $$\lVert g \rVert = \sqrt{\sum_i g_i^2} .$$
#
# ($\lVert g \rVert$ is read "the norm of $g$".) If it exceeds a bound $M$, all gradients are multiplied by $M / \lVert g \rVert$ (Pascanu et al., [arXiv 1211.5063](https://arxiv.org/abs/1211.5063)).
# The factor is the same for all, so the direction stays and only the step becomes shorter. If the norm does not exceed $M$, nothing happens.
#
# ### Exercise 10.6
# Write it for gradients that come as a tuple of arrays, one per parameter. (In the package they are one flat vector, and
# this takes three lines.) Return the norm before clipping too: it is worth watching. Be careful with gradients that are all zero.


# %%
def my_clip_by_global_norm(gradients, max_norm):
    """gradients, a tuple of arrays of any shapes  ->  the clipped gradients, the norm before

    The clipped gradients are a tuple of arrays of the same shapes.
    """
    ### BEGIN SOLUTION
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    factor = min(1.0, max_norm / (norm + 1e-6))
    return tuple(factor * gradient for gradient in gradients), norm
    ### END SOLUTION


check("10.6", my_clip_by_global_norm)

# %% [markdown]
# ## Training
# You have all the parts. A step of training in the package is
# ```python
# images, labels = next(batches)
# model.parameters.zero_gradients()
# logits, cache = model.forward(images, train=True)
# loss, dlogits = softmax_cross_entropy(logits, labels)
# model.backward(dlogits, cache)
# optimizer.step(schedule(step))
# ```
# and the `Trainer` puts epochs around it. A **recipe** says how. We take the recipe `digits`, with 6 epochs instead of 40. It
# uses dropout, label smoothing, and small random rotations, zooms and shifts of the images. These are cures for overfitting, and
# [lesson 13](13_overfitting.ipynb) says more about them. All three make training harder than the test, so don't be surprised that the training loss is
# larger than the validation loss. The recipe's optimizer is Muon, which moves matrices by another rule than AdamW, and it validates an average of the weights of the last steps.
# (AdamW without an average would do as well here.) This is what the recipe sets:

# %%
recipe = load_recipe("digits").with_overrides({"epochs": fewer_in_browser(6, 2)})
for name, (value, default) in recipe.differences(Recipe()).items():
    print(f"{name:28s} {value!s:8s} (by default {default})")

# %%
# The run gets the first free of the folders runs/digits, runs/digits-2, ...
trainer = Trainer(recipe)
result = trainer.run()
for row in read_rows(trainer.folder.metrics):
    print(
        f"epoch {row['epoch']}: training loss {row['train_loss']:.3f}, "
        f"validation loss {row['validation_loss']:.3f}, accuracy {row['validation_accuracy']:.1%}"
    )

print(result.message)

# %% [markdown]
# The trainer holds back a tenth of the training images. It judges each epoch by these **validation images**, and keeps the weights of the best one. It looks at the
# test images once, at the end, with those weights. So nothing was chosen by the test accuracy. Lesson 13 shows what happens otherwise.
#
# That was the way from random weights to more than nine digits in ten, in a few seconds. `tinymixer train digits` does the same with all 40 epochs and a progress bar. The README
# reports 98.3 to 99.4 % for it on the test images, over five seeds.
#
# ## Reading a learning curve
# Most of what goes wrong in training shows in the curve of the loss. Here are three short runs of a smaller Mixer, with AdamW and without an average. They differ only in
# the learning rate:

# %%
smaller = load_recipe("digits").with_overrides(
    {"hidden_dim": 32, "tokens_mlp_dim": 16, "channels_mlp_dim": 128, "num_blocks": 2}
    | {"optimizer": "adamw", "ema_decay": 0.0, "schedule": "cosine"}
    | {"epochs": fewer_in_browser(6, 2)}
)
cases = {"too small: 0.0001": 0.0001, "about right: 0.01": 0.01, "too large: 1": 1.0}
figure, axes = new_figure(1, 3, width=7, height=2.4, sharey=True)
for axis, (title, rate), colour in zip(axes, cases.items(), COLOURS, strict=False):
    run = Trainer(smaller.with_overrides({"learning_rate": rate}))
    run.run()
    rows = read_rows(run.folder.metrics)
    epochs = [row["epoch"] for row in rows]
    axis.plot(
        epochs, [row["train_loss"] for row in rows], "--", color=colour, label="training"
    )
    axis.plot(
        epochs, [row["validation_loss"] for row in rows], color=colour, label="validation"
    )
    axis.axhline(math.log(10), color=INK, linewidth=0.8, linestyle=":")
    axis.set_title(title)
    axis.set_xlabel("epoch")
    print(f"{title:18s} validation accuracy after each epoch:", end=" ")
    print(", ".join(f"{row['validation_accuracy']:.0%}" for row in rows))
axes[0].set_ylabel("loss")
axes[0].legend(loc="lower left")
show(
    figure,
    alt="Too small: both losses stay near 2.3. About right: a steep fall that flattens out. "
    "Too large: the validation loss starts above 2.3, the training loss first rises, and both fall only later.",
)

# %% [markdown]
# The dotted line is $\log 10 = 2.303$, the loss of someone who says "each digit with probability 1/10" to everything. A Mixer starts there, because
# its head begins with zero weights. This is what to look for:
#
# | what you see | what it means | what to try |
# |---|---|---|
# | stays near $\log K$, or creeps | learning rate too small, or gradients wrong | ten times the rate; a gradient check |
# | steep, then flatter and flatter | right | more epochs, if it still falls at the end |
# | starts *above* $\log K$, jumps, or is `nan` | learning rate too large | a third of the rate, a longer warm-up, clipping |
# | validation loss turns and rises while training loss falls | overfitting | [lesson 13](13_overfitting.ipynb) |
#
# In the third run clipping, LayerNorm and the schedule repair some of the harm: the loss comes down as the rate does. Plain descent, as in the valley
# above, would not have recovered. A first guess for a new network does not take long: do short runs with rates of
# 0.0001, 0.001, 0.01 and 0.1, and take the largest one that does not jump.
#
# ## What a run leaves behind, and how it goes on

# %%
for path in sorted(trainer.folder.path.iterdir()):
    print(f"{path.as_posix():28s} {path.stat().st_size / 1000:8.1f} kB")

# %% [markdown]
# * `config.toml`: the recipe, every default written out. With it the run can be repeated.
# * `metrics.jsonl`: a row per finished epoch, which we read above.
# * `last.npz`: weights and their average, the optimizer's state (AdamW's two means, Muon's velocities, the count of steps) and how far the run has come. It is written under another name and then
#   renamed, so that a power cut at any moment leaves a readable file.
# * `previous.npz`: the checkpoint before that. If `last.npz` is damaged all the same, a resumed run goes on from here and says so.
# * `best.npz`: the same from the epoch with the lowest validation loss. (Choosing by test accuracy would flatter us. Lesson 13 says why.)
# * `curves.png`: the picture.
#
# We pull the plug in the middle of the third epoch, start again, and compare with a run that nothing interrupted.


# %%
class PowerCut(Progress):
    """Hears about a run, and ends it by force at step 100."""

    def on_step(self, step, loss, accuracy, images_per_second, seconds_left):
        if step == 100:
            raise RuntimeError(f"power cut at step {step}")


short = smaller.with_overrides({"epochs": fewer_in_browser(4, 3)})
in_peace = Trainer(short)
in_peace.run()

cut_off = Trainer(short, progress=PowerCut())
try:
    cut_off.run()
except RuntimeError as error:
    print(error)
print("epochs in the history:", len(read_rows(cut_off.folder.metrics)))

resumed = Trainer(short, out=cut_off.folder.path, resume=True)
resumed.run()
print("after resuming:       ", len(read_rows(cut_off.folder.metrics)))
same = np.array_equal(in_peace.model.parameters.values, resumed.model.parameters.values)
print("the same weights to the last bit:", same)

# %% [markdown]
# This takes two things. The optimizer's state is part of the checkpoint: without the velocity (or AdamW's means) the first steps after
# resuming would be different. And the random numbers do not come one after the other from a generator. Each is computed from (seed, epoch, step), the place that asks for it and the
# image, so the third epoch has the same order, rotations and masks in a resumed run.
#
# On the command line: `tinymixer train --out runs/digits --resume`.
#
# ## CIFAR-10
# Photographs of 32 x 32 pixels in ten classes: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck. If the data
# is on your machine, the next cell trains on a fifth of it for one epoch.

# %%
cifar10 = cifar10_or_advice()
if cifar10 is not None:
    part = Dataset(
        name="cifar10",
        train_images=cifar10.train_images[:10_000],
        train_labels=cifar10.train_labels[:10_000],
        test_images=cifar10.test_images[:2_000],
        test_labels=cifar10.test_labels[:2_000],
        class_names=cifar10.class_names,
        mean=cifar10.mean,
        std=cifar10.std,
    )
    started = time.perf_counter()
    result = Trainer(
        load_recipe("cifar10-tiny").with_overrides({"epochs": 1}), dataset=part
    ).run()
    seconds = time.perf_counter() - started
    print(
        f"one epoch of 10,000 images: {result.validation_accuracy:.1%} of the validation images in {seconds:.0f} s"
    )

# %% [markdown]
# The whole recipe is `tinymixer train cifar10-tiny`: 170,570 parameters, 8 epochs over 45,000 images, with the other 5,000 for validation. The README reports 76.0 %
# test accuracy, after some minutes on two cores, on a copy of CIFAR-10 whose images had gone through JPEG compression. On a GPU, larger
# Mixers become practical: that is [the next lesson](11_gpu.ipynb).
#
# **Try it.** (1) Train `smaller` with `{"optimizer": "sgd", "nesterov": True, "weight_decay": 0.0}` and find its best learning rate. Why is it so different
# from AdamW's? What happens if you leave the recipe's weight decay of 0.1? (2) Give the good run no clipping (`"clip_norm": 0.0`) and no warm-up
# (`"warmup_epochs": 0.0`). Does it matter here? (3) What does a batch size of 256 change if the number of epochs stays?

# %% [markdown] tags=["solution"]
# **About *Try it*.** (1) Rates around 0.1 do well. In SGD the step is the rate times the gradient, and the gradients of
# single weights are small numbers. AdamW first divides each gradient by its usual size, so its rate *is* the size of the step. The weight decay of
# 0.1 ruins the run with SGD. By default the package's SGD adds it to the gradient, so a weight shrinks by rate times decay. The momentum makes that ten times
# as much: a tenth in every step. AdamW at 0.003 shrinks a weight by 0.0003.
# (2) Hardly: the accuracies differ by a point or so in a network this small with LayerNorm. (3) An epoch has 5 steps instead of 44. At the same
# rate the network travels much less far and reaches about 80 %. The gradient is less noisy, so a larger rate is possible, and 0.03
# gives about 90 %. That is better, but it does not make up for so few steps.

# %% [markdown]
# ## Questions
#
# **1.** A single weight has the loss $L = 2w^2$. What happens to it with the learning rates 0.25, 0.4 and 0.6?
#
# <details><summary>Answer</summary>
#
# The curvature is $c = 4$, so the factors $1 - \eta c$ are 0, $-0.6$ and $-1.4$. With 0.25 the weight is at the bottom after one step. With 0.4 it jumps from side to side and comes closer each time. With 0.6 it gets
# farther away each time, because the limit is $2/c = 0.5$.
#
# </details>
#
# **2.** You raise the momentum from 0.9 to 0.99 and leave the learning rate. What happens to the steps along a gentle slope, and what would you change?
#
# <details><summary>Answer</summary>
#
# Where the gradient stays the same, the steps grow from $1/(1 - 0.9) = 10$ times $\eta g$ to 100 times. So they become ten times as long, and the run may well diverge. A learning rate ten times smaller gives the old steps on such a slope.
#
# </details>
#
# **3.** Somebody forgets `zero_gradients` in the training loop, which uses plain steps. What do the steps look like, and what would you see in the loss?
#
# <details><summary>Answer</summary>
#
# The package *adds* gradients, so each step uses the sum of all gradients so far. That is momentum with $m = 1$: nothing ever fades. The loss falls quickly at first. Then the weights run past the minimum and swing back and forth
# without coming to rest, and the loss goes up and down.
#
# </details>
#
# **4.** 45,000 images, batches of 128, 8 epochs, the first of them as warm-up, and a peak of 0.003. Estimate: how many steps are there, and what is the learning rate in the middle of the warm-up, at its end, and half-way through the rest?
#
# <details><summary>Answer</summary>
#
# $45{,}000 / 128$ gives 351 full batches, so 2,808 steps. In the middle of the warm-up the rate is about 0.0015, and at its end 0.003. Half-way through the rest $p = 0.5$ and the cosine is 0, so the rate is 0.0015 again.
#
# </details>
#
# **5.** A colleague says: "Small batches have noisy gradients, so I always take the largest batch that fits." Explain what that costs.
#
# <details><summary>Answer</summary>
#
# Noise falls only like $1/\sqrt{B}$, while the work of a step grows like $B$. Four times the batch means a quarter of the steps in the same time, for half the noise. The noise of a shuffled batch is zero on average, so many noisy steps usually get further.
# A larger batch pays where the hardware would otherwise be idle, or at the end of a run, when noise is what keeps the weights from coming closer.
#
# </details>

# %% [markdown]
# ## What you have now
#
# | | rule | why |
# |---|---|---|
# | gradient descent | `w - rate * g` | stable while rate < 2 / (largest curvature) |
# | momentum | `v = m * v + g`, `w - rate * v` | what persists grows by 1/(1-m), what alternates shrinks |
# | Nesterov | `w - rate * (g + m * v)` | the gradient is measured where the velocity leads |
# | decoupled decay | `w - rate * decay * w`, apart | weights shrink, the velocity knows nothing of it |
# | mini-batches | mean over B images, shuffled | noise falls like 1/sqrt(B), work grows like B |
# | schedule | warm-up, then cosine | large rates travel, small ones come to rest |
# | clipping | all gradients by one factor | one odd batch cannot undo the rest |
#
# **Where the package does this:** `tinymixer/optim` (`sgd.py`, `adamw.py`, `schedules.py`, `clipping.py`), `tinymixer/data/batches.py`,
# `tinymixer/engines/step.py` and `tinymixer/training/trainer.py`, recipes in `tinymixer/recipes`. `tests/peers` compares the updates with PyTorch's.
#
# Next: [lesson 11, to the GPU](11_gpu.ipynb).
