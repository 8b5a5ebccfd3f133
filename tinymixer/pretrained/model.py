"""`PretrainedModel`: trained weights from somebody's file, with all that is needed to look at pictures with them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.data.views import average_logits, views_of
from tinymixer.draws import Draws
from tinymixer.engines import Engine, choose_engine
from tinymixer.models import Model, Prediction
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Parameters
from tinymixer.pretrained.preprocessing import Picture, Preprocessing

PREDICTED_AT_ONCE = 16  # pictures


@dataclass(frozen=True, repr=False)
class PretrainedModel:
    """A model with its preprocessing and its class names.

        mixer = tinymixer.load_weights("Mixer-B_16.npz")
        mixer.predict("dog.jpg").best(5)                  names and probabilities
        images = mixer.preprocessing("dog.jpg")[None]     float32 (1, H, W, channels)
        logits, cache = mixer.forward(images)             as every layer: `cache` is what backward needs
        mixer.logits(images)                              logits alone, (B, K), on the fastest engine

    model           the network itself, such as an `MlpMixer`: to train, check or take apart
    preprocessing   how a picture becomes an image for it
    class_names     K different names;  synsets   their WordNet numbers, where the classes are ImageNet's
    source          a sentence: what was read, and what was taken for granted
    layout          whose names the file has: "authors", "authors-older", "timm" or "tinymixer"

    trained_with_flips   whether it saw mirrored images in training; None where nobody says
    """

    model: Model
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    layout: str
    path: Path
    synsets: tuple[str, ...] | None = None
    trained_with_flips: bool | None = None

    @property
    def config(self) -> Any:
        """The model's sizes."""
        return self.model.config

    @property
    def parameters(self) -> Parameters:
        return self.model.parameters

    def forward(self, images: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """images (B, H, W, channels), already preprocessed  ->  logits (B, K), cache; on the model's own layers"""
        return self.model.forward(images, train, rng)

    def backward(self, dlogits: Array, cache: Cache) -> Array:
        """dlogits (B, K)  ->  dimages (B, H, W, channels); parameter gradients are added"""
        return self.model.backward(dlogits, cache)

    def logits(self, images: Array) -> np.ndarray:
        """images (B, H, W, channels), already preprocessed  ->  logits (B, K) on the host, from the fastest engine"""
        backend, dtype = self.model.backend, self.model.parameters.dtype
        return backend.to_numpy(self.engine.logits(backend.asarray(images, dtype=dtype)))

    def logits_with_tta(self, images: np.ndarray, tta: str) -> tuple[np.ndarray, np.ndarray]:
        """images (B, H, W, channels), already preprocessed  ->  their logits, and the average over views, (B, K) each

        tta   test-time augmentation: "none", "mirror", "shift" or "all", see `data.views`; ConfigError for any other
        """
        found = average_logits(tta, lambda view: self.logits(view(images)))
        assert found is not None  # it is None only where stopped
        return found

    @cached_property
    def engine(self) -> Engine:
        """What `logits` and `predict` compute with."""
        return choose_engine(self.model)

    @property
    def computed_by(self) -> str:
        """Which engine computes predictions, in a clause for people."""
        return f"{self.engine.name} engine, {self.engine.description}"

    def predict(self, picture: Picture, tta: str = "none") -> Prediction:
        """Classify a picture: a file's path, or an array uint8 (height, width[, channels]) of any size.

        tta   test-time augmentation: "none", "mirror", "shift" or "all", see `data.views`

        Raises DataError for anything that is no picture, ConfigError for an unknown tta.
        """
        return self.predict_many([picture], tta)[0]

    def predict_many(self, pictures: Iterable[Picture], tta: str = "none") -> list[Prediction]:
        """Classify several pictures. Raises DataError for the first one that cannot be read."""
        return self.predict_images((self.preprocessing(picture) for picture in pictures), tta)

    def predict_images(self, images: Iterable[np.ndarray], tta: str = "none") -> list[Prediction]:
        """Classify images (H, W, channels) that are preprocessed already; some of them are in memory at a time."""
        views_of(tta)  # a wrong name is refused before pictures are read
        waiting, predictions = iter(images), []
        while batch := list(islice(waiting, PREDICTED_AT_ONCE)):
            _, logits = self.logits_with_tta(np.stack(batch), tta)  # (b, K)
            predictions += [Prediction(self.class_names, row, tta) for row in softmax(logits)]
        return predictions

    def __repr__(self) -> str:
        return f"PretrainedModel({self.model!r}; {self.source})"


def softmax(logits: np.ndarray) -> np.ndarray:
    """logits (B, K)  ->  probabilities float64 (B, K)"""
    shifted = logits.astype(np.float64) - np.max(logits, axis=1, keepdims=True)  # (B, K)
    exponentials = np.exp(shifted)  # (B, K)
    return exponentials / np.sum(exponentials, axis=1, keepdims=True)
