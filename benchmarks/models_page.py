"""The tables of docs/models.md that come from the code: sizes with a name, and the lines of each model's file.

python -m benchmarks.models_page            prints the page as it should be
python -m benchmarks.models_page --write    writes it
"""

import ast
import inspect
from pathlib import Path

import click

from tinymixer.models import PRESETS, architectures, make_model, model_class, preset

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


def sizes() -> str:
    """A row for each size that has a name."""
    lines = ["| size | model | images | classes | parameters | multiply-adds |", "|---|---|--:|--:|--:|--:|"]
    for name, known in PRESETS.items():
        config = preset(name)
        count = getattr(config, "multiply_adds", None)
        if count is None:
            count = make_model(known.architecture, config, seed=None).multiply_adds
        short = f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.1f} M"
        lines.append(
            f"| {name} | `{known.architecture}` | {config.image_size} | {config.num_classes:,} | "
            f"{config.parameter_count:,} | {short} |"
        )
    return "\n".join(lines)


def lines_of_code() -> str:
    """A row for each model: its file's lines, all of them and those with code on them."""
    lines = ["| model | file | lines | with code |", "|---|---|--:|--:|"]
    for name in architectures():
        path = Path(inspect.getfile(model_class(name)))
        text = path.read_text(encoding="utf-8")
        shown = f"[`models/{path.name}`](../tinymixer/models/{path.name})"
        lines.append(f"| `{name}` | {shown} | {len(text.splitlines())} | {code_lines(text)} |")
    return "\n".join(lines)


def code_lines(text: str) -> int:
    """The number of lines that hold code: no docstring, no comment, not empty."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = [
        node.body[0] for node in ast.walk(ast.parse(text)) if isinstance(node, documented) and ast.get_docstring(node)
    ]
    skipped = {number for node in docstrings for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in skipped
        for number, line in enumerate(text.splitlines(), 1)
    )


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name, table in (("sizes", sizes), ("lines", lines_of_code)):
        start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise click.ClickException(f"{PAGE} has no place for the table '{name}': {start.strip()} ...{end}")
        text = before + start + table() + end + after
    return text


@click.command(help=__doc__)
@click.option("--write", is_flag=True, help="Write the page instead of printing it.")
def main(write: bool) -> None:
    made = page(PAGE.read_text(encoding="utf-8"))
    if write:
        PAGE.write_text(made, encoding="utf-8")
    else:
        click.echo(made, nl=False)


if __name__ == "__main__":
    main()
