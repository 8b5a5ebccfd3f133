# %% [markdown]
# # Lesson 12 · What it learned
#
# *80 minutes. Before: [lesson 09](09_mixer.ipynb) (the whole Mixer), [lesson 10](10_training.ipynb) (training).*
#
# A trained Mixer is thousands of numbers, and nobody wrote them. What do they do? This lesson trains a small one and then looks inside, with tools that
# you already have: reading weights as images, and going backward. After it you can
#
# * show the weights of token mixing as pictures, and compare them honestly with random ones,
# * find pairs of units that are opposites, and say what such a pair computes,
# * ask which pixels a decision depends on, by the gradient and by covering them,
# * measure over what distance tokens influence each other, and how much a layer already knows.

# %% [markdown]
# ## Before you begin
#
# **1.** What do you learn from a backward pass whose `dy` is 1 at one place and 0 everywhere else? (lesson 03)
#
# <details><summary>Answer</summary>
#
# How that one output reacts to every input: a row of the Jacobian. `dy` weights the outputs, and here only one of them counts.
#
# </details>
#
# **2.** Token mixing's `weight1` is `(DS, S)`. Which of its indices tells where in the image a number comes from? (lesson 08)
#
# <details><summary>Answer</summary>
#
# The second, the column. There is one column for each token that goes in, and a token is a place in the image. A row belongs to one hidden unit and has a weight for every place.
#
# </details>
#
# **3.** AdamW has the learning rate 0.006 and the decay 3. What happens to a weight whose gradient is always zero, in one step and in a hundred? (lesson 10)
#
# <details><summary>Answer</summary>
#
# Decoupled decay shrinks it by the factor $1 - 0.006 \cdot 3 = 0.982$ in each step. After a hundred steps $0.982^{100} \approx 0.16$ of it is left.
#
# </details>

# %%
from pathlib import Path

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.confusion_picture import draw_confusion
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.per_class import confusion_matrix
from tinymixer.analysis.saliency import occlusion, saliency
from tinymixer.analysis.token_influence import grid_distances, token_influence
from tinymixer.analysis.token_mixing_weights import (
    as_images,
    cosines,
    opposite_pairs,
    opposite_phases,
)
from tinymixer.data import Batches, load_dataset, normalise
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.lessons import check, cifar10_or_advice, fewer_in_browser, new_figure, show
from tinymixer.optim import AdamW
from tinymixer.optim.schedules import cosine
from tinymixer.training import evaluate, load_model, train_step

digits = load_dataset("digits")

# %% [markdown]
# ## A Mixer to look inside
# With patches of a single pixel ($P = 1$) the 8 x 8 digits have $S = 64$ tokens, so a unit of token mixing sees the whole image pixel by pixel. Few
# channels keep the training short.
#
# One setting is unusual: a weight decay of 3. It pulls every weight that nothing needs to zero. Without it, the random numbers from the
# beginning would still be there at the end, and hide what was learned.


# %%
def train(config, weight_decay, epochs=30, seed=0):
    """Train a Mixer on the digits and return it."""
    model = MlpMixer(config, seed=seed)
    optimizer = AdamW(model.parameters, betas=(0.9, 0.99), weight_decay=weight_decay)
    engine = choose_engine(
        model, EngineOptions(threads=1)
    )  # one thread: the same sums each time
    steps = len(digits.train_images) // 64
    schedule = cosine(6e-3, total_steps=epochs * steps, warmup_steps=steps)
    for epoch in range(epochs):
        batches = Batches(
            digits.train_images,
            digits.train_labels,
            64,
            seed,
            epoch,
            mean=digits.mean,
            std=digits.std,
        )
        for step, (images, labels) in enumerate(batches):
            rate = schedule(epoch * steps + step)
            train_step(engine, optimizer, images, labels, rate, label_smoothing=0.1)
    return model


