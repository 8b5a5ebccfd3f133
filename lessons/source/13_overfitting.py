# %% [markdown]
# # Lesson 13 · Overfitting and its cures
#
# *85 minutes. Before: [lesson 10](10_training.ipynb) (training, weight decay, learning curves).*
#
# A network can know every training image by heart and still read the next one wrong. There are many cures, and a lot is said about them.
# Here we measure them, one by one, under the same conditions. After this lesson you can
#
# * see overfitting in a learning curve, and say why the loss rises before the accuracy falls,
# * hold out validation images, and say what the test set is for,
# * write dropout and stochastic depth with their backward passes, and early stopping,
# * compare cures fairly: same steps, same seeds, and the spread beside the mean.

# %% [markdown]
# ## Before you begin
#
# **1.** A gradient check calls forward many times, with slightly different inputs. What would it find if forward drew new random numbers each time? (lesson 03)
#
# <details><summary>Answer</summary>
#
# Nonsense. The outputs would differ because of the random numbers and not because of the small step, and dividing by that step would make the difference huge. So random numbers have to be drawn outside and handed in.
#
# </details>
#
# **2.** The network gives the right class the probability 0.001, because it is sure of another one. What is the loss? And what is it with the probability 0.3? (lesson 06)
#
# <details><summary>Answer</summary>
#
# $-\log 0.001 = 6.9$ and $-\log 0.3 = 1.2$. Both answers are wrong, but being sure and wrong costs almost six times as much.
#
# </details>
#
# **3.** In $y = x + f(x)$ somebody multiplies the branch by 0. What are $y$ and `dx`? (lesson 09)
#
# <details><summary>Answer</summary>
#
# $y = x$ and `dx = dy`. Nothing comes back through the branch, so its parameters get no gradient either. The block is the identity.
#
# </details>

# %%
import math

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.validation import balanced_split, early_stop
from tinymixer.data import Augmentation, Batches, load_dataset, normalise
from tinymixer.draws import Draws
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.lessons import check, fewer_in_browser, new_figure, show
from tinymixer.optim import AdamW
from tinymixer.training import evaluate, train_step

# %% [markdown]
# ## Images to choose by
# We will try many things and keep what works. Suppose we looked at the *test* accuracy each time. The best of twenty trials is the
# best partly by luck, and its test accuracy would contain that luck. It would no longer say how well the network reads new images. So
# the test set stays closed until everything is decided. We choose by a part of the *training* images that we hold out
# of training, the **validation** images.
#
# The classes should keep their shares in both parts. In a small set, chance alone can leave a class almost without images. So split
# each class by itself.
#
# ### Exercise 13.1
# Write the split. Of each class, a random choice of `share` times its images (rounded) goes to validation, and the rest to training.
# (`np.flatnonzero(labels == label)` lists the images of a class. `np.random.default_rng(seed)` gives the same random numbers for the same seed.)


# %%
def my_split(labels, share, seed):
    """labels (N,)  ->  training, validation: two arrays of image numbers."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    training, validation = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held_out = round(share * len(members))
        validation.append(members[:held_out])
        training.append(members[held_out:])
    return np.concatenate(training), np.concatenate(validation)
    ### END SOLUTION


check("13.1", my_split)

# %% [markdown]
# From here on we use the package's `balanced_split`. Half of the 1,437 training digits become validation images. That is more than usual, but we
# want to *measure*, and overfitting shows best with few training images anyway. So we can spare them.

# %%
digits = load_dataset("digits")
labels = digits.train_labels  # (1437,)
pool, validation = balanced_split(labels, share=0.5, seed=0)
print(f"{len(pool)} images to train on, {len(validation)} for validation,")
print(f"{len(digits.test_labels)} for the test, which stays closed")


def few(count, seed):
    """About so many of the pool's images, balanced: array of image numbers."""
    return pool[balanced_split(labels[pool], 1 - count / len(pool), seed)[0]]


