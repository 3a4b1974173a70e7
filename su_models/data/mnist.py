"""MNIST and Fashion-MNIST, which have the same format."""

import gzip
import math
import zlib

import numpy as np

from su_models.data.dataset import Dataset, File
from su_models.data.files import read_npz
from su_models.data.images import image_split

SHAPE = (28, 28, 1)
KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def load_mnist(paths):
    """Returns the splits of one `.npz` file, or of four idx files.

    Args:
        paths: dict from file names to paths.

    Returns:
        A dict of the splits `train` and `test`.

    Raises:
        ValueError: if a file is damaged.
    """
    if len(paths) == 1:
        (path,) = paths.values()
        arrays = read_npz(path, KEYS)
    else:
        path = paths[IDX[0]].parent
        arrays = [read_idx(paths[name]) for name in IDX]
    return {
        "train": image_split(*arrays[:2], SHAPE, path),
        "test": image_split(*arrays[2:], SHAPE, path),
    }


def read_idx(path):
    """Returns the array of bytes in a gzip-compressed idx file.

    The format: two zero bytes, the type (8: unsigned byte), the number of
    axes, the size of each axis as a big-endian int32, the values.

    Args:
        path: the file.

    Returns:
        A uint8 NumPy array.

    Raises:
        ValueError: if the file is damaged, or holds another type.
    """
    try:
        with gzip.open(path) as file:
            data = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"Not a whole gzip file ({error}). Received: path={path}"
        ) from error
    axes = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    start = 4 + 4 * axes
    # a truncated int32 fails the comparison of sizes below
    shape = np.frombuffer(data[4:start].ljust(4 * axes, b"\0"), ">i4").tolist()
    if not axes or len(data) - start != math.prod(shape):
        raise ValueError(
            "Not a whole idx file of unsigned bytes: the header announces "
            f"{shape}, {len(data) - start} bytes follow. Received: path={path}"
        )
    return np.frombuffer(data, "uint8", offset=start).reshape(shape)


MNIST = Dataset(
    name="mnist",
    description="Handwritten digits, 28x28 grey levels, 10 classes.",
    source="Y. LeCun, C. Cortes, C. Burges, The MNIST Database of handwritten "
    "digits; the file that keras.datasets serves, or the same images from "
    "https://github.com/rasbt/mnist-pngs.",
    licence="CC BY-SA 3.0 (as keras.datasets states it)",
    sizes={"train": 60_000, "test": 10_000},
    loader=load_mnist,
    white=255,
    files=(
        File(
            "mnist.npz",
            "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64",
        ),
    ),
    downloads=(
        File(
            "mnist.npz",
            "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        ),
    ),
)

_ZALANDO = "https://github.com/zalandoresearch/fashion-mnist"
_DIGESTS = (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)

FASHION_MNIST = Dataset(
    name="fashion_mnist",
    description="Articles of clothing, 28x28 grey levels, 10 classes: T-shirt, "
    "trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, boot.",
    source=f"H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, {_ZALANDO}.",
    licence="MIT, Zalando SE",
    sizes={"train": 60_000, "test": 10_000},
    loader=load_mnist,
    white=255,
    files=(
        File(
            "fashion_mnist.npz",
            "5b6d2c4c694a91887af8ab7d039c04f80af3c29378d731c93a538d2e831aa469",
        ),
    ),
    downloads=tuple(
        File(name, digest, f"{_ZALANDO}/raw/master/data/fashion/{name}")
        for name, digest in zip(IDX, _DIGESTS, strict=True)
    ),
)
