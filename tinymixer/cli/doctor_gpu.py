"""tinymixer doctor --gpu: proves the GPU's training step in every precision, and shows how each is computed."""

import math
import time
from typing import TYPE_CHECKING, Any

import click

from tinymixer.cli.output import make_table, print_json, print_table
from tinymixer.errors import TinymixerError
from tinymixer.text import printable

if TYPE_CHECKING:
    from tinymixer.training.recipe import Recipe

RIGHT, DOWN, NO_GPU = 0, 1, 2  # exit codes


def show_gpu(recipe_name: str, as_json: bool) -> int:
    """Print a row for each precision; returns the exit code.

    The model and the batch are the recipe's, the images random. Raises ConfigError for an unknown recipe.
    """
    from tinymixer.backend import cupy_obstacle
    from tinymixer.training.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    obstacle = cupy_obstacle()
    if obstacle is not None:
        if as_json:
            print_json({"usable": False, "obstacle": obstacle})
        else:
            click.echo(f"no GPU is used: {obstacle}")
        return NO_GPU
    facts = _gpu_facts() | {"recipe": recipe.name, "batch_size": recipe.training.batch_size}
    rows = []
    for precision in _precisions():
        rows.append(_row(recipe, precision))
        if not as_json:
            click.echo(f"{precision}: {rows[-1]['way']}", err=True)
    if as_json:
        print_json(facts | {"precisions": rows})
    else:
        _print(facts, rows)
    return DOWN if any(row["way"] in ("layers", "fails") for row in rows) else RIGHT


def _precisions() -> list[str]:
    from tinymixer.kernels.precision import PRECISIONS

    return list(PRECISIONS)


def _gpu_facts() -> dict[str, Any]:
    import cupy

    from tinymixer.engines.cuda.capability import capability_of, device_name, spoken, usual_precision

    capability = capability_of(cupy)
    return {
        "usable": True,
        "name": device_name(cupy),
        "compute_capability": spoken(capability),
        "precision_auto": usual_precision(capability),
    }


def _row(recipe: "Recipe", precision: str) -> dict[str, Any]:
    """Which way a precision takes, and its proof's largest error beside its bound."""
    import cupy

    from tinymixer.engines.cuda.failures import give_back_memory
    from tinymixer.training.gpu_trial import try_on_gpu

    started = time.perf_counter()
    row: dict[str, Any] = {"precision": precision, "way": "fails", "worst": None, "error": None, "bound": None}
    try:
        engine = try_on_gpu(recipe, precision)
    except TinymixerError as error:
        return row | {"note": str(error), "seconds": round(time.perf_counter() - started, 2)}
    row |= {"way": engine.way, "note": engine.note, "seconds": round(time.perf_counter() - started, 2)}
    if engine.precision != precision and engine.way != "layers":
        row |= {"way": f"no {precision}"}
    elif engine.proof is not None:
        worst = engine.proof.worst
        row |= {"worst": worst.name, "error": _finite(worst.error), "bound": _finite(worst.bound)}
        row |= {"images": engine.proof.images}
    del engine
    give_back_memory(cupy)
    return row


def _finite(number: float) -> float | None:
    """The number; None for infinity and for what is no number, which JSON does not have."""
    return number if math.isfinite(number) else None


def _print(facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    title = (
        f"{facts['name']}, compute capability {facts['compute_capability']}; {facts['recipe']}, batches of "
        f"{facts['batch_size']}; --precision auto is {facts['precision_auto']} here"
    )
    table = make_table(("precision", "way", "nearest to its bound", "error", "bound", "seconds"), title)
    for row in rows:
        numbers = ["-" if row[name] is None else f"{row[name]:.2g}" for name in ("error", "bound")]
        table.add_row(row["precision"], row["way"], row["worst"] or "-", *numbers, f"{row['seconds']:.1f}")
    print_table(table)
    for row in rows:
        if row["note"]:
            note = " ".join(row["note"].split())
            click.echo(f"{row['precision']}: {printable(note)}")
