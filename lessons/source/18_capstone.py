# %% [markdown]
# # Lesson 18 · Capstone: your own functions train a network
#
# *95 minutes. Before: lessons [02](02_linear.ipynb) to [10](10_training.ipynb), or as many of them as you have done: the package fills the gaps.*
#
# You have written a backward pass for every operation of a Mixer, and each passed a check on a few small arrays. Now they meet. In this lesson your
# functions compute a whole network, in thousands of calls a second, and it has to learn to read digits exactly as well as the package's does. After this lesson you can
#
# * run a training on your own functions, and say which of them is at fault if the result differs,
# * assemble half a block and a training loop from functions,
# * say which wrong gradients show in a learning curve, and which hide,
# * find one faulty function among many with few questions, and save what you trained.

# %% [markdown]
# ## Before you begin
#
# **1.** `dy` has the shape `(S, B, C)`. Over which of its axes does the gradient of a Linear's bias sum, and why? (lesson 02)
#
# <details><summary>Answer</summary>
#
# Over `S` and `B`. The bias has the shape `(C,)` and was added to every token of every image. Each of these uses adds its gradient.
#
# </details>
#
# **2.** Without the third term of its `dx`, LayerNorm's backward pass still passes a gradient check whose `dy` is all ones, at a scale of ones. Why? (lesson 05)
#
# <details><summary>Answer</summary>
#
# Then $g = 1$, and the third term is $\hat x$ times the mean of $\hat x$ over the row, which is zero. The right answer and the wrong one are both zero. A random `dy` tells them apart.
#
# </details>
#
# **3.** A new Mixer for ten classes has seen nothing yet. What is its loss on the first batch, and what happens to the weights below the head in the first step? (lesson 09)
#
# <details><summary>Answer</summary>
#
# $\log 10$, about 2.303: the head is zero, so all logits are equal. Nothing happens to the weights below it, since their gradient passes through the head's weight, which is zero.
#
# </details>

# %%
import tempfile
from pathlib import Path

import numpy as np

from tinymixer import MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.data import Batches, load_dataset, normalise
from tinymixer.errors import TrainingError
from tinymixer.gradcheck.planted_faults import gelu, layer_norm, linear, tokens
from tinymixer.lessons import (
    NotYet,
    check,
    fewer_in_browser,
    my_functions,
    new_figure,
    show,
)
from tinymixer.lessons.capstone import CONFIG, backend_with, train
from tinymixer.lessons.collecting import compare
from tinymixer.training.evaluate import accuracy_interval

# %% [markdown]
# ## Your functions, one by one
# The package computes with **operations**, such as `ops.linear_forward`. A model takes them from its **backend**, an object that says which array library and which
# functions a model computes with. So we can give it a backend in which your functions stand where the package's stood.
#
# `my_functions(".")` looks for your notebooks in this folder and takes thirteen functions out of them, those that a Mixer's training needs. Save your notebooks first; it reads the
# files. (Are they somewhere else? Name that folder in place of the point. In Colab, where a notebook is opened alone, upload the others beside this one, or name their folder on
# your Drive.)
#
# Each function is tried before it is used. The package trains for forty steps and notes what every operation was given in step 10 and in step 40. Your function gets the
# same arrays and must give the same results. That is a harder test than `check`: the arrays are float32, as large as in training, and none may be
# written to. All calls are made before the results are compared, so that a function that remembers something between calls is caught as well. All this runs in a process of its own: a function that never ends is stopped. If a notebook defines a function twice, the definition that its `check` saw is the one that counts.

# %%
mine = my_functions(".")
print(mine.report())

# %% [markdown]
# * A tick is a function of yours that trains below. A dot is one that is missing or not written yet, and a cross one that differs, with the first wrong number and a hint. In
#   both cases the package's takes its place. So everything below works however much you have done; what changes is whose work it is.
# * *Right* means: off by at most a hundred-thousandth of the largest number. Two right functions may add up in different orders, and float32 rounds each sum.
# * A note is no fault. `np.eye(10)` is float64 and turns whatever it meets into float64 ([lesson 04](04_gelu.ipynb)). Training turns such results back into float32.
#
# Some of your functions have other arguments than the operation. `my_linear_forward` takes rows `(B, I)`, but a Mixer gives it `(S, B, I)`; `my_token_mixing_forward` wants images first and the
# weight turned. Between the two stands an **adapter**, a few words that reshape on the way in and on the way out (`tinymixer/lessons/capstone.py` has the table).
#
# ## The same network, twice
# Now train a small Mixer on digits, once with the package's functions and once with those of `mine.backend()`. Same first weights, same batches, same
# optimizer: SGD with Nesterov's momentum under a cosine schedule. Four fifths of the training images train; the others are for validation. The test images are used here and at the end of the lesson, and
# nothing in between is chosen by them.

