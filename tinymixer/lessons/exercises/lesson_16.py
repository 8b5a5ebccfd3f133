"""Exercises of lesson 16: mixup."""

import numpy as np

from tinymixer import ops
from tinymixer.data.transforms import mixing
from tinymixer.lessons.exercise import Mistake, exercise

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
