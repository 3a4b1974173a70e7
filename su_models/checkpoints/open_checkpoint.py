"""Which format a checkpoint has, told by its content."""

import pathlib
import zipfile

from su_models.checkpoints.llama2c import Llama2cCheckpoint, is_llama2c
from su_models.checkpoints.safetensors_file import SafetensorsCheckpoint
from su_models.checkpoints.tf1 import INDEX_END, TF1Checkpoint

_PICKLE = b"\x80"  # of protocol 2 and later
_HDF5 = b"\x89HDF"
_NO_PICKLE = (
    "A file of PyTorch (pickle) may run any code when it is read, and is not; "
    "save the tensors with `safetensors.torch.save_file`"
)


def open_checkpoint(path):
    """Returns the tensors of a checkpoint, as a mapping that reads lazily.

    The format is told by the content:

    * TensorFlow 1 (Google, bert4keras, OpenAI): `path` is the prefix that
      `<path>.index` has, or that file;
    * safetensors (Hugging Face): one file, or the JSON file that names
      several;
    * llama2.c: a `.bin` file of its first version.

    Or a folder with exactly one of these.

    Args:
        path: str or `pathlib.Path`.

    Returns:
        A `su_models.checkpoints.base.Checkpoint`: a mapping from names to
        NumPy arrays with `shape(name)`, `dtype(name)`, `format` and `close()`;
        it is its own context manager.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ValueError: if it is none of these, or damaged.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = _only_one(path)
    index = path.with_name(f"{path.name}.index")
    if not path.exists() and index.exists():
        return TF1Checkpoint(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no checkpoint: {path}")
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(64)
        file.seek(max(size - len(INDEX_END), 0))
        end = file.read()
    if end == INDEX_END:
        return TF1Checkpoint(path.with_suffix(""))
    # it begins with the length of its header, which may be any bytes
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header <= size - 8:
        return SafetensorsCheckpoint(path)
    _reject_others(path, head)
    if is_llama2c(head, size):
        return Llama2cCheckpoint(path)
    if head.startswith(b"{") or head[8:9] == b"{":
        return SafetensorsCheckpoint(path)
    raise ValueError(
        "A checkpoint must be of TensorFlow 1, safetensors or llama2.c, and "
        f"whole. Received: path={path}, which begins with {head[:8]!r}"
    )


def _only_one(folder):
    """Returns the one checkpoint in a folder."""
    for patterns in (
        ["*.safetensors.index.json"],
        ["*.index", "*.safetensors"],
        ["*.bin", "*.ckpt", "*.pt", "*.pth"],
    ):
        found = sorted(p for end in patterns for p in folder.glob(end))
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                "A folder must hold one checkpoint; name the file. "
                f"Received: path={folder} with {[p.name for p in found]}"
            )
    raise ValueError(f"A folder without a checkpoint. Received: path={folder}")


def _reject_others(path, head):
    """Rejects formats that are known, and not read, with the reason."""
    reason = None
    if head.startswith(_HDF5):
        reason = "An HDF5 file is Keras' own: `model.load_weights` reads it"
    elif head.startswith(_PICKLE):
        reason = _NO_PICKLE
    elif head.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
        if "data.pkl" in names:
            reason = _NO_PICKLE
        elif "model.weights.h5" in names:
            reason = "A .keras file is read by `keras.saving.load_model`"
        else:
            reason = "A zip file of another program"
    if reason:
        raise ValueError(f"{reason}. Received: path={path}")
