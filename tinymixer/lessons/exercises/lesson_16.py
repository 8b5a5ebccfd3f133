"""Exercises of lesson 16: more data, more cures."""

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.data.transforms import mixing
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.optim import SGD, WeightAverage, newton_schulz, perturbed
from tinymixer.parameters import Parameters, ParameterSpec

# 16.1 ---------------------------------------------------------------------------------------------------------------


def _partners(count, shift):
    return (np.arange(count) + shift) % count  # (B,)


def _mixed(images, partners, share):
    return mixing.mix_images(images.copy(), images[partners], mixing.Mix(1, share))


def _targets(labels, partners, share, classes, dtype):
    return mixing.mix_targets(labels, labels[partners], classes, mixing.Mix(1, share), dtype)


def _mixup(images, labels, share, shift, classes):
    partners = _partners(len(labels), shift)
    return _mixed(images, partners, share), _targets(labels, partners, share, classes, images.dtype)


def _mixup_cases(generator):
    """images, labels, share, shift, classes: no two alike; partners of one class; float32; a batch of two."""
    for labels, size, share, shift, classes, dtype in (
        ([2, 0, 1, 3, 0], (2, 3, 1), 0.7, 2, 4, "float64"),
        ([1, 1, 0, 2], (2, 2, 2), 0.4, 1, 3, "float64"),
        ([4, 2, 2, 0], (4, 4, 1), 0.85, 3, 5, "float32"),
        ([1, 0], (1, 2, 1), 0.25, 1, 2, "float64"),
    ):
        images = generator.normal(size=(len(labels), *size)).astype(dtype)
        yield images, np.array(labels), share, shift, classes


def _mixed_with(partners_of):
    """mixup with other partners than the right ones: partners_of(B, shift) -> (B,)."""

    def run(images, labels, share, shift, classes):
        partners = partners_of(len(labels), shift)
        return _mixed(images, partners, share), _targets(labels, partners, share, classes, images.dtype)

    return run


def _other_targets(targets_of):
    """mixup with right images and the targets targets_of(labels, partners' labels, share, classes) -> (B, K)."""

    def run(images, labels, share, shift, classes):
        partners = _partners(len(labels), shift)
        targets = targets_of(labels, labels[partners], share, classes)
        return _mixed(images, partners, share), targets.astype(images.dtype)

    return run


def _second_written_over_the_first(labels, partners, share, classes):
    rows, each = np.zeros((len(labels), classes)), np.arange(len(labels))
    rows[each, labels] = share
    rows[each, partners] = 1 - share
    return rows


def _class_numbers_mixed(images, labels, share, shift, classes):
    partners = _partners(len(labels), shift)
    return _mixed(images, partners, share), share * labels + (1 - share) * labels[partners]


def _one_hot(labels, classes):
    return np.eye(classes)[labels]  # (B, K)


