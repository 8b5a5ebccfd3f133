# %% [markdown]
# # Lesson 16 · More data, more cures
#
# *145 minutes. Before: [lesson 06](06_softmax_cross_entropy.ipynb) (the loss and its gradient), [lesson 10](10_training.ipynb) (optimizers, noise),
# [lesson 13](13_overfitting.ipynb) (overfitting, and how to measure a cure).*
#
# Lesson 13 covered the plain cures. The recipes of newer models use a second set: mixup, CutMix,
# stochastic depth with a ramp, averaged weights, Muon, SAM. Each of them is one idea and a few lines of code. After this lesson you can
#
# * draw a learning curve against the number of images, and say what the paper's says about Mixers,
# * write mixup and CutMix with the right targets, and say why they are switched off before the end,
# * average weights without dragging the initial ones along, and predict how much noise an average removes,
# * say what Muon does to a gradient matrix, and compute it without a decomposition,
# * measure all of it with validation images, and say which differences are noise.

# %%
import math

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.validation import balanced_split
from tinymixer.data import Augmentation, epoch_order, load_dataset, normalise
from tinymixer.data.batches import training_batch
from tinymixer.data.transforms.mixing import Mix, box_mix, mix_images, mix_targets
from tinymixer.draws import Draws
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.lessons import check, fewer_in_browser, new_figure, show
from tinymixer.optim import AdamW, Muon, WeightAverage, newton_schulz
from tinymixer.optim.newton_schulz import FIVE_STEPS
from tinymixer.training import evaluate, train_step

# %% [markdown]
# ## Before you begin
#
# **1.** A target says: class 2 with probability 0.6, class 7 with 0.4. What is the gradient of the loss with respect to the logits, and where is it
# zero? (lesson 06)
#
# <details><summary>Answer</summary>
#
# Softmax minus target, $p - t$, as for any row of probabilities; for a batch it is divided by the number of images. It is zero where $p$ equals the target. Probabilities are to each other as the exponentials of the logits, so there the
# logits of class 2 and class 7 differ by $\log(0.6/0.4) = 0.41$, and all others lie far below them.
#
# </details>
#
# **2.** A weight trembles in the parabola $\frac12 w^2$, since its gradient has noise. The learning rate is 0.5. What does a rate of 0.25 do to the variance of the weight? (lesson 10)
#
# <details><summary>Answer</summary>
#
# With curvature 1 and noise of variance 1 the variance is $\eta / (2 - \eta)$: 0.333 at 0.5 and 0.143 at 0.25. So half the rate leaves somewhat less than half the variance. Averages of
# weights, in this lesson, calm the weights as well, without smaller steps.
#
# </details>
#
# **3.** Three seeds with a new cure gain 0.8, 0.3 and 1.1 points of validation accuracy, on 719 images. Is the cure any good? (lesson 13)
#
# <details><summary>Answer</summary>
#
# You can't tell. Three equal signs come by chance in one case out of four. And an accuracy near 85 % on 719 images is off by about 1.3 points by chance alone; a difference on the same images is off by less, but hardly by ten times less. More seeds would tell.
#
# </details>

# %% [markdown]
# ## The first cure: data
# We split as in lesson 13: half of the training digits are for training, the other half is for validation. The test set stays closed in this lesson, from the first cell to the last.
#
# The function below trains the small Mixer of lesson 13 (18,602 parameters, batches of 50, rate 0.003). Every cure of this lesson is an argument of it. The package's `training_batch` puts a batch together: the pictures, augmented
# where that is asked for, and their labels, or rows of probabilities where images are mixed.

# %%
digits = load_dataset("digits")
labels = digits.train_labels  # (1437,)
pool, validation = balanced_split(labels, share=0.5, seed=0)
BATCH, CLASSES = 50, 10
LENGTH = fewer_in_browser(200, 40, "steps")  # of every training below
PLAIN = Augmentation(crop_padding=0, flip=False)  # leaves the images as they are


def few(count, seed):
    """About `count` images of the pool, balanced over the classes: array of image numbers."""
    if count >= len(pool):
        return pool
    return pool[balanced_split(labels[pool], 1 - count / len(pool), seed)[0]]


