"""Figures for the lessons: small, legible on a light and on a dark page, each with a text alternative."""

import base64
import html
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
    settings |= {"text.usetex": False, "axes.facecolor": "none", "image.interpolation": "nearest"}
    with rc_context(settings):
        figure = transparent_figure(width, height, DOTS_PER_INCH)
        return figure, figure.subplots(rows, columns, **keywords)


def show(figure: Any, alt: str) -> None:
    """Show a figure in the notebook. alt: what it shows, in a sentence, for readers who cannot see it.

    JupyterLab ignores a picture's alternative text in the metadata. So the text also stands below the picture, folded,
    where a screen reader finds it; where only text can be shown, it replaces the picture.
    """
    from IPython.display import display

    quiet_legends(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None, "Description": alt})
    picture = base64.b64encode(content.getvalue()).decode("ascii")
    display({"image/png": picture, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True)
    display({"text/html": in_words(alt), "text/plain": ""}, raw=True)


def quiet_legends(figure: Any) -> None:
    """Give all legends of a figure grey ink and no frame: Matplotlib styles them when they are made."""
    for legend in filter(None, [*figure.legends, *(axes.get_legend() for axes in figure.axes)]):
        legend.set_frame_on(False)
        for text in legend.get_texts():
            text.set_color(INK)


def in_words(alt: str) -> str:
    """The text of a picture as folded HTML, which every front end and every screen reader shows."""
    return f"<details><summary>The picture in words</summary>{html.escape(alt)}</details>"
