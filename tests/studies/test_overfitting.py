"""The study `overfitting`: what its conditions differ in, what its training figures are of, and its sentences."""

import json

import numpy as np
import pytest

from tinymixer.analysis.figures import transparent_figure
from tinymixer.data import load_dataset
from tinymixer.studies import Form, Numbers, Spread
from tinymixer.studies.cures import (
    ALL,
    ALL_BUT_SAM,
    CURES,
    HALF,
    NONE,
    SAM,
    compare,
    conclude,
    effect,
    settings,
)
from tinymixer.studies.data_share import share_of, subset
from tinymixer.studies.numbers import PartResult
from tinymixer.studies.overfitting import CARRYING, STUDY, at_the_end, clean, parts, rows_of, shown
from tinymixer.studies.part import EPOCHS, read_epochs, run_part, train
from tinymixer.studies.picture import with_spread
from tinymixer.training.evaluate import evaluate
from tinymixer.training.other_weights import averaged_weights
from tinymixer.training.progress import Progress

QUICK = Form(quick=True, seeds=1)


def recipes(form, model="mixer", seed=0):
    return {part.what["cures"]: part.recipe for part in parts(form) if (part.what["model"], part.seed) == (model, seed)}


@pytest.mark.parametrize("quick", [True, False])
def test_a_cure_changes_its_own_field_and_together_they_are_all_of_them(quick):
    form = Form(quick, seeds=1)
    made = recipes(form)
    changed = {name: set(made[name].differences(made[NONE])) for name in CURES}
    assert changed == {
        "weight decay": {"optimizer.weight_decay"}, "stochastic depth": {"model.drop_path"},
        "mixup": {"augmentation.mixup"}, "CutMix": {"augmentation.cutmix"}, "RandAugment": {"augmentation.transforms"},
        "label smoothing": {"training.label_smoothing"}, SAM: {"optimizer.sam_rho"},
    }  # fmt: skip
    assert set(made[ALL].differences(made[NONE])) == set.union(*changed.values())
    assert set(made[ALL_BUT_SAM].differences(made[ALL])) == changed[SAM]
    none = made[NONE]
    assert (none.augmentation.is_identity, none.optimizer.weight_decay, none.training.label_smoothing) == (True, 0, 0)
    assert (none.model.dropout, none.model.drop_path) == (0, 0)
    rates = none.optimizer.learning_rate * none.training.steps / 2  # their sum: up along a line, and down
    assert 2.5 < settings(form, "weight decay")["weight_decay"] * rates < 3.5


