"""A list of transforms: written as text in a recipe, drawn on the host, applied on NumPy or CuPy.

    rotate(20, 0.4) zoom(0.25, 0.4) saturation(0.7, 0.4) erase(0.25, 0.4)

is one transform after another, each with its strength and the share of images that it is applied to; both may be left
out (`rotate` is rotate(30, 1)). Two policies choose transforms by themselves, for every image anew:

    rand_augment(2, 9)    two of `POLICY_TRANSFORMS`, each at 9/30 of its usual strength, one way or the other
                          (Cubuk et al. 2020, arXiv 1909.13719)
    trivial_augment       one of them, with a strength from 0 to the usual one
                          (Müller and Hutter 2021, arXiv 2103.10158)

Geometric ones come first, composed into one resampling; then changes of colour in the order of the list, each cut off
at 0 and 1; erasing comes last, after normalising, where zero is the mean colour.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tinymixer.data.transforms.catalogue import POLICY_TRANSFORMS, TRANSFORMS, Colour, Erasing, Geometric
from tinymixer.data.transforms.geometry import AffineMaps, resample
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, nearest
from tinymixer.ops.array_library import Array, namespace

POLICIES = ("rand_augment", "trivial_augment")
STRONGEST = 30  # RandAugment's largest magnitude
ONE_USE = re.compile(r"\s*,?\s*([a-z_]+)\s*(?:\(([^()]*)\))?")


@dataclass(frozen=True)
class Use:
    """One entry of the list: the strength, and the share of images that get it (a policy's two numbers likewise)."""

    name: str
    strength: float
    rate: float

    def __str__(self) -> str:
        """The text that `parse` reads it from."""
        return self.name if self.name == "trivial_augment" else f"{self.name}({self.strength:g}, {self.rate:g})"


@dataclass
class Drawn:
    """The choices for B images, on the host.

    maps     where pixels come from; None where no geometric transform was drawn
    colour   (name, images int64 (n,), amounts (n,) or (n, channels)) in order
    boxes    (images int64 (n,), boxes int64 (n, 4)) to erase
    """

    count: int
    maps: AffineMaps | None = None
    colour: list[tuple[str, np.ndarray, np.ndarray]] = field(default_factory=list)
    boxes: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


def parse(text: str) -> tuple[Use, ...]:
    """The list that a text describes. Raises ConfigError, in a sentence, for anything that it cannot mean."""
    uses, position = [], 0
    while text[position:].strip(" ,\t\n"):
        found = ONE_USE.match(text, position)
        if found is None:
            raise ConfigError(f"transforms are written as 'rotate(20, 0.4) zoom(0.25)', got '{text[position:][:60]}'")
        position = found.end()
        uses.append(_use(found.group(1), found.group(2) or ""))
    return tuple(uses)


def _use(name: str, inside: str) -> Use:
    names = [*TRANSFORMS, *POLICIES]
    if name not in names:
        raise ConfigError(f"unknown transform '{name}': expected some of {', '.join(names)}.{nearest(name, names)}")
    try:
        numbers = [float(number) for number in inside.split(",") if number.strip()]
    except ValueError as error:
        raise ConfigError(f"{name}({inside}) expects numbers in its brackets") from error
    if name == "trivial_augment":
        if numbers:
            raise ConfigError("trivial_augment takes no numbers: it draws every strength")
        return Use(name, 1, 1)
    if name == "rand_augment":
        count, magnitude = [*numbers, *(2, 9)[len(numbers) :]] if len(numbers) <= 2 else (0, 0)
        if count not in range(1, len(POLICY_TRANSFORMS)) or not 0 <= magnitude <= STRONGEST:
            raise ConfigError(f"rand_augment(2, 9) takes a count and a magnitude up to {STRONGEST}, got ({inside})")
        return Use(name, count, magnitude)
    kind = TRANSFORMS[name]
    strength, rate = [*numbers, *(kind.usual, 1.0)[len(numbers) :]] if len(numbers) <= 2 else (-1, -1)
    if not (0 <= strength <= kind.largest and 0 <= rate <= 1):
        raise ConfigError(
            f"{name}(strength, rate) takes a strength from 0 to {kind.largest:g} ({kind.meaning}) and a rate from 0 to "
            f"1, got ({inside})"
        )
    return Use(name, strength, rate)


def draw(uses: tuple[Use, ...], draws: Draws, height: int, width: int, channels: int) -> Drawn:
    """Draw the choices for the images of `draws`. Each entry draws under its own name."""
    drawn, seen = Drawn(len(draws)), dict.fromkeys((use.name for use in uses), 0)
    for use in uses:
        place, seen[use.name] = f"augmentation.{use.name}.{seen[use.name]}", seen[use.name] + 1
        for name, chosen, strength, numbers in _choices(use, place, draws, channels):
            images = np.flatnonzero(chosen)
            kind = TRANSFORMS[name]
            if not len(images):
                continue
            if isinstance(kind, Geometric):
                maps = kind.maps(numbers[images], strength[images], height, width)
                drawn.maps = (drawn.maps or AffineMaps.identity(drawn.count)).then_some(images, maps)
            elif isinstance(kind, Colour):
                drawn.colour.append((name, images, kind.amounts(numbers[images], strength[images])))
            elif isinstance(kind, Erasing):
                drawn.boxes.append((images, kind.boxes(numbers[images], strength[images], height, width)))
    return drawn


def _choices(
    use: Use, place: str, draws: Draws, channels: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """name, bool (B,) of the images that get it, strength (B,), and their uniform numbers (B, 4 + channels)."""
    count = len(draws)
    if use.name not in POLICIES:
        numbers = draws.at(place).uniform((count, 5 + channels))
        yield use.name, numbers[:, 0] < use.rate, np.full(count, use.strength), numbers[:, 1:]
        return
    for turn in range(int(use.strength)):
        numbers = draws.at(f"{place}.{turn}").uniform((count, 5 + channels))
        which, numbers = (numbers[:, 0] * len(POLICY_TRANSFORMS)).astype(int), numbers[:, 1:]
        share = 1.0
        if use.name == "rand_augment":  # the whole strength, one way or the other
            share, numbers = use.rate / STRONGEST, numbers.copy()
            numbers[:, 0] = np.where(numbers[:, 0] < 0.5, 0.0, np.nextafter(1.0, 0.0))
        for index, name in enumerate(POLICY_TRANSFORMS):
            if name != "identity":
                yield name, which == index, np.full(count, share * TRANSFORMS[name].usual), numbers


def apply(images: Array, drawn: Drawn) -> Array:
    """Move and colour: images uint8 (B, height, width, channels)  ->  float32 in 0..1, the same shape."""
    xp = namespace(images)
    result = images.astype(np.float32) if drawn.maps is None else resample(images, drawn.maps)
    result *= 1 / 255
    for name, chosen, amounts in drawn.colour:
        kind, whole = TRANSFORMS[name], len(chosen) == drawn.count
        assert isinstance(kind, Colour)
        indices, amounts = xp.asarray(chosen), xp.asarray(amounts.astype(np.float32))
        part = kind.apply(result if whole else xp.take(result, indices, axis=0), amounts)
        part = xp.minimum(xp.maximum(part, 0.0), 1.0)
        if whole:
            result = part
        else:
            result[indices] = part
    return result


def erase(images: Array, drawn: Drawn) -> None:
    """Set the drawn boxes of normalised images (B, height, width, channels) to zero, in place."""
    xp, (height, width) = namespace(images), images.shape[1:3]
    for chosen, boxes in drawn.boxes:
        rows, columns = np.arange(height), np.arange(width)
        in_rows = (rows >= boxes[:, :1]) & (rows < boxes[:, 1:2])  # (n, height)
        in_columns = (columns >= boxes[:, 2:3]) & (columns < boxes[:, 3:])  # (n, width)
        kept = ~(in_rows[:, :, None] & in_columns[:, None, :])  # (n, height, width)
        indices, kept = xp.asarray(chosen), xp.asarray(kept.astype(np.float32)[..., None])
        images[indices] = xp.take(images, indices, axis=0) * kept.astype(images.dtype)