# %% [markdown]
# ### How exact is an accuracy?
# Say the network reads a share $p$ of all possible digits correctly. Each of $n$ validation images is then a Bernoulli variable: 1 (read correctly)
# with probability $p$, else 0. Its mean is $p$, and so is the mean of its square, because 0 and 1 are their own squares. Its variance is the mean squared distance from its mean.
# That is also the mean of the square minus the square of the mean, $p - p^2 = p(1-p)$. The mean of $n$ of them has the variance $p(1-p)/n$ (lesson 10). So the accuracy
# we measure is off by about
#
# $$\sqrt{p\,(1-p)/n} .$$
#
# For $p = 0.85$ and $n = 720$ that is 1.3 points, for 360 images 1.9 points. A difference of one point between two networks says
# nothing. It says more if both are measured on the *same* images and start from the *same* seed and training images, because what is hard for one is
# hard for the other and cancels in the difference. That is how we will compare.
#
# ## Learning by heart
# The function below trains a small Mixer (2 blocks, 32 channels, about 18,600 parameters) with AdamW at a constant rate. All cures are
# arguments of it, so everything else stays the same. `choose_engine` picks a faster way to compute the model's layers. The trainer uses it
# as well.


# %%
def train(
    chosen,
    seed=0,
    steps=200,
    targets=labels,
    augmentation=None,
    weight_decay=0.0,
    label_smoothing=0.0,
    every=None,
    width=32,
    **config,
):
    """Train on the chosen images; return the model and a row of figures every so many steps."""
    sizes = {
        "hidden_dim": width,
        "tokens_mlp_dim": width // 2,
        "channels_mlp_dim": 4 * width,
    }
    sizes |= {"image_size": 8, "in_channels": 1, "patch_size": 2, "num_blocks": 2}
    model = MlpMixer(MixerConfig(**sizes, **config), seed=seed)
    engine = choose_engine(model, EngineOptions(threads=1))
    optimizer = AdamW(model.parameters, weight_decay=weight_decay)
    statistics = {"mean": digits.mean, "std": digits.std}
    images, answers = digits.train_images[chosen], targets[chosen]
    others, their_labels = digits.train_images[validation], labels[validation]
    rows, step, epoch = [], 0, 0
    while step < steps:
        for batch in Batches(images, answers, 50, seed, epoch, augmentation, **statistics):
            masks = Draws(seed, epoch, step, np.arange(50))  # for what is dropped
            train_step(engine, optimizer, *batch, 0.003, label_smoothing, masks)
            step += 1
            if step == steps or (every and step % every == 0):
                seen = evaluate(engine, images, answers, **statistics)
                unseen = evaluate(engine, others, their_labels, **statistics)
                row = {"step": step, "loss": unseen.loss, "accuracy": unseen.accuracy}
                row["train_loss"], row["train_accuracy"] = seen.loss, seen.accuracy
                row["confidence"] = unseen.probabilities.max(axis=1).mean()
                rows.append(row)
            if step == steps:
                break
        epoch += 1
    return model, rows


# %% [markdown]
# First, how much can it learn by heart? We take 150 images and **shuffle their labels**. There is no rule left to find.

# %%
chosen = few(150, seed=0)
nonsense = labels.copy()
nonsense[chosen] = np.random.default_rng(0).permutation(labels[chosen])
_, rows = train(chosen, steps=fewer_in_browser(200, 100, "steps"), targets=nonsense)
print(f"training accuracy   {rows[-1]['train_accuracy']:.0%}")
print(f"validation accuracy {rows[-1]['accuracy']:.0%}")

# %% [markdown]
# It learns all of them, and of course that is good for nothing (Zhang et al., [arXiv 1611.03530](https://arxiv.org/abs/1611.03530), did this with
# large networks). So a perfect training accuracy is no sign of understanding. Now we train with the true labels, for longer, and look every 20 steps:

