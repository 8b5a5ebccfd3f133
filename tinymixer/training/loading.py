"""Loads a trained model from its run folder, with all that is needed to make predictions with it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from tinymixer.backend import Backend, get_backend
from tinymixer.data import DataDescription
from tinymixer.data.images import image_of_array, load_image
from tinymixer.data.manifest import load_manifest
from tinymixer.errors import CheckpointError, nearest
from tinymixer.models import Model, Prediction, make_model
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint
from tinymixer.training.evaluate import predict_log_probabilities
from tinymixer.training.own_model import OwnConfig, config_values
from tinymixer.training.recipe import Recipe

WHICH = ("recommended", "best", "last")


@dataclass(frozen=True)
class Run:
    """A trained model and the description of its data.

    which      the checkpoint that the weights come from: "best", "last", or a file's name
    data       class names, mean, std, size and colours of the images it was trained on
    averaged   whether the weights are the average over the last steps (`ema_decay`)
    """

    model: Model
    recipe: Recipe
    data: DataDescription
    checkpoint: Checkpoint
    which: str
    averaged: bool = False

    @property
    def kind(self) -> str:
        """What the weights are, for messages: "averaged weights"; "raw weights" where there is an average, too."""
        if self.averaged:
            return "averaged weights"
        return "raw weights" if self.checkpoint.is_averaged else "weights"

    def predict(self, image: str | os.PathLike[str] | np.ndarray) -> Prediction:
        """Predict the class of a picture: a file's path, or an array uint8 (height, width[, channels]) of any size.

        It is cropped and resized as the training images were. Raises DataError for anything that is not a picture.
        """
        return self.predict_many([image])[0]

    def predict_many(self, images: Iterable[str | os.PathLike[str] | np.ndarray]) -> list[Prediction]:
        """Predict several pictures together. Raises DataError for the first one that cannot be read."""
        known, fit = self.data, self.recipe.data.fit
        pixels = [
            image_of_array(image, known.image_size, known.in_channels, fit)
            if isinstance(image, np.ndarray)
            else load_image(image, known.image_size, known.in_channels, fit=fit)
            for image in images
        ]
        if not pixels:
            return []
        size = self.recipe.training.eval_batch_size
        rows = predict_log_probabilities(self.model, np.stack(pixels), *normalisation(known), size)  # (N, K)
        assert rows is not None  # it returns None only when stopped
        return [Prediction(tuple(known.class_names), row) for row in np.exp(rows)]


def load_run(
    run_or_file: str | Path,
    which: str = "recommended",
    backend: str | Backend = "auto",
    kernels: str = "auto",
    model: Model | None = None,
    averaged: bool = True,
) -> Run:
    """Rebuild a trained model from a run folder, a checkpoint file, or weights that come with the package
    ("first-mixer").

    which      the checkpoint in a run folder: "best" (lowest validation loss), "last", or "recommended", which is the
               best one where at least 100 validation images chose it, else the last
    model      your own model, built as it was for training, to load the weights into; None builds a registered model
    averaged   take the averaged weights where the run averages its weights; False takes those of the last step

    Raises CheckpointError when there is no such checkpoint, or when it cannot be used.
    """
    if which not in WHICH:
        raise CheckpointError(f"a run keeps its 'best' and its 'last' weights, not '{which}'")
    checkpoint, path, name = read_checkpoint(run_or_file, which)
    recipe = checkpoint.recipe
    try:
        model = load_weights(checkpoint, model, backend, kernels, averaged)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be loaded: {error}") from error
    data = checkpoint.data or described_by_manifest(recipe)
    described = {"image_size": data.image_size, "in_channels": data.in_channels, "num_classes": len(data.class_names)}
    for field, value in described.items():
        if (built := getattr(model.config, field, value)) != value:
            raise CheckpointError(
                f"{path} is damaged or was changed: its model has {field} = {built}, its data {field} = {value}"
            )
    return Run(model, recipe, data, checkpoint, name, averaged and checkpoint.is_averaged)


def load_model(
    run_or_file: str | Path,
    which: str = "recommended",
    backend: str | Backend = "auto",
    kernels: str = "auto",
    model: Model | None = None,
    averaged: bool = True,
) -> tuple[Model, Recipe]:
    """The model and the recipe of `load_run`."""
    run = load_run(run_or_file, which, backend, kernels, model, averaged)
    return run.model, run.recipe


def load_weights(
    checkpoint: Checkpoint,
    model: Model | None,
    backend: str | Backend = "auto",
    kernels: str = "auto",
    averaged: bool = True,
) -> Model:
    """Load the checkpoint's weights and buffers into `model`, or into a new model of its recipe; return the model.

    averaged   take the averaged ones where there are any
    """
    recipe = checkpoint.recipe
    if model is None:
        if isinstance(recipe.model, OwnConfig):
            raise CheckpointError(
                f"its model, {recipe.architecture}, is not one of tinymixer's: build it as for training and pass it "
                "in, load_run(..., model=MyModel(config))"
            )
        claimed = getattr(recipe.model, "parameter_count", 0)
        held = sum(array.size for array in checkpoint.parameters.values())
        if claimed > 2 * held:  # refuse before allocating memory for a model larger than the weights
            raise CheckpointError(
                f"its recipe is for a model of {claimed:,} parameters, and it holds {held:,}: it is damaged or "
                "was changed"
            )
        model = make_model(
            recipe.architecture,
            recipe.model,
            backend=get_backend(backend, kernels),
            dtype=recipe.training.dtype,
            seed=None,
        )
    elif OwnConfig(config_values(model.config)) != OwnConfig(recipe.model.to_dict()):
        raise CheckpointError(
            f"the model passed in has another configuration ({config_values(model.config)}) than the one that was "
            f"trained ({recipe.model.to_dict()})"
        )
    parameters, buffers = checkpoint.weights(averaged)
    model.parameters.load(parameters)
    model.parameters.load_buffers(buffers)
    return model


def described_by_manifest(recipe: Recipe) -> DataDescription:
    """Describe the data of a checkpoint of format 1, which could be trained only on data sets with a manifest."""
    manifest = load_manifest(recipe.data.dataset)
    return DataDescription(
        name=manifest.name,
        source="",
        class_names=manifest.class_names,
        mean=manifest.mean,
        std=manifest.std,
        image_size=manifest.image_size,
        in_channels=manifest.channels,
        fingerprint="",
        train_images=manifest.train_images,
        test_images=manifest.test_images,
    )


def normalisation(data: DataDescription) -> tuple[np.ndarray, np.ndarray]:
    """mean and std of the data, as arrays (channels,)."""
    return np.array(data.mean), np.array(data.std)


def shipped_weights() -> list[str]:
    """The names of the weights that come with the package."""
    files = resources.files("tinymixer").joinpath("weights").iterdir()
    return sorted(file.name.removesuffix(".npz") for file in files if file.name.endswith(".npz"))


def find_weights(name_or_path: str | Path) -> Path:
    """Return the path of a run folder or checkpoint file, or of the weights with that name in the package.

    Raises CheckpointError where there is neither.
    """
    path = Path(name_or_path)
    if path.exists():
        return path
    names = shipped_weights()
    if str(name_or_path) in names:
        return Path(str(resources.files("tinymixer").joinpath("weights", f"{name_or_path}.npz")))
    if path.suffix or len(path.parts) > 1:
        raise CheckpointError(
            f"there is no checkpoint {path}: expected the folder of a training run, or its best.npz or last.npz"
        )
    raise CheckpointError(
        f"there is no run {path}: expected the folder of a training run, its best.npz or last.npz, or weights that "
        f"come with tinymixer ({', '.join(names)}).{nearest(str(name_or_path), names)}"
    )


def read_checkpoint(run_or_file: str | Path, which: str = "recommended") -> tuple[Checkpoint, Path, str]:
    """Read a checkpoint file, or one of a run folder's, each file once: (checkpoint, its path, its name).

    The name is "best" or "last" in a run folder, otherwise the file's. Raises CheckpointError when there is none.
    """
    folder = find_weights(run_or_file)
    if not folder.is_dir():
        return load_checkpoint(folder), folder, folder.name
    last = folder / "last.npz"
    if which == "recommended":
        newest = load_checkpoint(last) if last.is_file() else None
        which = newest.state.recommended if newest else "best"
        if newest and which == "last":
            return newest, last, which
    path = folder / f"{which}.npz"
    if path.is_file():
        return load_checkpoint(path), path, which
    if which == "best" and last.is_file():
        raise CheckpointError(
            f"{folder} has no best.npz: no epoch is finished yet, or it keeps no validation images to choose one by; "
            "choose its 'last' weights"
        )
    raise CheckpointError(f"{folder} holds no {which}.npz: expected the folder of a training run")
