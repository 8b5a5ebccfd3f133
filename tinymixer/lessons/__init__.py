"""What the lesson notebooks import: checks with hints, pictures, and the course's own data.

    from tinymixer.lessons import NotYet, check, new_figure, show

    check("2.3", my_linear_backward)

Checks need NumPy alone. Pictures need Matplotlib, which the extras `lessons` and `notebook` bring (see README), and
IPython, which every Jupyter program has.
"""

from tinymixer.lessons.browser import fewer_in_browser
from tinymixer.lessons.collecting import my_functions
from tinymixer.lessons.data import cifar10_or_advice
from tinymixer.lessons.exercise import NotYet
from tinymixer.lessons.grading import check, examine
from tinymixer.lessons.pictures import new_figure, show
from tinymixer.lessons.progress_table import show_progress

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
