"""bert4keras' `open`: a text file with random access to its lines."""

import builtins
import json
import os

from su_models.utils.files import replacing


class open:  # noqa: A001, N801
    """Opens a file like Python's `open`, optionally with an index of lines.

    With an index, `file[i]` is line i and `len(file)` the number of lines,
    without the file being read into memory.

    Args:
        name: path of the file.
        mode, encoding, errors: as in Python's `open`.
        indexable: bool, whether to find the offsets of all lines; or the path
            of a JSON file with the offsets, which is written if it does not
            exist.
    """

    def __init__(
        self, name, mode="r", encoding=None, errors="strict", indexable=False
    ):
        self.name = name
        self.encoding = encoding
        self.errors = errors
        if "b" in mode:
            encoding = errors = None
        self.file = builtins.open(name, mode, encoding=encoding, errors=errors)
        if not indexable:
            return
        path = None if indexable is True else indexable
        if path is not None and os.path.exists(path):
            with builtins.open(path, encoding="utf-8") as file:
                self.offsets = json.load(file)
            return
        self.create_indexes()
        if path is not None:
            with replacing(path) as new:
                new.write_text(json.dumps(self.offsets), "utf-8")

    def create_indexes(self):
        """Finds the offsets of all lines."""
        self.offsets, offset = [], self.file.tell()
        while self.file.readline():
            self.offsets.append(offset)
            offset = self.file.tell()
        self.file.seek(0)

    def __getitem__(self, key):
        self.file.seek(self.offsets[key])
        return self.file.readline()

    def __len__(self):
        if "offsets" not in vars(self):  # what `list` expects then
            raise TypeError("`open` counts lines only with `indexable`.")
        return len(self.offsets)

    def __iter__(self):
        return iter(self.file)

    def __next__(self):
        return next(self.file)

    def next(self):
        """Returns the next line."""
        return next(self.file)

    def __getattr__(self, name):
        # read, readline, write, seek, close ...
        if name == "file":
            raise AttributeError(name)
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
