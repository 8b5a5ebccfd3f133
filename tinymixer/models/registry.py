"""Models by name: `[model] architecture = "..."` in a recipe picks one."""

from collections.abc import Callable
from typing import Any, TypeVar

from tinymixer.errors import ConfigError, nearest
from tinymixer.models.model import Model
from tinymixer.options import Options

_MODELS: dict[str, tuple[type[Model], type[Options]]] = {}
AnyModel = TypeVar("AnyModel", bound=type[Model])


def register_model(name: str, config_class: type[Options]) -> Callable[[AnyModel], AnyModel]:
    """Class decorator: register a model class under a name, with the class of its configuration.

    The model is built as `Class(config, **keywords)`, with the keywords of `Layer`. Registering the same class twice is
    allowed, since a notebook cell may run twice. Raises ConfigError when the name belongs to another class, or the
    class has another name already.
    """
    if not name or ":" in name:
        raise ConfigError(f"'{name}' cannot name a model: a name is not empty and has no ':' in it")

    def register(model_class: AnyModel) -> AnyModel:
        for known, (other, _) in _MODELS.items():
            if (known == name) != (_full_name(other) == _full_name(model_class)):
                raise ConfigError(
                    f"there is a model '{name}' already ({_full_name(other)}): choose another name"
                    if known == name
                    else f"{_full_name(model_class)} is registered as '{known}' already: a model has one name"
                )
        _MODELS[name] = model_class, config_class
        return model_class

    return register


def architectures() -> list[str]:
    """The names of all registered models."""
    return sorted(_MODELS)


def model_class(name: str) -> type[Model]:
    """The model class with that name. Raises ConfigError for an unknown one."""
    return _known(name)[0]


def config_class(name: str) -> type[Options]:
    """The class of that model's configuration. Raises ConfigError for an unknown model."""
    return _known(name)[1]


def make_model(name: str, config: Options, **keywords: Any) -> Model:
    """Build the model of that name (keywords as for `Layer`: backend, dtype, seed, kernels).

    Raises ConfigError for an unknown name, and for the configuration of another model.
    """
    model_class, config_class = _known(name)
    if not isinstance(config, config_class):
        raise ConfigError(f"'{name}' is built from a {config_class.__name__}, got {type(config).__name__}")
    build: Callable[..., Model] = model_class  # its first argument is the configuration, not `Layer`'s specification
    return build(config, **keywords)


def architecture_of(model: Any) -> str:
    """The name that a recipe stores for a model: the registered name, or "module:Class" for a user's own class."""
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


def _full_name(model_class: type) -> str:
    return f"{model_class.__module__}.{model_class.__qualname__}"