# %%
EPOCHS = fewer_in_browser(6, 2)
# The package's; seed 1 is for later.
right = {seed: train(epochs=EPOCHS, seed=seed) for seed in (0, 1)}
yours = train(mine.backend(), EPOCHS)
print(compare(right[0], yours))

# %% [markdown]
# If all thirteen are yours, you have come a long way: every gradient that this network learns by is one that you derived and wrote yourself. (The mean over
# tokens goes forward by the package's function, as no exercise asked for it.)
#
# The losses agree to four digits or more, but not to the last bit, unless every function is the package's. Both are right; they round differently, and each step carries the difference on. Here it is, step by step. So that
# there is a difference to look at however much is yours, this training uses the package's functions except for one: LayerNorm in another order, with every mean as a sum of products.


# %%
def in_another_order(x, scale, bias, eps=1e-6):
    """LayerNorm with its means as matrix products: the same numbers, rounded differently."""
    mean = np.full((x.shape[-1], 1), 1 / x.shape[-1], x.dtype)  # (C, 1)
    centred = x - x @ mean  # (S, B, C)
    inv_std = 1 / np.sqrt((centred * centred) @ mean + eps)  # (S, B, 1)
    x_hat = centred * inv_std  # (S, B, C)
    return scale * x_hat + bias, (x_hat, inv_std, scale)


package, other = right[0], train(backend_with(layer_norm_forward=in_another_order), EPOCHS)
apart = abs(np.subtract(package.losses, other.losses)) / package.losses  # (steps,)

figure, axes = new_figure(1, 2, width=8, height=2.8)
axes[0].plot(package.losses, color=COLOURS[0], linewidth=4, alpha=0.5, label="the package")
axes[0].plot(other.losses, color=COLOURS[1], linewidth=1, label="in another order")
axes[0].set_title("loss")
axes[0].legend()
axes[1].semilogy(np.maximum.accumulate(apart), color=COLOURS[1])
axes[1].set_title("largest relative difference so far")
for axis in axes:
    axis.set_xlabel("step")
show(
    figure,
    alt="Left: two loss curves that cannot be told apart. Right, on a logarithmic scale: the "
    "largest relative difference so far begins at about 1e-7 and grows over 210 steps to more than 1e-6.",
)
print(f"largest difference: {apart.max():.0e} of the loss")

# %% [markdown]
# The difference begins at the rounding of float32 and grows, since a slightly different weight leads to a slightly different step. So "the same" has to be said with a number: here we call two trainings
# the same while their losses differ by less than a thousandth.
#
# ## Half a block, from functions
# In [lesson 09](09_mixer.ipynb) you put a block together from layers, which kept their weights and added up their gradients. Now without layers: the channel half of a block,
#
# $$y = x + \mathrm{Linear}_2(\mathrm{gelu}(\mathrm{Linear}_1(\mathrm{LayerNorm}(x)))) ,$$
#
# from operations alone. You get the weights in a dict and the operations as `f`: `f.layer_norm_forward`, `f.linear_forward`, `f.gelu_tanh_forward` and their backward functions. So the same lines run with the
# package's operations (`f = ops`) and with yours (`f = mine.backend().ops`).
#
# | operation | forward | backward |
# |---|---|---|
# | LayerNorm | `y, cache = f.layer_norm_forward(x, scale, bias)` | `dx, dscale, dbias = f.layer_norm_backward(dy, cache)` |
# | Linear | `y, cache = f.linear_forward(x, weight, bias)` | `dx, dweight, dbias = f.linear_backward(dy, cache)` |
# | GELU | `y, cache = f.gelu_tanh_forward(x)` | `dx = f.gelu_tanh_backward(dy, cache)` |
#
# ### Exercise 18.1
# Write both passes, with every operation taken from `f`. The dict of weights has the keys `scale`, `bias` (of LayerNorm), `weight1`, `bias1`, `weight2`, `bias2`; the dict of gradients has the same.


