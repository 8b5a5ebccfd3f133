"""tinymixer study: what the paper found, asked again on few images, one command for each question."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from tinymixer.cli.live_bar import LiveBar
from tinymixer.cli.output import duration, make_table, print_table, tell, wrapped
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.studies import PartResult, StudyOutcome

DEFAULT_ROOT = Path("studies")


@click.command(short_help="Ask one of the paper's questions again, on few images.")
@click.argument("name", required=False, metavar="[NAME|list]")
@click.option("--quick", is_flag=True, help="On the bundled digits, in under 3 minutes on two cores.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Folder of the study; what is done there is not repeated [default: studies/NAME, or studies/NAME-quick]",
)  # fmt: skip
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FOLDER",
    help="CIFAR-10's archive or folder, for the full form [default: the cache]",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 1000), help="How often runs are repeated [default: the study's].")
@click.option(
    "--jobs", type=click.IntRange(1, 256),
    help="Parts that run at once, each with its share of the threads [default: one per core, one on a GPU].",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(1),
    help="Steps of every run, in place of the study's: where there is less time. Runs that are shorter or longer by "
    "design, so that they cost the same, stay so in proportion.",
)  # fmt: skip
@click.option(
    "--init-from", metavar="WEIGHTS",
    help="transfer: also start from these published weights of a Mixer, a file or a fetched name.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print only the result.")
def study(
    name: str | None, quick: bool, out: Path | None, data: Path | None, seeds: int | None, jobs: int | None,
    steps: int | None, init_from: str | None, quiet: bool,
) -> None:  # fmt: skip
    """Run the study NAME: it trains what the question needs, measures, draws and says what it found; 'list' lists them.

    Its parts are ordinary runs, several at a time. Nothing sees a test image: accuracies are those of validation
    images after the last step, and nothing is chosen by them. The folder gets numbers.json (every number with its
    seed, settings, versions and machine) and pictures. Ctrl-C saves, and the same command goes on; a part that failed
    is tried again; with more --seeds, the runs that are there stay.

    \b
    Examples:
      tinymixer study list
      tinymixer study permutations --quick
      tinymixer study permutations --data cifar-10-batches-bin --seeds 3
      tinymixer study transfer --init-from mixer-s16-gsam
    """
    from tinymixer.studies import find_study, run_study

    if name in (None, "list"):
        _list()
        return
    found = find_study(str(name))
    if init_from and Path(init_from).exists():
        init_from = str(Path(init_from).absolute())  # the folder of the study may be used from elsewhere
    form = found.form(quick, seeds, str(data.absolute()) if data else "", steps or 0, init_from or "")
    folder = out or DEFAULT_ROOT / (f"{found.name}-quick" if quick else found.name)
    display = _display(quiet)
    if not quiet:
        parts = counted(len(found.parts_of(form)), "part")
        tell(f"study    {found.name}: {found.question}")
        tell(f"paper    {found.paper}")
        tell(f"parts    {parts}, {counted(form.seeds, 'seed')}, {form.dataset}")
        tell(f"folder   {folder} (Ctrl-C stops there and saves)\n")
    try:
        outcome = run_study(found, form, folder, jobs, display)
    finally:
        display.close()
    _say_result(outcome)
    if outcome.signal is not None:
        raise Exit(128 + outcome.signal)
    if any(result.state == "failed" for result in outcome.results):
        raise Exit(1)


def _list() -> None:
    from tinymixer.studies import find_study, study_names

    table = make_table(["study", "question", "paper"])
    for column in table.columns[1:]:
        column.justify = "left"
    for each in map(find_study, study_names()):
        table.add_row(each.name, each.question, each.paper.partition(" (arXiv")[0])
    print_table(table)


def _say_result(outcome: "StudyOutcome") -> None:
    """Print what was found, and what is missing."""
    for sentence in outcome.conclusions:
        tell(wrapped(f"- {sentence}"))
    states = [result.state for result in outcome.results]
    ended = states.count("finished")
    rest = f" ({', '.join(f'{states.count(state)} {state}' for state in sorted(set(states) - {'finished'}))})"
    tell(f"{ended} of {counted(len(states), 'part')} finished{rest if ended < len(states) else ''}")
    if ended < len(states):
        tell("go on    with the same command: what is finished stays")
    tell(f"numbers  {outcome.folder / 'numbers.json'}")
    for picture in outcome.pictures:
        tell(f"picture  {outcome.folder / picture}")


def _display(quiet: bool) -> Any:
    """What shows the parts as they end. Made here, so that other commands start without loading studies."""
    from tinymixer.studies import StudyProgress

    class Display(LiveBar, StudyProgress):
        """A line for each part that ends, and a live bar with the time that is left."""

        def on_part(self, result: "PartResult", done: int, parts: int) -> None:
            self.close()
            if not quiet or result.message:
                accuracy = result.figures.get("validation_accuracy")
                shown = "" if accuracy is None else f"{100 * accuracy:.2f} %"
                tell(f"{done:>3}/{parts}  {result.state:<9} {shown:>8}  {duration(result.seconds):>6}  {result.name}")
            if result.message:
                tell(f"         {result.message}")

        def on_time(self, share: float, seconds_left: float | None) -> None:
            if quiet or not sys.stderr.isatty():
                return
            if self.bar is None:
                from tqdm import tqdm

                self.bar = tqdm(total=1.0, bar_format="{percentage:3.0f}%|{bar}| {desc}", leave=False,
                                dynamic_ncols=True)  # fmt: skip
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                left = "" if seconds_left is None else f"{duration(seconds_left)} left"
                self.bar.set_description_str(left, refresh=False)
                self.bar.n = min(share, 1.0)
                self.bar.refresh()

    return Display()
