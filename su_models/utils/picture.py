"""Grids of images as one picture, and PNG files."""

import io

import numpy as np
from keras import ops


def image_grid(images, columns, pixel=4, gap=1):
    """Arranges images in rows on a white background.

    Args:
        images: floats `(n, height, width, channels)` in -1 ... 1; other
            values are clipped. `n` is known and divisible by `columns`.
        columns: int >= 1. Number of images in a row.
        pixel: int >= 1. Side of the square that each pixel becomes.
        gap: int >= 0. Number of white pixels around each image.

    Returns:
        A uint8 tensor `(rows, columns, channels)` of pixels, 0 ... 255.

    Raises:
        ValueError: if the images do not fill their rows or do not have 4
            axes.

    Example:

    >>> from su_models.utils.picture import image_grid
    >>> picture = image_grid(keras.ops.zeros((6, 8, 8, 1)), 3)
    >>> tuple(picture.shape)
    (68, 102, 1)
    """
    if len(images.shape) != 4 or columns < 1 or images.shape[0] % columns:
        raise ValueError(
            "`images` must be (n, height, width, channels) with n divisible "
            f"by `columns`. Received: shape={tuple(images.shape)}, "
            f"columns={columns}"
        )
    n, h, w, c = images.shape
    x = ops.round((ops.clip(images, -1.0, 1.0) + 1.0) * 127.5)
    x = ops.repeat(ops.repeat(x, pixel, axis=1), pixel, axis=2)
    x = ops.pad(
        x, [[0, 0], [gap, gap], [gap, gap], [0, 0]], constant_values=255.0
    )
    h, w = pixel * h + 2 * gap, pixel * w + 2 * gap
    x = ops.reshape(x, (n // columns, columns, h, w, c))
    x = ops.transpose(x, (0, 2, 1, 3, 4))
    x = ops.reshape(x, (n // columns * h, columns * w, c))
    return ops.cast(x, "uint8")


def side_by_side(left, right, columns):
    """Returns two grids of images in one picture, with a white gap.

    Args:
        left, right: floats `(n, height, width, channels)` as for
            `image_grid`.
        columns: int >= 1. Images in a row of each grid.

    Returns:
        A uint8 tensor `(rows, columns, channels)`.
    """
    left, right = (image_grid(images, columns) for images in (left, right))
    space = ops.full((left.shape[0], 16, left.shape[2]), 255, "uint8")
    return ops.concatenate([left, space, right], axis=1)


def filled_grid(images):
    """Returns any number of images as a square picture, filled with white.

    Args:
        images: floats `(n, height, width, channels)`, n >= 1.

    Returns:
        A uint8 tensor `(rows, columns, channels)`.
    """
    columns = int(np.ceil(np.sqrt(len(images))))
    white = np.ones((-len(images) % columns, *images.shape[1:]), "float32")
    return image_grid(np.concatenate([images, white]), columns)


def png(picture):
    """Returns a uint8 picture, grey or RGB, as the bytes of a PNG file."""
    from matplotlib import image as image_files  # here: the import is slow

    pixels = ops.convert_to_numpy(picture)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    file = io.BytesIO()
    image_files.imsave(file, pixels, format="png")
    return file.getvalue()
