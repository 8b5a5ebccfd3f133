"""Figures for the lessons: legible on a light page and on a dark one, small, with a text in place of each."""

import io
from typing import Any

from tinymixer.analysis.curves import INK
from tinymixer.analysis.figures import transparent_figure

DOTS_PER_INCH = 100


def new_figure(rows: int = 1, columns: int = 1, width: float = 8.0, height: float = 3.0, **keywords: Any) -> Any:
    """A Matplotlib figure with a transparent background and grey ink, and its axes (one, or an array of them).

    width, height: in inches, on a page about 8 wide. keywords: of `Figure.subplots`.
    """
    from matplotlib import rc_context

    coloured = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(coloured, INK)
    settings |= {"font.size": 10, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False}
    settings |= {"axes.facecolor": "none", "image.interpolation": "nearest"}
    with rc_context(settings):
        figure = transparent_figure(width, height, DOTS_PER_INCH)
        return figure, figure.subplots(rows, columns, **keywords)


def show(figure: Any, alt: str) -> None:
    """Show a figure in the notebook. alt: what it shows, in a sentence, for readers who cannot see it."""
    from IPython.display import Image, display

    for legend in filter(None, [*figure.legends, *(axes.get_legend() for axes in figure.axes)]):
        legend.set_frame_on(False)  # Matplotlib styles it when it is made, which is after new_figure
        for text in legend.get_texts():
            text.set_color(INK)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None, "Description": alt})
    display(Image(data=content.getvalue(), format="png", alt=alt))
