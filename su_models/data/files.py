"""Finds the files of a data set and verifies their checksums."""

import hashlib
import os
import pathlib
import zipfile
import zlib

import numpy as np

VARIABLE = "SU_MODELS_DATA"


def locate(dataset):
    """Returns the verified files of a data set.

    The folder `$SU_MODELS_DATA/<name>` is searched first: for the published
    files, if all of them exist, else for converted files. If there are none,
    the published files are downloaded into Keras' cache folder.

    Args:
        dataset: a `Dataset`.

    Returns:
        A dict from file names to paths, empty for an embedded data set.

    Raises:
        ValueError: if a file has another checksum, or the variable does not
            name a folder.
        FileNotFoundError: if the data set is neither found nor downloadable.
    """
    if not dataset.files and not dataset.downloads:
        return {}
    paths = _in_folder(dataset)
    if not paths:
        return _download(dataset)
    for name, path in paths.items():
        verify(path, _known_digests(dataset, name))
    return paths


def verify(path, digests):
    """Rejects a file whose SHA-256 is not in `digests`.

    Args:
        path: the file.
        digests: the known digests, hexadecimal.

    Raises:
        ValueError: if the digest differs.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest not in digests:
        raise ValueError(
            f"The file `{path}` is damaged or not the known one: its SHA-256 "
            f"must be {' or '.join(digests)}. Received: sha256={digest}"
        )


def read_npz(path, keys):
    """Returns the arrays named `keys` of an `.npz` file without unpickling.

    Args:
        path: the file.
        keys: names of the arrays.

    Returns:
        A list of NumPy arrays, in the order of `keys`.

    Raises:
        ValueError: if the file is not a valid `.npz`, or lacks a key.
    """
    try:
        # opened here, since np.load does not close a damaged file
        with (
            open(path, "rb") as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            missing = [key for key in keys if key not in archive.files]
            if not missing:
                return [archive[key] for key in keys]
            found = archive.files
    # TypeError: NumPy has read a single array, which is no context manager
    except (EOFError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    raise ValueError(
        f"The file `{path}` must hold the arrays {', '.join(keys)}; "
        f"{', '.join(missing)} not found. Received: keys={sorted(found)}"
    )


def _unreadable(path, reason):
    """Returns the error for a file that is not a valid `.npz`."""
    return ValueError(
        f"Not a whole .npz file of plain arrays ({reason}). "
        f"Received: path={path}"
    )


def _known_digests(dataset, name):
    """Returns the known digests of a file name, in order."""
    files = dataset.files + dataset.downloads
    return list(dict.fromkeys(f.sha256 for f in files if f.name == name))


def _in_folder(dataset):
    """Returns the files of one form in `$SU_MODELS_DATA/<name>`."""
    root = os.environ.get(VARIABLE)
    if not root:
        return {}
    if not pathlib.Path(root).is_dir():
        raise ValueError(
            f"The environment variable {VARIABLE} must name a folder. "
            f"Received: {VARIABLE}={root}"
        )
    folder = pathlib.Path(root) / (dataset.folder or dataset.name)
    found = [
        {f.name: folder / f.name for f in form if (folder / f.name).is_file()}
        for form in (dataset.downloads, dataset.files)
    ]
    published, converted = found
    if published and len(published) == len(dataset.downloads):
        return published
    return converted


def _download(dataset):
    """Returns the published files, from Keras' cache or the network."""
    if not dataset.downloads:
        raise FileNotFoundError(_advice(dataset, "no address is known"))
    import keras  # here: names and descriptions must not wait for it

    paths = {}
    for file in dataset.downloads:
        try:
            path = keras.utils.get_file(
                file.name,
                file.url,
                file_hash=file.sha256,
                cache_subdir=f"datasets/su_models/{dataset.name}",
            )
        except ValueError as error:  # the checksum
            raise ValueError(
                f"The download of `{dataset.name}` is damaged or not "
                f"the known file. {error} Received: url={file.url}"
            ) from error
        except Exception as error:  # a failed download has no class of its own
            raise FileNotFoundError(_advice(dataset, error)) from error
        paths[file.name] = pathlib.Path(path)
    return paths


def _advice(dataset, reason):
    """Returns the message for a missing data set."""
    folder = dataset.folder or dataset.name
    wanted = ", ".join(f.name for f in dataset.downloads or dataset.files)
    return (
        f"The data set `{dataset.name}` was neither found nor downloaded "
        f"({reason}). Set the environment variable {VARIABLE} to a folder of "
        f"your choice and put {wanted} into ${VARIABLE}/{folder}. "
        f"Received: {VARIABLE}={os.environ.get(VARIABLE, '')}"
    )
