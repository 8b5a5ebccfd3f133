"""Exercises of lesson 17: the published Mixers, other resolutions, transfer."""

import math
from pathlib import Path

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models import MixerConfig
from tinymixer.models.resolution import block_diagonal, tokens_of_parts
from tinymixer.pretrained.layouts import find_mixer
from tinymixer.pretrained.naming import authors_shapes
from tinymixer.pretrained.preprocessing import Preprocessing
from tinymixer.training.evaluate import accuracy_interval

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

# 17.3 ---------------------------------------------------------------------------------------------------------------


def _reordered(logits, names, wanted):
    return logits[:, [names.index(name) for name in wanted]]


def _name_cases(generator):
    """Logits, their classes, and the order that is wanted: none of the orders is its own opposite."""
    yield generator.normal(size=(3, 4)), ["cat", "dog", "bird", "frog"], ["bird", "cat", "dog", "frog"]
    yield generator.normal(size=(3, 3)), ["b", "c", "a"], ["a", "b", "c"]
    yield generator.normal(size=(2, 5)).astype("float32"), list("edcba"), list("caebd")
    yield generator.normal(size=(2, 4)), ["cat", "dog", "bird", "frog"], ["frog", "cat"]


exercise(
    "17.3",
    "Classes by name",
    "my_in_order",
    reference=_reordered,
    cases=_name_cases,
    returns="logits",
    mistakes=[
        Mistake(
            "The columns went the other way: column k of the result belongs to wanted[k]. In which column of `logits` "
            "does that name stand?",
            lambda logits, names, wanted: logits[:, [wanted.index(name) for name in names if name in wanted]],
        ),
        Mistake(
            "The logits came back in their old order.",
            lambda logits, names, wanted: logits,
        ),
        Mistake(
            "The columns are in alphabetical order of their names, whatever `wanted` says.",
            lambda logits, names, wanted: logits[:, np.argsort(names)],
        ),
        Mistake(
            "The logits of each image were sorted by size, so that nobody knows any more whose they were.",
            lambda logits, names, wanted: np.sort(logits, axis=1),
        ),
        Mistake(
            "These are the right columns, in the order of `names`: choosing by a mask keeps the old order.",
            lambda logits, names, wanted: logits[:, [name in wanted for name in names]],
        ),
        Mistake(
            "This is True where two lists have the same name at the same place, and not the logits.",
            lambda logits, names, wanted: np.array([one == other for one, other in zip(names, wanted, strict=False)]),
        ),
    ],
)

# 17.4 ---------------------------------------------------------------------------------------------------------------

_Z = 1.959963984540054


def _interval_cases(_generator):
    """Right answers, images: few images, all right, one right, ImageNet's number."""
    yield 17, 20
    yield 12, 12
    yield 1, 7
    yield 42_075, 50_000


def _interval(centre, half, scale=True):
    """centre(p, n) - half(p, n) and +, both divided by 1 + z^2 / n where `scale` is True."""

    def run(correct, images):
        p = correct / images
        divisor = 1 + _Z**2 / images if scale else 1
        return (centre(p, images) - half(p, images)) / divisor, (centre(p, images) + half(p, images)) / divisor

    return run


def _right_centre(p, n):
    return p + _Z**2 / (2 * n)


def _right_half(p, n):
    return _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n))


def _ends_at(z, correct, images):
    """Wilson's interval with another z."""
    p, scale = correct / images, 1 + z**2 / images
    half = z * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    return (p + z**2 / (2 * images) - half) / scale, (p + z**2 / (2 * images) + half) / scale


