"""Mistakes in the operations that move tokens about: patches, means and pooling, dropout and stochastic depth."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache


def _images(generator: np.random.Generator) -> tuple[Any, ...]:
    """Two square images of 6 x 6 pixels with 2 channels, cut into patches of 3 x 3."""
    return generator.normal(size=(2, 6, 6, 2)), 3


def _overlapping(generator: np.random.Generator) -> tuple[Any, ...]:
    """The same images in windows of 5 x 5 around patches of 3 x 3."""
    return generator.normal(size=(2, 6, 6, 2)), 3, 1


def _tokens(generator: np.random.Generator) -> tuple[Any, ...]:
    return (generator.normal(size=(4, 3, 5)),)


def _grid(generator: np.random.Generator) -> tuple[Any, ...]:
    """A grid of 3 x 4 tokens: it has corners, edges and an inside."""
    return generator.normal(size=(12, 2, 3)), (3, 4)


def _masked(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(4, 3, 5)), generator.random((4, 3, 5)) > 0.4, 0.4


def _dropped_images(generator: np.random.Generator) -> tuple[Any, ...]:
    """As many tokens as images, so that a mask along the wrong axis keeps the shape."""
    return generator.normal(size=(4, 4, 3)), np.array([True, False, True, False]), 0.5


@fault("images_to_patches", _images)
def patches_put_back_without_transposing(dpatches: Array, cache: Cache) -> Array:
    """The gradient is only reshaped to the image's shape; its pixels stay in the order of the patches."""
    shape, _ = cache
    return dpatches.transpose(1, 0, 2).reshape(shape).copy()


@fault("images_to_patches", _images)
def rows_and_columns_of_the_grid_exchanged(dpatches: Array, cache: Cache) -> Array:
    """Patches go back column by column over the image, where they were taken row by row."""
    dimages = ops.images_to_patches_backward(dpatches, cache)
    count, height, width, channels = dimages.shape
    size = cache[1]
    grid = dimages.reshape(count, height // size, size, width // size, size, channels)
    return grid.transpose(0, 3, 2, 1, 4, 5).reshape(dimages.shape).copy()


@fault("images_to_patches", _images)
def pixels_of_a_patch_transposed(dpatches: Array, cache: Cache) -> Array:
    """Each patch goes back to its place with its rows and columns exchanged."""
    dimages = ops.images_to_patches_backward(dpatches, cache)
    count, height, width, channels = dimages.shape
    size = cache[1]
    grid = dimages.reshape(count, height // size, size, width // size, size, channels)
    return grid.transpose(0, 1, 4, 3, 2, 5).reshape(dimages.shape).copy()


@fault("images_to_windows", _overlapping)
def windows_written_over_each_other(dwindows: Array, cache: Cache) -> Array:
    """Where windows overlap only the last one's gradient stays: it is written to the pixels and not added."""
    (count, height, width, channels), size, overlap = cache
    across, window = width // size, size + 2 * overlap
    dimages = np.zeros((count, height, width, channels), dwindows.dtype)
    for token, gradient in enumerate(dwindows.reshape(-1, count, window, window, channels)):
        top, left = token // across * size - overlap, token % across * size - overlap
        rows, columns = (np.arange(start, start + window) for start in (top, left))
        inside = [(each >= 0) & (each < length) for each, length in ((rows, height), (columns, width))]
        dimages[:, rows[inside[0]][:, None], columns[inside[1]]] = gradient[:, inside[0]][:, :, inside[1]]
    return dimages


@fault("images_to_windows", _overlapping)
def reflected_border_forgotten(dwindows: Array, cache: Cache) -> Array:
    """The gradient of what lies beyond the border is dropped, as it would be right with padding by zeros."""
    (count, height, width, channels), size, overlap = cache
    across, window = width // size, size + 2 * overlap
    wide = np.zeros((count, height + 2 * overlap, width + 2 * overlap, channels), dwindows.dtype)
    for token, gradient in enumerate(dwindows.reshape(-1, count, window, window, channels)):
        top, left = token // across * size, token % across * size
        wide[:, top : top + window, left : left + window] += gradient
    return wide[:, overlap : overlap + height, overlap : overlap + width].copy()


@fault("mean_over_tokens", _tokens)
def mean_not_divided(dy: Array, cache: Cache) -> Array:
    """Every token receives the whole gradient: 1 / S is missing."""
    return np.broadcast_to(dy, cache).copy()


@fault("mean_over_tokens", _tokens)
def divided_by_the_batch(dy: Array, cache: Cache) -> Array:
    """The gradient is divided by the number of images instead of tokens."""
    return np.broadcast_to(dy / cache[1], cache).copy()


@fault("pool_tokens", _grid)
def divided_by_nine_at_the_border_too(dy: Array, cache: Cache) -> Array:
    """The backward divides by 9 everywhere, where the forward counted the patches that exist."""
    return ops.pool_tokens_backward(dy, cache * 0 + 9)


@fault("pool_tokens", _grid)
def divided_after_the_sum(dy: Array, cache: Cache) -> Array:
    """The neighbours' gradients are summed and then divided by the count of the token they go to, not come from."""
    down, across = cache.shape[:2]
    sums = (ops.pool_tokens_backward(dy, cache * 0 + 1) + dy).reshape(down, across, *dy.shape[1:])
    return (sums / cache).reshape(dy.shape) - dy


@fault("pool_tokens", _grid)
def token_itself_not_taken_off(dy: Array, cache: Cache) -> Array:
    """The term -x of the forward is forgotten: its share of the gradient, -dy, is missing."""
    return ops.pool_tokens_backward(dy, cache) + dy


@fault("pool_tokens", _grid)
def sides_of_the_grid_exchanged(dy: Array, cache: Cache) -> Array:
    """The backward takes the grid of 3 x 4 patches for one of 4 x 3: other tokens are neighbours."""
    return ops.pool_tokens_backward(dy, cache.transpose(1, 0, 2, 3))


@fault("dropout", _masked)
def dropout_not_rescaled(dy: Array, cache: Cache) -> Array:
    """The kept entries were multiplied by 1 / (1 - rate); their gradients are not."""
    keep, _ = cache
    return dy * keep


@fault("dropout", _masked)
def fresh_mask_in_the_backward(dy: Array, cache: Cache) -> Array:
    """The backward draws a new mask: other entries are dropped than in the forward."""
    keep, rate = cache
    return dy * (np.random.default_rng().random(keep.shape) >= rate) * (1.0 / (1.0 - rate))


@fault("drop_path", _dropped_images)
def path_dropped_along_the_tokens(dy: Array, cache: Cache) -> Array:
    """The mask of the images is applied along the axis of the tokens."""
    keep, rate = cache
    return dy * keep.reshape(-1, 1, 1) * (1.0 / (1.0 - rate))


@fault("drop_path", _dropped_images)
def dropped_paths_still_receive(dy: Array, cache: Cache) -> Array:
    """The mask is forgotten: branches that were dropped receive gradients all the same."""
    _, rate = cache
    return dy * (1.0 / (1.0 - rate))
