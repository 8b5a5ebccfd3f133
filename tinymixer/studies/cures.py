"""The cures of the study `overfitting`: their settings, and what its numbers say about each."""

from collections.abc import Mapping
from typing import Any

from tinymixer.studies.numbers import Numbers, Spread
from tinymixer.studies.study import Form

NONE, SAM, ALL_BUT_SAM, ALL = "none", "SAM", "all but SAM", "all"
HALF = ", half the steps"  # with SAM: as many passes over a batch as the others
MIXER, VIT = "mixer", "vit"
PLAIN: Mapping[str, Any] = {
    "transforms": "", "crop_padding": 0, "flip": False, "alternate_flip": False, "label_smoothing": 0.0,
    "weight_decay": 0.0, "drop_path": 0.0,
}  # fmt: skip
# Decay times the sum of the learning rates is about 3 in both forms, so that a weight without gradients falls to a
# twentieth in the run; what the paper tried is 0.5 to 14 (300 epochs on ImageNet).
WEIGHT_DECAY = {"quick": 4.0, "full": 0.6}
CURES: Mapping[str, Mapping[str, Any]] = {  # one strength each, which nothing here was chosen by
    "weight decay": {},  # that of the form
    "stochastic depth": {"drop_path": 0.1},
    "mixup": {"mixup": 0.5},
    "CutMix": {"cutmix": 1.0},
    "RandAugment": {"transforms": "rand_augment(2, 10)"},
    "label smoothing": {"label_smoothing": 0.1},
    SAM: {"sam_rho": 0.1},
}
CONDITIONS = (NONE, *CURES, ALL_BUT_SAM, ALL)


def settings(form: Form, cures: str) -> dict[str, Any]:
    """The fields of a recipe with one of CONDITIONS."""
    of = {**CURES, "weight decay": {"weight_decay": WEIGHT_DECAY[form.name]}}
    together = {NONE: [], ALL: list(CURES), ALL_BUT_SAM: [name for name in CURES if name != SAM]}
    changes = dict(PLAIN)
    for name in together.get(cures, [cures]):
        changes |= of[name]
    return changes


def effect(numbers: Numbers, cures: str) -> Spread:
    """Points of validation accuracy that cures bring to the Mixer, beside none, by seed."""
    return numbers.gains("validation_accuracy", {"model": MIXER, "cures": cures}, {"model": MIXER, "cures": NONE})


def gap(numbers: Numbers, cures: str) -> str:
    """By how many points the Mixer's accuracy is higher on training images than on validation images."""
    found = numbers.spread("accuracy_gap", model=MIXER, cures=cures)
    return Spread(tuple(100 * value for value in found.values)).points()


def ranked(numbers: Numbers) -> list[str]:
    """The single cures that were measured, the one that brings most first."""
    known = [name for name in CURES if effect(numbers, name)]
    return sorted(known, key=lambda name: -effect(numbers, name).mean)


def curve(numbers: Numbers, figure: str, cures: str) -> tuple[list[int], list[Spread]]:
    """A figure of the Mixer's runs: (steps, its values over the seeds after each)."""
    runs = [result.figures["epochs"] for result in numbers.chosen(model=MIXER, cures=cures)]
    rows = list(zip(*runs, strict=True))
    return [row[0]["step"] for row in rows], [Spread(tuple(each[figure] for each in row)) for row in rows]


def lowest(numbers: Numbers, cures: str) -> tuple[Spread, Spread]:
    """The lowest validation loss of the Mixer's runs, and the step after which it was reached, by seed."""
    runs = [result.figures["epochs"] for result in numbers.chosen(model=MIXER, cures=cures)]
    rows = [min(run, key=lambda row: float(row["validation_loss"])) for run in runs]
    return Spread(tuple(row["validation_loss"] for row in rows)), Spread(tuple(row["step"] for row in rows))


def fitted(numbers: Numbers, cures: str, model: str) -> str:
    """How well a model fits training and validation images, in words."""
    names = ("clean_loss", "validation_loss", "validation_accuracy")
    training, validation, accuracy = (numbers.spread(name, model=model, cures=cures) for name in names)
    if not training:
        return "not measured"
    return (
        f"training loss {training.plain(4)}, validation loss {validation.plain()}, validation accuracy "
        f"{accuracy.percent()}"
    )


def conclude(numbers: Numbers) -> list[str]:
    order = ranked(numbers)
    return [*_without(numbers), *_alone(numbers, order), *_together(numbers, order), *_beside_vit(numbers)]