config = MixerConfig(
    image_size=8, in_channels=1, patch_size=1, hidden_dim=16, tokens_mlp_dim=32, channels_mlp_dim=32,
    num_blocks=3,
)  # fmt: skip
untrained = MlpMixer(config, seed=0)
model = train(config, weight_decay=3.0, epochs=fewer_in_browser(30, 12))
result = evaluate(model, digits.test_images, digits.test_labels, digits.mean, digits.std)
print(f"{model.parameters.count:,} parameters, test accuracy {result.accuracy:.1%}")

# %% [markdown]
# ## Units as images
# Token mixing begins with `weight1`, of shape `(DS, S)`: each of its $DS = 32$ hidden units has one weight per token. In each channel the unit adds up the
# tokens, multiplied by these weights. Where a weight is large and positive, the unit wants that token's channel high. Where it is negative, the unit wants it low. And because tokens are
# patches of a grid, a unit's weights are an *image* of that grid. The Mixer paper shows them (Tolstikhin et al. 2021, "Visualization").
#
# ### Exercise 12.1
# Fold the weights into images. (Tokens go row by row over the grid.)


# %%
def my_units_as_images(weight1, height, width):
    """weight1 (DS, S), with S = height * width  ->  images (DS, height, width)"""
    ### BEGIN SOLUTION
    return weight1.reshape(-1, height, width)  # (DS, height, width)
    ### END SOLUTION


check("12.1", my_units_as_images)

# %% [markdown]
# The package's `as_images(model, block)` does the same. Here are the twelve units with the largest weights of every block, and below them units as
# they were before training. Blue is positive, red negative, white zero. Each picture has its own scale.