# %%
_, rows = train(chosen, steps=fewer_in_browser(400, 160, "steps"), every=20)
at = [row["step"] for row in rows]
figure, axes = new_figure(1, 2, width=7.5, height=2.8)
axes[0].plot(
    at, [row["train_loss"] for row in rows], "--", color=COLOURS[0], label="training"
)
axes[0].plot(at, [row["loss"] for row in rows], color=COLOURS[0], label="validation")
axes[0].set_title("loss")
axes[0].set_ylim(bottom=0)
for name, style, label in (
    ("train_accuracy", "--", "training accuracy"),
    ("accuracy", "-", "validation accuracy"),
):
    axes[1].plot(
        at, [100 * row[name] for row in rows], style, color=COLOURS[0], label=label
    )
axes[1].plot(
    at,
    [100 * row["confidence"] for row in rows],
    color=COLOURS[1],
    label="validation confidence",
)
axes[1].set_title("in %")
for axis in axes:
    axis.set_xlabel("step")
    axis.legend()
show(
    figure,
    alt="Left: the training loss falls to zero, the validation loss falls, turns "
    "before step 100 and rises. Right: training accuracy reaches 100 %, validation "
    "accuracy stays level near 85 %, confidence climbs past it.",
)
lowest = min(rows, key=lambda row: row["loss"])
for row in (lowest, rows[-1]):
    print(
        f"step {row['step']:3d}: training loss {row['train_loss']:.4f}, validation loss {row['loss']:.3f}, "
        f"accuracy {row['accuracy']:.1%}, confidence {row['confidence']:.1%}"
    )

# %% [markdown]
# This is **overfitting**: the loss on seen images goes to zero, while the loss on unseen ones turns and rises. The accuracy hardly changes. Why
# does the loss rise, then? The orange line tells why. *Confidence* is the mean probability that the network gives to its own answer. Once all training images are right, the
# training loss can only fall by making the logits larger. Larger logits are surer logits, on unseen images too, and also where they are wrong.
# A wrong answer given with probability 0.99 costs much more than one given with 0.6. An honest network's confidence would equal its accuracy.
#
# Now the cures.
#
# ## Cure 1: more images
# This is the best cure, if you can get them. We train on 150, on 300 and on all 718 images of the pool, with the same number of steps.
#
# ## Cure 2: augmentation
# If there are no more images, make some: change each image a little, in a way that keeps its meaning, differently in every
# epoch. The package's `Augmentation` can do this in several ways. Here are three of them, with one digit and five variants each:

# %%
ways = {
    "shift (crop_padding=1)": Augmentation(crop_padding=1, flip=False),
    "mirror (flip=True)": Augmentation(crop_padding=0, flip=True),
    "cutout=3": Augmentation(crop_padding=0, flip=False, cutout=3),
}
original = digits.train_images[chosen[30]]  # (8, 8, 1)
copies = np.repeat(original[None], 5, axis=0)  # (5, 8, 8, 1)
figure, axes = new_figure(3, 6, width=6, height=3.2)
for line, (name, way) in zip(axes, ways.items(), strict=True):
    varied = way(copies, Draws(4, 0, 0, np.arange(5)), fill=[int(255 * digits.mean[0])])
    for axis, image in zip(line, [original, *varied], strict=True):
        axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
        axis.axis("off")
    line[0].set_title(name, loc="left")
show(
    figure,
    alt="A handwritten digit and, in three rows, five variants: moved by a pixel, some mirrored, "
    "and with a grey square box.",
)

