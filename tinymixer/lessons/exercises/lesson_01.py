"""Exercises of lesson 01: arrays, shapes, images as tokens."""

import numpy as np

from tinymixer import ops
from tinymixer.lessons.exercise import Mistake, exercise


def _batches(generator):
    """images (B, height, width, channels): sizes all different, then all alike, then one image in float32."""
    yield (generator.normal(size=(2, 4, 5, 3)),)
    yield (generator.normal(size=(3, 3, 3, 3)),)
    yield (generator.normal(size=(1, 4, 4, 1)).astype(np.float32),)


def _centred(images):
    return images - images.mean(axis=(1, 2, 3), keepdims=True)


AXES_GONE = (
    "The means have lost their axes: their shape (B,) is aligned on the right, so B meets the channels. If all the "
    "sizes are equal, nothing complains. Keep the axes, as axes of size 1."
)

exercise(
    "1.1",
    "Every image minus its mean",
    "my_centred",
    reference=_centred,
    cases=_batches,
    returns="centred",
    mistakes=[
        Mistake(AXES_GONE, lambda images: images - images.mean(axis=(1, 2, 3))),
        Mistake(
            "One mean of the whole batch is subtracted from all images. Subtract its own mean from each.",
            lambda images: images - images.mean(),
        ),
        Mistake(
            "The mean image of the batch is subtracted: axis 0, the images, is gone. Take the mean over the other "
            "axes.",
            lambda images: images - images.mean(axis=0),
        ),
        Mistake(
            "Each channel of each image has lost a mean of its own. We want one mean per image, over all its channels.",
            lambda images: images - images.mean(axis=(1, 2), keepdims=True),
        ),
        Mistake(
            "Each pixel has lost the mean of its own channels. Take the mean over height and width as well.",
            lambda images: images - images.mean(axis=-1, keepdims=True),
        ),
        Mistake(
            "This is the mean of each image, in the right shape to be subtracted. We want the images minus that mean.",
            lambda images: images.mean(axis=(1, 2, 3), keepdims=True),
        ),
    ],
)


def _tables(generator):
    """a (I, J), b (J, O): sizes all different, then all alike, then a row times a column."""
    for rows, inner, columns in ((2, 3, 4), (3, 3, 3), (1, 4, 1)):
        yield generator.normal(size=(rows, inner)), generator.normal(size=(inner, columns))


def _without_the_sum(a, b):
    """The last term of each sum only, as = in place of += leaves it."""
    return a[:, -1:] * b[-1:]


exercise(
    "1.2",
    "The matrix product in loops",
    "my_matrix_product",
    reference=lambda a, b: a @ b,
    cases=_tables,
    returns="product",
    mistakes=[
        Mistake(
            "Only the last term of each sum is left. Every j adds one: the terms add up and don't replace each other.",
            _without_the_sum,
        ),
        Mistake(
            "b is read with its indices swapped (where the sizes allow it). The summed index j is the first of b.",
            lambda a, b: a @ b.T,
        ),
        Mistake(
            "b is read with its indices swapped. The summed index j is the first of b, its row.",
            lambda a, b: _with_loops(a, b, lambda i, j, k: a[i, j] * b[k, j]),
        ),
        Mistake(
            "a is read with its indices swapped. The summed index j is the last of a, its column.",
            lambda a, b: _with_loops(a, b, lambda i, j, k: a[j, i] * b[j, k]),
        ),
        Mistake(
            "The loops stop too early: range(n) ends at n - 1 by itself, and the last term counts.",
            lambda a, b: a[:, :-1] @ b[:-1],
        ),
        Mistake(
            "This is the element-by-element product, for tables of the same shape. A row of a meets a column of b.",
            lambda a, b: a * b,
        ),
    ],
)


def _with_loops(a, b, term):
    product = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(a.shape[1]):
                product[i, k] += term(i, j, k)
    return product


def _tokens(generator):
    """x (B, S, C): sizes all different, then all alike, then one image."""
    for shape in ((2, 3, 4), (3, 3, 3), (1, 4, 2)):
        yield (generator.normal(size=shape),)


