"""A trained model out of its run folder, with everything that is needed to use it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinymixer.backend import Backend, get_backend
from tinymixer.data import DataDescription
from tinymixer.data.images import image_of_array, load_image
from tinymixer.data.manifest import load_manifest
from tinymixer.errors import CheckpointError
from tinymixer.models import Model, make_model
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint
from tinymixer.training.evaluate import predict_log_probabilities
from tinymixer.training.fine_tuning import find_weights
from tinymixer.training.own_model import OwnConfig, config_values
from tinymixer.training.recipe import Recipe

WHICH = ("recommended", "best", "last")


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model takes one picture for.

    class_names     the K names
    probabilities   float64 (K,), in the order of the names
    """

    class_names: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def label(self) -> int:
        """The number of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def class_name(self) -> str:
        """The name of the most probable class."""
        return self.class_names[self.label]

    @property
    def probability(self) -> float:
        """Its probability, 0 to 1."""
        return float(self.probabilities[self.label])

    def best(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes and their probabilities, the first first."""
        order = self.probabilities.argsort(kind="stable")[::-1][:count]
        return [(self.class_names[k], float(self.probabilities[k])) for k in order]

    def __repr__(self) -> str:
        return "Prediction(" + ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.best(3)) + ")"


@dataclass(frozen=True)
class Run:
    """A trained model and what it was trained on.

    which   the checkpoint that the weights are from: "best", "last", or a file's name
    data    class names, mean, std, size and colours of its images
    """

    model: Model
    recipe: Recipe
    data: DataDescription
    checkpoint: Checkpoint
    which: str

    def predict(self, image: str | os.PathLike[str] | np.ndarray) -> Prediction:
        """What the model takes a picture for: a file's path, or an array uint8 (height, width[, channels]) of any size.

        It is made to fit as the training images were. Raises DataError for what is no picture.
        """
        return self.predict_many([image])[0]

    def predict_many(self, images: Iterable[str | os.PathLike[str] | np.ndarray]) -> list[Prediction]:
        """The predictions for several pictures, computed together. Raises DataError for the first that is none."""
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
        assert rows is not None  # nobody asked it to stop
        return [Prediction(tuple(known.class_names), row) for row in np.exp(rows)]


def load_run(
    run_or_file: str | Path,
    which: str = "recommended",
    backend: str | Backend = "auto",
    kernels: str = "auto",
    model: Model | None = None,
) -> Run:
    """Rebuild a trained model from a run folder, a checkpoint file, or weights that come with the package
    ("first-mixer").

    which    of a run folder: "best" on its validation images, "last", or the one the run recommends: the best where
             at least 100 validation images chose it, else the last
    model    a model of your own to load the weights into, built as it was for training; a registered one is built here

    Raises CheckpointError when there is none, or when it cannot be used.
    """
    if which not in WHICH:
        raise CheckpointError(f"a run keeps its 'best' and its 'last' weights, not '{which}'")
    path = find_weights(run_or_file)
    name = path.name
    if path.is_dir():
        path, name = recommended_checkpoint(path, which)
    checkpoint = load_checkpoint(path)
    recipe = checkpoint.recipe
    try:
        model = load_weights(checkpoint, model, backend, kernels)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be loaded: {error}") from error
    data = checkpoint.data or described_by_manifest(recipe)
    described = {"image_size": data.image_size, "in_channels": data.in_channels, "num_classes": len(data.class_names)}
    for field, value in described.items():
        if (built := getattr(model.config, field, value)) != value:
            raise CheckpointError(
                f"{path} is damaged or was changed: its model has {field} = {built}, its data {field} = {value}"
            )
    return Run(model, recipe, data, checkpoint, name)


def load_model(
    run_or_file: str | Path,
    which: str = "recommended",
    backend: str | Backend = "auto",
    kernels: str = "auto",
    model: Model | None = None,
) -> tuple[Model, Recipe]:
    """The model and the recipe of `load_run`."""
    run = load_run(run_or_file, which, backend, kernels, model)
    return run.model, run.recipe


def load_weights(
    checkpoint: Checkpoint, model: Model | None, backend: str | Backend = "auto", kernels: str = "auto"
) -> Model:
    """The checkpoint's weights and buffers, in a model of its recipe, or in one that is given."""
    recipe = checkpoint.recipe
    if model is None:
        if isinstance(recipe.model, OwnConfig):
            raise CheckpointError(
                f"its model, {recipe.architecture}, is not one of tinymixer's: build it as for training and hand it "
                "over, load_run(..., model=MyModel(config))"
            )
        claimed = getattr(recipe.model, "parameter_count", 0)
        held = sum(array.size for array in checkpoint.parameters.values())
        if claimed > 2 * held:  # before memory is taken for what the weights cannot fill
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
            f"the model handed over has another configuration ({config_values(model.config)}) than the one that was "
            f"trained ({recipe.model.to_dict()})"
        )
    model.parameters.load(checkpoint.parameters)
    model.parameters.load_buffers(checkpoint.buffers)
    return model


def described_by_manifest(recipe: Recipe) -> DataDescription:
    """The data of a run of checkpoint format 1, which knew only the data sets that have a manifest."""
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


def recommended_checkpoint(folder: Path, which: str = "recommended") -> tuple[Path, str]:
    """The file in a run's folder that holds these weights, and which they are. Raises CheckpointError."""
    if which == "recommended":
        last = folder / "last.npz"
        which = load_checkpoint(last).state.recommended if last.is_file() else "best"
    path = folder / f"{which}.npz"
    if path.is_file():
        return path, which
    if which == "best" and (folder / "last.npz").is_file():
        raise CheckpointError(
            f"{folder} has no best.npz: no epoch is finished yet, or it keeps no validation images to choose one by; "
            "choose its 'last' weights"
        )
    raise CheckpointError(f"{folder} holds no {which}.npz: expected the folder of a training run")
