"""Exercises of lesson 00: the first ones, to learn how exercises go."""

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise


def _images(generator):
    """uint8 images (B, height, width, channels): six known pixels, then all sizes different, then all alike."""
    yield (np.array([0, 51, 102, 153, 204, 255], np.uint8).reshape(1, 2, 3, 1),)
    for shape in ((2, 4, 5, 3), (3, 3, 3, 3)):
        yield (generator.integers(0, 256, shape, dtype=np.uint8),)


def _to_numbers(images):
    return images.astype(np.float32) / 255


NOT_255 = "255 should become 1 and does not: what do you have to divide 255 by?"

exercise(
    "0.1",
    "Pixels to numbers",
    "my_pixels_to_numbers",
    reference=_to_numbers,
    cases=_images,
    returns="numbers",
    mistakes=[
        Mistake(
            "The pixels are floating-point numbers now, but they still run from 0 to 255. They should end at 1.",
            lambda images: images.astype(np.float32),
        ),
        Mistake(NOT_255, lambda images: images / 256),
        Mistake(NOT_255, lambda images: images.astype(np.float32) / 256),
        Mistake(
            "Everything below 255 has become 0: // divides whole numbers and drops the remainder, and so does a "
            "conversion to whole numbers after the division.",
            lambda images: images // 255,
        ),
        Mistake(
            "This stretches each batch to its own brightest pixel. 1 stands for 255, whatever happens to be in the "
            "batch: otherwise the same image would mean something different next to other images.",
            lambda images: images.astype(np.float32) / images[..., :1].max(),
        ),
    ],
)


def _labels(generator):
    """labels (B,) and the number of classes: the last class does not occur, then B = K, then one image."""
    yield np.array([2, 0, 1, 2, 0]), 4
    yield np.append(generator.integers(0, 3, 3), 0), 4
    yield np.array([1]), 3


def _one_hot(labels, classes):
    return np.eye(classes, dtype=int)[labels]


def _every_row_alike(labels, classes):
    rows = np.zeros((len(labels), classes), int)
    rows[:, labels] = 1
    return rows


exercise(
    "0.2",
    "One-hot rows",
    "my_one_hot",
    reference=_one_hot,
    cases=_labels,
    returns="rows",
    mistakes=[
        Mistake(
            "Every row has a 1 for every label in the batch. rows[:, labels] means all rows at each of these columns: "
            "pair each row's own number with its label.",
            _every_row_alike,
        ),
        Mistake(
            "Rows and columns are swapped: each image has a row and each class a column, so the shape is (B, classes).",
            lambda labels, classes: _one_hot(labels, classes).T,
        ),
        Mistake(
            "The 1 is one column too far to the left. Classes are counted from 0, as Python counts: label 0 belongs to "
            "the first column.",
            lambda labels, classes: np.eye(classes, dtype=int)[labels - 1],
        ),
        Mistake(
            "Classes that occur in no label of the batch have no column. The number of columns is given: classes.",
            lambda labels, classes: np.eye(labels.max() + 1, dtype=int)[labels],
        ),
        Mistake(
            "The label itself stands where a 1 belongs, so label 0 leaves no mark at all.",
            lambda labels, classes: _one_hot(labels, classes) * labels[:, None],
        ),
    ],
)


def _predictions(generator):
    """logits (B, K) and labels (B,): every third image, from the third on, gets a wrong class; then logits that are
    whole numbers, as labels are.
    """
    for images, classes in ((7, 4), (5, 5), (1, 3)):
        logits = generator.normal(size=(images, classes))
        labels = logits.argmax(axis=1)
        labels[2::3] = (labels[2::3] + 1) % classes
        yield logits, labels
    yield np.array([[0.0, 5, -1], [2, 0, 1], [-2, 0, 2], [0, -1, -2]]), np.array([1, 0, 2, 0])


def _accuracy(logits, labels):
    return float(np.mean(logits.argmax(axis=1) == labels))


exercise(
    "0.3",
    "Accuracy",
    "my_accuracy",
    reference=_accuracy,
    cases=_predictions,
    returns="accuracy",
    mistakes=[
        Mistake(
            "argmax runs down the columns: for each class, it finds the image with the largest logit. We want the "
            "largest class for each image, so look along its row.",
            lambda logits, labels: np.mean(logits.argmax(axis=0) == labels),
        ),
        Mistake(
            "This is the number of images that are read correctly. The share is that number divided by how many images "
            "there are.",
            lambda logits, labels: np.sum(logits.argmax(axis=1) == labels),
        ),
        Mistake(
            "The largest logit itself is compared with the label. Its place is what counts: that is what argmax finds.",
            lambda logits, labels: np.mean(logits.max(axis=1) == labels),
        ),
        Mistake(
            "This is the share of mistakes: it counts where prediction and label differ.",
            lambda logits, labels: np.mean(logits.argmax(axis=1) != labels),
        ),
        Mistake(
            "Without an axis, argmax looks at the whole batch as one long row and finds one place in it. We need one "
            "for each image.",
            lambda logits, labels: np.mean(logits.argmax() == labels),
        ),
        Mistake(
            "This answers for each image alone (right or not). The accuracy is one number: the mean of these.",
            lambda logits, labels: logits.argmax(axis=1) == labels,
        ),
        Mistake(
            "This is in percent. We want a number from 0 to 1.",
            lambda logits, labels: 100 * _accuracy(logits, labels),
        ),
    ],
)