# %%
def my_branch_forward(x, weights, f):
    """x (S, B, C), weights: a dict, f: operations  ->  y (S, B, C), cache (what your backward needs)"""
    ### BEGIN SOLUTION
    normed, cache_norm = f.layer_norm_forward(x, weights["scale"], weights["bias"])
    hidden, cache1 = f.linear_forward(normed, weights["weight1"], weights["bias1"])
    activated, cache_gelu = f.gelu_tanh_forward(hidden)
    branch, cache2 = f.linear_forward(activated, weights["weight2"], weights["bias2"])
    return x + branch, (cache_norm, cache1, cache_gelu, cache2)
    ### END SOLUTION


def my_branch_backward(dy, cache, f):
    """dy (S, B, C), cache from your forward, f: operations  ->  dx (S, B, C), gradients: a dict"""
    gradients = {}
    ### BEGIN SOLUTION
    cache_norm, cache1, cache_gelu, cache2 = cache
    dactivated, gradients["weight2"], gradients["bias2"] = f.linear_backward(dy, cache2)
    dhidden = f.gelu_tanh_backward(dactivated, cache_gelu)
    dnormed, gradients["weight1"], gradients["bias1"] = f.linear_backward(dhidden, cache1)
    dx, gradients["scale"], gradients["bias"] = f.layer_norm_backward(dnormed, cache_norm)
    return dy + dx, gradients
    ### END SOLUTION


check("18.1", my_branch_forward, my_branch_backward)

# %% [markdown]
# The token half is the same with `f.token_linear_forward` in the two Linears. A block is one after the other, and you have seen the rest of the model in lesson 09.
#
# ## The loop
# A training is a loop around four lines: take a batch, compute the loss and its gradient, change the velocity, change the weights. Write $w$ for all weights in one vector, $g$ for the gradient, $v$ for
# the velocity, $m$ for the momentum and $\eta$ for the learning rate. In the form of [lesson 10](10_training.ipynb)
#
# $$v \leftarrow m\,v + g, \qquad w \leftarrow w - \eta\,v , \qquad v = 0 \text{ at the beginning.}$$
#
# ### Exercise 18.2
# Write it, without Nesterov's look-ahead. `loss_and_gradient(weights, batch)` gives the loss, a number, and the gradient, an array like the weights. Leave the array of first weights as it is.


# %%
def my_training(loss_and_gradient, weights, batches, learning_rate, momentum):
    """weights (n,), batches: a list  ->  the last weights (n,), a list with the loss of every step"""
    ### BEGIN SOLUTION
    velocity, losses = np.zeros_like(weights), []
    for batch in batches:
        loss, gradient = loss_and_gradient(weights, batch)
        velocity = momentum * velocity + gradient  # (n,)
        weights = weights - learning_rate * velocity  # (n,)
        losses.append(loss)
    return weights, losses
    ### END SOLUTION


check("18.2", my_training)

# %% [markdown]
# Your loop and your functions together. The package's part in this cell is to hold the weights and to cut the digits into batches. (`parameters.values` is the one vector of all
# weights, `parameters.gradients` that of their gradients.)

# %%
digits = load_dataset("digits")
held_in, held_out = digits.split(
    0.2
)  # numbers of the training and of the validation images
model = MlpMixer(CONFIG, backend=mine.backend())


def loss_and_gradient(weights, batch):
    """weights (n,), batch: images (B, 8, 8, 1) and labels (B,)  ->  the loss, its gradient (n,)"""
    parameters = model.parameters
    parameters.values[...] = weights
    parameters.zero_gradients()
    logits, cache = model.forward(batch[0])  # (B, K)
    loss, dlogits = model.ops.softmax_cross_entropy(logits, batch[1])
    model.backward(dlogits, cache)
    return float(loss), parameters.gradients.copy()


batches = []
for epoch in range(2):
    batches += Batches(
        digits.train_images[held_in], digits.train_labels[held_in], 32, epoch=epoch,
        shuffle=True, mean=digits.mean, std=digits.std,
    )  # fmt: skip
first_weights = model.parameters.values.copy()  # (n,)
try:
    _, losses = my_training(loss_and_gradient, first_weights, batches, 0.05, 0.9)
    print(f"{len(losses)} steps: loss {losses[0]:.4f} -> {np.mean(losses[-10:]):.4f}")
