"""The Mixer and what it is measured against, each with the same budget: the table of docs/models.md.

    python -m benchmarks.architectures --data CIFAR --out FOLDER           all that is still to do
    python -m benchmarks.architectures --data CIFAR --out FOLDER --list    what is done, and the minutes that are left
    python -m benchmarks.architectures --data CIFAR --out FOLDER --only vit --minutes 60

Every run is an ordinary one by the recipe, with another model. The phases, in this order:

\b
measure  once for each model: how long a step takes, beside a step of the
         recipe's own model, and what else its runs cost. From these follow
         their numbers of steps, which are then fixed, so that a busy machine
         changes no work
rates    short runs, judged on validation images: three learning rates, and a
         weaker decay at the best of them. Nothing else is tuned. The recipe's
         own model has none: its rate was chosen with the recipe
seeds    the whole budget, trained on all training images; the last averaged
         weights see the test images, once

The folder is a ledger: what is finished is never run again, and a run that was stopped goes on from its checkpoint.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.ledger import (
    Entries,
    Ledger,
    Until,
    finish,
    sentences,
    stated,
    summed_up,
    trained_seconds,
    without_test_images,
)
from benchmarks.model_costs import Budgets, cores_of_others, measured
from tinymixer import load_dataset, load_recipe
from tinymixer.data import Dataset
from tinymixer.engines.cpu.threads import default_threads
from tinymixer.errors import TrainingError
from tinymixer.models import architectures
from tinymixer.training import Recipe

MODELS: dict[str, dict[str, Any]] = {  # name -> what its recipe has of its own
    "mlp_mixer": {"architecture": "mlp_mixer"},
    "vit": {"architecture": "vit"},
    "resnet": {"architecture": "resnet"},
    "bit": {"architecture": "bit"},
    "nf_resnet": {"architecture": "nf_resnet", "agc": 0.02},  # part of its paper's method
    "botnet": {"architecture": "botnet"},
    "tokens-linear": {"tokens": "linear", "token_init": "lecun"},
    "tokens-pool": {"tokens": "pool", "token_init": "lecun"},
    "tokens-none": {"tokens": "none", "token_init": "lecun"},
    "tokens-attention": {"tokens": "attention", "token_init": "lecun"},
}
BESIDE = "mlp_mixer"  # whose steps all others' are measured against
SIZES = ("patch_size", "hidden_dim", "tokens", "tokens_mlp_dim", "channels_mlp_dim", "num_blocks")
RATES = (0.4, 1.0, 2.5)  # of the recipe's learning rate
WEAKER_DECAY = 0.3  # of the recipe's decay, at the best of these rates: the fourth trial
PHASES = ("measure", "rates", "seeds")
BUSY = 0.2  # cores that other programs may use while something is measured
MEASURING = 60.0  # seconds that measuring a model takes, about


@dataclass(frozen=True)
class Plan:
    """What all models have in common.

    base      the recipe
    dataset   with its test images
    data      where it is; None for one that comes with the package
    steps     of every run, to try the script; 0: as the budgets say
    busy      measure although the machine is busy
    """

    base: Recipe
    dataset: Dataset
    data: Path | None
    budgets: Budgets
    steps: int
    busy: bool

    def recipe(self, model: str, **changes: Any) -> Recipe:
        """A model's recipe; None among the changes leaves a value as it is."""
        return self.base.with_overrides(MODELS[model]).with_overrides(changes)


def known_models() -> list[str]:
    """The models of the table whose architecture there is."""
    return [name for name, own in MODELS.items() if own.get("architecture", "mlp_mixer") in architectures()]


def description(name: str, plan: Plan) -> dict[str, Any]:
    """What a model's runs have of their own, for the ledger; with other sizes, say, they would be other runs."""
    recipe = plan.recipe(name).fitted_to(plan.dataset)
    others = {
        field: own for field, own in MODELS[name].items() if field not in ("architecture", *recipe.model.to_dict())
    }
    plain, given = type(plan.base.model)().to_dict(), recipe.model.to_dict()
    without = [
        f"{field} = {str(value).lower() if isinstance(value, bool) else value}"
        for field, value in plan.base.model.to_dict().items()
        if field not in (*SIZES, *plan.base.from_data) and value not in (plain[field], given.get(field))
    ]
    defaults = type(recipe.model)().to_dict()
    model = {field: value for field, value in given.items() if value != defaults[field]}
    return {"architecture": recipe.architecture, "model": model, "others": others, "left out": without}


