"""Figures for the lessons: small, legible on a light and on a dark page, each with a text alternative."""

import base64
import html
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from tinymixer.analysis.curves import INK
from tinymixer.analysis.figures import transparent_figure, with_fewer_colours

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


def draw_numbers(
    axis: Any,
    values: Any,
    left: float,
    top: float,
    known: Any,
    colour: str | Callable[[int, int], str],
    height: float = 1.0,
) -> None:
    """A table of numbers: cells that are 1 wide, downwards and to the right from a corner.

    values   (rows, columns)
    known    which numbers are written: True or False, or one of these for each cell
    colour   of the numbers: one for all, or a function of row and column
    """
    from matplotlib.patches import Rectangle

    written = np.broadcast_to(known, values.shape)
    for (row, column), value in np.ndenumerate(values):
        x, y = left + column, top + row * height
        axis.add_patch(Rectangle((x, y), 1, height, facecolor="none", edgecolor=INK, linewidth=0.5))
        if written[row, column]:
            ink = colour if isinstance(colour, str) else colour(row, column)
            axis.text(x + 0.5, y + height / 2, f"{value:g}", ha="center", va="center", color=ink, fontsize=10.5)


def in_brackets(number: float) -> str:
    """A number as a factor or a summand: in brackets where it is negative."""
    return f"({number:g})" if number < 0 else f"{number:g}"


def show(figure: Any, alt: str) -> None:
    """Show a figure in the notebook. alt: what it shows, in a sentence, for readers who cannot see it."""
    picture = png_of(figure, alt)
    show_html(image_element(picture, alt), picture, alt)


def show_html(page: str, picture: bytes, alt: str) -> None:
    """Show some HTML that has a picture in it, and `picture` itself where HTML cannot be shown.

    JupyterLab and VS Code draw a bare image/png without its text: only an `<img alt>` reaches a screen reader there.
    Of the forms offered here JupyterLab, Jupyter Notebook, VS Code, Colab, and nbconvert's HTML and Markdown prefer the
    HTML. (GitHub's page could not be tried; a PNG becomes an `<img>` with a data address there too.) JupyterLab removes
    scripts and styles from the HTML of a notebook that it does not trust yet, but keeps `<img>` with `alt` and a data
    address. The PNG beside it is for what shows no HTML: nbconvert's PDF, consoles. It has fewer colours, since a
    notebook holds every form.
    """
    from IPython.display import display

    small = base64.b64encode(with_fewer_colours(picture)).decode("ascii")
    display({"text/html": page, "image/png": small, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True)


def image_element(picture: bytes, alt: str) -> str:
    """A PNG as an `<img>` that carries both the picture and its text."""
    content = base64.b64encode(picture).decode("ascii")
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{content}">'


def png_of(figure: Any, alt: str = "") -> bytes:
    """A figure as a PNG file, with `alt` inside it."""
    quiet_legends(figure)
    content = io.BytesIO()
    metadata = {"Software": None} | ({"Description": alt} if alt else {})
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata=metadata, pil_kwargs={"optimize": True})
    return content.getvalue()


def quiet_legends(figure: Any) -> None:
    """Give all legends of a figure grey ink and no frame: Matplotlib styles them when they are made."""
    for legend in filter(None, [*figure.legends, *(axes.get_legend() for axes in figure.axes)]):
        legend.set_frame_on(False)
        for text in legend.get_texts():
            text.set_color(INK)