exercise(
    "16.1",
    "mixup",
    "my_mixup",
    reference=_mixup,
    cases=_mixup_cases,
    returns=("mixed", "targets"),
    mistakes=[
        Mistake(
            "The shares are exchanged: `share` is what stays an image's own, the partner gets the rest.",
            lambda images, labels, share, shift, classes: _mixup(images, labels, 1 - share, shift, classes),
        ),
        Mistake(
            "Each image is mixed with the one `shift` places before it. Its partner stands `shift` places further on, "
            "and after the last image the count begins again at the first. (np.roll by `shift` moves them "
            "the other way.)",
            _mixed_with(lambda count, shift: _partners(count, -shift)),
        ),
        Mistake(
            "Each image is mixed with its neighbour, whatever `shift` says.",
            _mixed_with(lambda count, shift: _partners(count, 1)),
        ),
        Mistake(
            "The batch was mixed with itself in reverse order. The partner is the image `shift` places further on.",
            _mixed_with(lambda count, shift: np.arange(count)[::-1]),
        ),
        Mistake(
            "np.roll was not told an axis, so that it moved single pixels, over the ends of the images. Whole images "
            "are to be moved, along the first axis.",
            lambda images, labels, share, shift, classes: (
                share * images + (1 - share) * np.roll(images, -shift),
                _mixup(images, labels, share, shift, classes)[1],
            ),
        ),
        Mistake(
            "np.roll was not told an axis, so that it moved single pixels, over the ends of the images, and the other "
            "way. Whole images are to be moved, along the first axis.",
            lambda images, labels, share, shift, classes: (
                share * images + (1 - share) * np.roll(images, shift),
                _mixup(images, labels, share, shift, classes)[1],
            ),
        ),
        Mistake(
            "mixed is right. In targets the shares are exchanged: the own class gets `share`.",
            _other_targets(lambda own, other, share, classes: _targets_of(own, other, 1 - share, classes)),
        ),
        Mistake(
            "mixed is right. Where both images are of one class, the second share was written over the first in "
            "targets. Look at such a row: what must it sum to?",
            _other_targets(_second_written_over_the_first),
        ),
        Mistake(
            "mixed is right. The targets are those of the images before they were mixed. What is the partner's part "
            "in the answer?",
            _other_targets(lambda own, other, share, classes: _one_hot(own, classes)),
        ),
        Mistake(
            "mixed is right. The targets are half and half. They are shared like the pixels.",
            _other_targets(lambda own, other, share, classes: _targets_of(own, other, 0.5, classes)),
        ),
        Mistake(
            "mixed is right. The class numbers themselves were mixed: between class 0 and class 2 lies no class 1. Mix "
            "the rows of probabilities.",
            _other_targets(
                lambda own, other, share, classes: _one_hot(
                    np.rint(share * own + (1 - share) * other).astype(int), classes
                )
            ),
        ),
        Mistake(
            "mixed is right. The class numbers themselves were mixed, and cut to a whole number: between class 0 and "
            "class 2 lies no class 1. Mix the rows of probabilities.",
            _other_targets(
                lambda own, other, share, classes: _one_hot((share * own + (1 - share) * other).astype(int), classes)
            ),
        ),
        Mistake(
            "mixed is right. The class numbers themselves were mixed: between class 0 and class 2 lies no class 1. A "
            "row of probabilities for each image is asked for, with the two shares in their places.",
            _class_numbers_mixed,
        ),
        Mistake(
            "mixed is right. The class with the larger share takes all. Both keep their share: the target is a row of "
            "two probabilities.",
            _other_targets(
                lambda own, other, share, classes: _one_hot(_targets_of(own, other, share, classes).argmax(1), classes)
            ),
        ),
        Mistake(
            "mixed is right. The targets take the labels of other partners than the images did.",
            _other_targets(
                lambda own, other, share, classes: _targets_of(own, np.roll(own, 1), share, classes),
            ),
        ),
    ],
)


def _targets_of(own, other, share, classes):
    return share * _one_hot(own, classes) + (1 - share) * _one_hot(other, classes)


# 16.2 ---------------------------------------------------------------------------------------------------------------


def _mixed_loss(logits, labels, partner_labels, share):
    mix = mixing.Mix(1, share)
    targets = mixing.mix_targets(labels, partner_labels, logits.shape[1], mix, logits.dtype)
    return ops.softmax_cross_entropy(logits, targets)


def _loss_cases(generator):
    """logits, labels, partner_labels, share: sizes all different, a square, float32, one image."""
    for count, classes, share, dtype in (
        (3, 5, 0.7, "float64"),
        (4, 4, 0.2, "float64"),
        (5, 3, 0.55, "float32"),
        (1, 2, 0.9, "float64"),
    ):
        labels, partners = (generator.integers(classes, size=count) for _ in range(2))
        partners[0] = (labels[0] + 1) % classes
        yield (2 * generator.normal(size=(count, classes))).astype(dtype), labels, partners, share


def _of_both(combine):
    """combine((loss, dlogits) of the own labels, the same of the partners', share) -> loss, dlogits."""

    def run(logits, labels, partner_labels, share):
        own, other = ops.softmax_cross_entropy(logits, labels), ops.softmax_cross_entropy(logits, partner_labels)
        return combine(own, other, share)

    return run


def _shared(one, other, share):
    return share * one + (1 - share) * other


