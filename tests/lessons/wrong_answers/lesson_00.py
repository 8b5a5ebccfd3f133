"""Wrong answers to lesson 00, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def divided_as_they_are(images):
    return np.true_divide(images, 255.0).astype(np.float64)


def converted_only(images):
    return np.asarray(images, dtype=np.float32)


def divided_by_256(images):
    return np.float32(1 / 256) * images


def floor_divided(images):
    return np.array(images // np.uint8(255), dtype=np.float32)


def converted_back(images):
    return (images / 255).astype(int)


def all_columns(labels, classes):
    hot = np.zeros([labels.shape[0], classes], dtype=np.float32)
    hot[:, labels] = 1.0
    return hot


def class_by_image(labels, classes):
    hot = np.zeros((classes, len(labels)))
    for column, label in enumerate(labels):
        hot[label, column] = 1
    return hot


def counted_from_one(labels, classes):
    hot = np.zeros((len(labels), classes))
    for row in range(len(labels)):
        hot[row, labels[row] - 1] = 1
    return hot


def as_many_as_occur(labels, classes):
    hot = np.zeros((len(labels), max(labels) + 1))
    hot[np.arange(len(labels)), labels] = 1
    return hot


def label_in_place_of_one(labels, classes):
    hot = np.zeros((len(labels), classes))
    hot[np.arange(len(labels)), labels] = labels
    return hot


def down_the_columns(logits, labels):
    return (np.argmax(logits, 0) == labels).mean()


def counted(logits, labels):
    right = 0
    for row, label in zip(logits, labels, strict=True):
        right += np.argmax(row) == label
    return right


def largest_compared(logits, labels):
    return (np.max(logits, 1) == labels).sum() / len(labels)


def error_rate(logits, labels):
    return 1 - np.mean(np.argmax(logits, axis=-1) == labels)


def one_place(logits, labels):
    return np.mean(np.argmax(logits) == labels)


WRONG_ANSWERS = {
    "0.1": [
        (divided_as_they_are, "they are float64"),
        (converted_only, "still run from 0 to 255"),
        (divided_by_256, "255 should become 1"),
        (floor_divided, "divides whole numbers"),
        (converted_back, "divides whole numbers"),
    ],
    "0.2": [
        (all_columns, "Every row has a 1 for every label"),
        (class_by_image, "Rows and columns are exchanged"),
        (counted_from_one, "Classes are counted from 0"),
        (as_many_as_occur, "no column for a class"),
        (label_in_place_of_one, "The label itself stands"),
    ],
    "0.3": [
        (down_the_columns, "argmax runs down the columns"),
        (counted, "number of images that are right"),
        (largest_compared, "Its place is what counts"),
        (error_rate, "share of mistakes"),
        (one_place, "as one long row"),
    ],
}
