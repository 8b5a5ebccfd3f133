# %% [markdown]
# # Lesson 00 · Start here
#
# *50 minutes. Before: nothing. You need Python, the idea of a derivative, and no machine learning.*
#
# In this course you write a neural network with your own hands, every gradient included. It is a small MLP-Mixer (Tolstikhin et al.
# 2021, [arXiv 2105.01601](https://arxiv.org/abs/2105.01601)), a network that sorts images into classes. This lesson shows where the
# road leads, looks at your machine, and has the first three exercises. After this lesson you can
#
# * run a cell, write an exercise, and read what its check answers,
# * say what goes into a Mixer, what comes out, and what lies between,
# * read the letters in which every shape of the course is written.
#
# ## Cells
# A notebook is a row of cells, text and code. Click into the code cell below and press Shift and Enter: it runs, and the mark
# beside it changes. What a cell defines is known to all cells that run after it, so run them in order, from top to bottom.

# %%
import numpy as np

from tinymixer import MixerConfig, MlpMixer, get_backend, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.model_picture import model_picture
from tinymixer.data import Batches, load_dataset, normalise
from tinymixer.lessons import check, new_figure, show
from tinymixer.optim import SGD, cosine

# %% [markdown]
# ## The task
# The package brings a small data set along: 1,797 digits, written by hand, each an image of 8 x 8 pixels with its **label**, the digit that was
# meant. 1,437 of them are for learning. The other 360 are kept aside for the test, since a network that has only learnt its images by heart
# would know those it has seen.

# %%
digits = load_dataset("digits")
print("images to learn from:", digits.train_images.shape, digits.train_images.dtype)
print("images for the test: ", digits.test_images.shape)

figure, axes = new_figure(1, 10, width=7.5, height=1.1)
for digit, axis in enumerate(axes):
    first = np.flatnonzero(digits.train_labels == digit)[0]
    axis.imshow(digits.train_images[first, :, :, 0], cmap="gray")
    axis.set_title(f"label {digit}", fontsize=9)
    axis.axis("off")
show(
    figure,
    alt="Ten coarse images of handwritten digits, 0 to 9, light on black, each with its label.",
)

# %% [markdown]
# ## Where we are going
# This is what you will have written by the end of lesson 10, here with the package's own parts. Nobody expects you to understand it yet. Look at the
# five lines after `for images, labels`: together they are one **step** of learning, and every network of this course learns by them.

