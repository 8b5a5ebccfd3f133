"""tinymixer data preview: the contact sheet and its rows."""

import numpy as np

from tinymixer.analysis.contact_sheet import contact_rows
from tinymixer.data import Augmentation
from tinymixer.data.batches import make_batch
from tinymixer.draws import Draws

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
STRONG = Augmentation(1, True, 2, transforms="rotate(20, 0.4) rand_augment(2, 9)", mixup=0.8, cutmix=1.0)


def test_each_transform_has_a_row_then_all_together_then_the_mixed_ones():
    rows = contact_rows(IMAGES, STRONG)
    titles = [title for title, _ in rows]
    assert titles[:4] == ["as they are", "crop_padding = 1", "flip = True", "cutout = 2"]
    assert titles[4:7] == ["rotate(20, 1)", "rand_augment(2, 9)", "all together"]
    assert titles[7].startswith("mixup, ")
    assert titles[8].startswith("CutMix, ")
    for _, row in rows:
        assert row.shape == IMAGES.shape
        assert row.dtype == np.uint8
    np.testing.assert_array_equal(rows[0][1], IMAGES)
    (training,) = [row for title, row in rows if title == "all together"]
    batch = make_batch(IMAGES, np.arange(4), STRONG, Draws(0, 0, 0, np.arange(4)), [0, 0, 0], [1, 1, 1])
    inside = batch != 0  # cutout has the mean colour, which is another one here
    assert np.abs(training / 255 - batch)[inside].max() < 0.01


def test_without_augmentation_there_are_the_images_alone():
    assert [title for title, _ in contact_rows(IMAGES, Augmentation())] == ["as they are"]


def test_the_command_draws_a_picture(tinymixer, tmp_path):
    outcome = tinymixer("data", "preview", "digits", "--images", 3, "--transforms", "rotate(20) zoom(0.25)")
    assert outcome.code == 0, outcome.err
    assert "4 rows of 3 images" in outcome.out
    assert (tmp_path / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_said_in_a_sentence(tinymixer):
    assert tinymixer("data", "preview", "digits", "--out", "sheet.pdf").is_error("ending in .png")
    assert tinymixer("data", "preview", "digits", "--transforms", "rotat(2)").is_error("Did you mean 'rotate'")
