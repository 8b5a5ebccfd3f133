# %% [markdown]
# # Lesson 17 · The real one
#
# *135 minutes. Before: [lesson 09](09_mixer.ipynb) (the whole Mixer), [lesson 12](12_what_it_learned.ipynb) (weights as images), [lesson 13](13_overfitting.ipynb) (validation, how exact an accuracy is). A good place for a break is before* What the numbers mean.
#
# The Mixers of the paper have 18 to 431 million parameters and were trained on millions of photographs. Their authors published some of them. By now you know every line of their arithmetic.
# What is left is everything around it: files, pixels, names of classes, tables of results. There, mistakes raise no error. After this lesson you can
#
# * read the sizes of a Mixer off a file of weights, and say what it costs to keep, to run and to train it,
# * prepare a picture as the weights expect it, and say what goes wrong silently otherwise,
# * put an interval around a published accuracy, and say which differences in a table are real,
# * take a trained Mixer to larger pictures, and prove what that computes,
# * start from trained weights for classes of your own, and measure honestly whether it helps.
#
# **With and without the weights.** Nothing is downloaded here. If one of the published files is on your machine already, the cells below use it. If not, they say in a sentence what they would show, and go on with a small Mixer
# that comes with the package, and with digits.

# %% [markdown]
# ## Before you begin
#
# **1.** The authors' weights were trained with the GELU that contains a tanh; some other programs run them with the exact one. How would you notice that you have the wrong one? (lesson 04)
#
# <details><summary>Answer</summary>
#
# You would hardly notice. The two curves differ by at most 0.0005, so nothing fails and the logits are off by a little. You would have to compare your logits with those of a program that is known to be right.
#
# </details>
#
# **2.** Mixer-B/16 cuts pictures of 224 x 224 pixels into patches of 16 x 16, and has $DS = 384$. How many parameters does the token mixing of one block have? (lesson 09)
#
# <details><summary>Answer</summary>
#
# The grid is 14 x 14, so $S = 196$. The two matrices have $2 \cdot 196 \cdot 384 = 150{,}528$ numbers and the biases $384 + 196$: together 151,108. All other parts of a block are independent of the size of the picture.
#
# </details>
#
# **3.** A network reads 85 % of 720 images correctly. By how much is that off, typically? And if the images were 50,000? (lesson 13)
#
# <details><summary>Answer</summary>
#
# By $\sqrt{0.85 \cdot 0.15 / 720}$, which is 1.3 points. With 50,000 images it is 0.16 points: 69 times as many images make the error 8.3 times smaller, the root of 69.
#
# </details>

# %%
import math
from pathlib import Path

import numpy as np

from tinymixer import MixerConfig, MlpMixer, TinymixerError, load_weights, ops, preset
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.token_mixing_weights import (
    as_images,
    opposite_pairs,
    opposite_phases,
)
from tinymixer.analysis.validation import balanced_split
from tinymixer.data import Batches, load_dataset, normalise
from tinymixer.data.images import whole_picture
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.lessons import check, fewer_in_browser, new_figure, show
from tinymixer.models import PRESETS
from tinymixer.models.resolution import block_diagonal, resize_tokens, tokens_of_parts
from tinymixer.optim import AdamW
from tinymixer.optim.schedules import cosine
from tinymixer.pretrained import published
from tinymixer.pretrained.array_file import open_arrays
from tinymixer.pretrained.catalogue import CATALOGUE, find
from tinymixer.pretrained.class_names import imagenet_classes
from tinymixer.pretrained.naming import authors_shapes
from tinymixer.pretrained.resizing import resize_bilinear
from tinymixer.training import evaluate, train_step
from tinymixer.training.evaluate import accuracy_interval

# %% [markdown]
# ## What has been published
# The package has a catalogue of published Mixers. Fetched files lie in its cache folder. `find` looks there, and never asks the network.


# %%
def is_here(name):
    """Whether the weights of that name were fetched before."""
    try:
        return find(name).is_file()
    except TinymixerError:  # not fetched, or refused: the sentence says which
        return False


print(f"{'name':36} {'model':5} {'classes':>7} {'MiB':>5}  here?")
for known, entry in CATALOGUE.items():
    if not entry.refused:
        mebibytes = entry.about_bytes / 2**20
        print(
            f"{known:36} {entry.variant:5} {entry.classes:7,} {mebibytes:5.0f}  {'yes' if is_here(known) else '-'}"
        )

SMALL_ENOUGH = ("mixer-s16-gsam", "mixer-b16-imagenet1k", "mixer-b16-gsam", "mixer-b16-sam")
name = next((one for one in SMALL_ENOUGH if is_here(one)), None)  # None: there is none
if name is None:
    print(
        "\nNone of the four that this lesson can use is on this machine. With one, the cells below would load it and "
        "classify pictures into ImageNet's 1,000 classes. Without, first-mixer takes its place, which comes with the "
        "package: 170,570 parameters, ten classes, pictures of 32 x 32 pixels."
    )

# %% [markdown]
# If you want the real one: in a terminal, `tinymixer weights fetch mixer-s16-gsam` fetches 71 MiB; `mixer-b16-imagenet1k`, the paper's own, is 228 MiB. Then restart this notebook. Everything below works without it.
#
# ## What is in the file
# A file of weights is a list of named arrays, and nothing else: no code, no sizes, no class names. Here are the first and the last arrays of one, with the authors' names:

# %%
if name is None:
    print(
        "No file here: these are the names and shapes in the authors' file of Mixer-B/16.\n"
    )
    shapes = authors_shapes(preset("B/16"))
else:
    with open_arrays(find(name)) as file:
        shapes = {each: file.header(each)[1] for each in file.names}
for each, shape in [*list(shapes.items())[:14], *list(shapes.items())[-4:]]:
    print(f"{each:45} {shape}")

# %% [markdown]
# `kernel` is what we call a weight. The authors' are all (inputs, outputs). In token mixing they multiply tokens from the right, after a transposition, where we multiply from the left (lesson 08): their first kernel is `(S, DS)`, ours `(DS, S)`.
# The stem's kernel is `(P, P, colours, C)`. The package has one table of all these names, `tinymixer/pretrained/naming.py`.
#
# ### Exercise 17.1
# Read the sizes of a Mixer off its arrays. `shapes` is such a dictionary, from names to shapes, of any Mixer in the authors' layout. The picture is a square, and so is the grid of patches. $L$ is the number of blocks, and `parameters` counts all numbers in the file.
# (`math.prod` multiplies the numbers of a tuple, `math.isqrt` is the whole-number square root.)


# %%
def my_sizes(shapes):
    """shapes: name -> shape  ->  image_size, P, C, DS, DC, L, parameters: seven whole numbers"""
    ### BEGIN SOLUTION
    P, _, _, C = shapes["stem/kernel"]
    S, DS = shapes["MixerBlock_0/token_mixing/Dense_0/kernel"]
    DC = shapes["MixerBlock_0/channel_mixing/Dense_0/kernel"][1]
    blocks = {each.split("/")[0] for each in shapes if each.startswith("MixerBlock_")}
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return P * math.isqrt(S), P, C, DS, DC, len(blocks), parameters
    ### END SOLUTION


check("17.1", my_sizes)

