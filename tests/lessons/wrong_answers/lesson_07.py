"""Wrong answers to lesson 07, as a learner would write them, and words of the hint that each must get."""

import numpy as np

from tinymixer import ops


def row_of_pixels(y, x, channel, width, channels, P):
    token = y // P * width + x // P
    place = channels * (P * (y % P) + x % P) + channel
    return token, place


def row_of_patch_size(y, x, channel, width, channels, P):
    return P * (y // P) + x // P, channels * (P * (y % P) + x % P) + channel


def channel_slowest(y, x, channel, width, channels, P):
    u, v = y % P, x % P
    return (y // P) * (width // P) + x // P, channel * P * P + u * P + v


def channel_forgotten(y, x, channel, width, channels, P):
    u, v = y % P, x % P
    return (y // P) * (width // P) + x // P, v + P * u


def columns_first(y, x, channel, width, channels, P):
    u, v = y % P, x % P
    return (y // P) * (width // P) + x // P, v * P * channels + u * channels + channel


def reshaped_only(images, P):
    B, height, width, channels = images.shape
    return np.reshape(images, (height * width // P**2, B, P * P * channels))


def images_first(images, P):
    B, height, width, channels = images.shape
    grid = images.reshape(B, height // P, P, width // P, P, channels)
    return np.swapaxes(grid, 2, 3).reshape(B, -1, P * P * channels)


def images_first_read_as_tokens(images, P):
    B, height, width, channels = images.shape
    grid = images.reshape(B, height // P, P, width // P, P, channels)
    return np.swapaxes(grid, 2, 3).reshape(-1, B, P * P * channels)


def columns_of_the_grid(images, P):
    B, height, width, channels = images.shape
    grid = images.reshape(B, height // P, P, width // P, P, channels)
    return np.einsum("niujvc->jinuvc", grid).reshape(-1, B, P * P * channels)


def patch_turned(images, P):
    B, height, width, channels = images.shape
    grid = images.reshape(B, height // P, P, width // P, P, channels)
    return np.einsum("niujvc->ijnvuc", grid).reshape(-1, B, P * P * channels)


def inside_out(images, P):
    B, height, width, channels = images.shape
    grid = images.reshape(B, height // P, P, width // P, P, channels)
    return np.einsum("niujvc->uvnijc", grid).reshape(-1, B, P * P * channels)


def forward_again(dpatches, cache):
    (B, height, width, channels), P = cache
    split = dpatches.reshape(height // P, width // P, B, P, P, channels)
    return np.transpose(split, (1, 3, 0, 2, 4, 5)).reshape(B, height, width, channels)


def reshaped_back(dpatches, cache):
    shape, _ = cache
    return dpatches.reshape(shape)


def images_first_and_reshaped(dpatches, cache):
    shape, _ = cache
    return np.swapaxes(dpatches, 0, 1).reshape(shape)


def grid_exchanged(dpatches, cache):
    (B, height, width, channels), P = cache
    split = dpatches.reshape(height // P, width // P, B, P, P, channels)
    return np.einsum("ijnuvc->njuivc", split).reshape(B, height, width, channels)


def pixels_exchanged(dpatches, cache):
    (B, height, width, channels), P = cache
    split = dpatches.reshape(height // P, width // P, B, P, P, channels)
    return np.einsum("ijnuvc->nivjuc", split).reshape(B, height, width, channels)


def tokens_read_as_images(dpatches, cache):
    (B, height, width, channels), P = cache
    split = dpatches.reshape(B, height // P, width // P, P, P, channels)
    return np.swapaxes(split, 2, 3).reshape(B, height, width, channels)


def without_bias(images, kernel, bias):
    patches, _ = ops.images_to_patches_forward(images, kernel.shape[0])
    return patches @ kernel.reshape(-1, len(bias))


def output_channels_first(images, kernel, bias):
    patches, _ = ops.images_to_patches_forward(images, kernel.shape[0])
    return patches @ kernel.reshape(len(bias), patches.shape[2]).T + bias


def kernel_moved_then_reshaped(images, kernel, bias):
    patches, _ = ops.images_to_patches_forward(images, kernel.shape[0])
    return patches @ np.moveaxis(kernel, 3, 0).reshape(patches.shape[2], len(bias)) + bias


def kernel_as_it_is(images, kernel, bias):
    patches, _ = ops.images_to_patches_forward(images, kernel.shape[0])
    return np.matmul(patches, kernel) + bias


def images_before_tokens(images, kernel, bias):
    patches, _ = ops.images_to_patches_forward(images, kernel.shape[0])
    return np.transpose(patches @ kernel.reshape(-1, len(bias)) + bias, (1, 0, 2))


WRONG_ANSWERS = {
    "7.1": [
        (row_of_pixels, "as many tokens as there are patches across"),
        (row_of_patch_size, "width / P tokens"),
        (channel_slowest, "The channels come one after the other"),
        (channel_forgotten, "The channel is missing"),
        (columns_first, "Rows and columns of the patch are exchanged"),
    ],
    "7.2": [
        (reshaped_only, "Nothing was transposed"),
        (images_first, "Tokens go first"),
        (images_first_read_as_tokens, "The transposition put the images first"),
        (columns_of_the_grid, "column by column over the image"),
        (patch_turned, "The pixels of each patch are transposed"),
        (inside_out, "takes its pixels from all over the image"),
    ],
    "7.3": [
        (forward_again, "is done again"),
        (reshaped_back, "only reshaped"),
        (images_first_and_reshaped, "only reshaped"),
        (grid_exchanged, "Rows and columns of the grid are exchanged"),
        (pixels_exchanged, "with its rows and columns exchanged"),
        (tokens_read_as_images, "is read as the images"),
    ],
    "7.4": [
        (without_bias, "The bias is missing"),
        (output_channels_first, "Its last axis is C already"),
        (kernel_moved_then_reshaped, "was transposed before the reshape"),
        (kernel_as_it_is, "still has four axes"),
        (images_before_tokens, "Images come first"),
    ],
}