# %% [markdown]
# Mirroring is a standard cure for photographs: a mirrored cat is a cat. A mirrored digit is not a digit. We measure it all the same, to see what a wrong
# assumption costs.
#
# ## Cure 3: weight decay
# Lesson 10: all matrices shrink by the factor $1 - \eta\lambda$ at every step, with learning rate $\eta$ and decay $\lambda$. Weights that the data does not
# keep up fade away. We take the rate 0.003 and $\lambda = 1$, so after 200 steps $0.997^{200} = 0.55$ of such a weight is left.
#
# ## Cure 4: dropout
# During training, set each hidden number to zero with probability $r$, the **rate**, independently of the others
# (Srivastava et al. 2014). Then no number can rely on another one being there, and combinations of many numbers that fit a single image fall apart.
#
# Let $k$ be one entry of a **Bernoulli mask**: $k = 1$ (keep) with probability $1 - r$, else 0. Its mean is $1 \cdot (1 - r) + 0 \cdot r = 1 - r$, so
# $k\,x$ would be too small on average by that factor, and the next layer would see smaller numbers in training than later. So divide:
#
# $$y = \frac{k\,x}{1 - r}, \qquad \text{mean of } y = \frac{(1 - r)\,x}{1 - r} = x .$$
#
# In prediction nothing is dropped, and nothing needs to be made up for. In the package, dropout follows the GELU of each MLP. The mask is drawn outside and handed in as a boolean array `keep`
# of the shape of `x`, so that the backward pass has it too.
#
# ### Exercise 13.2
# Write dropout, forward and backward. What is $\partial y / \partial x$ for an entry that was kept, and for one that was not?


# %%
def my_dropout_forward(x, keep, rate):
    """x (...), keep (...) boolean, rate a number  ->  y (...), cache"""
    ### BEGIN SOLUTION
    return x * keep / (1 - rate), (keep, rate)
    ### END SOLUTION


def my_dropout_backward(dy, cache):
    """dy (...)  ->  dx (...)"""
    ### BEGIN SOLUTION
    keep, rate = cache
    return dy * keep / (1 - rate)
    ### END SOLUTION


check("13.2", my_dropout_forward, my_dropout_backward)

# %% [markdown]
# The mean over many masks should be close to `x`:

# %%
rng = np.random.default_rng(0)
x = np.array([1.0, -2.0, 0.5, 3.0])  # (4,)
keep = rng.random((10_000, 4)) >= 0.3  # (masks, 4)
y, _ = ops.dropout_forward(np.tile(x, (10_000, 1)), keep, 0.3)  # (masks, 4)
print("x:                       ", x)
print("one mask:                ", y[0].round(2))
print("mean over 10,000 masks:  ", y.mean(axis=0).round(2))

# %% [markdown]
# ## Cure 5: stochastic depth
# This is dropout for whole branches (Huang et al., [arXiv 1603.09382](https://arxiv.org/abs/1603.09382)). A Mixer block adds branches to its input,
# $x + f(x)$. In training, leave the branch out for a random choice of *images*. For them the block is
# shorter. The mask has one entry per image and branch, and the factor is the same $1/(1 - r)$. In the package this is called `drop_path`, and its rate rises from 0 in the first
# block to the given rate in the last.
#
# ### Exercise 13.3
# Write it for a branch `x` of shape `(S, B, C)`, tokens first, and `keep` of shape `(B,)`. Watch the axis.


# %%
def my_drop_path_forward(x, keep, rate):
    """x (S, B, C), keep (B,) boolean, rate a number  ->  y (S, B, C), cache"""
    ### BEGIN SOLUTION
    return x * keep[None, :, None] / (1 - rate), (keep, rate)
    ### END SOLUTION


def my_drop_path_backward(dy, cache):
    """dy (S, B, C)  ->  dx (S, B, C)"""
    ### BEGIN SOLUTION
    keep, rate = cache
    return dy * keep[None, :, None] / (1 - rate)
    ### END SOLUTION


check("13.3", my_drop_path_forward, my_drop_path_backward)