exercise(
    "1.3",
    "Tokens first",
    "my_tokens_first",
    reference=lambda x: x.transpose(1, 0, 2),
    cases=_tokens,
    returns="y",
    mistakes=[
        Mistake(
            "The shape is right and the numbers are in the wrong places: a reshape keeps the order in memory and only "
            "reads it in lines of another length. Here the indices must be swapped.",
            lambda x: x.reshape(x.shape[1], x.shape[0], x.shape[2]),
        ),
        Mistake(
            "All axes are in reverse order: .T turns (B, S, C) into (C, S, B). Only the first two change places.",
            lambda x: x.T,
        ),
        Mistake(
            "The last two axes, S and C, are swapped. The channels stay last.",
            lambda x: x.transpose(0, 2, 1),
        ),
        Mistake(
            "The axes are in another order: (S, C, B). Tell transpose, for each new axis, which old one it is.",
            lambda x: x.transpose(1, 2, 0),
        ),
        Mistake("Nothing has moved: this is x as it was.", lambda x: x),
    ],
)


def _images_and_sizes(generator):
    """Images and P: not square with two patch sizes, then as many tokens as images, then one image."""
    for shape, size in (((2, 4, 6, 3), 2), ((4, 6, 6, 2), 3), ((4, 4, 4, 1), 2), ((1, 4, 4, 2), 4)):
        yield generator.normal(size=shape), size


def _images_to_tokens(images, P):
    return ops.images_to_patches_forward(images, P)[0]


def _patches(images, P, tops, lefts):
    return [images[:, top : top + P, left : left + P].reshape(len(images), -1) for top in tops for left in lefts]


def _column_by_column(images, P):
    tokens = _images_to_tokens(images, P)
    across = images.shape[2] // P
    return tokens.reshape(-1, across, *tokens.shape[1:]).swapaxes(0, 1).reshape(tokens.shape)


def _turned(images, P):
    """Each token row by row over the image, but its numbers column by column over the patch."""
    tokens = _images_to_tokens(images, P)
    return tokens.reshape(*tokens.shape[:2], P, P, -1).swapaxes(2, 3).reshape(tokens.shape)


exercise(
    "1.4",
    "Images to tokens",
    "my_images_to_tokens",
    reference=_images_to_tokens,
    cases=_images_and_sizes,
    returns="tokens",
    mistakes=[
        Mistake(
            "Images come first here, (B, S, P*P*channels). Stack the tokens along a new first axis, so that each "
            "entry of the stack holds one token of all images.",
            lambda images, P: _images_to_tokens(images, P).swapaxes(0, 1),
        ),
        Mistake(
            "Tokens go column by column over the image. They should go in reading order: the whole top row of patches "
            "first.",
            _column_by_column,
        ),
        Mistake(
            "The windows overlap: a window starts at every pixel. A patch starts where the last one ended, P pixels "
            "further.",
            lambda images, P: np.stack(
                _patches(images, P, range(images.shape[1] - P + 1), range(images.shape[2] - P + 1))
            ),
        ),
        Mistake(
            "The images are only reshaped, and their pixels are still in the order in which they follow each other in "
            "the image. The rows of a patch are not neighbours in memory: cut first.",
            lambda images, P: images.reshape(-1, len(images), P * P * images.shape[3]),
        ),
        Mistake(
            "The pixels of all images are in one row per token. Only P, P and channels become one axis; the images "
            "keep theirs.",
            lambda images, P: _images_to_tokens(images, P).reshape(-1, len(images) * P * P * images.shape[3]),
        ),
        Mistake(
            "The patches are right, but they are still squares, (S, B, P, P, channels). Turn each into one row of "
            "P*P*channels numbers.",
            lambda images, P: _images_to_tokens(images, P).reshape(-1, len(images), P, P, images.shape[3]),
        ),
        Mistake(
            "The pixels of a patch are written column by column. They should go row by row, as they lie in memory.",
            _turned,
        ),
    ],
)