def test_steps_are_equal_but_where_sam_has_half_of_them():
    made = recipes(QUICK)
    steps = {name: recipe.training.steps for name, recipe in made.items()}
    halved = {SAM + HALF, ALL + HALF}
    assert {steps[name] for name in halved} == {steps[NONE] // 2}
    assert {steps[name] for name in set(steps) - halved} == {steps[NONE]}
    assert set(recipes(QUICK, "vit")) == {NONE, ALL_BUT_SAM}
    tried = recipes(Form(quick=True, seeds=1, steps=5))
    assert {tried[name].training.steps for name in halved} == {2}
    assert {tried[name].training.steps for name in set(tried) - halved} == {5}


def test_in_the_full_form_more_seeds_are_for_what_carries_the_claim():
    full = STUDY.form(quick=False)
    assert set(recipes(full)) == set(recipes(QUICK))
    assert set(recipes(full, seed=2)) == set(CARRYING)
    assert set(recipes(full, "vit")) == {NONE, ALL_BUT_SAM}
    assert not recipes(full, "vit", seed=1)


def test_few_images_are_repeated_as_often_as_asked():
    digits = load_dataset("digits")
    training, validation = digits.split(0.2, seed=1)
    kept = training[subset(digits.train_labels[training], 10, seed=1)]
    few = share_of(10, 0.2, seed=1, times=3)(digits)
    train_indices, held_out = few.split(0.2, seed=1)
    np.testing.assert_array_equal(few.train_images[train_indices], np.tile(digits.train_images[kept], (3, 1, 1, 1)))
    np.testing.assert_array_equal(few.train_labels[train_indices], np.tile(digits.train_labels[kept], 3))
    np.testing.assert_array_equal(few.train_images[held_out], digits.train_images[validation])


@pytest.fixture(scope="module")
def all_cures():
    return next(part for part in parts(Form(True, 1, steps=40)) if part.what["cures"] == ALL)


def test_training_figures_are_of_each_unchanged_image_once_with_the_weights_that_are_validated(all_cures, tmp_path):
    trainer = train(all_cures, QUICK, tmp_path, 1, Progress())
    digits = load_dataset("digits")
    training, _ = digits.split(0.2, seed=0)
    own = training[subset(digits.train_labels[training], 10, seed=0)]
    images, labels = digits.train_images[own], digits.train_labels[own]
    with averaged_weights(trainer):
        expected = evaluate(trainer.engine, images, labels, digits.mean, digits.std)
    raw = evaluate(trainer.engine, images, labels, digits.mean, digits.std)
    found = clean(trainer, 10)
    assert found["clean_loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert found["clean_accuracy"] == expected.accuracy
    assert abs(raw.loss - expected.loss) > 1e-4  # or this test would not see which weights they are
    assert at_the_end(10)(trainer)["loss_gap"] == trainer.rows[-1]["validation_loss"] - found["clean_loss"]


def test_figures_of_every_epoch_survive_a_stop(all_cures, tmp_path):
    whole = run_part(all_cures, QUICK, tmp_path / "whole")
    looks = iter(range(1000))
    assert run_part(all_cures, QUICK, tmp_path / "stopped", stopped=lambda: next(looks) > 25) is None
    before = read_epochs(tmp_path / "stopped")
    assert len(before) == 1
    again = run_part(all_cures, QUICK, tmp_path / "stopped")
    assert again.figures["epochs"] == whole.figures["epochs"]
    assert [row["epoch"] for row in whole.figures["epochs"]] == [1, 2, 3]
    assert [row["step"] for row in whole.figures["epochs"]] == [18, 36, 40]
    last = whole.figures["epochs"][-1]
    for name in ("clean_loss", "clean_accuracy", "validation_loss", "validation_accuracy"):
        assert last[name] == whole.figures[name]
    (tmp_path / "stopped" / EPOCHS).write_text("[1, {")
    assert read_epochs(tmp_path / "stopped") == []
    (tmp_path / "stopped" / EPOCHS).write_text(json.dumps(["no row", {"epoch": 1}]))
    assert read_epochs(tmp_path / "stopped") == [{"epoch": 1}]


def result(cures, seed, validation, training=1.0, model="mixer", losses=(0.9, 0.4, 0.5)):
    epochs = [
        {"epoch": index + 1, "step": 10 * (index + 1), "validation_loss": loss, "clean_loss": loss / 2}
        for index, loss in enumerate(losses)
    ]
    figures = {
        "validation_accuracy": validation, "clean_accuracy": training, "accuracy_gap": training - validation,
        "validation_loss": losses[-1], "clean_loss": losses[-1] / 2, "epochs": epochs,
    }  # fmt: skip
    name = f"{model}-{cures}-{seed}"
    return PartResult(name, name, {"model": model, "cures": cures}, seed, "finished", figures, {})


def test_sentences_follow_from_the_numbers():
    numbers = Numbers([
        result(NONE, 0, 0.80), result(NONE, 1, 0.84), result("mixup", 0, 0.83), result("mixup", 1, 0.86),
        result("CutMix", 0, 0.90), result("CutMix", 1, 0.83), result(SAM, 0, 0.70), result(SAM, 1, 0.75),
        result(ALL_BUT_SAM, 0, 0.85, 0.95), result(ALL_BUT_SAM, 1, 0.88, 0.96),
    ])  # fmt: skip
    assert effect(numbers, "CutMix").values == pytest.approx((10.0, -1.0))
    said = "\n".join(conclude(numbers))
    assert "of its training images right and 82.0 % (80.0 to 84.0) of the validation images" in said
    assert "lowest, 0.40 (0.40 to 0.40), after 20 (20 to 20) steps and ends at 0.50" in said
    assert "CutMix +4.5 points (-1.0 to +10.0), mixup +2.5 points (+2.0 to +3.0), SAM -9.5 points" in said
    assert "In every seed better than none: mixup; in every seed worse: SAM." in said
    assert "All but SAM together bring +4.5 points (+4.0 to +5.0); CutMix, the best of the single cures" in said
    assert "the means of the 2 alone add up to +7.0" in said
    assert "all but SAM +9.0 points (+8.0 to +10.0)" in said
    assert "vit" not in said
    once = Numbers([*numbers.results, result("weight decay", 0, 0.81)])
    assert "in every seed worse: SAM; with one seed, so without a range: weight decay." in "\n".join(conclude(once))
    assert shown(numbers) == [NONE, "CutMix", SAM, ALL_BUT_SAM]
    assert rows_of(numbers) == [("mixer", name) for name in (NONE, "CutMix", "mixup", SAM, ALL_BUT_SAM)]


def test_sentences_need_no_part_that_is_missing():
    assert conclude(Numbers([])) == []
    assert all("not measured" in row["here"] or not row["here"] for row in compare(Numbers([])))
    few = Numbers([result(NONE, 0, 0.8), result(NONE, 0, 0.7, model="vit")])
    assert [sentence.split(":")[0] for sentence in conclude(few)[1:]] == [
        "Accuracy on training images, less that on validation images", "Without a cure",
    ]  # fmt: skip
    assert Spread((1.26,)).points() == "+1.3 points"


def test_a_spread_can_run_across():
    axes = transparent_figure(2, 2).subplots()
    with_spread(axes, [3], [Spread((0.25, 0.75))], "black", scale=100, across=True)
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert drawn == [([50.0], [3]), ([25.0, 75.0], [3, 3]), ([25.0, 75.0], [3, 3])]
