"""`token-mixers`: what a block gains from each way of mixing tokens, and what each costs.

All have the same widths, and each trains for as many steps as the MLP's multiply-adds allow. Costs are counted, and
measured, from 16 to 1,024 tokens, and at the widths of the published models.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.analysis.curves import COLOURS
from tinymixer.analysis.figures import plain_settings
from tinymixer.bench.timing import interleaved
from tinymixer.data.manifest import load_manifest
from tinymixer.models import MixerConfig, MlpMixer, preset
from tinymixer.studies.networks import TRANSFORMER
from tinymixer.studies.numbers import Numbers
from tinymixer.studies.picture import MARKERS, below, legend, named, panels, plain_numbers, save, with_spread
from tinymixer.studies.study import Form, Part, Study
from tinymixer.training.recipe import Recipe

# "attention" as the Mixer has it knows no positions; a transformer adds learned ones, and so is a `vit` here, with the
# mean over tokens as the Mixer has it.
POSITIONS = "attention + positions"
MIXERS: Mapping[str, Mapping[str, Any]] = {
    "none": {"tokens": "none"},
    "pool": {"tokens": "pool"},
    "linear": {"tokens": "linear"},
    "mlp": {},
    "attention": {"tokens": "attention"},
    POSITIONS: TRANSFORMER,
}
CARRYING = ("mlp", POSITIONS)  # what the claim is about: in the full form these alone have more than one seed
COUNTED = ("none", "pool", "linear", "mlp", "attention")
WIDTHS: Mapping[str, Any] = {"hidden_dim": 128, "tokens_mlp_dim": 64, "channels_mlp_dim": 512}
PATCHES = (8, 4, 2, 1)  # of 32 x 32 pixels: 16, 64, 256, 1,024 tokens
BATCHES = {16: 32, 64: 16, 256: 4, 1024: 2}
PUBLISHED = ("S/32", "S/16", "B/32", "B/16", "L/32", "L/16", "H/14")
TURNS = 5
TURN_SECONDS = 0.1
PAPER = "section 3.1 and table 2: throughput of Mixer-H/14 beside that of ViT-H/14"


def steps_for(recipe: Recipe, beside: Recipe, form: Form) -> int:
    """As many steps as cost as many multiply-adds as the steps of `beside`."""
    wanted, own = (_with_shape(each.model, form).multiply_adds for each in (beside, recipe))
    return max(1, round(beside.training.steps * wanted / own))


def _with_shape(config: Any, form: Form) -> Any:
    """A model's sizes with the form's images, which a recipe takes from the data when it is trained."""
    manifest = load_manifest(form.dataset)
    shape = {"image_size": manifest.image_size, "in_channels": manifest.channels}
    return type(config).from_dict(config.to_dict() | shape | {"num_classes": len(manifest.class_names)})


def parts(form: Form) -> list[Part]:
    made = []
    for seed in range(form.seeds):
        mlp = form.recipe(seed)
        for name, changes in MIXERS.items():
            if not form.quick and seed and name not in CARRYING:
                continue
            if name == POSITIONS:
                sizes = {field: getattr(mlp.model, field) for field in ("hidden_dim", "channels_mlp_dim", "num_blocks")}
                changes = {**changes, **sizes}
            recipe = form.recipe(seed, **changes)
            recipe = recipe.with_overrides({"steps": steps_for(recipe, mlp, form)})
            made.append(Part({"tokens": name}, seed, recipe))
    made.append(Part({"tokens": "cost", "of": "tokens"}, 0, measure=lambda trainer: costs_by_tokens(), alone=True))
    made.append(Part({"tokens": "cost", "of": "sizes"}, 0, measure=lambda trainer: costs_by_size(), alone=True))
    return made


def costs_by_tokens() -> dict[str, Any]:
    """Multiply-adds and seconds of a forward pass for one image, of two blocks, by token mixer and number of tokens."""
    tokens = [(32 // patch) ** 2 for patch in PATCHES]
    counted: dict[str, list[int]] = {name: [] for name in COUNTED}
    seconds: dict[str, list[float]] = {name: [] for name in COUNTED}
    for patch, count in zip(PATCHES, tokens, strict=True):
        configs = {
            name: MixerConfig(image_size=32, patch_size=patch, num_blocks=2, tokens=name, **WIDTHS) for name in COUNTED
        }
        found = forward_seconds(configs, BATCHES[count])
        for name, config in configs.items():
            counted[name].append(config.multiply_adds)
            seconds[name].append(found[name])
    return {"tokens": tokens, "multiply_adds_by_mixer": counted, "seconds_by_mixer": seconds, "turns": TURNS}


def costs_by_size() -> dict[str, Any]:
    """How many times longer a block with attention takes than one with the MLP, at the widths of published models.

    Forward, with one block: its widths are those of the Mixer, and for B, L and H those of the Vision Transformer too.
    """
    counted, measured = [], []
    for name in PUBLISHED:
        sizes = preset(name).to_dict() | {"num_blocks": 1}
        sizes["heads"] = sizes["hidden_dim"] // (80 if name.startswith("H") else 64)  # as in the transformer's table 1
        configs = {tokens: MixerConfig(**sizes | {"tokens": tokens}) for tokens in ("mlp", "attention")}
        found = forward_seconds(configs, 1)
        blocks = [_of_blocks(configs[tokens]) for tokens in ("attention", "mlp")]
        counted.append(blocks[0] / blocks[1])
        measured.append(found["attention"] / found["mlp"])
    return {"sizes": list(PUBLISHED), "ratio_of_multiply_adds": counted, "ratio_of_seconds": measured, "turns": TURNS}


def _of_blocks(config: MixerConfig) -> int:
    """Multiply-adds of the blocks alone."""
    ends = config.num_tokens * config.patch_features * config.hidden_dim + config.hidden_dim * config.num_classes
    return config.multiply_adds - ends


def forward_seconds(configs: Mapping[str, MixerConfig], batch: int) -> dict[str, float]:
    """Seconds of the processor for one image of each model, forward, layer by layer on one thread, in turns."""
    from threadpoolctl import threadpool_limits

    random = np.random.default_rng(0)
    runs = {
        name: _forward(MlpMixer(config, backend="numpy", seed=0), batch, random) for name, config in configs.items()
    }
    with threadpool_limits(1):
        found = interleaved(runs, TURN_SECONDS, TURNS, time.process_time)
    return {name: seconds / batch for name, seconds in found.items()}


def _forward(model: MlpMixer, batch: int, random: np.random.Generator) -> Callable[[int], None]:
    config = model.config
    shape = (batch, config.image_size, config.image_size, config.in_channels)
    images = random.standard_normal(shape, dtype=np.float32)  # (B, height, width, channels)

    def run(steps: int) -> None:
        for _ in range(steps):
            model.forward(images)

    return run


def conclude(numbers: Numbers) -> list[str]:
    said = []
    spreads = {name: numbers.spread("validation_accuracy", tokens=name) for name in MIXERS}
    mlp = spreads["mlp"]
    if mlp:
        listed = ", ".join(f"{name} {spread.percent()}" for name, spread in spreads.items() if spread)
        said.append(f"Validation accuracy at equal widths and equal multiply-adds: {listed}.")
        if spreads[POSITIONS]:
            gaps = numbers.gains("validation_accuracy", {"tokens": "mlp"}, {"tokens": POSITIONS})
            said.append(
                f"The MLP is ahead of attention with positions by {gaps.mean:.1f} points "
                f"({gaps.low:.1f} to {gaps.high:.1f} by seed)."
            )
    for cost in numbers.chosen(tokens="cost", of="tokens"):
        count, seconds = cost.figures["tokens"], cost.figures["seconds_by_mixer"]
        ratios = [one / other for one, other in zip(seconds["attention"], seconds["mlp"], strict=True)]
        listed = ", ".join(f"{ratio:.1f} at {tokens:,}" for ratio, tokens in zip(ratios, count, strict=True))
        said.append(f"A forward pass with attention takes this many times as long as with the MLP: {listed} tokens.")
    for cost in numbers.chosen(tokens="cost", of="sizes"):
        by_size = zip(cost.figures["sizes"], cost.figures["ratio_of_seconds"], strict=True)
        listed = ", ".join(f"{size} {ratio:.2f}" for size, ratio in by_size)
        said.append(f"The same of one block at the widths of the published models: {listed}.")
    return said


def compare(numbers: Numbers) -> list[dict[str, str]]:
    rows = []
    for cost in numbers.chosen(tokens="cost", of="sizes"):
        figures = cost.figures
        for size, operations, seconds in zip(
            figures["sizes"], figures["ratio_of_multiply_adds"], figures["ratio_of_seconds"], strict=True
        ):
            paper = "2.5 (on TPUs, whole models)" if size == "H/14" else "not given as a ratio"
            rows.append(
                {"what": f"{size}: attention's time over the MLP's", "paper": paper,
                 "source": PAPER if size == "H/14" else "",
                 "here": f"{seconds:.2f} (one block, forward, one thread); {operations:.2f} by multiply-adds"}
            )  # fmt: skip
    return rows


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    with plain_settings():
        figure, axes = panels([["accuracy", "operations", "speed"]], 11.5, 3.9)
        names = list(MIXERS)
        for index, name in enumerate(names):
            spread = numbers.spread("validation_accuracy", tokens=name)
            with_spread(axes["accuracy"], [index], [spread], COLOURS[index], MARKERS[index], "", 100)
        labels = [name.replace(" + ", "\n+ ") for name in names]
        axes["accuracy"].set_xticks(range(len(names)), labels, fontsize=8, rotation=20)
        named(axes["accuracy"], "Accuracy, equal multiply-adds", "token mixing", "validation accuracy in %")
        entries = []
        for cost in numbers.chosen(tokens="cost", of="tokens"):
            count = cost.figures["tokens"]
            for index, name in enumerate(COUNTED):
                style = {"color": COLOURS[index], "marker": MARKERS[index], "linewidth": 1.6, "markersize": 5}
                style["linestyle"] = "--" if name == "pool" else "-"  # it costs no products, as none does
                operations = [value / 1e6 for value in cost.figures["multiply_adds_by_mixer"][name]]
                speed = [1 / value for value in cost.figures["seconds_by_mixer"][name]]
                axes["operations"].plot(count, operations, **style)
                (line,) = axes["speed"].plot(count, speed, **style)
                entries.append((line, name))
        named(axes["operations"], "Counted", "tokens S", "million multiply-adds an image")
        named(axes["speed"], "Measured", "tokens S", "images a second, forward, one thread")
        for name in ("operations", "speed"):
            axes[name].set_xscale("log", base=2)
            axes[name].set_yscale("log")
            for axis in (axes[name].xaxis, axes[name].yaxis):
                plain_numbers(axis)
            axes[name].set_xticks([16, 64, 256, 1024])
        legend(axes["speed"], entries, loc="lower left")
        below(
            figure,
            f"Left: mean over {numbers.seeds_in_words()}, bars: smallest to largest. Middle and right: two blocks, "
            "C = 128, DS = 64, DC = 512; median of 5 turns.",
        )
        return [save(figure, folder, "token-mixers.png", " ".join(conclude(numbers)))]


STUDY = Study(
    name="token-mixers",
    question="What does a block gain from each way of mixing tokens, and what does each cost?",
    paper="sections 2 and 3.1, table 2 (arXiv 2105.01601)",
    parts=parts,
    draw=draw,
    conclude=conclude,
    compare=compare,
    seeds=(2, 3),
)