def train(
    chosen,
    seed,
    steps=LENGTH,
    augmentation=PLAIN,
    optimizer=AdamW,
    rate=0.003,
    sam_rho=0.0,
    **config,
):
    """Train on the chosen images. Returns the figures of the last weights, and of their average."""
    sizes = {"image_size": 8, "in_channels": 1, "patch_size": 2, "hidden_dim": 32}
    sizes |= {"tokens_mlp_dim": 16, "channels_mlp_dim": 128, "num_blocks": 2}
    model = MlpMixer(MixerConfig(**(sizes | config)), seed=seed)
    engine = choose_engine(model, EngineOptions(threads=1))
    rule = optimizer(model.parameters)
    average = WeightAverage(model.parameters, decay=0.95, every=1)
    mixed_until = (1 - augmentation.mixing_off) * steps
    for step in range(steps):
        epoch, number = divmod(step, len(chosen) // BATCH)
        order = chosen[epoch_order(seed, epoch, len(chosen))]
        draws = Draws(seed, epoch, number, np.arange(BATCH))  # for what is dropped
        images, targets = training_batch(
            digits.train_images,
            labels,
            order[number * BATCH : (number + 1) * BATCH],
            slice(None),
            augmentation,
            draws,
            digits.mean,
            digits.std,
            CLASSES,
            mixed=step < mixed_until,
        )
        train_step(engine, rule, images, targets, rate, rng=draws, sam_rho=sam_rho)
        average.step(step + 1)
    last = figures_of(engine, chosen)
    with average.applied():
        return last, figures_of(engine, chosen)


def figures_of(engine, chosen):
    """Loss, accuracy and confidence on the validation images, and the training loss."""
    unseen, seen = (
        evaluate(engine, digits.train_images[some], labels[some], digits.mean, digits.std)
        for some in (validation, chosen)
    )
    return {
        "loss": unseen.loss,
        "accuracy": 100 * unseen.accuracy,
        "confidence": 100 * unseen.probabilities.max(axis=1).mean(),
        "training loss": seen.loss,
    }


# %% [markdown]
# Now the curve: four numbers of training images, each about twice the one before, the same number of steps for all, three seeds. A seed decides the chosen images, the first weights and the
# order.

# %%
SEEDS = (0, 1, 2)[: fewer_in_browser(3, 2, "seeds")]
counts = [len(few(count, 0)) for count in (75, 150, 300, 718)]
curve = {count: [train(few(count, seed), seed) for seed in SEEDS] for count in counts}
errors = np.array(
    [[100 - last["accuracy"] for last, _ in curve[count]] for count in counts]
)  # (counts, seeds)
slope, level = np.polyfit(np.log2(counts), np.log2(errors.mean(axis=1)), 1)
for count, row in zip(counts, errors, strict=True):
    print(
        f"{count:4d} images: error {row.mean():4.1f} %  (seeds: {', '.join(f'{one:.1f}' for one in row)})"
    )
print(f"twice the images: {2**slope:.2f} times the error")

figure, axis = new_figure(width=5.2, height=2.7)
axis.loglog(counts, errors, "o", color=COLOURS[0], markersize=5, alpha=0.7)
line = 2**level * np.array(counts, float) ** slope
axis.loglog(counts, line, "--", color=COLOURS[4], label="fitted straight line")
axis.set_xticks(counts, counts)
axis.set_yticks([6, 10, 15, 25], ["6", "10", "15", "25"])
axis.minorticks_off()
axis.set_xlabel("training images")
axis.set_ylabel("validation error in %")
axis.legend()
show(
    figure,
    alt="The validation error against the number of training images, both on logarithmic scales: "
    "it falls from about 25 to about 7 per cent, and the means lie close to a straight line.",
)

# %% [markdown]
# On logarithmic scales the means lie near a straight line: every doubling multiplies the error by about the same factor. Such a line is useful. Extended to the right, it says what
# the next doubling would bring, before anybody has collected and labelled those images. And it tells you how many images a cure is worth. It is a description, not a law: far to the right it must bend, since some labels are wrong and some images cannot be read.
#
# ### What the paper's curve says
# The authors of the Mixer drew theirs with 3, 10, 30 and 100 % of 300 million photographs, for 233, 70, 23 and 7 epochs, so that the number of steps was the same, as it was here
# ([arXiv 2105.01601](https://arxiv.org/abs/2105.01601), "The role of the pre-training dataset size"). With the smallest part all Mixers overfit badly, and convolutional networks (BiT) less so. As the data grows, the Mixers gain more than BiT, whose curve flattens,
# and more than the Vision Transformer (ViT), which stays ahead by less and less.
#
# Their explanation is the one that you met in [lesson 12](12_what_it_learned.ipynb). A convolution is *told* that neighbouring pixels belong together and that a pattern means the same everywhere. A Mixer has to find both in
# the images. Being told is worth a lot when images are few. With many images it can be learned, and what a network was told may even stand in the way. "Possibly", the authors write, and about ViT "one could speculate": a learning curve shows that something happens, and not why.
#
# Can this be seen on digits? We drew the same curve for a small ResNet: 3 x 3 convolutions with batch norm, 19,706 parameters, the same images, steps and rate. Both have eight seeds.
#
# | training images | error of the Mixer | error of the ResNet | Mixer / ResNet |
# |--:|--:|--:|--:|
# | 76 | 24.5 % | 17.6 % | 1.4 |
# | 149 | 15.5 % | 8.8 % | 1.8 |
# | 303 | 9.3 % | 4.7 % | 2.0 |
# | 718 | 5.7 % | 2.5 % | 2.3 |
#
# The convolutions are ahead everywhere, and they gain *more* from the images, not less. (A step of theirs takes about twice as long, and one rate was tried.) That is no contradiction: seven hundred digits are far to the left of anything in the paper's figure. There, being told is worth the most, and the ResNet's curve has not begun to flatten. But it is a warning: what is true of 300 million photographs need
# not be true of your seven hundred.
#
# ## Cures that make data: mixup
# Augmentation changes an image and leaves its meaning. **mixup** (Zhang et al., [arXiv 1710.09412](https://arxiv.org/abs/1710.09412)) changes both. Take two images $x$ and $x'$ with targets $t$ and $t'$ (rows of probabilities: one-hot), and a **share** $\lambda$ between 0 and 1:
#
# $$\tilde x = \lambda\,x + (1 - \lambda)\,x', \qquad \tilde t = \lambda\,t + (1 - \lambda)\,t' .$$
#
# The tilde only marks what was mixed. If 70 % of the ink is a three and 30 % an eight, the right answer is "three with 0.7, eight with 0.3". $n$ images make some $n^2/2$ pairs with any share between them, so the network hardly ever sees the
# same picture twice and has nothing to learn by heart. On the way from one image to another it is asked to pass evenly from one answer to the other, where it would otherwise be sure of one of the two nearly everywhere.
#
# The share is drawn anew for every batch, from the **Beta distribution** $\mathrm{Beta}(\alpha, \alpha)$: numbers between 0 and 1 whose density is proportional to $\lambda^{\alpha - 1}(1 - \lambda)^{\alpha - 1}$. It is symmetric, with mean $\frac12$ and variance $\frac{1}{4\,(2\alpha + 1)}$. The parameter $\alpha > 0$ says how much is mixed:

# %%
random = np.random.default_rng(0)
figure, axes = new_figure(1, 3, width=7, height=1.9, sharey=True)
for axis, alpha in zip(axes, (0.2, 1.0, 5.0), strict=True):
    shares = random.beta(alpha, alpha, 100_000)
    axis.hist(shares, bins=25, range=(0, 1), density=True, color=COLOURS[0])
    axis.set_title(f"alpha = {alpha}")
    axis.set_xlabel("share")
    print(
        f"alpha {alpha}: variance {shares.var():.4f}, by the formula {1 / (4 * (2 * alpha + 1)):.4f}"
    )
axes[0].set_ylabel("density")
show(
    figure,
    alt="Histograms of the share: for alpha 0.2 high at 0 and 1 and low between, for alpha 1 level, "
    "for alpha 5 a hill around one half.",
)

# %% [markdown]
# With a small $\alpha$ most images stay nearly whole, with 1 every share is as likely as any other, with a large one every picture becomes a double exposure.
#
# Where does the second image come from? From the same batch: the **partner** of image $b$ is image $b + \text{shift}$, where the count begins again at 0 after the last image. The shift is drawn once for the batch. So nothing more has to be loaded.
#
# ### Exercise 16.1
# Mix a batch and its targets. Mind partners that happen to be of the same class: their row must still sum to 1.


# %%
def my_mixup(images, labels, share, shift, classes):
    """images (B, height, width, channels), labels (B,) integers, share that stays an image's own;
    the partner of image b is image b + shift; after the last image comes the first
    ->  mixed images (B, height, width, channels), targets (B, K), both of the images' dtype
    """
    ### BEGIN SOLUTION
    partners = (np.arange(len(images)) + shift) % len(images)  # (B,)
    mixed = share * images + (1 - share) * images[partners]
    one_hot = np.eye(classes, dtype=images.dtype)[labels]  # (B, K)
    return mixed, share * one_hot + (1 - share) * one_hot[partners]
    ### END SOLUTION


check("16.1", my_mixup)

# %% [markdown]
# ### The loss of a mixed target
# Our loss takes rows of probabilities (lesson 06), so training needs no new code. But look at what the loss does with them. Write $\ell(t) = -\sum_k t_k \log p_k$ for the cross-entropy of one image, whose softmax is $p$, with the target $t$. The
# target appears in it once, as a factor. So for a mixed one
#
# $$\ell(\tilde t) = -\sum_k \bigl(\lambda\,t_k + (1 - \lambda)\,t'_k\bigr)\log p_k = \lambda\,\ell(t) + (1 - \lambda)\,\ell(t') :$$
#
# the loss of the mixed target is the mixture of the two losses. The same is true of the gradient with respect to the logits, since a derivative of a sum is the sum of the derivatives:
#
# $$\lambda\,(p - t) + (1 - \lambda)(p - t') = p - \bigl(\lambda\,t + (1 - \lambda)\,t'\bigr) = p - \tilde t .$$
#
# You will find both ways in other people's programs: build the rows, or call the loss twice with whole-number labels.
#
# ### Exercise 16.2
# Take the second way: no rows of probabilities, two calls of `ops.softmax_cross_entropy(logits, labels)`, which returns the loss and `dlogits`. The check compares with the first.


# %%
def my_mixed_loss(logits, labels, partner_labels, share):
    """logits (B, K), labels and partner_labels (B,) integers, share of the own label
    ->  loss (), dlogits (B, K)
    """
    ### BEGIN SOLUTION
    loss, dlogits = ops.softmax_cross_entropy(logits, labels)
    partner_loss, partner_dlogits = ops.softmax_cross_entropy(logits, partner_labels)
    return (
        share * loss + (1 - share) * partner_loss,
        share * dlogits + (1 - share) * partner_dlogits,
    )
    ### END SOLUTION


check("16.2", my_mixed_loss)

# %% [markdown]
# ## CutMix: paste instead of fading
# A double exposure looks like no photograph. **CutMix** (Yun et al., [arXiv 1905.04899](https://arxiv.org/abs/1905.04899)) pastes a box of the partner into the image, and divides the target by *area*. Each pixel is a real one, and the network has to find the evidence for each of the two classes in its place.
# It is cutout (lesson 13) with something useful in the hole.
#
# The box: draw a share $\lambda$ from $\mathrm{Beta}(\alpha, \alpha)$. For the box to cover $1 - \lambda$ of the image, its sides are $\sqrt{1 - \lambda}$ times the image's. Draw the centre anywhere in the image, and cut the box off at the border. (One box serves a whole batch, as one share does.)
#
# Here is a mistake that is easily made. A box whose centre is near the border loses a part of itself, so *less is pasted than planned*. The share that goes into the target must be what is really left of the image, counted after the cut. Otherwise nothing fails: the targets just claim more of the partner than
# can be seen.
#
# ### Exercise 16.3
# Compute the box and the share. The box has `round(side)` rows and columns, with the side $\sqrt{1 - \lambda}$ times the height or the width; its first row is the centre's row minus half of the box's rows (with `//`), before anything is cut off; columns likewise. `bottom` and `right` are one
# further than the last row and column, as in a slice.


# %%
def my_cutmix_box(share, row, column, height, width):
    """share: planned for the image itself; row, column of the centre; height, width of the image
    ->  top, bottom, left, right: whole numbers; the share of the image that really stays
    """
    ### BEGIN SOLUTION
    side = math.sqrt(1 - share)
    rows, columns = round(side * height), round(side * width)
    top, left = row - rows // 2, column - columns // 2
    bottom, right = min(top + rows, height), min(left + columns, width)
    top, left = max(top, 0), max(left, 0)
    area = (bottom - top) * (right - left)
    return top, bottom, left, right, 1 - area / (height * width)
    ### END SOLUTION


check("16.3", my_cutmix_box)

# %% [markdown]
# How wrong would the uncorrected share be? We draw a few thousand boxes by the package's `box_mix`, which is what the exercise checks against (it takes the centre as shares of height and width):

# %%
drawn = random.beta(1, 1, 5000)
boxes = [box_mix(1, share, random.random(), random.random(), 8, 8) for share in drawn]
areas = [(box.box[1] - box.box[0]) * (box.box[3] - box.box[2]) for box in boxes]
whole = [round(math.sqrt(1 - share) * 8) ** 2 for share in drawn]
kept = np.mean([box.share for box in boxes])
print(f"share of the own image: {drawn.mean():.2f} planned on average, {kept:.2f} left")
print(f"boxes that lost a part at the border: {np.mean(np.less(areas, whole)):.0%}")

own, partner = (few(75, 0)[labels[few(75, 0)] == digit][0] for digit in (3, 0))
pair = digits.train_images[[own, partner]].astype(np.float64)  # (2, 8, 8, 1)
faded, pasted = Mix(1, 0.6), box_mix(1, 0.6, 0.3, 0.8, 8, 8)
pictures = {
    "own: 3": pair[0],
    "partner: 0": pair[1],
    "mixup": mix_images(pair.copy(), pair[::-1], faded)[0],
    "CutMix": mix_images(pair.copy(), pair[::-1], pasted)[0],
}
figure, axes = new_figure(1, 4, width=6, height=1.9)
for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255)
    axis.set_title(name)
    axis.axis("off")
