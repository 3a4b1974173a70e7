"""One kind of checkpoint into another, without a model."""

import collections
import dataclasses
import itertools
import json
import pathlib
import re

import numpy as np

from su_models.checkpoints.open_checkpoint import open_checkpoint
from su_models.checkpoints.plan import find_families
from su_models.checkpoints.save_checkpoint import check_format, write_tensors
from su_models.checkpoints.table import Source, turned
from su_models.utils.checks import check_size


def convert_checkpoint(source, target, family=None, format=None, head_dim=None):
    """Writes the tensors of a checkpoint under the names of another kind.

    From the names of Google, bert4keras, OpenAI, llama2.c or Hugging Face to
    those that bert4keras reads ("tf1"), or transformers ("safetensors"). One
    tensor at a time is in memory, for "safetensors"; for "tf1", all.

    Args:
        source: str or `pathlib.Path`; see `open_checkpoint`.
        target: str or `pathlib.Path`: of "safetensors" the file, of "tf1" the
            prefix. A checkpoint that is there is replaced once the new one is
            whole.
        family: optional str, such as "roformer". Defaults to the family whose
            names are found; it must be given if several have them.
        format: optional str, "tf1" or "safetensors". Defaults to
            "safetensors" for a target that ends so, else "tf1".
        head_dim: optional int > 0. Features of a head of queries and keys,
            which LLaMA needs since Hugging Face orders them otherwise.
            Defaults to what the checkpoint, or a `config.json` beside it,
            says.

    Returns:
        A pair: how many tensors were written, and the names of those that
        were not used, but for slots of optimizers and the like.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is damaged, no family has its names or several have,
            one block lacks a tensor that another has, a tensor has another
            number of axes, or `head_dim` is needed and not known.
        OSError: if the target cannot be written.
    """
    format = check_format(target, format)
    check_size("head_dim", head_dim, optional=True)
    with open_checkpoint(source) as checkpoint:
        found = _choose(checkpoint, find_families(family), format)
        if found.missing:
            raise ValueError(
                "The checkpoint must have the tensors of all its blocks, of "
                f"the family {found.family!r}. Received: "
                f"path={checkpoint.path} without "
                f"{', '.join(found.missing[:3])}"
            )
        used, groups = set(), {}
        for piece in found.pieces:
            used |= {piece.source.name, piece.source.times}
            groups.setdefault(piece.target.name, []).append(piece)
        dims = _HeadDim(checkpoint, source, head_dim)
        tensors = {
            name: _tensor(name, pieces, checkpoint, found.names, dims)
            for name, pieces in groups.items()
        }
        write_tensors(target, tensors, format)
    unused = [
        name
        for canonical, name in found.names.items()
        if canonical not in used
        and not re.fullmatch(found.column.ignored, name)
    ]
    return len(tensors), unused


