"""Which layout a file of arrays has, and the sizes of the Mixer in it, read off the arrays' shapes."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinymixer.borders import shown_path
from tinymixer.errors import CheckpointError
from tinymixer.models import MixerConfig
from tinymixer.pretrained.naming import AUTHORS, LAYOUTS, OLDER, TIMM, Row, rows
from tinymixer.text import shortened

PREFIX = "params/"  # before every name in files that flax's newer code wrote
BLOCK_NUMBER = {
    AUTHORS: re.compile(r"MixerBlock_([0-9]{1,6})/"),
    OLDER: re.compile(r"Mixer/encoderblock_([0-9]{1,6})/"),
    TIMM: re.compile(r"blocks\.([0-9]{1,6})\."),
}
SIGNS = {  # an array that no other layout has
    AUTHORS: re.compile(r"MixerBlock_[0-9]+/|pre_head_layer_norm/"),
    OLDER: re.compile(r"Mixer/(encoderblock_[0-9]+|encoder_norm)/"),
    TIMM: re.compile(r"blocks\.[0-9]+\.(norm[12]|mlp_tokens|mlp_channels)\.|stem\.proj\."),
}
FORMS = {AUTHORS: "tanh", OLDER: "tanh", TIMM: "erf"}  # of the GELU: flax's default, and PyTorch's
MOST_NAMED = 5  # problems that one error names


@dataclass(frozen=True)
class Found:
    """A Mixer in a file of arrays.

    layout     a name in `naming.LAYOUTS`
    sizes      letter of an axis -> length, as most arrays have it
    rows       the arrays that a Mixer of these sizes has
    actual     name in the layout's table -> name in the file
    shapes     name in the layout's table -> shape in the file, without the older layout's axes of length 1
    problems   sentences about missing, extra and misshapen arrays; a file without any can be loaded
    """

    layout: str
    sizes: Mapping[str, int]
    rows: list[Row]
    actual: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    problems: list[str] = field(default_factory=list)

    def expected(self, row: Row) -> tuple[int, ...]:
        """The shape that an array should have; 0 for a length that no array tells."""
        return tuple(self.sizes.get(letter, 0) for letter in row.letters(self.layout))

    def require_whole(self, path: Path) -> None:
        """Raise CheckpointError, naming arrays and shapes, where there is a problem."""
        if self.problems:
            more = len(self.problems) - MOST_NAMED
            named = "; ".join(self.problems[:MOST_NAMED]) + (f"; and {more} more like these" if more > 0 else "")
            raise CheckpointError(f"{shown_path(path)} is not a whole Mixer in {WHOSE[self.layout]} layout: {named}")

    @property
    def config(self) -> MixerConfig:
        """The configuration, with the layout's form of the GELU. Raises ConfigError for sizes that cannot be."""
        sizes = self.sizes
        return MixerConfig(
            image_size=sizes["PH"] * math.isqrt(sizes["S"]),
            in_channels=sizes["I"],
            patch_size=sizes["PH"],
            hidden_dim=sizes["C"],
            num_blocks=(len(self.rows) - len(rows(0))) // (len(rows(1)) - len(rows(0))),
            num_classes=sizes["K"],
            tokens_mlp_dim=sizes["DS"],
            channels_mlp_dim=sizes["DC"],
            gelu=FORMS[self.layout],
        )


WHOSE = {AUTHORS: "the authors'", OLDER: "the authors' older", TIMM: "timm's"}