show(
    figure,
    alt="A three, a zero, the two faded into each other, and the three with a box of the zero at its upper right.",
)
for name, mix in (("mixup", faded), ("CutMix", pasted)):
    row = mix_targets(np.array([3]), np.array([0]), CLASSES, mix, float)[0]
    print(f"{name:6s} target: class 3 with {row[3]:.2f}, class 0 with {row[0]:.2f}")

# %% [markdown]
# ### Why mixing is switched off before the end
# A network that has only ever seen mixed images has learned to be unsure: its targets were hardly ever one-hot. But the images that it will be asked about are not mixed at all. So mixing stops for the last part of the run: `mixing_off = 0.2` in a recipe,
# the last fifth, is the package's default. By then the weights have been formed without learning by heart, and the network still has to learn how sure it may be of a whole image. Below we measure both, with `mixing_off` at 0.2 and at 0, and look at the *confidence* (the probability that the network gives its own answer, on average) beside the accuracy.
#
# ## Stochastic depth, with a ramp
# Lesson 13 derived it and you wrote it (exercise 13.3): per image and branch one entry of a Bernoulli mask, $k = 1$ with probability $1 - r$, else 0, and the branch becomes $k\,f(x)/(1 - r)$, whose mean is $f(x)$. The mean stays; what does it cost? Since $k^2 = k$, the mean square is $\frac{(1 - r)\,f^2}{(1 - r)^2}$, so the variance is
#
# $$\frac{f^2}{1 - r} - f^2 = \frac{r}{1 - r}\,f^2 .$$
#
# At $r = 0.1$ that is $0.11\,f^2$; at $r = 0.5$ it is all of $f^2$: the noise is as large as the branch itself. And it passes through all later blocks. So the first blocks, on which everything rests, are rarely dropped, and the rates rise along a line: 0 in the first block,
# `drop_path` in the last (Huang et al., [arXiv 1603.09382](https://arxiv.org/abs/1603.09382)).
#
# ### Exercise 16.4
# Compute the rates of $L$ blocks, and how many branches are computed for an image on average. A block has two, token and channel mixing, and each is dropped independently. (A single block counts as the first one.)