# %% [markdown]
# ## Cure 6: label smoothing
# We saw confidence grow without end. The reason is the target: with probability 1 for the right class, the loss reaches its minimum 0 only when
# the logits are infinitely far apart. So ask for less (Szegedy et al., [arXiv 1512.00567](https://arxiv.org/abs/1512.00567)). With a small share $e$ and
# $K$ classes, the target becomes
#
# $$t = (1 - e)\cdot\text{one-hot} + e/K .$$
#
# Lesson 06 found that the gradient with respect to the logits is $p - t$ with the softmax $p$. It is zero where $p = t$. There the right class has the probability $1 - e + e/K$ and
# each other class $e/K$. The ratio of two softmax probabilities is the exponential of the difference of their logits. So the logits of the right class and of a wrong one differ by
#
# $$\log\frac{1 - e + e/K}{e/K} , \qquad \text{for } e = 0.1,\ K = 10: \quad \log\frac{0.91}{0.01} = 4.51 .$$
#
# That is a finite goal. (The smallest possible loss is then no longer 0.)
#
# ## Cure 7: a smaller model
# Half as many channels, so that less can be learned by heart. This is what many people try first.
#
# ## Cure 8: early stopping
# When the validation loss turns, stop, and keep the weights from its lowest point. The loss jumps up and down from epoch to epoch, so be patient: training ends only when `patience` epochs in a row have brought
# no new lowest loss.
#
# ### Exercise 13.4
# Write it for a list of validation losses, one per epoch, counted from 0. What comes after the stop is never seen, however good it
# would have been. A loss equal to the lowest is no improvement.


# %%
def my_early_stop(losses, patience):
    """losses, a list of numbers  ->  the best epoch, the last epoch that was trained"""
    ### BEGIN SOLUTION
    best = 0
    for epoch in range(1, len(losses)):
        if losses[epoch] < losses[best]:
            best = epoch
        elif epoch - best == patience:
            return best, epoch
    return best, len(losses) - 1
    ### END SOLUTION


check("13.4", my_early_stop)

# %% [markdown]
# ## The measurement
# We test each cure alone, with everything else the same: about 150 images (except for cure 1), 200 steps, three seeds. A seed decides the 150
# images, the first weights, the order and the masks. The three seeds are the same for every row. One more row has two cures together. This cell is the slowest of the lesson.

# %%
SEEDS = (0, 1, 2)
cutout = ways["cutout=3"]
trials = {
    "nothing": {"every": 10},
    "300 images": {"count": 300},
    "all 718 images": {"count": 718},
    "cutout": {"augmentation": cutout},
    "shifts": {"augmentation": ways["shift (crop_padding=1)"]},
    "mirrored": {"augmentation": ways["mirror (flip=True)"]},
    "weight decay 1": {"weight_decay": 1.0},
    "dropout 0.2": {"dropout": 0.2},
    "stochastic depth 0.3": {"drop_path": 0.3},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "half the channels": {"width": 16},
    "cutout and smoothing": {"augmentation": cutout, "label_smoothing": 0.1},
}
histories, models = {}, {}
steps = fewer_in_browser(200, 20, "steps")
for name, settings in trials.items():
    given = dict(settings)
    count = given.pop("count", 150)
    runs = [
        train(few(count, seed) if count < len(pool) else pool, seed, steps, **given)
        for seed in SEEDS
    ]
    models[name] = [model for model, _ in runs]
    histories[name] = [rows for _, rows in runs]

outcome = {name: [rows[-1] for rows in runs] for name, runs in histories.items()}
stopped = []
for rows in histories["nothing"]:
    best, last = early_stop([row["loss"] for row in rows], patience=5)
    stopped.append(rows[best])
    print(
        f"early stopping: trained to step {rows[last]['step']}, kept step {rows[best]['step']}"
    )
outcome["early stopping"] = stopped

# %% [markdown]
# There is one row per cure, with means over the seeds. The last columns are the *differences* in accuracy from "nothing", seed by seed, in points.

