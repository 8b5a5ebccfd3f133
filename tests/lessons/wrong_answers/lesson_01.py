"""Wrong answers to lesson 01, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def axes_lost(images):
    return images - np.mean(images, axis=(1, 2, 3))


def one_mean_for_all(images):
    return images - np.mean(images)


def mean_image(images):
    return images - np.mean(images, 0)


def channels_apart(images):
    return np.subtract(images, np.mean(images, axis=(1, 2), keepdims=True))


def assigned(a, b):
    product = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            for k in range(b.shape[1]):
                product[i, k] = a[i, j] * b[j, k]
    return product


def b_turned(a, b):
    product = np.zeros((a.shape[0], b.shape[1]))
    for k in range(b.shape[1]):
        for i in range(a.shape[0]):
            product[i, k] = sum(a[i, j] * b[k, j] for j in range(a.shape[1]))
    return product


def rows_meet_rows(a, b):
    return np.dot(a, b.T)


def a_turned(a, b):
    product = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(a.shape[1]):
                product[i, k] = product[i, k] + a[j, i] * b[j, k]
    return product


def one_term_short(a, b):
    product = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(a.shape[1] - 1):
                product[i, k] += a[i, j] * b[j, k]
    return product


def reshaped(x):
    B, S, C = x.shape
    return np.reshape(x, (S, B, C))


def reversed_axes(x):
    return np.transpose(x)


def channels_and_tokens(x):
    return np.swapaxes(x, 1, 2)


def gone_round(x):
    return np.moveaxis(x, 0, -1)


def images_first(images, P):
    _, height, width, _ = images.shape
    rows = []
    for image in images:
        rows.append(
            np.stack([image[r : r + P, c : c + P].reshape(-1) for r in range(0, height, P) for c in range(0, width, P)])
        )
    return np.stack(rows)


def loops_exchanged(images, P):
    B, height, width, _ = images.shape
    tokens = []
    for left in range(0, width, P):
        for top in range(0, height, P):
            tokens.append(images[:, top : top + P, left : left + P, :].reshape(B, -1))
    return np.array(tokens)


def only_reshaped(images, P):
    B, height, width, channels = images.shape
    S = height * width // P**2
    return images.reshape(S, B, P * P * channels)


def not_flattened(images, P):
    _, height, width, _ = images.shape
    return np.stack(
        [images[:, r : r + P, c : c + P] for r in range(0, height, P) for c in range(0, width, P)],
    )


def overlapping(images, P):
    B, height, width, _ = images.shape
    tokens = []
    for r in range(height - P + 1):
        for c in range(width - P + 1):
            tokens.append(images[:, r : r + P, c : c + P].reshape(B, -1))
    return np.stack(tokens)


WRONG_ANSWERS = {
    "1.1": [
        (axes_lost, "The means have lost their axes"),
        (one_mean_for_all, "One mean of the whole batch"),
        (mean_image, "The mean image of the batch"),
        (channels_apart, "One mean per image is asked for"),
    ],
    "1.2": [
        (assigned, "Only the last term of each sum is left"),
        (b_turned, "b is read with its indices exchanged"),
        (rows_meet_rows, "b is read with its indices exchanged"),
        (a_turned, "a is read with its indices exchanged"),
        (one_term_short, "The loops stop too early"),
    ],
    "1.3": [
        (reshaped, "a reshape keeps the order in memory"),
        (reversed_axes, "All axes are in reverse order"),
        (channels_and_tokens, "The channels stay last"),
        (gone_round, "The axes are in another order"),
    ],
    "1.4": [
        (images_first, "Images come first here"),
        (loops_exchanged, "column by column over the image"),
        (only_reshaped, "The images are only reshaped"),
        (not_flattened, "still squares"),
        (overlapping, "The windows overlap"),
    ],
}
