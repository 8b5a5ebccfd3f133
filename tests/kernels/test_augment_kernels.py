"""Strong augmentation and mixing by kernels, held to the host's arrays: emulated, and on a GPU."""

import re

import numpy as np
import pytest

from tests.kernels.calls import Call, i32, widths
from tests.kernels.formats import NUMBERS, assert_close, unpacked
from tinymixer import ops
from tinymixer.data import Augmentation
from tinymixer.data.batches import mean_colour, training_batch
from tinymixer.data.transforms import colour, pipeline
from tinymixer.data.transforms.catalogue import POLICY_TRANSFORMS, TRANSFORMS, Colour
from tinymixer.data.transforms.mixing import draw_mix
from tinymixer.draws import Draws
from tinymixer.engines.cuda.device_batch import pack_blank
from tinymixer.engines.cuda.image_records import MIX, OPERATIONS, RecordLayout, pack_mix, pack_records
from tinymixer.engines.cuda.staging import draw_step
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import source

ALL = " ".join(f"{name}({kind.usual}, 0.6)" for name, kind in TRANSFORMS.items())
MEAN, STD = (0.45, 0.5, 0.55), (0.2, 0.25, 0.3)
WEAK = ({"crop_padding": 2, "flip": True, "cutout": 3}, {"flip": True, "alternate_flip": True}, {"crop_padding": 3}, {})
LABELS = np.arange(9) % 4


def augmented(augmentation, images=4, size=6, channels=3, seed=0, epoch=0, mixed=False, share=slice(None)):
    """What the kernel makes of drawn images of a data set, and what the host makes of them: (n, size, size, channels).

    Returns also the call, the guarded images and the step's numbers.
    """
    call = Call(seed)
    pixels = call.rng.integers(0, 256, (9, size, size, channels)).astype(np.uint8)
    pixels[0], pixels[1] = 255, 0
    indices = call.rng.permutation(9)[:images]
    mean, std = np.array(MEAN[:channels]), np.array(STD[:channels])
    numbers = draw_step(indices, augmentation, 0.1, seed, epoch, 0, share, pixels.shape[1:], mixed)
    draws = Draws(seed, epoch, 0, np.arange(images))
    wanted, targets = training_batch(pixels, LABELS, indices, share, augmentation, draws, mean, std, 4, mixed)
    layout = RecordLayout.of(augmentation, channels)
    records = pack_records(layout, augmentation, numbers.indices, numbers.choices, size)
    rows, own = len(records), len(wanted)
    blank = pack_blank(mean_colour(mean), mean, std, channels, bool(augmentation.uses))
    out, scratch = (call.output((rows, size, size, channels), "float") for _ in range(2))
    mix = call.input(pack_mix(numbers.mix))
    call.run("augment_images<float>", layouts.per_image(rows), call.input(pixels), call.input(records),
             call.input(blank), mix, out, scratch, i32(size), i32(channels), i32(own), i32(layout.words),
             i32(layout.boxes), i32(layout.operations), i32(layout.amounts))  # fmt: skip
    return call, out, mix, numbers, wanted, targets


def assert_the_hosts_images(augmentation, **options):
    _, out, _, _, wanted, _ = augmented(augmentation, **options)
    assert np.isfinite(out.array).all()
    np.testing.assert_allclose(out.array, wanted, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", [*TRANSFORMS, "rand_augment", "trivial_augment"])
def test_each_transform_gives_the_hosts_images(name):
    for seed, weak in enumerate(WEAK):
        assert_the_hosts_images(Augmentation(transforms=name, **weak), seed=seed, epoch=seed)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("weak", WEAK, ids=", ".join)
def test_all_transforms_together_give_the_hosts_images(weak):
    everything = Augmentation(transforms=f"{ALL} rand_augment(3, 20) sharpness contrast erase", **weak)
    assert_the_hosts_images(everything, images=7, size=8, seed=5, epoch=1)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("size", "channels"), [(1, 3), (2, 1), (3, 4), (5, 2), (17, 3)])
def test_odd_sizes_and_colours(size, channels, monkeypatch):
    monkeypatch.setattr("tests.kernels.test_augment_kernels.MEAN", (0.45, 0.5, 0.55, 0.6))
    monkeypatch.setattr("tests.kernels.test_augment_kernels.STD", (0.2, 0.25, 0.3, 0.35))
    assert_the_hosts_images(Augmentation(transforms=ALL), size=size, channels=channels)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("share", [slice(None), slice(2, 4)], ids=["alone", "a rank of several"])
