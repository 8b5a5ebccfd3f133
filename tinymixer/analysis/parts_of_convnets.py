"""What a picture of a convolutional network shows, read from the parts and the blocks that its configuration lists.

A new network of such a chain is drawn without a change here. A layer of a kind without an entry in LABELS is called by
the name of its class.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from inspect import signature
from itertools import groupby
from typing import Any

from tinymixer.analysis.model_parts import BOTH, CHANNELS, NEITHER, TOKENS, Block, Box, ModelParts, Sum
from tinymixer.errors import ConfigError
from tinymixer.layers.chain import Part, Residual
from tinymixer.layers.convolution import Convolution, ScaledStandardisedConvolution, StandardisedConvolution
from tinymixer.layers.image_norms import BatchNorm, GroupNorm
from tinymixer.layers.linear import Linear
from tinymixer.layers.pooling import AveragePooling, GlobalAveragePooling, MaxPooling, Relu
from tinymixer.models.convnet import BlockPlace, ConvNetConfig

Named = tuple[str, Part]
Item = Box | Sum


def convnet_parts(config: ConvNetConfig) -> ModelParts:
    """What the picture of such a network shows. Raises ConfigError where its parts are not named by its blocks."""
    before, of_blocks, after = _split(config)
    side, stages = _side_after(before, config.image_size), []
    stem = _stem(before, side, config.width)
    for stage, blocks in _by_stage(config.blocks()).items():
        for block in blocks:
            side = -(-side // block.stride)
        words = f"stage {stage + 1}:\n{len(blocks)} block{'s' * (len(blocks) > 1)}"
        stages.append(
            Box(words, "", _image(side, blocks[-1].outputs), f"(B, {side}, {side}, {blocks[-1].outputs})", blocks=True)
        )
    image = Box("image", "", _image(config.image_size, config.in_channels))
    kinds = _kinds(list(config.blocks()), of_blocks)
    narrow = any("C/" in box.detail or "C channels" in box.detail for kind in kinds for box in kind.boxes)
    return ModelParts(
        type(config).noun.split(" ", 1)[-1],
        config.parameter_count,
        (image, *stem, *stages, *_ends(after, config.features)),
        tuple(kinds),
        "places",
        "C: the channels of the stage." if narrow else "",
    )


def _split(config: ConvNetConfig) -> tuple[list[Named], dict[str, list[Named]], list[Named]]:
    """The parts before the blocks, those of each block by its place, and those after the blocks."""
    places = {block.place for block in config.blocks()}
    before: list[Named] = []
    after: list[Named] = []
    of_blocks: dict[str, list[Named]] = {place: [] for place in places}
    for name, part in config.parts().items():
        place = ".".join(name.split(".")[1:3])
        if place in places:
            of_blocks[place].append((name, part))
        else:
            (after if any(of_blocks.values()) else before).append((name, part))
    if not all(of_blocks.values()):
        raise ConfigError(
            f"there is no picture of {type(config).noun}: its parts are not named by their blocks ('stages.0.1'), "
            "so that they cannot be told apart"
        )
    return before, of_blocks, after


def _by_stage(blocks: Iterable[BlockPlace]) -> dict[int, list[BlockPlace]]:
    return {stage: list(group) for stage, group in groupby(blocks, _stage)}


def _side_after(parts: Sequence[Named], side: int) -> int:
    """Height and width of an image after the parts."""
    for _, part in parts:
        sizes = _sizes(part)
        if issubclass(part.kind, Convolution | MaxPooling):
            size, stride, padding = sizes.get("size", 1), sizes.get("stride", 1), sizes.get("padding")
            if padding is None:
                padding = (size - 1) // 2 if issubclass(part.kind, Convolution) else 0
            side = (side + 2 * padding - size) // stride + 1
        elif issubclass(part.kind, AveragePooling):
            side //= sizes.get("size", 1)
    return side


def _image(side: int, channels: int) -> str:
    return f"{side} x {side} x {channels}"


def _stage(block: BlockPlace) -> int:
    return int(block.place.split(".")[0])


def _stem(parts: Sequence[Named], side: int, width: int) -> tuple[Box, ...]:
    """One box for all parts before the blocks; its details are their names."""
    if not parts:
        return ()
    boxes = [_block_box(part, width) for _, part in parts]
    details = "\n".join(f"{box.name}\n{box.detail}" if box.detail else box.name for box in _joined(boxes))
    details = details.replace("\nstride", ", stride")
    mixes = next((box.mixes for box in boxes if box.mixes), NEITHER)
    return (Box("stem", details, _image(side, width), f"(B, {side}, {side}, {width})", mixes),)


def _ends(parts: Sequence[Named], features: int) -> tuple[Box, ...]:
    """The parts after the blocks: pooling to (C,), the head, and what stands before and between."""
    boxes = []
    for name, part in parts:
        box = _box(part)
        if issubclass(part.kind, Linear):
            outputs = _sizes(part)["out_features"]
            box = (
                Box("head", "a Linear", str(outputs), "(B, K)") if name == "head" else replace(box, shape=str(outputs))
            )
        elif issubclass(part.kind, GlobalAveragePooling):
            box = replace(box, shape=str(features), letters="(B, C)")
        boxes.append(box)
    return tuple(_joined(boxes))


def _kinds(blocks: Sequence[BlockPlace], of_blocks: Mapping[str, Sequence[Named]]) -> list[Block]:
    """The blocks that differ in more than their sizes, one of each; the first ones of the stages come first."""
    kinds: dict[Any, list[BlockPlace]] = {}
    for block in blocks:
        kinds.setdefault(tuple(_items(of_blocks[block.place], block.outputs, None)), []).append(block)
    count = 1 + max(_stage(block) for block in blocks)
    made = []
    for members in kinds.values():
        shown = max(reversed(members), key=lambda block: block.stride)
        first = all(block.place.endswith(".0") for block in members)
        stages = sorted({_stage(block) for block in members})
        title = "every block" if len(kinds) == 1 else _title(first, stages, count)
        made.append(
            (
                not first,
                Block(title, tuple(_items(of_blocks[shown.place], shown.outputs, _stride_note(shown, members)))),
            )
        )
    return [block for _, block in sorted(made, key=lambda pair: pair[0])]


def _stride_note(shown: BlockPlace, members: Sequence[BlockPlace]) -> str:
    """What follows the stride of the block that is drawn for its kind: where in the kind it is another one."""
    others = [block for block in members if block.stride != shown.stride]
    if not others:
        return ""
    stages = sorted({_stage(block) for block in others})
    alone = all(block in others for block in members if _stage(block) in stages)
    return f" ({others[0].stride} in {_stages(stages) if alone else 'others'})"


def _title(first: bool, stages: Sequence[int], count: int) -> str:
    if first:
        return f"first block of {'every stage' if len(stages) == count else _stages(stages)}"
    return "all other blocks" if len(stages) == count else f"other blocks of {_stages(stages)}"


def _stages(stages: Sequence[int]) -> str:
    """Stages 0, 1 and 2 as "stages 1 to 3"."""
    return f"stage{'s' * (len(stages) > 1)} {_list([stage + 1 for stage in stages])}"


def _list(numbers: Sequence[int]) -> str:
    """1, 2 and 3 as "1 to 3"; 1 and 3 as "1 and 3"."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return " and ".join([", ".join(map(str, numbers[:-1])), str(numbers[-1])]) if numbers[1:] else str(numbers[0])