except NotYet as not_yet:
    print(not_yet)

# %% [markdown]
# ## Where two curves part
# Suppose that your training differs from the package's. The first step whose losses differ says much. Think it through with a head that starts at zero:
#
# * The loss of **step 1** is $\log 10$ whatever happens below the head. Only the head and the loss itself can spoil it.
# * The loss of **step 2** is computed with a head that has moved once. It depends on every forward function, and on the two backward functions that the head's gradient has passed: that of the loss and that of
#   Linear, of which `dweight` and `dbias` are used. All other weights are still the first ones, as their gradients were zero.
# * The loss of **step 3** depends on everything. A fault of LayerNorm's or GELU's backward pass can show here *at the earliest*; since the first steps are short it may take a few more until it stands out from the rounding.
#
# ### Exercise 18.3
# Write a function that finds this step, and gives 0 where the curves never part. Remember that a loss may be `nan`: then the curves differ.


# %%
def my_first_difference(losses, others, tolerance):
    """losses, others: numbers, one per step  ->  the first step, counted from 1, whose losses differ by
    more than tolerance times the size of the first list's loss; 0 if there is none. Where one list is
    longer, the rest of it does not count."""
    ### BEGIN SOLUTION
    for step, (loss, other) in enumerate(zip(losses, others, strict=False), start=1):
        if not abs(other - loss) <= tolerance * abs(loss):
            return step
    return 0
    ### END SOLUTION


check("18.3", my_first_difference)

# %% [markdown]
# ## Break one term
# What does a learning curve say about a wrong gradient? We break one term at a time, leave everything else right, and look. First make up your mind about six of the faults:
#
# | name of the fault | what is done |
# |---|---|
# | `"1/B forgotten in the loss gradient"` | $p - t$ in place of $(p - t)/B$, with $B = 32$ |
# | `"sign of dx flipped in Linear"` | every Linear over channels passes `-dx` on; `dweight` and `dbias` are right |
# | `"third term of LayerNorm's dx missing"` | $r\,(g - \operatorname{mean}(g))$ |
# | `"GELU's slope taken at -x"` | the slope of the mirrored side |
# | `"GELU's slope of the other form"` | forward is the tanh form, backward that of erf |
# | `"dbias of Linear always zero"` | the biases of Linears over channels never move |
#
# ### Exercise 18.4
# For each say one of four words. `"diverges"`: the loss or the gradient becomes infinite. `"never learns"`: after six epochs fewer than four digits in ten are right. `"learns less"`: it learns, but
# ends at least five points below the right one. `"hides"`: within five points of it. (The check tells you at once about the first wrong one, and gives you something to think about.)


# %%
def my_predictions():
    """A dict: name of the fault -> "diverges", "never learns", "learns less" or "hides"."""
    ### BEGIN SOLUTION
    return {
        "1/B forgotten in the loss gradient": "diverges",
        "sign of dx flipped in Linear": "never learns",
        "third term of LayerNorm's dx missing": "learns less",
        "GELU's slope taken at -x": "learns less",
        "GELU's slope of the other form": "hides",
        "dbias of Linear always zero": "hides",
    }
    ### END SOLUTION


check("18.4", my_predictions)

# %% [markdown]
# Now the experiment, with two more faults: LayerNorm's *second* term, and a mean over tokens that is not divided by $S$ on the way back. Each is trained from two seeds, which change the first weights and the
# order of the images. `backend_with(layer_norm_backward=...)` is a backend of the package's functions with one of them replaced. (`mine.backend(layer_norm_backward=...)` does the same with yours.)


# %%
def loss_gradient_without_the_mean(logits, labels):
    return ops.softmax_cross_entropy(logits, labels)[1] * len(labels)  # (B, K)


def gelu_backward_on_the_wrong_side(dy, cache):
    x, t = cache
    return ops.gelu_tanh_backward(dy, (-x, -t))  # tanh is odd: at -x it is -t


def linear_backward_without_dbias(dy, cache):
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    return dx, dweight, 0 * dbias


