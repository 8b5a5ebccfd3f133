"""The command line: one file per command. Only this package prints; the rest of tinymixer never does.

Messages for people go to the terminal as they happen; with `--json`, standard output holds only JSON for programs.
Exit codes: 0 done; 1 a check failed, or tinymixer has a defect, shown with its traceback; 2 something the user can fix,
said in one sentence on standard error; 130 after Ctrl-C; 143 after SIGTERM.
"""

import importlib.util
import sys
from collections.abc import Sequence

from tinymixer.cli.command_clock import start_command
from tinymixer.errors import install_line

REQUIRED = ("click", "rich", "tqdm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `arguments` does not include the program's name."""
    start_command(is_own_process=arguments is None)
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"error: the command line needs {', '.join(missing)}: {install_line('cli')}", file=sys.stderr)
        return 2
    from tinymixer.cli.failures import run_reporting_failures
    from tinymixer.cli.program import program
    from tinymixer.cli.ranks import tell_launcher_code

    return tell_launcher_code(run_reporting_failures(program, sys.argv[1:] if arguments is None else list(arguments)))