# %%
def my_ramp(num_blocks, drop_path):
    """num_blocks L, drop_path the rate of the last block  ->  rates (L,), mean number of branches"""
    ### BEGIN SOLUTION
    rates = drop_path * np.arange(num_blocks) / max(num_blocks - 1, 1)  # (L,)
    return rates, 2 * np.sum(1 - rates)
    ### END SOLUTION


check("16.4", my_ramp)

# %% [markdown]
# ## Averaged weights
# Lesson 10 showed that noise in the gradient keeps the weights trembling, and that a falling learning rate calms them. There is another way: let them tremble, and use the *average* of where they have been. For that, keep a second copy $a$ of the weights, which follows the first slowly. After each step, with a **decay** $d$ a little below 1,
#
# $$a \leftarrow d\,a + (1 - d)\,w .$$
#
# It is called an **exponential moving average**, EMA for short. Training knows nothing of it; validation and the finished model use $a$. Insert the rule into itself, beginning with $a_0$, with $w_i$ for the weights after step $i$:
#
# $$a_n = d\,a_{n-1} + (1 - d)\,w_n = d^2 a_{n-2} + (1 - d)\,(w_n + d\,w_{n-1}) = \dots = d^n a_0 + (1 - d)\sum_{i=1}^{n} d^{\,n-i}\,w_i .$$
#
# * **How long does it remember?** A weight that was seen $m$ steps ago counts $d^m$ times as much as today's. That is one half where $d^m = \frac12$, so the **half-life** is $m = \log 2 / (-\log d) \approx 0.69 / (1 - d)$. (For small $h$, $-\log(1 - h) \approx h$.) With $d = 0.999$ it is 693 steps.
# * **What is left of the start?** $d^n$ of it. After 200 steps at $d = 0.999$ the average still consists of random initial weights to 82 %, and is worth nothing.
# * **The remedy** is to keep less at first. In the package the $n$-th update, $n = 1, 2, \dots$, uses
#
# $$d_n = \min\Bigl(d,\ \frac{n}{n + 50}\Bigr),$$
#
# a *warm-up of the decay*. The start is then left with the product $d_1 d_2 \cdots d_n$.
#
# ### Exercise 16.5
# Average with this warm-up. Return the average after each update, and what is then left of the start, the product of all $d_i$ so far.


# %%
def my_average(start, weights, decay):
    """start (size,): the weights before the first step; weights (n, size): after each of n steps
    ->  averages (n, size), what is left of the start (n,)
    """
    ### BEGIN SOLUTION
    average, left, averages, lefts = start, 1.0, [], []
    for number, current in enumerate(weights, start=1):
        keep = min(decay, number / (number + 50))
        average = keep * average + (1 - keep) * current
        left *= keep
        averages.append(average)
        lefts.append(left)
    return np.array(averages), np.array(lefts)
    ### END SOLUTION


check("16.5", my_average)

# %% [markdown]
# ### How much calmer is an average?
# Were the $w_i$ independent of each other, with variance $V$, then the variance of their weighted sum would be the sum of the squared factors (lesson 10), and for a long run
#
# $$(1 - d)^2\,(1 + d^2 + d^4 + \dots)\,V = \frac{(1 - d)^2}{1 - d^2}\,V = \frac{1 - d}{1 + d}\,V .$$
#
# (The bracket is the geometric series, and $1 - d^2 = (1 - d)(1 + d)$.) But they are not independent: the weights of today are those of yesterday plus a step. In lesson 10's walk $w_{t+1} = b\,w_t - \eta\,\xi_t$ with $b = 1 - \eta c$ ($c$ is the curvature, $\xi_t$ is new noise). After many steps, the means of $a$ and $w$ are 0 and three numbers no longer change: $V$, the variance of $w$ (lesson 10 had $\eta / (2 - \eta)$ for $c = 1$), $E$, the variance of $a$, and $M$, the mean of the product $a\,w$.
# New noise is independent of everything before it, so the mean of $a_t\,w_{t+1}$ is $b\,M$. Multiply $a_{t+1} = d\,a_t + (1 - d)\,w_{t+1}$ by $w_{t+1}$, then by itself, and take means:
#
# $$M = d\,b\,M + (1 - d)\,V \quad\Rightarrow\quad M = \frac{(1 - d)\,V}{1 - b d},$$
# $$E = d^2 E + 2\,d\,(1 - d)\,b\,M + (1 - d)^2\,V \quad\Rightarrow\quad E = \frac{(1 - d)^2\,V}{1 - d^2}\Bigl(1 + \frac{2\,b d}{1 - b d}\Bigr) = \frac{1 - d}{1 + d}\cdot\frac{1 + b d}{1 - b d}\,V .$$
#
# The first factor is the one of independent weights. The second is above 1 where steps are small ($b$ near 1): weights that hardly move say the same thing again and again, and averaging them helps little. Now lesson 10's walk with $\eta = 0.5$, from 5 towards 0, a thousand times, with three averages of it:

# %%
STEPS, COPIES, ETA = 400, 1000, 0.5
noise = np.random.default_rng(1).normal(size=(STEPS, COPIES))  # (steps, copies)
keeps = {
    "the weight itself": lambda number: 0.0,
    "d = 0.9": lambda number: 0.9,
    "d = 0.99": lambda number: 0.99,
    "d = 0.99, warm-up": lambda number: min(0.99, number / (number + 50)),
}
w = np.full(COPIES, 5.0)  # (copies,)
averages = {name: w.copy() for name in keeps}
traces = {name: [] for name in keeps}
for step in range(STEPS):
    w = w - ETA * (w + noise[step])
    for name, keep in keeps.items():
        d = keep(step + 1)
        averages[name] = d * averages[name] + (1 - d) * w
        traces[name].append(averages[name].copy())