# %%
nothing = np.array([row["accuracy"] for row in outcome["nothing"]])  # (seeds,)
print(f"{'':21s} training     validation       difference in accuracy")
print(f"{'':21s} loss  acc.   loss   acc.      seed 0  seed 1  seed 2    mean")
for name, rows in outcome.items():
    mean = {key: np.mean([row[key] for row in rows]) for key in rows[0]}
    differences = 100 * (np.array([row["accuracy"] for row in rows]) - nothing)  # (seeds,)
    print(
        f"{name:21s} {mean['train_loss']:.2f}  {mean['train_accuracy']:4.0%}  {mean['loss']:.3f}  "
        f"{mean['accuracy']:.1%}    "
        + "".join(f"{difference:+6.1f}  " for difference in differences)
        + f"  {differences.mean():+5.1f}"
    )

# %%
figure, axes = new_figure(1, 2, width=8, height=3.8, sharey=True)
names = list(outcome)[::-1]
for axis, key, factor, title in (
    (axes[0], "loss", 1, "validation loss"),
    (axes[1], "accuracy", 100, "validation accuracy in %"),
):
    for height, name in enumerate(names):
        values = [factor * row[key] for row in outcome[name]]
        axis.plot(
            values, [height] * len(values), "o", color=COLOURS[0], markersize=5, alpha=0.7
        )
        axis.plot(
            np.mean(values), height, "|", color=COLOURS[4], markersize=14, markeredgewidth=2
        )
    reference = np.mean([factor * row[key] for row in outcome["nothing"]])
    axis.axvline(reference, color=INK, linewidth=0.8, linestyle=":")
    axis.set_title(title)
axes[0].set_yticks(range(len(names)), names)
show(
    figure,
    alt="Thirteen rows of three dots, for loss and accuracy. Only 300 and 718 images "
    "stand clearly apart from the dotted line of 'nothing'; cutout, alone and with "
    "smoothing, is better by less than its dots are spread.",
)

# %% [markdown]
# ## What the measurement shows
# Each dot is a seed, the bar is their mean, and the dotted line is the mean of "nothing".
#
# * **More images beat everything else**, by far, in loss and accuracy. And they cost no extra computation.
# * **Cutout helps** with every seed, alone and with label smoothing. It comes closer to more images than any other cure.
# * **Mirroring hurts**, and so does **halving the channels**. The small model learns its 150 images by heart just as well, and reads others worse. Here, overfitting was not a
#   matter of too many parameters.
# * **Label smoothing** hardly changes the accuracy. It does change the confidence, as we will see below.
# * **Early stopping** lowers the loss, but not the error: the accuracy had been level for a long time.
# * **Weight decay, dropout, stochastic depth** show no gain, and some harm. With two blocks and 200 steps there is little to drop and little time to decay.
#   That says nothing about deep Mixers in long runs. The authors of the paper used all three.
# * **Shifts** end with a training loss far from zero: this network is not done learning after 200 steps. The same number of steps is one fair comparison,
#   but not the only one. Cures that make training harder need more of it.
#
# ## What it does not show
# * **Three seeds are few.** If a cure did nothing at all, its three differences would still all have the same sign in one case out of four ($2 \cdot \frac12 \cdot \frac12 \cdot \frac12$). A
#   mean difference below two points means little here. We trusted cutout only after five more seeds (3 to 7): +1.9, +3.6, +3.3, +5.3 and +1.0. Eight plus signs out
#   of eight happen by chance in one case out of 256.
# * **One strength each.** Dropout 0.05 or weight decay 0.1 might do better. A fair contest tunes every cure, with the same effort for each, on validation images.
# * **One data set**, of 8 x 8 pixels, by 13 writers who are in all parts of it. New writers would be harder, and might reward other cures.
#
# A single run per cure, or the best of ten, shows mostly luck.
#
# Has label smoothing kept its promise? We compare the gap between the right class's logit and the others', on the training images, with the goal of 4.51:

