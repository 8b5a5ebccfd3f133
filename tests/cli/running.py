"""Running commands for the tests of the command line, in this process, in another, or in a terminal."""

import json
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
SMALL = ("--num-blocks", "1", "--hidden-dim", "8", "--tokens-mlp-dim", "4", "--channels-mlp-dim", "16")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def is_error(self, *fragments: str) -> bool:
        """One sentence on standard error that contains the fragments, exit code 2, and no traceback."""
        lines = self.err.splitlines()
        return (
            self.code == 2
            and "Traceback" not in self.err
            and [line.startswith("error: ") for line in lines].count(True) == 1
            and all(fragment in self.err for fragment in fragments)
        )


def in_terminal(command, folder, until="\0", then=b"", columns=80):
    """Run a command in a pseudo-terminal; type `then` once `until` is on the screen. Returns exit code and screen."""
    import fcntl
    import pty
    import termios

    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execve(command[0], command, ENVIRONMENT | {"PYTHONIOENCODING": "utf-8"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    screen, typed, deadline = "", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            screen += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not typed and until in screen:
            os.write(terminal, then)
            typed = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), screen.replace("\r\n", "\n")
