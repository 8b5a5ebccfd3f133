"""docs/recipe.md has a row for every transform, with the strength that the package takes."""

import re
from pathlib import Path

from tinymixer.data.transforms import TRANSFORMS

PAGE = Path(__file__).parents[3] / "docs/recipe.md"


def test_the_page_lists_every_transform_with_its_usual_strength():
    table, listed = PAGE.read_text(encoding="utf-8").partition("## mixup")[0], {}
    for names, usual in re.findall(r"^\| (`.*?) \| .* \| ([\d., ]*)\|$", table, re.M):
        found, numbers = re.findall(r"`(\w+)`", names), [float(number) for number in re.findall(r"[\d.]+", usual)]
        listed |= dict(zip(found, numbers * (len(found) if len(numbers) == 1 else 1), strict=False))
    assert listed == {name: kind.usual for name, kind in TRANSFORMS.items() if name != "invert"}
    assert "| `invert` |" in table
