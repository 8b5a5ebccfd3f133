# %% [markdown]
# # Lesson 00 · Start here
#
# *60 minutes. Before: nothing. You need Python, the idea of a derivative, and no machine learning.*
#
# In this course you write a neural network by hand, every gradient included. It is a small MLP-Mixer (Tolstikhin et al.
# 2021, [arXiv 2105.01601](https://arxiv.org/abs/2105.01601)), a network that sorts images into classes. This lesson shows where the course is going,
# looks at your machine, and has the first three exercises. After this lesson you can
#
# * run a cell, do an exercise, and read what its check says,
# * say what goes into a Mixer, what comes out, and what happens in between,
# * read the letters that every shape in the course is written in.
#
# Every lesson begins and ends with a few questions. Say your own answer first, then open ours.

# %% [markdown]
# ## Before you begin
#
# **1.** What is the derivative of $x^2$ at $x = 3$, and what does it say about moving $x$ a little?
#
# <details><summary>Answer</summary>
#
# It is 6. If $x$ grows by a small step, $x^2$ grows by about 6 times that step: from 3 to 3.001 it grows from 9 to about 9.006. You need no more
# calculus than that to begin; [lesson 01b](01b_chain_rule.ipynb) goes through the rest.
#
# </details>
#
# **2.** What does the Python function `def double(x): x * 2` return for 3?
#
# <details><summary>Answer</summary>
#
# `None`. It computes 6 and throws it away, because there is no `return`. The exercises of this course are functions, so their answers need one.
#
# </details>
#
# **3.** A program reads 270 of 300 images correctly. What share is that? How many of 1,000 new images would you expect it to read correctly, and why
# only *expect*?
#
# <details><summary>Answer</summary>
#
# The share is 270 / 300 = 0.9, so you would expect about 900 of 1,000. But the 300 were only a sample: on other images it may do somewhat better or
# worse.
#
# </details>

# %% [markdown]
# ## Cells
# A notebook is a sequence of cells, some text, some code. Click into the code cell below and press Shift+Enter: it runs, and the mark beside it
# changes. Every cell that runs later can use what it defines, so run the cells in order, from top to bottom.

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
# The package comes with a small data set: 1,797 handwritten digits, each an image of 8 x 8 pixels with its **label**, the digit that the writer
# meant. 1,437 of them are for learning. The other 360 are set aside for testing: a network that has merely memorised its images would get the ones it
# has seen right, and fail on new ones.

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
# This is what you will have written by the end of lesson 10, here built from the package's own parts. You are not expected to understand it yet. Look
# at the five lines after `for images, labels`: together they are one **step** of learning, and every network in this course learns by repeating them.

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
# Here it is again, in words.
#
# * `forward` turns each image into ten numbers, the **logits**, one for each digit: the larger a logit, the more the network favours that digit.
# * `softmax_cross_entropy` turns all of that into one number, the **loss**: it is small when the right digits have the largest logits.
# * `backward` finds, for each of the network's numbers (its **parameters**), how the loss changes when that number grows a little. These derivatives are
#   the **gradients**, and writing them by hand is what this course is about.
# * `optimizer.step` moves every parameter a little, in the direction that makes the loss fall. `zero_gradients` clears the gradients of the step before.
#
# The curve of the loss shows the network learning, and the test images show how it reads digits that it has never seen.

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
# This is how a Mixer gets from an image to ten logits. The image is cut into **patches**. The **stem** turns each patch into a row of numbers, a
# **token**. Then come the **blocks**, all alike. Each of them mixes twice: **token mixing** lets the patches of an image tell each other what they
# see, and **channel mixing** combines the numbers within one token. At the end all tokens are averaged, and the **head** turns the average into ten
# logits. The bars on the right show the logits as probabilities (lesson 06).

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
    "mean and head; and ten bars, the right digit's by far the longest.",
)