def _items(parts: Iterable[Named], stage_channels: int, stride_note: str | None) -> list[Item]:
    """The parts of a block as boxes and sums (see `_block_box`)."""
    found: list[Item] = []
    for _, part in parts:
        if issubclass(part.kind, Residual):
            sizes = _sizes(part)
            branch, shortcut = (
                tuple(_joined([_block_box(inner, stage_channels, stride_note) for inner in sizes[way].values()]))
                for way in ("branch", "shortcut")
            )
            found.append(Sum(branch, shortcut, "" if sizes["weight"] == 1 else f"{sizes['weight']:g}"))
        else:
            found.append(_block_box(part, stage_channels, stride_note))
    return _joined(found)


def _joined(items: Sequence[Any]) -> list[Any]:
    """The items, with a ReLU in one box with the norm before it."""
    joined: list[Any] = []
    for item in items:
        last = joined[-1] if joined else None
        if (
            isinstance(item, Box)
            and item.name.endswith("ReLU")
            and isinstance(last, Box)
            and last.name.endswith("norm")
        ):
            details = "\n".join(detail for detail in (last.detail, item.detail) if detail)
            joined[-1] = replace(last, words=f"{last.words}, {item.words}", detail=details)
        else:
            joined.append(item)
    return joined


def _block_box(part: Part, stage_channels: int, stride_note: str | None = "") -> Box:
    """A layer of a block as a box, with its channels where they are not those of the stage (C), and its stride.

    stride_note   follows the stride; with None the stride is left out
    """
    sizes, box = _sizes(part), _box(part)
    details, share = [], Fraction(sizes.get("outputs", stage_channels), stage_channels)
    if stride_note is not None and sizes.get("stride", 1) > 1:
        details.append(f"stride {sizes['stride']}{stride_note}")
    if share != 1:
        times = "" if share.numerator == 1 else share.numerator
        details.append(f"{times}C/{share.denominator} channels" if share.denominator > 1 else f"{times}C channels")
    return replace(box, detail="\n".join([*details, box.detail] if box.detail else details))


def _box(part: Part) -> Box:
    """A layer as a box, without stride and channels."""
    sizes = _sizes(part)
    if part.kind in LABELS:  # exactly that class: a subclass may do something else
        return LABELS[part.kind](sizes)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", part.kind.__name__).lower()
    heads = sizes.get("heads")
    detail = f"{heads} head{'s' * (heads > 1)}" if isinstance(heads, int) else ""
    return Box(name, detail, mixes=TOKENS if "attention" in name or "pool" in name else NEITHER)


def _sizes(part: Part) -> dict[str, Any]:
    """What the layer is built with, by the names that its class gives to it."""
    bound = signature(part.kind.specification).bind(*part.arguments, **part.options)
    bound.apply_defaults()
    return dict(bound.arguments)


def _convolution(sizes: dict[str, Any], weights: str = "") -> Box:
    size = sizes["size"]
    return Box(f"{size} x {size} convolution", weights, mixes=CHANNELS if size == 1 else BOTH)


LABELS: dict[type, Callable[[dict[str, Any]], Box]] = {
    Convolution: _convolution,
    StandardisedConvolution: lambda sizes: _convolution(sizes, "standardised weights"),
    ScaledStandardisedConvolution: lambda sizes: _convolution(sizes, "scaled standardised weights"),
    BatchNorm: lambda sizes: Box("batch norm"),
    GroupNorm: lambda sizes: Box("group norm", f"{sizes['groups']} groups"),
    Relu: lambda sizes: Box("ReLU" if sizes["factor"] == 1 else "scaled ReLU"),
    MaxPooling: lambda sizes: Box(f"{sizes['size']} x {sizes['size']} max pooling", mixes=TOKENS),
    AveragePooling: lambda sizes: Box(f"{sizes['size']} x {sizes['size']} average pooling", mixes=TOKENS),
    GlobalAveragePooling: lambda sizes: Box("global average\npooling"),
    Linear: lambda sizes: Box("Linear"),
}