# %%
def draw_signed(axis, image, limit=None):
    """An image of positive (blue) and negative (red) numbers, without axes."""
    limit = limit or abs(image).max()
    axis.imshow(image, cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def largest_first(images):
    """(D, height, width), sorted by the size of the weights."""
    return images[np.argsort(-np.sum(images**2, axis=(1, 2)))]


rows = [(f"block {block}", largest_first(as_images(model, block))) for block in range(3)]
rows.append(("untrained", as_images(untrained, 0)))
figure, axes = new_figure(4, 12, width=8, height=2.9)
for line, (name, images) in zip(axes, rows, strict=True):
    for axis, image in zip(line, images, strict=False):
        draw_signed(axis, image)
    line[0].set_ylabel(name)
show(
    figure,
    alt="Twelve 8 by 8 weight images per block. In block 0 strong weights lie together in the middle, where the "
    "strokes are, and the left and right edges are pale. Deeper units are busier, and the untrained ones are noise.",
)

# %% [markdown]
# Compare block 0 with the untrained units. The columns at the left and right edges, which are nearly always black in the data, have faded: there was nothing to learn there, and weight decay took the weights
# away. Patches and short strokes are left in the middle. Deeper down, the pictures look less like anything drawn. The authors, with hundreds of millions of photographs, found much the same: some units see the whole image, others a region,
# and deeper layers show no structure that one could name.
#
# Numbers are more reliable than an eye that wants to see something. In a picture of strokes, neighbours are alike. So let us take the *correlation* of each weight with the one to its right. It is 1 if they rise and fall together, 0 if they have nothing to do with each other, and $-1$ if one rises as the other falls.

# %%
for name, images in rows:
    left, right = images[:, :, :-1].ravel(), images[:, :, 1:].ravel()
    print(f"{name:10} correlation of neighbours {np.corrcoef(left, right)[0, 1]:+.2f}")

# %% [markdown]
# ## Opposite phases
# The paper's figure shows the units in pairs, because many of them have a partner that is nearly the same picture *with the opposite sign*: where one wants light, the other wants dark. Is it so here?
#
# The **cosine** of two units $u$ and $v$, as vectors of $S$ weights, tells how alike their pictures are, whatever their size:
#
# $$\cos(u, v) = \frac{\sum_s u_s v_s}{\sqrt{\sum_s u_s^2}\;\sqrt{\sum_s v_s^2}} .$$
#
# It is 1 for equal pictures, 0 for pictures that have nothing to do with each other, and $-1$ for opposites.
#
# ### Exercise 12.2
# For each unit, find the unit with the smallest cosine, and that cosine.


# %%
def my_opposites(weights):
    """weights (D, S)  ->  partner (D,) integers, cosine (D,)"""
    ### BEGIN SOLUTION
    lengths = np.sqrt(np.sum(weights * weights, axis=1, keepdims=True))  # (D, 1)
    directions = weights / lengths  # (D, S)
    angles = directions @ directions.T  # (D, D)
    return angles.argmin(axis=1), angles.min(axis=1)
    ### END SOLUTION


check("12.2", my_opposites)

# %% [markdown]
# Among 32 units, some will be somewhat opposite by chance. So we measure the untrained weights in the same way. And next to the most opposite partner we look at
# the most *similar* one:

# %%
print("mean over units of the cosine with   most opposite    most similar")
for name, mixer in (("untrained", untrained), ("trained", model)):
    for block in range(3):
        weights = as_images(mixer, block)
        _, opposite = opposite_phases(weights)
        similar = np.sort(cosines(weights), axis=1)[:, -2]  # the last is each unit itself
        print(f"{name:9}, block {block} {opposite.mean():28.2f} {similar.mean():15.2f}")

# %%
figure, axes = new_figure(6, 8, width=6, height=4.9)
for block in range(3):
    images = as_images(model, block)
    for column, (one, other, angle) in enumerate(opposite_pairs(images)[:8]):
        draw_signed(axes[2 * block, column], images[one])
        draw_signed(axes[2 * block + 1, column], images[other])
        axes[2 * block, column].set_title(f"{angle:.2f}")
    axes[2 * block, 0].set_ylabel(f"block {block}")
show(
    figure,
    alt="The eight most nearly opposite pairs of units of every block, one above the other, with their cosines: "
    "blue patches of one unit are roughly red in its partner.",
)

# %% [markdown]
# What can we say, and what not?
#
# * Opposites are there, and not by chance: the cosines are well below those of random units, in every block.
# * But these pairs are not clean negatives. The paper's are far clearer, from a larger model and far more images.
# * And units have become *similar* to others at least as much. So perhaps this is what we see: units agree on fewer patterns than there are units, and use them with both signs.
#
# Why with both signs? A pair $z$ and $-z$ goes through the GELU. By its formula from lesson 04, with $t = \tanh(u)$, which changes its sign with $z$,
#
# $$\mathrm{gelu}(z) = \tfrac12 z\,(1 + t), \qquad \mathrm{gelu}(-z) = -\tfrac12 z\,(1 - t).$$
#
# Subtract and add the two:
#
# $$\mathrm{gelu}(z) - \mathrm{gelu}(-z) = z, \qquad \mathrm{gelu}(z) + \mathrm{gelu}(-z) = z\,t \approx |z| .$$
#
# One unit alone lets only half of the signal through. A pair lets all of it through, unbent, if the next Linear takes the two with opposite signs. If it takes them with the same sign, it gets about the absolute value.
# Which do our pairs do? The next Linear's `weight2` is `(S, DS)`: a column is what a unit gives to the tokens.

# %%
print("cosine of      what two units look for    what they give")
for block in range(3):
    given = cosines(model.blocks[block].token_mixing.parameters["weight2"].T)  # (DS, DS)
    for one, other, angle in opposite_pairs(as_images(model, block))[:4]:
        print(f"block {block}: {angle:25.2f} {given[one, other]:20.2f}")

# %% [markdown]
# In the last block the numbers on the right are large, with either sign: absolute values, and signals let through. In block 0 they are small: there, the outputs of two partners have little to do with each other.
#
# ## Which pixels count: the gradient
# Pictures of weights are the same for every image. Now take one image and ask: which pixels is the decision based on? The decision is a logit, a number, and a derivative says how a number reacts to
# each pixel. Our backward pass goes all the way down to the image. It asks for `dlogits`, the derivative of *something* with respect to the logits. In training that something was the loss. If it is logit $k$ itself,
# then its derivative with respect to logit $k$ is 1, and its derivative with respect to every other logit is 0.
#
# ### Exercise 12.3
# Write the derivative of one logit per image with respect to the pixels. (`model.backward` also adds to the parameters' gradients. That does no harm here.)


# %%
def my_saliency(model, images, classes):
    """images (B, height, width, channels), classes (B,): whose logit  ->  the images' shape"""
    logits, cache = model.forward(images)  # (B, K)
    ### BEGIN SOLUTION
    dlogits = np.zeros_like(logits)  # (B, K)
    dlogits[np.arange(len(classes)), classes] = 1
    return model.backward(dlogits, cache)  # (B, height, width, channels)
    ### END SOLUTION


check("12.3", my_saliency)

# %% [markdown]
# ## Which pixels count: covering them
# A gradient only tells about tiny changes. The blunter question is often the better one: *what if this part were not there?*
#
# ### Exercise 12.4
# Cover the image square by square with `fill`, and note by how much the score falls each time. `score` takes images and returns one number for each. A single image is `image[None]`.


# %%
def my_occlusion(score, image, size, fill):
    """score: (N, height, width, channels) -> (N,); image (height, width, channels);
    squares of size x size, which tile the image
    ->  fall (height / size, width / size)
    """
    before = score(image[None])[0]
    fall = np.zeros((image.shape[0] // size, image.shape[1] // size))
    for row in range(fall.shape[0]):
        for column in range(fall.shape[1]):
            ### BEGIN SOLUTION
            covered = image.copy()  # (height, width, channels)
            top, left = row * size, column * size
            covered[top : top + size, left : left + size] = fill
            fall[row, column] = before - score(covered[None])[0]
            ### END SOLUTION
    return fall


check("12.4", my_occlusion)

# %% [markdown]
# Here are both for the first test image of each digit, with the package's `saliency` and `occlusion`. Squares of 2 x 2 pixels are covered with black, which takes ink away. Blue means that ink here
# speaks *for* the digit.

# %%
first = [int(np.argmax(digits.test_labels == digit)) for digit in range(10)]
images = normalise(digits.test_images[first], digits.mean, digits.std)  # (10, 8, 8, 1)
slopes = saliency(model, images, np.arange(10))  # (10, 8, 8, 1)

figure, axes = new_figure(3, 10, width=8, height=2.7)
for digit in range(10):

    def score(pictures, digit=digit):
        """Logit of the digit for images (N, 8, 8, 1): (N,)."""
        return model.forward(pictures)[0][:, digit]

    fall = occlusion(score, images[digit], size=2, fill=images.min())  # (4, 4)
    axes[0, digit].imshow(images[digit, :, :, 0], cmap="gray")
    axes[0, digit].axis("off")
    draw_signed(axes[1, digit], slopes[digit, :, :, 0])
    draw_signed(axes[2, digit], fall)
axes[1, 0].set_ylabel("gradient")
axes[2, 0].set_ylabel("covered")
show(
    figure,
    alt="Ten digits; below each the gradient of its logit with respect to the pixels, which looks scattered, and the fall of "
    "the logit when squares are covered, which is blue on a few parts of the strokes.",
)

# %% [markdown]
# The gradients look scattered. They are right (the course has checked them often enough), but they answer the question about *tiny* changes, and the logit bends quickly, in a different way for each pixel. Covering shows a few parts of the strokes
# that each digit cannot do without. A red square, where there is one, is ink that speaks *against* its own digit.
#
# How far can you trust a gradient here? Take a step of length $h$ along it, the steepest way up, and compare the rise of the logit with the promised one:

# %%
direction = slopes / np.sqrt(np.sum(slopes**2, axis=(1, 2, 3), keepdims=True))  # length 1
promise = np.sum(slopes * direction, axis=(1, 2, 3))  # (10,)   per unit of length
before = model.forward(images)[0][np.arange(10), np.arange(10)]  # (10,)
for h in (0.01, 0.1, 1.0, 4.0):
    logits, _ = model.forward((images + h * direction).astype(np.float32))
    kept = (logits[np.arange(10), np.arange(10)] - before) / (h * promise)  # (10,)
    print(
        f"step of {h:4}: {np.median(kept):4.0%} of the promised rise (median of ten images)"
    )

# %% [markdown]
# In these normalised pixels black and white are 2.7 apart. So covering a square is a *long* step, and the gradient's promise means little there.
#
# ## How far apart tokens influence each other
# A convolution of 3 x 3 pixels lets a pixel depend on its neighbours. It takes many layers before the far corner reaches that pixel. Token mixing connects every pair of tokens. Does it make use of that? Let
# $y_s$ be the token that comes out of some blocks at place $s$, a row of $C$ numbers, and $x_t$ the token that went in at place $t$. We call
#
# $$\mathrm{influence}(s, t) = \sum_{i,j} \left(\frac{\partial\, y_{si}}{\partial\, x_{tj}}\right)^2$$
#
# the influence of $t$ on $s$, averaged over images. We get it from the backward pass, with a cotangent (the `dy` that we choose, lesson 03) that is zero except at token $s$ (`tinymixer/analysis/token_influence.py` explains why one pass is enough for all
# $i$). The maps show the influence of all tokens on the marked one, after one, two and three blocks. Its influence on itself is left out: most of that comes straight through the residual connection.

# %%
patches, _ = ops.images_to_patches_forward(
    normalise(digits.test_images[:64], digits.mean, digits.std), 1
)  # (64, 64, 1): S, B, one pixel
x, _ = model.stem.forward(patches)  # (S, B, C)
chosen = 4 * 8 + 4  # row 4, column 4
figure, axes = new_figure(1, 3, width=7, height=2.6)
for count, axis in zip((1, 2, 3), axes, strict=True):
    influence = token_influence(
        model.blocks[:count], x, np.random.default_rng(0), [chosen]
    )[0]
    influence[chosen] = np.nan
    axis.imshow((influence / np.nansum(influence)).reshape(8, 8), cmap="Blues", vmin=0)
    axis.plot(4, 4, "x", color=COLOURS[1])
    axis.set(title=f"after {count} block{'s' * (count > 1)}", xticks=[], yticks=[])
show(
    figure,
    alt="Maps of the influence of all 64 tokens on one in the middle: after one block the strongest come from "
    "nearby, but some from all over the inner columns; after three blocks no longer from nearby.",
)

# %%
distances = grid_distances(8)  # (64, 64)
near, far = (distances > 0) & (distances < 1.5), distances >= 1.5
print(
    "        from itself   from others   mean distance of the others   a neighbour : a farther one"
)
for index, block in enumerate(model.blocks):
    influence = token_influence([block], x, np.random.default_rng(0))  # (S, S)
    share = influence / influence.sum(axis=1, keepdims=True) / 64  # all shares add up to 1
    itself = np.trace(share)
    distance = np.sum(share * distances) / (1 - itself)
    ratio = share[near].mean() / share[far].mean()
    print(
        f"block {index} {itself:11.0%} {1 - itself:13.0%} {distance:22.2f} patches {ratio:20.1f} : 1"
    )
    x, _ = block.forward(x)  # (S, B, C), what the next block gets
print(
    f"if all others counted alike: {distances[distances > 0].mean():27.2f} patches {1:20.1f} : 1"
)

# %% [markdown]
# A neighbour counts for as much as a token farther away or for a little more, and there are at most eight neighbours among 63. So the mean distance is nearly what it would be if all others counted alike: this Mixer uses the whole image
# from its first block on. Nothing told it that pixels next to each other belong together. It had to find that out from 1,437 images. A convolution does not have to learn it. That is one reason why Mixers need a lot of data.
#
# ## What a layer already knows
# How much of the answer is there after each block? A **linear probe** finds out. Freeze the network, take the mean over tokens of a block's output (as the head does with the last block's), and fit one Linear layer to the labels
# by least squares. Its test accuracy says how much of the answer can be *read off* there.


# %%
def features_of(mixer, pixels):
    """The mean over tokens after the stem and after every block: a list of (N, C)."""
    patches, _ = ops.images_to_patches_forward(
        normalise(pixels, digits.mean, digits.std), mixer.config.patch_size
    )  # (S, N, P*P)
    x, _ = mixer.stem.forward(patches)  # (S, N, C)
    features = [x.mean(axis=0)]
    for block in mixer.blocks:
        x, _ = block.forward(x)  # (S, N, C)
        features.append(x.mean(axis=0))
    return features


def probe_accuracy(train_features, test_features):
    """Fit a Linear to one-hot labels by least squares; return the test accuracy."""
    with_one = [
        np.c_[f, np.ones(len(f))] for f in (train_features, test_features)
    ]  # (N, C + 1)
    targets = np.eye(10)[digits.train_labels]  # (N, K)
    weight = np.linalg.lstsq(with_one[0], targets, rcond=1e-5)[0]  # (C + 1, K)
    return np.mean((with_one[1] @ weight).argmax(axis=1) == digits.test_labels)


figure, axis = new_figure(width=5.5, height=2.8)
places = ["stem", "block 0", "block 1", "block 2"]
for name, mixer, colour in (("trained", model, COLOURS[0]), ("untrained", untrained, INK)):
    train_features = features_of(mixer, digits.train_images)
    test_features = features_of(mixer, digits.test_images)
    accuracies = [
        100 * probe_accuracy(a, b)
        for a, b in zip(train_features, test_features, strict=True)
    ]
    axis.plot(places, accuracies, "o-", color=colour, label=name)
    print(f"{name:10}", "  ".join(f"{accuracy:.1f} %" for accuracy in accuracies))
axis.set(ylabel="probe's test accuracy in %", ylim=(0, 103))
axis.legend(loc="lower right")
show(
    figure,
    alt="The accuracy of a linear probe rises from the stem through the blocks of the trained Mixer to nearly "
    "that of the whole, and stays low without training.",
)

# %% [markdown]
# After the stem, the mean over tokens knows how much ink there is, but not where, because the stem is linear and sees single pixels. It is a single number, seen through 16 channels, so training makes no difference. Every block of the trained network
# adds to that. Untrained blocks mix too, at random, and the probe can use some of it. Without that line in the figure, we would give training the credit for everything.
#
# (A trap in passing: without `rcond=1e-5`, least squares would use the rounding errors of the features after the stem as if they were information, and find some.)
#
# ## Which images it gets wrong

# %%
figure = draw_confusion(
    confusion_matrix(digits.test_labels, result.predictions, 10), digits.class_names
)
figure.set_size_inches(6.4, 6)
figure.set_dpi(80)
show(figure, alt="The confusion matrix: nearly all of the 360 test images on the diagonal.")

# %%
wrong = np.flatnonzero(result.predictions != digits.test_labels)[:8]
figure, axes = new_figure(1, 8, width=8, height=1.4)
for axis in axes:
    axis.axis("off")
for axis, index in zip(axes, wrong, strict=False):
    axis.imshow(digits.test_images[index, :, :, 0], cmap="gray")
    axis.set_title(f"{digits.test_labels[index]} as {result.predictions[index]}")
show(
    figure,
    alt="The images that were taken for another digit, with the right digit and the answer.",
)

# %% [markdown]
# Would you have known? Always look at the images before you change the network.
#
# ## The stem's filters
# The stem is a Linear over patches, so its columns are images too, of one patch each. With $P = 1$ a filter is a single number, and there is nothing to see. So here is a second Mixer with $P = 4$: four tokens,
# each a quarter of the image. It trains in a second or two. Which row of filters belongs to the trained one?

# %%
smaller = MixerConfig(
    image_size=8, in_channels=1, patch_size=4, hidden_dim=32, tokens_mlp_dim=16, channels_mlp_dim=64,
    num_blocks=2,
)  # fmt: skip
quarters = train(smaller, weight_decay=1.0, epochs=fewer_in_browser(20, 8))
accuracy = evaluate(
    quarters, digits.test_images, digits.test_labels, digits.mean, digits.std
).accuracy
print(f"test accuracy with four tokens: {accuracy:.1%}")
stems = {
    "trained": quarters.parameters["stem.weight"].T.reshape(32, 4, 4),  # (C, P, P)
    "untrained": MlpMixer(smaller, seed=0).parameters["stem.weight"].T.reshape(32, 4, 4),
}
figure, axes = new_figure(2, 12, width=8, height=1.5)
for line, (name, filters) in zip(axes, stems.items(), strict=True):
    for axis, image in zip(line, largest_first(filters), strict=False):
        draw_signed(axis, image)
    left, right = filters[:, :, :-1].ravel(), filters[:, :, 1:].ravel()
    print(f"{name:9} correlation of neighbours {np.corrcoef(left, right)[0, 1]:+.2f}")
show(
    figure,
    alt="Two rows of 4 by 4 filters; the trained row looks much like the untrained one.",
)

# %% [markdown]
# The upper one. It is easy to find bars and edges in it, and just as easy in the lower one: in 16 random numbers an eye always sees something. The correlation of neighbours is near zero in both.
#
# There is a reason. A patch has 16 pixels and the stem has 32 channels, so nothing has to be left out: *any* 16 filters that don't depend on each other carry the whole patch, and the next layer can take from them what it wants. Training hardly
# needs to touch the stem. The paper's appendix has both cases: a Mixer with patches of 32 x 32 pixels whose filters are clear pictures, and one with patches of 16 x 16 pixels, where most filters show no structure.
#
# ## With colour photographs
# All of this works with any run of the package. On CIFAR-10 the filters have colours, and with patches of 4 x 4 pixels the grid is 8 x 8 again. If you have trained on it, this cell shows the stem's filters. Otherwise it says how to get there.

# %%
cifar10 = cifar10_or_advice()
run = Path("runs/cifar10-tiny")  # where the command below leaves it
if cifar10 is not None and not (run / "best.npz").is_file():
    print(f"No run in {run.resolve()}. There: tinymixer train cifar10-tiny --out {run}")
elif cifar10 is not None:
    photographer, _recipe = load_model(run, backend="numpy")
    size = photographer.config.patch_size
    filters = photographer.parameters["stem.weight"].T.reshape(
        -1, size, size, 3
    )  # (C, P, P, 3)
    largest = filters[np.argsort(-np.sum(filters**2, axis=(1, 2, 3)))]
    figure, axes = new_figure(3, 12, width=8, height=2.3)
    for axis, image in zip(axes.flat, largest, strict=False):
        axis.imshow(0.5 + 0.5 * image / abs(image).max())
        axis.axis("off")
    show(figure, alt="The stem's filters of a Mixer trained on CIFAR-10, in colour.")

# %% [markdown]
# **Try it.** (1) Train the first model with `weight_decay=0.1` and draw its units. Is its accuracy worse? What do its pictures look like? (2) Ask `saliency` about the *wrong* class: for a 4, what would make it a 9? Take a few
# steps along that gradient until the answer changes. Would a person agree? (3) Shuffle the pixels of all images, training and test, in one fixed order, and train again. What happens to the accuracy, and why?

# %% [markdown] tags=["solution"]
# **About *Try it*.** (1) The accuracy changes little, but the pictures look nearly untrained, because weights that are not needed do no harm and stay. Weights that work and weights that can be read are two different things. (2) With steps of length 0.1 it takes about 30
# until the answer changes. That is about as far as turning one pixel from black to white, but spread over the image, where it looks like noise: an *adversarial example* (Goodfellow et al. 2015, arXiv 1412.6572). (3) Almost nothing happens. No part of this Mixer knows where a token is: its weights begin at random, and a fixed
# order of tokens only changes which weight belongs to which token. A convolution would suffer. The paper compares the two on shuffled photographs.

# %% [markdown]
# ## Questions
#
# **1.** A hidden unit of token mixing has the same weight for all tokens. What does it compute, and what would its picture look like?
#
# <details><summary>Answer</summary>
#
# In each channel it computes the sum over all tokens, that is the mean times a number. Its picture is a square of one colour. Such a unit knows how much there is of something in the image, but not where.
#
# </details>
#
# **2.** You want the derivative of all ten logits with respect to the pixels, for five images of 8 x 8 x 1. How many backward passes does that take, and what is the shape of each result?
#
# <details><summary>Answer</summary>
#
# Ten, one for each logit, and each result is `(5, 8, 8, 1)`. One pass can serve all five images at once, because a logit of one image does not depend on the pixels of another. It cannot serve two logits of the same
# image: their derivatives would be added up.
#
# </details>
#
# **3.** Somebody looks at 32 units with four tokens each. The mean cosine with the most opposite partner is $-0.87$. "The network has learned opposites." What is missing?
#
# <details><summary>Answer</summary>
#
# The comparison with random weights. With only four numbers per unit, 32 random units find partners with a mean of about $-0.87$, too. With 64 tokens, random units get only to about $-0.25$. So the same cosine can be pure chance
# or a real finding.
#
# </details>
#
# **4.** Estimate the size of the cosine of two random vectors with $S = 64$ entries, and how negative the smallest of 31 such cosines is.
#
# <details><summary>Answer</summary>
#
# The sum over 64 products of random sign and size grows only like $\sqrt{64}$, and the cosine divides by about 64. So a typical cosine is $1/\sqrt{64} = 0.125$. The smallest of 31 is about two such sizes below zero, near $-0.25$, as in the table above.
#
# </details>
#
# **5.** The gradient says that a pixel hardly matters. Covering it makes the logit fall a lot. Explain to a colleague how both can be right.
#
# <details><summary>Answer</summary>
#
# They answer different questions. The gradient is the slope at this image, and the logit can be flat here because something is saturated, like $\tanh$ far out. Covering is a long step that leaves the flat region. For "what if it were a
# little darker" trust the gradient, and for "what if it were not there" cover it.
#
# </details>

# %% [markdown]
# ## What you have now
# | question | asked by | what we saw |
# |---|---|---|
# | what does a unit look for? | its weights as an image | patches in block 0, little to recognise deeper down |
# | do units come in opposites? | cosines, beside random ones | more than by chance, and similar ones as much |
# | which pixels matter? | backward from one logit; covering | a few parts of the strokes; gradients hold for small steps only |
# | how far does a token reach? | the Jacobian's squares | across the whole image, from block 0 on |
# | what does a layer know? | a linear probe | more with every block |
# | what do the stem's filters show? | filters as images, beside random ones | nothing that can be told from chance |
#
# And a habit: whatever you see in a network, look for it in an untrained one as well.
#
# **Where the package does this:** `tinymixer/analysis/` (`token_mixing_weights.py`, `saliency.py`, `token_influence.py`, `confusion_picture.py`, `per_class.py`), and `tinymixer eval` for the table of classes and the confusion matrix of any run.
#
# Next: [lesson 13, overfitting and its cures](13_overfitting.ipynb).