# %% [markdown]
# ## The words of the course
# Every shape is written with the same letters, in the text, in the comments and in the package:
#
# | letter | counts | in the code | in the model above |
# |---|---|---|--:|
# | `B` | images in the batch, processed together | | 32 |
# | `P` | pixels along the side of a patch | `patch_size` | 2 |
# | `S` | tokens (patches) of an image | | 16 |
# | `C` | channels: the numbers in a token | `hidden_dim` | 32 |
# | `DS` | hidden numbers in token mixing | `tokens_mlp_dim` | 16 |
# | `DC` | hidden numbers in channel mixing | `channels_mlp_dim` | 64 |
# | `L` | blocks | `num_blocks` | 2 |
# | `K` | classes | `num_classes` | 10 |
#
# `(S, B, C)` in a comment beside a line means: this line makes an array with three axes, tokens first, then images, then channels. The parts have the
# names that they have in the authors' own code: `stem`, `token_mixing`, `channel_mixing`, `pre_head_layer_norm`, `head`. Here are the parameters,
# with their shapes:

# %%
for name in model.parameters.names:
    if not name.startswith("blocks.1"):  # the second block looks like the first
        print(f"{name:34} {model.parameters.shape(name)}")

# %% [markdown]
# ## Your machine
# Nearly all the time of a training step goes into matrix products, and NumPy leaves those to a library called BLAS. How fast BLAS is on your machine
# decides how long the experiments take. Each lesson is made to run in under a minute on two cores.

# %%
from tinymixer.cli.system_facts import system_facts

facts = system_facts()
blas = facts["blas"]
print(f"Python {facts['python']}, NumPy {facts['packages']['numpy']}")
print(f"processor: {facts['cpu']['name']}, {facts['cpu']['cores']} cores")
print(f"BLAS: {blas['name']} {blas['version']}, threads: {blas['threads']}")
print(f"a large product in float32: {blas['gigaflops_float32']:,.1f} GFLOP/s")
for warning in facts["warnings"]:
    print("note:", warning)

# %% [markdown]
# One GFLOP/s is a thousand million additions or multiplications per second. In a terminal, the command `tinymixer doctor` prints the same and more:
# when something is slow or missing, look there first.
#
# ## Which array library
# The package computes with NumPy, on the processor, or with CuPy, which has NumPy's functions on a graphics card (GPU). The one in use is called the
# **backend**. `"auto"` takes CuPy where it finds a GPU that it can use, and NumPy otherwise. It also says why:

# %%
backend = get_backend("auto")
print("backend:", backend.name)
print("because:", backend.reason)

# %% [markdown]
# Every lesson runs on NumPy. Only [lesson 11](11_gpu.ipynb) is about the GPU, and it too can be read without one. A model that isn't given a backend,
# like ours above, uses NumPy.
#
# ## How an exercise works
# An exercise is a function whose body is missing: `raise NotYet` stands in its place. Put your lines there and run the cell; the call to `check` in
# its last line answers. Until you have written something, it says so:


# %%
def not_written(images):
    return ...  # three dots count as nothing written, too


check("0.1", not_written)

# %% [markdown]
# When an answer is wrong, the check shows the first element that differs, what was expected there, and what it got instead. If the mistake is a
# common one, it adds a hint. Here is a wrong answer to exercise 0.1, on purpose:


# %%
def wrong_on_purpose(images):
    return images / 256


check("0.1", wrong_on_purpose)

# %% [markdown]
# A check can't break anything, and you can run it as often as you like. An answer may use whatever the cells of its notebook define: imports,
# constants, other functions.
#
# ## Pixels
# The images are stored as `uint8`, whole numbers from 0 (black) to 255 (white), one byte each. A network multiplies its inputs by weights and adds
# them up, and that works best with small numbers that have decimals. In this course they are `float32`, four bytes each.
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
# A label such as 7 names a class. It isn't a quantity: a 7 is not more than a 2, and a number halfway between them means nothing. So for computing, a
# label becomes a row of $K$ numbers, one for each class: 1 at its class and 0 elsewhere. That is called a **one-hot** row. With $K = 4$ classes, the
# labels 2 and 0 become
#
# $$\begin{pmatrix} 0 & 0 & 1 & 0 \\ 1 & 0 & 0 & 0 \end{pmatrix} .$$
#
# ### Exercise 0.2
# Turn labels into one-hot rows. Any kind of number will do (`float32`, whole numbers, ...).


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
# The network gives a row of $K$ logits for each image, and its **prediction** is the class with the largest one. The **accuracy** is the share of
# images whose prediction is their label, a number from 0 to 1. We printed it above for the test images.
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
# Two commands look at your notebooks as you last saved them. Run them in a terminal, in the folder that holds `tinymixer-lessons`:
#
# | | |
# |---|---|
# | `tinymixer lessons status` | your progress: which exercises of the course are done, wrong (and why) or not yet written, and which one is next |
# | `pytest tinymixer-lessons -k task_0_1` | one exercise as a test: 0.1 is `task_0_1`, 2.3 is `task_2_3`, 1b.3 is `task_1b_3` |
#
# Stuck for a quarter of an hour? Read the hint again, and print some shapes inside your function: what it prints appears below the verdict. Then look
# at the same notebook in the folder `solutions`.
#
# **Try it.** Go back to the cell that trains, set `patch_size` to 4, then to 1, and run it again. How many tokens does an image have then? What
# happens to the number of parameters, to the accuracy, and to the time it takes? What do misread digits have in common with the digits that the
# network takes them for?