# -------------------------------------------------------------------------------------------------------------- phases


def measure_model(entry: dict[str, Any], model: str, plan: Plan, ledger: Ledger) -> None:
    """Write the facts about a model into its entry."""
    others = cores_of_others()
    if others is not None and others > BUSY and not plan.busy:
        raise TrainingError(
            f"other programs use {others:.1f} cores, and what is measured now fixes the length of all runs of '{model}'"
            f": wait until they use less than {BUSY}, give --busy, or go on with what is measured, --phase rates "
            "--phase seeds"
        )
    beside = None
    if model != BESIDE:
        beside = plan.recipe(BESIDE), ledger.entries[BESIDE]["measured"]["step_seconds"]
    found = measured(plan.recipe(model), plan.dataset, plan.data, plan.budgets, beside)
    found["cores of others"] = others
    if plan.steps:
        found["steps"] = {"run": plan.steps, "trial": plan.steps}
    entry["measured"] = found


def number_of_trials(model: str, plan: Plan) -> int:
    """How many trials choose a model's learning rate and decay; those of the recipe's own model are the recipe's."""
    return 0 if model == BESIDE else len(RATES) + bool(plan.base.optimizer.weight_decay)


def next_trial(entry: dict[str, Any], model: str, plan: Plan) -> tuple[str, dict[str, float]] | None:
    """The next trial, with its name: learning rates first, then a weaker decay at the best of them; None: all done."""
    done = entry.setdefault("trials", {})
    if len(done) == number_of_trials(model, plan):
        return None
    rate, decay = plan.base.optimizer.learning_rate, plan.base.optimizer.weight_decay
    settings = [{"learning_rate": float(f"{rate * factor:.3g}"), "weight_decay": decay} for factor in RATES]
    if len(done) == len(RATES) and decay and best_trial(done):
        settings.append(done[best_trial(done)]["settings"] | {"weight_decay": float(f"{decay * WEAKER_DECAY:.3g}")})
    for setting in settings:
        name = f"{setting['learning_rate']:g}-{setting['weight_decay']:g}"
        if name not in done:
            return name, setting
    return None


def best_trial(trials: dict[str, Any]) -> str:
    """The name of the trial with the best validation accuracy, of equal ones the first; "" where all have failed."""
    whole = [name for name, trial in trials.items() if trial["accuracy"] is not None]
    return max(whole, key=lambda name: trials[name]["accuracy"], default="")


def run_trials(entry: dict[str, Any], model: str, plan: Plan, ledger: Ledger, until: Until) -> Iterator[str]:
    """Train what is left of a model's trials; yields a sentence for each."""
    while (trial := next_trial(entry, model, plan)) is not None:
        name, settings = trial
        recipe = plan.recipe(model, steps=entry["measured"]["steps"]["trial"], **settings)
        outcome: dict[str, Any] = {"settings": settings, "accuracy": None}
        try:
            row = finish(recipe, ledger.folder / model / f"trial-{name}", without_test_images(plan.dataset), until)
        except TrainingError as error:
            outcome["failed"] = sentence_of_divergence(error)
        else:
            if row is None:
                return
            outcome["accuracy"] = 100 * row["validation_accuracy"]
        entry["trials"][name] = outcome
        ledger.save()
        found = outcome["accuracy"]
        yield f"{model}, {name}: {outcome.get('failed') or f'{found:.2f} % of the validation images'}"


def sentence_of_divergence(error: TrainingError) -> str:
    """What a run says whose loss became infinite or none, as with a learning rate too high; anything else is raised."""
    if " became " not in str(error):
        raise error
    return str(error)


