"""Exercises of lesson 07: images to patches and back, and the stem as one matrix product."""

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import tokens
from tinymixer.lessons.exercise import Mistake, exercise


def _pixels(generator):
    """y, x, channel, width, channels, P: one where every mistake shows, then anywhere, then a corner."""
    yield 2, 5, 2, 8, 3, 2
    for height, width, channels, size in ((6, 9, 3, 3), (8, 8, 4, 4), (4, 12, 2, 2)):
        y, x, channel = (int(generator.integers(0, high)) for high in (height, width, channels))
        yield y, x, channel, width, channels, size
    yield 7, 7, 0, 8, 1, 4


def _place_of_pixel(y, x, channel, width, channels, P):
    token = (y // P) * (width // P) + x // P
    return token, ((y % P) * P + x % P) * channels + channel


def _place(formula):
    """A mistake in the place only: formula(u, v, channel, channels, P)."""

    def answer(y, x, channel, width, channels, P):
        token, _ = _place_of_pixel(y, x, channel, width, channels, P)
        return token, formula(y % P, x % P, channel, channels, P)

    return answer


def _token(formula):
    """A mistake in the token only: formula(i, j, width, P)."""

    def answer(y, x, channel, width, channels, P):
        _, place = _place_of_pixel(y, x, channel, width, channels, P)
        return formula(y // P, x // P, width, P), place

    return answer


exercise(
    "7.1",
    "Where a pixel goes",
    "my_place_of_pixel",
    reference=_place_of_pixel,
    cases=_pixels,
    returns=("token", "place"),
    mistakes=[
        Mistake(
            "A row of the grid has as many tokens as there are patches across, not as many as there are pixels.",
            _token(lambda i, j, width, P: i * width + j),
        ),
        Mistake(
            "A row of the grid has width / P tokens. P is the size of a patch, not the number of patches in a row.",
            _token(lambda i, j, width, P: i * P + j),
        ),
        Mistake(
            "Rows and columns of the grid are swapped: a step down passes a whole row of tokens, a step to the right "
            "one token.",
            _token(lambda i, j, width, P: j * (width // P) + i),
        ),
        Mistake(
            "Rows and columns of the patch are swapped: a step down passes a whole row of the patch, a step to the "
            "right one pixel.",
            _place(lambda u, v, channel, channels, P: (v * P + u) * channels + channel),
        ),
        Mistake(
            "The channels come one after the other here, each with all its pixels. The channels of a pixel are "
            "neighbours: the channel is the last index.",
            _place(lambda u, v, channel, channels, P: (channel * P + u) * P + v),
        ),
        Mistake(
            "The channel is missing: each pixel takes as many places as there are channels.",
            _place(lambda u, v, channel, channels, P: u * P + v),
        ),
        Mistake(
            "Each pixel takes as many places as there are channels, so a step to the right is more than one place, and "
            "a step down P times that.",
            _place(lambda u, v, channel, channels, P: u * P + v + channel),
        ),
    ],
)


def _images_and_sizes(generator):
    """Images and P: not square with two patch sizes, then as many tokens as images, then one image."""
    for shape, size in (((2, 4, 6, 3), 2), ((4, 6, 6, 2), 3), ((4, 4, 4, 1), 2), ((1, 4, 4, 2), 4)):
        yield generator.normal(size=shape), size


def _images_to_patches(images, P):
    return ops.images_to_patches_forward(images, P)[0]


def _transposed(*axes, images_first=False):
    """Images to patches with another transposition in the middle."""

    def answer(images, P):
        B, height, width, channels = images.shape
        down, across = height // P, width // P
        grid = images.reshape(B, down, P, across, P, channels).transpose(axes)
        first = (B, down * across) if images_first else (down * across, B)
        return grid.reshape(*first, P * P * channels)

    return answer


exercise(
    "7.2",
    "Images to patches",
    "my_images_to_patches",
    reference=_images_to_patches,
    cases=_images_and_sizes,
    returns="patches",
    mistakes=[
        Mistake(
            "Nothing was transposed: a reshape alone leaves the numbers in the order of the images' rows. Bring the "
            "axes into the order i, j, n, u, v, c first.",
            _transposed(0, 1, 2, 3, 4, 5),
        ),
        Mistake(
            "Images come first here, (B, S, P*P*channels). Tokens should come first: the axis n belongs after i and j.",
            _transposed(0, 1, 3, 2, 4, 5, images_first=True),
        ),
        Mistake(
            "The transposition put the images first, and the reshape then read them as tokens. The axis n belongs "
            "after i and j.",
            _transposed(0, 1, 3, 2, 4, 5),
        ),
        Mistake(
            "Here the tokens go column by column over the image. But i, the row of the grid, comes before j.",
            _transposed(3, 1, 0, 2, 4, 5),
        ),
        Mistake(
            "The pixels of each patch are transposed: u, its row, comes before v, its column.",
            _transposed(1, 3, 0, 4, 2, 5),
        ),
        Mistake(
            "The grid and the inside of the patches are swapped: a token takes its pixels from all over the image. "
            "The first axes are i and j (down and across); u and v, of size P, belong to the patch vector.",
            _transposed(2, 4, 0, 1, 3, 5),
        ),
        Mistake(
            "The channels come before the pixels of a patch. They are the last axis of the patch vector.",
            _transposed(1, 3, 0, 5, 2, 4),
        ),
    ],
)


def _gradients_and_caches(generator):
    for images, size in _images_and_sizes(generator):
        patches, cache = ops.images_to_patches_forward(images, size)
        yield generator.normal(size=patches.shape), cache


def _put_back(*axes, images_first=False):
    """The way back with another transposition in the middle."""

    def answer(dpatches, cache):
        (B, height, width, channels), P = cache
        down, across = height // P, width // P
        first = (B, down, across) if images_first else (down, across, B)
        return dpatches.reshape(*first, P, P, channels).transpose(axes).reshape(B, height, width, channels)

    return answer


NOT_TRANSPOSED = (
    "The gradient was only reshaped: its numbers are still in the order of the patches. Split the axes, transpose them "
    "back, then merge."
)

exercise(
    "7.3",
    "Patches to images, backward",
    "my_patches_backward",
    reference=ops.images_to_patches_backward,
    cases=_gradients_and_caches,
    returns="dimages",
    mistakes=[
        Mistake(
            "The transposition of the forward pass is done again. It must be undone: for each axis of the grid "
            "(n, i, u, j, v, c), where is it among (i, j, n, u, v, c)?",
            _put_back(1, 3, 0, 2, 4, 5),
        ),
        Mistake(NOT_TRANSPOSED, _put_back(0, 1, 2, 3, 4, 5)),
        Mistake(NOT_TRANSPOSED, tokens.patches_put_back_without_transposing),
        Mistake(
            "Rows and columns of the grid are swapped: i, the row, belongs in front of u, and j in front of v.",
            tokens.rows_and_columns_of_the_grid_exchanged,
        ),
        Mistake(
            "Each patch lands in its place with its rows and columns swapped: u goes with i, v goes with j.",
            tokens.pixels_of_a_patch_transposed,
        ),
        Mistake(
            "The first axis of dpatches is read as the images. It is the tokens, and splits into down and across.",
            _put_back(0, 1, 3, 2, 4, 5, images_first=True),
        ),
    ],
)


def _stem_inputs(generator):
    """images, kernel, bias: all sizes different, then S = B and F = C, then one image that is a single patch."""
    for shape, size, C in (((2, 4, 6, 3), 2, 5), ((4, 4, 4, 1), 2, 4), ((1, 4, 4, 2), 4, 3)):
        kernel_shape = (size, size, shape[3], C)
        yield generator.normal(size=shape), generator.normal(size=kernel_shape), generator.normal(size=C)


def _stem_with(weight_of):
    """The stem with the weights that weight_of(kernel) makes."""

    def answer(images, kernel, bias):
        patches = _images_to_patches(images, kernel.shape[0])
        return ops.linear_forward(patches, weight_of(kernel), bias)[0]

    return answer


_stem = _stem_with(lambda kernel: kernel.reshape(-1, kernel.shape[3]))

exercise(
    "7.4",
    "The stem as one product",
    "my_stem",
    reference=_stem,
    cases=_stem_inputs,
    returns="tokens",
    mistakes=[
        Mistake(
            "The bias is missing: add it to every token.", lambda images, kernel, bias: _stem(images, kernel, 0 * bias)
        ),
        Mistake(
            "The kernel was reshaped to (C, F) and then transposed. Its last axis is C already, so a plain "
            "reshape to (F, C) keeps every weight in its row.",
            _stem_with(lambda kernel: kernel.reshape(kernel.shape[3], -1).T),
        ),
        Mistake(
            "The kernel was transposed before the reshape, so its rows are no longer in the order (u, v, c) of the "
            "patch vector.",
            _stem_with(lambda kernel: kernel.transpose(3, 0, 1, 2).reshape(-1, kernel.shape[3])),
        ),
        Mistake(
            "All axes of the kernel were reversed (.T), so the rows go channel, column, row. The patch vector goes "
            "row, column, channel.",
            _stem_with(lambda kernel: kernel.T.reshape(kernel.shape[3], -1).T),
        ),
        Mistake(
            "Rows and columns of the kernel are swapped: the patch vector goes row by row over the patch.",
            _stem_with(lambda kernel: kernel.transpose(1, 0, 2, 3).reshape(-1, kernel.shape[3])),
        ),
        Mistake(
            "The kernel is flipped, as in a convolution in mathematics. The lesson's formula does not flip it.",
            _stem_with(lambda kernel: kernel[::-1, ::-1].reshape(-1, kernel.shape[3])),
        ),
        Mistake(
            "Images come first here, (B, S, C). Tokens should come first, as they do in patches.",
            lambda images, kernel, bias: _stem(images, kernel, bias).swapaxes(0, 1),
        ),
        Mistake(
            "The kernel still has four axes, so @ takes its last two as the table. Turn it into one table (F, C).",
            lambda images, kernel, bias: _images_to_patches(images, kernel.shape[0]) @ kernel + bias,
        ),
    ],
)