# %%
for name in ("nothing", "label smoothing 0.1"):
    gaps = []
    for seed, model in zip(SEEDS, models[name], strict=True):
        chosen = few(150, seed)
        images = normalise(digits.train_images[chosen], digits.mean, digits.std)
        logits, _ = model.forward(images)  # (B, K)
        right = np.eye(10, dtype=bool)[labels[chosen]]  # (B, K)
        gaps.append(logits[right].mean() - logits[~right].mean())
    confidence = np.mean([row["confidence"] for row in outcome[name]])
    accuracy = np.mean([row["accuracy"] for row in outcome[name]])
    print(f"{name:20s} gap between right and wrong logits {np.mean(gaps):.2f};", end=" ")
    print(f"validation: confidence {confidence:.0%}, accuracy {accuracy:.0%}")
print(f"the goal of smoothing 0.1: {math.log(0.91 / 0.01):.2f}")

# %% [markdown]
# The gap is at its goal. A network that was too sure has become too modest: its confidence is now below its accuracy.
#
# ## The test, once
# Now everything has been decided by validation images: cutout and label smoothing, and as many images as there are. After choosing, you may train on
# everything, the validation images included. Then we open the test set, once, for the plain run and for the chosen one.

# %%
everything = np.arange(len(labels))  # (1437,)
steps = fewer_in_browser(400, 80, "steps")
for name, settings in (("plain", {}), ("chosen", trials["cutout and smoothing"])):
    model, _ = train(everything, steps=steps, **settings)
    test = evaluate(model, digits.test_images, digits.test_labels, digits.mean, digits.std)
    error = math.sqrt(test.accuracy * (1 - test.accuracy) / len(digits.test_labels))
    print(
        f"{name:6s}  test loss {test.loss:.3f}, accuracy {test.accuracy:.1%} +- {error:.1%}"
    )

# %% [markdown]
# Look at the number after the +-: with 360 test images the two accuracies may well differ by chance alone. Whatever the result, it is now
# reported as it is. Going back to try something else "because the test was not good enough" would make the test set a validation set.
#
# (The package's trainer does the same: it holds back a share of the training images, chooses `best.npz` by the loss on them, and looks
# at the test images once, at the end. Many programs measure the test accuracy after every epoch and report the best. That is a choice made on the test set.)
#
# **Try it.** (1) Give "shifts" 800 steps, and "nothing" as well. What changes? (2) Is a model with twice the channels (`width=64`) better or worse
# than "nothing"? Guess first. (3) Repeat "dropout 0.2" with five other seeds. Would you publish it?

# %% [markdown] tags=["solution"]
# **About *Try it*.** (1) Here "shifts" went from far below "nothing" to about the same or a little above it (mean over three seeds: 86.2 % against
# 84.7 %, with a loss of 0.60 against 0.72). What looked like the worst cure needed more steps. (2) Better, if anything: 86.8 % against 84.5 % on average, with
# differences of +2.4, +6.5 and -1.8. Together with "half the channels" this speaks against the simple rule that small data needs a small model. (3) With seeds 3 to 7 we got the differences -0.6, +1.1,
# -2.5, +5.0 and -2.6. Their mean is about zero. Seed 6 alone would have made a fine headline.

