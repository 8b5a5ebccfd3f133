"""tinymixer lessons: opens the course. 'status' shows which exercises are done, 'update' renews older copies."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from tinymixer.cli.output import json_option, wrapped_lines
from tinymixer.errors import ConfigError, TinymixerError, install_line
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.lessons.collecting import Comparison, MyFunctions
    from tinymixer.lessons.progress import LessonState

FEW = 6  # new files that are named: the lessons that a later version has brought into an older folder
COLOURS = {"passed": "green", "wrong": "red", "not yet": None}


@click.group(
    short_help="Open the lessons in JupyterLab; 'status' shows what is done; 'update' renews them.",
    invoke_without_command=True,
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Your own copy of the notebooks [default: tinymixer-lessons]. Files in it are never overwritten.",
)
@click.option("--no-open", is_flag=True, help="Only fill the folder; do not start JupyterLab.")
@click.pass_context
def lessons(context: click.Context, folder: Path | None, no_open: bool) -> None:
    """Copy the lessons into a folder of yours and open them in JupyterLab, at the map of the course.

    \b
    Examples:
      tinymixer lessons
      tinymixer lessons --folder my-course
      tinymixer lessons status
      tinymixer lessons update --dry-run
      tinymixer lessons capstone                train a Mixer with your own functions
      pytest tinymixer-lessons -k task_2_3      check one exercise from a terminal
    """
    from tinymixer.lessons.copies import remark_about
    from tinymixer.lessons.folder import MAP, fill_folder, learners_folder

    folder = folder or learners_folder(Path())
    if context.invoked_subcommand is not None:
        context.obj = folder
        return
    added = fill_folder(folder)
    if added:
        names = ": " + ", ".join(str(path.relative_to(folder)) for path in added) if len(added) <= FEW else ""
        click.echo(f"{counted(len(added), 'file')} copied into {folder}{names}")
    else:
        click.echo(f"your lessons are in {folder}")
    if remark := remark_about(folder):
        click.echo(remark)
    if not no_open:
        raise Exit(_open_jupyterlab(folder, MAP))


@lessons.command(short_help="Show which exercises are done.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@json_option
@click.pass_context
def status(context: click.Context, folder: Path | None, as_json: bool) -> None:
    """Check every exercise in FOLDER (by default the folder of 'tinymixer lessons').

    The answers run in separate processes with limits: an answer that ends Python, or never ends, fails alone.

    \b
    Examples:
      tinymixer lessons status
      tinymixer lessons status my-course --json
    """
    from tinymixer.lessons.copies import remark_about
    from tinymixer.lessons.isolated import remark_about_limits
    from tinymixer.lessons.progress import grade_folder, progress_text
    from tinymixer.lessons.text import encodable

    folder = folder or context.obj
    try:
        states = grade_folder(folder)
    except TinymixerError:
        if as_json:
            _print_rows([])  # standard output is always JSON; the error goes to standard error
        raise
    if as_json:
        _print_rows(states)
    else:
        remark = "\n".join(filter(None, [remark_about(folder), remark_about_limits()]))
        click.echo(
            encodable(progress_text(states, _coloured) + (f"\n{remark}\n" if remark else ""), sys.stdout), nl=False
        )


@lessons.command(short_help="Renew copies that an older version made; your answers stay.")
@click.argument("numbers", metavar="[NN]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.pass_context
def update(context: click.Context, numbers: tuple[str, ...], dry_run: bool) -> None:
    """Renew the notebooks that another version of tinymixer made, all or those of lessons NN.

    Your answers, your changes and your own cells are kept in the new notebook, and the earlier one stays beside it as
    NN_name.before-update.ipynb. Save and close the notebooks in Jupyter first.

    \b
    Examples:
      tinymixer lessons update --dry-run
      tinymixer lessons update 02 05
      tinymixer lessons --folder my-course update
    """
    from tinymixer.lessons.copies import update_folder
    from tinymixer.lessons.text import encodable

    changed = troubles = 0
    for one in update_folder(context.obj, numbers, dry_run):
        if one.trouble:
            troubles += 1
            click.echo(encodable(f"{one.path}: {one.trouble}", sys.stderr), err=True)
        elif one.change:
            changed += 1
            kept = f" The earlier copy {'would be' if dry_run else 'is'} {one.backup}." if one.backup else ""
            click.echo(encodable(f"{one.path}: {one.change}{kept}", sys.stdout))
    if dry_run and changed:
        click.echo(f"{counted(changed, 'file')} would change; without --dry-run they do")
    elif not troubles or changed:
        click.echo(f"{counted(changed, 'file')} renewed" if changed else "your lessons are up to date: nothing to do")
    if troubles:
        raise Exit(1)


@lessons.command(short_help="Train a Mixer with the functions that you wrote.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--epochs", type=click.IntRange(1, 100), default=6, show_default=True, help="Length of the training.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=90,
    show_default=True,
    help="The most that the training with your functions may take.",
)
@json_option
@click.pass_context
def capstone(context: click.Context, folder: Path | None, epochs: int, seconds: float, as_json: bool) -> None:
    """Hold your functions of lessons 02 to 09 to the package's, and train a Mixer with them (lesson 18).

    Each function is tried on the inputs of real training steps. The package's stand in for those that are missing or
    wrong. Then a small Mixer is trained on digits twice from the same weights, with your functions and with the
    package's. Your code runs in separate processes with limits.

    \b
    Exit status: 0 where at least one function is yours, none of yours is wrong, and both trainings agree; 1 otherwise.

    \b
    Examples:
      tinymixer lessons capstone
      tinymixer lessons capstone my-course --json
    """
    from tinymixer.lessons.collecting import collect, compare_in_a_process
    from tinymixer.lessons.grading import PASSED, WRONG
    from tinymixer.lessons.text import encodable

    try:
        found, never_ending = collect(folder or context.obj)
    except TinymixerError:
        if as_json:  # standard output is always JSON; the error goes to standard error
            click.echo(
                json.dumps({"folder": str(folder or context.obj), "good": False, "functions": [], "training": None})
            )
        raise
    yours, wrong = found.in_state(PASSED), found.in_state(WRONG)
    if not as_json:
        click.echo(wrapped_lines(encodable(found.report(), sys.stdout)))
    training = compare_in_a_process(found, never_ending, epochs, seconds) if yours else None
    good = training is not None and training.agrees and not wrong
    if as_json:
        click.echo(json.dumps(_capstone_as_json(found, training, good), indent=2))
    elif training is not None:
        click.echo(wrapped_lines(encodable(f"\n{training}", sys.stdout)))
    else:
        click.echo("None of these functions is yours yet, so there is nothing to train with.")
    raise Exit(0 if good else 1)


def _capstone_as_json(found: "MyFunctions", training: "Comparison | None", good: bool) -> dict[str, Any]:
    rows = [
        {
            "exercise": one.part.number,
            "function": one.part.function,
            "operation": one.part.operation,
            "state": one.state,
            "sentence": one.sentence,
            "details": one.details,
            "hint": one.hint,
        }
        for one in found.findings
    ]
    compared = None if training is None else asdict(training) | {"agrees": training.agrees}
    return {"folder": str(found.folder), "good": good, "functions": rows, "training": compared}


def _open_jupyterlab(folder: Path, page: str) -> int:
    """Start JupyterLab at the map of the course and wait until it ends."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError(
            f"JupyterLab is not installed: {install_line('lessons')}. "
            f"Any other program for Jupyter notebooks can open {folder} too."
        )
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}"]
    try:
        return subprocess.run([*command, f"--LabApp.default_url=/lab/tree/{page}"], check=False).returncode
    except KeyboardInterrupt:  # Jupyter received it, too, and asked whether to stop
        return 0


def _print_rows(states: "list[LessonState]") -> None:
    """Print a JSON row per exercise, in ASCII, which every console and pipe accepts."""
    rows = [
        {
            "exercise": verdict.number,
            "lesson": state.lesson.title,
            "title": verdict.title,
            "state": verdict.state,
            "sentence": verdict.sentence,
            "details": verdict.details,
            "hint": verdict.hint,
            "printed": verdict.printed,
        }
        for state in states
        for verdict in state.verdicts
    ]
    click.echo(json.dumps(rows, indent=2))


def _coloured(mark: str, state: str) -> str:
    return click.style(mark, fg=COLOURS[state])
