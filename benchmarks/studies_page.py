"""The numbers of a study's page, from the folder that `tinymixer study NAME` left.

    python -m benchmarks.studies_page FOLDER            prints the page as it should be
    python -m benchmarks.studies_page FOLDER --write    writes it, with its picture and numbers beside it

The page is docs/studies/NAME.md; what stands between its two comments is made anew, the text around it stays. The full
form has a place, a picture and numbers of its own: NAME-full.
"""

import json
from pathlib import Path
from typing import Any

import click

PAGES = Path(__file__).parents[1] / "docs" / "studies"
PLACES = {  # form -> the comments around its numbers
    "quick": ("<!-- numbers -->\n", "\n<!-- end of numbers -->"),
    "full": ("<!-- full form -->\n", "\n<!-- end of full form -->"),
}
LARGEST_PICTURE = 60_000  # bytes
SHARES = ("validation_accuracy", "train_accuracy", "clean_accuracy")  # shown as per cent
COLUMNS = {  # a study whose runs do not have a figure has no column for it
    "validation_accuracy": "validation accuracy, %", "train_accuracy": "training accuracy, %",
    "clean_accuracy": "on unchanged training images, %", "steps": "steps", "parameters": "parameters",
    "multiply_adds": "multiply-adds",
}  # fmt: skip
BY_EPOCH = ("validation_losses", "epochs")  # figures with an entry for each epoch: not committed


def table(numbers: dict[str, Any]) -> str:
    """A row for each group that was trained: mean, and the smallest and the largest seed."""
    groups = [group for group in numbers["groups"].values() if "validation_accuracy" in group["figures"]]
    words = list(dict.fromkeys(word for group in groups for word in group["what"]))
    columns = {name: title for name, title in COLUMNS.items() if any(name in group["figures"] for group in groups)}
    head = [*words, "seeds", *columns.values()]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(words) + "--:|" * (len(head) - len(words))]
    for group in groups:
        cells = [group["what"].get(word, "") for word in words] + [str(len(group["seeds"]))]
        cells += [_cell(name, group["figures"].get(name)) for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(name: str, figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    if name not in SHARES:
        return f"{figure['mean']:,.0f}"
    mean, low, high = (100 * figure[each] for each in ("mean", "low", "high"))
    return f"{mean:.1f}" if low == high else f"{mean:.1f} ({low:.1f} to {high:.1f})"


def beside_the_paper(numbers: dict[str, Any]) -> str:
    """The paper's figures beside those found here."""
    lines = ["| | in the paper | here |", "|---|---|---|"]
    lines += [f"| {row['what']} | {row['paper']} | {row['here']} |" for row in numbers["beside_the_paper"]]
    sources = dict.fromkeys(row["source"] for row in numbers["beside_the_paper"] if row["source"])
    return "\n".join([*lines, "", f"In the paper: {'; '.join(sources)}."])


def how(numbers: dict[str, Any]) -> str:
    """Where and in which time it was measured."""
    machine, versions, seconds = (numbers[name] for name in ("machine", "versions", "seconds"))
    data, steps = numbers["data"], numbers["steps_override"]
    length = ""
    if steps:
        lengths = {part["figures"]["steps"] for part in numbers["parts"] if "steps" in part["figures"]}
        whose = "Every run has" if lengths <= {steps} else "Runs of full length have"
        length = f"{whose} {steps:,} steps (`--steps {steps}`). "
    return (
        f"{numbers['form'].capitalize()} form on {data['name']} ({data['train_images']:,} training images, a part of "
        f"them held back for validation; no test image is used), seeds {', '.join(map(str, numbers['seeds']))}. "
        f"{length}{len(numbers['parts'])} parts took {seconds['processor']:,.0f} seconds of a processor together. "
        f"{machine['processor']}, {machine['system']}, Python {versions['python']}, NumPy {versions['numpy']} "
        f"({versions['blas']})."
    )


def called(numbers: dict[str, Any]) -> str:
    """What the committed files of a study's form are called, without ending."""
    study: str = numbers["study"]
    return study if numbers["form"] == "quick" else f"{study}-{numbers['form']}"


def picture_as(picture: str, numbers: dict[str, Any]) -> str:
    """What a picture of a study's folder is called beside its page."""
    return picture.replace(numbers["study"], called(numbers), 1)


def section(numbers: dict[str, Any]) -> str:
    """What stands between the comments."""
    name = called(numbers)
    parts = [f"![{numbers['study']}: {numbers['question']}]({name}.png)"] if numbers["pictures"] else []
    parts += ["\n".join(f"- {sentence}" for sentence in numbers["conclusions"]), beside_the_paper(numbers)]
    parts += [
        table(numbers),
        how(numbers),
        f"Every number, seed by seed and with its settings: [{name}.json]({name}.json).",
    ]
    return "\n\n".join(parts)


def page(text: str, numbers: dict[str, Any]) -> str:
    """The page with its numbers made anew."""
    start, end = PLACES[numbers["form"]]
    before, found, rest = text.partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise click.ClickException(f"the page has no place for its numbers: {start.strip()} ...{end}")
    return before + start + section(numbers) + end + after


def kept(numbers: dict[str, Any]) -> str:
    """numbers.json as it is committed: a line for each part, without the figures of every epoch."""
    parts = []
    for part in numbers["parts"]:
        figures = {name: value for name, value in part["figures"].items() if name not in BY_EPOCH}
        parts.append(json.dumps(part | {"figures": figures}))
    others = json.dumps({name: value for name, value in numbers.items() if name not in ("parts", "groups")}, indent=1)
    return others.removesuffix("\n}") + ',\n "parts": [\n  ' + ",\n  ".join(parts) + "\n ]\n}\n"


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--write", is_flag=True, help="Write the page, the picture and the numbers.")
def main(folder: Path, write: bool) -> None:
    numbers = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    if not numbers["complete"]:
        raise click.ClickException(f"the study in {folder} is not complete: run it again")
    path = PAGES / f"{numbers['study']}.md"
    made = page(path.read_text(encoding="utf-8"), numbers)
    if not write:
        click.echo(made, nl=False)
        return
    path.write_text(made, encoding="utf-8")
    name = called(numbers)
    (PAGES / f"{name}.json").write_text(kept(numbers), encoding="utf-8")
    for picture in numbers["pictures"]:
        content = (folder / picture).read_bytes()
        if len(content) > LARGEST_PICTURE:
            raise click.ClickException(f"{picture} has {len(content):,} bytes, more than {LARGEST_PICTURE:,}")
        (PAGES / picture_as(picture, numbers)).write_bytes(content)


if __name__ == "__main__":
    main()