figure, axis = new_figure(width=6.6, height=2.5)
for (name, trace), colour in zip(
    traces.items(), (INK, COLOURS[0], COLOURS[1], COLOURS[2]), strict=True
):
    axis.plot([row[0] for row in trace], color=colour, label=name, linewidth=1)
axis.set_xlabel("step")
axis.set_ylabel("weight")
axis.legend(loc="upper right", ncols=2)
show(
    figure,
    alt="A weight jumps from 5 to 0 and trembles; its average with 0.9 trembles far less, the one with 0.99 comes down "
    "only slowly; with warm-up it is down at once and trembles less and less.",
)
b, V = 1 - ETA, ETA / (2 - ETA)
print("root mean square over all copies    step 100   step 400   formula for E")
for name, trace in traces.items():
    early, late = (np.sqrt(np.mean(trace[at - 1] ** 2)) for at in (100, 400))
    d = {"d = 0.9": 0.9, "d = 0.99": 0.99}.get(name, 0.0)
    E = (1 - d) / (1 + d) * (1 + b * d) / (1 - b * d) * V
    formula = "" if "warm" in name else f"{math.sqrt(E):.3f}"
    print(f"{name:35s} {early:8.3f} {late:10.3f} {formula:>14s}")

# %% [markdown]
# Compare the first two rows with the formula: they agree. The third is far from it at step 100, where more than a third of the start ($0.99^{100} = 0.37$) is still in it, and not quite there at step 400. With the warm-up, the start is gone at once ($d_1 d_2 \cdots d_{50}$ is about $10^{-29}$), and the average reaches further back as the run goes on.
#
# Two warnings. **An average lags.** Where weights drift, it shows where they were some $1/(1 - d)$ steps ago, so an average over too many steps is an old model. And **where nothing trembles, there is nothing to calm**: a learning rate that falls to zero has already brought the weights to rest, and so has a training loss of zero, whose gradients vanish.
# We will meet the second case below.
#
# **Try it.** While it warms up, how many updates does the package's average remember? The mean age of the weights in it, after $n$ updates, follows from the factors $d_i$: compute it for $n$ = 200 and 2000. From which $n$ on does a decay of 0.999 matter at all?

# %% [markdown] tags=["solution"]
# **About the question.** Update $i$ comes in with the factor $1 - d_i = 50/(i + 50)$ and then keeps $d_{i+1} \cdots d_n$ of it. The mean age comes to $n/51$ updates: 3.9 after 200 updates, 39 after 2000. So the average
# always covers about the last fiftieth of the run. $n/(n + 50)$ reaches 0.999 at $n = 49{,}950$: in a shorter run this decay has no effect at all. (0.99 has one from $n = 4{,}950$ on.) The decay of a recipe is an upper bound.

# %% [markdown]
# ## Muon: every direction equally far
# Gradient descent moves each weight in proportion to its gradient. Adam moves each weight by about the same amount (lesson 10): it removes the size, element by element. But the weights of a Linear form a matrix, and no single element tells you what a matrix does to its input. **Muon** ([Jordan 2024](https://kellerjordan.github.io/posts/muon)) removes the size *direction by direction*.
#
# What are the directions of a matrix $G$, of shape (rows, columns)? Every matrix can be written as
#
# $$G = \sum_i s_i\,u_i v_i^T = U\,\mathrm{diag}(s)\,V^T,$$
#
# the **singular value decomposition**, SVD. The $v_i$ (columns of $V$) are vectors of length 1 at right angles to each other, so are the $u_i$ (columns of $U$); $u_i v_i^T$ is the matrix of all their products, and $\mathrm{diag}(s)$ has the numbers $s_i \ge 0$ on its diagonal and zeros elsewhere. $G$ turns the input direction $v_i$ into the output
# direction $u_i$ and stretches it by $s_i$, its **singular value**. There are as many as the smaller of the two sizes.
#
# The gradients of a real network have a few large singular values and many tiny ones. Here is one, of a channel-mixing matrix on a batch of digits after a few steps, beside the sign of its elements, which is Adam's first step:

# %%
SMALL = MixerConfig(image_size=8, in_channels=1, patch_size=2, hidden_dim=32, tokens_mlp_dim=16, channels_mlp_dim=128, num_blocks=2)  # fmt: skip
model = MlpMixer(SMALL, seed=0)
engine = choose_engine(model, EngineOptions(threads=1))
rule = AdamW(model.parameters)
pictures = normalise(digits.train_images[pool], digits.mean, digits.std)  # (718, 8, 8, 1)
for step in range(20):
    some = slice(BATCH * (step % 14), BATCH * (step % 14 + 1))
    train_step(engine, rule, pictures[some], labels[pool[some]], 0.003)
gradient = model.parameters.gradient("blocks.1.channel_mixing.weight1").astype(
    float
)  # (32, 128)
U, s, Vt = np.linalg.svd(gradient, full_matrices=False)  # (32, 32), (32,), (32, 128)
directions = {
    "gradient": gradient,
    "sign of the gradient (Adam)": np.sign(gradient),
    "orthogonal factor (Muon)": U @ Vt,
}
figure, axis = new_figure(width=5.6, height=2.5)
for (name, matrix), colour in zip(directions.items(), COLOURS, strict=False):
    values = np.linalg.svd(matrix, compute_uv=False)
    values = values / np.sqrt(np.sum(values**2))
    axis.semilogy(np.arange(1, 33), values, ".-", color=colour, label=name)
    print(
        f"{name:28s} largest singular value / median {values[0] / np.median(values):6.1f}"
    )
axis.set_xlabel("direction, by size")
axis.set_ylabel("length of the step")
axis.legend()
show(
    figure,
    alt="The singular values of three steps of the same length, on a logarithmic scale. Those of the gradient fall over "
    "several powers of ten, those of its sign over less, those of Muon's step are all equal.",
)

