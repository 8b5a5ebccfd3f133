"""Exercises of lesson 12: what it learned."""

import numpy as np

from tinymixer.analysis.saliency import occlusion, saliency
from tinymixer.analysis.token_mixing_weights import cosines, opposite_phases
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.ops import softmax_cross_entropy

# ------------------------------------------------------------------------------------------ 12.1 units as images

exercise(
    "12.1",
    "Weights as images",
    "my_units_as_images",
    reference=lambda weight1, height, width: weight1.reshape(-1, height, width),
    cases=lambda generator: (
        (generator.normal(size=(units, height * width)), height, width)
        for units, height, width in ((4, 2, 3), (9, 3, 3), (1, 4, 2))
    ),
    returns="images",
    mistakes=[
        Mistake(
            "The weights were transposed first, so units and tokens are mixed up. weight1 is (DS, S): a row is a "
            "unit already.",
            lambda weight1, height, width: weight1.T.reshape(-1, height, width),
        ),
        Mistake(
            "Height and width have changed places: tokens go row by row, so the width is the last axis.",
            lambda weight1, height, width: weight1.reshape(-1, width, height),
        ),
        Mistake(
            "The images lie on their side: the tokens were put in column by column, but they go row by row.",
            lambda weight1, height, width: weight1.reshape(-1, width, height).transpose(0, 2, 1),
        ),
        Mistake(
            "This is only the first unit. All of them are asked for, one image each.",
            lambda weight1, height, width: weight1[0].reshape(height, width),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 12.2 opposite phases


def _weights(generator):
    """Units (D, S) of different sizes, some nearly opposite; then as many units as tokens; then two units."""
    for units, tokens in ((6, 9), (5, 5), (2, 3)):
        weights = generator.normal(size=(units, tokens)) * generator.uniform(0.2, 5, size=(units, 1))
        weights[1] = -0.1 * weights[0] + 0.02 * weights[1]
        yield (weights + 0.1,)


def _smallest(angles):
    partner = np.argmin(angles, axis=1)
    return partner, angles[np.arange(len(angles)), partner]


def _centred(weights):
    return weights - weights.mean(axis=1, keepdims=True)


def _lengths(weights, axis=1):
    return np.sqrt(np.sum(weights * weights, axis=axis, keepdims=True))


def _most_alike(weights):
    angles = cosines(weights)
    np.fill_diagonal(angles, -2)
    partner = np.argmax(angles, axis=1)
    return partner, angles[np.arange(len(angles)), partner]


def _largest(angles):
    partner = np.argmax(angles, axis=1)
    return partner, angles[np.arange(len(angles)), partner]


exercise(
    "12.2",
    "Opposite phases",
    "my_opposites",
    reference=opposite_phases,
    cases=_weights,
    returns=("partner", "cosine"),
    mistakes=[
        Mistake(
            "These are the products of the units, not the cosines: a large unit looks more opposite than a small one. "
            "Divide by both lengths.",
            lambda weights: _smallest(weights @ weights.T),
        ),
        Mistake(
            "The partner found is the most similar one, which is each unit itself.",
            lambda weights: _largest(cosines(weights)),
        ),
        Mistake(
            "This is the most similar other unit. The most opposite one is asked for, with the cosine nearest to -1.",
            _most_alike,
        ),
        Mistake(
            "This is the unit whose angle is nearest to a right angle: a cosine near 0 means that two units have "
            "nothing to do with each other.",
            lambda weights: (np.argmin(abs(cosines(weights)), axis=1), np.min(abs(cosines(weights)), axis=1)),
        ),
        Mistake(
            "The mean was taken out of each unit: this is the correlation. The cosine takes the weights as they are.",
            lambda weights: _smallest(cosines(_centred(weights))),
        ),
        Mistake(
            "The lengths are those of the columns. A unit is a row: its length sums over the tokens, axis 1.",
            lambda weights: _smallest((weights / _lengths(weights, 0)) @ (weights / _lengths(weights, 0)).T),
        ),
        Mistake(
            "The products are divided by one of the two lengths only.",
            lambda weights: _smallest((weights / _lengths(weights)) @ weights.T),
        ),
        Mistake(
            "The products are divided by one of the two lengths only.",
            lambda weights: _smallest(weights @ (weights / _lengths(weights)).T),
        ),
        Mistake(
            "The length is the square root of the sum of squares: the root is missing.",
            lambda weights: _smallest((weights / _lengths(weights) ** 2) @ (weights / _lengths(weights) ** 2).T),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 12.3 saliency


class _SmallMixer(MlpMixer):
    def __repr__(self) -> str:
        return "a small Mixer"


def _small_mixer(generator):
    config = MixerConfig(
        image_size=4, in_channels=2, patch_size=2, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7, num_blocks=1,
        num_classes=3,
    )  # fmt: skip
    model = _SmallMixer(config, dtype="float64", seed=generator)
    model.parameters["head.weight"][...] = generator.normal(size=(6, 3))
    return model


def _saliency_inputs(generator):
    """Four images of different classes, then one image."""
    for classes in (np.array([2, 0, 1, 2]), np.array([1])):
        yield _small_mixer(generator), generator.normal(size=(len(classes), 4, 4, 2)), classes


def _backward_from(cotangent):
    """Saliency with another cotangent than the right one: cotangent(logits, classes) -> (B, K)."""

    def run(model, images, classes):
        logits, cache = model.forward(images)
        return model.backward(cotangent(logits, classes), cache)

    return run


def _one_hot(logits, classes):
    return np.eye(logits.shape[1])[classes]


exercise(
    "12.3",
    "Saliency",
    "my_saliency",
    reference=saliency,
    cases=_saliency_inputs,
    returns="dimages",
    mistakes=[
        Mistake(
            "This is the gradient of the loss. The loss mixes all logits. Here the derivative of one logit is asked "
            "for, and the cotangent says which one.",
            _backward_from(lambda logits, classes: softmax_cross_entropy(logits, classes)[1]),
        ),
        Mistake(
            "The cotangent is 1 for every class, so this is the gradient of the sum of all logits.",
            _backward_from(lambda logits, classes: np.ones_like(logits)),
        ),
        Mistake(
            "The cotangent is the logits themselves. It should say which output is asked about, not what it is.",
            _backward_from(lambda logits, classes: logits),
        ),
        Mistake(
            "The cotangent is in the right place, but its value is the logit. What is the derivative of a logit with "
            "respect to itself?",
            _backward_from(lambda logits, classes: _one_hot(logits, classes) * logits),
        ),
        Mistake(
            "All images were asked about the first image's class. Each has its own entry in `classes`.",
            _backward_from(lambda logits, classes: _one_hot(logits, np.repeat(classes[:1], len(classes)))),
        ),
        Mistake(
            "This is averaged over the batch. Each image has a logit of its own, so there is no mean here.",
            _backward_from(lambda logits, classes: _one_hot(logits, classes) / len(classes)),
        ),
        Mistake(
            "The signs are gone. They say whether ink speaks for the class or against it.",
            lambda model, images, classes: abs(saliency(model, images, classes)),
        ),
        Mistake(
            "The colours have been summed. A gradient has the shape of what it belongs to, the images.",
            lambda model, images, classes: saliency(model, images, classes).sum(axis=-1),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 12.4 occlusion


def _occlusion_inputs(generator):
    """A score that is no sum over pixels, and images: higher than wide, square with colours, single pixels."""
    for height, width, colours, size, fill in ((6, 4, 1, 2, -0.5), (6, 6, 2, 3, 0.25), (3, 2, 1, 1, 0.5)):
        weights = generator.normal(size=(height, width, colours))

        def score(images, weights=weights):
            sums = np.sum(images * weights, axis=(1, 2, 3))
            return sums + 0.1 * sums * sums

        yield score, generator.normal(size=(height, width, colours)), size, fill


def _covered_one_by_one(score, image, size, fill, keep=False, sign=1, difference=True):
    height, width = image.shape[0] // size, image.shape[1] // size
    result, covered = np.zeros((height, width)), image.copy()
    for row in range(height):
        for column in range(width):
            if not keep:
                covered = image.copy()
            covered[row * size : (row + 1) * size, column * size : (column + 1) * size] = fill
            after = score(covered[None])[0]
            result[row, column] = sign * (score(image[None])[0] - after) if difference else after
    return result


def _single_pixels(score, image, size, fill):
    height, width = image.shape[0] // size, image.shape[1] // size
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            covered = image.copy()
            covered[row * size, column * size] = fill
            result[row, column] = score(image[None])[0] - score(covered[None])[0]
    return result


def _overlapping(score, image, size, fill):
    height, width = image.shape[0] // size, image.shape[1] // size
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            covered = image.copy()
            covered[row : row + size, column : column + size] = fill
            result[row, column] = score(image[None])[0] - score(covered[None])[0]
    return result


exercise(
    "12.4",
    "Occlusion",
    "my_occlusion",
    reference=occlusion,
    cases=_occlusion_inputs,
    returns="fall",
    mistakes=[
        Mistake(
            "The squares stay covered: in each image, all earlier squares are covered too. Begin with a fresh copy "
            "each time.",
            lambda score, image, size, fill: _covered_one_by_one(score, image, size, fill, keep=True),
        ),
        Mistake(
            "The sign is wrong: how much the score *falls* is asked for, the score before minus the one after.",
            lambda score, image, size, fill: _covered_one_by_one(score, image, size, fill, sign=-1),
        ),
        Mistake(
            "These are the scores of the covered images. How much did they fall?",
            lambda score, image, size, fill: _covered_one_by_one(score, image, size, fill, difference=False),
        ),
        Mistake("Only one pixel of each square is covered.", _single_pixels),
        Mistake(
            "The squares overlap: each is only one pixel further on. Square (row, column) begins `size` times as far.",
            _overlapping,
        ),
        Mistake(
            "The squares are covered with 0 in place of `fill`.",
            lambda score, image, size, fill: _covered_one_by_one(score, image, size, 0.0),
        ),
        Mistake(
            "Rows and columns have changed places in the result.",
            lambda score, image, size, fill: _covered_one_by_one(score, image, size, fill).T,
        ),
    ],
)
