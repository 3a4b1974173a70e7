"""Files of safetensors: Hugging Face's, in one file or in several."""

import contextlib
import json
import pathlib

import numpy as np

from su_models.checkpoints.base import Checkpoint
from su_models.utils.files import replacing

# of the format, and NumPy's; others, such as those of 8 bits, are not read
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


class SafetensorsCheckpoint(Checkpoint):
    """Tensors of one or several files of safetensors.

    Args:
        path: str or `pathlib.Path`, one such file; or the JSON file that says
            which tensor is in which of several files beside it
            (`model.safetensors.index.json`).

    Raises:
        FileNotFoundError: if one of the files is not there.
        ValueError: if one is damaged, or does not have what the JSON file
            says.
    """

    format = "safetensors"

    def __init__(self, path):
        path = pathlib.Path(path)
        with open(path, "rb") as file:
            several = file.read(1) == b"{"
        self._stack = contextlib.ExitStack()
        self._files = {}  # from a tensor's name to the open file
        tensors = {}
        with contextlib.ExitStack() as failed:
            failed.callback(self._stack.close)
            shards = _shards(path) if several else {path: None}
            for shard, expected in shards.items():
                file = self._stack.enter_context(_open(shard))
                names = set(file.keys())
                if expected is not None and not expected <= names:
                    raise ValueError(
                        f"{shard.name} must have the tensors that the index "
                        f"names. Received: path={path}, without "
                        f"{sorted(expected - names)[:3]}"
                    )
                for name in names if expected is None else expected:
                    tensors[name] = _describe(file, name, shard)
                    self._files[name] = file
            failed.pop_all()
        super().__init__(path, dict(sorted(tensors.items())))

    def close(self):
        self._stack.close()
        self._files.clear()

    def _read(self, name):
        if name not in self._files:
            raise ValueError("the file is closed")
        return self._files[name].get_tensor(name)


def write_safetensors(path, tensors, metadata=None):
    """Writes tensors as one file of safetensors, one after the other.

    Args:
        path: str or `pathlib.Path`. A file that is there is replaced once the
            new one is whole.
        tensors: dict from names to tuples of a shape, the name of a dtype,
            and a function that returns the array.
        metadata: optional dict of strings. Defaults to `{"format": "pt"}`,
            which transformers asks for.

    Raises:
        ValueError: if an array is not as announced, or of a dtype that the
            format does not have.
        OSError: if the file cannot be written.
    """
    kinds = {name: kind for kind, name in DTYPES.items()}
    header = {"__metadata__": metadata or {"format": "pt"}}
    stop = 0
    for name, (shape, dtype, _) in tensors.items():
        if dtype not in kinds:
            raise ValueError(
                f"safetensors has no such dtype. Received: {dtype} of {name}"
            )
        size = int(np.prod(shape, dtype="int64")) * np.dtype(dtype).itemsize
        header[name] = {
            "dtype": kinds[dtype],
            "shape": list(shape),
            "data_offsets": [stop, stop + size],
        }
        stop += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    with replacing(path) as new, open(new, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, (shape, dtype, read) in tensors.items():
            array = np.asarray(read(), order="C")
            if array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
                raise ValueError(
                    f"`{name}` must be of shape {tuple(shape)} and {dtype}. "
                    f"Received: {array.shape} and {array.dtype}"
                )
            file.write(array.reshape(-1).view("uint8"))


def _open(path):
    """Returns an open file of safetensors; the library checks its header."""
    import ml_dtypes  # noqa: F401, gives NumPy bfloat16
    import safetensors

    if not path.exists():
        raise FileNotFoundError(f"A part of the checkpoint is missing: {path}")
    try:
        return safetensors.safe_open(path, framework="numpy")
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"Not a whole file of safetensors ({error}). Received: path={path}"
        ) from error


def _describe(file, name, path):
    """Returns shape and dtype of a tensor, from the header."""
    part = file.get_slice(name)
    if part.get_dtype() not in DTYPES:
        raise ValueError(
            f"Tensors must be of a dtype that NumPy has. Received: {name} of "
            f"{part.get_dtype()} in path={path}"
        )
    return tuple(part.get_shape()), DTYPES[part.get_dtype()]


def _shards(path):
    """Returns the files that a JSON file names, each with its tensors."""
    try:
        content = json.loads(path.read_text("utf-8"))
        places = content["weight_map"].items()
        names = {name for name, _ in places}
        files = {file for _, file in places}
        plain = all(pathlib.PurePath(file).name == file for file in files)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            "The index of several files must be JSON with a `weight_map` "
            f"({error}). Received: path={path}"
        ) from error
    if not plain or not names:
        raise ValueError(
            "The index of several files must name files beside it. "
            f"Received: path={path} with {sorted(files)[:3]}"
        )
    return {
        path.with_name(file): {n for n, f in places if f == file}
        for file in sorted(files)
    }
