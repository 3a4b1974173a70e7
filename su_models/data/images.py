"""The common form of all image data sets."""

import numpy as np


def image_split(x, y, shape, path):
    """Checks images and labels and returns them as one split.

    Args:
        x: uint8 images, `(n, height, width)` or with channels.
        y: integer labels, `(n,)`.
        shape: the expected `(height, width, channels)`.
        path: their file, for the message.

    Returns:
        A dict of `x`, uint8 `(n, height, width, channels)`, and `y`,
        int64 `(n,)`.

    Raises:
        ValueError: if shapes or dtypes differ.
    """
    x = x[..., None] if x.ndim == 3 else x
    if (
        (x.dtype, x.shape[1:], y.shape) != ("uint8", shape, x.shape[:1])
        or y.dtype.kind not in "iu"
        or not len(x)
    ):
        raise ValueError(
            f"The file `{path}` must hold uint8 images of shape {shape} and "
            "as many integer labels, at least one. "
            f"Received: x={x.dtype}{x.shape}, y={y.dtype}{y.shape}"
        )
    return {"x": np.ascontiguousarray(x), "y": y.astype("int64")}