# %% [markdown] tags=["solution"]
# **About the question.** An image has $(8/P)^2$ tokens: 4 for $P = 4$, 64 for $P = 1$. A patch vector has $P \cdot P$ numbers, so the stem grows with
# $P$, while token mixing shrinks, since its tables have a row or a column for each token. With 4 times as many tokens there is about 4 times as much
# to compute. Which patch size gets the best accuracy depends on the seed as well: 360 test images are few, and one of them is worth 0.28 percentage
# points. Most misread digits share strokes with the digit that they are taken for.

# %% [markdown]
# ## Questions
#
# **1.** The images have 8 x 8 pixels and one channel, and $P = 4$. How many tokens does an image have, and how many numbers does a patch hold?
#
# <details><summary>Answer</summary>
#
# $(8/4)^2 = 4$ tokens, and $4 \cdot 4 = 16$ numbers in a patch. The product is 64, the number of pixels, because patches neither overlap nor leave
# anything out.
#
# </details>
#
# **2.** What would happen if the line with `zero_gradients` were missing?
#
# <details><summary>Answer</summary>
#
# There would be no error. `backward` *adds* to the gradients, so every step would use the sum of all gradients so far, and most of them belong to
# parameters that have moved on since. The steps become far too large and point in stale directions: in the cell above, the loss ends up as `nan`,
# and the accuracy at 10 %.
#
# </details>
#
# **3.** Find the fault: someone gives the network a single output and trains it to produce the label itself, a number from 0 to 9.
#
# <details><summary>Answer</summary>
#
# A label is a name, not a quantity. This loss says that mistaking a 3 for a 4 is a small error and mistaking it for an 8 a large one, and that a
# network in doubt between 1 and 7 does well to answer 4. With one output for each class no digit is nearer to another.
#
# </details>
#
# **4.** A program answers "3" for every image. About how accurate would it be? And how many of the 360 test images lie between 97.2 % and 97.8 %?
#
# <details><summary>Answer</summary>
#
# About 10 %, since the ten digits are about equally common (here it is 36 of 360, exactly 10 %). Between 97.2 % and 97.8 % lie two images: 350 against
# 352 right answers. That is too little to call one network better than the other.
#
# </details>
#
# **5.** Explain the five lines of a training step to a colleague who has never seen a neural network. Try to do without the words *loss* and
# *gradient*.
#
# <details><summary>Answer</summary>
#
# For example: clear the notes of the last round. Let the network answer for 32 images. Compare its answers with the right ones, and boil the
# comparison down to one number that says how wrong it was. Find out for each of the network's numbers whether raising it a little would make that
# one number larger or smaller, and by how much. Then move every number a little in the direction that makes it smaller.
#
# </details>

# %% [markdown]
# ## What you have now
# * The words: images go in, logits come out, labels say what is right, the loss says how wrong the network was, gradients say which way to go.
# * The letters: `B` images, `S` tokens, `C` channels, `P` patch size, `K` classes; a shape comment beside every array.
# * The way of working: write, run, read the hint, go on.
#
# **Where the package does this:** `tinymixer/engines/step.py` (those five lines, and what can go wrong in them), `tinymixer/models/mlp_mixer.py` (the
# way from images to logits), `tinymixer/data/dataset.py` (`normalise`, which also subtracts the mean pixel and divides by the spread),
# `tinymixer/cli/system_facts.py` (what `doctor` prints).
#
# Next: [lesson 01, arrays, shapes, images as tokens](01_arrays_and_images.ipynb).
