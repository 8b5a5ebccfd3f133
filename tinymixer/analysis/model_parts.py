"""What a picture of a model shows: its parts in their order, and one of each kind of block.

`parts_of_models.parts_of` makes it from a configuration alone; `model_picture.py` (with an image, for the lessons) and
`model_diagram.py` (for a page) draw it.
"""

from dataclasses import dataclass

from tinymixer.analysis.curves import COLOURS, INK

TOKENS, CHANNELS, BOTH, NEITHER = "tokens", "channels", "both", ""  # what a part mixes
COLOUR_OF = {TOKENS: COLOURS[1], CHANNELS: COLOURS[0], BOTH: COLOURS[2], NEITHER: INK}


@dataclass(frozen=True)
class Box:
    """One part of a model.

    words     its name; "\\n" where a narrow box breaks the line
    detail    more about it, in smaller letters; "\\n" between its lines
    shape     of its output for one image, such as "64 x 128"; "" for that of its input
    letters   the same for a batch, as the lessons write it; "" leaves the part out of a lesson's picture
    mixes     which numbers it combines: TOKENS (or the image's places), CHANNELS, BOTH or NEITHER; its colour says so
    blocks    whether it stands for blocks, of the kinds in `ModelParts.blocks`
    """

    words: str
    detail: str = ""
    shape: str = ""
    letters: str = ""
    mixes: str = NEITHER
    blocks: bool = False

    @property
    def name(self) -> str:
        """Its name on one line."""
        return self.words.replace("-\n", "-").replace("\n", " ")


@dataclass(frozen=True)
class Sum:
    """A residual connection: shortcut(x) + weight * branch(x); an empty shortcut is x itself, "" a weight of 1."""

    branch: tuple[Box, ...]
    shortcut: tuple[Box, ...] = ()
    weight: str = ""


@dataclass(frozen=True)
class Block:
    """A kind of block: which ones are of it, and their parts in the order of the forward pass."""

    title: str
    parts: tuple[Box | Sum, ...]

    @property
    def boxes(self) -> list[Box]:
        """All its boxes, those in its sums too."""
        sums = [(*part.branch, *part.shortcut) if isinstance(part, Sum) else (part,) for part in self.parts]
        return [box for boxes in sums for box in boxes]


@dataclass(frozen=True)
class ModelParts:
    """All that a picture of a model shows.

    name        the model's, as its paper writes it
    parameters  how many it has
    chain       from image to logits
    blocks      one of each kind
    places      what TOKENS are called: "tokens", or "places" of an image
    note        a sentence for below the picture
    """

    name: str
    parameters: int
    chain: tuple[Box, ...]
    blocks: tuple[Block, ...]
    places: str = "tokens"
    note: str = ""

    @property
    def in_words(self) -> str:
        """The picture in words, for readers who do not see it."""
        chain = "; ".join(_in_words(box) for box in self.chain)
        blocks = " ".join(
            f"{block.title[:1].upper()}{block.title[1:]}: {_parts_in_words(block)}." for block in self.blocks
        )
        return f"{self.name}, {self.parameters:,} parameters: {chain}. {blocks}"


def _in_words(box: Box) -> str:
    shape = f"gives {box.shape}" if box.detail and box.shape else box.shape
    return ", ".join(part for part in (box.name, _on_one_line(box.detail), shape) if part)


def _parts_in_words(block: Block) -> str:
    return ", then ".join(_sum_in_words(part) if isinstance(part, Sum) else part.name for part in block.parts)


def _sum_in_words(part: Sum) -> str:
    branch, shortcut = (", ".join(_with_detail(box) for box in boxes) for boxes in (part.branch, part.shortcut))
    weight = f"{part.weight} times " if part.weight else ""
    return f"{f'({shortcut})' if shortcut else 'x'} plus {weight}({branch})"


def _with_detail(box: Box) -> str:
    return f"{box.name} ({_on_one_line(box.detail)})" if box.detail else box.name


def _on_one_line(detail: str) -> str:
    return detail.replace("\n", ", ")
