"""Shared by all pictures: fixed Matplotlib settings, names shown exactly as given, and saving to a file."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.errors import ConfigError
from tinymixer.files import replacing
from tinymixer.text import printable, reason_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG_FONTS = ["DejaVu Sans", "Verdana", "Helvetica", "Arial"]  # Matplotlib's own, and others that most readers have


@contextlib.contextmanager
def plain_settings() -> Iterator[None]:
    """Use Matplotlib's default settings within this block, whatever the user's matplotlibrc says (LaTeX, say).

    Raises ConfigError when a setting of the user's keeps Matplotlib from being used at all.
    """
    try:
        import matplotlib
        from matplotlib import rcParamsDefault
    except (ValueError, RuntimeError, OSError) as error:  # an unknown MPLBACKEND, a broken matplotlibrc
        raise ConfigError(f"Matplotlib cannot be used: {reason_of(error)}") from error
    settings: Any = {name: value for name, value in rcParamsDefault.items() if "backend" not in name}
    with matplotlib.rc_context(settings):
        yield


def transparent_figure(width: float, height: float, dots_per_inch: int = 120) -> "Figure":
    """A Matplotlib figure without a background, for drawing into files; sizes in inches. Needs Matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dots_per_inch, layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    return figure


def save_picture(figure: "Figure", path: Path, alt: str = "") -> None:
    """Draw a figure into a file: SVG where its name ends in .svg, else PNG. Texts are drawn literally: "$" in a user's
    class name does not begin a formula.

    alt   the picture in words, written into the file for readers who do not see it

    Texts in an SVG stay texts, in Matplotlib's font where the reader has it, else in another that is hardly wider. The
    same figure gives the same bytes. Raises CheckpointError when the file cannot be written; an older file of that
    name then stays.
    """
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(printable(text.get_text(), keep="\n"))
    vector = path.suffix.lower() == ".svg"
    metadata: dict[str, str | None] = {"Title": alt} if alt else {}
    if vector:
        metadata |= dict.fromkeys(("Date", "Creator", "Format", "Type"))  # not written
    settings: Any = {"svg.hashsalt": "tinymixer", "svg.fonttype": "none", "font.sans-serif": SVG_FONTS}
    with replacing(path) as file, matplotlib.rc_context(settings if vector else {}):
        figure.savefig(file, format="svg" if vector else "png", transparent=True, metadata=metadata or None)


def with_fewer_colours(picture: bytes, most: int = 256, alt: str = "") -> bytes:
    """A PNG with at most so many colours, about a third as large: lines and texts have few.

    alt   the picture in words, written into it
    """
    from PIL import Image, PngImagePlugin  # comes with Matplotlib

    content, words = io.BytesIO(), PngImagePlugin.PngInfo()
    if alt:
        words.add_text("Title", printable(alt).encode("latin-1", "replace").decode("latin-1"))
    palette = Image.open(io.BytesIO(picture)).convert("RGBA").quantize(most, method=Image.Quantize.FASTOCTREE)
    palette.save(content, format="png", optimize=True, pnginfo=words)
    return content.getvalue()


def text_width(text: str, size: float) -> float:
    """The width of a line of text in points, with letters of that size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width)


def add_legend(axes: Any, handles: Sequence[Any], labels: Sequence[str], **style: Any) -> None:
    """Add a legend with exactly these labels; Matplotlib itself would leave out those that begin with "_"."""
    legend = axes.legend(handles, [f"label {index}" for index in range(len(labels))], **style)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)