exercise(
    "16.2",
    "The loss of a mixed target",
    "my_mixed_loss",
    reference=_mixed_loss,
    cases=_loss_cases,
    returns=("loss", "dlogits"),
    tolerance=3e-6,
    mistakes=[
        Mistake(
            "The shares are exchanged: `share` belongs to the image's own label.",
            _of_both(lambda own, other, share: (_shared(other[0], own[0], share), _shared(other[1], own[1], share))),
        ),
        Mistake(
            "loss is right. In dlogits the shares are exchanged.",
            _of_both(lambda own, other, share: (_shared(own[0], other[0], share), _shared(other[1], own[1], share))),
        ),
        Mistake(
            "The two losses are added, each with full weight. A target of probabilities sums to 1: what are the two "
            "weights?",
            _of_both(lambda own, other, share: (own[0] + other[0], own[1] + other[1])),
        ),
        Mistake(
            "This is the mean of the two losses. The weights are the shares.",
            _of_both(lambda own, other, share: ((own[0] + other[0]) / 2, (own[1] + other[1]) / 2)),
        ),
        Mistake(
            "Only the own label counts. What is the partner's part?",
            _of_both(lambda own, other, share: own),
        ),
        Mistake(
            "The own loss is weighted with `share`, and the partner's is missing.",
            _of_both(lambda own, other, share: (share * own[0], share * own[1])),
        ),
        Mistake(
            "loss is right. dlogits is the gradient for the own labels alone. The gradient is shared like the loss.",
            _of_both(lambda own, other, share: (_shared(own[0], other[0], share), own[1])),
        ),
        Mistake(
            "loss is right. dlogits is the mean of the two gradients. It is shared like the loss.",
            _of_both(lambda own, other, share: (_shared(own[0], other[0], share), (own[1] + other[1]) / 2)),
        ),
        Mistake(
            "loss is right. The two gradients are added, each with full weight: then p is subtracted from twice. The "
            "gradient is shared like the loss.",
            _of_both(lambda own, other, share: (_shared(own[0], other[0], share), own[1] + other[1])),
        ),
        Mistake(
            "The logits were scaled by the shares before the loss. That changes the probabilities; it is the two "
            "losses that are scaled.",
            lambda logits, labels, partner_labels, share: tuple(
                own + other
                for own, other in zip(
                    ops.softmax_cross_entropy(share * logits, labels),
                    ops.softmax_cross_entropy((1 - share) * logits, partner_labels),
                    strict=True,
                )
            ),
        ),
        Mistake(
            "This smooths the own label over all classes. The rest of the target belongs to one class, the partner's.",
            lambda logits, labels, partner_labels, share: ops.softmax_cross_entropy(logits, labels, 1 - share),
        ),
        Mistake(
            "The class numbers themselves were mixed, and a label is a whole number. It is the two losses that are "
            "mixed, each with labels of its own.",
            lambda logits, labels, partner_labels, share: ops.softmax_cross_entropy(
                logits, share * labels + (1 - share) * partner_labels
            ),
        ),
        Mistake(
            "loss is right. dlogits is not divided by the number of images, and the loss is a mean over them.",
            _of_both(
                lambda own, other, share: (
                    _shared(own[0], other[0], share),
                    len(own[1]) * _shared(own[1], other[1], share),
                )
            ),
        ),
    ],
)

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

# 16.5 ---------------------------------------------------------------------------------------------------------------


def _averaged(start, weights, decay):
    """The package's average after each update, (n, size)."""
    parameters = Parameters({"w": ParameterSpec(start.shape, lambda generator, shape: start)}, dtype=start.dtype)
    average, after = WeightAverage(parameters, decay, every=1), []
    for step, current in enumerate(weights):
        parameters["w"][...] = current
        average.step(step + 1)
        after.append(parameters.views_of(average.values)["w"].copy())
    return np.array(after)


def _average(start, weights, decay):
    left = _averaged(np.ones(1), np.zeros((len(weights), 1)), decay)[:, 0]  # what is left of a 1
    return _averaged(start, weights, decay), left


def _average_cases(generator):
    """start, weights, decay: a decay that is soon reached, one that never is, float32, a single update."""
    for updates, size, decay, dtype in (
        (6, 3, 0.05, "float64"),
        (5, 5, 0.9, "float64"),
        (8, 2, 0.1, "float32"),
        (1, 4, 0.5, "float64"),
    ):
        yield generator.normal(size=size).astype(dtype), generator.normal(size=(updates, size)).astype(dtype), decay


def _by_rule(
    decay_of, begin=lambda start, weights: start, mix=lambda average, current, d: d * average + (1 - d) * current
):
    """An average by another rule: decay_of(number of the update from 1, decay)."""

    def run(start, weights, decay):
        average, left, averages, lefts = begin(start, weights), 1.0, [], []
        for number, current in enumerate(weights, 1):
            d = decay_of(number, decay)
            average, left = mix(average, current, d), mix(left, 0.0, d)
            averages.append(average)
            lefts.append(left)
        return np.array(averages).astype(start.dtype), np.array(lefts)

    return run