exercise(
    "17.4",
    "Wilson's interval",
    "my_interval",
    reference=accuracy_interval,
    cases=_interval_cases,
    returns=("low", "high"),
    tolerance=1e-4,  # 1.96 will do for z
    mistakes=[
        Mistake(
            "This is p -+ z * sqrt(p (1 - p) / n), which is no interval at all where every answer is right. Solve the "
            "quadratic equation instead: p stands on both sides of it.",
            _interval(lambda p, n: p, lambda p, n: _Z * math.sqrt(p * (1 - p) / n), scale=False),
        ),
        Mistake(
            "The division by 1 + z^2 / n is missing: it is the factor of p^2 in the quadratic equation.",
            _interval(_right_centre, _right_half, scale=False),
        ),
        Mistake(
            "The middle is the measured accuracy itself. It should lie nearer to one half: what is the middle of the "
            "two solutions?",
            _interval(lambda p, n: p, _right_half),
        ),
        Mistake(
            "The middle is the measured accuracy itself. It should lie nearer to one half: what is the middle of the "
            "two solutions?",
            _interval(lambda p, n: p, lambda p, n: _right_half(p, n) / (1 + _Z**2 / n), scale=False),
        ),
        Mistake(
            "Below the root z^2 / (4 n^2) is missing.",
            _interval(_right_centre, lambda p, n: _Z * math.sqrt(p * (1 - p) / n)),
        ),
        Mistake(
            "Below the root stands z^2 / (4 n): n should be squared, too.",
            _interval(_right_centre, lambda p, n: _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n))),
        ),
        Mistake(
            "The middle adds z^2 / n: it should be half of that.",
            _interval(lambda p, n: p + _Z**2 / n, _right_half),
        ),
        Mistake(
            "The root is not multiplied by z.",
            _interval(_right_centre, lambda p, n: _right_half(p, n) / _Z),
        ),
        Mistake(
            "There is no root: a variance was added where a deviation belongs.",
            _interval(_right_centre, lambda p, n: _right_half(p, n) ** 2 / _Z),
        ),
        Mistake(
            "This z is 1.645, beyond which 5 % lie on one side. 5 % on both sides together need 1.96.",
            lambda correct, images: _ends_at(1.645, correct, images),
        ),
        Mistake(
            "The middle and half the width came back. The two ends are asked for.",
            lambda correct, images: (
                sum(accuracy_interval(correct, images)) / 2,
                (accuracy_interval(correct, images)[1] - accuracy_interval(correct, images)[0]) / 2,
            ),
        ),
        Mistake(
            "This is in per cent. Both ends lie between 0 and 1.",
            lambda correct, images: tuple(100 * end for end in accuracy_interval(correct, images)),
        ),
    ],
)

# 17.5 ---------------------------------------------------------------------------------------------------------------


def _grid_cases(_generator):
    """A part's height and width, K: a grid higher than wide, a square one, one row, a factor of 1."""
    yield from ((3, 2, 2), (2, 2, 2), (1, 3, 3), (2, 3, 1))


def _numbers(height, width, K):
    return np.arange(K * height * K * width).reshape(K, height, K, width)


exercise(
    "17.5",
    "The tokens of the parts",
    "my_parts",
    reference=lambda height, width, K: tokens_of_parts((height, width), K),
    cases=_grid_cases,
    returns="parts",
    mistakes=[
        Mistake(
            "These are tokens that follow each other in number. A row of the large grid runs through several parts: "
            "after the first `width` tokens of a row, the next part begins.",
            lambda height, width, K: np.arange(K * K * height * width).reshape(K * K, height * width),
        ),
        Mistake(
            "Each part is spread over the whole grid, every K-th token of it. A part is a piece of the picture: its "
            "tokens lie side by side.",
            lambda height, width, K: (
                np.arange(K * height * K * width)
                .reshape(height, K, width, K)
                .transpose(1, 3, 0, 2)
                .reshape(K * K, height * width)
            ),
        ),
        Mistake(
            "The parts go column by column. They should go row by row, as the tokens do.",
            lambda height, width, K: _numbers(height, width, K).transpose(2, 0, 1, 3).reshape(K * K, height * width),
        ),
        Mistake(
            "Within a part the tokens go column by column. They should go row by row.",
            lambda height, width, K: _numbers(height, width, K).transpose(0, 2, 3, 1).reshape(K * K, height * width),
        ),
        Mistake(
            "Going down by one row adds `width` to the number here, as in the small grid. A row of the large grid has "
            "K times as many tokens.",
            lambda height, width, K: np.array(
                [
                    [
                        (down * height + row) * width + across * width + column
                        for row in range(height)
                        for column in range(width)
                    ]
                    for down in range(K)
                    for across in range(K)
                ]
            ),
        ),
        Mistake(
            "Every part has the numbers of the first one. Where does the upper left token of the others stand?",
            lambda height, width, K: np.tile(tokens_of_parts((height, width), K)[0], (K * K, 1)),
        ),
        Mistake(
            "The axes have changed places: a row for each part is asked for.",
            lambda height, width, K: tokens_of_parts((height, width), K).T,
        ),
    ],
)

# 17.6 ---------------------------------------------------------------------------------------------------------------


def _expanded(weight1, weight2, grid, K):
    fits = block_diagonal(grid, K)
    return fits["weight1"](weight1), fits["weight2"](weight2)


