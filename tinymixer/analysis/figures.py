"""What every picture of the package begins with."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def transparent_figure(width: float, height: float, dots_per_inch: int = 120) -> "Figure":
    """A Matplotlib figure of that size in inches, without a background, that is drawn into files. Needs Matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dots_per_inch, layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    return figure
