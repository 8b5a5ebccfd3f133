"""The whitened stem: its weight is set from the training images before a run's first step, and never trained.

A stem that is trained from random weights spends its first epochs on finding out how neighbouring pixels hang together,
and that can be read off the images at once. Let w (F,) be a window of a normalised image, flattened as the stem gets
it, and K = V diag(l) V^T the covariance of such windows, with eigenvalues l in descending order. The stem's weight is

    W = V[:, :C] diag(1 / sqrt(l[:C] + EPS))                                    (F, C)

so that the covariance of its outputs is W^T K W = diag(l / (l + EPS)), nearly the identity: C uncorrelated channels of
variance 1, one for each of the C directions in which windows vary most. EPS keeps directions in which they hardly vary
from being blown up to the same size as the others.

From Jordan 2024 (arXiv 2404.00498, section 3.2; the idea is older, see there), who freezes the weight of a first
convolution in the same way while its bias is trained. That network has a nonlinearity right behind the convolution, so
each direction goes in twice, with both signs. A Mixer's stem is followed by Linears, for which a negated copy is no
news. Where C is larger than F, the channels that are left get random mixtures of the F whitened ones, of variance 1
each: other directions, on which the blocks' nonlinearities act otherwise.
"""

import numpy as np

from tinymixer.data import Dataset, generator, normalise
from tinymixer.errors import ConfigError
from tinymixer.files import Say
from tinymixer.models import MixerConfig, MlpMixer, Model
from tinymixer.ops import images_to_windows_forward
from tinymixer.parallel.ranks import Ranks

EPS = 5e-4
ENOUGH_WINDOWS = 100_000  # a covariance of 192 x 192 is then known to less than a hundredth
AT_ONCE = 4_000  # windows in memory at a time


def whiten_stem(
    model: Model, dataset: Dataset, train_indices: np.ndarray, seed: int, ranks: Ranks, say: Say, own_model: bool
) -> None:
    """Set the weight of the model's stem from a sample of the training images, where `whitened_stem` asks for it.

    train_indices   of the images that are trained on: those held back for validation are not looked at
    seed            of the run: the sample and the mixtures follow from it
    own_model       whether the caller gave the model: then its weights stay as they are, and `say` tells so

    It is called before weights to start from are loaded: a stem among those replaces it. So does a checkpoint's when a
    run is resumed. Rank 0 computes the weight, for all.

    Raises ConfigError for another model than an MlpMixer with its own stem.
    """
    config = model.config
    if not getattr(config, "whitened_stem", False):
        return
    shape = (config.patch_features, config.hidden_dim) if isinstance(config, MixerConfig) else None
    weights = model.parameters
    if not isinstance(model, MlpMixer) or "stem.weight" not in weights or weights.shape("stem.weight") != shape:
        raise ConfigError(
            f"whitened_stem is for MlpMixer, with the stem that it comes with, and this is a {type(model).__name__}: "
            "leave whitened_stem out, or set the weight yourself and freeze it (--freeze)"
        )
    if own_model:
        say(
            "whitened_stem: the weight of the stem stays as the model brings it, and is frozen. A model built from the "
            "recipe gets it from the training images"
        )
        return
    weight = ranks.first(lambda: stem_weight(config, dataset, train_indices, seed))
    weights["stem.weight"][...] = model.backend.asarray(weight, weights.dtype)


def stem_weight(config: MixerConfig, dataset: Dataset, train_indices: np.ndarray, seed: int) -> np.ndarray:
    """The whitened stem's weight (F, C), float64."""
    random = generator(seed, "whitening")
    count = min(len(train_indices), -(-ENOUGH_WINDOWS // config.num_tokens))
    chosen = np.sort(random.choice(train_indices, count, replace=False))
    covariance = covariance_of_windows(config, dataset, chosen)
    return whitening(covariance, config.hidden_dim, random)


def covariance_of_windows(config: MixerConfig, dataset: Dataset, chosen: np.ndarray) -> np.ndarray:
    """The covariance (F, F) of all windows of the chosen training images, normalised and without augmentation."""
    features = config.patch_features
    products, sums = np.zeros((features, features)), np.zeros(features)  # (F, F), (F,)
    step = max(1, AT_ONCE // config.num_tokens)
    for start in range(0, len(chosen), step):
        pixels = dataset.train_images[chosen[start : start + step]]
        images = normalise(pixels, dataset.mean, dataset.std, np.float64)
        windows, _ = images_to_windows_forward(images, config.patch_size, config.overlap)
        windows = windows.reshape(-1, features)  # (windows, F)
        products += windows.T @ windows
        sums += windows.sum(axis=0)
    number = len(chosen) * config.num_tokens
    mean = sums / number  # (F,)
    return products / number - np.outer(mean, mean)


def whitening(covariance: np.ndarray, channels: int, random: np.random.Generator, eps: float = EPS) -> np.ndarray:
    """The weight (F, C) of the module's docstring for a covariance (F, F), with C = channels.

    An eigenvector is as good as its negative: each is turned so that its largest entry is positive, on every machine.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance)  # (F,), ascending; (F, F), in columns
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0), vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))]  # (F,)
    weight = vectors * np.sign(largest) / np.sqrt(eigenvalues + eps)  # (F, F)
    if channels <= len(vectors):
        return weight[:, :channels]
    mixtures = random.standard_normal((len(vectors), channels - len(vectors)))  # (F, C - F)
    return np.concatenate([weight, weight @ (mixtures / np.linalg.norm(mixtures, axis=0))], axis=1)