def _expansion_cases(generator):
    """weight1 (DS, S), weight2 (S, DS), grid, K: sizes all different, as many units as tokens, float32, K = 1."""
    for units, grid, factor, dtype in (
        (4, (3, 2), 2, "float64"),
        (4, (2, 2), 2, "float64"),
        (2, (1, 2), 3, "float32"),
        (3, (2, 2), 1, "float64"),
    ):
        tokens = grid[0] * grid[1]
        weight1, weight2 = (generator.normal(size=size).astype(dtype) for size in ((units, tokens), (tokens, units)))
        yield weight1, weight2, grid, factor


def _placed(rows1, filled=lambda one, other: one == other, factor=lambda K: 1.0):
    """Blocks at the tokens of rows1(parts), wherever `filled` for two parts, times factor(K)."""

    def run(weight1, weight2, grid, K):
        parts = rows1(tokens_of_parts(grid, K))
        units = np.arange(len(parts) * len(weight1)).reshape(len(parts), -1)
        large1 = np.zeros((units.size, parts.size), weight1.dtype)
        large2 = np.zeros((parts.size, units.size), weight1.dtype)
        for one in range(len(parts)):
            for other in range(len(parts)):
                if filled(one, other):
                    large1[np.ix_(units[one], parts[other])] = weight1 * weight1.dtype.type(factor(K))
                    large2[np.ix_(parts[other], units[one])] = weight2 * weight1.dtype.type(factor(K))
        return large1, large2

    return run


def _consecutive(parts):
    return np.arange(parts.size).reshape(parts.shape)


def _second_from(first, second):
    """weight1 by one way, weight2 by another."""
    return lambda *inputs: (first(*inputs)[0], second(*inputs)[1])


exercise(
    "17.6",
    "Block-diagonal token mixing",
    "my_block_diagonal",
    reference=_expanded,
    cases=_expansion_cases,
    returns=("weight1", "weight2"),
    mistakes=[
        Mistake(
            "The blocks stand at tokens that follow each other in number, which do not lie in one part of the picture. "
            "Use the parts' tokens.",
            _placed(_consecutive),
        ),
        Mistake(
            "Every part is connected with every other. Each should be mixed alone, with zeros between different parts.",
            _placed(lambda parts: parts, filled=lambda one, other: True),
        ),
        Mistake(
            "The old matrix is repeated everywhere, so that every part is connected with every other. Each should be "
            "mixed alone, with zeros between different parts.",
            _placed(_consecutive, filled=lambda one, other: True),
        ),
        Mistake(
            "The weights were divided by the number of parts. Each part should be mixed exactly as before.",
            _placed(lambda parts: parts, factor=lambda K: 1 / K**2),
        ),
        Mistake(
            "Only the first part has weights. Each of them gets a copy.",
            _placed(lambda parts: parts, filled=lambda one, other: one == other == 0),
        ),
        Mistake(
            "weight1 is right. In weight2 the blocks stand at rows that follow each other in number: its rows are "
            "tokens, so they go by the parts, too.",
            _second_from(_expanded, _placed(_consecutive)),
        ),
        Mistake(
            "weight1 is right, and weight2 is its transpose. Its blocks are copies of the old weight2.",
            lambda weight1, weight2, grid, K: (
                _expanded(weight1, weight2, grid, K)[0],
                np.ascontiguousarray(_expanded(weight1, weight2, grid, K)[0].T),
            ),
        ),
    ],
)

# 17.7 ---------------------------------------------------------------------------------------------------------------

_NAMES = (
    "stem.weight",
    "blocks.0.token_mixing.weight1",
    "pre_head_layer_norm.scale",
    "head.weight",
    "head.bias",
)


def _start(trained, fresh):
    return {name: np.zeros_like(fresh[name]) if name.startswith("head.") else trained[name] for name in fresh}


def _call_start(function, trained, fresh):
    """The names that came back, then the arrays by name, then which of the two dictionaries it has written to."""
    given = {"trained": (trained, dict(trained)), "fresh": (fresh, dict(fresh))}
    made = function(*(copy for _, copy in given.values()))
    written = [
        which
        for which, (before, after) in given.items()
        if list(before) != list(after) or any(before[name] is not after[name] for name in before)
    ]
    return (", ".join(sorted(made)), *(made.get(name, 0.0) for name in _NAMES), " and ".join(written) or "nothing")