def _warm(number, decay):
    return min(decay, number / (number + 50))


def _other_left(left_of):
    return lambda start, weights, decay: (
        _averaged(start, weights, decay),
        np.array([left_of(number, decay) for number in range(1, len(weights) + 1)]),
    )


exercise(
    "16.5",
    "An average of weights",
    "my_average",
    reference=_average,
    cases=_average_cases,
    returns=("averages", "left"),
    mistakes=[
        Mistake(
            "The decay comes out the same from the first update on. At first it should be n / (n + 50), with these "
            "brackets, so that the initial weights are soon forgotten.",
            _by_rule(lambda number, decay: decay),
        ),
        Mistake(
            "The updates are counted from 0 here, so the first one forgets everything. Count from 1.",
            _by_rule(lambda number, decay: _warm(number - 1, decay)),
        ),
        Mistake(
            "The larger of the two decays is taken. The warm-up keeps it small at first: take the smaller one.",
            _by_rule(lambda number, decay: max(decay, number / (number + 50))),
        ),
        Mistake(
            "The decay warms up and goes on rising above `decay`: it is the most that an update may keep.",
            _by_rule(lambda number, decay: number / (number + 50)),
        ),
        Mistake(
            "The two factors are exchanged: d belongs to the old average, 1 - d to the new weights.",
            _by_rule(_warm, mix=lambda average, current, d: (1 - d) * average + d * current),
        ),
        Mistake(
            "The new weights come in whole. The two factors must sum to 1, or the average of equal weights would not "
            "be those weights.",
            _by_rule(_warm, mix=lambda average, current, d: d * average + current),
        ),
        Mistake(
            "The average starts from zeros. It starts as a copy of `start`.",
            _by_rule(_warm, begin=lambda start, weights: np.zeros_like(start)),
        ),
        Mistake(
            "The average starts from the weights after the first step. It starts as a copy of `start`, and the first "
            "weights come in by the first update.",
            _by_rule(_warm, begin=lambda start, weights: weights[0]),
        ),
        Mistake(
            "The start is in averages as well, before the first update. Only what comes after an update is asked for, "
            "a row for each row of weights.",
            lambda start, weights, decay: (
                np.concatenate([start[None], _averaged(start, weights, decay)]),
                np.concatenate([[1.0], _average(start, weights, decay)[1]]),
            ),
        ),
        Mistake(
            "Every row of averages is the last one: the same array was kept each time, and then changed in place. Keep "
            "a copy, or make a new array in each update.",
            lambda start, weights, decay: (
                np.repeat(_averaged(start, weights, decay)[-1:], len(weights), axis=0),
                _average(start, weights, decay)[1],
            ),
        ),
        Mistake(
            "averages is right. Each update keeps its own share d of what is left of the start, and these shares "
            "differ: multiply those of all updates so far.",
            _other_left(lambda number, decay: _warm(number, decay) ** number),
        ),
        Mistake(
            "averages is right. This is the share that the last update keeps. What is left of the start after all of "
            "them?",
            _other_left(_warm),
        ),
        Mistake(
            "averages is right. left takes `decay` for every update. While it warms up, an update keeps less.",
            _other_left(lambda number, decay: decay**number),
        ),
        Mistake(
            "averages is right. left is what has come in since the start. What is left is the rest.",
            _other_left(lambda number, decay: 1 - np.prod([_warm(one, decay) for one in range(1, number + 1)])),
        ),
    ],
)

# 16.6 ---------------------------------------------------------------------------------------------------------------


def _newton_schulz_step(x, a, b, c):
    """The package divides by the norm first: with x = n x', the factors a n, b n^3, c n^5 of x' undo that."""
    n = float(np.sqrt(np.sum(x * x)))
    return newton_schulz(x[None], ((a * n, b * n**3, c * n**5),))[0]


def _matrix_cases(generator):
    """x of a norm, a, b, c: wide, tall, square, float32; of norm 1 before the first step, of others before the next."""
    for shape, norm, dtype in (
        ((3, 5), 1.0, "float64"),
        ((5, 2), 1.3, "float64"),
        ((4, 4), 1.7, "float64"),
        ((3, 4), 1.5, "float32"),
    ):
        x = generator.normal(size=shape)
        yield (norm * x / np.sqrt(np.sum(x * x))).astype(dtype), 3.4445, -4.775, 2.0315


