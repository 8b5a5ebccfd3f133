"""The numbers of steps to come: drawn for many steps at once, they are those of one step after the other."""

import numpy as np
import pytest

from tinymixer.data import Augmentation
from tinymixer.engines.cuda.image_records import RecordLayout, pack_records
from tinymixer.engines.cuda.staging import draw_step, draw_steps, pack_choices
from tinymixer.engines.engine import Step

SHAPE = (6, 6, 3)
WEAK = Augmentation(2, True, 3)
STRONG = Augmentation(
    2, True, 3, alternate_flip=True, transforms="rotate(20, 0.5) rand_augment erase(0.3, 0.5)", mixup=0.8, cutmix=1.0
)


@pytest.mark.parametrize("share", [slice(None), slice(1, 4)], ids=["alone", "a rank of several"])
@pytest.mark.parametrize("augmentation", [Augmentation(), WEAK, STRONG], ids=["none", "weak", "strong"])
def test_many_steps_at_once_are_one_after_the_other(augmentation, share):
    layout = RecordLayout.of(augmentation, 3)

    def pack(indices, choices):
        if augmentation is STRONG:
            return pack_records(layout, augmentation, indices, choices, 6)
        return pack_choices(indices, choices, 6, augmentation.cutout)

    order = np.random.default_rng(0).permutation(30)
    steps = [Step(order[5 * s : 5 * s + 5], s // 4, s % 4, 0.1 * s, s != 2) for s in range(6)]
    found = draw_steps(steps, augmentation, 7, share, SHAPE, pack)
    for step, numbers in zip(steps, found, strict=True):
        one = draw_step(
            step.indices, augmentation, step.learning_rate, 7, step.epoch, step.step, share, SHAPE, step.mixed
        )
        np.testing.assert_array_equal(numbers.records, pack(one.indices, one.choices))
        np.testing.assert_array_equal(numbers.indices, one.indices)
        np.testing.assert_array_equal(numbers.key, one.key)
        assert (numbers.mix, numbers.learning_rate) == (one.mix, one.learning_rate)
