"""What each ingredient of a recipe brings, at equal processor time: the tables of docs/recipe.md.

    python -m benchmarks.ingredients --data CIFAR --out FOLDER                       every row, one seed
    python -m benchmarks.ingredients --data CIFAR --out FOLDER --seeds 3 "without muon" "with sam"

Each row is the recipe with one ingredient left out, or with one more. Its steps are the recipe's, fewer or more by the
time that a step of it takes beside a step of the recipe, measured in turns. Accuracies are of validation images. The
folder is a ledger: what is finished is never run again, and a run that was stopped goes on.
"""

from pathlib import Path
from typing import Any

import click

from benchmarks.ledger import (
    Entries,
    Ledger,
    Until,
    finish,
    relative_time,
    sentences,
    stated,
    summed_up,
    without_test_images,
)
from tinymixer import load_dataset, load_recipe
from tinymixer.data import Dataset
from tinymixer.training import Recipe

STRONG = (
    "rotate(15, 0.3) zoom(0.2, 0.3) shift_x(0.1, 0.3) shift_y(0.1, 0.3) saturation(0.5, 0.3) contrast(0.4, 0.3) "
    "offset(0.1, 0.3)"
)
ROWS: dict[str, dict[str, object]] = {
    "the recipe": {},
    "without muon": {"optimizer": "adamw", "learning_rate": 3e-3},
    "without averaging": {"ema_decay": 0.0},
    "without overlap": {"overlap": 0},
    "without local token_init": {"token_init": "lecun"},
    "without alternate_flip": {"alternate_flip": False},
    "without flip and crop": {"flip": False, "alternate_flip": False, "crop_padding": 0},
    "without label smoothing": {"label_smoothing": 0.0},
    "with cosine": {"schedule": "cosine"},
    "with trapezoid": {"schedule": "trapezoid"},
    "with three Newton-Schulz steps": {"newton_schulz_steps": 3},
    "without whitened_stem": {"whitened_stem": False},
    "with cutout": {"cutout": 8},
    "with strong transforms": {"transforms": STRONG},
    "with trivial_augment": {"transforms": "trivial_augment"},
    "with cutmix": {"cutmix": 1.0, "mixing_off": 0.3},
    "with mixup": {"mixup": 0.4, "mixing_off": 0.3},
    "with drop_path": {"drop_path": 0.1},
    "with sam": {"sam_rho": 0.1},
    "with layer_scale": {"layer_scale": 0.1},
    "with a gate": {"gated": True},
    "with four untied groups": {"untied_groups": 4},
    "with four grouped channels": {"grouped_channels": 4},
    # What a plain run has, and each ingredient alone on top of it.
    "plain": {},
    "plain and muon": {"optimizer": "muon", "learning_rate": None},
    "plain and averaging": {"ema_decay": None},
    "plain and overlap": {"overlap": None},
    "plain and whitened_stem": {"whitened_stem": None},
    "plain and local token_init": {"token_init": None},
    "plain and alternate_flip": {"alternate_flip": None},
    "plain and label smoothing": {"label_smoothing": None},
}
PLAIN: dict[str, object] = {
    "optimizer": "adamw", "learning_rate": 3e-3, "ema_decay": 0.0, "overlap": 0, "token_init": "lecun",
    "whitened_stem": False, "alternate_flip": False, "label_smoothing": 0.0,
}  # fmt: skip


def recipe_of(row: str, base: Recipe) -> Recipe:
    """The recipe of a row: None stands for the base recipe's own value."""
    if not row.startswith("plain"):
        return base.with_overrides(ROWS[row])
    own = {name.split(".")[1]: value for name, value in base.values().items()}
    chosen = PLAIN | {name: own[name] if value is None else value for name, value in ROWS[row].items()}
    return base.with_overrides(chosen)


@click.command(help=__doc__)
@click.argument("rows", nargs=-1)
@click.option("--recipe", "name", default="cifar10-15min", show_default=True)
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="The recipe's data set, such as CIFAR-10.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The ledger's folder.")
@click.option("--steps", default=1500, show_default=True, help="Steps of the recipe itself.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--threads", default=0, show_default=True)
def main(rows: tuple[str, ...], name: str, data: Path | None, out: Path, steps: int, seeds: int, threads: int) -> None:
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise click.UsageError(f"there is no row '{unknown[0]}': expected some of {', '.join(ROWS)}")
    with sentences():
        base = load_recipe(name).with_overrides({"seconds": 0, "validation_share": 0.1, "threads": threads})
        dataset = without_test_images(load_dataset(base.data.dataset, path=data))
        with Ledger(out, stated(base) | {"steps of the recipe": steps}, table, click.echo) as ledger:
            for seed in range(seeds):
                for row in rows or ROWS:
                    fill(ledger, row, base, dataset, seed, steps)
            ledger.save()


def fill(ledger: Ledger, row: str, base: Recipe, dataset: Dataset, seed: int, steps: int) -> None:
    """Measure and train what a row still lacks."""
    recipe = recipe_of(row, base)
    changes = {name: own for name, (own, _) in recipe.differences(base).items()}
    if not changes and row != "the recipe":
        click.echo(f"'{row}' is left out: it is what the recipe {base.name} does anyway")
        return
    entry = ledger.entry(row, changes)
    if "time" not in entry:
        entry["time"] = relative_time(recipe, base, dataset) if changes else 1.0
        ledger.save()
    if str(seed) in entry.get("accuracy", {}):
        return
    run = recipe.with_overrides({"seed": seed, "steps": max(1, round(steps / entry["time"]))})
    last = finish(run, ledger.folder / row.replace(" ", "-") / str(seed), dataset, Until(None))
    assert last is not None  # nothing but a signal stops these runs, and that ends the command
    entry.setdefault("accuracy", {})[str(seed)] = 100 * last["validation_accuracy"]
    ledger.save()
    click.echo(line_of(row, entry))


def table(entries: Entries) -> str:
    lines = [line_of(row, entry) for row, entry in entries.items()]
    return "\n".join(["| | step's time | validation accuracy, % | seeds |", "|---|--:|--:|--:|", *lines, ""])


def line_of(row: str, entry: dict[str, Any]) -> str:
    found = entry.get("accuracy", {}).values()
    time = f"{entry['time']:.2f}" if "time" in entry else ""
    return f"| {row} | {time} | {summed_up(found)} | {len(found)} |"


if __name__ == "__main__":
    main()