@dataclasses.dataclass(frozen=True)
class _Piece:
    """A weight, where it stands and where it will."""

    path: str
    source: Source
    target: Source


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a family knows of a checkpoint."""

    family: str
    column: object
    names: dict
    pieces: list
    missing: list

    @property
    def targets(self):
        return {piece.target for piece in self.pieces}


def _choose(checkpoint, families, format):
    """Returns the family and the column that know most of the names."""
    found = []
    for family in families:
        if family.asked and len(families) > 1:
            continue
        targets = [c for c in family.columns if c.format == format]
        for column in family.columns:
            if column.format == checkpoint.format and targets:
                names = {column.canonical(name): name for name in checkpoint}
                parts = _pieces(family, column, targets[0], names)
                found.append(_Found(family.name, column, names, *parts))
    most = max((len(f.pieces) for f in found), default=0)
    best = [f for f in found if len(f.pieces) == most]
    if not most:
        raise ValueError(
            "The checkpoint must have the names of a family. Received: "
            f"path={checkpoint.path} with {list(checkpoint)[:3]}, "
            f"family={[f.name for f in families]}"
        )
    if any(f.targets != best[0].targets for f in best):
        raise ValueError(
            "The names of the checkpoint are those of several families; "
            "`family` must tell of which. Received: "
            f"path={checkpoint.path} of {[f.family for f in best]}"
        )
    return best[0]


def _pieces(family, column, target, names):
    """Returns the weights of a family that are among the names.

    Returns:
        `(pieces, missing)`: a list of `_Piece`, and of names: of each weight
        that some blocks have and not all, the first tensor that is missing.
    """
    rows, blocks = [], collections.Counter()
    for row in family.rows:
        source = row.sources.get(column.name)
        wanted = row.sources.get(target.name)
        if source is None or wanted is None or wanted.times:
            continue
        stack, several, _ = source.name.partition("{i")
        if not several and "{i" in wanted.name:
            continue  # one block that would be written as many
        found = _blocks(source, names)
        if found:
            rows.append((row.path, source, wanted, stack, found))
            # an encoder need not have as many as its decoder
            blocks[stack] = max(blocks[stack], *found, 0)
    pieces, missing = [], []
    for path, source, wanted, stack, found in rows:
        for i in sorted(found):
            pieces.append(_Piece(path, source.numbered(i), wanted.numbered(i)))
        if len(found) <= blocks[stack]:
            lacking = next(i for i in itertools.count() if i not in found)
            missing.append(source.numbered(lacking).name)
    return pieces, missing


def _blocks(source, names):
    """Returns the set of the blocks that have a tensor; 0 if it has none."""
    if source.times not in {None, *names}:
        return set()
    start, several, end = source.name.partition("{i")
    if not several:
        return {0} if source.name in names else set()
    end = end.partition("}")[2]
    pattern = rf"{re.escape(start)}(\d+){re.escape(end)}"
    matches = [re.fullmatch(pattern, name) for name in names]
    numbers = {int(match[1]) for match in matches if match}
    return {i for i in numbers if source.numbered(i).name in names}


class _HeadDim:
    """The features of a head, looked for once they are needed."""

    def __init__(self, checkpoint, path, given):
        self.checkpoint, self.path, self.given = checkpoint, path, given

    def __call__(self):
        sizes = getattr(self.checkpoint, "sizes", None)
        if self.given is None and sizes:
            self.given = sizes["dim"] // sizes["n_heads"]
        if self.given is None:
            self.given = self._configured()
        return self.given

    def _configured(self):
        folder = pathlib.Path(self.path)
        folder = folder if folder.is_dir() else folder.parent
        path = folder / "config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
            heads = config["num_attention_heads"]
            size = config.get("head_dim") or config["hidden_size"] // heads
            return check_size("head_dim", size)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            ZeroDivisionError,
        ) as error:
            raise ValueError(
                "`head_dim` must be given, or a config.json that tells it be "
                "beside the checkpoint: the features of heads are in another "
                f"order in the target. Received: head_dim=None, {path} "
                f"({type(error).__name__}: {error})"
            ) from error


def _check_axes(piece, checkpoint, names):
    """Rejects a tensor that has not the axes of its weight."""
    kind = piece.path.rpartition("/")[2]
    axes = 2 if kind in ("kernel", "embeddings") else 1
    axes += piece.source.leading
    for canonical in (piece.source.name, piece.source.times):
        if canonical is None:
            continue
        name = names[canonical]
        shape = checkpoint.shape(name)
        if len(shape) != axes:
            raise ValueError(
                f"The tensor `{name}` must have {axes} "
                f"{'axis' if axes == 1 else 'axes'}. Received: {shape} in "
                f"path={checkpoint.path}"
            )


def _tensor(name, pieces, checkpoint, names, head_dim):
    """Returns `(shape, dtype, read)` of a tensor of the target."""
    pieces = sorted(pieces, key=lambda piece: piece.target.part)
    parts = [piece.target.part for piece in pieces]
    if parts != [(k, len(pieces)) for k in range(len(pieces))]:
        raise ValueError(
            f"The tensor `{name}` must have each of its parts once. "
            f"Received: {[piece.source.name for piece in pieces]} in "
            f"path={checkpoint.path}"
        )
    for piece in pieces:
        _check_axes(piece, checkpoint, names)
    first = pieces[0]
    target = dataclasses.replace(first.target, halves=False)

    def read():
        arrays = []
        for piece in pieces:
            array = checkpoint[names[piece.source.name]]
            if piece.source.times:
                array = array @ checkpoint[names[piece.source.times]]
            array = piece.source.matrix(array)
            if piece.source.halves != piece.target.halves:
                array = turned(array, head_dim(), piece.target.halves)
            arrays.append(array)
        return np.ascontiguousarray(target.write(arrays, first.path))

    if any(p.source.halves != p.target.halves for p in pieces):
        head_dim()  # an error before anything is written
    stored = checkpoint.shape(names[first.source.name])
    if first.source.times:
        stored = stored[:1] + checkpoint.shape(names[first.source.times])[1:]
    matrix = first.source.matrix(np.broadcast_to(0.0, stored)).shape
    dtype = checkpoint.dtype(names[first.source.name])
    return target.shape(matrix, first.path), dtype, read
