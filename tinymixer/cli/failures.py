"""Reports failures to the user: one sentence and an exit code, or the traceback of a defect in tinymixer."""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from tinymixer.cli.output import open_streams, silence, text_streams
from tinymixer.cli.ranks import speaks
from tinymixer.errors import TinymixerError, install_line
from tinymixer.text import printable

FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130
CALLED_OTHERWISE = {  # an option's name in other programs -> its name here
    "lr": "learning-rate",
    "wd": "weight-decay",
    "bs": "batch-size",
    "b": "batch-size",
    "batch": "batch-size",
    "dim": "hidden-dim",
    "depth": "num-blocks",
    "layers": "num-blocks",
    "lr-scheduler": "schedule",
    "scheduler": "schedule",
    "optim": "optimizer",
    "opt": "optimizer",
    "device": "backend",
    "num-workers": "threads",
    "workers": "threads",
    "output": "out",
    "output-dir": "out",
    "model": "architecture",
    "arch": "architecture",
    "early-stopping": "patience",
    "pretrained": "init-from",
    "finetune": "init-from",
}
NEWLINE = "\n"


def run_reporting_failures(program: click.Command, arguments: Sequence[str]) -> int:
    """Run the program and return its exit code, as `_run` does, with text streams for it to print to."""
    with text_streams():
        return _run(program, arguments)


def _run(program: click.Command, arguments: Sequence[str]) -> int:
    """Run the program and return its exit code.

    Bad input ends in `error: sentence` on standard error. Where standard output or standard error is closed (`>&-`, a
    daemon), only the text written there is lost. An unexpected exception is a defect: its whole traceback is shown,
    since a bug report needs it.
    """
    open_streams()
    colour = False if os.environ.get("NO_COLOR") else None  # no-color.org; None leaves it to click
    try:
        code = program.main(arguments, prog_name="tinymixer", standalone_mode=False, color=colour)
        sys.stdout.flush()  # a full disk or a closed pipe raises here, not while Python shuts down
    except click.UsageError as error:
        return _usage_error(error) if speaks() else 0  # rank 0 says the same, and gives the exit code
    except click.ClickException as error:
        return say_error(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _echo("interrupted")
        return INTERRUPTED
    except TinymixerError as error:
        return say_error(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "tinymixer").split(".")[0] == "tinymixer":
            return _defect()
        return say_error(f"the package '{error.name}' is not installed: {install_line('cli')}")
    except BrokenPipeError:
        silence(sys.stdout)  # the reader has closed the pipe (`... | head -1`): end silently
        return FAILED
    except OSError as error:
        return say_error(_operating_system_sentence(error))
    except MemoryError as error:
        return say_error(f"out of memory ({error}): try a smaller batch, picture or model".replace(" ()", ""))
    except Exception:  # unexpected: show the traceback, and how to report it
        return _defect()
    return code if isinstance(code, int) else 0  # click returns the code of `raise Exit(code)`


def say_error(sentence: str) -> int:
    """Print `error: sentence` to standard error and return the exit code for it."""
    _echo(f"error: {printable(sentence, keep=NEWLINE)}")
    return USER_ERROR


def _usage_error(error: click.UsageError) -> int:
    meant = CALLED_OTHERWISE.get(error.option_name.lstrip("-")) if isinstance(error, click.NoSuchOption) else None
    if meant is not None and isinstance(error, click.NoSuchOption):
        say_error(f"There is no option '{error.option_name}': here it is called --{meant}.")
    else:
        say_error(error.format_message())
    if error.ctx is not None:
        _echo(f"'{error.ctx.command_path} --help' shows what there is.")
    return USER_ERROR


def _operating_system_sentence(error: OSError) -> str:
    """A sentence for an OSError (a full disk, a missing permission, ...): what went wrong, and with which file."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def _defect() -> int:
    with contextlib.suppress(OSError, ValueError):
        traceback.print_exc()
    _echo(
        "\nThis is a defect of tinymixer, not of your input. Please report it with the lines above, the command, "
        "and what 'tinymixer doctor' prints."
    )
    return FAILED


def _echo(text: str) -> None:
    """Print a line on standard error; if that fails, it is lost, since there is no other place to report it."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, err=True)
