"""Loads published weights: whose file it is, is told by the names of its arrays, and the sizes by their shapes."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tinymixer.backend import Backend, get_backend
from tinymixer.borders import shown_path
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models import PRESETS, MixerConfig, MlpMixer
from tinymixer.pretrained import catalogue
from tinymixer.pretrained.array_file import ArrayFile, open_arrays
from tinymixer.pretrained.class_names import imagenet_classes
from tinymixer.pretrained.fill import fill
from tinymixer.pretrained.layouts import WHOSE, find_mixer
from tinymixer.pretrained.model import PretrainedModel
from tinymixer.pretrained.naming import LAYOUTS, TIMM
from tinymixer.pretrained.own import OWN, TEXT, Description, is_own, read_own
from tinymixer.pretrained.preprocessing import Preprocessing, published
from tinymixer.pretrained.timm_config import read_timm_config

ENDINGS = (".safetensors", ".npz")


def load_weights(
    file_or_name: str | os.PathLike[str],
    *,
    backend: str | Backend = "auto",
    dtype: str = "float32",
    kernels: str = "auto",
    gelu: str | None = None,
    preprocessing: str | Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
) -> PretrainedModel:
    """Load a file of weights (the authors' .npz, timm's .safetensors, our own of either), or published ones by name.

    The model's sizes are read off the arrays. What no array tells is taken from whose layout it is, and can be given:

    gelu            "tanh" for the authors' weights, "erf" for timm's
    preprocessing   "authors", "big_vision", "timm", "miil", or a `Preprocessing`
    class_names     ImageNet's where the number of classes is ImageNet's; else "0", "1", ...

    backend, dtype, kernels   as for every model

    Raises CheckpointError, naming the array and the shapes, for a file that holds no whole Mixer.
    """
    path = find_file(file_or_name)
    backend = get_backend(backend, kernels)
    published_as = catalogue.entries().get(os.fspath(file_or_name)) if not Path(file_or_name).exists() else None
    if published_as is not None:  # its card knows better than its layout
        gelu, preprocessing = gelu or published_as.gelu, preprocessing or published_as.preprocessing
    with open_arrays(path) as file:
        if is_own(file):
            loaded = _load_own(file, backend, dtype)
            if gelu is not None and gelu != getattr(loaded.config, "gelu", gelu):
                raise ConfigError(f"{shown_path(path)} says itself that its GELU is '{loaded.config.gelu}'")
        else:
            loaded = _load_foreign(file, backend, dtype, gelu)
    return _changed(loaded, preprocessing, class_names)


def find_file(file_or_name: str | os.PathLike[str]) -> Path:
    """The file of weights at a path (or in a folder, if it is the only one), or those published under a name.

    Raises CheckpointError where there is none, and what the catalogue raises where it cannot be fetched.
    """
    path = Path(file_or_name)
    if path.is_dir():
        files = [each for ending in ENDINGS for each in sorted(path.glob(f"*{ending}"))]
        if len(files) != 1:
            raise CheckpointError(
                f"{shown_path(path)} holds {len(files)} files of weights (.npz, .safetensors): say which one"
                if files
                else f"{shown_path(path)} is a folder that holds no weights (.npz or .safetensors)"
            )
        return files[0]
    if path.exists():
        return path
    if path.suffix.lower() in ENDINGS or len(path.parts) > 1:
        raise CheckpointError(f"there is no file of weights {shown_path(path)}")
    return catalogue.find(os.fspath(file_or_name))


def _load_own(file: ArrayFile, backend: Backend, dtype: str) -> PretrainedModel:
    model, description = read_own(file, backend, dtype)
    return PretrainedModel(
        model, description.preprocessing, description.class_names, description.source, OWN, file.path,
        description.synsets,
    )  # fmt: skip


def _load_foreign(file: ArrayFile, backend: Backend, dtype: str, gelu: str | None) -> PretrainedModel:
    path = file.path
    found = find_mixer({name: file.header(name)[1] for name in file.names}, path)
    found.require_whole(path)
    # A file that tinymixer exported in somebody's layout says what that layout has no place for.
    described = Description.from_json(file.texts[TEXT], shown_path(path)) if TEXT in file.texts else None
    told = (
        {}
        if described is None
        else {name: value for name, value in described.config.to_dict().items() if name in ("gelu", "layer_norm_eps")}
    )
    config = MixerConfig.from_dict(found.config.to_dict() | told | ({"gelu": gelu} if gelu else {}))
    model = MlpMixer(config, backend=backend, dtype=dtype, seed=None)
    layout = found.layout
    fill(
        model.parameters,
        file,
        [(row.ours, found.actual[row.name(layout)], partial(_turned, row.to_ours, layout, found.expected(row)))
         for row in found.rows],
    )  # fmt: skip
    size, channels = config.image_size, config.in_channels
    if described is not None and len(described.class_names) == config.num_classes:
        return PretrainedModel(
            model, described.preprocessing, described.class_names, described.source, layout, path, described.synsets
        )
    classes = imagenet_classes(config.num_classes)
    names = classes.names if classes else tuple(map(str, range(config.num_classes)))
    source = f"{size_name(config)} in {WHOSE[layout]} layout, GELU {config.gelu}"
    if classes:
        source += f"; its {config.num_classes:,} classes are taken for {classes.name}'s, by their number"
    return PretrainedModel(
        model, default_preprocessing(layout, path, config.num_classes, size, channels), names, source, layout, path,
        classes.synsets if classes else None,
    )  # fmt: skip


def _turned(to_ours: object, layout: str, shape: tuple[int, ...], array: object) -> object:
    """Without the older layout's axes of length 1, and with our order of axes."""
    return to_ours(array.reshape(shape), layout)  # type: ignore[operator, attr-defined]