# %% [markdown]
# Here are all sizes of the paper's table 1, with 1,000 classes, from the formulas of exercises 9.4 and 9.5. For B/16 we count in two more ways.

# %%
print(
    f"{'':5} {'parameters':>12} {'without head':>13} {'multiply-adds':>16} {'float32, MiB':>13}"
)
for size in ("S/32", "S/16", "B/32", "B/16", "L/32", "L/16", "H/14"):
    sizes = preset(size)
    head = (sizes.hidden_dim + 1) * sizes.num_classes
    count, work = sizes.parameter_count, sizes.multiply_adds
    print(f"{size:5} {count:12,} {count - head:13,} {work:16,} {4 * count / 2**20:13.1f}")
b16 = preset("B/16")
model_without_values = MlpMixer(
    b16, seed=None
)  # seed=None: the arrays, with nothing in them
in_the_file = sum(math.prod(shape) for shape in authors_shapes(b16).values())
print(f"\nB/16, in the model:            {model_without_values.parameters.count:,}")
print(f"B/16, summed over the arrays:  {in_the_file:,}")
print(f"bytes in float32:              {4 * in_the_file:,}")
del model_without_values

# %% [markdown]
# The paper's table 1 gives 19, 18, 60, 59, 206, 207 and 431 million. That is the second column: the paper's table leaves the head out, and says so. The third column is the work for *one* picture, forward.
#
# Keeping B/16 takes 240 million bytes. *Training* it with AdamW takes four vectors of that length: weights, gradients and two moments, 958 million bytes before the first activation.
#
# ## Loading it
# From here on, `mixer` is the published model if it is here, and first-mixer if not. Either is a network together with its preprocessing and the names of its classes.

# %%
mixer = load_weights(name or "first-mixer", backend="numpy")
grid = mixer.config.grid  # patches down, patches across
print(mixer.source)
print(f"{mixer.parameters.count:,} parameters, {len(mixer.class_names):,} classes")
print("pictures:", mixer.preprocessing.describe())

# %% [markdown]
# Now a picture. If a file `picture.jpg` lies beside this notebook, it is taken. Otherwise we draw one with a few lines of NumPy.

# %%
if Path("picture.jpg").is_file():
    picture = np.asarray(whole_picture("picture.jpg", 3, mixer.config.image_size))
else:
    picture = np.zeros((64, 96, 3), np.uint8)  # (height, width, 3)
    picture[:38] = (150, 190, 230)  # sky
    picture[38:] = (30, 70, 120)  # sea
    for row in range(30, 42):
        picture[row, row - 12 : 108 - row] = (110, 60, 40)  # hull
    picture[20:30, 40:60] = (240, 240, 240)  # bridge
    picture[12:20, 46:50] = (60, 60, 60)  # funnel
noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

swapped = picture[:, :, ::-1].copy()  # blue, green, red
for words, one in (
    ("the picture", picture),
    ("red and blue exchanged", swapped),
    ("noise", noise),
):
    best = mixer.predict(one).best(3)
    print(f"{words:23}", "   ".join(f"{label} {share:.1%}" for label, share in best))

pixels = mixer.preprocessing.pixels(picture)  # what is left of the picture, 0..255
figure, axes = new_figure(1, 2, width=6, height=2.4)
side = mixer.config.image_size
for axis, image, title in (
    (axes[0], picture, "the picture"),
    (axes[1], pixels, f"what is left of it: {side} x {side}"),
):
    axis.imshow(np.asarray(image, np.uint8))
    axis.set_title(title)
    axis.axis("off")
show(
    figure,
    alt="Left the picture, here a ship drawn with rectangles on a blue sea; right the square that is left of it.",
)

# %% [markdown]
# first-mixer takes the drawn ship for a ship. The second line is the same picture, read by a library that puts blue first, as OpenCV does: now it is nearly as likely an airplane. And look at the third line. Noise belongs to no class, and there is no class "none": softmax divides 100 % among the names that there are. A probability answers "which of these, if it is one of these?", and never "is it one of these?".
#
# ## Preprocessing: the silent mistake
# A file of weights does not say how pictures were prepared when it was trained. Four published ways:

# %%
for way in ("authors", "big_vision", "timm", "miil"):
    print(published(way, 224).describe())

# %% [markdown]
# Each consists of three steps. **Resize**: to a square at once, or so that the *shorter* side has 256 pixels, which keeps the proportions. **Cut** out the central square of 224 x 224. **Scale**: with $m$ for the mean and $s$ for the standard deviation, both of pixels that go from 0 to 1,
#
# $$x = \frac{\text{pixel}/255 - m}{s}, \qquad m = s = \tfrac12: \quad x = \frac{\text{pixel}}{127.5} - 1 ,$$
#
# so that black is $-1$ and white is 1.
#
# ### Exercise 17.2
# Take a picture that is resized already: its shorter side is at least `size`. Cut out the central square, and scale its pixels to between $-1$ and 1. If an odd number of rows or columns is cut off, the smaller half of them is above or on the left.


# %%
def my_preprocess(pixels, size):
    """pixels uint8 (height, width, channels)  ->  float32 (size, size, channels), from -1 to 1"""
    ### BEGIN SOLUTION
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    square = pixels[top : top + size, left : left + size]  # (size, size, channels)   uint8
    return square.astype(np.float32) / 127.5 - 1
    ### END SOLUTION


check("17.2", my_preprocess)

# %% [markdown]
# What does a mistake here cost? We need a trained network and images whose labels we know. So we train a small Mixer on digits, with pixels from $-1$ to 1 as the published ones. Half of the training images are held out for validation, as in lesson 13. Everything in this lesson is
# measured on those. The test set stays closed until the last experiment.

# %%
digits = load_dataset("digits")
labels = digits.train_labels  # (1437,)
training, validation = balanced_split(labels, share=0.5, seed=0)
RANGE = {"mean": (0.5,), "std": (0.5,)}  # pixels from -1 to 1


def small_config(image_size=8, classes=10, tokens_mlp_dim=16):
    """The sizes of a small Mixer for grey images, with patches of 2 x 2 pixels."""
    return MixerConfig(
        image_size=image_size, in_channels=1, patch_size=2, hidden_dim=32, tokens_mlp_dim=tokens_mlp_dim,
        channels_mlp_dim=128, num_blocks=2, num_classes=classes,
    )  # fmt: skip


