"""`overfitting`: what does each cure bring where a Mixer learns its training images by heart, alone and together?

A tenth of the training images, and so many steps that a Mixer without a cure makes no mistake on them. Training
figures are taken on the training images as they are, with the weights that are validated: a run's own are of images
that were mixed or transformed, and of weights that changed meanwhile.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import plain_settings
from tinymixer.studies.cures import (
    ALL,
    ALL_BUT_SAM,
    CONDITIONS,
    HALF,
    MIXER,
    NONE,
    SAM,
    VIT,
    compare,
    conclude,
    curve,
    ranked,
    settings,
)
from tinymixer.studies.data_share import share_of
from tinymixer.studies.networks import TRANSFORMER
from tinymixer.studies.numbers import Numbers
from tinymixer.studies.picture import MARKERS, below, legend, named, panels, plain_numbers, save, with_spread
from tinymixer.studies.study import Form, Part, Study
from tinymixer.training.evaluate import evaluate
from tinymixer.training.other_weights import averaged_weights
from tinymixer.training.trainer import Trainer

SHARE = 10  # per cent of the training images
CARRYING = (NONE, "CutMix", "RandAugment", ALL_BUT_SAM)  # in the full form the Mixer's runs with more than one seed
LENGTH: Mapping[str, Mapping[str, Any]] = {"quick": {"steps": 400}, "full": {"steps": 1500, "warmup_epochs": 1.0}}
TIMES = {"quick": 10, "full": 4}  # how often the images are repeated in an epoch, which makes a point of the curves
CLEAN_IMAGES = 1000  # of the training images, at most, on which training figures are taken


def parts(form: Form) -> list[Part]:
    made = []
    conditions = [(MIXER, name, "") for name in CONDITIONS] + [(MIXER, SAM, HALF), (MIXER, ALL, HALF)]
    conditions += [(VIT, NONE, ""), (VIT, ALL_BUT_SAM, "")]
    times = TIMES[form.name]
    for seed in range(form.seeds):
        for model, cures, half in conditions:
            if not form.quick and seed and (model == VIT or half or cures not in CARRYING):
                continue
            changes = {**(TRANSFORMER if model == VIT else {}), **settings(form, cures), **LENGTH[form.name]}
            recipe = form.recipe(seed, **changes)
            if half:
                recipe = recipe.with_overrides({"steps": max(1, recipe.training.steps // 2)})
            images = share_of(SHARE, recipe.data.validation_share, seed, times=times)
            what = {"model": model, "cures": cures + half}
            made.append(Part(what, seed, recipe, images, measure=at_the_end(times), watch=after_an_epoch(times)))
    return made


def clean(trainer: Trainer, times: int) -> dict[str, float]:
    """Loss and accuracy on the training images as they are, where an epoch has each of them `times` times."""
    data = trainer.dataset
    different = len(trainer.train_indices) // times
    own = trainer.train_indices[:different][:CLEAN_IMAGES]  # each once: they are repeated in the same order
    size = trainer.recipe.training.eval_batch_size
    with averaged_weights(trainer):
        found = evaluate(trainer.engine, data.train_images, data.train_labels, data.mean, data.std, size, indices=own)
    assert found is not None
    return {"clean_loss": found.loss, "clean_accuracy": found.accuracy}


def after_an_epoch(times: int) -> Callable[[Trainer], Mapping[str, float]]:
    """What the curves are made of."""

    def watch(trainer: Trainer) -> dict[str, float]:
        row = trainer.rows[-1]
        held_out = {name: row[name] for name in ("validation_loss", "validation_accuracy")}
        return {"step": trainer.step, **clean(trainer, times), **held_out}

    return watch


def at_the_end(times: int) -> Callable[[Trainer | None], Mapping[str, float]]:
    """Training figures of the finished run, and by how much it is better on training images than on others."""

    def measure(trainer: Trainer | None) -> dict[str, float]:
        assert trainer is not None
        found, row = clean(trainer, times), trainer.rows[-1]
        return found | {
            "accuracy_gap": found["clean_accuracy"] - row["validation_accuracy"],
            "loss_gap": row["validation_loss"] - found["clean_loss"],
        }

    return measure


def shown(numbers: Numbers) -> list[str]:
    """Whose curves are drawn: none, the single cures that bring most and least, all but SAM."""
    order = ranked(numbers)
    wanted = dict.fromkeys([NONE, *order[:1], *order[-1:], ALL_BUT_SAM])
    return [name for name in wanted if numbers.chosen(model=MIXER, cures=name)]


def rows_of(numbers: Numbers) -> list[tuple[str, str]]:
    """The rows of the right panels, model and cures: the single cures in the order of what they bring."""
    rows = [(MIXER, NONE)]
    for cures in (*ranked(numbers), ALL_BUT_SAM, ALL):
        rows += [(MIXER, cures), (MIXER, cures + HALF)]
    rows += [(VIT, NONE), (VIT, ALL_BUT_SAM)]
    return [(model, cures) for model, cures in rows if numbers.chosen(model=model, cures=cures)]


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    rows = rows_of(numbers)
    with plain_settings():
        figure, axes = panels([["curves", "accuracy", "gap"]], 11.5, 4.6, width_ratios=[1.5, 1, 0.8])
        _draw_curves(numbers, axes["curves"])
        for panel, name in (("accuracy", "validation_accuracy"), ("gap", "accuracy_gap")):
            for place, (model, cures) in enumerate(rows):
                kind = 2 if model == VIT else 0 if cures == NONE else 1 if cures.startswith(ALL) else 4
                spread = numbers.spread(name, model=model, cures=cures)
                with_spread(axes[panel], [place], [spread], COLOURS[kind], MARKERS[kind], "", 100, across=True)
            if none := numbers.spread(name, model=MIXER, cures=NONE):
                axes[panel].axvline(100 * none.mean, color=INK, linewidth=0.8, linestyle=":")
            axes[panel].set_ylim(len(rows) - 0.5, -0.5)
            axes[panel].set_yticks(range(len(rows)), [""] * len(rows))
        labels = [cures if model == MIXER else f"ViT, {cures}" for model, cures in rows]
        axes["accuracy"].set_yticks(range(len(rows)), labels, fontsize=8)
        named(axes["accuracy"], "At the end", "validation accuracy in %")
        named(
            axes["gap"], "How far it overfits", "accuracy on training images, less\nthat on validation images, points"
        )
        below(
            figure,
            f"Means over {numbers.seeds_in_words()}; shaded, and bars: smallest to largest. Training figures are of "
            "unchanged training images. Dotted: the Mixer without a cure.",
        )
        return [save(figure, folder, "overfitting.png", " ".join(conclude(numbers)))]


def _draw_curves(numbers: Numbers, axes: Any) -> None:
    """Training (dashed) and validation loss over the steps."""
    entries = []
    for index, cures in enumerate(shown(numbers)):
        for figure, style in (("clean_loss", "--"), ("validation_loss", "-")):
            steps, spreads = curve(numbers, figure, cures)
            marker = "o" if len(steps) < 3 else None
            means, low, high = ([getattr(each, name) for each in spreads] for name in ("mean", "low", "high"))
            (line,) = axes.plot(steps, means, style, color=COLOURS[index], linewidth=1.6, marker=marker)
            axes.fill_between(steps, low, high, color=COLOURS[index], alpha=0.2, linewidth=0)
        entries.append((line, cures))
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    named(axes, "Loss: validation solid, training dashed", "steps", "cross-entropy loss")
    legend(axes, entries, loc="lower left")


STUDY = Study(
    name="overfitting",
    question="What does each cure bring where a Mixer overfits, alone and together?",
    paper="sections 3.1 and 3.2, supplementary B (arXiv 2105.01601)",
    parts=parts,
    draw=draw,
    conclude=conclude,
    compare=compare,
    seeds=(2, 3),
)