def run_seed(entry: dict[str, Any], model: str, seed: int, plan: Plan, ledger: Ledger, until: Until) -> str | None:
    """Train with the chosen settings and the whole budget: a sentence with the test accuracy; None: the time was up."""
    chosen = entry["trials"][best_trial(entry["trials"])]["settings"] if entry["trials"] else {}
    steps = entry["measured"]["steps"]["run"]
    recipe = plan.recipe(model, steps=steps, seed=seed, validation_share=0.0, **chosen)
    try:
        row = finish(recipe, ledger.folder / model / f"seed-{seed}", plan.dataset, until)
    except TrainingError as error:
        failure = entry.setdefault("failed", {})[str(seed)] = sentence_of_divergence(error)
        ledger.save()
        return f"{model}, seed {seed}: {failure}"
    if row is None:
        return None
    entry.setdefault("accuracy", {})[str(seed)] = 100 * row["test_accuracy"]
    ledger.save()
    return f"{model}, seed {seed}: {100 * row['test_accuracy']:.2f} % of the test images"


def fill(ledger: Ledger, plan: Plan, models: list[str], phases: tuple[str, ...], seeds: int, until: Until) -> None:
    """Do what is left of these phases, until the time is up."""
    entries = {model: ledger.entry(model, description(model, plan)) for model in models}
    if "measure" in phases:
        first = {BESIDE: ledger.entry(BESIDE, description(BESIDE, plan))}
        for model, entry in (first | entries).items():
            if "measured" not in entry and not until.is_over:
                click.echo(f"measuring {model}")
                measure_model(entry, model, plan, ledger)
                ledger.save()
    for model, entry in entries.items():
        if "rates" in phases and "measured" in entry and not until.is_over:
            for sentence in run_trials(entry, model, plan, ledger, until):
                click.echo(sentence)
    for seed in range(seeds if "seeds" in phases else 0):
        for model, entry in entries.items():
            done = entry.get("accuracy", {}) | entry.get("failed", {})
            if until.is_over or str(seed) in done or what_is_missing(entry, model, plan):
                continue
            if outcome := run_seed(entry, model, seed, plan, ledger, until):
                click.echo(outcome)
    ledger.save()


def what_is_missing(entry: dict[str, Any], model: str, plan: Plan) -> str:
    """Why a model's seeds cannot be trained yet; "" where they can."""
    if "measured" not in entry:
        return "not measured"
    if next_trial(entry, model, plan) is not None:
        return "no learning rate chosen"
    return "every learning rate failed" if entry["trials"] and not best_trial(entry["trials"]) else ""


# ------------------------------------------------------------------------------------------------- what is done, table


def status(entries: Entries, folder: Path, plan: Plan, models: list[str], seeds: int) -> list[str]:
    """A line for each model with what is done, and one with the minutes that are left."""
    lines, total = [], 0.0
    for model in models:
        entry = entries.get(model, {})
        trials = entry.get("trials", {})
        tested = entry.get("accuracy", {}) | entry.get("failed", {})
        most = number_of_trials(model, plan)
        left = 0.0 if "measured" in entry else MEASURING
        unfinished = [
            path for path in (folder / model).glob("trial-*") if path.name.removeprefix("trial-") not in trials
        ]
        left += max(0, most - len(trials)) * plan.budgets.trial - sum(map(trained_seconds, unfinished))
        for seed in range(seeds):
            if str(seed) not in tested:
                left += max(0.0, plan.budgets.run - trained_seconds(folder / model / f"seed-{seed}"))
        left = max(0.0, left)
        total += left
        whole = sum(str(seed) in tested for seed in range(seeds))
        lines.append(
            f"{model:16} {'measured' if 'measured' in entry else '-':9} {len(trials)} of {most} trials, "
            f"{whole} of {seeds} seeds, {left / 60:.0f} min left"
        )
    return [*lines, f"{total / 60:.0f} minutes left"]


