"""Draws a roofline picture from the output of `tinymixer bench --json` (or the cpu.json of `benchmarks.cpu_table`).

    tinymixer bench --peer torch --json > nano.json
    python -m benchmarks.roofline nano.json --out docs/roofline.png

Each implementation is a point. Across: the operations of a step per byte that it would move if every operation went
through memory. Up: the operations that it did in a second. The roof is the machine's copy rate (the slope) and its
product rate (the flat part); see Williams, Waterman and Patterson 2009. A point above the slope kept its arrays in a
cache.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import transparent_figure
from tinymixer.files import replacing

Row = dict[str, Any]


def intensity(row: Row) -> float:
    """Operations per byte of a step if every operation reads from memory and writes to it."""
    return row["teraflops"] * 1e12 / (row["share_of_copy_ceiling"] * row["copy_ceiling_gigabytes"] * 1e9)


def draw_roofline(rows: list[Row], path: Path) -> None:
    """Draw each implementation under the machine's roof into a PNG file with a transparent background."""
    rows = [row for row in rows if row["images_per_second"]]
    product = statistics.median(row["product_ceiling_teraflops"] for row in rows) * 1e3
    copy = statistics.median(row["copy_ceiling_gigabytes"] for row in rows)
    figure = transparent_figure(8, 4.6)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    reach = np.geomspace(2, 120, 200)
    axes.plot(reach, np.minimum(copy * reach, product), color=INK, linewidth=2)
    axes.text(2.1, copy * 2.5, f"copy, {copy:.0f} GB/s", color=INK, rotation=48)
    axes.text(product / copy * 1.1, product * 0.9, f"large product, {product:.0f} GFLOP/s", color=INK)
    names = list(dict.fromkeys(row["name"] for row in rows))
    for index, name in enumerate(names):
        own = [row for row in rows if row["name"] == name]
        marker = "o" if index == 0 else "s^Dv"[index % 4]
        axes.scatter(
            [intensity(row) for row in own],
            [row["teraflops"] * 1e3 for row in own],
            color=COLOURS[0] if index == 0 else INK,
            marker=marker,
            s=70 if index == 0 else 36,
            label=name,
            zorder=3,
        )
    for row in (row for row in rows if row["name"] == names[0]):
        label = f"{row['model']}, {row['work']}"
        axes.text(intensity(row), product * 1.05, label, color=INK, fontsize=8, rotation=70, ha="center", va="bottom")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=product * 1.9)
    axes.set_yticks([product / 8, product / 4, product / 2, product])
    axes.set_yticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("Operations per byte, if every operation went through memory", color=INK)
    axes.set_ylabel("GFLOP/s", color=INK)
    axes.tick_params(colors=INK, which="both")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    axes.legend(frameon=False, labelcolor=INK, loc="lower right")
    with replacing(path) as file:
        figure.savefig(file, format="png", transparent=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="JSON files with rows of tinymixer bench")
    parser.add_argument("--out", type=Path, default=Path("roofline.png"))
    arguments = parser.parse_args()
    rows: list[Row] = []
    for path in arguments.results:
        found = json.loads(path.read_text())
        rows += found["compared"] if isinstance(found, dict) else found
    draw_roofline(rows, arguments.out)
    print(f"drawn: {arguments.out}")


if __name__ == "__main__":
    main()
