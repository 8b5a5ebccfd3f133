"""What the lesson notebooks import: checks with hints, pictures, and the course's own data.

    from tinymixer.lessons import NotYet, check, new_figure, show

    check("2.3", my_linear_backward)

Checks need NumPy alone. Pictures need Matplotlib, which the extras `lessons` and `notebook` bring (see README), and
IPython, which every Jupyter program has. What few lessons need (training the learner's functions, the progress) is
imported when it is first asked for: in a browser every import delays a lesson's first cell.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tinymixer.lessons.browser import fewer_in_browser
from tinymixer.lessons.data import cifar10_or_advice
from tinymixer.lessons.exercise import NotYet
from tinymixer.lessons.grading import check, examine
from tinymixer.lessons.pictures import new_figure, show

if TYPE_CHECKING:
    from tinymixer.lessons.collecting import my_functions
    from tinymixer.lessons.progress_table import show_progress

HOMES = {  # name -> the module that it is imported from when it is first asked for
    "my_functions": "tinymixer.lessons.collecting",
    "show_progress": "tinymixer.lessons.progress_table",
}

__all__ = [
    "NotYet",
    "check",
    "cifar10_or_advice",
    "examine",
    "fewer_in_browser",
    "my_functions",
    "new_figure",
    "show",
    "show_progress",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'tinymixer.lessons' has no attribute '{name}'")
    value = getattr(importlib.import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
