"""Wrong answers to lesson 12, as a learner would write them, and words of the hint that each must get."""

import numpy as np

from tinymixer import ops


def turned(weight1, height, width):
    return np.array([column.reshape(height, width) for column in weight1.T.reshape(-1, height * width)])


def width_first(weight1, height, width):
    return np.reshape(weight1, (len(weight1), width, height))


def column_by_column(weight1, height, width):
    return np.stack([unit.reshape((height, width), order="F") for unit in weight1])


def products(weights):
    table = np.dot(weights, np.transpose(weights))
    return table.argmin(axis=1), table.min(axis=1)


def itself(weights):
    units = weights / np.linalg.norm(weights, axis=1)[:, None]
    table = units @ units.T
    return table.argmax(axis=1), table.max(axis=1)


def correlated(weights):
    table = np.corrcoef(weights)
    return table.argmin(axis=1), table.min(axis=1)


def nothing_in_common(weights):
    units = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    table = np.abs(units @ units.T)
    return table.argmin(axis=1), table.min(axis=1)


def columns_normalised(weights):
    units = weights / np.linalg.norm(weights, axis=0)
    table = units @ units.T
    return table.argmin(axis=1), table.min(axis=1)


def of_the_loss(model, images, classes):
    logits, cache = model.forward(images)
    _, dlogits = ops.softmax_cross_entropy(logits, classes)
    return model.backward(dlogits, cache)


def of_all_logits(model, images, classes):
    logits, cache = model.forward(images)
    return model.backward(np.full(logits.shape, 1.0), cache)


def logits_backwards(model, images, classes):
    logits, cache = model.forward(images)
    return model.backward(logits, cache)


def without_sign(model, images, classes):
    logits, cache = model.forward(images)
    dlogits = np.zeros_like(logits)
    dlogits[np.arange(len(classes)), classes] = 1
    return np.abs(model.backward(dlogits, cache))


def stays_covered(score, image, size, fill):
    rows, columns = image.shape[0] // size, image.shape[1] // size
    fall, covered = np.empty((rows, columns)), np.array(image)
    for i in range(rows):
        for j in range(columns):
            covered[i * size : i * size + size, j * size : j * size + size] = fill
            fall[i, j] = score(image[np.newaxis])[0] - score(covered[np.newaxis])[0]
    return fall


def rises(score, image, size, fill):
    rows, columns = image.shape[0] // size, image.shape[1] // size
    fall = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            covered = np.array(image)
            covered[i * size : i * size + size, j * size : j * size + size] = fill
            fall[i, j] = score(covered[np.newaxis])[0] - score(image[np.newaxis])[0]
    return fall


def not_moved_far_enough(score, image, size, fill):
    rows, columns = image.shape[0] // size, image.shape[1] // size
    fall = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            covered = np.array(image)
            covered[i : i + size, j : j + size, :] = fill
            fall[i, j] = (score(image[np.newaxis]) - score(covered[np.newaxis])).item()
    return fall


WRONG_ANSWERS = {
    "12.1": [
        (turned, "The weights were transposed"),
        (width_first, "Height and width have changed places"),
        (column_by_column, "stand on their side"),
    ],
    "12.2": [
        (products, "Divide by both lengths"),
        (itself, "each unit itself"),
        (correlated, "this is the correlation"),
        (nothing_in_common, "nearest to a right one"),
        (columns_normalised, "The lengths are those of the columns"),
    ],
    "12.3": [
        (of_the_loss, "the gradient of the loss"),
        (of_all_logits, "the sum of all logits"),
        (logits_backwards, "the logits themselves"),
        (without_sign, "The signs are gone"),
    ],
    "12.4": [
        (stays_covered, "The squares stay covered"),
        (rises, "The sign is wrong"),
        (not_moved_far_enough, "The squares overlap"),
    ],
}
