"""What the numbers of `cost` say, in sentences, and what the paper says beside them."""

import statistics
from collections.abc import Iterable, Sequence

from tinymixer.studies.cost_points import COSTS, FAMILIES, LAYER_BY_LAYER, SIZES, cost_of, measured, points_of
from tinymixer.studies.frontier import Point, frontier, missing, undecided_neighbours, undecided_outside
from tinymixer.studies.numbers import Numbers


def conclude(numbers: Numbers) -> list[str]:
    said = []
    for cost, words in COSTS.items():
        points = points_of(numbers, cost)
        if points:
            line = frontier(points)
            listed = ", ".join(f"{each.name} {each.accuracy.percent()} for {words.words(each.cost)}" for each in line)
            said.append(f"The frontier by {words.title}, from cheap to dear: {listed}.")
            said.append(how_sure(points, line))
    if found := below_the_frontier(numbers):
        said.append(f"Points of accuracy that the Mixer lacks to the best of its cost or less: {found}.")
    if measured(numbers):
        said += speeds(numbers)
        spreads = measured(numbers)["spread_of_step_seconds"].values()
        said.append(
            f"The shortest and the longest turn of a network differ by {100 * statistics.median(spreads):.0f} % of its "
            f"median time (half of the networks by more, {100 * max(spreads):.0f} % at most): this is how exact "
            "seconds are."
        )
        if not measured(numbers)["step_joules"]:
            said.append("Joules: not told by this machine.")
    return said


def how_sure(points: Sequence[Point], line: Sequence[Point]) -> str:
    """Where ranges over seeds leave open what is on the frontier."""
    if all(len(point.accuracy.values) == 1 for point in points):
        return "One seed each: how far another would be from it is not known."
    pairs = [f"{one.name} and {other.name}" for one, other in undecided_neighbours(line)]
    outside = names_of(undecided_outside(points, line))
    once = names_of(point for point in line if len(point.accuracy.values) == 1)
    return (
        (f"Neighbours on it whose ranges over seeds overlap: {'; '.join(pairs)}." if pairs else
         "No two neighbours on it overlap in their ranges over seeds.")
        + (f" Not on it, but with a range that reaches it: {outside}." if outside else " No other range reaches it.")
        + (f" With one seed, so without a range: {once}." if once else "")
    )  # fmt: skip


def below_the_frontier(numbers: Numbers) -> str:
    """The Mixer's distance from the frontier at its own costs, by cost and size; "" where nothing is known."""
    found = []
    for cost, words in COSTS.items():
        points = points_of(numbers, cost)
        gaps = [f"{100 * missing(point, points):.1f} ({point.size})" for point in points if point.family == "mixer"]
        if gaps:
            found.append(f"by {words.title} {', '.join(gaps)}")
    return "; ".join(found)


def speeds(numbers: Numbers) -> list[str]:
    """Multiply-adds in a second of each family, and the Mixer's times when it is computed as the others are."""
    said, rates = [], []
    for family in FAMILIES:
        both = [[cost_of(numbers, cost, family, size) for cost in ("operations", "seconds")] for size in SIZES]
        known = [f"{counted / seconds / 1e9:.1f}" for counted, seconds in both if counted and seconds]
        if known:
            rates.append(f"{family} {', '.join(known)}")
    if rates:
        said.append(
            f"Billions of multiply-adds in a second of {measured(numbers)['seconds_of']}, from small to large: "
            f"{'; '.join(rates)}."
        )
    ratios = []
    for size in SIZES:
        layers, own = (cost_of(numbers, "seconds", "mixer", size, timed) for timed in (LAYER_BY_LAYER, "mixer"))
        if layers and own:
            ratios.append(f"{layers / own:.2f} ({size})")
    if ratios:
        names = names_of(frontier(points_of(numbers, "seconds", LAYER_BY_LAYER)))
        said.append(
            f"Layer by layer, as the others are computed, a step of the Mixer takes {', '.join(ratios)} times as long. "
            f"With these times, the frontier by seconds is: {names}."
        )
    return said


def names_of(points: Iterable[Point]) -> str:
    return ", ".join(point.name for point in points)


def compare(numbers: Numbers) -> list[dict[str, str]]:
    fronts = [
        f"by {words.title}: {names_of(frontier(points))}"
        for cost, words in COSTS.items()
        if (points := points_of(numbers, cost))
    ]
    table = "table 3: networks pre-trained on JFT-300M, at 224 pixels, with their cost in days of a TPU v3 core"
    return [
        {"what": "on the frontier", "paper": "Mixer, HaloNet, ViT, NFNet and MPL",
         "source": "figure 2 (left): accuracy on ImageNet over the cost of pre-training, of the networks in table 2",
         "here": "; ".join(fronts)},
        {"what": "points that the Mixer lacks to the frontier",
         "paper": "slightly below at the lower end of scales, on it at the high end; not given as a number",
         "source": "section 3.2, figure 3", "here": below_the_frontier(numbers)},
        {"what": "Mixer and ViT",
         "paper": "L/16: 84.82 % for 450 days, 85.63 % for 650; H/14: 86.32 % for 1,010, 86.65 % for 2,300",
         "source": table, "here": side_by_side(numbers, "vit")},
        {"what": "Mixer and BiT",
         "paper": "B/16 and R50x1: 80.00 % for 80 days, 73.69 % for 80; L/16 and R152x2: 84.82 % for 450, 83.34 % for "
                  "580",
         "source": table, "here": side_by_side(numbers, "bit")},
    ]  # fmt: skip


def side_by_side(numbers: Numbers, family: str) -> str:
    """Accuracy and cost of the Mixer and of another family, for each size: in seconds where they were measured."""
    cost = "seconds" if measured(numbers) else "operations"
    points = {(point.family, point.size): point for point in points_of(numbers, cost)}
    found = []
    for size in SIZES:
        if both := [points[name, size] for name in ("mixer", family) if (name, size) in points]:
            listed = (f"{100 * each.accuracy.mean:.1f} % for {COSTS[cost].words(each.cost)}" for each in both)
            found.append(f"{size}: {', '.join(listed)}")
    return "; ".join(found)
