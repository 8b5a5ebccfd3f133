"""A process that does one part of a study: `python -m tinymixer.studies.worker ORDER`, ORDER being JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from tinymixer.errors import TinymixerError
from tinymixer.studies.part import run_part
from tinymixer.studies.plan import find_study
from tinymixer.studies.study import Form
from tinymixer.sweeps.worker import gone
from tinymixer.text import reason_of


def main(order: dict[str, Any]) -> int:
    """Do the part; 0 also where it failed, or was interrupted, since its folder says so."""
    try:
        study, form = find_study(order["study"]), Form(**order["form"])
        part = next(part for part in study.parts_of(form) if part.name == order["part"])
        run_part(part, form, Path(order["folder"]), order["threads"], gone(order["parent"]), True)
    except (TinymixerError, OSError) as error:
        sys.stderr.write(f"{reason_of(error)}\n")
        return 1
    except KeyboardInterrupt:  # it came while packages were loaded: there is nothing to save yet
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
