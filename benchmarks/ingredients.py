"""What each ingredient of a recipe brings, at equal processor time: the tables of docs/recipe.md.

    python -m benchmarks.ingredients --data CIFAR --out FOLDER                       every row, one seed
    python -m benchmarks.ingredients --data CIFAR --out FOLDER --seeds 3 "without muon" "with sam"

Each row is the recipe with one ingredient left out, or with one more. Its steps are the recipe's, fewer or more by the
time that a step of it takes beside a step of the recipe, measured in turns. Accuracies are of validation images. The
folder is a ledger: what is finished is never run again, and a run that was stopped goes on.
"""

import dataclasses
import json
import statistics
import time
from pathlib import Path

import click
import numpy as np

from tinymixer import Trainer, load_dataset, load_recipe
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
    "with whitened_stem": {"whitened_stem": True},
    "with cutout": {"cutout": 8},
    "with strong transforms": {"transforms": STRONG},
    "with trivial_augment": {"transforms": "trivial_augment"},
    "with cutmix": {"cutmix": 1.0, "mixing_off": 0.3},
    "with mixup": {"mixup": 0.4, "mixing_off": 0.3},
    "with drop_path": {"drop_path": 0.1},
    "with sam": {"sam_rho": 0.1},
    "with layer_scale": {"layer_scale": 0.1},
    "with a gate": {"gated": True},
    "with four token groups": {"token_groups": 4},
    # What a plain run has, and each ingredient alone on top of it.
    "plain": {},
    "plain and muon": {"optimizer": "muon", "learning_rate": None},
    "plain and averaging": {"ema_decay": None},
    "plain and overlap": {"overlap": None},
    "plain and local token_init": {"token_init": None},
    "plain and alternate_flip": {"alternate_flip": None},
    "plain and label smoothing": {"label_smoothing": None},
}
PLAIN: dict[str, object] = {
    "optimizer": "adamw", "learning_rate": 3e-3, "ema_decay": 0.0, "overlap": 0, "token_init": "lecun",
    "alternate_flip": False, "label_smoothing": 0.0,
}  # fmt: skip
MEASURED_STEPS = 8  # in each turn


def recipe_of(row: str, base: Recipe) -> Recipe:
    """The recipe of a row: None stands for the base recipe's own value."""
    if not row.startswith("plain"):
        return base.with_overrides(ROWS[row])
    own = {name.split(".")[1]: value for name, value in base.values().items()}
    chosen = PLAIN | {name: own[name] if value is None else value for name, value in ROWS[row].items()}
    return base.with_overrides(chosen)


def relative_time(row: Recipe, base: Recipe, dataset: Dataset, scratch: Path, turns: int = 5) -> float:
    """The time of a step of `row`, in steps of `base`: the median over turns of both, one after the other."""
    trainers = [
        Trainer(each.with_overrides({"epochs": 1, "steps": 0, "seconds": 0}), scratch / str(i), dataset)
        for i, each in enumerate((row, base))
    ]
    ratios = []
    for turn in range(turns + 1):
        seconds = []
        for trainer in trainers:
            plan = _first_steps(trainer, turn)
            started = time.perf_counter()
            for _ in trainer.engine.steps(plan):
                pass
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])  # the first turn fills caches


def _first_steps(trainer: Trainer, turn: int) -> list:
    from tinymixer.engines import Step

    size = trainer.recipe.training.batch_size
    order = np.random.default_rng(turn).permutation(trainer.train_indices)
    return [Step(order[i * size : (i + 1) * size], 0, i, 1e-6) for i in range(MEASURED_STEPS)]


@click.command(help=__doc__)
@click.argument("rows", nargs=-1)
@click.option("--recipe", "name", default="cifar10-15min", show_default=True)
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="CIFAR-10.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The ledger's folder.")
@click.option("--steps", default=1500, show_default=True, help="Steps of the recipe itself.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--threads", default=0, show_default=True)
def main(rows: tuple[str, ...], name: str, data: Path, out: Path, steps: int, seeds: int, threads: int) -> None:
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise click.UsageError(f"there is no row '{unknown[0]}': expected some of {', '.join(ROWS)}")
    out.mkdir(parents=True, exist_ok=True)
    common = {"seconds": 0, "validation_share": 0.1, "threads": threads}
    base = load_recipe(name).with_overrides(common)
    dataset = load_dataset("cifar10", path=data)
    dataset = dataclasses.replace(  # no test images: nothing here can look at them
        dataset, test_images=dataset.test_images[:0], test_labels=dataset.test_labels[:0]
    )
    for seed in range(seeds):
        for row in rows or ROWS:
            ledger = out / "ledger.json"
            entries = json.loads(ledger.read_text()) if ledger.exists() else {}
            entry = entries.setdefault(row, {})
            recipe = recipe_of(row, base)
            if "time" not in entry:
                entry["time"] = (
                    1.0 if row == "the recipe" else relative_time(recipe, base, dataset, out / "scratch" / row)
                )
                ledger.write_text(json.dumps(entries, indent=1))
            if str(seed) in entry.get("accuracy", {}):
                continue
            folder = out / row.replace(" ", "-") / str(seed)
            run = recipe.with_overrides({"seed": seed, "steps": max(1, round(steps / entry["time"]))})
            result = Trainer(run, folder, dataset, resume=(folder / "config.toml").exists()).run()
            if result.status == "interrupted":
                raise SystemExit(130)
            last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
            entry.setdefault("accuracy", {})[str(seed)] = 100 * last["validation_accuracy"]
            ledger.write_text(json.dumps(entries, indent=1))
            click.echo(line_of(row, entry))
    table = "\n".join(line_of(row, entry) for row, entry in json.loads((out / "ledger.json").read_text()).items())
    (out / "table.md").write_text(f"| | step's time | validation accuracy, % | seeds |\n|---|--:|--:|--:|\n{table}\n")


def line_of(row: str, entry: dict) -> str:
    found = list(entry.get("accuracy", {}).values())
    spread = f" ({min(found):.1f} to {max(found):.1f})" if len(found) > 1 else ""
    mean = f"{statistics.mean(found):.2f}{spread}" if found else ""
    return f"| {row} | {entry['time']:.2f} | {mean} | {len(found)} |"


if __name__ == "__main__":
    main()
