"""Models by name, as `[model] architecture = "..."` picks them."""

from typing import Any, TypeVar

from tinymixer.errors import ConfigError, nearest
from tinymixer.models.model import Model
from tinymixer.options import Options

_MODELS: dict[str, tuple[type[Model], type[Options]]] = {}
AnyModel = TypeVar("AnyModel", bound=type[Model])


def register_model(name: str, config_class: type[Options]) -> Any:
    """Class decorator: make a model known under a name, with the class of its configuration."""

    def register(model_class: AnyModel) -> AnyModel:
        if name in _MODELS and _MODELS[name][0].__qualname__ != model_class.__qualname__:
            raise ConfigError(
                f"there is a model '{name}' already ({_MODELS[name][0].__qualname__}): choose another name"
            )
        _MODELS[name] = model_class, config_class
        return model_class

    return register


def architectures() -> list[str]:
    """The names of all registered models."""
    return sorted(_MODELS)


def model_class(name: str) -> type[Model]:
    """The model of that name. Raises ConfigError for an unknown one."""
    return _known(name)[0]


def config_class(name: str) -> type[Options]:
    """The class of that model's configuration. Raises ConfigError for an unknown model."""
    return _known(name)[1]


def make_model(name: str, config: Options, **keywords: Any) -> Model:
    """Build the model of that name (keywords as for `Layer`: backend, dtype, seed, kernels)."""
    return _known(name)[0](config, **keywords)  # type: ignore[arg-type]


def architecture_of(model: Any) -> str:
    """The name to write down for a model: its registered name, else "module:Class" of the user's own class."""
    for name, (registered, _) in _MODELS.items():
        if type(model) is registered:
            return name
    return f"{type(model).__module__}:{type(model).__qualname__}"


def _known(name: str) -> tuple[type[Model], type[Options]]:
    if name not in _MODELS:
        raise ConfigError(
            f"unknown architecture '{name}': expected one of {', '.join(architectures())}.{nearest(name, _MODELS)}"
        )
    return _MODELS[name]
