"""tinymixer weights info: what is in a file of weights."""

from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from tinymixer.cli.failures import USER_ERROR, say_error
from tinymixer.cli.output import json_option, make_table, print_json, print_labelled, print_table
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.pretrained.inspect import FileFacts

MOST_PROBLEMS = 20


@click.command("info", short_help="Show what is in a file of weights.")
@click.argument("file", metavar="FILE")
@click.option("--arrays", "with_arrays", is_flag=True, help="Also list every array, with its name here.")
@json_option
def info(file: str, with_arrays: bool, as_json: bool) -> None:
    """Show what is in FILE: whose layout it has, which model, its classes, how pictures are prepared for it.

    FILE is an .npz of the paper's authors, a .safetensors of timm's, a file that tinymixer exported, the name of
    published weights that were fetched, a run's folder or a checkpoint. Every array is read, and numbers that are not
    finite are counted. Where the file cannot be loaded, the reasons are named, and the exit code is 2.

    \b
    Examples:
      tinymixer weights info Mixer-B_16.npz
      tinymixer weights info model.safetensors --arrays
      tinymixer weights info Mixer-S_16.npz --json
    """
    from tinymixer.pretrained.inspect import facts_of, inspect_weights
    from tinymixer.training.weights import is_run, load_weights

    facts = facts_of(load_weights(file, backend="numpy")) if is_run(file) else inspect_weights(file)
    if as_json:
        print_json(facts.to_dict())
    else:
        _show(facts, with_arrays)
    for problem in facts.problems[:MOST_PROBLEMS]:
        if not as_json:
            click.echo(f"  {problem}", err=True)
    if facts.problems:
        more = len(facts.problems) - MOST_PROBLEMS
        say_error(
            f"{facts.path} cannot be loaded: {facts.problems[0] if as_json else 'the reasons stand above'}"
            + (f" (and {more} more)" if more > 0 else "")
        )
        raise Exit(USER_ERROR)


def _show(facts: "FileFacts", with_arrays: bool) -> None:
    sizes = ", ".join(f"{name} {value}" for name, value in facts.config.items())
    not_finite = sum(array.not_finite for array in facts.arrays)
    rows = {
        "model": facts.model,
        "layout": f"{facts.layout}, .{facts.kind}, {facts.bytes / 1e6:,.1f} MB" if facts.bytes else "",
        "sizes": sizes,
        "parameters": f"{facts.parameters:,}",
        "classes": facts.classes,
        "pictures": "" if facts.preprocessing is None else facts.preprocessing.describe(),
        "arrays": ", ".join(f"{counted(count, 'array')} of {dtype}" for dtype, count in facts.dtypes.items()),
        "not finite": f"{not_finite:,} numbers" if not_finite else "none",
    }
    print_labelled({label: text for label, text in rows.items() if text})
    if with_arrays:
        table = make_table(["array"])
        table.add_column("here", justify="left")
        table.add_column("dtype", justify="left")
        table.add_column("shape", justify="left")
        for array in facts.arrays:
            table.add_row(array.name, array.ours or "-", array.dtype, " x ".join(map(str, array.shape)) or "-")
        print_table(table)
