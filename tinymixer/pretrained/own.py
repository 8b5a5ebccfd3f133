"""tinymixer's own layout: any registered model under its own names, with all that is needed to use it.

The arrays are "parameters/<name>" and "buffers/<name>". Two texts go with them (0-d arrays in .npz, metadata in
.safetensors): `tinymixer_weights`, a description as JSON, and `digest`, SHA-256 of the arrays and the description.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinymixer.backend import Backend
from tinymixer.borders import guarded, shown_path
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models import Model, architecture_of, architectures, config_class, make_model
from tinymixer.options import Options
from tinymixer.pretrained.array_file import ArrayFile
from tinymixer.pretrained.fill import Digest, fill, finite
from tinymixer.pretrained.model import PretrainedModel
from tinymixer.pretrained.preprocessing import Preprocessing
from tinymixer.text import shown_value

OWN = "tinymixer"  # the layout's name
TEXT, DIGEST = "tinymixer_weights", "digest"
FORMAT = 1


@dataclass(frozen=True)
class Description:
    """What a file in our layout says of its model.

    preprocessing, class_names, synsets, source   as in `PretrainedModel`
    """

    architecture: str
    config: Options
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    synsets: tuple[str, ...] | None
    source: str

    @classmethod
    def of(cls, loaded: PretrainedModel) -> "Description":
        """Raises ConfigError for a model that has no registered name, since no other program could build it."""
        architecture = architecture_of(loaded.model)
        if architecture not in architectures():
            raise ConfigError(
                f"{architecture} is not one of tinymixer's models ({', '.join(architectures())}): save your own model "
                "with the code that builds it"
            )
        return cls(architecture, loaded.config, loaded.preprocessing, loaded.class_names, loaded.synsets, loaded.source)

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "architecture": self.architecture,
                "config": self.config.to_dict(),
                "preprocessing": self.preprocessing.to_dict(),
                "class_names": list(self.class_names),
                "synsets": None if self.synsets is None else list(self.synsets),
                "source": self.source,
            }
        )

    @classmethod
    def from_json(cls, text: str, whose: str) -> "Description":
        """Raises CheckpointError, naming the file, for a text that is no description."""
        damaged = f"{whose} does not say what model it holds"
        with guarded(CheckpointError, damaged):
            values = json.loads(text)
            if not isinstance(values, dict) or values.get("format") != FORMAT:
                raise CheckpointError(f"{damaged} in format {FORMAT}: use the version of tinymixer that wrote it")
            names, synsets = values["class_names"], values["synsets"]
            if not _are_texts(names) or len(set(names)) < len(names) or not isinstance(values["source"], str):
                raise CheckpointError(f"{damaged}: its class names are not different names")
            if synsets is not None and (not _are_texts(synsets) or len(synsets) != len(names)):
                raise CheckpointError(f"{damaged}: its synsets are not one for each class")
            config = config_class(values["architecture"]).from_dict(values["config"])
            if getattr(config, "num_classes", len(names)) != len(names):
                raise CheckpointError(f"{damaged}: it has {len(names)} names for {config.num_classes} classes")  # type: ignore[attr-defined]
            preprocessing = Preprocessing.from_dict(values["preprocessing"])
            return cls(
                values["architecture"], config, preprocessing, tuple(names),
                None if synsets is None else tuple(synsets), values["source"],
            )  # fmt: skip


def is_own(file: ArrayFile) -> bool:
    return TEXT in file.texts and any(name.startswith("parameters/") for name in file.names)


def arrays_and_texts(loaded: PretrainedModel) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What to write for a model. Raises ConfigError for one of the user's own, and where numbers are not finite."""
    text, digest = Description.of(loaded).to_json(), Digest()
    arrays = {f"parameters/{name}": array for name, array in loaded.parameters.to_numpy().items()}
    arrays |= {f"buffers/{name}": array for name, array in loaded.parameters.buffers_to_numpy().items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ConfigError(f"the weights were not written, since '{name}' holds numbers that are not finite")
        digest.add(name, array)
    return arrays, {TEXT: text, DIGEST: digest.hexdigest(text)}


def read_own(file: ArrayFile, backend: Backend, dtype: str) -> tuple[Model, Description]:
    """Build the model that the file describes, with its weights.

    Raises CheckpointError for a file that was changed, or whose arrays are not those of its model.
    """
    shown = shown_path(file.path)
    description = Description.from_json(file.texts[TEXT], shown)
    claimed = getattr(description.config, "parameter_count", 0)
    held = sum(prod(file.header(name)[1]) for name in file.names)
    if claimed > 2 * held:  # refuse before memory is taken for a model larger than the weights
        raise CheckpointError(f"{shown} describes a model of {claimed:,} parameters, and holds {held:,}")
    model = make_model(description.architecture, description.config, backend=backend, dtype=dtype, seed=None)
    parameters = model.parameters
    wanted = {f"parameters/{name}": tuple(parameters.shape(name)) for name in parameters}
    wanted |= {f"buffers/{name}": tuple(parameters.buffer(name).shape) for name in parameters.buffer_names}
    require_fit(wanted, {name: file.header(name)[1] for name in file.names}, shown)
    digest = Digest()
    places = [(name, f"parameters/{name}", partial(_noted, digest, f"parameters/{name}")) for name in parameters]
    fill(parameters, file, places)
    buffers = {name: finite(file, f"buffers/{name}") for name in parameters.buffer_names}
    for name, array in buffers.items():
        digest.add(f"buffers/{name}", array)
    parameters.load_buffers(buffers)
    if file.texts.get(DIGEST) != digest.hexdigest(file.texts[TEXT]):
        raise CheckpointError(f"{shown} is damaged or was changed: its contents are not those that were written")
    return model, description


def require_fit(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], shown: str) -> None:
    """Raise CheckpointError, naming the array and both shapes, for the first that is missing, misshapen or extra."""
    for name, shape in wanted.items():
        if name not in found:
            raise CheckpointError(f"{shown}: the array '{name}' is missing (its shape should be {shape})")
        if found[name] != shape:
            raise CheckpointError(f"{shown}: '{name}' has the shape {found[name]}, expected {shape}")
    for name, shape in found.items():
        if name not in wanted:
            raise CheckpointError(f"{shown}: '{name}' {shape} is no array of the model that it describes")


def _noted(digest: Digest, name: str, array: np.ndarray) -> np.ndarray:
    digest.add(name, array)
    return array


def _are_texts(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        raise CheckpointError(f"expected a list of names, got {shown_value(value)}")
    return all(isinstance(each, str) for each in value)