def _arrays(generator, classes):
    shapes = ((4, 5), (3, 4), (5,), (5, classes), (classes,))
    return {name: generator.normal(size=shape) for name, shape in zip(_NAMES, shapes, strict=True)}


def _start_cases(generator):
    """Trained arrays and new ones: other numbers of classes; as many classes, which are others."""
    yield _arrays(generator, 6), _arrays(generator, 2)
    yield _arrays(generator, 3), _arrays(generator, 3)


def _written_to(which):
    """A right answer that is made in one of its inputs."""

    def run(trained, fresh):
        made = _start(trained, fresh)
        given = {"trained": trained, "fresh": fresh}[which]
        given.update(made)
        return given

    return run


def _with_head(head):
    return lambda trained, fresh: {
        name: head(trained, fresh, name) if name.startswith("head.") else trained[name] for name in fresh
    }


exercise(
    "17.7",
    "A new head",
    "my_start",
    reference=_start,
    cases=_start_cases,
    returns=("names", *_NAMES, "changed"),
    call=_call_start,
    mistakes=[
        Mistake(
            "Where the number of classes is the same, the old head was kept: its shape fits, but its columns belong to "
            "other classes. The head is new in any case.",
            _with_head(
                lambda trained, fresh, name: (
                    trained[name] if trained[name].shape == fresh[name].shape else np.zeros_like(fresh[name])
                )
            ),
        ),
        Mistake(
            "Where the number of classes is the same, the old head was kept: its shape fits, but its columns belong to "
            "other classes. The head is new in any case.",
            _with_head(
                lambda trained, fresh, name: trained[name] if trained[name].shape == fresh[name].shape else fresh[name]
            ),
        ),
        Mistake(
            "The head is the old one. It has as many columns as there were classes, and belongs to those.",
            _with_head(lambda trained, fresh, name: trained[name]),
        ),
        Mistake(
            "The head has the old number of classes. How many the new one has, `fresh` says.",
            _with_head(lambda trained, fresh, name: np.zeros_like(trained[name])),
        ),
        Mistake(
            "The head is the random one of `fresh`. It should start at zero, so that the first loss is log K.",
            _with_head(lambda trained, fresh, name: fresh[name]),
        ),
        Mistake(
            "The weight of the head is zero, but its bias is not: both belong to the head.",
            _with_head(
                lambda trained, fresh, name: np.zeros_like(fresh[name]) if name == "head.weight" else fresh[name]
            ),
        ),
        Mistake(
            "The weight of the head is zero, but its bias is still the old one: both belong to the head.",
            _with_head(
                lambda trained, fresh, name: np.zeros_like(fresh[name]) if name == "head.weight" else trained[name]
            ),
        ),
        Mistake(
            "The scale of `pre_head_layer_norm` is not the trained one. That LayerNorm stands before the head and "
            "belongs to the body: look at how the names begin.",
            lambda trained, fresh: {
                name: np.zeros_like(fresh[name]) if "head" in name else trained[name] for name in fresh
            },
        ),
        Mistake(
            "`pre_head_layer_norm` is missing in what came back. That LayerNorm stands before the head and belongs to "
            "the body: look at how the names begin.",
            lambda trained, fresh: {
                name: array for name, array in _start(trained, fresh).items() if not name.startswith("pre_head")
            },
        ),
        Mistake(
            "The arrays are right, but they were written into `trained`, and whoever passed it still needs the old "
            "head: begin with a dictionary of your own.",
            _written_to("trained"),
        ),
        Mistake(
            "The arrays are right, but they were written into `fresh`, which belongs to the caller: begin with a "
            "dictionary of your own.",
            _written_to("fresh"),
        ),
        Mistake(
            "Nothing of what was trained is left: this starts from scratch.",
            lambda trained, fresh: {
                name: np.zeros_like(fresh[name]) if name.startswith("head.") else fresh[name] for name in fresh
            },
        ),
        Mistake(
            "Everything is zero. Only the head should be.",
            lambda trained, fresh: {name: np.zeros_like(fresh[name]) for name in fresh},
        ),
        Mistake(
            "The head is missing in what came back. The new model needs all of its arrays.",
            lambda trained, fresh: {name: trained[name] for name in fresh if not name.startswith("head.")},
        ),
        Mistake(
            "The head is filled with ones. It should start at zero.",
            _with_head(lambda trained, fresh, name: np.ones_like(fresh[name])),
        ),
    ],
)