FAULTS = {
    "1/B forgotten": {"loss_gradient": loss_gradient_without_the_mean},
    "sign of dx flipped": {"linear_backward": linear.sign_flipped},
    "GELU's slope at -x": {"gelu_tanh_backward": gelu_backward_on_the_wrong_side},
    "LayerNorm: no third term": {"layer_norm_backward": layer_norm.variance_term_missing},
    "mean not divided by S": {"mean_over_tokens_backward": tokens.mean_not_divided},
    "LayerNorm: no second term": {"layer_norm_backward": layer_norm.mean_term_missing},
    "dbias always zero": {"linear_backward": linear_backward_without_dbias},
    "GELU's other form": {"gelu_tanh_backward": gelu.derivative_of_the_erf_form},
}
runs = {"nothing broken": right}
for name, operations in FAULTS.items():
    runs[name] = {}
    for seed in right:
        try:
            with np.errstate(all="ignore"):
                runs[name][seed] = train(backend_with(**operations), EPOCHS, seed)
        except TrainingError as error:
            runs[name][seed] = str(error).partition(" (")[0]

print(
    f"{'':<28}{'loss, last epoch':>20}{'validation accuracy':>24}{'curves part at step':>22}"
)
for name, by_seed in runs.items():
    losses, accuracies, parts = [], [], []
    for seed, run in by_seed.items():
        if isinstance(run, str):
            continue
        losses.append(f"{run.loss:.4f}")
        accuracies.append(f"{run.validation_accuracies[-1]:.1%}")
        apart = abs(np.subtract(run.losses, right[seed].losses)) > 1e-3 * np.array(
            right[seed].losses
        )
        parts.append(str(1 + int(apart.argmax())) if apart.any() else "never")
    if losses:
        print(
            f"{name:<28}{', '.join(losses):>20}{', '.join(accuracies):>24}{', '.join(parts):>22}"
        )
    else:
        print(f"{name:<28}  {by_seed[0]}")

# %%
figure, axes = new_figure(2, 4, width=8, height=4, sharex=True, sharey=True)
for axis, name in zip(axes.flat, FAULTS, strict=True):
    for seed, style in zip(right, ("-", "--"), strict=True):
        run = runs[name][seed]
        epochs = range(1, len(right[seed].validation_accuracies) + 1)
        axis.plot(epochs, right[seed].validation_accuracies, style, color=INK, linewidth=1)
        if isinstance(run, str):
            axis.text(3.5, 0.45, "gradient infinite", ha="center", color=COLOURS[1])
        else:
            axis.plot(
                epochs, run.validation_accuracies, style, color=COLOURS[1], linewidth=2
            )
    axis.set_title(name, fontsize=8.5)
    axis.set_ylim(0, 1)
for axis in axes[1]:
    axis.set_xlabel("epoch")
for axis in axes[:, 0]:
    axis.set_ylabel("accuracy")
show(
    figure,
    alt="Eight panels of validation accuracy over six epochs, two seeds each, beside the right "
    "training in grey. Without 1/B the gradient becomes infinite; with dx's sign flipped accuracy stays below 0.3; "
    "with GELU's slope on the wrong side it stays near 0.6; without LayerNorm's third term near 0.85. In the "
    "other four panels the curves end beside the grey ones.",
)

# %% [markdown]
# Grey is the right training, in colour the broken one, a line per seed. Half of the faults show. The others end where the right one ends, give or take as much as another seed
# changes. Read the losses of `nothing broken` again: another seed moves them by more than any of the last three faults does.
#
# * **What shows** is a gradient of the wrong size by a large factor, or of the wrong direction in many places.
# * **What hides** is a gradient that points roughly downhill. SGD needs no more than that: the gradient of 32 images is noisy by far more than a small wrong term.
# * `mean not divided by S` makes the gradient below it 16 times as long. Look at its first epoch: it even *leads*. In a larger network, or at a larger learning rate, it may diverge.
# * `GELU's other form` may never part from the right curve by a thousandth. Only a comparison of the function itself sees it.
#
# Two seeds are few, and "hides" is said of this network, this data and this learning rate. But one conclusion needs no more: *a curve that looks right is no evidence that the gradients are.* Gradient checks
# ([lesson 03](03_gradient_checking.ipynb)) and comparisons like the report above are.
#
# **Try it.** The backward pass of the patches, `images_to_patches_backward`, can be replaced by anything of the right shape. Try `tokens.patches_put_back_without_transposing`. What do you see, and why?

# %% [markdown] tags=["solution"]
# **About the question.** The losses are the same to the last bit. The gradient of the images is computed and nobody uses it: there are no parameters before the patches. The fault would show in
# [lesson 12](12_what_it_learned.ipynb), where that gradient is drawn.