@pytest.mark.parametrize("mixing", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}], ids=", ".join)
def test_patches_of_mixed_images(number, share, mixing):
    augmentation = Augmentation(crop_padding=2, flip=True, cutout=3, **mixing)
    for seed, mixed in ((1, True), (2, True), (3, False)):
        call, images, mix, numbers, wanted, targets = augmented(
            augmentation, 6, 8, seed=seed, mixed=mixed, share=share
        )  # fmt: skip
        count, rows, shift = len(wanted), len(numbers.indices), int(mix.array.view(MIX)["shift"][0])
        assert rows == (count if share == slice(None) else 2 * count)
        assert (targets.ndim == 2) == mixed == (shift > 0)
        first, part = 1, count - 1  # a part of the batch
        partners = (np.arange(rows, dtype=np.int32) + shift) % rows
        cut = ops.images_to_windows_forward(wanted[first:].astype(np.float64), 4, seed)[0]  # (S, part, features)
        patches = call.output(cut.shape, number)
        v, every = widths(number, cut.shape[-1]), cut.shape[0] * part
        call.run(f"mix_patches<{number}, {v}>", layouts.patch_rows(every, cut.shape[-1], v), call.input(images.array),
                 call.input(partners[first:count].astype(np.int32)), mix, patches, i32(8), i32(3), i32(4), i32(seed),
                 i32(first), i32(part), i32(every))  # fmt: skip
        assert_close(unpacked(patches.array, number), cut, number, 8)
        if mixed and share == slice(None):
            labels = LABELS[numbers.indices]
            record = mix.array.view(MIX)[0]
            rows_of = record["target_own"] * np.eye(4)[labels] + record["target_partner"] * np.eye(4)[labels[partners]]
            np.testing.assert_allclose(rows_of, targets, atol=1e-7)


def test_a_rank_finds_the_partners_of_the_whole_batch():
    augmentation, indices = Augmentation(flip=True, mixup=1.0), np.arange(100, 106)
    mix = draw_mix(1.0, 0.0, 6, 8, 8, 4, 1, 2)
    whole = draw_step(indices, augmentation, 0.1, 4, 1, 2, shape=(8, 8, 3))
    for share in (slice(0, 2), slice(2, 6)):
        part = draw_step(indices, augmentation, 0.1, 4, 1, 2, share, (8, 8, 3))
        own = np.arange(6)[share]
        both = np.concatenate([own, (own + mix.shift) % 6])
        np.testing.assert_array_equal(part.indices, indices[both])
        np.testing.assert_array_equal(part.choices.flip, whole.choices.flip[both])
        assert (part.mix.shift, part.mix.share) == (len(own), mix.share)
        plain = draw_step(indices, augmentation, 0.1, 4, 1, 2, share, (8, 8, 3), mixed=False)
        np.testing.assert_array_equal(plain.indices, indices[np.concatenate([own, own])])
        assert plain.mix is None


def test_python_and_cuda_agree_on_operations_and_fields():
    listed = re.search(r"enum ColourOperation \{(.*?)\}", source("augment.cu"), re.S).group(1)
    assert [word.strip().lower() for word in listed.split(",")] == ["no_operation", *OPERATIONS]
    assert set(OPERATIONS) == {name for name, kind in TRANSFORMS.items() if isinstance(kind, Colour)}
    body = re.search(r"struct Mix \{(.*?)\};", source("common.cuh"), re.S).group(1)
    found = [
        (name.strip(), np.dtype({"int": np.int32, "float": np.float32}[kind]))
        for kind, names in re.findall(r"^\s*(int|float) ([\w, ]+);", body, re.M)
        for name in names.split(",")
    ]
    assert found == [(name, MIX[name]) for name in MIX.names]


def test_a_record_has_room_for_all_that_a_list_can_draw():
    augmentation = Augmentation(cutout=4, transforms=f"{ALL} rand_augment(11, 30) trivial_augment erase channel_offset")
    layout = RecordLayout.of(augmentation, 3)
    drawn = pipeline.draw(augmentation.uses, Draws(0, 0, 0, np.arange(300)), 8, 8, 3)
    colours = np.bincount(np.concatenate([images for _, images, _ in drawn.colour]), minlength=300)
    assert len(POLICY_TRANSFORMS) - 8 < colours.max() <= layout.operations
    assert len(drawn.boxes) + 1 == layout.boxes == 4
    assert layout.amounts == 3
    assert RecordLayout.of(Augmentation(mixup=1.0), 3).words == 7


def test_the_mean_grey_does_not_depend_on_the_order_of_the_pixels():
    images = np.random.default_rng(0).random((3, 32, 32, 3)).astype(np.float32)
    turned = colour.contrast(images[:, ::-1].copy(), np.zeros(3, np.float32))
    np.testing.assert_array_equal(turned, colour.contrast(images, np.zeros(3, np.float32)))
