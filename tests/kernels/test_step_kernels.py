"""The ends of a step, held to NumPy: patches, loss, finished sums, the step's numbers; emulated, and on a GPU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.calls import Call, f32, few, finish, i32, i64, numbers, plain_and_fast, widths
from tests.kernels.formats import assert_close, unpacked
from tinymixer import ops
from tinymixer.data import Augmentation
from tinymixer.data.transforms.mixing import Mix, mix_targets
from tinymixer.draws import Draws
from tinymixer.engines.cuda.image_records import MIX, MIX_WORDS, pack_mix
from tinymixer.engines.cuda.staging import pack_choices, pack_colours
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.kernels import launch as layouts

pytestmark = pytest.mark.usefixtures("machine")


@plain_and_fast
@few
@given(parts=st.integers(1, 40), columns=st.integers(1, 70), add=st.booleans())
def test_sums_are_finished(plain, parts, columns, add):
    call = Call()
    partials, bits = call.draw((parts, columns))
    assert_close(finish(call, bits, columns, parts, plain, add), partials.sum(axis=0) + add, "float", 2 * parts)
    across = finish(call, bits, parts, columns, plain, add, part_stride=1, column_stride=columns)
    assert_close(across, partials.sum(axis=1) + add, "float", 2 * columns)


@plain_and_fast
@few
@given(
    images=st.integers(1, 9),
    classes=st.integers(1, 70),
    kind=st.sampled_from(["hard", "soft", "mixed"]),
    smoothing=st.sampled_from([0.0, 0.1]),
)
def test_cross_entropy(plain, images, classes, kind, smoothing):
    call = Call()
    logits, logits_bits = call.draw((images, classes), scale=3)
    logits_bits.array[...] = np.round(logits * 4) / 4  # so that some are equal
    logits = logits_bits.array.astype(np.float64)
    call.inputs.clear()
    labels = call.rng.integers(0, classes, 20)
    indices = call.rng.integers(0, 20, images)
    rows = call.rng.dirichlet(np.ones(classes), images).astype(np.float32)
    soft, mixed = kind == "soft", kind == "mixed"
    mix, partners = Mix(1, float(call.rng.choice([0.2, 0.5, 0.7])), (0, 1, 0, 1)), call.rng.integers(0, 20, images)
    targets = {
        "hard": labels[indices],
        "soft": rows.astype(np.float64),
        "mixed": mix_targets(labels[indices], labels[partners], classes, mix, np.float64),
    }[kind]
    state = np.zeros(1, STEP_STATE)
    state["loss_scale"] = 8
    dlogits, losses = call.output((images, classes)), call.output(images)
    correct = call.output(images, dtype=np.int32)
    name, layout = ("cross_entropy_plain<float>", layouts.flat(images)) if plain else (
        "cross_entropy<float>", layouts.per_warp(images))  # fmt: skip
    call.run(name, layout, logits_bits, None if soft else call.input(labels), None if soft else
             call.input(indices.astype(np.int32)), call.input(rows) if soft else None,
             call.input(partners.astype(np.int32)) if mixed else None, call.input(pack_mix(mix)) if mixed else None,
             call.input(state.view(np.uint8)), dlogits, losses, correct, i32(images), i32(2 * images),
             i32(classes), f32(smoothing))  # fmt: skip
    loss, wanted = ops.softmax_cross_entropy(logits, targets, smoothing)
    np.testing.assert_allclose(losses.array.mean(), loss, rtol=2e-6)
    np.testing.assert_allclose(dlogits.array, 8 * wanted / 2, rtol=1e-5, atol=1e-6)
    answers = targets if kind == "hard" else targets.argmax(axis=1)
    np.testing.assert_array_equal(correct.array, logits.argmax(axis=1) == answers)


@numbers
@plain_and_fast
@few
@given(
    images=st.integers(1, 5),
    patch=st.sampled_from([1, 2, 4]),
    colours=st.sampled_from([1, 3]),
    crop_padding=st.integers(0, 3),
    cutout=st.integers(0, 5),
    overlap=st.sampled_from([0, 1, 2, 7]),
)
def test_patches_are_those_of_the_host(number, plain, images, patch, colours, crop_padding, cutout, overlap):
    call = Call()
    size, rng = 8, call.rng
    pixels = rng.integers(0, 256, (7, size, size, colours)).astype(np.uint8)
    augmentation = Augmentation(crop_padding, True, cutout)
    choices = augmentation.draw(Draws(int(rng.integers(99)), 0, 0, np.arange(images)))
    indices = rng.integers(0, 7, images)
    fill, mean, std = rng.integers(0, 256, colours), rng.random(colours), rng.random(colours) + 0.1
    augmented = augmentation.apply(pixels[indices], choices, fill.tolist())
    wanted = ops.images_to_windows_forward((augmented / 255 - mean) / std, patch, overlap)[0]

    records = call.input(pack_choices(indices, choices, size, cutout))
    colours_bits = call.input(pack_colours(fill, mean, std, colours))
    patches = call.output(wanted.shape, number)
    vector = widths(number, wanted.shape[-1])
    name = f"gather_patches_plain<{number}>" if plain else f"gather_patches<{number}, {vector}>"
    rows, features = wanted.shape[0] * wanted.shape[1], wanted.shape[2]
    layout = layouts.flat(wanted.size) if plain else layouts.patch_rows(rows, features, vector)
    call.run(name, layout, call.input(pixels), records, colours_bits, patches, i32(size), i32(colours), i32(patch),
             i32(overlap), i32(crop_padding), i32(cutout),
             i32(images), i64(wanted.size) if plain else i32(rows))  # fmt: skip
    assert_close(unpacked(patches.array, number), wanted, number, 8)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_step_begins_with_the_numbers_of_its_slot(mixed):
    call, rows, words, slots = Call(), 5, 7, 4
    staged = call.rng.integers(0, 99, (slots, rows, words)).astype(np.int32)
    rates = call.rng.random(slots).astype(np.float32)
    keys = call.rng.integers(0, 2**32, (slots, 4)).astype(np.uint32)
    mixes = np.stack([pack_mix(Mix(shift, 0.25)) for shift in (1, 2, 3, 4)])
    state = np.zeros(1, STEP_STATE)
    state["step"] = 3 * slots + 2
    state_bits = call.in_place(state.view(np.float32), "float")
    records, key = call.output((rows, words), dtype=np.int32), call.output(4, dtype=np.int32)
    indices, partners, partner_indices = (call.output(rows, dtype=np.int32) for _ in range(3))
    mix = call.output(MIX_WORDS, dtype=np.int32)
    call.run("begin_step<float>", layouts.flat(rows * words), state_bits, call.input(staged), call.input(rates),
             call.input(keys), call.input(mixes), records, indices, key, mix if mixed else None,
             partners if mixed else None, partner_indices if mixed else None, i32(slots), i32(rows),
             i32(words))  # fmt: skip
    np.testing.assert_array_equal(records.array, staged[2])
    np.testing.assert_array_equal(indices.array, staged[2, :, 0])
    np.testing.assert_array_equal(key.array.view(np.uint32), keys[2])
    assert state_bits.array.view(STEP_STATE)["learning_rate"] == rates[2]
    if mixed:
        np.testing.assert_array_equal(partners.array, [3, 4, 0, 1, 2])
        np.testing.assert_array_equal(partner_indices.array, staged[2, [3, 4, 0, 1, 2], 0])
        found = mix.array.view(MIX)[0]
        assert (found["shift"], found["own"], found["target_partner"]) == (3, 0.25, 0.75)