# %% [markdown]
# ## Find it by halves
# A fault that only appears in the middle of a training passes the report: each function was right on the inputs that were tried. Then you know that *one* of thirteen functions is wrong, but not
# which. You can ask: if I take these functions of mine and the package's for all others, does the training agree? One question costs a training. One function at a time, it takes up to twelve questions. But if
# half of the functions are yours and the training agrees, none of this half is at fault, and if it differs, none of the *other* half is. (This assumes that there is only one fault.) Each question halves the suspects:
# this is called **bisection**, and $\lceil \log_2 13 \rceil = 4$ questions are enough. ($\lceil x \rceil$ is $x$ rounded up; $\log_2 n$ counts how often $n$ can be halved until 1 is left.)
#
# ### Exercise 18.5
# Write it. `agrees(yours)` takes a list of names, trains with these functions and the package's for all others, and returns True or False.


# %%
def my_bisection(names, agrees):
    """names: a tuple of names, exactly one of them at fault  ->  the name of the faulty one"""
    ### BEGIN SOLUTION
    suspects = list(names)
    while len(suspects) > 1:
        half, rest = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
        suspects = rest if agrees(half) else half
    return suspects[0]
    ### END SOLUTION


check("18.5", my_bisection)

# %% [markdown]
# Three functions of a fellow learner. One of them is at fault (the cell that plants it does not say which). A question is a training of twenty steps.

# %%
FELLOW = {
    "layer_norm_backward": (ops.layer_norm_backward, layer_norm.variance_over_one_less),
    "gelu_tanh_backward": (ops.gelu_tanh_backward, gelu.exponent_not_brought_down),
    "token_linear_backward": (
        ops.token_linear_backward,
        linear.columns_paired_in_another_order,
    ),
}
culprit = sum(map(ord, "fellow")) % 3
fellows = {
    name: pair[index == culprit] for index, (name, pair) in enumerate(FELLOW.items())
}
questions = []


def agrees(names):
    """Whether twenty steps with these functions of the fellow's give the package's losses."""
    chosen = {name: fellows[name] for name in names}
    trained = train(
        backend_with(**chosen), EPOCHS, after_step=lambda step, loss: step == 20
    )
    same = np.allclose(trained.losses, package.losses[:20], rtol=1e-5, atol=0)
    questions.append(f"{', '.join(names)}: {'agrees' if same else 'differs'}")
    return same


try:
    found = my_bisection(tuple(fellows), agrees)
    print("\n".join(questions))
    print("at fault:", found)
except NotYet as not_yet:
    print(not_yet)

# %% [markdown]
# ## Keep it
# A network is its weights: arrays with names. NumPy keeps several arrays in one file, `.npz`: `np.savez(path, name=array, other_name=other_array)` writes them, and `np.load(path)` opens a reader that
# gives each array by its name (`reader.files` lists the names). A dict becomes named arguments with two stars: `f(**{"a": 1})` is `f(a=1)`.
#
# ### Exercise 18.6
# Write both. `my_load` must give a dict of arrays with the names, shapes and dtypes that were saved, and leave no file open.


# %%
def my_save(path, weights):
    """path: a text that ends in .npz, weights: a dict of arrays. Writes the file."""
    ### BEGIN SOLUTION
    np.savez(path, **weights)
    ### END SOLUTION


def my_load(path):
    """path of such a file  ->  a dict of arrays"""
    ### BEGIN SOLUTION
    with np.load(path) as reader:
        return {name: reader[name] for name in reader.files}
    ### END SOLUTION


check("18.6", my_save, my_load)

# %% [markdown]
# Save the network that your functions trained above, load it into a *new* model and evaluate that one, with the package's operations. (`model.parameters` is read by name, like a dict.) The interval
# says how well the accuracy is known from so few test images: with 95 % confidence it lies in there ([lesson 13](13_overfitting.ipynb)).

# %%
parameters = yours.model.parameters
weights = {name: parameters[name].copy() for name in parameters}
fresh = MlpMixer(CONFIG, seed=1)
try:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "my_mixer.npz"
        my_save(str(path), weights)
        print(f"{path.name}: {len(weights)} arrays, {path.stat().st_size / 1000:.0f} kB")
        for name, array in my_load(str(path)).items():
            fresh.parameters[name][...] = array
    test_images = normalise(digits.test_images, digits.mean, digits.std)
    guesses = fresh.forward(test_images)[0].argmax(axis=1)  # (360,)
    accuracy, images = np.mean(guesses == digits.test_labels), len(guesses)
    low, high = accuracy_interval(round(accuracy * images), images)
    print(f"test accuracy of what was loaded: {accuracy:.2%} ({low:.1%} to {high:.1%})")
