"""Exercises of lesson 17: published weights and the images that they expect."""

import math
from pathlib import Path

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models import MixerConfig
from tinymixer.pretrained.layouts import find_mixer
from tinymixer.pretrained.naming import authors_shapes
from tinymixer.pretrained.preprocessing import Preprocessing

# 17.1 ---------------------------------------------------------------------------------------------------------------


def _sizes_of(shapes):
    config = find_mixer(shapes, Path("weights.npz")).config
    return (
        config.image_size,
        config.patch_size,
        config.hidden_dim,
        config.tokens_mlp_dim,
        config.channels_mlp_dim,
        config.num_blocks,
        config.parameter_count,
    )


def _file_cases(_generator):
    """The shapes of three files: sizes all different; more than ten blocks; one block of one patch, grey."""
    for image, channels, patch, c, ds, dc, blocks, classes in (
        (12, 3, 4, 10, 5, 14, 3, 7),
        (8, 3, 2, 6, 4, 9, 12, 5),
        (6, 1, 6, 4, 3, 8, 1, 2),
    ):
        sizes = MixerConfig(
            image_size=image, in_channels=channels, patch_size=patch, hidden_dim=c, tokens_mlp_dim=ds,
            channels_mlp_dim=dc, num_blocks=blocks, num_classes=classes,
        )  # fmt: skip
        yield (authors_shapes(sizes),)


def _with_size(place, value):
    """The right sizes but for one: value(shapes, right sizes)."""

    def run(shapes):
        right = _sizes_of(shapes)
        return (*right[:place], value(shapes, right), *right[place + 1 :])

    return run


def _tokens(shapes):
    return shapes["MixerBlock_0/token_mixing/Dense_0/kernel"][0]


exercise(
    "17.1",
    "Sizes from a file's arrays",
    "my_sizes",
    reference=_sizes_of,
    cases=_file_cases,
    returns=("image_size", "P", "C", "DS", "DC", "L", "parameters"),
    mistakes=[
        Mistake(
            "This image size is the number of tokens. S counts all patches of the grid; how many lie side by side, and "
            "how many pixels wide is each?",
            _with_size(0, lambda shapes, _: _tokens(shapes)),
        ),
        Mistake(
            "This image size is P times S. S counts all patches of the grid, not those in one row.",
            _with_size(0, lambda shapes, right: right[1] * _tokens(shapes)),
        ),
        Mistake(
            "This image size counts the patches in a row. Each of them is P pixels wide.",
            _with_size(0, lambda shapes, _: math.isqrt(_tokens(shapes))),
        ),
        Mistake(
            "This image size is the area of the picture in pixels. The side is asked for.",
            _with_size(0, lambda shapes, right: right[1] ** 2 * _tokens(shapes)),
        ),
        Mistake(
            "C is the number of colours here: the stem's kernel is (P, P, colours, C), so C comes last.",
            _with_size(2, lambda shapes, _: shapes["stem/kernel"][2]),
        ),
        Mistake(
            "DS and S have changed places. The authors' kernels are (inputs, outputs), and the first kernel of token "
            "mixing takes tokens in.",
            _with_size(3, lambda shapes, _: _tokens(shapes)),
        ),
        Mistake(
            "This DC is C: the first kernel of channel mixing is (inputs, outputs), and its inputs are the channels.",
            _with_size(4, lambda shapes, right: right[2]),
        ),
        Mistake(
            "L counts the arrays whose names begin with MixerBlock. A block has several arrays: count the different "
            "blocks.",
            _with_size(5, lambda shapes, _: sum(name.startswith("MixerBlock") for name in shapes)),
        ),
        Mistake(
            "L is the highest number of a block. They are numbered from 0.",
            _with_size(5, lambda shapes, right: right[5] - 1),
        ),
        Mistake(
            "L counts blocks by the first digit of their number: with more than ten blocks, 1, 10 and 11 are taken for "
            "one.",
            _with_size(5, lambda shapes, right: min(right[5], 10)),
        ),
        Mistake(
            "The parameters are those of the kernels alone: biases and LayerNorms have some too.",
            _with_size(6, lambda shapes, _: sum(math.prod(s) for name, s in shapes.items() if name.endswith("kernel"))),
        ),
        Mistake(
            "The lengths of each array's axes were added. An array of shape (2, 3) holds 6 numbers.",
            _with_size(6, lambda shapes, _: sum(sum(shape) for shape in shapes.values())),
        ),
        Mistake(
            "The parameters are the number of arrays. How many numbers does each of them hold?",
            _with_size(6, lambda shapes, _: len(shapes)),
        ),
        Mistake(
            "The head is missing in the parameters. The file holds it, so it counts here.",
            _with_size(
                6, lambda shapes, _: sum(math.prod(s) for name, s in shapes.items() if not name.startswith("head"))
            ),
        ),
    ],
)

# 17.2 ---------------------------------------------------------------------------------------------------------------


def _preprocess(pixels, size):
    """As the package does it for weights that want -1..1, where the short side has its length already."""
    half = (0.5,) * pixels.shape[2]
    way = Preprocessing(
        "an exercise", size, "short side", "tf-area", half, half, pixels.shape[2], short_side=min(pixels.shape[:2])
    )
    return way(pixels)