def _divided_first(x, a, b, c):
    return _newton_schulz_step(x / np.sqrt(np.sum(x * x)), a, b, c)


def _from_the_other_side(x, a, b, c):
    gram = x.T @ x
    return a * x + (b * gram + c * gram @ gram) @ x


exercise(
    "16.6",
    "A Newton-Schulz step",
    "my_newton_schulz_step",
    reference=_newton_schulz_step,
    cases=_matrix_cases,
    returns="x",
    tolerance=1e-5,
    mistakes=[
        Mistake(
            "These are powers of the elements. The powers here are matrix products: `*` and `**` work on each element "
            "by itself.",
            lambda x, a, b, c: a * x + b * x**3 + c * x**5,
        ),
        Mistake(
            "The square of X X^T was taken element by element. It is a matrix product too.",
            lambda x, a, b, c: a * x + (b * (x @ x.T) + c * (x @ x.T) ** 2) @ x,
        ),
        Mistake(
            "The term with c has X X^T once only. It is squared there.",
            lambda x, a, b, c: a * x + (b * (x @ x.T) + c * (x @ x.T)) @ x,
        ),
        Mistake(
            "The term with c is missing.",
            lambda x, a, b, c: a * x + b * (x @ x.T) @ x,
        ),
        Mistake(
            "The term with b is missing.",
            lambda x, a, b, c: a * x + c * (x @ x.T) @ (x @ x.T) @ x,
        ),
        Mistake(
            "The term a X is missing.",
            lambda x, a, b, c: (b * (x @ x.T) + c * (x @ x.T) @ (x @ x.T)) @ x,
        ),
        Mistake(
            "In the first term stands X without its factor a.",
            lambda x, a, b, c: x + (b * (x @ x.T) + c * (x @ x.T) @ (x @ x.T)) @ x,
        ),
        Mistake(
            "X^T X stands to the left of X, where X X^T belongs. Only one of the two fits the shapes of a matrix that "
            "is not square.",
            _from_the_other_side,
        ),
        Mistake(
            "x was divided by its norm in the step. That is done once, before the first step: from the second on, it "
            "would push the singular values down again.",
            _divided_first,
        ),
        Mistake(
            "The result was divided by its norm once more. That is done once, before the first step, and not here.",
            lambda x, a, b, c: _newton_schulz_step(x, a, b, c) / np.linalg.norm(_newton_schulz_step(x, a, b, c)),
        ),
        Mistake(
            "The products X X^T are not multiplied with X at the end: the result should have the shape of X.",
            lambda x, a, b, c: a * x + b * (x @ x.T) + c * (x @ x.T) @ (x @ x.T),
        ),
    ],
)

# 16.7 ---------------------------------------------------------------------------------------------------------------


def _sam_gradient(gradient_of, weights, rho):
    parameters = Parameters({"w": ParameterSpec(weights.shape, lambda generator, shape: weights)}, dtype=weights.dtype)
    optimizer = SGD(parameters)
    parameters.gradient("w")[...] = gradient_of(parameters["w"].copy())
    with perturbed(optimizer, rho, optimizer.gradient_norm()):
        return gradient_of(parameters["w"].copy())


def _a_gradient(curvatures, minimum=0.0):
    """The gradient of L = sum(c * u^2) / 2 + sum(u^4) / 4, which is c * u + u^3 with u = w - minimum, at w."""

    def gradient_of(weights):
        away = weights - minimum
        return curvatures * away + away**3

    return gradient_of


def _sam_cases(generator):
    """gradient_of, weights, rho: three weights, as many as a larger distance moves, one weight, the minimum itself."""
    for size, rho in ((3, 0.1), (5, 0.5), (1, 0.2)):
        yield _a_gradient(generator.uniform(0.5, 3, size)), generator.normal(size=size), rho
    minimum = generator.normal(size=4)
    yield _a_gradient(generator.uniform(0.5, 3, 4), minimum), minimum.copy(), 0.1


def _at(place):
    """The gradient at place(weights, its gradient, norm, rho)."""

    def run(gradient_of, weights, rho):
        gradient = gradient_of(weights)
        norm = np.sqrt(np.sum(gradient * gradient))
        return gradient_of(place(weights, gradient, norm or 1.0, rho))

    return run