def default_preprocessing(layout: str, path: Path, num_classes: int, size: int, channels: int) -> Preprocessing:
    """The way of whoever's layout it is; for timm's, by the config.json beside the file, or by "miil" in a name."""
    if layout != TIMM:
        return published("authors", size, channels)
    found = read_timm_config(path.parent, size, channels)
    if found is not None:
        return found
    miil = "miil" in path.name.lower() or "miil" in path.parent.name.lower() or num_classes == 11_221
    return published("miil" if miil else "timm", size, channels)


def size_name(config: MixerConfig) -> str:
    """ "Mixer-B/16" for a published size, else the sizes in words."""
    for preset in PRESETS.values():
        if preset.architecture == "mlp_mixer" and all(
            getattr(config, name) == value for name, value in preset.sizes.items()
        ):
            return f"Mixer-{preset.name}"
    return (
        f"a Mixer of {config.num_blocks} blocks, {config.hidden_dim} channels and {config.num_tokens} tokens "
        f"(images of {config.image_size} x {config.image_size}, patches of {config.patch_size} x {config.patch_size})"
    )


def _changed(
    loaded: PretrainedModel, preprocessing: str | Preprocessing | None, class_names: Sequence[str] | None
) -> PretrainedModel:
    """With what the caller knows better."""
    config, synsets = loaded.config, loaded.synsets
    if isinstance(preprocessing, str):
        preprocessing = published(preprocessing, config.image_size, config.in_channels)
    chosen = preprocessing or loaded.preprocessing
    if (chosen.image_size, chosen.channels) != (config.image_size, config.in_channels):
        raise ConfigError(
            f"the preprocessing makes images of {chosen.image_size} x {chosen.image_size} with {chosen.channels} "
            f"channels, the model takes {config.image_size} x {config.image_size} with {config.in_channels}"
        )
    names = loaded.class_names
    if class_names is not None:
        names, synsets = tuple(class_names), None
        if len(names) != config.num_classes or len(set(names)) < len(names):
            raise ConfigError(
                f"class_names are a different name for each of the {config.num_classes} classes, got {len(names)}"
            )
    return PretrainedModel(loaded.model, chosen, names, loaded.source, loaded.layout, loaded.path, synsets)


__all__ = ["LAYOUTS", "default_preprocessing", "find_file", "load_weights", "size_name"]
