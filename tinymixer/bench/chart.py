"""The result as a picture: a bar for each implementation."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import plain_settings, save_picture, transparent_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_chart(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw images per second as bars, ours first, into a PNG file with a transparent background.

    Implementations without a speed get their name and "left out". Raises CheckpointError when the file cannot be
    written. Needs Matplotlib.
    """
    with plain_settings():
        save_picture(_bars(rows, title), path)


def _bars(rows: list[dict[str, Any]], title: str) -> "Figure":
    figure = transparent_figure(8, 1.5 + 0.5 * len(rows))
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    speeds = [row["images_per_second"] or 0.0 for row in rows]
    colours = [COLOURS[0], *[INK] * (len(rows) - 1)]
    bars = axes.barh([row["name"] for row in rows], speeds, color=colours, height=0.62)
    notes = [
        f"{speed:,.0f}" + _against_ours(row) if speed else "left out" for speed, row in zip(speeds, rows, strict=True)
    ]
    axes.bar_label(bars, notes, padding=5, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, max([*speeds, 1e-9]) * 1.22)
    axes.set_title(title, color=INK, loc="left", fontweight="bold", pad=10)
    axes.set_xlabel("Images per second (more is better)", color=INK)
    axes.tick_params(colors=INK, left=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(axis="x", color=INK, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def _against_ours(row: dict[str, Any]) -> str:
    factor = row.get("speed_relative_to_tinymixer")
    return "" if factor is None or row["name"] == "tinymixer" else f"  ({factor:.2f} x)"
