"""`DataDescription`: the facts about a data set that are needed to use a model trained on it, stored with the model."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tinymixer.borders import IMAGE_VALUES
from tinymixer.errors import DataError
from tinymixer.text import shown_value


@dataclass(frozen=True)
class DataDescription:
    """A data set in words and numbers, written into a run's config.toml and its checkpoints.

    class_names            the K names, in the order of the labels
    mean, std              per channel, of the training pixels scaled to 0..1
    image_size             height and width in pixels;  in_channels   1 (grey) or 3 (colour), or more
    source                 where it came from: a folder or file, "" where that is not known
    fingerprint            SHA-256 of all images and labels; "" where it was not stored

    Raises DataError for impossible values, such as a damaged file may hold.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    in_channels: int
    fingerprint: str
    train_images: int
    test_images: int

    def __post_init__(self) -> None:
        for name in ("name", "source", "fingerprint"):
            if not isinstance(getattr(self, name), str):
                raise DataError(f"a data set's {name} is text, got {shown_value(getattr(self, name))}")
        for name, least in (("image_size", 1), ("in_channels", 1), ("train_images", 0), ("test_images", 0)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value < 1 << 60:
                raise DataError(f"a data set's {name} is a whole number of at least {least}, got {shown_value(value)}")
        IMAGE_VALUES.require(self.image_size**2 * self.in_channels, "the data set", DataError)
        names = self.class_names
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise DataError(f"a data set's class_names are different names, got {shown_value(names)}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            fits = len(values) == self.in_channels and all(
                isinstance(value, float) and math.isfinite(value) for value in values
            )
            if not fits or (name == "std" and min(values) <= 0):
                raise DataError(f"a data set's {name} has a number for each of its channels, got {shown_value(values)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as TOML and JSON hold them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Any) -> "DataDescription":
        """Rebuild a description from what `to_dict` returned. Raises DataError for anything else."""
        names = set(cls.__dataclass_fields__)
        if not isinstance(values, Mapping) or set(values) != names:
            raise DataError(
                f"the description of a data set holds {', '.join(sorted(names))}, got {shown_value(values)}"
            )
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        for name in ("class_names", "mean", "std"):
            if not isinstance(plain[name], tuple):
                raise DataError(f"a data set's {name} are a list, got {shown_value(plain[name])}")
        for name in ("mean", "std"):
            plain[name] = tuple(_number(value) for value in plain[name])
        return cls(**plain)


def _number(value: Any) -> Any:
    """Convert a whole number to a float if it fits one; return anything else unchanged."""
    return float(value) if type(value) is int and abs(value) < 1 << 60 else value
