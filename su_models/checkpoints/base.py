"""What all readers of checkpoints share."""

import collections.abc

import numpy as np


class Checkpoint(collections.abc.Mapping):
    """Tensors in a file, from names to NumPy arrays, read one at a time.

    Names, shapes and dtypes are known without reading a tensor, and an array
    is read anew each time it is asked for: memory holds what the caller
    keeps.

    A subclass has `_read(name)`, and calls this constructor.

    Args:
        path: path of the file, for messages.
        tensors: dict from names to tuples of a shape and of the name of a
            dtype.

    Example:

        with open_checkpoint("bert_model.ckpt") as checkpoint:
            for name in checkpoint:
                print(name, checkpoint.shape(name))
    """

    format = ""

    def __init__(self, path, tensors):
        self.path = str(path)
        self._tensors = dict(tensors)

    def __getitem__(self, name):
        shape, dtype = self._tensors[name]
        try:
            array = self._read(name)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The tensor `{name}` cannot be read: {error}. "
                f"Received: path={self.path}"
            ) from error
        if array.shape != shape or array.dtype.name != dtype:
            raise ValueError(
                f"The tensor `{name}` is not of shape {shape} and {dtype}, as "
                f"the file says. Received: {array.shape} and {array.dtype} in "
                f"path={self.path}"
            )
        return array

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __contains__(self, name):
        return name in self._tensors  # without reading it

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def shape(self, name):
        """Returns the shape of a tensor, a tuple of int."""
        return self._tensors[name][0]

    def dtype(self, name):
        """Returns the name of the dtype of a tensor."""
        return self._tensors[name][1]

    def close(self):
        """Closes the file; nothing can be read afterwards."""

    def _read(self, name):
        """Returns the array of a tensor that there is.

        Raises:
            OSError, ValueError: with the reason, if it cannot be read.
        """
        raise NotImplementedError


def read_exactly(file, start, shape, dtype):
    """Returns an array whose bytes begin at `start` of an open file."""
    array = np.empty(shape, dtype)
    file.seek(start)
    if file.readinto(memoryview(array.reshape(-1)).cast("B")) != array.nbytes:
        raise ValueError("the file ends before it does")
    return array