# %% [markdown]
# Nearly all of a step of length 1 along the gradient goes into the first few directions. The sign spreads it better. Muon takes $U V^T$, the **orthogonal factor**: the same $u_i$ and $v_i$, and every singular value 1.
#
# Each of the three steps is the best in its own sense. The promise of a step $D$ is $\sum_{ij} G_{ij} D_{ij}$ (lesson 10; we want it large and then step by $-D$). How large it can be depends on what counts as a step of size 1:
#
# | size 1 means | the best step | its promise |
# |---|---|---|
# | $\sum_{ij} D_{ij}^2 = 1$ | $G$, divided by its norm | the norm of $G$ |
# | no *element* above 1 | the sign of $G$: Adam's first step | $\sum_{ij} \lvert G_{ij}\rvert$ |
# | no *direction* stretched by more than 1 | $U V^T$: Muon | $\sum_i s_i$ |
#
# The last line in full: insert the SVD, $\sum_{jk} G_{jk} D_{jk} = \sum_i s_i \sum_{jk} u_{ji} D_{jk} v_{ki} = \sum_i s_i\; u_i^T D\,v_i$. If $D$ stretches nothing by more than 1, then $D v_i$ has at most the length 1, and $u_i^T (D v_i)$, a product of two such vectors, is at most 1. So the promise is at most $\sum_i s_i$. And $D = U V^T$ turns $v_i$ into $u_i$, so each of the products *is* 1.
# The middle line is the same with elements instead of directions.
#
# ### Without a decomposition
# An SVD in every step is slow, most of all on a GPU, which is fastest at matrix products. **Newton-Schulz** iteration needs only those. Begin with $X = G / n$, where $n$ is the root of the sum of all squared elements of $G$. That sum is also the sum of the squared singular values (below), so those of $X$ lie between 0 and 1. Then repeat, with three fixed numbers $a$, $b$, $c$:
#
# $$X \leftarrow a\,X + b\,(X X^T)\,X + c\,(X X^T)^2\,X .$$
#
# Why does this help? Insert $X = U\,\mathrm{diag}(s)\,V^T$. The columns of $V$ have length 1 and right angles, so $V^T V$ is the identity, and so is $U^T U$:
#
# $$X X^T = U\,\mathrm{diag}(s)\,V^T V\,\mathrm{diag}(s)\,U^T = U\,\mathrm{diag}(s^2)\,U^T, \qquad (X X^T)\,X = U\,\mathrm{diag}(s^3)\,V^T, \qquad (X X^T)^2 X = U\,\mathrm{diag}(s^5)\,V^T .$$
#
# So $U$ and $V$ stay, and every singular value goes through one and the same odd polynomial
#
# $$p(s) = a\,s + b\,s^3 + c\,s^5 .$$
#
# ### Exercise 16.6
# Write one step, the line with the arrow. (The division by $n$ has been done, once, before the first step.)


# %%
def my_newton_schulz_step(x, a, b, c):
    """x (rows, columns), a, b, c numbers  ->  x after one step (rows, columns)"""
    ### BEGIN SOLUTION
    gram = x @ x.T  # (rows, rows)
    return a * x + (b * gram + c * gram @ gram) @ x
    ### END SOLUTION


check("16.6", my_newton_schulz_step)

# %% [markdown]
# Jordan's numbers are $a = 3.4445$, $b = -4.7750$, $c = 2.0315$, five times. They are chosen for speed: $p$ is steep at 0, so that tiny singular values are multiplied by about 3.4 in each step, and large ones need not reach 1: those above 0.01 end between 0.68 and 1.14. Here is the polynomial, and then a comparison with the SVD on our gradient:

# %%
a, b, c = FIVE_STEPS[0]
fine = np.geomspace(1e-3, 1, 400)
figure, axis = new_figure(width=5.6, height=2.4)
values = fine.copy()
for step in range(1, 6):
    values = a * values + b * values**3 + c * values**5
    if step in (1, 3, 5):
        axis.semilogx(fine, values, color=COLOURS[step // 2], label=f"after {step}")
axis.axhline(1, color=INK, linewidth=0.8, linestyle=":")
axis.set_xlabel("singular value before")
axis.set_ylabel("afterwards")
axis.legend()
show(
    figure,
    alt="The polynomial applied once, three and five times, over singular values from 0.001 to 1: after five steps "
    "everything above 0.01 lies in a band around 1.",
)
before = s / np.sqrt(np.sum(s**2))  # (32,)
expected = before.copy()
for a, b, c in FIVE_STEPS:
    expected = a * expected + b * expected**3 + c * expected**5
after = newton_schulz(gradient[None])[0]  # (32, 128)
inside = U.T @ after @ Vt.T  # (32, 32): diagonal, if U and V have stayed
print(f"singular values before: {before.min():.5f} to {before.max():.3f}")
print(f"after five steps:       {expected.min():.3f} to {expected.max():.3f}")
print(
    f"by the package, on the diagonal, off by at most {abs(np.diag(inside) - expected).max():.0e}"
)
print(f"beside the diagonal at most {abs(inside - np.diag(np.diag(inside))).max():.0e}")

# %% [markdown]
# The package's `Muon` does this to the momentum (Nesterov's, lesson 10) of the blocks' matrices, and leaves biases, LayerNorm, stem and head to AdamW. How long is such a step? The squares of all elements of a matrix sum to the squares of its singular values, since neither $U$ from the left nor $V^T$ from the right changes a length. $U V^T$ has a 1 for each of them, so its squares sum to the smaller of the two sizes. There are rows times columns elements, so the root of
# their mean square is $1/\sqrt{\max(\text{rows}, \text{columns})}$. The package multiplies by $0.2\,\sqrt{\max(\text{rows}, \text{columns})}$: then an element moves by about 0.2 times the rate, as it usually does with AdamW in the middle of a run, and one rate serves both (Liu et al., [arXiv 2502.16982](https://arxiv.org/abs/2502.16982)).
#
# ## SAM: look uphill first
# One more idea, in a paragraph. A minimum in a wide valley should serve better than one in a crack, since unseen images shift the landscape a little. So SAM, *sharpness-aware minimisation* (Foret et al., [arXiv 2010.01412](https://arxiv.org/abs/2010.01412)), does not make the loss $L(w)$ small but the largest loss within a distance $\rho$ of $w$. To first order, $L(w + e) \approx L(w) + \sum_i g_i e_i$ with the gradient $g$, and among all $e$ of length
# $\rho$ that sum is largest along the gradient (the product of two vectors is at most the product of their lengths, and reaches it where they point the same way): $e = \rho\,g / \lVert g \rVert$. So: take the gradient at $w$, go uphill by $\rho$, take the gradient *there*, come back, and make the usual step with the second gradient. A step costs two passes, so it must be compared with a run of twice the steps.
#
# ### Exercise 16.7
# Write SAM's gradient. Mind a gradient of zero: then there is no uphill, and the weights stay where they are.


# %%
def my_sam_gradient(gradient_of, weights, rho):
    """gradient_of: weights (n,) -> gradient (n,); weights (n,); rho a number  ->  gradient (n,)"""
    ### BEGIN SOLUTION
    gradient = gradient_of(weights)  # (n,)
    norm = np.sqrt(np.sum(gradient**2))
    if norm == 0:
        return gradient
    return gradient_of(weights + rho * gradient / norm)
    ### END SOLUTION


check("16.7", my_sam_gradient)

# %% [markdown]
# ## The measurement
# Each cure alone, then two of them together: about 150 training images, 200 steps, the same three seeds in each row, accuracy on the validation images. (On another machine, sums in another order change the last bits, and with them the answer to an image or two.) The row "averaged" is the same run as "nothing": an average changes no step. This is the long cell of the lesson.


# %%
def mixing(**settings):
    return {"augmentation": Augmentation(crop_padding=0, flip=False, **settings)}


trials = {
    "mixup": mixing(mixup=1.0),
    "mixup to the end": mixing(mixup=1.0, mixing_off=0.0),
    "CutMix": mixing(cutmix=1.0),
    "stochastic depth 0.1": {"drop_path": 0.1},
    "Muon": {"optimizer": Muon},
    "Muon, CutMix": {"optimizer": Muon} | mixing(cutmix=1.0),
}
runs = {"nothing": curve[counts[1]]}
for name, settings in trials.items():
    runs[name] = [train(few(150, seed), seed, **settings) for seed in SEEDS]
outcome = {name: [last for last, _ in rows] for name, rows in runs.items()}
outcome["averaged"] = [average for _, average in runs["nothing"]]
outcome["Muon, CutMix, averaged"] = [average for _, average in runs["Muon, CutMix"]]

# %%
nothing = np.array([row["accuracy"] for row in outcome["nothing"]])  # (seeds,)
print(f"{'':25s} validation                    difference in accuracy, seed")
print(
    f"{'':25s} loss    accuracy  confidence {''.join(f'{seed:7d}' for seed in SEEDS)}    mean"
)
for name, rows in outcome.items():
    mean = {key: np.mean([row[key] for row in rows]) for key in rows[0]}
    apart = np.array([row["accuracy"] for row in rows]) - nothing  # (seeds,)
    print(
        f"{name:25s} {mean['loss']:.3f}     {mean['accuracy']:.1f} %      {mean['confidence']:.0f} %    "
        + "".join(f"{one:+7.1f}" for one in (*apart, apart.mean()))
    )

# %%
figure, axes = new_figure(1, 2, width=8, height=3.4, sharey=True)
names = list(outcome)[::-1]
for axis, key, title in zip(
    axes,
    ("loss", "accuracy"),
    ("validation loss", "validation accuracy in %"),
    strict=True,
):
    for height, name in enumerate(names):
        values = [row[key] for row in outcome[name]]
        axis.plot(
            values, [height] * len(values), "o", color=COLOURS[0], markersize=5, alpha=0.7
        )
        axis.plot(
            np.mean(values), height, "|", color=COLOURS[4], markersize=14, markeredgewidth=2
        )
    reference = np.mean([row[key] for row in outcome["nothing"]])
    axis.axvline(reference, color=INK, linewidth=0.8, linestyle=":")
    axis.set_title(title)
axes[0].set_yticks(range(len(names)), names)
show(
    figure,
    alt="Nine rows of three dots, for loss and accuracy, with the mean of nothing as a dotted line: mixing and Muon stand "
    "clear of it on the better side, stochastic depth on the worse, mixup to the end and averaging lie around it.",
)

# %% [markdown]
# What is that worth in images? The straight line of the learning curve translates an error into a number of images:

# %%
for name in ("CutMix", "Muon", "Muon, CutMix"):
    error = 100 - np.mean([row["accuracy"] for row in outcome[name]])
    worth = 2 ** ((np.log2(error) - level) / slope)
    print(
        f"{name:13s} with {counts[1]} images: error {error:4.1f} %, as with {worth:.0f} images and nothing"
    )

# %% [markdown]
# ## What the measurement shows
# Three seeds are few (lesson 13). We ran every row with five more, 3 to 7, so the signs below are out of eight. The same sign eight times comes by chance in one case out of 128.
#
# * **CutMix and mixup help**, in eight seeds out of eight: by 4.0 and 3.2 points on average. A run that picks one or the other at random for each batch (not in the table) gained 4.2, which is no different from CutMix alone.
# * **Switching off matters.** Mixed to the end, mixup gained 1.2 points instead of 3.2, with three minus signs out of eight (two of them among the three seeds of the table, which alone would say that it does harm). And its confidence is far below its accuracy: the network has never been allowed to be sure. The last fifth of the run repairs that.
# * **Muon helps**, eight out of eight, by 2.6 points, though it does nothing against learning by heart: its training loss is as low as any. It finds other weights. The two gains add up in part: Muon with CutMix has +5.5 points (1.5 more than CutMix alone, again in all eight).
# * **Stochastic depth hurts**: minus 1.7 points, seven minus signs out of eight. Are two blocks just too few for it? Guess; it is a question below.
# * **Averaging does nothing**: +0.1. After 200 steps the training loss is 0.005, and the weights lie still. And the warm-up of the decay leaves a memory of only four steps. Nothing trembles, so nothing is calmed.
# * **SAM** with $\rho = 0.2$ (`sam_rho=0.2`; not in the table, since each step takes two passes): +1.1 on average, with six plus and two minus signs. That is noise or a small gain, for twice the time.
#
# ### Where averaging does something
# Let the weights tremble: a rate of 0.02 without any schedule, all 718 images, and CutMix to the end, so that the training loss cannot go to zero.

# %%
settings = {"rate": 0.02} | mixing(cutmix=1.0, mixing_off=0.0)
pairs = [train(pool, seed, **settings) for seed in SEEDS]
for seed, (last, average) in zip(SEEDS, pairs, strict=True):
    print(
        f"seed {seed}: last weights {last['accuracy']:.1f} %, their average {average['accuracy']:.1f} %, "
        f"loss {last['loss']:.3f} and {average['loss']:.3f}"
    )

# %% [markdown]
# Here the average beats the last weights with all three seeds, and with a fourth one (3), by 1.6 points on average. With a learning rate that falls from 0.02 to 0 along a cosine, the last weights reached 93.4 % (four seeds), and so did their average: what the schedule has calmed,
# the average cannot calm again. (The average at the constant rate reached 94.4 % with these four.) That is one reason why recipes with a schedule that falls to zero gain little from averaging.
#
# ## What it does not show
# * **One strength each.** SAM with $\rho = 0.5$ brought +2.2 alone, and with CutMix *lost* 4.6 against CutMix alone (eight seeds each): two cures that make training hard leave a network unfinished after 200 steps (training loss 0.14). With rate 0.01 instead of 0.003: AdamW 85.1 %, Muon 85.4 %, no difference. A comparison of optimizers at one rate is a comparison
#   of rates as well, and whoever wants to sell one tunes only that one.
# * **One place.** These runs see each image 67 times: they can hardly help overfitting. In `docs/recipe.md`, some of these ingredients were measured on CIFAR-10 with 800 steps, in which an image is seen about twice (one seed each). There, Muon brought 7 points, label smoothing and averaging nothing that can be seen, and *CutMix cost four*. A cure against overfitting has nothing to cure where nobody overfits. The authors
#   of the Mixer used mixup, dropout and stochastic depth for ImageNet, in runs of many epochs.
# * **Chosen by validation images.** We looked at some forty settings to write this lesson, and show those that teach something. The best of forty is the best partly by luck, on these 719 images. Before claiming anything, one would open the test set: once, for a choice made beforehand.
#
# **Try it.** (1) `mixing(mixup=1.0, mixing_off=0.5)`: where between 0.2 and 1 is a good place to stop? How many seeds do you need to tell? (2) Stochastic depth with `num_blocks=8` instead of 2: does it still hurt? (3) Draw the learning curve again with `mixing(cutmix=1.0)`. Does CutMix bring as much with 718 images as with 75? Guess first.

# %% [markdown] tags=["solution"]
# **About the questions.** Means over eight seeds, unless we say otherwise. (1) Off for the second half: 86.3 %, against 87.7 % for the last fifth and 85.6 % for never. Between a half and a fifth, seven seeds out of eight say a fifth. To tell places nearer to a fifth apart would take more seeds. (2) Yes: 82.5 % against 87.3 % (six seeds, all six minus),
# so two blocks were not the reason. Nor were the 200 steps: with two blocks and 600 steps it was 82.5 % against 84.4 % (four seeds, all four minus). (3) No. With 76, 149, 303 and 718 images CutMix changed the error from 24.5 to 17.6 %, from 15.5 to 11.5 %, from 9.3 to 6.7 % and from 5.7 to 5.9 %. CutMix makes up for a lack of images. With 718 of them there is less to make up for, and the network is not done after 200 steps (training loss 0.08).

# %% [markdown]
# ## What you have now
#
# | cure | where in the package | what it does |
# |---|---|---|
# | more images | a larger data set | a straight line on logarithmic scales |
# | mixup | recipe field `mixup`; `mix_images`, `mix_targets` | pixels and targets by one share; the loss is the mixture of two |
# | CutMix | `cutmix`; `box_mix` | a box of the partner; the share is counted after the border's cut |
# | late switch | `mixing_off` | confidence comes back in the last part of the run |
# | stochastic depth | `drop_path` | a ramp from 0, since noise grows like r / (1 - r) |
# | averaged weights | `ema_decay`, `ema_every`; `WeightAverage` | calms what trembles; warm-up drops the first weights |
# | Muon | `optimizer = "muon"`; `Muon`, `newton_schulz` | all singular values of a step alike, by products alone |
# | SAM | `sam_rho`; `perturbed` | the gradient at the worst place nearby |
#
# And two habits: ask what a cure is *against* before you try it, and say how many images it is worth.
#
# **Where the package does this:** `tinymixer/data/transforms/mixing.py`, `tinymixer/optim/averaging.py`, `tinymixer/optim/muon.py`, `tinymixer/optim/newton_schulz.py`, `tinymixer/optim/sam.py`, `tinymixer/ops/dropout.py`. What each brought on CIFAR-10: `docs/recipe.md`.
#
# Next: [lesson 17, the real one](17_the_real_one.ipynb).

# %% [markdown]
# ## Questions
#
# **1.** What happens to mixup with $\alpha = 0.01$?
#
# <details><summary>Answer</summary>
#
# Hardly anything is mixed. Only about 2 % of the shares lie between 0.1 and 0.9; all others are close to 0 or 1, so that every picture is nearly whole, the image itself or its partner, and its target nearly one-hot. Training is then what it is without mixup.
#
# </details>
#
# **2.** A weight has the shape (128, 512). Newton-Schulz can work with $X X^T$ or with $X^T X$. Which of the two does the package take, what is its shape, and what does that save?
#
# <details><summary>Answer</summary>
#
# $X X^T$, of shape (128, 128), the smaller of the two (a tall matrix is transposed first). A step has the products (128, 512) by (512, 128), (128, 128) by (128, 128) and (128, 128) by (128, 512): 18.9 million multiplications. With $X^T X$ of shape (512, 512) it would be 201 million, 10.7 times as many. The result is the same, since
# $X\,(X^T X) = (X X^T)\,X$.
#
# </details>
#
# **3.** Find the fault. (The targets are mixed elsewhere, and correctly.)
# ```python
# images *= share
# images += (1 - share) * images[::-1]
# ```
#
# <details><summary>Answer</summary>
#
# When the second line reads the partners, the first has already multiplied them by the share. At a share of 0.6, a partner comes in with 0.24 instead of 0.4, and the picture is darker than it should be: the target claims more of the partner than there is. The partners must be copied before anything is overwritten; the package's `mix_images` gets them as an array of their own.
#
# </details>
#
# **4.** A recipe has `ema_decay = 0.998` and `ema_every = 5`. Its run takes 1,500 steps. About how many steps does its average look back?
#
# <details><summary>Answer</summary>
#
# Not $1/(1 - 0.998) = 500$ updates: there are only 300, and the warm-up is not over, $d_{300} = 300/350 = 0.86$. The mean age is $300/51 = 5.9$ updates, 29 steps. The 0.998 has no effect before update 24,950, where $n/(n + 50)$ reaches it.
#
# </details>
#
# **5.** A colleague tried CutMix in a run of two epochs on photographs, lost four points, and wants to remove it from all recipes. What do you say?
#
# <details><summary>Answer</summary>
#
# That the loss is real and was to be expected. CutMix makes every picture harder, and in two epochs no network learns pictures by heart, so there is a price to pay and nothing to cure. Ask for the gap between training and validation loss in the long run: where it opens, CutMix has work to do. Then compare at that length, with `mixing_off`, and with more than one seed.
#
# </details>
