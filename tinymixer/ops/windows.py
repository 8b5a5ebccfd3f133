"""Images to overlapping windows and back: patches that see some pixels of their neighbours."""

from typing import Any

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.patches import images_to_patches_forward
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def images_to_windows_forward(images: Array, patch_size: int, overlap: int) -> tuple[Array, Cache]:
    """Cut each image into windows of Q x Q pixels, Q = P + 2 * overlap, one around each patch; tokens come first.

    images (B, height, width, channels)  ->  windows (S, B, Q*Q*channels),  S = (height / P) * (width / P)

    Windows stand P pixels apart, so there are as many tokens as without overlap, in the same order; overlap = 0 gives
    exactly the patches of `images_to_patches`. Beyond the border the image is reflected about its outermost pixel,
    which is not repeated:

        x[-1] = x[1],  x[-2] = x[2], ...        x[N] = x[N-2],  x[N+1] = x[N-3], ...

    Rows and columns are treated alike, one after the other. Place k of window w reads row r(w, k):

        p = w * P + k - overlap                             where the place lies, beyond the border perhaps
        r(w, k) = (N-1) - | (N-1) - |p| |                   the same, reflected at both borders

    Taking row r(w, k) for each of the (height / P) * Q places writes every window out beside the next, an image in
    which windows no longer overlap: its patches of Q x Q are the windows.

    Overlapping patches are the stem of CvT (Wu et al. 2021, arXiv 2103.15808, section 3.2) and PVTv2 (Wang et al. 2021,
    arXiv 2106.13797, section 3.2); both pad with zeros.

    Raises ShapeError when the patch size does not divide the image, and when the overlap is negative or reaches
    further than a reflection can (height - 1, width - 1).

    See: lessons/07_patches.ipynb, "images_to_windows" in lessons/cheatsheet.md, tests/ops/test_images_to_windows.py
    """
    expect_shape("images", images, "B height width channels")
    height, width = images.shape[1:3]
    if height % patch_size or width % patch_size:
        raise ShapeError(f"patch size {patch_size} does not divide the image, which is {height} x {width} pixels")
    if not 0 <= overlap < min(height, width):
        raise ShapeError(
            f"an image of {height} x {width} pixels can be reflected by 0 to {min(height, width) - 1} pixels, got an "
            f"overlap of {overlap}"
        )
    xp = namespace(images)
    apart = xp.take(images, places_read(xp, height, patch_size, overlap), axis=1)  # (B, down*Q, width, channels)
    apart = xp.take(apart, places_read(xp, width, patch_size, overlap), axis=2)  # (B, down*Q, across*Q, channels)
    windows, _ = images_to_patches_forward(apart, patch_size + 2 * overlap)  # (S, B, Q*Q*channels)
    return windows, (images.shape, patch_size, overlap)


def images_to_windows_backward(dwindows: Array, cache: Cache) -> Array:
    """A pixel is read by several places, of several windows or of one that sees it twice, reflected. Its gradient is

        dx[i] = sum over all (w, k) with r(w, k) = i of  dwindows[w, k]

    Two steps for the rows, and the same two for the columns. First the gradients of all places p are added up in an
    image with `overlap` more pixels on each side; then what lies beyond a border is added to the pixel that was
    reflected there.

    dwindows (S, B, Q*Q*channels)  ->  dimages (B, height, width, channels)
    """
    (count, height, width, channels), patch_size, overlap = cache
    down, across, size = height // patch_size, width // patch_size, patch_size + 2 * overlap
    expect_shape("dwindows", dwindows, "S B features", S=down * across, B=count, features=size**2 * channels)
    by_window = dwindows.astype(statistics_dtype(dwindows)).reshape(down, across, count, size, size, channels)
    rows_first = by_window.transpose(2, 0, 3, 1, 4, 5)  # (B, down, Q, across, Q, channels)
    columns_first = _added_up(rows_first, patch_size, overlap).transpose(0, 2, 3, 1, 4)  # (B, across, Q, height, ch.)
    dimages = _added_up(columns_first, patch_size, overlap).transpose(0, 2, 1, 3)  # (B, height, width, channels)
    return dimages.copy().astype(dwindows.dtype, copy=False)


def places_read(xp: Any, length: int, patch_size: int, overlap: int) -> Array:
    """r(w, k): the row (or column) of an image of that length that each place of each window reads, (windows*Q,)"""
    starts = xp.arange(length // patch_size).reshape(-1, 1) * patch_size - overlap  # (windows, 1)
    places = (starts + xp.arange(patch_size + 2 * overlap)).reshape(-1)  # (windows*Q,), p
    last = length - 1
    return last - xp.abs(last - xp.abs(places))


def _added_up(gradients: Array, patch_size: int, overlap: int) -> Array:
    """gradients (B, windows, Q, ...) of the places of windows in a row  ->  (B, length, ...) of the pixels they read"""
    count, windows, size, *others = gradients.shape
    length = windows * patch_size
    wide = namespace(gradients).zeros((count, length + 2 * overlap, *others), dtype=gradients.dtype)
    for place in range(size):
        wide[:, place : place + length : patch_size] += gradients[:, :, place]
    pixels = wide[:, overlap : overlap + length].copy()  # (B, length, ...)
    if overlap:
        pixels[:, 1 : overlap + 1] += wide[:, overlap - 1 :: -1]  # before the first pixel, nearest first
        pixels[:, length - 1 - overlap : length - 1] += wide[:, : overlap + length - 1 : -1]  # behind the last one
    return pixels
