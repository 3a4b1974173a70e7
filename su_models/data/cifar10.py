"""CIFAR-10, read from its binary version without unpickling."""

import gzip
import tarfile
import warnings
import zlib

import numpy as np

from su_models.data.dataset import Dataset, File
from su_models.data.files import read_npz
from su_models.data.images import image_split

SHAPE = (32, 32, 3)
RECORD = 1 + 3 * 32 * 32  # bytes: the label, then red, green, blue
ARCHIVE = "cifar-10-binary.tar.gz"
MEMBERS = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}


def load_cifar10(paths):
    """Returns the splits, with a flag for each image.

    `lossless` is False for the few images that were only available as JPEG
    copies (with an average error of about 6 grey levels); all images of the
    published archive are exact.

    Args:
        paths: dict from file names to paths: the published archive, or
            converted `train_<i>.npz` files.

    Returns:
        A dict of splits, each a dict of `x`, `y` and bool `lossless`.

    Raises:
        ValueError: if a file is damaged.
    """
    if ARCHIVE in paths:
        return read_archive(paths[ARCHIVE])
    parts = [_read_part(paths[name]) for name in sorted(paths)]
    train = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    lossy = int((~train["lossless"]).sum())
    if lossy:
        warnings.warn(
            f"{lossy} of {len(train['x'])} train images of `cifar10` are JPEG "
            "copies, not exact; `lossless` is False for them.",
            UserWarning,
            stacklevel=3,  # the caller of `load`
        )
    return {"train": train}


def read_archive(path):
    """Returns the splits of the published `cifar-10-binary.tar.gz`.

    Each member is a run of 3073-byte records: the label, then 1024 bytes
    of red, green and blue each, row by row.

    Args:
        path: the archive.

    Returns:
        A dict of the splits `train` and `test`.

    Raises:
        ValueError: if the archive or one of its members is damaged.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            content = {
                name: archive.extractfile(f"cifar-10-batches-bin/{name}").read()
                for names in MEMBERS.values()
                for name in names
            }
    # KeyError: no such member; AttributeError: the member is not a file
    except (KeyError, AttributeError, EOFError) as error:
        raise _unreadable(path, error) from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return {
        split: _records(b"".join(content[name] for name in names), path)
        for split, names in MEMBERS.items()
    }


def _unreadable(path, reason):
    """Returns the error for a damaged archive."""
    return ValueError(
        f"Not the whole {ARCHIVE} ({reason}). Received: path={path}"
    )


def _records(content, path):
    """Returns the split that a run of records holds."""
    if len(content) % RECORD:
        raise _unreadable(path, f"its records must have {RECORD} bytes each")
    records = np.frombuffer(content, "uint8").reshape(-1, RECORD)
    x = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    split = image_split(x, records[:, 0], SHAPE, path)
    return {**split, "lossless": np.ones(len(x), bool)}


def _read_part(path):
    """Returns the images, labels and flags of one converted file."""
    x, y, lossless = read_npz(path, ("x", "y", "lossless"))
    if (lossless.dtype, lossless.shape) != ("bool", y.shape):
        raise ValueError(
            f"The file `{path}` must hold one bool in `lossless` for each "
            f"image. Received: lossless={lossless.dtype}{lossless.shape}"
        )
    return {**image_split(x, y, SHAPE, path), "lossless": lossless}


CIFAR10 = Dataset(
    name="cifar10",
    description="Photographs, 32x32 RGB, 10 classes: airplane, automobile, "
    "bird, cat, deer, dog, frog, horse, ship, truck.",
    source="A. Krizhevsky, Learning Multiple Layers of Features from Tiny "
    "Images, 2009, https://www.cs.toronto.edu/~kriz/cifar.html; converted "
    "files from public copies of the same images.",
    licence="none stated; the authors ask for the report to be cited",
    sizes={"train": 50_000, "test": 10_000},
    loader=load_cifar10,
    white=255,
    files=(
        File(
            "train_1.npz",
            "ef642e5bbe1b14310e48206bb0b218c7eccc02a752a7a64decd405ad03460b99",
        ),
    ),
    downloads=(
        File(
            ARCHIVE,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
        ),
    ),
)