def find_mixer(shapes: Mapping[str, tuple[int, ...]], path: Path) -> Found:
    """Recognise a Mixer by the names and shapes of a file's arrays.

    Every array votes for the lengths of its axes, so that one misshapen array is found to be the wrong one. Raises
    CheckpointError where no layout is known, and for models that are other networks than a Mixer.
    """
    _refuse_others(shapes, path)
    plain = {_plain(name, shapes): name for name in shapes}
    layout = next((each for each in LAYOUTS if any(SIGNS[each].match(name) for name in plain)), None)
    if layout is None:
        some = ", ".join(shortened(name, 60) for name in list(shapes)[:3]) or "none"
        raise CheckpointError(
            f"{shown_path(path)} holds no Mixer in a layout that is known (the authors', timm's, tinymixer's): its "
            f"arrays are {some}{' and others' if len(shapes) > 3 else ''}"
        )
    found = {name: shapes[actual] for name, actual in plain.items()}
    if layout == OLDER:
        found = {name: tuple(n for n in shape if n != 1) if len(shape) > 2 and "embedding" not in name else shape
                 for name, shape in found.items()}  # fmt: skip
    numbers = {int(match[1]) for name in plain if (match := BLOCK_NUMBER[layout].match(name))}
    # A number far beyond the others would make a table of all the blocks before it.
    wanted = rows(max((n for n in numbers if n < 2 * len(numbers)), default=0) + 1)
    sizes = _voted(wanted, layout, found)
    mixer = Found(layout, sizes, wanted, plain, found)
    mixer.problems.extend(_problems(mixer))
    return mixer


def _plain(name: str, names: Mapping[str, object]) -> str:
    """The name as the tables have it: without a prefix that all have; pre-Linen files count LayerNorms 0 and 2."""
    if all(each.startswith(PREFIX) for each in names):
        name = name.removeprefix(PREFIX)
    if name.startswith("Mixer/encoderblock_"):
        name = name.replace("/LayerNorm_2/", "/LayerNorm_1/")
    return name


def _voted(wanted: list[Row], layout: str, found: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """letter -> the length that most arrays give it; of two with as many, the one seen first."""
    votes: dict[str, Counter[int]] = {}
    for row in wanted:
        shape, letters = found.get(row.name(layout), ()), row.letters(layout)
        if len(shape) == len(letters):
            for letter, length in zip(letters, shape, strict=True):
                votes.setdefault(letter, Counter())[length] += 1
    sizes = {letter: counts.most_common(1)[0][0] for letter, counts in votes.items()}
    if "PH" in sizes:
        sizes["PW"] = sizes["PH"]
    return sizes


def _problems(mixer: Found) -> list[str]:
    layout, problems = mixer.layout, []
    for row in mixer.rows:
        name, expected = row.name(layout), mixer.expected(row)
        if name not in mixer.shapes:
            told = f" (its shape should be {expected})" if all(expected) else ""
            problems.append(f"the array '{name}' is missing{told}")
        elif mixer.shapes[name] != expected:
            problems.append(f"'{name}' has the shape {mixer.shapes[name]}, expected {expected}")
    known = {row.name(layout) for row in mixer.rows}
    for name, shape in mixer.shapes.items():
        if name not in known:
            problems.append(f"'{shortened(name, 80)}' {shape} is no array of a Mixer")
    tokens = mixer.sizes.get("S", 1)
    if math.isqrt(tokens) ** 2 != tokens:
        problems.append(f"its token mixing is for {tokens} tokens, which are no square of patches")
    return problems


def _refuse_others(shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raise CheckpointError for timm's other all-MLP models, by name."""
    shown = shown_path(path)
    first, second = (shapes.get(f"blocks.0.mlp_tokens.{part}.weight", ()) for part in ("fc1", "fc2"))
    gated = len(first) == len(second) == 2 and first[0] == 2 * second[1]
    if gated or "gmixer" in path.name.lower() or "gmixer" in path.parent.name.lower():
        raise CheckpointError(
            f"{shown} is a gMixer (timm's gmixer_*): its MLPs are gated (SwiGLU) and have twice the hidden units in "
            "their first half. That is another network than a Mixer, and tinymixer has none such"
        )
    for name in shapes:
        if re.match(r"blocks\.[0-9]+\.(linear_tokens|ls[12])\b", name):
            raise CheckpointError(f"{shown} is a ResMLP ('{name}'), and no Mixer: tinymixer cannot load it")
        if re.match(r"blocks\.[0-9]+\.mlp_channels\.gate\.", name):
            raise CheckpointError(f"{shown} is a gMLP ('{name}'), and no Mixer: tinymixer cannot load it")
        if re.match(r"blocks\.[0-9]+\.attn\.|Transformer/", name):
            raise CheckpointError(f"{shown} is a vision transformer ('{shortened(name, 60)}'), and no Mixer")
