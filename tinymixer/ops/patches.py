"""Images to patches and back: on patches, the stem's convolution is one matrix product."""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache
from tinymixer.ops.shapes import expect_shape


def images_to_patches_forward(images: Array, patch_size: int) -> tuple[Array, Cache]:
    """Cut each image into P x P patches and flatten them; tokens come first.

    images (B, height, width, channels)  ->  patches (S, B, P*P*channels),  S = (height / P) * (width / P)

    Tokens go row by row over the image; a patch vector is (row in patch, column in patch, channel), row-major.
    This only rearranges the pixels: each one appears exactly once in the patches (Mixer, section 2).

    Raises ShapeError when the patch size does not divide the image.

    See: lessons/07_patches.ipynb, "images_to_patches" in lessons/cheatsheet.md, tests/ops/test_images_to_patches.py
    """
    expect_shape("images", images, "B height width channels")
    count, height, width, channels = images.shape
    if height % patch_size or width % patch_size:
        raise ShapeError(f"patch size {patch_size} does not divide the image, which is {height} x {width} pixels")
    down, across = height // patch_size, width // patch_size
    grid = images.reshape(count, down, patch_size, across, patch_size, channels)
    tokens_first = grid.transpose(1, 3, 0, 2, 4, 5).copy()  # (down, across, B, P, P, channels), never a view
    return tokens_first.reshape(down * across, count, -1), (images.shape, patch_size)


def images_to_patches_backward(dpatches: Array, cache: Cache) -> Array:
    """The inverse permutation: each pixel's gradient goes back to where the pixel came from.

    dpatches (S, B, P*P*channels)  ->  dimages (B, height, width, channels)
    """
    (count, height, width, channels), patch_size = cache
    down, across = height // patch_size, width // patch_size
    expect_shape("dpatches", dpatches, "S B features", S=down * across, B=count, features=patch_size**2 * channels)
    tokens_first = dpatches.reshape(down, across, count, patch_size, patch_size, channels)
    grid = tokens_first.transpose(2, 0, 3, 1, 4, 5).copy()  # (B, down, P, across, P, channels), never a view
    return grid.reshape(count, height, width, channels)
