"""The study `transfer`: whose images a part sees, enlarged images, published weights, what is concluded."""

import dataclasses
import json

import numpy as np
import pytest

from tests.pretrained.files import authors_file, small
from tinymixer.data import load_dataset
from tinymixer.studies import Form, Numbers, find_study, part, run_study, transfer, written
from tinymixer.studies.numbers import PartResult
from tinymixer.studies.transfer_images import enlarged, first_half, half, target


def test_both_halves_of_the_classes_are_numbered_from_0_and_share_no_image():
    digits = load_dataset("digits")
    first, second = first_half(digits), half(digits, second=True)
    assert (first.class_names, second.class_names) == (list("01234"), list("56789"))
    assert len(first.train_images) + len(second.train_images) == len(digits.train_images)
    np.testing.assert_array_equal(second.train_labels, digits.train_labels[digits.train_labels >= 5] - 5)
    np.testing.assert_array_equal(first.train_images, digits.train_images[digits.train_labels < 5])
    np.testing.assert_array_equal(second.mean, digits.mean)


@pytest.mark.parametrize("seed", [0, 3])
def test_all_shares_are_judged_by_the_same_images_and_have_one_of_each_class(seed):
    digits = load_dataset("digits")
    training, validation = half(digits, second=True).split(0.2, seed)
    judged = half(digits, second=True).train_images[validation]
    for percent in (1, 25, 100):
        changed = target(percent, 0.2, seed, epoch=1437)(digits)
        train, held_out = changed.split(0.2, seed)
        assert len(train) == 1437
        np.testing.assert_array_equal(changed.train_images[held_out], judged)
        assert set(changed.train_labels[train]) == set(range(5))
        different = {image.tobytes() for image in changed.train_images[train]}
        assert not different & {image.tobytes() for image in judged}
        if percent == 1:
            assert len(different) == 5
    large = target(100, 0.2, seed, times=2)(digits)
    assert large.image_size == 16
    np.testing.assert_array_equal(large.split(0.2, seed)[1], np.arange(len(training), len(training) + len(validation)))


@pytest.mark.parametrize("channels", [1, 3])
def test_enlarged_images_are_the_same_pictures(channels):
    digits = load_dataset("digits")
    images = digits.train_images[:4].repeat(channels, axis=3)
    flat = np.full_like(images[:1], 77)
    some = dataclasses.replace(
        digits, train_images=np.concatenate([images, flat]), train_labels=digits.train_labels[:5],
        test_images=images[:0], test_labels=digits.test_labels[:0], mean=np.full(channels, 0.3),
        std=np.full(channels, 0.4),
    )  # fmt: skip
    large = enlarged(some, 16)
    assert large.train_images.shape == (5, 16, 16, channels)
    assert large.test_images.shape == (0, 16, 16, channels)
    assert (large.train_images[4] == 77).all()
    reduced = large.train_images.reshape(5, 8, 2, 8, 2, channels).mean(axis=(2, 4))
    close = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(reduced[:4], images, strict=True)]
    assert min(close) > 0.99


def test_parts_differ_in_their_start_alone():
    for form in (Form(True, 2), Form(False, 3)):
        made = transfer.parts(form)
        by_name = {each.name: each for each in made}
        for each in made:
            if each.what["training"] == "fine-tuning":
                other = by_name[each.name.replace("fine_tuning", "scratch")]
                changed = set(each.recipe.differences(other.recipe))
                assert changed == {"fine_tuning.new_head"}
                assert (each.after, other.after) == (f"usual-pre_training-other_classes-seed{each.seed}", "")
        assert sum(each.what["training"] == "pre-training" for each in made) == form.seeds
    full = [each for each in made if each.seed and each.what["training"] != "pre-training"]
    assert {each.what["share"] for each in full} == {"1 %", "100 %"}


@pytest.fixture
def colour_digits(monkeypatch):
    """The full form on digits in colour, in the place of CIFAR-10."""
    digits = load_dataset("digits")
    colour = dataclasses.replace(
        digits, name="cifar10", train_images=digits.train_images.repeat(3, axis=3),
        test_images=digits.test_images.repeat(3, axis=3), mean=digits.mean.repeat(3), std=digits.std.repeat(3),
    )  # fmt: skip
    for module in (part, written):
        monkeypatch.setattr(module, "images_of", lambda form: colour)
    monkeypatch.setattr(transfer, "PUBLISHED_IMAGES", 64)


def test_published_weights_are_fine_tuned_on_images_of_their_size(tmp_path, colour_digits):
    path = authors_file(tmp_path / "Mixer-T_4.npz", small())  # 12 x 12 pixels
    study = dataclasses.replace(
        find_study("transfer"), parts=lambda form: transfer.published_parts(form) if form.init_from else []
    )
    run_study(study, study.form(False, 1, steps=2), tmp_path / "study", 1)
    form = study.form(False, 1, steps=2, init_from=str(path))  # weights may come later, as seeds may
    outcome = run_study(study, form, tmp_path / "study", 1)
    assert [result.message for result in outcome.results] == ["", ""]
    assert outcome.results[0].figures["training_images"] == 5
    config = (tmp_path / "study" / "parts" / outcome.results[0].name / "run" / "config.toml").read_text()
    assert "image_size = 12" in config
    assert "hidden_dim = 10" in config
    assert any(sentence.startswith("Fine-tuned from Mixer-T_4.npz") for sentence in outcome.conclusions)
    assert outcome.pictures == ["transfer.png"]
    assert json.loads((tmp_path / "study" / "study.json").read_text())["init_from"] == str(path)


def numbers_of(**accuracies):
    """Numbers of seeds 0, 1, ...: accuracies by "size training share"."""
    results = []
    for words, values in accuracies.items():
        size, training, percent = words.split("_")
        what = {"size": size, "training": training.replace("tuning", "fine-tuning"), "share": f"{percent} %"}
        for seed, value in enumerate(values):
            figures = {"validation_accuracy": value, "training_images": 6 * int(percent)}
            results.append(PartResult(f"{words}-{seed}", words, what, seed, "finished", figures, {}))
    return Numbers(results)


def test_conclusions_follow_from_the_numbers():
    said = transfer.conclude(numbers_of(
        usual_scratch_1=[0.5, 0.6], usual_tuning_1=[0.7, 0.7], usual_scratch_5=[0.8, 0.8], usual_tuning_5=[0.9, 0.7],
        usual_scratch_100=[0.9, 0.9], usual_tuning_100=[0.8, 0.85], twice_scratch_5=[0.6], twice_tuning_5=[0.5],
    ))  # fmt: skip
    assert said[0] == (
        "Fine-tuned instead of trained from scratch, all else equal: +15.0 points (+10.0 to +20.0) with 6 images "
        "(1 %), +0.0 points (-10.0 to +10.0) with 30 images (5 %), -7.5 points (-10.0 to -5.0) with 600 images (100 %)."
    )
    assert said[1] == "Fine-tuned beside from scratch, in every seed: ahead at 1 %; behind at 100 %; neither at 5 %."
    assert said[2] == (
        "On images of twice the size, fine-tuned instead of trained from scratch: -10.0 points with 30 images (5 %)."
    )
    assert len(said) == 5
    assert transfer.conclude(Numbers([])) == []
    rows = transfer.compare(Numbers([]))
    assert [row["here"] for row in rows] == ["not measured", "five classes, validation images: not measured",
                                             "not measured"]  # fmt: skip
