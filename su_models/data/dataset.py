"""Descriptions of data sets and their files."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class File:
    """One file of a data set.

    Args:
        name: file name inside the set's folder.
        sha256: digest of the file, 64 hexadecimal digits.
        url: address at the publisher. Empty for a file that exists only
            locally.
    """

    name: str
    sha256: str
    url: str = ""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named data set.

    Its files have two forms, either of which is enough: `files`, converted
    files in a folder of `$SU_MODELS_DATA`; and `downloads`, the files of the
    publisher. An embedded data set has neither.

    Args:
        name: name for `load`.
        description: description of the examples, with shapes and classes.
        source: origin of the data set.
        licence: licence, as the source states it.
        sizes: published number of examples of each split.
        loader: function from a dict `{file name: path}` of verified files of
            one form to the dict of splits.
        files: the converted files. The data set is incomplete if some of them
            are missing.
        downloads: the published files. All of them are needed.
        white: brightest value of an image data set, whose darkest is 0; None
            for other data.
        folder: its folder in `$SU_MODELS_DATA`. Defaults to its name.
    """

    name: str
    description: str
    source: str
    licence: str
    sizes: Mapping[str, int]
    loader: Callable[[Mapping[str, pathlib.Path]], dict]
    files: tuple[File, ...] = ()
    downloads: tuple[File, ...] = ()
    white: int | None = None
    folder: str = ""
