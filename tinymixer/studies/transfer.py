"""`transfer`: what is gained by starting from weights that were trained on other classes?

A Mixer is pre-trained on the first half of the classes. On shares of the other half's images, it is fine-tuned for as
many steps as another trains from scratch; and so on images of twice the size, where token mixing starts block-diagonal.
With weights of the user's own (`--init-from`), enlarged images are fine-tuned from those, too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinymixer.analysis.curves import COLOURS
from tinymixer.analysis.figures import plain_settings
from tinymixer.data import Dataset
from tinymixer.errors import ConfigError
from tinymixer.studies.numbers import Numbers, Spread
from tinymixer.studies.picture import (
    MARKERS,
    below,
    legend,
    legend_below,
    named,
    panels,
    plain_numbers,
    save,
    with_spread,
)
from tinymixer.studies.study import Form, Part, Study
from tinymixer.studies.transfer_images import different_images, enlarged, first_half, target
from tinymixer.text import counted
from tinymixer.training.recipe import Recipe, load_recipe
from tinymixer.training.starting_weights import weights_to_begin_with

SHARES = (1, 5, 25, 100)  # per cent of the images of the other half of the classes; of each class one image at least
CARRYING = (1, 100)  # the shares that the claim is about: in the full form these alone have more than one seed
TWICE_SHARES = (5, 100)  # at twice the size, where a step costs several times as much
QUICK_TWICE_SHARES = (5,)
USUAL, TWICE = "usual", "twice"
PRE_TRAINING, SCRATCH, FINE_TUNING = "pre-training", "scratch", "fine-tuning"
PROTOCOL, HEAD = "fine-tuning, SGD", "head alone"
NEW_HEAD = {"new_head": True}
# Beside from scratch, a fine-tuned run differs in its start alone; or its update rule is the paper's for fine-tuning,
# too (the recipe `fine-tune`); or the head alone is trained.
TRAININGS: Mapping[str, Mapping[str, Any]] = {
    SCRATCH: {},
    FINE_TUNING: NEW_HEAD,
    PROTOCOL: NEW_HEAD | {"optimizer": "sgd", "learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.0,
                          "clip_norm": 1.0, "schedule": "cosine"},
    # AdamW, by which Muon trains a head, too; alone it refuses to.
    HEAD: NEW_HEAD | {"freeze": "stem,blocks.*,pre_head_layer_norm", "optimizer": "adamw"},
}  # fmt: skip
STEPS, PRE_TRAINING_STEPS = {"quick": 150, "full": 250}, {"quick": 300, "full": 500}
EPOCH = {"quick": 1437, "full": 0}  # images: of digits as many as all classes have; else validating costs too much
PUBLISHED_SHARES, PUBLISHED_STEPS, PUBLISHED_IMAGES = (1, 10), 100, 3200


def parts(form: Form) -> list[Part]:
    steps, epoch = STEPS[form.name], EPOCH[form.name]
    made = [pre_training(form, seed) for seed in range(form.seeds)]
    for seed in range(form.seeds):
        for size, shares in zip((USUAL, TWICE), shares_of(form), strict=True):
            for percent in shares:
                for training, changes in TRAININGS.items():
                    compared = training in (SCRATCH, FINE_TUNING)
                    carries = compared and size == USUAL and percent in CARRYING
                    if (size == TWICE and not compared) or (seed and not form.quick and not carries):
                        continue
                    recipe = form.recipe(seed, steps=steps, **changes)
                    recipe = recipe if size == USUAL else twice_as_large(recipe)
                    made.append(
                        Part(
                            {"size": size, "training": training, "share": f"{percent} %"}, seed, recipe,
                            target(percent, recipe.data.validation_share, seed, 1 + (size == TWICE), epoch),
                            measure=different_images, after="" if training == SCRATCH else made[seed].name,
                        )
                    )  # fmt: skip
    return made + (published_parts(form) if form.init_from else [])


def shares_of(form: Form) -> tuple[Sequence[int], Sequence[int]]:
    """The shares at the usual size, and at twice the size."""
    return SHARES, QUICK_TWICE_SHARES if form.quick else TWICE_SHARES


def pre_training(form: Form, seed: int) -> Part:
    what = {"size": USUAL, "training": PRE_TRAINING, "share": "other classes"}
    recipe = form.recipe(seed, steps=PRE_TRAINING_STEPS[form.name])
    return Part(what, seed, recipe, first_half, measure=different_images)


def twice_as_large(recipe: Recipe) -> Recipe:
    """The recipe for images twice as large: as in the paper, token mixing is four times as wide (appendix C)."""
    model: Any = recipe.model
    return recipe.with_overrides({
        "tokens_mlp_dim": 4 * model.tokens_mlp_dim, "crop_padding": 2 * recipe.augmentation.crop_padding,
    })  # fmt: skip


def start_size(form: Form) -> int:
    """The side of the images that the user's weights take.

    Raises ConfigError for a model that does not take colour images, CheckpointError for a file that holds no weights.
    """
    weights = weights_to_begin_with(form.init_from)
    channels, size = (getattr(weights.config, name, None) for name in ("in_channels", "image_size"))
    if channels != 3 or size is None:
        raise ConfigError(
            f"{weights.source} takes images of {channels or 'an unknown number of'} channels, and CIFAR-10's have 3: "
            "give --init-from the weights of a model for colour images"
        )
    return int(size)


def published_parts(form: Form) -> list[Part]:
    """Parts that start from the user's weights, by the recipe `fine-tune`, on images enlarged to their size."""
    recipe = load_recipe("fine-tune").with_overrides({
        "dataset": form.dataset, "init_from": form.init_from, "steps": form.steps or PUBLISHED_STEPS,
        "validation_share": form.recipe().data.validation_share, "seed": 0,
    })  # fmt: skip
    made = []
    for percent in PUBLISHED_SHARES:

        def images(dataset: Dataset, percent: int = percent) -> Dataset:
            small = target(percent, recipe.data.validation_share, 0, epoch=PUBLISHED_IMAGES)(dataset)
            return enlarged(small, start_size(form))

        what = {"size": "published", "training": f"from {Path(form.init_from).name}", "share": f"{percent} %"}
        made.append(Part(what, 0, recipe, images, measure=different_images))
    return made


