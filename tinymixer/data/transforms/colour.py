"""Changes of colour: images (n, height, width, channels) float32 in 0..1, and an amount for each, to new images.

They follow Pillow's ImageEnhance and ImageOps, on numbers instead of bytes. `pipeline.py` cuts results off at 0 and 1.
"""

import numpy as np

from tinymixer.ops.array_library import Array, namespace

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R 601: what Pillow takes for grey


def brightness(images: Array, factor: Array) -> Array:
    """Multiply by a factor (n,): 0 is black, 1 changes nothing."""
    return images * each(factor)


def offset(images: Array, amount: Array) -> Array:
    """Add an amount (n,) to all channels."""
    return images + each(amount)


def channel_offset(images: Array, amounts: Array) -> Array:
    """Add to each channel an amount of its own, (n, channels)."""
    return images + amounts.reshape(amounts.shape[0], 1, 1, amounts.shape[1])


def contrast(images: Array, factor: Array) -> Array:
    """Move away from the image's mean grey by a factor (n,): 0 is that grey, 1 changes nothing.

    The mean is taken in float64, so that it does not depend on the order in which a library adds: a last digit may
    move a pixel across one of posterize's steps.
    """
    xp = namespace(images)
    mean = xp.mean(grey(images), axis=(1, 2, 3), dtype=np.float64).astype(images.dtype)  # (n,)
    middle = mean.reshape(-1, 1, 1, 1)  # (n, 1, 1, 1)
    return middle + each(factor) * (images - middle)


def saturation(images: Array, factor: Array) -> Array:
    """Move away from each pixel's own grey by a factor (n,): 0 is a grey image, 1 changes nothing."""
    own = grey(images)  # (n, height, width, 1)
    return own + each(factor) * (images - own)


def sharpness(images: Array, factor: Array) -> Array:
    """Move away from the smoothed image by a factor (n,): 0 is smooth, 1 changes nothing; the border stays."""
    if min(images.shape[1:3]) < 3:
        return images.copy()
    result, middle = images.copy(), images[:, 1:-1, 1:-1]
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]  # (n, height - 2, width, channels)
    box = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]  # sums of 3 x 3 pixels
    smooth = (box + 4.0 * middle) * (1 / 13)  # Pillow's kernel: 5 in the middle, 1 around it
    result[:, 1:-1, 1:-1] = smooth + each(factor) * (middle - smooth)
    return result


def posterize(images: Array, bits: Array) -> Array:
    """Keep so many of the 8 bits (n,) of each number."""
    xp = namespace(images)
    step = each(2.0 ** (8.0 - bits))  # (n, 1, 1, 1)
    return xp.floor(images * 255.0 / step + 1e-4) * step * (1 / 255)


def solarize(images: Array, limit: Array) -> Array:
    """Invert the numbers that are at least the limit (n,)."""
    return namespace(images).where(images >= each(limit), 1.0 - images, images)


def invert(images: Array, _: Array) -> Array:
    """Black for white."""
    return 1.0 - images


def grey(images: Array) -> Array:
    """The luminance of colour images, the mean of any other number of channels: (n, height, width, 1)."""
    xp, channels = namespace(images), images.shape[3]
    weights = LUMINANCE if channels == 3 else (1 / channels,) * channels
    return xp.sum(images * xp.asarray(np.array(weights, np.float32)), axis=3, keepdims=True)


def each(amount: Array) -> Array:
    """An amount (n,) for whole images (n, 1, 1, 1)."""
    return amount.reshape(-1, 1, 1, 1)
