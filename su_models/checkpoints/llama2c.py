"""Checkpoints of llama2.c: a header of seven integers, then floats."""

import pathlib
import struct

from su_models.checkpoints.base import Checkpoint, read_exactly

HEADER = struct.Struct("<7i")
MAGIC = b"24ka"  # of later versions of the format, which are not read


class Llama2cCheckpoint(Checkpoint):
    """Tensors of a `.bin` file of llama2.c, of its first version.

    The names are those of Meta's checkpoints of LLaMA, matrices are `(outputs,
    inputs)`. `output.weight` is there if it is not tied to
    `tok_embeddings.weight`. The tables of sines and cosines at the end are
    left out.

    Args:
        path: str or `pathlib.Path`.

    Raises:
        ValueError: if the file is not as long as its header says.

    Attributes:
        sizes: dict of `dim`, `hidden_dim`, `n_layers`, `n_heads`,
            `n_kv_heads`, `vocab_size` and `max_seq_len`.
    """

    format = "llama2.c"

    def __init__(self, path):
        path = pathlib.Path(path)
        self._file = open(path, "rb")  # noqa: SIM115, closed by `close`
        try:
            self.sizes, tied = _header(self._file.read(HEADER.size), path)
            layout, end = _layout(**self.sizes, tied=tied)
            size = path.stat().st_size
            if size != end:
                raise ValueError(
                    "A file of llama2.c must be as long as its header says, "
                    f"{end} bytes. Received: path={path} of {size} bytes"
                )
        except ValueError:
            self._file.close()
            raise
        self._starts = {name: start for name, (start, _) in layout.items()}
        shapes = {name: shape for name, (_, shape) in layout.items()}
        super().__init__(path, {n: (s, "float32") for n, s in shapes.items()})

    def close(self):
        self._file.close()

    def _read(self, name):
        shape = self.shape(name)
        return read_exactly(self._file, self._starts[name], shape, "<f4")


def is_llama2c(head, size):
    """Tells whether a file of so many bytes begins as one of llama2.c.

    Args:
        head: its first bytes.
        size: int, all its bytes.
    """
    if head[:4] == MAGIC:
        return True
    try:
        sizes, tied = _header(head[: HEADER.size], "")
    except ValueError:
        return False
    return _layout(**sizes, tied=tied)[1] == size


def _header(content, path):
    """Returns the sizes by name, and whether the output is tied."""
    if content[:4] == MAGIC:
        raise ValueError(
            "Only the first version of llama2.c's format is read; export the "
            f"model with `--version 0`. Received: path={path}"
        )
    names = "dim hidden_dim n_layers n_heads n_kv_heads vocab_size max_seq_len"
    whole = len(content) == HEADER.size
    sizes = dict(
        zip(names.split(), HEADER.unpack(content), strict=True) if whole else ()
    )
    tied = sizes.get("vocab_size", 0) > 0
    sizes["vocab_size"] = abs(sizes.get("vocab_size", 0))
    if (
        not whole
        or min(sizes.values()) < 1
        or max(sizes.values()) > 2**24
        or sizes["dim"] % sizes["n_heads"]
        or sizes["n_heads"] % sizes["n_kv_heads"]
    ):
        raise ValueError(
            "A file of llama2.c must begin with seven sizes. "
            f"Received: path={path} with {sizes}"
        )
    return sizes, tied


def _layout(
    dim,
    hidden_dim,
    n_layers,
    n_heads,
    n_kv_heads,
    vocab_size,
    max_seq_len,
    tied,
):
    """Returns where each tensor begins and its shape, and the end of all."""
    kv_dim = dim // n_heads * n_kv_heads
    layout, start = {}, HEADER.size

    def add(name, *shape):
        nonlocal start
        size = 4
        for n in shape:
            size *= n
        layout[name] = start, shape
        start += size

    # the same tensor of all layers, then the next one of all layers
    add("tok_embeddings.weight", vocab_size, dim)
    for name, *shape in (
        ("attention_norm", dim),
        ("attention.wq", dim, dim),
        ("attention.wk", kv_dim, dim),
        ("attention.wv", kv_dim, dim),
        ("attention.wo", dim, dim),
        ("ffn_norm", dim),
        ("feed_forward.w1", hidden_dim, dim),
        ("feed_forward.w2", dim, hidden_dim),
        ("feed_forward.w3", hidden_dim, dim),
    ):
        for i in range(n_layers):
            add(f"layers.{i}.{name}.weight", *shape)
    add("norm.weight", dim)
    start += 4 * max_seq_len * (dim // n_heads // 2) * 2  # cosines, sines
    if not tied:
        add("output.weight", vocab_size, dim)
    return layout, start
