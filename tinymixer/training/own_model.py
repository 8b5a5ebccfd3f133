"""How recipes and checkpoints describe a user's own model, which only the user's program can build."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tinymixer.errors import ConfigError
from tinymixer.layers.replica import reachable
from tinymixer.models import architecture_of, architectures
from tinymixer.models.stock import difference_from_stock
from tinymixer.options import plain_value
from tinymixer.parameters import Parameters


class OwnConfig:
    """The configuration of a user's own model as names and plain values, which can be stored and compared."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {str(name): _writable(value) for name, value in values.items()}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"the model's configuration has no '{name}'") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnConfig) and self._values == other._values

    def __hash__(self) -> int:
        return hash(repr(sorted(self._values.items())))

    def to_dict(self) -> dict[str, Any]:
        return dict(self._values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "OwnConfig":
        return cls(values)


def describe_model(model: Any) -> tuple[str, Any]:
    """The name and the configuration that recipes and checkpoints store for a model.

    A model of a registered class has that class's name only if it is exactly what the class builds. A changed one
    (another layer, one more block) is a user's own model, named "module:Class".
    """
    name = architecture_of(model)
    if name in architectures() and difference_from_stock(model) is None:
        return name, model.config
    return f"{type(model).__module__}:{type(model).__qualname__}", OwnConfig(config_values(model.config))


def require_own_parameters(model: Any) -> None:
    """Raise ConfigError for weights outside of `model.parameters`, which would be neither trained nor saved."""
    for thing in reachable(model):
        if isinstance(thing, Parameters) and thing.storage is not model.parameters.storage and len(thing):
            raise ConfigError(
                f"a part of {type(model).__name__} has weights of its own ({thing.names[0]}, ...) outside of the "
                "model's parameters, so they would be neither trained nor saved: declare them in the model's "
                'specification and hand the part its share, parameters=model.parameters.part("name")'
            )


def config_values(config: Any) -> dict[str, Any]:
    """A configuration of any kind (Options, a dataclass, a mapping, an object) as names and values."""
    if hasattr(config, "to_dict"):
        return dict(config.to_dict())
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return dataclasses.asdict(config)
    return dict(config) if isinstance(config, Mapping) else dict(vars(config))


def _writable(value: Any) -> Any:
    """Convert a value to one that TOML can hold: numbers, text and lists of them; anything else becomes text."""
    value = plain_value(value)
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else repr(value)