# %% [markdown]
# ## Questions
#
# **1.** A hidden number is 8, and dropout has the rate 0.25. Which values can it have in training, how often, and what is its mean? What is it in prediction?
#
# <details><summary>Answer</summary>
#
# It is 0 in a quarter of the cases and $8 / 0.75 \approx 10.67$ in the others, so its mean is $0.75 \cdot 8 / 0.75 = 8$. In prediction it is 8. That is why we divide.
#
# </details>
#
# **2.** `x` is `(64, 32, 128)`, tokens first. How many numbers does the mask of dropout have, and how many that of stochastic depth? What must happen to the second before it can be multiplied with `x`?
#
# <details><summary>Answer</summary>
#
# Dropout needs one for each number, $64 \cdot 32 \cdot 128 = 262{,}144$. Stochastic depth needs one per image, 32. Its mask `(32,)` must become `(1, 32, 1)`. Multiplied as it is, it would be aligned with the 128 channels, which is
# an error here, and silently wrong with 32 channels.
#
# </details>
#
# **3.** Somebody tries 20 settings, looks at the test accuracy of each, and reports the best: 91.4 %. What is wrong with that number, and how should it have been done?
#
# <details><summary>Answer</summary>
#
# The best of 20 is the best partly by luck, and that luck was found on the test images. So new images will probably be read less well. The choice should have been made on validation images, and the test set used once, for the chosen setting.
#
# </details>
#
# **4.** With 200 validation images the accuracy is 90 %. Estimate by how much it is off. How many images would you need for half a point?
#
# <details><summary>Answer</summary>
#
# $\sqrt{0.9 \cdot 0.1 / 200} \approx 0.021$, about two points. For half a point, $0.09 / n = 0.005^2$, so $n = 3{,}600$, eighteen times as many. The error falls only with the root of the number of images.
#
# </details>
#
# **5.** The validation loss has been rising for ten epochs, and the validation accuracy has not changed. A colleague asks: "Is the network getting worse or not?" Explain.
#
# <details><summary>Answer</summary>
#
# Its answers are as good as before, but its probabilities are worse. It has become surer of everything, and where it is wrong that costs a lot. If you only use the answer, little is lost. If you use the
# probabilities, for example to hand unsure cases to a person, the earlier weights are better.
#
# </details>

# %% [markdown]
# ## What you have now
#
# | cure | where in the package | what it does |
# |---|---|---|
# | more images | a larger data set | the only one that adds knowledge |
# | augmentation | `Augmentation`, recipe fields `crop_padding`, `flip`, `cutout` | adds what *you* know: which changes keep the meaning |
# | weight decay | `AdamW`, `SGD(decoupled=True)` | unneeded weights fade |
# | dropout | `MixerConfig(dropout=...)` | y = x * keep / (1 - rate): right on average |
# | stochastic depth | `MixerConfig(drop_path=...)` | the same for whole branches, one entry of the mask per image |
# | label smoothing | `softmax_cross_entropy(..., label_smoothing)` | a finite goal for the logits |
# | early stopping | `early_stop` | keeps the lowest validation loss |
#
# And a habit: choose by validation images, compare seed by seed, show the spread, test once.
#
# **Where the package does this:** `tinymixer/ops/dropout.py`, `tinymixer/data/augmentation.py`, `tinymixer/analysis/validation.py`,
# `tinymixer/layers/mixer_block.py` (where the branches are dropped).
#
# ## Where to go from here
# You have derived every gradient of a Mixer, checked them, trained with them and measured the result. The lessons after this one look beyond it: at attention and convolutions, at more data and more cures, and at
# the real, published Mixers. You can also set out on your own:
#
# * **A layer of your own.** Write `forward` and `backward`, then let the package try to break it:
#   `from tinymixer.gradcheck import check_operation`. [CONTRIBUTING](../CONTRIBUTING.md) has the steps for a new operation.
#   Good first ones: RMSNorm, a gated MLP, a learned position for every token.
# * **A recipe of your own.** Copy a file from `tinymixer/recipes`, change it, and
#   `tinymixer train my-recipe.toml`. The recipe `digits` combines several of today's cures; [README](../README.md) has what was measured.
# * **The paper.** Tolstikhin et al. 2021, [arXiv 2105.01601](https://arxiv.org/abs/2105.01601). You know every part of it now. Look at how much data the authors needed before the Mixer
#   caught up with its rivals, and at the regularisation listed in their appendix.
# * **A GPU.** The same models run through CuPy: [docs/gpu.md](../docs/gpu.md) explains how the step works, and [docs/speed.md](../docs/speed.md) where the time goes on a processor.
# * **The code.** [ARCHITECTURE](../ARCHITECTURE.md) follows one training step through it. There is no part that you could not have written.
#
# The [cheat sheet](../lessons/cheatsheet.md) keeps every gradient of the course on one page.
#
# Next: [lesson 14, attention beside token mixing](14_attention.ipynb).