# ---------------------------------------------------------------------------------------------------- what was found


def accuracy(numbers: Numbers, size: str, training: str, percent: int) -> Spread:
    return numbers.spread("validation_accuracy", size=size, training=training, share=f"{percent} %")


def image_count(numbers: Numbers, percent: int) -> int:
    """The training images of a share; 0 where no part of it has finished."""
    spread = numbers.spread("training_images", share=f"{percent} %")
    return round(spread.mean) if spread else 0


def ahead(numbers: Numbers, percent: int, one: tuple[str, str], other: tuple[str, str]) -> Spread:
    """By how many points of accuracy `one` is ahead of `other`, both (size, training), in each seed that both have."""
    return numbers.gains("validation_accuracy", *(
        {"size": size, "training": training, "share": f"{percent} %"} for size, training in (one, other)
    ))  # fmt: skip


def by_share(numbers: Numbers, shares: Sequence[int], one: tuple[str, str], other: tuple[str, str]) -> str:
    """How far `one` is ahead of `other` at each share that both have, as a list in words; "" where there is none."""
    found = {percent: ahead(numbers, percent, one, other) for percent in shares}
    return ", ".join(
        f"{gains.points()} with {counted(image_count(numbers, percent), 'image')} ({percent} %)"
        for percent, gains in found.items()
        if gains
    )


def in_every_seed(numbers: Numbers) -> str:
    """At which shares fine-tuning is ahead of from scratch, or behind, in every seed."""
    kinds: dict[str, list[str]] = {"ahead": [], "behind": [], "neither": []}
    for percent in SHARES:
        if gains := ahead(numbers, percent, (USUAL, FINE_TUNING), (USUAL, SCRATCH)):
            kind = "ahead" if gains.low > 0 else "behind" if gains.high < 0 else "neither"
            kinds[kind].append(f"{percent} %")
    listed = "; ".join(f"{kind} at {', '.join(shares)}" for kind, shares in kinds.items() if shares)
    return f"Fine-tuned beside from scratch, in every seed: {listed}." if listed else ""


def conclude(numbers: Numbers) -> list[str]:
    scratch, tuned = (USUAL, SCRATCH), (USUAL, FINE_TUNING)
    compared = [
        ("Fine-tuned instead of trained from scratch, all else equal", SHARES, tuned, scratch),
        ("A new head alone, on frozen features, instead of training from scratch", SHARES, (USUAL, HEAD), scratch),
        ("Fine-tuned by the paper's SGD instead of as from scratch", SHARES, (USUAL, PROTOCOL), tuned),
        ("On images of twice the size, fine-tuned instead of trained from scratch", TWICE_SHARES, (TWICE, FINE_TUNING),
         (TWICE, SCRATCH)),
        ("Fine-tuned at twice the size instead of the usual", TWICE_SHARES, (TWICE, FINE_TUNING), tuned),
        ("From scratch at twice the size instead of the usual", TWICE_SHARES, (TWICE, SCRATCH), scratch),
    ]  # fmt: skip
    said = []
    for words, shares, one, other in compared:
        if listed := by_share(numbers, shares, one, other):
            said.append(f"{words}: {listed}.")
    for training in published(numbers):
        found = [(percent, accuracy(numbers, "published", training, percent)) for percent in PUBLISHED_SHARES]
        listed = ", ".join(f"{spread.percent()} at {percent} %" for percent, spread in found if spread)
        said.append(f"Fine-tuned {training}, on images enlarged to its size: {listed}.")
    every = in_every_seed(numbers)
    return said[:1] + ([every] if every else []) + said[1:]


