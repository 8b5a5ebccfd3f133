"""`data`: who gains most from more training images?

Each model trains for the same number of steps on a part of the training images, with and without regularisation. The
validation images are the same for all parts of a seed.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.analysis.curves import COLOURS
from tinymixer.analysis.figures import plain_settings
from tinymixer.data import Dataset
from tinymixer.data.randomness import generator
from tinymixer.studies.networks import MODELS
from tinymixer.studies.numbers import Numbers, Spread
from tinymixer.studies.picture import MARKERS, below, legend, named, panels, plain_numbers, save, with_spread
from tinymixer.studies.study import Form, Part, Study

SHARES = (2, 5, 10, 20, 50, 100)  # per cent
FEW_SHARES = (2, 10, 100)  # in the quick form, and without regularisation
CARRYING = (10, 100)  # the shares that the claim is about: in the full form these alone have more than one seed
REGULARISATION: Mapping[str, Mapping[str, Any]] = {
    "with": {},
    "without": {"transforms": "", "crop_padding": 0, "flip": False, "alternate_flip": False, "label_smoothing": 0.0,
                "weight_decay": 0.0},
}  # fmt: skip
QUICK_STEPS = 200


def share_of(
    percent: int, validation_share: float, seed: int, *, count: int = 0, times: int = 0
) -> Callable[[Dataset], Dataset]:  # fmt: skip
    """What leaves that share of the training images, repeated until there are as many as before.

    So an epoch has as many steps with any share, and validation costs as much. Of each class the share is rounded, one
    image at least. Smaller shares are parts of the larger ones.

    count   so many of them in place of as many as before
    times   each of them so often; each is then there as often as any other
    """

    def change(dataset: Dataset) -> Dataset:
        training, validation = dataset.split(validation_share, seed)
        kept = subset(dataset.train_labels[training], percent, seed)
        length = times * len(kept) or count or len(training)
        repeated = np.resize(training[kept], length)  # over and over from the beginning
        chosen = np.concatenate([repeated, validation])
        return dataclasses.replace(
            dataset,
            train_images=dataset.train_images[chosen],
            train_labels=dataset.train_labels[chosen],
            validation_indices=np.arange(len(repeated), len(chosen)),
        )

    return change


def subset(labels: np.ndarray, percent: int, seed: int) -> np.ndarray:
    """Numbers of the images in a share, sorted: labels (N,) -> (n,)"""
    random = generator(seed, "study", 2)
    chosen = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: max(1, round(percent / 100 * len(members)))])
    return np.sort(np.concatenate(chosen))


def parts(form: Form) -> list[Part]:
    made = []
    for seed in range(form.seeds):
        for percent in FEW_SHARES if form.quick else SHARES:
            if not form.quick and seed and percent not in CARRYING:
                continue
            for name, changes in MODELS.items():
                for word, others in REGULARISATION.items():
                    if word == "without" and percent not in FEW_SHARES:
                        continue
                    recipe = form.recipe(seed, **({"steps": QUICK_STEPS} if form.quick else {}), **changes, **others)
                    images = share_of(percent, recipe.data.validation_share, seed)
                    what = {"model": name, "regularisation": word, "share": f"{percent} %"}
                    made.append(Part(what, seed, recipe, images))
    return made


def gain(numbers: Numbers, model: str, regularisation: str, low: int = 10, high: int = 100) -> Spread:
    """Points of accuracy that a model gains from more images, for each seed."""
    shares = ({"model": model, "regularisation": regularisation, "share": f"{percent} %"} for percent in (high, low))
    return numbers.gains("validation_accuracy", *shares)


def conclude(numbers: Numbers) -> list[str]:
    said = []
    for word in REGULARISATION:
        gains = {model: gain(numbers, model, word) for model in MODELS}
        known = {model: found for model, found in gains.items() if found}
        if not known:
            continue
        listed = ", ".join(f"{model} {found.points(sign='')}" for model, found in known.items())
        said.append(f"From 10 % to 100 % of the images, {word} regularisation: {listed}.")
        most = max(known, key=lambda model: known[model].mean)
        others = [value for model, found in known.items() if model != most for value in found.values]
        if others:
            clear = known[most].low > max(others)
            said.append(
                f"{most} gains most {word} regularisation; "
                + ("more in each seed than any other model in any." if clear else "the seeds of the models overlap.")
            )
    for model in MODELS:
        cure = [
            (percent, numbers.gains("validation_accuracy", *(
                {"model": model, "regularisation": word, "share": f"{percent} %"} for word in ("with", "without")
            )))
            for percent in (SHARES[0], SHARES[-1])
        ]  # fmt: skip
        listed = ", ".join(f"{gains.points(sign='')} at {percent} %" for percent, gains in cure if gains)
        if listed:
            said.append(f"Regularisation brings {model} {listed} of the images.")
    return said


def compare(numbers: Numbers) -> list[dict[str, str]]:
    source = "section 3.3, figure 2 (right): linear 5-shot accuracy on ImageNet, shares of JFT-300M"
    ours = "; ".join(f"{model} {gain(numbers, model, 'with').points(sign='')}" for model in MODELS)
    return [
        {"what": "who gains most from more images", "paper": "the Mixer, before ViT and then BiT", "source": source,
         "here": f"10 to 100 %, with regularisation: {ours}"},
    ]  # fmt: skip


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    shares = FEW_SHARES if numbers.quick else SHARES
    with plain_settings():
        figure, axes = panels([list(REGULARISATION)], 9.5, 3.9, sharey=True)
        entries = []
        for word, panel in axes.items():
            for index, model in enumerate(MODELS):
                spreads = [
                    numbers.spread("validation_accuracy", model=model, regularisation=word, share=f"{percent} %")
                    for percent in shares
                ]
                places = [percent * 1.03 ** (index - 1) for percent in shares]  # beside each other
                line = with_spread(panel, places, spreads, COLOURS[index], MARKERS[index], "-", 100)
                if word == "with":
                    entries.append((line, model))
            panel.set_xscale("log")
            named(panel, f"{word.capitalize()} regularisation", "share of the training images in %")
            panel.set_xticks(shares)
            plain_numbers(panel.xaxis)
        named(axes["with"], "With regularisation", "share of the training images in %", "validation accuracy in %")
        legend(axes["without"], entries, loc="lower right")
        below(figure, f"Means over {numbers.seeds_in_words()}, bars: smallest to largest. Equal steps for all shares.")
        return [save(figure, folder, "data.png", " ".join(conclude(numbers)))]


STUDY = Study(
    name="data",
    question="Who gains most from more training images, with and without regularisation?",
    paper="section 3.3 and figure 2, right (arXiv 2105.01601)",
    parts=parts,
    draw=draw,
    conclude=conclude,
    compare=compare,
    seeds=(2, 3),
)
