"""`permutations`: does it matter to a network which pixel stands where?

The same permutation is applied to all images: of the patches, and of the pixels within every patch ("patches"), or of
all pixels of the image ("pixels"). A Mixer reads patches as vectors and tokens as positions of a vector, so for it the
first is another order of its weights' rows and columns, and nothing else.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import plain_settings
from tinymixer.data import Dataset, normalise
from tinymixer.data.randomness import generator
from tinymixer.errors import TinymixerError
from tinymixer.models import MlpMixer, Model
from tinymixer.studies.networks import MODELS
from tinymixer.studies.numbers import Numbers
from tinymixer.studies.part import images_of
from tinymixer.studies.picture import MARKERS, below, legend_below, named, panels, save, with_spread
from tinymixer.studies.study import Form, Part, Study
from tinymixer.text import counted
from tinymixer.training.build import build_model
from tinymixer.training.recipe import Recipe
from tinymixer.training.trainer import Trainer

KINDS = ("original", "patches", "pixels")
WORDS = {"original": "as they are", "patches": "patches, and within", "pixels": "all pixels"}
# Rotating and zooming before or after a permutation are not the same, and a ResNet's flip is no flip of shuffled
# images: nothing is augmented here.
PLAIN: Mapping[str, Any] = {"transforms": "", "crop_padding": 0, "flip": False, "alternate_flip": False}
SAME_START = "mixer, same start"
CHECKED_IMAGES = 64


def orders(grid: int, patch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The drawn orders of the patches (grid * grid,), and of the pixels within a patch (patch * patch,)"""
    random = generator(seed, "study")
    return random.permutation(grid * grid), random.permutation(patch * patch)


def pixel_order(kind: str, size: int, patch: int, seed: int) -> np.ndarray:
    """Which pixel of the image stands at each place of the permuted one: (size * size,), row by row."""
    places = np.arange(size * size)
    if kind == "pixels":
        return generator(seed, "study", 1).permutation(places)
    if kind == "original":
        return places
    grid = size // patch
    of_patches, within = orders(grid, patch, seed)
    patches = places.reshape(grid, patch, grid, patch).swapaxes(1, 2).reshape(grid * grid, patch * patch)  # (S, P*P)
    patches = patches[of_patches][:, within]
    return patches.reshape(grid, grid, patch, patch).swapaxes(1, 2).reshape(size * size)


