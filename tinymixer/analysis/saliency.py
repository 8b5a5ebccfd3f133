"""Two ways to find the pixels that a prediction depends on: the gradient, and covering parts of the image."""

from collections.abc import Callable

import numpy as np

from tinymixer.errors import ShapeError
from tinymixer.models import MlpMixer


def saliency(model: MlpMixer, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The derivative of one logit per image with respect to the image's pixels (Simonyan et al. 2013, arXiv 1312.6034).

    images    (B, height, width, channels) normalised, in the model's dtype
    classes   (B,) integers, the class of each image's logit

    ->  (B, height, width, channels) on the host

    A backward pass whose dlogits are 1 at that class and 0 elsewhere gives exactly this derivative. The gradients of
    the parameters are restored afterwards.
    """
    gradients = model.parameters.gradients
    before = gradients.copy()
    _, cache = model.forward(model.backend.asarray(images))
    one_hot = np.eye(model.config.num_classes, dtype=model.parameters.dtype)[classes]  # (B, K)
    dimages = model.backward(model.backend.asarray(one_hot), cache)
    gradients[...] = before
    return model.backend.to_numpy(dimages)


def occlusion(score: Callable[[np.ndarray], np.ndarray], image: np.ndarray, size: int, fill: float = 0.0) -> np.ndarray:
    """How much a score falls when a square of the image is covered (Zeiler and Fergus 2014, section 4.2).

    score   a function: images (N, height, width, channels) -> (N,)
    image   (height, width, channels)
    size    side of the square in pixels; it must divide height and width
    fill    value of the covered pixels; 0 is the mean colour of normalised images

    ->  (height / size, width / size): score(image) - score(image with this square covered)
    """
    height, width = image.shape[:2]
    if height % size or width % size:
        raise ShapeError(f"squares of {size} x {size} pixels do not tile an image of {height} x {width}")
    down, across = height // size, width // size
    covered = np.repeat(image[None], down * across, axis=0)  # (down * across, height, width, channels)
    for index in range(down * across):
        row, column = divmod(index, across)
        covered[index, row * size : (row + 1) * size, column * size : (column + 1) * size] = fill
    return (score(image[None])[0] - score(covered)).reshape(down, across)