def _picture_cases(generator):
    """Pictures uint8 and a size: wider than high, higher than wide with odd margins, grey, nothing to cut."""
    for shape, size in (((6, 10, 3), 4), ((9, 7, 3), 4), ((8, 6, 1), 3), ((3, 3, 3), 3)):
        pixels = generator.integers(0, 256, size=shape, dtype=np.uint8)
        pixels[0, 0], pixels[-1, -1] = 0, 255
        pixels[shape[0] // 2, shape[1] // 2] = 0
        yield pixels, size


def _cropped(pixels, size, top=None, left=None):
    top = (pixels.shape[0] - size) // 2 if top is None else top
    left = (pixels.shape[1] - size) // 2 if left is None else left
    return pixels[top : top + size, left : left + size]


def _scaled(scale):
    """The right square with another scale(pixels)."""
    return lambda pixels, size: scale(_cropped(pixels, size)).astype(np.float32)


def _cut(place):
    """Another square, place(height, width, size) -> top, left, with the right scale."""

    def run(pixels, size):
        top, left = place(*pixels.shape[:2], size)
        return (_cropped(pixels, size, top, left) / 127.5 - 1).astype(np.float32)

    return run


def _around_the_middle(pixels, size):
    row, column, half = pixels.shape[0] // 2, pixels.shape[1] // 2, size // 2
    return (pixels[row - half : row + half, column - half : column + half] / 127.5 - 1).astype(np.float32)


def _ends_at_size(pixels, size):
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return (pixels[top:size, left:size] / 127.5 - 1).astype(np.float32)


exercise(
    "17.2",
    "From pixels to an input",
    "my_preprocess",
    reference=_preprocess,
    cases=_picture_cases,
    returns="image",
    mistakes=[
        Mistake(
            "The range is 0 to 1. Black should become -1 and white 1.",
            _scaled(lambda pixels: pixels / 255),
        ),
        Mistake(
            "The pixels came back as they are, 0 to 255. Black should become -1 and white 1.",
            _scaled(lambda pixels: pixels),
        ),
        Mistake(
            "The range is -0.5 to 0.5: after the mean, 0.5, is subtracted, the standard deviation, 0.5, divides.",
            _scaled(lambda pixels: pixels / 255 - 0.5),
        ),
        Mistake(
            "The range is 0 to 2: black should become -1.",
            _scaled(lambda pixels: pixels / 127.5),
        ),
        Mistake(
            "White is not quite 1: pixels go from 0 to 255, so their middle is 127.5, not 128.",
            _scaled(lambda pixels: pixels.astype(np.float64) / 128 - 1),
        ),
        Mistake(
            "White is not quite 1: pixels go from 0 to 255, so their middle is 127.5, not 128.",
            _scaled(lambda pixels: (pixels.astype(np.float64) - 128) / 128),
        ),
        Mistake(
            "Pixels below 128 have become white: uint8 has no negative numbers, so 0 - 128 wraps around to 128. Make "
            "floats before you subtract.",
            _scaled(lambda pixels: (pixels - np.uint8(128)) / 127.5),
        ),
        Mistake(
            "Pixels below 128 have become white: uint8 has no negative numbers, so 0 - 127 wraps around to 129. Make "
            "floats before you subtract.",
            _scaled(lambda pixels: (pixels - np.uint8(127)) / 127.5),
        ),
        Mistake(
            "Light and dark have changed places: black should become -1 and white 1.",
            _scaled(lambda pixels: 1 - pixels / 127.5),
        ),
        Mistake(
            "This square is the upper left corner. The central one has as much cut off on either side.",
            _cut(lambda height, width, size: (0, 0)),
        ),
        Mistake(
            "Up and down is right, but the square begins at the left border. Cut as much off on either side.",
            _cut(lambda height, width, size: ((height - size) // 2, 0)),
        ),
        Mistake(
            "Left and right is right, but the square begins at the upper border. Cut as much off above and below.",
            _cut(lambda height, width, size: (0, (width - size) // 2)),
        ),
        Mistake(
            "The margins of height and width have changed places: the first axis runs from top to bottom.",
            _cut(lambda height, width, size: ((width - size) // 2, (height - size) // 2)),
        ),
        Mistake(
            "The square begins in the middle of the picture. Its middle should lie there.",
            _cut(lambda height, width, size: (height // 2, width // 2)),
        ),
        Mistake(
            "Where the margin is odd, the smaller half goes above and to the left: round down.",
            _cut(lambda height, width, size: (-(-(height - size) // 2), -(-(width - size) // 2))),
        ),
        Mistake(
            "Half of `size` is taken to both sides of the middle. Where the size is odd, a row and a column are lost: "
            "add the whole size to the first edge.",
            _around_the_middle,
        ),
        Mistake(
            "The square ends at row and column `size` of the picture. A slice goes from where it begins to where it "
            "begins plus `size`.",
            _ends_at_size,
        ),
        Mistake(
            "The pixels were doubled as uint8, which holds no number above 255: 200 becomes 144. Make floats before "
            "you compute.",
            _scaled(lambda pixels: (pixels * np.uint8(2)) / 255 - 1),
        ),
        Mistake(
            "The picture was scaled by its own mean and deviation. The published weights want the same numbers for "
            "every picture: 0.5 and 0.5, of pixels from 0 to 1.",
            _scaled(lambda pixels: (pixels - pixels.mean()) / pixels.std()),
        ),
    ],
)