def table(entries: Entries) -> str:
    """The table as Markdown, with what it leaves unsaid below."""
    lines = [
        "| model | test accuracy, % | seeds | parameters | multiply-adds | images/s | memory | steps | learning rate, "
        "decay |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    notes = []
    for model in [name for name in MODELS if name in entries]:
        entry = entries[model]
        facts, trials, accuracy = entry.get("measured"), entry.get("trials", {}), entry.get("accuracy", {})
        cells = [""] * 5
        if facts:
            memory = "-" if facts["memory_bytes"] is None else f"{facts['memory_bytes'] / 2**20:,.0f} MiB"
            cells = [
                f"{facts['parameters']:,}", f"{facts['multiply_adds'] / 1e6:,.1f} M",
                f"{facts['images_per_second']:,.0f}", memory, f"{facts['steps']['run']:,}",
            ]  # fmt: skip
        best = best_trial(trials)
        chosen = "{learning_rate:g}, {weight_decay:g}".format(**trials[best]["settings"]) if best else ""
        chosen = "the recipe's" if model == BESIDE else chosen
        lines.append(f"| {model} | {summed_up(accuracy.values())} | {len(accuracy)} | {' | '.join(cells)} | {chosen} |")
        if left_out := entry["changes"]["left out"]:
            notes.append(f"- {model} has no {', '.join(left_out)}: the recipe's own model has.")
        if others := entry["changes"]["others"]:
            notes.append(
                f"- {model} trains with {', '.join(f'{name} = {own}' for name, own in others.items())} as well."
            )
        notes += [f"- {model}, seed {seed}, failed: {why}" for seed, why in entry.get("failed", {}).items()]
        if trials:
            found = (
                f"{name.replace('-', ', ')}: "
                + (f"{trial['accuracy']:.1f} %" if trial["accuracy"] is not None else "failed")
                for name, trial in trials.items()
            )
            notes.append(f"- {model}, validation accuracy by learning rate and decay: {'; '.join(found)}.")
    return "\n".join([*lines, "", *notes, ""])


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="The recipe's data set, such as CIFAR-10.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The ledger's folder.")
@click.option("--only", multiple=True, metavar="MODEL", help=f"Of {', '.join(MODELS)}. May be repeated.")
@click.option("--phase", type=click.Choice(PHASES), multiple=True, help="Of the phases [default: all].")
@click.option("--seeds", default=3, show_default=True, help="Runs with the chosen learning rate.")
@click.option("--minutes", type=float, help="To spend in this call; it then stops at a checkpoint.")
@click.option("--list", "listed", is_flag=True, help="Show what is done and how many minutes are left; run nothing.")
@click.option("--recipe", "name", default="cifar10-15min", show_default=True)
@click.option("--seconds", type=float, help="The budget of a run [default: the recipe's].")
@click.option("--trial-seconds", default=180.0, show_default=True, help="The budget of a trial of a learning rate.")
@click.option("--steps", default=0, help="Steps of every run, in place of the budgets, to try this script.")
@click.option("--threads", type=int, help="[default: one per core]")
@click.option("--busy", is_flag=True, help="Measure although the machine does other things as well.")
def main(
    data: Path | None, out: Path, only: tuple[str, ...], phase: tuple[str, ...], seeds: int, minutes: float | None,
    listed: bool, name: str, seconds: float | None, trial_seconds: float, steps: int, threads: int | None, busy: bool,
) -> None:  # fmt: skip
    until = Until(None if minutes is None else time.monotonic() + 60 * minutes)
    known = known_models()
    if unknown := [model for model in only if model not in known]:
        raise click.UsageError(f"there is no model '{unknown[0]}': expected some of {', '.join(known)}")
    with sentences():
        recipe = load_recipe(name)
        run_seconds = seconds or recipe.training.seconds
        if not run_seconds:
            raise click.UsageError(f"the recipe {name} has no budget of seconds: give --seconds")
        common = {"seconds": 0, "validation_share": 0.1, "threads": threads or default_threads()}
        started = time.perf_counter()
        dataset = load_dataset(recipe.data.dataset, path=data)
        budgets = Budgets(run_seconds, trial_seconds, time.perf_counter() - started)
        plan = Plan(recipe.with_overrides(common), dataset, data, budgets, steps, busy)
        settings = stated(plan.base) | {"data": dataset.description.fingerprint, "steps": steps}
        settings |= {"seconds of a run": run_seconds, "seconds of a trial": trial_seconds}
        models = [model for model in known if model in (only or known)]
        with Ledger(out, settings, table, click.echo) as ledger:
            if not listed:
                fill(ledger, plan, models, phase or PHASES, seeds, until)
            for line in status(ledger.entries, out, plan, models, seeds):
                click.echo(line)


if __name__ == "__main__":
    main()
