"""`load_weights`: any weights there are, a run's or somebody's file, as one kind of object."""

import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tinymixer import pretrained
from tinymixer.backend import Backend
from tinymixer.borders import shown_path
from tinymixer.errors import ConfigError
from tinymixer.pretrained import Preprocessing, PretrainedModel
from tinymixer.pretrained.own import OWN
from tinymixer.training.loading import Run, load_run, shipped_weights

CHECKPOINTS = ("last.npz", "best.npz")


def load_weights(
    file_or_name: str | os.PathLike[str],
    *,
    backend: str | Backend = "auto",
    dtype: str = "float32",
    kernels: str = "auto",
    gelu: str | None = None,
    preprocessing: str | Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    averaged: bool = True,
) -> PretrainedModel:
    """Load weights: published ones (a file or a name), an exported file, a run's folder or checkpoint, "first-mixer".

        mixer = tinymixer.load_weights("Mixer-B_16.npz")
        print(mixer.predict("dog.jpg"))

    gelu, preprocessing, class_names   what no array tells, see `tinymixer.pretrained.load_weights`; a run knows its own
    averaged   of a run that averages its weights take the average; False takes the weights of the last step

    Raises CheckpointError for a file that cannot be used, naming arrays and shapes.
    """
    if is_run(file_or_name):
        if gelu is not None or preprocessing is not None or class_names is not None:
            raise ConfigError(f"{shown_path(file_or_name)} is a run's, which knows its GELU, preprocessing and classes")
        if dtype not in ("float32", None):
            raise ConfigError("a run is computed in the number format that it was trained in")
        path = Path(file_or_name)
        return of_run(load_run(path, backend=backend, kernels=kernels, averaged=averaged), path)
    return pretrained.load_weights(
        file_or_name,
        backend=backend,
        dtype=dtype,
        kernels=kernels,
        gelu=gelu,
        preprocessing=preprocessing,
        class_names=class_names,
    )


def is_run(file_or_name: str | os.PathLike[str]) -> bool:
    """Whether this is a run's folder, a checkpoint, or a checkpoint that comes with the package."""
    path = Path(file_or_name)
    if path.is_dir():
        return any((path / name).exists() for name in (*CHECKPOINTS, "config.toml"))
    if not path.exists():
        return os.fspath(file_or_name) in shipped_weights()
    with suppress(OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError):
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return {"recipe.npy", "state.npy"} <= set(archive.namelist())
    return False


def of_run(run: Run, path: Path) -> PretrainedModel:
    """A run's model with its preprocessing and its class names."""
    data = run.data
    preprocessing = Preprocessing(
        "training", data.image_size, run.recipe.data.fit, "tinymixer", tuple(data.mean), tuple(data.std),
        data.in_channels,
    )  # fmt: skip
    which = f"{run.which} {run.kind}" if path.is_dir() else run.kind
    source = f"{run.recipe.architecture} trained on {data.name}, {which} of {shown_path(path)}"
    return PretrainedModel(run.model, preprocessing, tuple(data.class_names), source, OWN, path)
