"""What the lesson notebooks import: checks with hints, pictures, and the course's own data.

    from tinymixer.lessons import NotYet, check, new_figure, show

    check("2.3", my_linear_backward)

Checks need NumPy alone; pictures need Matplotlib and IPython, which come with the extra `lessons` (see README).
"""

from tinymixer.lessons.collecting import my_functions
from tinymixer.lessons.data import cifar10_or_advice
from tinymixer.lessons.exercise import NotYet
from tinymixer.lessons.grading import check, examine
from tinymixer.lessons.pictures import new_figure, show

__all__ = ["NotYet", "check", "cifar10_or_advice", "examine", "my_functions", "new_figure", "show"]
