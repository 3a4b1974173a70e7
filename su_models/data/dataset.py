"""What there is to know about a data set before a byte of it is read."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class File:
    """One file of a data set.

    Args:
        name: file name inside the set's folder.
        sha256: digest of the whole file, 64 hexadecimal digits.
        url: where its publisher serves it. Empty for a file that is only
            found locally.
    """

    name: str
    sha256: str
    url: str = ""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named data set.

    Its files come in two forms, and either is enough: `files`, converted,
    as a folder of `$SU_MODELS_DATA` holds them; `downloads`, as the
    publisher serves them. An embedded set has neither.

    Args:
        name: name for `load`.
        description: what an example is, with shapes and classes.
        source: where the set comes from.
        licence: under which terms, as the source states them.
        sizes: published number of examples of each split.
        loader: function of `{file name: path}`, which holds verified files
            of one form, that returns the dict of splits.
        files: the converted files. A set is partly there when some are
            missing, or were never gathered.
        downloads: the published files. All of them are needed.
        white: of an image set, the brightest value; the darkest is 0.
        folder: of its files under `$SU_MODELS_DATA`, where that is not its
            name.
    """

    name: str
    description: str
    source: str
    licence: str
    sizes: Mapping[str, int]
    loader: Callable[[Mapping[str, pathlib.Path]], dict]
    files: tuple[File, ...] = ()
    downloads: tuple[File, ...] = ()
    white: int = 255
    folder: str = ""
