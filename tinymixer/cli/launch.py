"""tinymixer launch: starts several processes that train together, with the MPI launcher beside this Python."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click
from click.exceptions import Exit

from tinymixer.abilities import require_processes
from tinymixer.cli.command_clock import STARTED, command_started
from tinymixer.cli.output import tell
from tinymixer.cli.ranks import STATUS, read_status
from tinymixer.errors import BackendError, ConfigError, TrainingError, install_line

DIED = 1


@click.command(
    short_help="Train on several processes or GPUs at once.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-n", "ranks", type=click.IntRange(min=1), required=True, help="Number of processes: one per GPU.")
@click.option("--mpiexec", metavar="COMMAND", help="MPI's launcher, with options of its own: 'mpiexec -hosts a,b'.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def launch(ranks: int, mpiexec: str | None, command: tuple[str, ...]) -> None:
    """Start COMMAND, a `train` with its options, in several processes that train one model together.

    Each computes its part of every batch; the gradients are added up before each update, so the run is that of one
    process, to rounding. On GPUs each process takes one. If a process dies, all end, and the run goes on from its last
    checkpoint with --resume, on any number of processes. `mpirun -n 4 tinymixer train ...` and Slurm's `srun` do the
    same.

    \b
    Examples:
      tinymixer launch -n 4 train cifar10-nano
      tinymixer launch -n 8 --mpiexec "mpiexec -hosts gpu1,gpu2" train cifar10-nano --out runs/two-machines
    """
    if command[0] != "train":
        raise ConfigError(
            f"only train runs in several processes, not '{command[0]}': tinymixer launch -n {ranks} train ..."
        )
    if "-h" in command or "--help" in command or "--print-recipe" in command:
        raise Exit(subprocess.call(_this_program(command)))
    require_processes("tinymixer launch")
    started = time.time() - (time.perf_counter() - command_started())
    with tempfile.TemporaryDirectory() as folder:
        status = Path(folder) / "status.json"
        line = [*_launcher(mpiexec), "-n", str(ranks), *_this_program(command)]
        code = _run(line, os.environ | {STATUS: str(status), STARTED: str(started)})
        told = read_status(status)
    if code == 0 and "code" in told:
        raise Exit(int(told["code"]))
    if code == 0:
        return
    tell(f"error: {_how_it_ended(code)}{_how_to_go_on(told.get('folder'), ranks, command)}", to_stderr=True)
    raise Exit(int(told.get("code") or DIED))


def _this_program(command: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "tinymixer", *command]


def _launcher(asked_for: str | None) -> list[str]:
    """The launcher's command: the one asked for, else that beside this Python, else the system's.

    Raises BackendError where there is none or mpi4py is missing.
    """
    import importlib.util

    if importlib.util.find_spec("mpi4py") is None:
        raise BackendError(f"several processes find each other by mpi4py, not installed here: {install_line('mpi')}")
    if asked_for is not None:
        return shlex.split(asked_for)
    for name in ("mpiexec", "mpirun"):
        found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
        if found is not None:
            return [found]
    raise BackendError(f"MPI's launcher, mpiexec, is not installed: {install_line('mpi')} (or say --mpiexec COMMAND)")


def _run(line: Sequence[str], environment: dict[str, str]) -> int:
    """Run the launcher to its end, and pass on the signals that this process gets; returns its exit code.

    It runs in a session of its own: a terminal would send Ctrl-C to every process, and the launcher once more. Raises
    TrainingError where it cannot be started.
    """
    try:
        process = subprocess.Popen(
            line, env=environment, stdin=subprocess.DEVNULL, start_new_session=os.name == "posix"
        )
    except OSError as error:
        raise TrainingError(f"{line[0]} cannot be started ({error.strerror or error}): see --mpiexec") from error

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    named = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in named if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _how_it_ended(code: int) -> str:
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"a process has died, and the others were ended with it ({how}; its own words stand above)"


def _how_to_go_on(folder: object, ranks: int, command: Sequence[str]) -> str:
    """How to resume, where there is something to resume."""
    if not isinstance(folder, str):
        return ""
    recipe = f" {shlex.quote(command[1])}" if len(command) > 1 and not command[1].startswith("-") else ""
    return (
        f"; the run goes on from its last checkpoint, on any number of processes, with: tinymixer launch -n {ranks} "
        f"train{recipe} --out {shlex.quote(folder)} --resume"
    )
