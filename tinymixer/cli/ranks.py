"""A command that runs on several ranks: rank 0 speaks, an error is told with its rank, and all end together."""

import contextlib
import json
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.exceptions import Exit

from tinymixer.cli.output import tell
from tinymixer.errors import TinymixerError
from tinymixer.parallel.launched import launched_here, launched_ranks

if TYPE_CHECKING:
    from tinymixer.cli.progress import TrainingDisplay
    from tinymixer.parallel.ranks import Ranks

STATUS = "TINYMIXER_LAUNCH_STATUS"  # the file in which rank 0 tells `tinymixer launch` the run's folder and exit code


@contextlib.contextmanager
def joined_ranks() -> "Iterator[Ranks]":
    """The ranks that this process was started as one of.

    Where an error ends all of them, as bad input does, rank 0 reports it and the others leave quietly. Where it ends
    one of them alone, that one says so with its rank, and ends the others, which would wait for it for ever.
    """
    ranks = launched_ranks(_say)
    try:
        yield ranks
    except BaseException as error:
        if ranks.size == 1:
            raise
        sentence = _sentence(error)
        everyone = None if isinstance(error, KeyboardInterrupt) else ranks.ended(sentence)
        if everyone is None or (ranks.rank and sentence != everyone[0] and error is not ranks.told):
            _say(f"rank {ranks.rank} of {ranks.size} on {ranks.host}: error: {sentence}")
        if everyone is None:
            ranks.abort()
        if ranks.rank:
            raise Exit(0) from error  # rank 0 gives the exit code
        raise


def display_on(ranks: "Ranks", quiet: bool) -> "TrainingDisplay":
    """What shows the run: on rank 0 alone."""
    from tinymixer.cli.progress import TrainingDisplay

    return TrainingDisplay(quiet, silent=ranks.rank > 0)


def tell_launcher_folder(ranks: "Ranks", folder: Path) -> None:
    """Tell `tinymixer launch` where the run is, so that it can say how to go on if a rank dies."""
    if ranks.rank == 0:
        write_status({"folder": str(folder)})


def tell_launcher_code(code: int) -> int:
    """Tell `tinymixer launch` this process's exit code, and return the one to exit with.

    A launcher takes any code but 0 for a crash, prints lines about it, and kills the other ranks.
    """
    return 0 if speaks() and write_status({"code": code}) else code


def speaks() -> bool:
    """Whether this process tells the user of mistakes that all ranks find alike: the first does, or one alone."""
    launched = launched_here()
    return launched is None or launched.rank == 0


def write_status(facts: dict[str, Any]) -> bool:
    """Add facts to the file of `tinymixer launch`, where it started this process; whether that could be done."""
    path = os.environ.get(STATUS)
    if path is None:
        return False
    try:
        Path(path).write_text(json.dumps(read_status(Path(path)) | facts), encoding="utf-8")
    except (OSError, ValueError):  # another machine's file system: then the launcher's own words must do
        return False
    return True


def read_status(path: Path) -> dict[str, Any]:
    """What rank 0 has told; {} where nothing was."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sentence(error: BaseException) -> str:
    if isinstance(error, TinymixerError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "".join(traceback.format_exception(error)).rstrip()


def _say(sentence: str) -> None:
    tell(sentence, to_stderr=True)