def permuted(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    """images (N, size, size, channels)  ->  the same with the pixels in that order; colours stay together"""
    count, *shape = images.shape
    flat = images.reshape(count, len(order), -1)  # (N, size*size, channels)
    return np.ascontiguousarray(flat[:, order]).reshape(count, *shape)


def permuting(kind: str, patch: int, seed: int) -> Callable[[Dataset], Dataset]:
    """What does that to the training and validation images of a data set."""

    def change(dataset: Dataset) -> Dataset:
        order = pixel_order(kind, dataset.image_size, patch, seed)
        return dataclasses.replace(dataset, train_images=permuted(dataset.train_images, order))

    return change


def permute_weights(model: MlpMixer, of_patches: np.ndarray, within: np.ndarray) -> None:
    """Change a Mixer so that it does to permuted images what it did to the original ones.

    of_patches (S,), within (P*P,): as `orders` returns them

    Place k of a permuted patch holds pixel within[k], so the stem's rows for it move there. Token s is what token
    of_patches[s] was: the columns of each weight1 of token mixing, and the rows of weight2 and bias2, move with it.
    """
    parameters = model.parameters
    stem = parameters["stem.weight"]  # (P*P*channels, C)
    stem[...] = stem.reshape(len(within), -1, stem.shape[1])[within].reshape(stem.shape)
    for i in range(len(model.blocks)):
        part = f"blocks.{i}.token_mixing."
        weight1, weight2, bias2 = (parameters[part + name] for name in ("weight1", "weight2", "bias2"))
        weight1[...] = weight1[:, of_patches].copy()  # (DS, S)
        weight2[...] = weight2[of_patches].copy()  # (S, DS)
        bias2[...] = bias2[of_patches].copy()  # (S,)


def permuted_start(seed: int) -> Callable[[Recipe, Dataset], Model]:
    """What makes the Mixer that the recipe's seed draws, with its weights permuted."""

    def make(recipe: Recipe, dataset: Dataset) -> Model:
        model = build_model(recipe)
        assert isinstance(model, MlpMixer)
        permute_weights(model, *orders(model.config.grid[0], model.config.patch_size, seed))
        return model

    return make


def exactness(form: Form, seed: int) -> dict[str, float]:
    """The largest difference between logits of a random Mixer on images, and of the permuted one on permuted images.

    Beside it the same without permuting the weights, and how large the logits are.
    """
    dataset = images_of(form)
    recipe = form.recipe(seed, **PLAIN).fitted_to(dataset)
    images = dataset.train_images[:CHECKED_IMAGES]
    config: Any = recipe.model
    order = pixel_order("patches", config.image_size, config.patch_size, seed)
    found: dict[str, float] = {}
    for dtype in ("float64", "float32"):
        model = MlpMixer(config, backend="numpy", dtype=dtype, seed=seed)
        random = np.random.default_rng(seed)
        for name in model.parameters.names:  # what is zero or one at the start would hide mistakes
            weight = model.parameters[name]
            weight[...] += random.normal(0, 0.3, weight.shape)
        here, there = (normalise(each, dataset.mean, dataset.std, dtype) for each in (images, permuted(images, order)))
        logits = model.forward(here)[0]  # (B, K)
        unchanged = model.forward(there)[0]
        permute_weights(model, *orders(config.grid[0], config.patch_size, seed))
        again = model.forward(there)[0]
        found[f"difference_{dtype}"] = float(np.abs(again - logits).max())
        found[f"difference_of_unchanged_weights_{dtype}"] = float(np.abs(unchanged - logits).max())
        found[f"largest_logit_{dtype}"] = float(np.abs(logits).max())
    return found


def checking(form: Form, seed: int) -> Callable[[Trainer | None], Mapping[str, Any]]:
    """A part's measurement: `exactness`, which needs no trained model."""
    return lambda trainer: exactness(form, seed)


def parts(form: Form) -> list[Part]:
    made = []
    patch = form.recipe().model.patch_size
    for seed in range(form.seeds):
        made.append(Part({"model": "mixer", "images": "exact"}, seed, measure=checking(form, seed)))
        for name, changes in MODELS.items():
            recipe = form.recipe(seed, **PLAIN, **changes)
            for kind in KINDS:
                made.append(Part({"model": name, "images": kind}, seed, recipe, permuting(kind, patch, seed)))
        start = Part(
            {"model": SAME_START, "images": "patches"}, seed, form.recipe(seed, **PLAIN),
            permuting("patches", patch, seed), permuted_start(seed),
        )  # fmt: skip
        made.append(start)
    return made


def relative_drop(numbers: Numbers, model: str, kind: str) -> list[float]:
    """By how much of itself the accuracy falls when images are permuted, for each seed: from 0 to 1."""
    pairs = numbers.paired(
        "validation_accuracy", {"model": model, "images": "original"}, {"model": model, "images": kind}
    )
    return [1 - after / before for before, after in pairs if before]


def drop_words(numbers: Numbers, model: str, kind: str) -> str:
    drops = relative_drop(numbers, model, kind)
    if not drops:
        return "not measured"
    return f"{100 * sum(drops) / len(drops):.1f} % ({100 * min(drops):.1f} to {100 * max(drops):.1f})"


def same_start_differences(numbers: Numbers) -> list[float]:
    """The largest difference of validation losses over the epochs, between the Mixer and the permuted one."""
    first, second = (
        {result.seed: result.figures["validation_losses"] for result in numbers.chosen(model=model, images=kind)}
        for model, kind in (("mixer", "original"), (SAME_START, "patches"))
    )
    return [
        max(abs(one - other) for one, other in zip(first[seed], second[seed], strict=True))
        for seed in first
        if seed in second
    ]


def conclude(numbers: Numbers) -> list[str]:
    said = []
    exact = numbers.spread("difference_float64", images="exact")
    if exact:
        control = numbers.spread("difference_of_unchanged_weights_float64", images="exact")
        said.append(
            f"With stem and token weights permuted like the images, logits differ by {exact.high:.1e} at most in "
            f"float64, which is rounding; with the weights left as they are by {control.mean:.1f}."
        )
    if found := same_start_differences(numbers):
        said.append(
            "Trained from permuted first weights on permuted images, a Mixer's validation loss stays within "
            f"{max(found):.1e} of the original's in all epochs (float32 rounding, which grows with the steps)."
        )
    for model in MODELS:
        if numbers.spread("validation_accuracy", model=model, images="original"):
            said.append(
                f"{model}, share of its accuracy that is lost (by seed; below 0: won): "
                f"{drop_words(numbers, model, 'patches')} where patches and the pixels within are permuted, "
                f"{drop_words(numbers, model, 'pixels')} where all pixels are."
            )
    return said


def compare(numbers: Numbers) -> list[dict[str, str]]:
    source = "section 3.4, figure 4: linear 5-shot accuracy on ImageNet after training on JFT-300M"
    return [
        {"what": "Mixer, patches and within", "paper": "none: the curves match", "source": source,
         "here": drop_words(numbers, "mixer", "patches")},
        {"what": "Mixer, all pixels", "paper": "about 45 %", "source": source,
         "here": drop_words(numbers, "mixer", "pixels")},
        {"what": "ResNet, patches and within", "paper": "significant, no number in the text", "source": source,
         "here": drop_words(numbers, "resnet", "patches")},
        {"what": "ResNet, all pixels", "paper": "about 75 %", "source": source,
         "here": drop_words(numbers, "resnet", "pixels")},
    ]  # fmt: skip


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    seeds = sorted({result.seed for result in numbers.chosen(images="original")})
    with plain_settings():
        figure, axes = panels([["original", "accuracy"], ["patches", "accuracy"], ["pixels", "accuracy"]], 8.2, 4.4,
                              width_ratios=[1, 3.6])  # fmt: skip
        form = Form(numbers.quick, 1, numbers.data)
        shown = _shown_image(form)
        for kind in KINDS:
            if shown is not None:
                patch = form.recipe().model.patch_size
                picture = permuted(shown[None], pixel_order(kind, len(shown), patch, 0))[0]
                axes[kind].imshow(picture.squeeze(), cmap="gray", interpolation="nearest")
            axes[kind].set_title(WORDS[kind], color=INK, fontsize=8, loc="left")
            axes[kind].set_axis_off()
        entries = []
        for index, model in enumerate([*MODELS, SAME_START]):
            places = [place + 0.09 * (index - 1.5) for place in range(len(KINDS))]
            spreads = [numbers.spread("validation_accuracy", model=model, images=kind) for kind in KINDS]
            if any(spreads):
                line = with_spread(axes["accuracy"], places, spreads, COLOURS[index], MARKERS[index], "", 100)
                label = model if model != SAME_START else "mixer, permuted first weights"
                entries.append((line, label))
        named(axes["accuracy"], "What a network loses when pixels are permuted", "permuted in all images alike",
              "validation accuracy in %")  # fmt: skip
        axes["accuracy"].set_xticks(range(len(KINDS)), [WORDS[kind] for kind in KINDS])
        legend_below(axes["accuracy"], entries, 4)
        below(figure, f"Mean over {counted(len(seeds), 'seed')}, bars: smallest to largest, dashes: each seed.")
        alt = "; ".join(conclude(numbers))
        return [save(figure, folder, "permutations.png", alt)]


def _shown_image(form: Form) -> np.ndarray | None:
    """An image to show; None where they are not here (CIFAR-10 that was moved away)."""
    try:
        return np.asarray(images_of(form).train_images[3])
    except TinymixerError:
        return None


STUDY = Study(
    name="permutations",
    question="Does it matter which pixel stands where, if it does so in all images alike?",
    paper="section 3.4 and figure 4 (arXiv 2105.01601)",
    parts=parts,
    draw=draw,
    conclude=conclude,
    compare=compare,
    seeds=(3, 3),
)
