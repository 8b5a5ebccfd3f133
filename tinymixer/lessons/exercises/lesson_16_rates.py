"""Exercises of lesson 16: CutMix's box, and a ramp of rates."""

import numpy as np

from tinymixer import MixerConfig, MlpMixer
from tinymixer.data.transforms import mixing
from tinymixer.lessons.exercise import Mistake, exercise

# 16.3 ---------------------------------------------------------------------------------------------------------------


def _cutmix_box(share, row, column, height, width):
    mix = mixing.box_mix(1, share, (row + 0.5) / height, (column + 0.5) / width, height, width)
    assert mix.box is not None
    return (*mix.box, mix.share)


def _box_cases(generator):
    """share, row, column, height, width: inside, cut off on each side, nothing to cut, nearly everything."""
    yield 0.75, 4, 6, 8, 12
    yield 0.5, 1, 2, 8, 12
    yield 0.4, 8, 6, 9, 7
    yield 0.6, 3, 0, 8, 8
    yield 1.0, 2, 5, 6, 8
    yield 0.05, 5, 3, 10, 6
    yield 0.9, 0, 7, 8, 8


def _from_edges(height, width, top, bottom, left, right):
    return top, bottom, left, right, 1 - (bottom - top) * (right - left) / (height * width)


def _box(
    share, row, column, height, width, *,
    side=lambda share: (1 - share) ** 0.5, cut=True, moved=False, half=True, last=0, whole=round,
):  # fmt: skip
    """The box and the share that stays, with one thing done in another way."""
    edges = []
    for centre, length in ((row, height), (column, width)):
        size = whole(side(share) * length)
        first = centre - (size // 2 if half else 0)
        end = (max(first, 0) if moved else first) + size - last
        edges += [max(first, 0), min(end, length)] if cut else [first, end]
    return _from_edges(height, width, *edges)


def _whole_box(share, row, column, height, width):
    return _box(share, row, column, height, width, cut=False)


def _cut_on_two_sides(share, row, column, height, width):
    top, bottom, left, right, _ = _whole_box(share, row, column, height, width)
    return _from_edges(height, width, max(top, 0), bottom, max(left, 0), right)


def _with_true_halves(share, row, column, height, width):
    edges = []
    for centre, length in ((row, height), (column, width)):
        size = round((1 - share) ** 0.5 * length)
        edges += [max(centre - size / 2, 0), min(centre - size / 2 + size, length)]
    return _from_edges(height, width, *edges)


def _cut_too_early(share, row, column, height, width):
    top, bottom, left, right, _ = _box(share, row, column, height, width)
    return _from_edges(height, width, top, min(bottom, height - 1), left, min(right, width - 1))


def _two_halves(share, row, column, height, width):
    edges = []
    for centre, length in ((row, height), (column, width)):
        half = round((1 - share) ** 0.5 * length) // 2
        edges += [max(centre - half, 0), min(centre + half, length)]
    return _from_edges(height, width, *edges)


def _kept_share(share_of):
    """The right box with another share."""
    return lambda *inputs: (*_box(*inputs)[:4], share_of(*inputs))


def _other_lengths(share, row, column, height, width):
    """The sides taken from each other's length."""
    edges = []
    for centre, length, other in ((row, height, width), (column, width, height)):
        size = round((1 - share) ** 0.5 * other)
        edges += [max(centre - size // 2, 0), min(centre - size // 2 + size, length)]
    return _from_edges(height, width, *edges)


exercise(
    "16.3",
    "CutMix: the box and its share",
    "my_cutmix_box",
    reference=_cutmix_box,
    cases=_box_cases,
    returns=("top", "bottom", "left", "right", "share"),
    mistakes=[
        Mistake(
            "The box is right, and the share is the one that was drawn. Where the border cuts the box off, less was "
            "pasted than planned: count the pixels that were really replaced.",
            _kept_share(lambda share, *rest: share),
        ),
        Mistake(
            "The box is right. The share is that of the whole box, before the border cut it off.",
            _kept_share(lambda *inputs: _whole_box(*inputs)[4]),
        ),
        Mistake(
            "The box is right, and its share of the image came back. `share` is what stays the image's own: the rest.",
            _kept_share(lambda *inputs: 1 - _box(*inputs)[4]),
        ),
        Mistake(
            "The box is right. Its area was divided by the drawn share or by something else than all pixels of the "
            "image: the share of the box is its area over height times width.",
            _kept_share(
                lambda share, row, column, height, width: (
                    1 - (1 - _box(share, row, column, height, width)[4]) * width / height
                )
            ),
        ),
        Mistake(
            "The sides are 1 - share of the image's, so the area is the square of that. Which side gives the area "
            "1 - share?",
            lambda *inputs: _box(*inputs, side=lambda share: 1 - share),
        ),
        Mistake(
            "The box has the area that should stay. `share` stays the image's own; the box takes the rest.",
            lambda *inputs: _box(*inputs, side=lambda share: share**0.5),
        ),
        Mistake(
            "The box was pushed back into the image, not cut off: it begins at the border and is still as long as "
            "planned. Compute both edges first, then limit each of them.",
            lambda *inputs: _box(*inputs, moved=True),
        ),
        Mistake(
            "The box reaches over the border. Limit its edges: the first to 0, the one after the last to the length.",
            _whole_box,
        ),
        Mistake(
            "The box is cut off above and to the left only. Below and to the right, too, it may reach over the border.",
            _cut_on_two_sides,
        ),
        Mistake(
            "The sides were cut to whole numbers. They are rounded: 5.66 rows are 6.",
            lambda *inputs: _box(*inputs, whole=int),
        ),
        Mistake(
            "The box reaches half of its size before the centre and half behind. Where the size is odd, the two halves "
            "leave a row out: add the whole size to the first edge.",
            _two_halves,
        ),
        Mistake(
            "Half of a size need not be a whole number, and edges are whole pixels: divide by 2 and leave out the "
            "rest.",
            _with_true_halves,
        ),
        Mistake(
            "The box is cut off one pixel too early. `bottom` and `right` are one further than the last row and "
            "column, as in a slice, so they may be as large as height and width.",
            _cut_too_early,
        ),
        Mistake(
            "The box begins at the centre. Half of its size lies before it.", lambda *inputs: _box(*inputs, half=False)
        ),
        Mistake(
            "The last row and column belong to the box here. As in a slice, `bottom` and `right` are one further.",
            lambda *inputs: _box(*inputs, last=1),
        ),
        Mistake(
            "The box's height was taken from the image's width, and its width from the height: each side is a share "
            "of its own length.",
            _other_lengths,
        ),
    ],
)

# 16.4 ---------------------------------------------------------------------------------------------------------------


def _ramp(num_blocks, drop_path):
    config = MixerConfig(
        image_size=4, in_channels=1, patch_size=2, hidden_dim=2, tokens_mlp_dim=2, channels_mlp_dim=2,
        num_blocks=num_blocks, num_classes=2, drop_path=drop_path,
    )  # fmt: skip
    rates = np.array([block.drop_path for block in MlpMixer(config).blocks])  # (L,)
    return rates, float(2 * np.sum(1 - rates))


def _ramp_cases(generator):
    yield 4, 0.3
    yield 12, 0.1
    yield 2, 0.25
    yield 1, 0.2


def _with_rates(rates_of):
    """A ramp with other rates: rates_of(L, rate of the last block) -> (L,)."""

    def run(num_blocks, drop_path):
        rates = np.asarray(rates_of(num_blocks, drop_path), float)
        return rates, float(2 * np.sum(1 - rates))

    return run


def _other_count(count_of):
    return lambda num_blocks, drop_path: (
        _ramp(num_blocks, drop_path)[0],
        float(count_of(_ramp(num_blocks, drop_path)[0])),
    )


def _nan_for_one_block(num_blocks, drop_path):
    if num_blocks == 1:
        return np.array([np.nan]), np.nan
    return _ramp(num_blocks, drop_path)


exercise(
    "16.4",
    "A ramp of rates",
    "my_ramp",
    reference=_ramp,
    cases=_ramp_cases,
    returns=("rates", "branches"),
    mistakes=[
        Mistake(
            "The first block's rate is not 0. Blocks counted from 0 to L - 1: which quotient is 0 at the first and 1 "
            "at the last?",
            _with_rates(lambda blocks, rate: rate * np.arange(1, blocks + 1) / blocks),
        ),
        Mistake(
            "The last block does not reach `drop_path`: L blocks have L - 1 steps between them.",
            _with_rates(lambda blocks, rate: rate * np.arange(blocks) / blocks),
        ),
        Mistake("Every block has the same rate. It rises from 0 to `drop_path`.", _with_rates(lambda n, r: [r] * n)),
        Mistake(
            "Every block but the first has the same rate. They rise along a line from 0 to `drop_path`.",
            _with_rates(lambda blocks, rate: [0.0] + [rate] * (blocks - 1)),
        ),
        Mistake(
            "The rates fall. The first block, which all others need, is never dropped.",
            _with_rates(lambda blocks, rate: rate * np.arange(blocks)[::-1] / max(blocks - 1, 1)),
        ),
        Mistake(
            "All is right but for a single block: it is the first one, and its rate is 0.",
            _with_rates(
                lambda blocks, rate: [rate] if blocks == 1 else rate * np.arange(blocks) / (blocks - 1),
            ),
        ),
        Mistake(
            "All is right but for a single block, where this divides by zero. That block is the first one, and its "
            "rate is 0.",
            _nan_for_one_block,
        ),
        Mistake(
            "rates is right. A block has two branches, and each is dropped by itself.",
            _other_count(lambda rates: np.sum(1 - rates)),
        ),
        Mistake(
            "rates is right. This is how many branches are left out on average. How many are computed?",
            _other_count(lambda rates: 2 * np.sum(rates)),
        ),
        Mistake(
            "rates is right. The branches of the whole stack are counted as if each had the last block's rate.",
            _other_count(lambda rates: 2 * len(rates) * (1 - rates[-1])),
        ),
        Mistake(
            "rates is right. The probabilities were multiplied, which gives the chance that nothing is dropped at all. "
            "The mean of a sum is the sum of the means.",
            _other_count(lambda rates: np.prod(1 - rates) ** 2),
        ),
    ],
)