def train(model, images, targets, steps, rate=3e-3, seed=0):
    """Train a model for so many steps of up to 50 images, and return it."""
    engine = choose_engine(model, EngineOptions(threads=1))
    optimizer = AdamW(model.parameters, weight_decay=0.1)
    schedule = cosine(rate, total_steps=steps, warmup_steps=steps // 10)
    size, step, epoch = min(50, len(images)), 0, 0
    while step < steps:
        for batch in Batches(images, targets, size, seed, epoch, **RANGE):
            train_step(engine, optimizer, *batch, schedule(step))
            step += 1
            if step == steps:
                break
        epoch += 1
    return model


def accuracy_of(model, images, targets):
    return evaluate(model, images, targets, **RANGE).accuracy


steps = fewer_in_browser(300, 100, "steps")
small = train(
    MlpMixer(small_config(), seed=0), digits.train_images[training], labels[training], steps
)
held_out = digits.train_images[validation], labels[validation]
print(f"validation accuracy {accuracy_of(small, *held_out):.1%} of {len(validation)}")

# %% [markdown]
# Now the same trained weights, and pixels that were prepared wrongly:

# %%
x = normalise(held_out[0], **RANGE)  # (N, 8, 8, 1), from -1 to 1
wrong_ways = {
    "right: -1..1": x,
    "0..1": (x + 1) / 2,
    "0..255": 127.5 * (x + 1),
    "mean 0, deviation 1": normalise(held_out[0], digits.mean, digits.std),
    "light and dark exchanged": -x,
    "mirrored": x[:, :, ::-1],
    "rows and columns exchanged": x.swapaxes(1, 2),
    "cut one pixel too far left": np.roll(x, 1, axis=2),
}
print(f"{'pixels':28} accuracy   probability it gives its own answer, on average")
for way, images in wrong_ways.items():
    logits, _ = small.forward(np.ascontiguousarray(images, np.float32))  # (N, K)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))  # (N, K)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    right = np.mean(logits.argmax(axis=1) == held_out[1])
    print(f"{way:28} {right:8.1%} {probabilities.max(axis=1).mean():8.1%}")

# %% [markdown]
# No line raised an error, and none gave numbers that are not finite: LayerNorm takes everything back to a sensible size, whatever comes in. The third line gives those a warning who look at it: the answers are unsure. Most others stay fairly sure.
# "Mean 0, deviation 1" is the dangerous one. It is the *usual* preprocessing, it costs only a few points, and nobody looks for a bug in a network that reads most of the digits.
#
# Large models are no different. timm, a PyTorch library, runs the authors' two ImageNet models with another interpolation, another cut and the exact GELU, and measures 76.6 % and 72.1 %. The paper has 76.44 % and 71.76 % ([`docs/weights.md`](../docs/weights.md)). Before you believe that something
# improved a published model by a quarter of a point, find out how its pictures were cut.
#
# ## The order of the classes
# A logit has no name. Logit 0 of an ImageNet model is a fish, the tench, since the classes are numbered in the order of their WordNet numbers. Somebody who numbers the same classes by their *names* has other labels:

# %%
classes = imagenet_classes(1000)
by_name = sorted(classes.names)
same = sum(one == other for one, other in zip(classes.names, by_name, strict=True))
print("by WordNet's numbers:", *classes.names[:4], "...", sep="  ")
print("by name:             ", *by_name[:4], "...", sep="  ")
print(f"{same} of 1,000 classes have the same number in both")
print(
    "names that stand for two classes:",
    *[one for one in classes.names if "(n0" in one],
    sep="  ",
)

# %% [markdown]
# The last line is another trap: two cranes, a bird and a machine, and two maillots. The package tells such classes apart by their synset (WordNet's number for a meaning). Whoever keeps pictures in folders by plain names throws two classes together.
#
# ### Exercise 17.3
# Put logits into the order of somebody else's labels. `names` are the classes of the columns, `wanted` the classes in the new order. Not all of them may be wanted.


# %%
def my_in_order(logits, names, wanted):
    """logits (B, K), names: K texts, wanted: texts  ->  (B, len(wanted)), column k for wanted[k]"""
    ### BEGIN SOLUTION
    columns = [names.index(one) for one in wanted]
    return logits[:, columns]  # (B, len(wanted))
    ### END SOLUTION


check("17.3", my_in_order)

# %% [markdown]
# How would you notice? Suppose that our digits had come as folders called "zero" to "nine". A program that sorts folders numbers them alphabetically: "eight" is 0.

# %%
words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
in_folders = sorted(words)  # what stands at place k has the label k
their_labels = np.array([in_folders.index(words[digit]) for digit in held_out[1]])  # (N,)
logits, _ = small.forward(x)  # (N, K)
in_their_order = logits[:, [words.index(one) for one in in_folders]]  # (N, K)
for title, outputs in (
    ("in the network's order", logits),
    ("in the labels' order", in_their_order),
):
    loss, _ = ops.softmax_cross_entropy(outputs, their_labels)
    accuracy = np.mean(outputs.argmax(axis=1) == their_labels)
    print(f"{title:24} accuracy {accuracy:6.1%}, loss {loss:.2f}")

# %% [markdown]
# Nothing is wrong with the network, and it looks untrained. (It isn't quite at chance: "six" happens to be number 6 in both orders.) The loss tells you more than the accuracy. An untrained network knows nothing and has a loss of about $\log 10 = 2.3$. This one is far
# above: it is *sure*, and mostly wrong. A loss far above $\log K$ at the beginning points to the labels. That is why the package matches classes by their names.
#
# ## Looking inside
# Lesson 12 drew the units of token mixing as images, on digits. Below are units of two blocks of `mixer`, each above the one that is most nearly its opposite, and under them units with random weights. But first the two figures of lesson 12: the correlation of neighbouring weights, and the mean cosine with the most opposite unit.

# %%
if name is None:
    print(
        "With Mixer-B/16 here, this would show units of 14 x 14 weights, 384 in each block, as in the paper's figure "
        "5. These are first-mixer's, 64 of 8 x 8.\n"
    )
random_mixer = MlpMixer(
    MixerConfig.from_dict(mixer.config.to_dict() | {"num_blocks": 1}), seed=0
)
units = {f"block {block}": as_images(mixer.model, block) for block in range(4)}
units["random"] = as_images(random_mixer, 0)
print(f"{'':8} neighbours   most opposite")
for title, images in units.items():
    first = np.r_[images[:, :, :-1].ravel(), images[:, :-1].ravel()]  # left, and above
    second = np.r_[images[:, :, 1:].ravel(), images[:, 1:].ravel()]  # right, and below
    neighbours = np.corrcoef(first, second)[0, 1]
    print(f"{title:8} {neighbours:+10.2f} {opposite_phases(images)[1].mean():+15.2f}")

figure, axes = new_figure(6, 12, width=8, height=4.8)
for half, title in enumerate(("block 0", "block 2", "random")):
    for column, (one, other, angle) in enumerate(opposite_pairs(units[title])[:12]):
        for place, unit in enumerate((one, other)):
            axis, image = axes[2 * half + place, column], units[title][unit]
            limit = abs(image).max()
            axis.imshow(image, cmap="RdBu", vmin=-limit, vmax=limit)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[2 * half, column].set_title(f"{angle:.2f}", fontsize=8)
    axes[2 * half, 0].set_ylabel(title)
show(
    figure,
    alt="Twelve pairs of units, one above the other, with their cosines, for block 0, block 2 and random weights. With first-mixer, those of block 0 look "
    "nearly as noisy as the random ones; in block 2 larger patches of one sign lie together, and the first pairs are roughly negatives of each other.",
)

# %% [markdown]
# Did you expect clear patterns in block 0? The paper's figure 5 has them there, in a B/16 from 300 million photographs, and the paper finds none in deeper blocks. In first-mixer, from 45,000 photographs, it is the other way around: the units of its block 0 are hardly more opposite than random ones and only a little smoother, while those of blocks 1 to 3 are clearly both. Figure 6 of the
# paper shows three Mixer-B/16, from three sets of pictures, and the paper says that augmentation changes the units strongly. A picture of one network is a fact about that network. And lesson 12's habit pays off: without the random units, one would have found "edges" in block 0.
#
# ## What the numbers mean
# These are figures from tables 2 and 3 of the paper (Tolstikhin et al. 2021, [arXiv 2105.01601](https://arxiv.org/abs/2105.01601), version 4). "Top-1" is the share of ImageNet's 50,000 validation pictures for which the most probable class is the labelled one.
# "ReaL" is the same with labels that people checked and corrected later (Beyer et al. 2020, [arXiv 2006.07159](https://arxiv.org/abs/2006.07159)), where a picture may have several right answers. Speed is in images a second on one core of a TPU v3, a processor made for matrix products, and the cost of pre-training in days of such a core.

# %%
# model, pre-trained on, pixels, epochs, top-1, ReaL, images/s, core-days    (table 3)
TABLE = [
    ("Mixer-B/16", "ImageNet", 224, 300, 76.44, 82.36, 1384, 10),
    ("ViT-B/16", "ImageNet", 224, 300, 79.67, 84.97, 861, 20),
    ("Mixer-L/16", "ImageNet", 224, 300, 71.76, 77.08, 419, 40),
    ("ViT-L/16", "ImageNet", 224, 300, 76.11, 80.93, 280, 50),
    ("Mixer-B/16", "ImageNet-21k", 224, 300, 80.64, 85.80, 1384, 150),
    ("ViT-B/16", "ImageNet-21k", 224, 300, 84.59, 88.93, 861, 180),
    ("Mixer-L/16", "ImageNet-21k", 224, 300, 82.89, 87.54, 419, 410),
    ("Mixer-L/16", "ImageNet-21k", 448, 300, 83.91, 87.75, 105, 410),
    ("Mixer-S/32", "JFT-300M", 224, 5, 68.70, 75.83, 11489, 10),
    ("Mixer-B/32", "JFT-300M", 224, 7, 75.53, 81.94, 4208, 50),
    ("Mixer-S/16", "JFT-300M", 224, 5, 73.83, 80.60, 3994, 30),
    ("BiT-R50x1", "JFT-300M", 224, 7, 73.69, 81.92, 2159, 80),
    ("Mixer-B/16", "JFT-300M", 224, 7, 80.00, 85.56, 1384, 80),
    ("Mixer-L/32", "JFT-300M", 224, 7, 80.67, 85.62, 1314, 120),
    ("BiT-R152x1", "JFT-300M", 224, 7, 79.12, 86.12, 932, 140),
    ("BiT-R152x2", "JFT-300M", 224, 14, 83.34, 88.90, 356, 580),
    ("Mixer-L/16", "JFT-300M", 224, 14, 84.82, 88.48, 419, 450),
    ("ViT-L/16", "JFT-300M", 224, 14, 85.63, 89.16, 280, 650),
    ("Mixer-H/14", "JFT-300M", 224, 14, 86.32, 89.14, 194, 1010),
    ("Mixer-L/16", "JFT-300M", 448, 14, 86.78, 89.72, 105, 450),
    ("ViT-H/14", "JFT-300M", 224, 14, 86.65, 89.56, 87, 2300),
]
IMAGES = {"ImageNet": 1.3e6, "ImageNet-21k": 14e6, "JFT-300M": 300e6}  # as the paper says

# %% [markdown]
# ### How exact is a top-1?
# Lesson 13 had $\sqrt{p(1-p)/n}$ for the typical error of a measured accuracy. There, $p$ is the *true* share, which we don't know, and putting the measured $\hat p$ in its place goes wrong for few images: if all 12 of 12 are right, it claims an error of 0. Wilson (1927) asked the other way around: *which true shares $p$ are compatible with what was measured?* Those whose
# distance from $\hat p$ is at most $z$ typical errors. With $z = 1.96$, 95 % of all measurements stay within that distance:
#
# $$|\hat p - p| \le z \sqrt{\frac{p\,(1-p)}{n}} .$$
#
# At the two ends there is equality. Square it, and collect the powers of $p$:
#
# $$\hat p^2 - 2 \hat p\, p + p^2 = \frac{z^2}{n}\,(p - p^2) \qquad\Longleftrightarrow\qquad \Big(1 + \frac{z^2}{n}\Big)\,p^2 - \Big(2 \hat p + \frac{z^2}{n}\Big)\,p + \hat p^2 = 0 .$$
#
# ### Exercise 17.4
# Solve the quadratic equation for $p$, and return its two solutions, the lower one first. $n$ is `images`, and $\hat p$ is `correct / images`. (Most of what stands below the root cancels. With 12 of 12 right, the upper end must be 1.)

# %%
Z = 1.959963984540054


def my_interval(correct, images):
    """correct of so many images are right  ->  low, high: the ends of the 95 % interval, 0 to 1"""
    ### BEGIN SOLUTION
    p, n = correct / images, images
    scale = 1 + Z**2 / n
    middle = (p + Z**2 / (2 * n)) / scale
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / scale
    return middle - half, middle + half
    ### END SOLUTION


check("17.4", my_interval)

# %% [markdown]
# From here on we use the package's `accuracy_interval`. Two results are compared by their difference. If they are independent, the variances add up, and a difference counts as real if it is more than 1.96 typical errors, each $\sqrt{2\,p(1-p)/n}$, where $p$ is the mean of the two.

# %%
for correct, images in ((12, 12), (306, 360), (42_075, 50_000)):
    low, high = accuracy_interval(correct, images)
    print(
        f"{correct:6,} of {images:6,}: {correct / images:.2%}, between {low:.2%} and {high:.2%}"
    )

PAIRS = (  # table 2, but for the second number of the first line and for the last three lines
    ("Mixer-L/16, 21k, table 2 and table 3", 84.15, 83.91),
    ("Mixer-H/14 and BiT-R152x4, JFT", 87.94, 87.54),
    ("the same, ReaL labels", 90.18, 90.54),
    ("ViT-H/14 and Mixer-H/14, JFT", 88.55, 87.94),
    ("Mixer-B/16, 21k and JFT", 80.64, 80.00),
    ("Mixer-B/16 and BiT-R152x1, JFT", 80.00, 79.12),
    ("Mixer-B/16 and L/16, ImageNet", 76.44, 71.76),
)
print(f"\n{'':38} difference   in typical errors")
for title, one, other in PAIRS:
    p = (one + other) / 200
    error = 100 * math.sqrt(2 * p * (1 - p) / 50_000)
    print(f"{title:38} {one - other:+10.2f} {(one - other) / error:+14.1f}")

# %% [markdown]
# A third of a point up or down: 50,000 pictures don't tell one accuracy more exactly than that. Now read the table.
#
# By this measure the last four differences are real and the first three are not.
#
# * **The first line names one model twice.** 84.15 % stands in table 2 and 83.91 % in table 3, both for a Mixer-L/16 from ImageNet-21k at 448 pixels. The appendix names a difference: for table 2 pictures were squeezed to a square before the cut, for table 3 they kept their proportions. Preprocessing again.
# * **The second line turns around in the third.** By the original labels the Mixer is ahead of the ResNet, by the corrected ones it is behind, and neither difference is beyond 1.96 typical errors. The paper's text calls the 0.40 points "0.5 % better", and the 0.61 points to ViT-H/14 "0.5 % lower".
# * **The sixth line turns around as well**, although it is real: in the table's ReaL column it is 85.56 % against 86.12 %. An interval says nothing about wrong labels.
# * Networks that answer the *same* pictures are not independent: a blurred picture is hard for all. The difference is then more exact than this (lesson 13), but to compute it one needs to know who was right on which picture, and no table says that.
#
# The interval leaves out more than it holds. It speaks of other pictures *drawn in the same way*. The deviations in the paper's tables, below 0.15 points, are those of three *fine-tunings* of one pre-trained model: nobody pre-trained H/14 three times. These 50,000 pictures have also been the
# yardstick for a decade of choices, which makes them what we call validation images (the labels of the true test set are kept secret). When new pictures were collected by the same recipe, the models that were tried lost 11 to 14 points on them (Recht et al. 2019, [arXiv 1902.10811](https://arxiv.org/abs/1902.10811)).
#
# ### Who had more?
# "84.15 % with Mixer" is often quoted. It is L/16, pre-trained on ImageNet-21k, fine-tuned at 448 pixels. The same architecture has anything from 71.76 % to 86.78 % in this table. So ask of every number: how much data, how many epochs, how much computing, how many pixels?
#
# Our own counts make a cross-check possible. The pictures seen are the epochs times the pictures in the set. A training step costs three times the forward pass (lesson 02). And speed times multiply-adds is the work that a core did in a second:

# %%
print(
    f"{'':11} {'from':12} {'pixels':>6} {'seen':>7} {'top-1':>6} {'of training':>12} {'rate in':>9} {'rate in':>9}"
)
print(f"{'':31} {'10^6':>6} {'%':>6} {'10^18':>12} {'training':>9} {'speed':>9}")
for title, data, side, epochs, top1, _, speed, days in TABLE:
    if title.startswith("Mixer"):
        size = preset(title.removeprefix("Mixer-"))
        seen = epochs * IMAGES[data]
        work = 3 * size.multiply_adds * seen  # multiply-adds of pre-training, at 224 pixels
        if side == 448:  # four times the tokens, token mixing four times as wide
            size = preset(
                title.removeprefix("Mixer-"),
                image_size=448,
                tokens_mlp_dim=4 * size.tokens_mlp_dim,
            )
        rates = work / (days * 86400) / 1e12, speed * size.multiply_adds / 1e12
        print(
            f"{title:11} {data:12} {side:6} {seen / 1e6:7,.0f} {top1:6.2f} {work / 1e18:12.1f} {rates[0]:9.1f} {rates[1]:9.1f}"
        )

# %% [markdown]
# The last two columns are in $10^{12}$ multiply-adds a second, for one core. They are plausible together: forward, a core reaches 11 to 25, more with larger models; in training it reaches 5 to 18. (Where the table says 0.01k or 0.04k core-days there is one digit, so those rates are rough. The days for ImageNet and ImageNet-21k are extrapolated, as its footnote says.)
#
# * **More data helps the larger model more.** From ImageNet to ImageNet-21k, B/16 gains 4 points and L/16 gains 11. On ImageNet alone, L/16 is *worse* than B/16: it overfits, with all the regularisation of the paper's appendix.
# * **JFT-300M is not simply better.** B/16 has 80.64 % from the public ImageNet-21k and 80.00 % from Google's own JFT-300M. It saw 4,200 million pictures in the first case, and 2,100 million in the second. It also had more regularisation in the first. The table mixes the data with the length and the way of training, and nobody outside Google can repeat the part with JFT-300M.
# * **At equal data, ViT is ahead of the Mixer in each pair here,** by 0.33 to 4.35 points, and slower by a factor of 1.5 to 2.2. (The 0.33 are those of H/14: one and a half typical errors.) Which is better depends on what you pay for. According to a footnote, the authors have ViT's figures for ImageNet and ImageNet-21k from private communication.

# %%
figure, axes = new_figure(1, 2, width=8.4, height=3.6, sharey=True)
KINDS = {"Mixer": COLOURS[0], "ViT": COLOURS[1], "BiT": COLOURS[2]}
MARKERS = dict(zip(KINDS, "os^", strict=True))
SHIFTED = {"Mixer-B/16": (-28, -4), "Mixer-L/32": (-28, 2)}  # labels that would meet others
for axis, column, title in (
    (axes[0], 6, "images a second"),
    (axes[1], 7, "core-days of pre-training"),
):
    for kind, colour in KINDS.items():
        rows = [
            row
            for row in TABLE
            if row[0].startswith(kind) and row[1:3] == ("JFT-300M", 224)
        ]
        half = [1.96 * math.sqrt(row[4] * (100 - row[4]) / 50_000) for row in rows]
        axis.errorbar(
            [row[column] for row in rows], [row[4] for row in rows], half, fmt=MARKERS[kind],
            color=colour, label=kind, markersize=5, capsize=2,
        )  # fmt: skip
        for row in rows:
            axis.annotate(
                row[0].removeprefix(kind + "-"), (row[column], row[4]), xytext=SHIFTED.get(row[0], (5, -9)),
                textcoords="offset points", fontsize=8, color=INK,
            )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlabel(title)
axes[0].set_ylabel("top-1, %")
axes[0].invert_xaxis()
axes[1].legend(loc="lower right")
show(
    figure,
    alt="Top-1 against speed and against the cost of pre-training, both logarithmic, for models from JFT-300M at 224 pixels. Mixers rise from S/32 "
    "to H/14 on a line that flattens; ViT is a little higher and slower; BiT lies to the right of and below the Mixers in the cost. The intervals are hardly larger than the marks.",
)

# %% [markdown]
# Further right is slower and more expensive. Both horizontal scales are logarithmic: each further point of accuracy multiplies the cost.
#
# ## More pixels
# L/16 gains 1 to 2 points by going from 224 to 448 pixels. Why can't one simply give a Mixer a larger picture?
#
# The patches stay as they are, so the stem fits: it looks at one patch. So do the LayerNorms, channel mixing and the head: they work on each token by itself, or on the mean over tokens, however many there are. Token mixing begins with `weight1 @ x`, which is `(DS, S) @ (S, B*C)`: the inner sizes must agree. Its weights belong to *places*, and for a 197th token there are none.

# %%
mixing = mixer.model.blocks[0].token_mixing
try:
    mixing.forward(
        np.zeros((4 * mixer.config.num_tokens, 1, mixer.config.hidden_dim), np.float32)
    )
except TinymixerError as error:
    print(error)

# %% [markdown]
# (Attention computes its weights from the tokens, so it takes any number of them. What has to be fitted in a ViT are the position embeddings.)
#
# The authors' way out (appendix C): take a picture $K$ times as high and wide. (The factor has this letter in the paper; it is not the number of classes.) Cut its grid into $K \times K$ parts of the old size, and let a copy of the *old* token mixing work on each part, apart from the others. There are $K^2$ times as many tokens, and as many times the hidden units, $DS' = K^2\,DS$. The first matrix is then
# *block-diagonal*, copies of $W_1$ along the diagonal and zeros elsewhere, and so is the second:
#
# $$W_1' = \begin{pmatrix} W_1 & & \\ & \ddots & \\ & & W_1 \end{pmatrix} \qquad (K^2 DS,\; K^2 S) .$$
#
# This assumes tokens that are numbered part by part. Ours are numbered row by row over the *whole* grid, and a row runs through several parts. So the columns of $W_1'$ have to go where each part's tokens stand.
#
# ### Exercise 17.5
# Which tokens are in which part? A part has `height` x `width` tokens, and the large grid is $K$ times as high and wide. Number tokens row by row over the large grid, parts row by row, and the tokens within a part row by row. For parts of 1 x 2 and $K = 2$ the grid has the rows `0 1 2 3` and `4 5 6 7`, and the parts are `[0, 1], [2, 3], [4, 5], [6, 7]`.
# (It is the same move as cutting an image into patches, lesson 07.)


# %%
def my_parts(height, width, K):
    """a part's height and width in tokens, K  ->  (K*K, height*width) token numbers, a row for each part"""
    ### BEGIN SOLUTION
    numbers = np.arange(K * height * K * width).reshape(K, height, K, width)
    return numbers.transpose(0, 2, 1, 3).reshape(K * K, height * width)
    ### END SOLUTION


check("17.5", my_parts)

# %% [markdown]
# ### Exercise 17.6
# Build both matrices, with the package's `tokens_of_parts(grid, K)`, which is 17.5 for `grid = (height, width)`. The hidden units are numbered part by part: first those of part 0, then those of part 1, and so on. (`np.ix_(rows, columns)` addresses a block: `large[np.ix_(rows, columns)] = block`.)


# %%
def my_block_diagonal(weight1, weight2, grid, K):
    """weight1 (DS, S), weight2 (S, DS)  ->  (K*K*DS, K*K*S), (K*K*S, K*K*DS), of the same dtype"""
    ### BEGIN SOLUTION
    parts = tokens_of_parts(grid, K)  # (K*K, S)
    DS = len(weight1)
    large1 = np.zeros((K * K * DS, parts.size), weight1.dtype)
    large2 = np.zeros((parts.size, K * K * DS), weight2.dtype)
    for number, tokens in enumerate(parts):
        units = np.arange(number * DS, (number + 1) * DS)  # (DS,)
        large1[np.ix_(units, tokens)] = weight1
        large2[np.ix_(tokens, units)] = weight2
    return large1, large2
    ### END SOLUTION


check("17.6", my_block_diagonal)

# %% [markdown]
# The biases are repeated for each part. Here is the first matrix for the small digits Mixer with $K = 2$, in both ways of numbering. Then comes the check on `mixer`: does token mixing of the first block compute on each part of a larger grid what it computed on a small one?

# %%
fits = block_diagonal(small.config.grid, 2)
weight1 = fits["weight1"](small.parameters["blocks.0.token_mixing.weight1"])  # (4 DS, 4 S)
parts = tokens_of_parts(small.config.grid, 2)  # (4, S)
figure, axes = new_figure(1, 2, width=7.2, height=4)
for axis, image, title in (
    (axes[0], weight1[:, parts.ravel()], "tokens numbered part by part"),
    (axes[1], weight1, "tokens numbered row by row"),
):
    limit = abs(weight1).max()
    axis.imshow(image, cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set(title=title, xlabel="token", ylabel="hidden unit")
show(
    figure,
    alt="Two pictures of a 64 by 64 matrix, white where it is zero. Left: four filled squares along the diagonal. Right: each square is torn into "
    "four strips, since the tokens of a part stand in four rows of the grid.",
)


# %%
def token_mixing_mlp(x, arrays):
    """Token mixing of x (S, B, C) with weight1, bias1, weight2, bias2: (S, B, C)."""
    h, _ = ops.token_linear_forward(x, arrays["weight1"], arrays["bias1"])  # (DS, B, C)
    h, _ = ops.gelu_tanh_forward(h)
    return ops.token_linear_forward(h, arrays["weight2"], arrays["bias2"])[0]


fits = block_diagonal(grid, 2)
old = {each: mixing.parameters[each] for each in ("weight1", "bias1", "weight2", "bias2")}
new = {each: fits[each](array) for each, array in old.items()}
parts = tokens_of_parts(grid, 2)  # (4, S)
x_large = np.random.default_rng(0).normal(size=(parts.size, 1, mixer.config.hidden_dim))
x_large = x_large.astype(np.float32)  # (4 S, 1, C)
y_large = token_mixing_mlp(x_large, new)  # (4 S, 1, C)
for part, tokens in enumerate(parts):
    alone = token_mixing_mlp(x_large[tokens], old)  # (S, 1, C)
    print(f"part {part}: largest difference {abs(y_large[tokens] - alone).max():.0e}")
print({each: (array.shape, new[each].shape) for each, array in old.items()})

# %% [markdown]
# The differences are rounding at most. What follows for the whole network? Every other layer works token by token, so *all* tokens of a part are what the small Mixer makes of that part alone. Let $t_s$ be the token at place $s$ after the last LayerNorm, $W$ and $b$ the head. The head is a Linear of the mean over tokens, and the mean over all $K^2 S$
# tokens is the mean of the $K^2$ parts' means:
#
# $$\text{logits} = \Big(\frac{1}{K^2 S} \sum_s t_s\Big) W + b = \frac{1}{K^2} \sum_{\text{parts}} \Big(\frac1S \sum_{s \,\in\, \text{part}} t_s\, W + b\Big) = \frac{1}{K^2} \sum_{\text{parts}} \text{logits of the part} .$$
#
# So an enlarged Mixer, before any fine-tuning, shows each part to the old one and averages the logits. Let us see, with four different digits in one picture:


# %%
def enlarged(trained, way="auto", seed=0):
    """A Mixer for images twice as large a side, from a trained one; way: see `resize_tokens`."""
    wide = 1 if way == "interpolate" else 4
    config = small_config(2 * trained.config.image_size, tokens_mlp_dim=wide * 16)
    model = MlpMixer(config, seed=seed)
    if way != "scratch":
        arrays = trained.parameters.to_numpy()
        arrays |= resize_tokens(arrays, trained.config, config, way).arrays
        own = model.parameters.to_numpy()
        fitting = {each: a for each, a in arrays.items() if a.shape == own[each].shape}
        model.parameters.load(own | fitting)
    return model


four = x[:4]  # (4, 8, 8, 1)
mosaic = np.block(
    [[four[0, :, :, 0], four[1, :, :, 0]], [four[2, :, :, 0], four[3, :, :, 0]]]
)
logits_of_the_mosaic, _ = enlarged(small).forward(mosaic[None, :, :, None])  # (1, K)
logits_of_the_four, _ = small.forward(four)  # (4, K)
error = abs(logits_of_the_mosaic[0] - logits_of_the_four.mean(axis=0)).max()
print(f"logits of the mosaic and mean of the four digits' logits differ by {error:.0e}")

# %% [markdown]
# So that is proved. But it also says what to expect of a *real* larger picture: at first, the enlarged Mixer takes each quarter of it for a whole. Fine-tuning must join the parts. How well does that work? We double the digits to 16 x 16 pixels, by interpolation, so that no information is added, and
# compare four starts, with the same steps and rate (not tuned for any of them):
#
# * **block-diagonal**, the paper's way,
# * **interpolated**: average the new tokens down to the old grid, mix, interpolate up, an approximation with the old $DS$,
# * **new token mixing**: all trained weights but those of token mixing,
# * **from scratch**.

# %%
doubled = np.stack([resize_bilinear(image, 16, 16) for image in digits.train_images])
doubled = np.clip(np.rint(doubled), 0, 255).astype(np.uint8)  # (1437, 16, 16, 1)
starts = {
    "block-diagonal": "auto",
    "interpolated": "interpolate",
    "new token mixing": "off",
    "from scratch": "scratch",
}
steps = fewer_in_browser(30, 5, "steps")
print(f"{'':18} before    after {steps} steps, three seeds")
for title, way in starts.items():
    after = []
    for seed in range(3):
        model = enlarged(small, way, seed)
        if seed == 0:
            before = accuracy_of(model, doubled[validation], labels[validation])
        train(model, doubled[training], labels[training], steps, seed=seed)
        after.append(accuracy_of(model, doubled[validation], labels[validation]))
    print(
        f"{title:18} {before:6.1%} {np.mean(after):9.1%}    ",
        *[f"{a:.1%}" for a in after],
    )

# %% [markdown]
# Three things can be read off. Everything that keeps trained weights is far ahead of scratch. Before fine-tuning, the block-diagonal Mixer is at chance, as predicted: a quarter of a digit is no digit. And after fine-tuning it is no better than token mixing that begins anew (look at the seeds: they overlap), while interpolation, which keeps the picture whole, is a little ahead of both. (All four start from one trained Mixer. The seeds change the order of the images, and the new weights where there are any.)
#
# Is the paper's way bad, then? That does not follow: this is a different case. The authors tried several ways and call this one the most successful. A quarter of a photograph of 448 pixels is a photograph of 224, with things in it that the old Mixer knows. A quarter of a digit is a stroke. A small experiment shows what a method
# *does*. What it *gains* carries over only where the conditions are alike, and one should say so.
#
# What does it cost? Token mixing has $K^2$ times as many tokens *and* $K^2$ times as many units:

# %%
for size, side in (("B/16", 224), ("B/16", 448), ("L/16", 224), ("L/16", 448)):
    wide = PRESETS[size].sizes["tokens_mlp_dim"] * (side // 224) ** 2
    sizes = preset(size, image_size=side, tokens_mlp_dim=wide)
    mixing_work = (
        2 * sizes.num_tokens * sizes.tokens_mlp_dim * sizes.hidden_dim * sizes.num_blocks
    )
    print(
        f"{size} at {side}: {sizes.parameter_count / 1e6:6.1f} million parameters, {sizes.multiply_adds / 1e9:6.1f} billion "
        f"multiply-adds, {mixing_work / sizes.multiply_adds:.0%} of them token mixing"
    )

# %% [markdown]
# For L/16 that is 5.3 times the work for four times the pixels, and most of the new token-mixing weights start as zeros. The measured speed in the table falls by a factor of $419/105 = 4.0$.
#
# ## Transfer
# Few people have ImageNet's 1,000 classes. The usual way to classes of your own: take trained weights, replace the head, and go on training with small steps (**fine-tuning**). What is kept, and what begins anew?
#
# * The **body**, everything but the head, is kept. It has learned what pictures look like.
# * The **head** belongs to the old classes and is dropped. The new one has a column for each new class, and starts at **zero**: then all logits are 0, the first loss is $\log K$ (lesson 09), and no random head sends a random gradient into a body that is worth keeping. In the first step only the head learns.
#
# ### Exercise 17.7
# Make the arrays of the new model, in a dictionary of your own. Both arguments are dictionaries from name to array, and stay as they are. The head has two arrays, `head.weight` and `head.bias`. Mind the case where both models have the same number of classes.


# %%
def my_start(trained, fresh):
    """trained: arrays of the trained model, fresh: of a new one with other classes
    ->  a dictionary with fresh's names: the trained body, and a head of zeros like fresh's in shape and dtype
    """
    ### BEGIN SOLUTION
    arrays = {}
    for each, array in fresh.items():
        is_head = each.startswith("head.")
        arrays[each] = np.zeros_like(array) if is_head else trained[each]
    return arrays
    ### END SOLUTION


check("17.7", my_start)

# %% [markdown]
# Does it help? The experiment: pre-train on the digits 0 to 4, then learn 5 to 9 from *few* images, once from the pre-trained body and once from scratch.
#
# To be fair, both get the same images, steps and seeds, and each gets its own learning rate for each amount of data, chosen among the same three on validation images. (Some 360 validation images for 25 training images is a luxury that a user with 25 pictures does not have. It makes the choice reliable, for both sides alike.)

# %%
known, wanted = training[labels[training] < 5], training[labels[training] >= 5]
judged = validation[labels[validation] >= 5]
body = train(
    MlpMixer(small_config(classes=5), seed=0),
    digits.train_images[known],
    labels[known],
    fewer_in_browser(300, 100, "steps"),
)
body = body.parameters.to_numpy()  # name -> array


def few(count, seed):
    """So many images of each of the digits 5 to 9: image numbers."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.permutation(wanted[labels[wanted] == digit])[:count] for digit in range(5, 10)]
    )


def learned(kept, chosen, rate, seed):
    """A Mixer that learned the chosen images, from the pre-trained body or from scratch."""
    model = MlpMixer(small_config(classes=5), seed=seed)  # its head is zero
    if kept:
        own = model.parameters.to_numpy()
        old = {each: array for each, array in body.items() if not each.startswith("head.")}
        model.parameters.load(own | old)
    return train(model, digits.train_images[chosen], labels[chosen] - 5, steps, rate, seed)


steps = fewer_in_browser(60, 8, "steps")
ARMS, COUNTS, RATES = (
    {"from scratch": False, "pre-trained": True},
    (2, 5, 20),
    (1e-3, 3e-3, 1e-2),
)
models, best_rate = {}, {}
print("validation accuracy, mean of five seeds, at the rates      ", *RATES)
for count in COUNTS:
    for title, kept in ARMS.items():
        means = []
        for rate in RATES:
            models[title, count, rate] = [
                learned(kept, few(count, seed), rate, seed) for seed in range(5)
            ]
            results = [
                accuracy_of(model, digits.train_images[judged], labels[judged] - 5)
                for model in models[title, count, rate]
            ]
            means.append(np.mean(results))
        best_rate[title, count] = RATES[int(np.argmax(means))]
        print(
            f"{count:2} images of each class, {title:13}    ",
            *[f"{mean:7.1%}" for mean in means],
            f"   chosen: {best_rate[title, count]:g}",
        )

# %% [markdown]
# The choices are made. Now the test images of 5 to 9, opened once:

# %%
test = digits.test_labels >= 5
test_images, test_labels = digits.test_images[test], digits.test_labels[test] - 5
figure, axis = new_figure(width=5.6, height=3.2)
results = {}
for (title, kept), colour, marker in zip(
    ARMS.items(), (INK, COLOURS[0]), "os", strict=True
):
    results[title] = 100 * np.array(
        [
            [
                accuracy_of(model, test_images, test_labels)
                for model in models[title, count, best_rate[title, count]]
            ]
            for count in COUNTS
        ]
    )  # (counts, seeds)
    axis.plot(COUNTS, results[title].mean(axis=1), color=colour, label=title)
    for seed in range(5):
        shifted = np.array(COUNTS) * (1.03 if kept else 0.97)
        axis.plot(shifted, results[title][:, seed], marker, color=colour, markersize=4)
axis.set_xscale("log")
axis.set_xticks(COUNTS, [str(count) for count in COUNTS])
axis.minorticks_off()
axis.set(xlabel="images of each class", ylabel="test accuracy, %")
axis.legend(loc="lower right")
show(
    figure,
    alt="Test accuracy on the digits 5 to 9 against the number of training images of each class, five seeds each: both lines rise, the pre-trained "
    "one lies a little above the other where there are 5 or 20 images, and the seeds scatter by several points.",
)
print(
    f"{len(test_labels)} test images.   images a class   scratch   pre-trained   difference, seed by seed"
)
for row, count in enumerate(COUNTS):
    one, other = results["from scratch"][row], results["pre-trained"][row]
    print(
        f"{count:34} {one.mean():9.1f} {other.mean():13.1f}      ",
        *[f"{d:+.1f}" for d in other - one],
    )

# %% [markdown]
# With 5 or 20 images of each class, pre-training helped with every seed. With 2 it is luck: one seed lost more than 15 points, another gained more than 9. How *much* it helped is less clear: with 20 images the means differ by 5 points on these 179 test images, and by 2 on the 359 validation images. 179 images leave each accuracy uncertain by 4 to 5 points, and five seeds
# don't help against that, since all are asked the same images, and all begin with one and the same pre-trained body.
#
# Five digits are no ImageNet, and strokes are soon learned from the new digits themselves. Compare first-mixer, whose [card](../tinymixer/weights/first-mixer.md) reports a larger experiment: 200 photographs of five
# of CIFAR-10's classes give 48.9 % from scratch, and 56.5 % from a Mixer that was trained on the *other* five. The gain comes from the data that the body has seen and you have not.
#
# In practice: `tinymixer train fine-tune --data my-photos --init-from mixer-s16-gsam` does this with the paper's settings and smaller batches, and `--freeze stem,blocks.0` keeps parts as they are ([`docs/fine-tuning.md`](../docs/fine-tuning.md)).
#
# **Try it.** (1) Start with a *random* head, once with weights of the usual size (normal numbers divided by $\sqrt{C}$), once without the division. What is the first loss, and what happens to the validation accuracy with 2 images of each class? (2) Train only the head: put the body back after each step. Is that better where there are few images? (3) Put
# a photograph of your own beside this notebook as `picture.jpg`. Then turn it by 90 degrees. What does the model say, and how sure is it?

# %% [markdown] tags=["solution"]
# **About the questions.** (1) With rate 0.01 and means of five seeds: a head of zeros begins with a loss of 1.61, $\log 5$, and ends with 64 %; a random head of the usual size begins with about 2 and ends with 61 to 63 %, a little worse; one without the division begins with 7 to 8 and ends with 54 or 55 %. Its first gradients are large and meaningless, and they damage the body.
# (2) No: with 2, 5 and 20 images it reached 39 %, 54 % and 76 % (the better one of the rates 0.01 and 0.1 each), against 64 %, 79 % and 90 % when everything is trained. This body has seen five digits, and one Linear on top of it can't tell the others apart. With a body that has seen a great deal, such as
# ImageNet's, training the head alone is a good beginning. (3) See for yourself.

# %% [markdown]
# ## What you have now
#
# | step | what can go wrong without an error | how to see it |
# |---|---|---|
# | read the file | another GELU, another epsilon | compare logits with somebody's |
# | prepare the picture | range, cut, order of colours | the published accuracy, on pictures with labels |
# | name the answer | labels in another order | a loss far above $\log K$ ($K$ classes) |
# | quote an accuracy | other data, pixels, labels; a difference within the interval | ask what it was measured on; compute the interval |
# | larger pictures | columns at the wrong tokens | a mosaic: the mean of the parts' logits |
# | new classes | an old head that happens to fit | the first loss is $\log K$ |
#
# **Where the package does this:** `tinymixer/pretrained/naming.py` (which array is which), `tinymixer/pretrained/preprocessing.py`, `tinymixer/pretrained/class_names.py`, `tinymixer/models/presets.py` (the sizes), `tinymixer/training/evaluate.py` (the interval),
# `tinymixer/models/resolution.py` (other grids), `tinymixer/training/fine_tuning.py` (how a run starts from weights).
#
# Next: [lesson 18, your own functions train a network](18_capstone.ipynb).

# %% [markdown]
# ## Questions
#
# **1.** Somebody loads Mixer-B/16 and feeds it pixels from 0 to 255 instead of $-1$ to 1. Does it crash? What do they see?
#
# <details><summary>Answer</summary>
#
# It runs. LayerNorm takes the sizes back to normal, so all numbers stay finite and softmax gives probabilities that add up to 1. The answers are mostly wrong: our digits Mixer fell from 93 % to 18 %. If nobody measures the accuracy on pictures with labels, only unusually low probabilities give it away.
#
# </details>
#
# **2.** B/16 has $S = 196$ and $DS = 384$. It is enlarged from 224 to 448 pixels in the paper's way. What is the shape of the new `weight1`, and what share of it is not zero at the start?
#
# <details><summary>Answer</summary>
#
# $K = 2$, so both sizes become four times as large: `(1536, 784)`. Of its 4 x 4 blocks, the four that connect a part with itself are filled: a quarter. The other three quarters are there to be learned.
#
# </details>
#
# **3.** A colleague fine-tunes an ImageNet model for 1,000 species of plants. "All arrays were loaded," the program says. The first loss is 11. Find the fault.
#
# <details><summary>Answer</summary>
#
# With a new head of zeros the first loss would be $\log 1000 = 6.9$. 11 is far above that: the model is sure of wrong classes. The old head was loaded, because 1,000 columns fit 1,000 species, and it still names ImageNet's classes. Start with a head of zeros (`--new-head`).
#
# </details>
#
# **4.** Estimate: you have a GPU with 1 GB free. Can you fine-tune Mixer-B/16 on it in float32, with AdamW? With SGD and momentum?
#
# <details><summary>Answer</summary>
#
# The weights are 60 million numbers of 4 bytes, 0.24 GB. AdamW keeps weights, gradients and two moments: 0.96 GB, which leaves next to nothing for activations, so no. SGD with momentum keeps three such vectors, 0.72 GB, and works with small batches. With the body frozen and only the head trained, gradients and moments shrink to the head's 769,000 numbers.
#
# </details>
#
# **5.** A colleague reads in a table: "model X 84.0 %, model Y 83.8 % on ImageNet", and wants to switch to X. Explain what you would ask first.
#
# <details><summary>Answer</summary>
#
# The typical error of such a difference, with 50,000 pictures and independent answers, is $\sqrt{2 \cdot 0.84 \cdot 0.16 / 50{,}000}$, 0.23 points: 0.2 is less than one of them. Then: were the pre-training data, epochs, pixels and cut the same? How many trainings of each were there? What does a picture cost with either? And does it hold on your own
# pictures? A hundred of them, with labels, say more about your case than the table.
#
# </details>