# %%
config = MixerConfig(
    image_size=8,
    in_channels=1,
    patch_size=2,  # P
    hidden_dim=32,  # C
    tokens_mlp_dim=16,  # DS
    channels_mlp_dim=64,  # DC
    num_blocks=2,  # L
    num_classes=10,  # K
)
model = MlpMixer(config, seed=0)
optimizer = SGD(model.parameters, momentum=0.9)
EPOCHS, BATCH = 10, 32
steps = EPOCHS * (len(digits.train_images) // BATCH)
learning_rate = cosine(0.1, total_steps=steps, warmup_steps=20)

train = digits.train_images, digits.train_labels
pixels = {"mean": digits.mean, "std": digits.std}
losses = []
for epoch in range(EPOCHS):  # an epoch: every image once
    for images, labels in Batches(*train, BATCH, epoch=epoch, **pixels):
        model.parameters.zero_gradients()
        logits, cache = model.forward(images, train=True)  # lessons 01 to 09
        loss, dlogits = ops.softmax_cross_entropy(logits, labels)  # lesson 06
        model.backward(dlogits, cache)  # lessons 02 to 09
        optimizer.step(learning_rate(len(losses)))  # lesson 10
        losses.append(float(loss))

test_images = normalise(digits.test_images, **pixels)  # (360, 8, 8, 1)
test_logits, _ = model.forward(test_images)  # (360, 10)
predictions = test_logits.argmax(axis=1)  # (360,)
accuracy = np.mean(predictions == digits.test_labels)
print(f"{model.parameters.count:,} parameters, {len(losses)} steps")
print(f"{accuracy:.1%} of the 360 test images are read correctly")

# %% [markdown]
# Read it once more, in words.
#
# * `forward` turns images into ten numbers each, the **logits**, one for each digit: the larger, the more the network is for it.
# * `softmax_cross_entropy` makes one number of all that, the **loss**: small when the right digits have the largest logits.
# * `backward` finds, for every one of the network's numbers (its **parameters**), how the loss reacts when that number grows a little. These derivatives are
#   the **gradients**, and writing them by hand is what this course is about.
# * `optimizer.step` moves every parameter a little, in the direction in which the loss falls. `zero_gradients` clears the table for the next step.
#
# The loss over the steps shows the network learning, and the test images show what it makes of digits that it has never seen.

# %%
figure, (curve, *axes) = new_figure(
    1, 6, width=8, height=1.9, width_ratios=[2.6, 1, 1, 1, 1, 1]
)
curve.plot(losses, color=COLOURS[0], linewidth=0.8)
curve.set_xlabel("step")
curve.set_ylabel("loss")
misread = np.flatnonzero(predictions != digits.test_labels)
right = np.flatnonzero(predictions == digits.test_labels)
for axis, i in zip(axes, [*right[:3], *misread[:2]], strict=False):
    axis.imshow(digits.test_images[i, :, :, 0], cmap="gray")
    good = predictions[i] == digits.test_labels[i]
    axis.set_title(
        f"says {predictions[i]}" + ("" if good else f", is {digits.test_labels[i]}"),
        fontsize=8,
        color=INK if good else COLOURS[1],
    )
for axis in axes:
    axis.axis("off")
show(
    figure,
    alt="Left, the loss falls from above 2 to almost 0 over the steps. Right, three test images that are read "
    "correctly and two that are not.",
)

# %% [markdown]
# ## What a Mixer does
# Between the image and the ten logits lies this road. An image is cut into **patches**. Each patch becomes a row of numbers, a **token**, by the **stem**. Then come
# **blocks**, all alike, and in each two mixings: **token mixing** lets the patches of an image tell each other what they see, **channel mixing** lets the
# numbers of one token combine. At the end all tokens are averaged, and the **head** makes ten logits of the average. The bars on the right are the
# logits as probabilities (lesson 06).

# %%
shown = right[0]
scores = np.exp(test_logits[shown] - test_logits[shown].max())
probabilities = scores / scores.sum()  # (10,)

figure = model_picture(
    model,
    digits.test_images[shown],
    probabilities,
    digits.class_names,
)
show(
    figure,
    alt="A digit cut into 16 patches; boxes for patches, stem, a block of token mixing and channel mixing, "
    "mean and head; and ten bars, of which that of the right digit is by far the longest.",
)

# %% [markdown]
# ## The words of the course
# Every shape is written in the same letters, in the text, in the comments and in the package:
#
# | letter | counts | in the code | above |
# |---|---|---|--:|
# | `B` | images in the batch, worked on together | | 32 |
# | `P` | pixels along the side of a patch | `patch_size` | 2 |
# | `S` | tokens (patches) of an image | | 16 |
# | `C` | channels: the numbers of a token | `hidden_dim` | 32 |
# | `DS` | hidden numbers of token mixing | `tokens_mlp_dim` | 16 |
# | `DC` | hidden numbers of channel mixing | `channels_mlp_dim` | 64 |
# | `L` | blocks | `num_blocks` | 2 |
# | `K` | classes | `num_classes` | 10 |
#
# `(S, B, C)` in a comment beside a line means: this line makes an array with three axes, tokens first, then images, then channels. The names of the parts are those
# of the authors' own code: `stem`, `token_mixing`, `channel_mixing`, `pre_head_layer_norm`, `head`. Here they are, with their shapes:

# %%
for name in model.parameters.names:
    if not name.startswith("blocks.1"):  # the second block looks like the first
        print(f"{name:34} {model.parameters.shape(name)}")

# %% [markdown]
# ## Your machine
# Nearly all time of a training step goes into products of matrices, and NumPy leaves these to a library called BLAS. How fast it is on your machine
# decides how long the experiments take. The lessons were made so that each runs in under a minute on two cores.

# %%
from tinymixer.cli.system_facts import system_facts

facts = system_facts()
blas = facts["blas"]
print(f"Python {facts['python']}, NumPy {facts['packages']['numpy']}")
print(f"processor: {facts['cpu']['name']}, {facts['cpu']['cores']} cores")
print(f"BLAS: {blas['name']} {blas['version']}, threads: {blas['threads']}")
print(f"a large product in float32: {blas['gigaflops_float32']:,.0f} GFLOP/s")
for warning in facts["warnings"]:
    print("note:", warning)

# %% [markdown]
# A GFLOP/s is a thousand million additions or multiplications in a second. The command `tinymixer doctor` prints the same in a terminal and more: when something is
# slow or missing, look there first.
#
# ## Which array library
# The package computes with NumPy, on the processor, or with CuPy, which has NumPy's functions on a graphics card (GPU). Which of them is called the **backend**.
# `"auto"` takes CuPy where it finds a GPU that it can use, and otherwise NumPy. It says why:

# %%
backend = get_backend("auto")
print("backend:", backend.name)
print("because:", backend.reason)

# %% [markdown]
# Every lesson runs on NumPy. Only [lesson 11](11_gpu.ipynb) is about the GPU, and it too can be read without one. A model that is given no backend,
# like ours above, takes NumPy.
#
# ## How an exercise works
# An exercise is a function whose body is left out: `raise NotYet` stands in its place. You put your lines there, run the cell, and the call of
# `check` in its last line answers. As long as nothing is written, it says so:


# %%
def not_written(images):
    return ...  # three dots count as nothing written, too


check("0.1", not_written)

# %% [markdown]
# When an answer is wrong, the check shows the first element that differs, what was expected there, and what came instead. Where the mistake is one that people make, it
# adds a hint. Here is a wrong answer to exercise 0.1, on purpose:


# %%
def wrong_on_purpose(images):
    return images / 256


check("0.1", wrong_on_purpose)

# %% [markdown]
# A check can't break anything, and it can be asked as often as you like. An answer must stand on its own: it may use what is imported, constants in
# CAPITALS, and other functions of its notebook.
#
# ## Pixels
# The images are stored as `uint8`, whole numbers from 0 (black) to 255 (white), one byte each. A network multiplies its inputs by weights and adds them up, and that works best
# with small numbers that may have decimals. In this course they are `float32`, four bytes each.
#
# ### Exercise 0.1
# Turn pixels into `float32` numbers from 0 (black) to 1 (white).


# %%
def my_pixels_to_numbers(images):
    """images uint8 (B, height, width, channels), 0..255  ->  float32, same shape, 0..1"""
    ### BEGIN SOLUTION
    return images.astype(np.float32) / 255
    ### END SOLUTION


check("0.1", my_pixels_to_numbers)

# %% [markdown]
# ## Labels
# A label such as 7 names a class. It isn't a quantity: a 7 is not more than a 2, and nothing halfway between them is meant. So for computing,
# a label becomes a row of $K$ numbers, one for each class: 1 at its class and 0 elsewhere. That is called a **one-hot** row. With $K = 4$ classes, the labels 2 and 0 become
#
# $$\begin{pmatrix} 0 & 0 & 1 & 0 \\ 1 & 0 & 0 & 0 \end{pmatrix} .$$
#
# ### Exercise 0.2
# Make the one-hot rows of some labels. Any kind of number will do (`float32`, whole numbers, ...).


# %%
def my_one_hot(labels, classes):
    """labels (B,) whole numbers from 0 to classes - 1  ->  (B, classes), a 1 in each row"""
    ### BEGIN SOLUTION
    rows = np.zeros((len(labels), classes))  # (B, K)
    for image, label in enumerate(labels):
        rows[image, label] = 1
    return rows
    ### END SOLUTION


check("0.2", my_one_hot)

# %% [markdown]
# ## Is it any good?
# The network gives a row of $K$ logits for each image, and its **prediction** is the class with the largest. The **accuracy** is the share of the
# images whose prediction is their label, a number from 0 to 1. Above we printed it for the test images.
#
# ### Exercise 0.3
# Compute the accuracy. (`argmax` finds *where* the largest entry is; `axis=1` makes it look along each row.)


# %%
def my_accuracy(logits, labels):
    """logits (B, K), labels (B,)  ->  share of images whose largest logit is at their label"""
    ### BEGIN SOLUTION
    predictions = logits.argmax(axis=1)  # (B,)
    return np.mean(predictions == labels)
    ### END SOLUTION


check("0.3", my_accuracy)

# %% [markdown]
# ## Keeping track
# Two commands in a terminal, in the folder that holds `tinymixer-lessons`, look at your notebooks as you saved them:
#
# | | |
# |---|---|
# | `tinymixer lessons status` | your progress: every exercise of the course, done, wrong (and why) or not yet, and which is next |
# | `pytest tinymixer-lessons -k task_0_1` | one exercise as a test: 0.1 is `task_0_1`, 2.3 is `task_2_3`, 1b.3 is `task_1b_3` |
#
# Stuck for a quarter of an hour? Read the hint again and print the shapes on the way: what your function prints stands below the verdict. Then look into the same notebook in the folder `solutions`.
#
# **Try it.** Go back to the cell that trains, set `patch_size` to 4, then to 1, and run it again. How many tokens has an image then? What becomes of the number of
# parameters, of the accuracy, and of the time it takes? What does the class of each misread image have in common with what the network says?

# %% [markdown] tags=["solution"]
# **About the question.** An image has $(8/P)^2$ tokens: 4 for $P = 4$, 64 for $P = 1$. A patch vector has $P \cdot P$ numbers, so the stem grows with $P$, while token mixing, whose
# tables have a row or a column for each token, shrinks. With 4 times as many tokens there is about 4 times as much to compute. Which accuracy comes out best depends on the
# seed as well: 360 test images are few, and one of them is 0.28 points. Misread digits mostly share strokes with what they are taken for.

# %% [markdown]
# ## What you have now
# * The words: images go in, logits come out, labels say what is right, the loss says how wrong it was, gradients say where to go.
# * The letters: `B` images, `S` tokens, `C` channels, `P` patch size, `K` classes; a shape comment beside every array.
# * The way of working: write, run, read the hint, go on.
#
# **Where the package does this:** `tinymixer/engines/step.py` (those five lines, and what can go wrong in them), `tinymixer/models/mlp_mixer.py` (the road from images to
# logits), `tinymixer/data/dataset.py` (`normalise`, which also subtracts the mean pixel and divides by the spread), `tinymixer/cli/system_facts.py` (what `doctor` knows).
#
# Next: [lesson 01, arrays, shapes, images as tokens](01_arrays_and_images.ipynb).