def _without_a_guard(gradient_of, weights, rho):
    gradient = gradient_of(weights)
    with np.errstate(invalid="ignore"):
        return gradient_of(weights + rho * gradient / np.sqrt(np.sum(gradient * gradient)))


exercise(
    "16.7",
    "SAM's gradient",
    "my_sam_gradient",
    reference=_sam_gradient,
    cases=_sam_cases,
    returns="gradient",
    mistakes=[
        Mistake(
            "All is right but where the gradient is zero: there its direction is 0 / 0. No way leads uphill from "
            "there, so the weights stay.",
            _without_a_guard,
        ),
        Mistake(
            "This looks downhill. SAM asks where the loss nearby is largest.",
            _at(lambda w, g, norm, rho: w - rho * g / norm),
        ),
        Mistake(
            "The gradient is not divided by its norm, so that the distance is not rho.",
            _at(lambda w, g, norm, rho: w + rho * g),
        ),
        Mistake(
            "The gradient was divided by the sum of its squares. Its norm is the root of that.",
            _at(lambda w, g, norm, rho: w + rho * g / norm**2),
        ),
        Mistake(
            "The gradient was divided by the norm of the weights. Its own norm makes its length 1.",
            _at(lambda w, g, norm, rho: w + rho * g / (np.sqrt(np.sum(w * w)) or 1.0)),
        ),
        Mistake(
            "Every weight was moved by rho, by the sign of its gradient: then the distance is rho times the root of "
            "their number. Divide by the norm of the whole gradient.",
            _at(lambda w, g, norm, rho: w + rho * np.sign(g)),
        ),
        Mistake(
            "The gradient was divided by the sum of its absolute values. The norm is the root of the sum of squares.",
            _at(lambda w, g, norm, rho: w + rho * g / (np.sum(np.abs(g)) or 1.0)),
        ),
        Mistake(
            "The gradient is taken at the distance alone, not at the weights moved by it.",
            _at(lambda w, g, norm, rho: rho * g / norm),
        ),
        Mistake(
            "This is the gradient at the weights themselves. The second one, uphill of them, is asked for.",
            lambda gradient_of, weights, rho: gradient_of(weights),
        ),
        Mistake(
            "All is right but where the gradient is zero: there a single 0 came back. A gradient has the shape of the "
            "weights, there too.",
            lambda gradient_of, weights, rho: (
                _sam_gradient(gradient_of, weights, rho) if np.any(gradient_of(weights)) else 0
            ),
        ),
        Mistake(
            "All is right but where the gradient is zero: there the weights came back. The gradient is asked for.",
            lambda gradient_of, weights, rho: (
                _sam_gradient(gradient_of, weights, rho) if np.any(gradient_of(weights)) else weights.copy()
            ),
        ),
        Mistake(
            "The weights after a step came back. The gradient is asked for; the step is the optimizer's.",
            lambda gradient_of, weights, rho: weights - _sam_gradient(gradient_of, weights, rho),
        ),
        Mistake(
            "The weights after a step came back. The gradient is asked for; the step is the optimizer's.",
            lambda gradient_of, weights, rho: (
                weights - _sam_gradient(gradient_of, weights, rho) if np.any(gradient_of(weights)) else 0 * weights
            ),
        ),
        Mistake(
            "The moved weights came back. The gradient there is asked for.",
            lambda gradient_of, weights, rho: (
                weights + rho * gradient_of(weights) / (np.sqrt(np.sum(gradient_of(weights) ** 2)) or 1.0)
            ),
        ),
        Mistake(
            "The moved weights came back. The gradient there is asked for.",
            lambda gradient_of, weights, rho: (
                weights + rho * gradient_of(weights) / np.sqrt(np.sum(gradient_of(weights) ** 2))
                if np.any(gradient_of(weights))
                else 0 * weights
            ),
        ),
        Mistake(
            "The two gradients were added up. The first one only shows the way; the update uses the second alone.",
            lambda gradient_of, weights, rho: gradient_of(weights) + _sam_gradient(gradient_of, weights, rho),
        ),
        Mistake(
            "The mean of the two gradients came back. The first one only shows the way; the update uses the second "
            "alone.",
            lambda gradient_of, weights, rho: (gradient_of(weights) + _sam_gradient(gradient_of, weights, rho)) / 2,
        ),
    ],
)
