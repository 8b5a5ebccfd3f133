"""`inside`: what did token mixing learn?

The units of the first blocks' token mixing as images of the patch grid, each beside its closest opposite; the stem's
filters; the first layer of a convolutional network; and for each block how far tokens reach.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import plain_settings
from tinymixer.analysis.token_influence import grid_distances, token_influence
from tinymixer.analysis.token_mixing_weights import as_images, opposite_phases
from tinymixer.analysis.weights_picture import coloured, fineness, in_pairs, mosaic, stem_filters
from tinymixer.data import normalise
from tinymixer.models import MlpMixer
from tinymixer.studies.numbers import Numbers, PartResult, Spread
from tinymixer.studies.picture import MARKERS, below, legend_below, named, panels, save, with_spread
from tinymixer.studies.study import Form, Part, Study
from tinymixer.text import counted
from tinymixer.training.build import build_model
from tinymixer.training.loading import load_run
from tinymixer.training.trainer import Trainer

IMAGES = 64  # of the validation images, on which influence is measured
BLOCKS = 3  # whose units are drawn
TOKENS = "mixer"  # whose token mixing is drawn and measured
PATCHES = "mixer, patches of 2"  # in the quick form: a stem that sees more than one pixel
CONVOLUTIONS = "resnet"
# On digits, tokens of one pixel: an 8 x 8 grid, of which units make pictures. A decay as in the paper's own training
# (0.1) leaves the first random weights standing in a run this short, so that it is stronger here.
QUICK: Mapping[str, Any] = {"patch_size": 1, "tokens_mlp_dim": 32, "hidden_dim": 16, "channels_mlp_dim": 64,
                            "weight_decay": 3.0, "steps": 400}  # fmt: skip


def parts(form: Form) -> list[Part]:
    made = []
    convolutions = {"architecture": "resnet", "depths": "1-1-1", "width": 16}
    for seed in range(form.seeds):
        recipe = form.recipe(seed, **(QUICK if form.quick else {}))
        made.append(Part({"model": TOKENS}, seed, recipe, measure=what_was_learned))
        if form.quick:
            made.append(Part({"model": PATCHES}, seed, form.recipe(seed)))
        if form.quick or not seed:  # one picture of its filters, which no number is about
            made.append(Part({"model": CONVOLUTIONS}, seed, form.recipe(seed, **convolutions)))
    return made


def what_was_learned(trainer: Trainer | None) -> dict[str, Any]:
    """Reach, fineness and opposite phases of each block, after training and before: a number for each block."""
    assert trainer is not None
    trained = load_run(trainer.folder.path, "last", backend="numpy").model
    untrained = build_model(trainer.recipe.with_overrides({"backend": "numpy"}))
    dataset = trainer.dataset
    chosen = dataset.train_images[trainer.validation_indices[:IMAGES]]
    images = normalise(chosen, dataset.mean, dataset.std)
    figures: dict[str, Any] = {}
    for name, model in (("trained", trained), ("untrained", untrained)):
        assert isinstance(model, MlpMixer)
        figures[f"reach_{name}"] = reach(model, images)
        units = [as_images(model, block) for block in range(len(model.blocks))]  # (DS, down, across) each
        figures[f"opposite_{name}"] = [float(opposite_phases(each)[1].mean()) for each in units]
        figures[f"fineness_{name}"] = [float(fineness(each).mean()) for each in units]
    return figures


def reach(model: MlpMixer, images: np.ndarray) -> list[float]:
    """How far the tokens of each block reach, as a share of the mean distance on the grid: one number for each block.

    A token is influenced by another as `token_influence` measures it, through that block alone. The mean distance of a
    token from the others, weighted by their influence, is divided by the plain mean. 1: near and far count the same; 0
    would be the nearest alone, were they at no distance. What a token does to itself is left out, since the skip
    connection carries it.
    """
    ops, config = model.ops, model.config
    if config.overlap:
        patches, _ = ops.images_to_windows_forward(images, config.patch_size, config.overlap)
    else:
        patches, _ = ops.images_to_patches_forward(images, config.patch_size)  # (S, B, features)
    x, _ = model.stem.forward(patches)  # (S, B, C)
    distances = grid_distances(config.grid[0])  # (S, S)
    others = ~np.eye(len(distances), dtype=bool)
    generator = np.random.default_rng(0)
    found = []
    for block in model.blocks:
        influence = token_influence([block], x, generator)  # (S, S)
        near = (influence * distances)[others].sum() / influence[others].sum()
        found.append(float(near / distances[others].mean()))
        x, _ = block.forward(x)  # (S, B, C)
    return found


def by_block(numbers: Numbers, figure: str) -> list[Spread]:
    """A figure of each block over the seeds."""
    lists = [result.figures[figure] for result in numbers.chosen(model=TOKENS)]
    return [Spread(tuple(values)) for values in zip(*lists, strict=True)]


def conclude(numbers: Numbers) -> list[str]:
    after, before = by_block(numbers, "reach_trained"), by_block(numbers, "reach_untrained")
    opposite, random = by_block(numbers, "opposite_trained"), by_block(numbers, "opposite_untrained")
    fine, fine_random = by_block(numbers, "fineness_trained"), by_block(numbers, "fineness_untrained")
    if not after:
        return []

    def listed(spreads: list[Spread]) -> str:
        return ", ".join(spread.plain() for spread in spreads)

    return [
        f"Reach by block, as a share of the grid's mean distance: {listed(after)}; before training {listed(before)}.",
        f"Mean spatial frequency of the units, in cycles a token, by block: {listed(fine)}; of random weights, before "
        f"training, {listed(fine_random)}.",
        f"Mean cosine of a unit with its closest opposite, by block: {listed(opposite)}; of random weights, before "
        f"training, {listed(random)}.",
    ]


def compare(numbers: Numbers) -> list[dict[str, str]]:
    source = "section 3.5, figure 5: Mixer-B/16 trained on JFT-300M"
    after, opposite = by_block(numbers, "reach_trained"), by_block(numbers, "opposite_trained")
    random = by_block(numbers, "opposite_untrained")
    words = {
        name: ", ".join(spread.plain() for spread in spreads)
        for name, spreads in (("after", after), ("opposite", opposite), ("random", random))
    }
    return [
        {"what": "units on the whole image and on smaller regions, less order deeper", "paper": "seen, not measured",
         "source": source, "here": f"reach by block {words['after']}"},
        {"what": "pairs of opposite phase", "paper": "many, not counted", "source": source,
         "here": f"mean cosine by block {words['opposite']}; of random weights {words['random']}"},
    ]  # fmt: skip


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    tokens = load_run(_first(numbers, TOKENS, finished), "last", backend="numpy").model
    assert isinstance(tokens, MlpMixer)
    names = [f"block {index}" for index in range(min(BLOCKS, len(tokens.blocks)))]
    with plain_settings():
        figure, axes = panels([names, ["stem", "convolution", "reach"]], 9.6, 6.6)
        for index, name in enumerate(names):
            units = as_images(tokens, index)  # (DS, down, across)
            title = f"block {index}: {len(units)} units, {units.shape[1]} x {units.shape[2]} tokens"
            _picture(axes[name], title, mosaic(coloured(units[in_pairs(units)]), pairs=True))
        patches = PATCHES if numbers.chosen(model=PATCHES) else TOKENS
        of_patches = load_run(_first(numbers, patches, finished), "last", backend="numpy").model
        assert isinstance(of_patches, MlpMixer)
        filters = stem_filters(of_patches)
        size = filters.shape[1]
        _picture(axes["stem"], f"stem: {len(filters)} filters, {size} x {size} pixels", mosaic(coloured(filters)))
        network = load_run(_first(numbers, CONVOLUTIONS, finished), "last", backend="numpy").model
        kernels = np.moveaxis(network.parameters["stem.convolution.weight"], 3, 0)  # (filters, k, k, channels)
        kernels = kernels[np.argsort(fineness(kernels), kind="stable")]
        size = kernels.shape[1]
        title = f"ResNet's first layer: {len(kernels)}, {size} x {size} pixels"
        _picture(axes["convolution"], title, mosaic(coloured(kernels)))
        entries = []
        for index, (figure_name, label) in enumerate((("reach_trained", "trained"), ("reach_untrained", "untrained"))):
            spreads = by_block(numbers, figure_name)
            places = [block + 0.08 * (index - 0.5) for block in range(len(spreads))]
            line = with_spread(axes["reach"], places, spreads, COLOURS[index], MARKERS[index])
            entries.append((line, label))
        named(axes["reach"], "How far tokens reach", "block", "share of the mean distance")
        axes["reach"].set_xticks(range(len(tokens.blocks)))
        legend_below(axes["reach"], entries, 2)
        seeds = len(numbers.chosen(model=TOKENS))
        below(
            figure,
            f"Weights of seed 0: red above zero, blue below, each image by its own largest weight; pairs of opposite "
            f"phase beside each other, coarse ones first. Reach: {counted(seeds, 'seed')}.",
        )
        return [save(figure, folder, "inside.png", " ".join(conclude(numbers)))]


def _first(numbers: Numbers, model: str, finished: Mapping[str, Path]) -> Path:
    """The run folder of the first finished part of that model. Raises LookupError where there is none."""
    results: list[PartResult] = numbers.chosen(model=model)
    if not results:
        raise LookupError(f"no part with the {model} has finished")
    return finished[results[0].name] / "run"


def _picture(axes: Any, title: str, picture: np.ndarray) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, color=INK, fontsize=8, loc="left")
    axes.set_axis_off()
    axes.set_anchor("NW")


STUDY = Study(
    name="inside",
    question="What did token mixing learn, and how local is it?",
    paper="section 3.5 and figure 5, appendix (arXiv 2105.01601)",
    parts=parts,
    draw=draw,
    conclude=conclude,
    compare=compare,
    seeds=(3, 3),
)