except NotYet as not_yet:
    print(not_yet)

# %% [markdown]
# ## What you have now
# * A network in which every gradient is yours, and a way to compare each function with the package's on what training really feeds it.
# * *The same* means: the same but for rounding, which grows from step to step.
# * The first step at which two curves part narrows the search; halving ends it.
# * A curve shows gradients that are far too long or point elsewhere. It does not show small wrong terms. Check gradients.
#
# From a terminal, `tinymixer lessons capstone` prints the report and trains both networks; it needs no notebook and ends with an error status where a function differs.
#
# **Where the package does this:** `tinymixer/lessons/capstone.py` (the adapters, the inputs of training), `tinymixer/lessons/collecting.py` (your functions out of your notebooks),
# `tinymixer/backend.py` (what a backend is), `tinymixer/engines/step.py` (the training step), `tinymixer/gradcheck/planted_faults/layer_norm.py` (more terms to break).
#
# ## Where to go from here
# This was the last lesson. What you have now is enough for work of your own:
#
# * **A project.** [Two projects](../lessons/PROJECTS.md), each with a rubric, take a few weeks each: derive a layer that the course doesn't have and prove its gradients right, or answer a question by training.
# * **A study.** Any "what if" of these lessons will do: change one thing, hold the rest equal, train with several seeds, say how sure you are. `tinymixer sweep` runs the trainings.
# * **A contribution.** An operation with its derivation and its gradient check, a hint for a mistake that had none, a sentence that lost you: [CONTRIBUTING](../CONTRIBUTING.md) says how they get into the package.

# %% [markdown]
# ## Questions
#
# **1.** Which of your thirteen functions could be wrong without any effect on a training, and why?
#
# <details><summary>Answer</summary>
#
# `my_patches_backward`. It gives the gradient of the images, and there is nothing before them to be trained. The losses stay the same to the last bit.
#
# </details>
#
# **2.** `my_linear_backward` was written for `dy` of shape `(B, O)`. The stem calls it with `(16, 32, 32)`. Which shapes does the adapter make of `dy` and `x`, and why is `dweight` right although the function knows nothing of tokens?
#
# <details><summary>Answer</summary>
#
# `dy` becomes `(512, 32)` and `x`, patches of four pixels, `(512, 4)`: a row for each token of each image. All rows passed through the same weight, so its gradient is the sum over all of them, and the
# sum does not depend on which token or image a row came from.
#
# </details>
#
# **3.** Two trainings agree in steps 1 and 2 to the last bit and part at step 3. Which functions are above suspicion, if the inputs of these steps are all that counts?
#
# <details><summary>Answer</summary>
#
# All forward functions as far as their `y` goes (a wrong cache would show later), and the gradient of the loss. The loss of step 2 was computed by all of the former with a head that had moved by the latter. Of Linear's backward pass the `dweight` and `dbias` of the head are right, but its `dx` has not
# counted yet: in step 1 it was multiplied by a weight of zeros. So the fault is in what carries gradients below the head.
#
# </details>
#
# **4.** One of 13 functions is at fault and a training takes a minute. Estimate the time by halves, and one function at a time, in the worst case. And for 1000 functions?
#
# <details><summary>Answer</summary>
#
# Four minutes against twelve: $2^4 = 16 \ge 13$, and the last function needs no question, as it is the only one left. For 1000 it is ten minutes, since $2^{10} = 1024$, against 999, nearly seventeen hours.
#
# </details>
#
# **5.** A colleague says: "My new layer trains as well as the old one, so its backward pass must be right." What do you answer?
#
# <details><summary>Answer</summary>
#
# That training forgives. Without LayerNorm's second term, without the biases' gradients or with the slope of GELU's other form our Mixer reads digits as well as before, within what another seed changes. A direction that is
# roughly downhill is enough on easy data; on harder data, in deeper networks or at larger rates it may not be. A gradient check with a random `dy` takes a second and does not forgive.
#
# </details>
