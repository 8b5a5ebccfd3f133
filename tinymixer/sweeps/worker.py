"""A process of a sweep, and the process that starts several of them: `python -m tinymixer.sweeps.worker ORDER`."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from tinymixer.abilities import require_processes
from tinymixer.engines.cpu.threads import default_threads
from tinymixer.errors import TinymixerError, TrainingError
from tinymixer.sweeps.results import rows_of
from tinymixer.sweeps.sweep import Sweep, SweepProgress, begin_sweep
from tinymixer.text import reason_of, shortened
from tinymixer.training.stop import StopSignals

SECONDS_BETWEEN_LOOKS = 0.5
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
POSIX = os.name == "posix"


def run_in_processes(sweep: Sweep, count: int) -> int | None:
    """Run the trials of a sweep in `count` processes, each with its share of the processor's threads.

    `sweep.progress` receives every trial that begins or ends, also those of other commands on the same folder. Returns
    the signal that ended it, or None. A process that dies is named in a note; the others go on, and its trial is taken
    up by one of them, or by the next command. Raises TrainingError where all have died.
    """
    if count == 1:
        return sweep.run()
    shown = {row.number: row.state for row in sweep.rows()}
    with StopSignals() as signals:
        share = max(1, default_threads() // count)
        order = {"folder": str(sweep.folder), "here": dict(sweep.here)}
        workers = [WorkerProcess("tinymixer.sweeps.worker", order, share) for _ in range(count)]
        asked = False
        try:
            with sweep.opened() as journal:
                while True:
                    working = any(worker.process.poll() is None for worker in workers)
                    for row in rows_of(journal):
                        if row.state != shown.get(row.number) and (row.has_ended or row.state == "running"):
                            sweep.progress.on_trial(row)
                        shown[row.number] = row.state
                    if not working:
                        break
                    if signals.requested() and not asked:
                        asked = True
                        for worker in workers:
                            worker.stop()
                    time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            for worker in workers:
                worker.end()
    failed = [] if signals.requested() else [worker for worker in workers if worker.process.returncode]
    for worker in failed:
        sweep.say(f"a process of the sweep has ended before its time: {worker.last_words()}")
    if len(failed) == count:
        raise TrainingError(f"all {count} processes of the sweep have ended before their time")
    return signals.signal


class WorkerProcess:
    """A process that does a share of this one's work: `python -m MODULE ORDER`.

    order     what it is to do, as JSON; "parent" is added, with which it sees that this process is gone (`gone`)
    threads   that its BLAS may use
    """

    def __init__(self, module: str, order: Mapping[str, Any], threads: int) -> None:
        require_processes("a sweep or a study")
        order = {**order, "parent": os.getpid()}
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, read when the process has ended
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(order)],
            env=os.environ | dict.fromkeys(THREAD_LIMITS, str(threads)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            start_new_session=POSIX,  # a terminal sends Ctrl-C to a session; `stop` passes it on
        )

    def stop(self) -> None:
        """Ask it to save and stop. On Windows the console has asked it already."""
        if POSIX and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """End it at once, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        """The last line that it wrote, or how it ended."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        code = self.process.returncode
        return shortened(said[-1]) if said else f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def main(order: dict[str, Any]) -> int:
    """Run trials until none is left, or until a signal or the end of the process that started this one."""
    parent = order["parent"]
    # An interrupt that comes while packages are loaded must not end in a traceback: there is nothing to save yet.
    try:
        sweep = begin_sweep(None, order["here"], (), order["folder"], progress=SweepProgress())
        sweep.run(gone(parent))
    except TinymixerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename or order['folder']}: {reason_of(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def gone(parent: int) -> Callable[[], bool]:
    """Whether the process that started this one has ended; where that cannot be seen, never."""
    return (lambda: os.getppid() != parent) if POSIX else (lambda: False)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