def published(numbers: Numbers) -> list[str]:
    """The weights of the user's own from which parts have started, as their parts name them."""
    return list(dict.fromkeys(result.what["training"] for result in numbers.chosen(size="published")))


def compare(numbers: Numbers) -> list[dict[str, str]]:
    few, all_images = SHARES[0], SHARES[-1]
    tuned = accuracy(numbers, USUAL, FINE_TUNING, all_images).percent()
    larger = by_share(numbers, TWICE_SHARES, (TWICE, FINE_TUNING), (USUAL, FINE_TUNING)) or "not measured"
    gains = by_share(numbers, (few, all_images), (USUAL, FINE_TUNING), (USUAL, SCRATCH)) or "not measured"
    return [
        {"what": "pre-trained, then fine-tuned, beside from scratch",
         "paper": "Mixers pre-trained on large data sets reach competitive scores; of training from scratch on the "
                  "same smaller sets we have read no figure",
         "source": "abstract", "here": gains},
        {"what": "fine-tuned on all images", "paper": "CIFAR-10: 96.72 % (B/16 from ImageNet), 98.34 % (L/16 from "
         "ImageNet-21k), test images", "source": "not the paper, but \"Expected Mixer results\" in the README of the "
         "authors' code", "here": f"five classes, validation images: {tuned}"},
        {"what": "fine-tuned at twice the size instead of the usual", "paper": "done block-diagonally; we have read "
         "no figure for it", "source": "appendix C", "here": larger},
    ]  # fmt: skip


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    from matplotlib.ticker import NullLocator

    names = {SCRATCH: "from scratch", FINE_TUNING: "fine-tuned", PROTOCOL: "fine-tuned, SGD as in the paper",
             HEAD: "new head alone"}  # fmt: skip
    with plain_settings():
        figure, axes = panels([[USUAL, TWICE]], 9.5, 4.1, width_ratios=[3, 2])
        entries = []
        lines: list[tuple[str, str, str, Sequence[int]]]
        lines = [(USUAL, training, names[training], SHARES) for training in TRAININGS]
        lines += [("published", training, training, PUBLISHED_SHARES) for training in published(numbers)]
        for index, (size, training, words, shares) in enumerate(lines):
            spreads = [accuracy(numbers, size, training, percent) for percent in shares]
            places = [max(1, image_count(numbers, percent)) * 1.03 ** (index - 1.5) for percent in shares]
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            entries.append((with_spread(axes[USUAL], places, spreads, colour, marker, "-", 100), words))
        named(axes[USUAL], "Other classes than in pre-training", "training images of five classes",
              "validation accuracy in %")  # fmt: skip
        axes[USUAL].set_xscale("log")
        axes[USUAL].set_xticks([count for percent in SHARES if (count := image_count(numbers, percent))])
        plain_numbers(axes[USUAL].xaxis)
        axes[USUAL].xaxis.set_minor_locator(NullLocator())
        legend(axes[USUAL], entries, loc="lower right")
        entries = []
        for percent, style in zip(TWICE_SHARES, ("-", "--"), strict=True):
            for index, training in enumerate((SCRATCH, FINE_TUNING)):
                spreads = [accuracy(numbers, size, training, percent) for size in (USUAL, TWICE)]
                places = [place + 0.05 * (index - 0.5) for place in (0, 1)]
                if spreads[1]:
                    drawn = with_spread(axes[TWICE], places, spreads, COLOURS[index], MARKERS[index], style, 100)
                    entries.append((drawn, f"{names[training]}, {counted(image_count(numbers, percent), 'image')}"))
        named(axes[TWICE], "Images of twice the size", "side of the images", "validation accuracy in %")
        axes[TWICE].set_xticks([0, 1], ["as in pre-training", "twice"])
        axes[TWICE].set_xlim(-0.3, 1.3)
        legend_below(axes[TWICE], entries, 2, 0.45, columnspacing=1, handlelength=3)
        below(
            figure,
            f"Means over {numbers.seeds_in_words()}, bars: smallest to largest, dashes: each seed. Equal steps for all "
            "but pre-training.",
        )
        return [save(figure, folder, "transfer.png", " ".join(conclude(numbers)))]


STUDY = Study(
    name="transfer",
    question="What is gained by starting from weights that were trained on other classes?",
    paper="section 3 and appendix C (arXiv 2105.01601)",
    parts=parts,
    draw=draw,
    conclude=conclude,
    compare=compare,
    seeds=(2, 3),
    check_start=start_size,
)