def _without(numbers: Numbers) -> list[str]:
    validation = numbers.spread("validation_accuracy", model=MIXER, cures=NONE)
    if not validation:
        return []
    training = numbers.spread("clean_accuracy", model=MIXER, cures=NONE)
    (least, step), last = lowest(numbers, NONE), numbers.spread("validation_loss", model=MIXER, cures=NONE)
    return [
        f"Without a cure a Mixer ends with {training.percent()} of its training images right and "
        f"{validation.percent()} of the validation images; its validation loss is lowest, {least.plain()}, after "
        f"{step.plain(0)} steps and ends at {last.plain()}."
    ]


def _alone(numbers: Numbers, order: list[str]) -> list[str]:
    if not order:
        return []
    listed = ", ".join(f"{name} {effect(numbers, name).points()}" for name in order)
    several = [name for name in order if len(effect(numbers, name).values) > 1]
    above = [name for name in several if effect(numbers, name).low > 0]
    below = [name for name in several if effect(numbers, name).high < 0]
    once = [name for name in order if name not in several]
    rest = f"; with one seed, so without a range: {', '.join(once)}" if once else ""
    return [
        f"Validation accuracy with one cure, less that with none, at equal steps: {listed}.",
        f"In every seed better than none: {', '.join(above) or 'no cure'}; in every seed worse: "
        f"{', '.join(below) or 'no cure'}{rest}.",
    ]


def _together(numbers: Numbers, order: list[str]) -> list[str]:
    said = []
    together = effect(numbers, ALL_BUT_SAM)
    if together and order:
        others = [name for name in order if name != SAM]
        sum_of_them = sum(effect(numbers, name).mean for name in others)
        said.append(
            f"All but SAM together bring {together.points()}; {order[0]}, the best of the single cures, "
            f"{effect(numbers, order[0]).points()}; the means of the {len(others)} alone add up to {sum_of_them:+.1f}."
        )
    if effect(numbers, SAM) and effect(numbers, ALL):
        said.append(
            f"SAM takes two passes a step. At equal steps it brings {effect(numbers, SAM).points()}, at equal passes, "
            f"with half the steps, {effect(numbers, SAM + HALF).points()}; all cures, SAM among them, bring "
            f"{effect(numbers, ALL).points()} at equal steps and {effect(numbers, ALL + HALF).points()} at equal "
            "passes."
        )
    known = [name for name in (NONE, *order, ALL_BUT_SAM, ALL) if numbers.chosen(model=MIXER, cures=name)]
    if known:
        listed = ", ".join(f"{name} {gap(numbers, name)}" for name in known)
        said.append(f"Accuracy on training images, less that on validation images: {listed}.")
    return said


def _beside_vit(numbers: Numbers) -> list[str]:
    said = []
    for cures, words in ((NONE, "Without a cure"), (ALL_BUT_SAM, "With all but SAM")):
        both = {model: fitted(numbers, cures, model) for model in (MIXER, VIT)}
        if "not measured" not in both.values():
            said.append(f"{words}: {'; '.join(f'{model} {found}' for model, found in both.items())}.")
    return said


def compare(numbers: Numbers) -> list[dict[str, str]]:
    large = "section 3.1: training on ImageNet-21k"
    scratch = "section 3.2: training on ImageNet from scratch, both regularised"
    sam = "of SAM in arXiv 2106.01548, abstract: Mixer-B/16 on ImageNet with Inception-style preprocessing"
    beside = "; ".join(f"{model} {fitted(numbers, ALL_BUT_SAM, model)}" for model in (MIXER, VIT))
    return [
        {"what": "without regularisation", "paper": "the Mixer overfits; no number", "source": large,
         "here": f"training less validation accuracy {gap(numbers, NONE)}; with all but SAM "
                 f"{gap(numbers, ALL_BUT_SAM)}"},
        {"what": "Mixer beside ViT", "paper": "76.44 % with Mixer-B/16, 3 % behind ViT-B/16 at very similar training "
         "losses", "source": scratch, "here": f"all but SAM: {beside}"},
        {"what": "one cure at a time", "paper": "not given; supplementary B says which strengths were tried",
         "source": "", "here": ", ".join(f"{name} {effect(numbers, name).points()}" for name in ranked(numbers))},
        {"what": "SAM", "paper": "not given; +11.0 points in arXiv 2106.01548", "source": sam,
         "here": f"equal steps {effect(numbers, SAM).points()}, equal passes {effect(numbers, SAM + HALF).points()}"},
    ]  # fmt: skip
