"""Under which names the weights of a family stand in checkpoints.

A family is a list of rows: one weight of ours, and where each kind of
checkpoint has it. A kind, a `Column`, is a format of files and the names of
one program in it. `dense`, `norm` and `embeddings` write the rows of a layer.
"""

import dataclasses
import re

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Column:
    """One kind of checkpoint, and how it writes the parts of a layer.

    Args:
        name: str, for messages and as keyword in rows.
        format: that of `Checkpoint`: "tf1", "safetensors", "llama2.c".
        kernel, bias, gamma, beta, embeddings: str, what follows the name of a
            layer.
        transposed: bool. Whether kernels are `(outputs, inputs)`.
        leading: bool. Whether kernels have an axis of size 1 in front.
        aliases: pairs of a regular expression and what it is replaced with:
            they turn names that also occur into those of the table.
        ignored: regular expression of names that hold no weights.
    """

    name: str
    format: str
    kernel: str
    bias: str
    gamma: str
    beta: str
    embeddings: str = ""
    transposed: bool = False
    leading: bool = False
    aliases: tuple = ()
    ignored: str = r"(?!)"  # none

    def canonical(self, name):
        """Returns the name that the table has for one of a checkpoint."""
        for pattern, replacement in self.aliases:
            name = re.sub(pattern, replacement, name)
        return name


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a weight stands in one kind of checkpoint, and in what form.

    A checkpoint has kernels with one axis of inputs and one of outputs, and
    biases with one axis. Ours may have more, as those of attention have.

    Args:
        name: str, of the tensor; `{i}` is the number of the block.
        transposed: bool. Whether the axes are `(outputs, inputs)`.
        part: `(k, n)`: the k-th of n equal parts of the outputs.
        leading: bool. Whether there is an axis of size 1 in front.
        halves: bool. Whether the features of a head that rotate together are
            half a head apart, not adjacent.
        skipped: int. Rows in front that are not used.
        times: optional str: the name of a second tensor. The weight is the
            product of both; such a source is not written.
    """

    name: str
    transposed: bool = False
    part: tuple = (0, 1)
    leading: bool = False
    halves: bool = False
    skipped: int = 0
    times: str | None = None

    def numbered(self, block):
        """Returns the source with the number of a block in its names."""
        times = self.times and self.times.format(i=block)
        name = self.name.format(i=block)
        return dataclasses.replace(self, name=name, times=times)

    def shape(self, variable, path):
        """Returns the shape of the tensor in the checkpoint.

        Args:
            variable: shape of the weight.
            path: its place in its layer, such as "query/kernel".
        """
        *inputs, outputs = matrix_shape(variable, path)
        shape = (*inputs, outputs * self.part[1])
        shape = (shape[0] + self.skipped, *shape[1:])
        shape = shape[::-1] if self.transposed else shape
        return (1, *shape) if self.leading else shape

    def read(self, array, variable, path):
        """Returns the weight, of a tensor of the checkpoint."""
        array = self.matrix(array).reshape(variable)
        return _adjacent(array) if self.halves else array

    def matrix(self, array):
        """Returns the weight with its heads merged: `(inputs, outputs)`."""
        if self.leading:
            array = array[0]
        array = array.transpose() if self.transposed else array
        array = array[self.skipped :]
        k, n = self.part
        width = array.shape[-1] // n
        return array[..., k * width : (k + 1) * width]

    def write(self, arrays, path):
        """Returns the tensor, of the weights that are its parts."""
        arrays = [_halved(a) for a in arrays] if self.halves else arrays
        array = np.concatenate(
            [a.reshape(matrix_shape(a.shape, path)) for a in arrays], axis=-1
        )
        if self.skipped:
            none = np.zeros((self.skipped, *array.shape[1:]), array.dtype)
            array = np.concatenate([none, array])
        array = array.transpose() if self.transposed else array
        return array[None] if self.leading else array


@dataclasses.dataclass(frozen=True)
class Row:
    """One weight.

    Args:
        layer: str, name of its layer; `{i}` is the number of the block.
        path: str, its place in the layer, such as "query/kernel".
        sources: dict from names of columns to `Source`.
        vocabulary: optional int, the axis of the weight that is the
            vocabulary.
    """

    layer: str
    path: str
    sources: dict
    vocabulary: int | None = None


@dataclasses.dataclass(frozen=True)
class Family:
    """Models that share a table.

    Args:
        name: str.
        columns: the kinds of checkpoints. Of each format the first is
            written.
        rows: tuple of `Row`.
        marks: names of layers that tell a model of this family from those of
            others.
        lacks: names of layers that no model of the family has.
        fixed: places of weights that are no part of a checkpoint, such as
            "Embedding-Relative-Position/embeddings".
        asked: bool. Whether it must be asked for by name, since its models
            are like those of another family.
    """

    name: str
    columns: tuple
    rows: tuple
    marks: tuple = ()
    lacks: tuple = ()
    fixed: tuple = ()
    asked: bool = False

    def fits(self, layers):
        """Tells how well names of layers speak for the family: an int.

        Negative, if they speak against it.
        """
        if any(name not in layers for name in self.marks):
            return -1
        if any(name in layers for name in self.lacks):
            return -1
        return len(self.marks) + len(self.lacks)

    def find(self, layer, path):
        """Returns `(row, block)` of a weight, or None.

        Args:
            layer: str, name of a layer.
            path: str, place of a weight in it.
        """
        for row in self.rows:
            if row.path != path:
                continue
            pattern = re.escape(row.layer).replace(r"\{i\}", r"(\d+)")
            found = re.fullmatch(pattern, layer)
            if found:
                return row, int(found[1]) if found.groups() else None
        return None

    def names(self, column, blocks):
        """Returns the names of all tensors of so many blocks, a set."""
        sources = [
            row.sources[column.name].numbered(i)
            for row in self.rows
            if column.name in row.sources
            for i in range(blocks if "{i}" in row.layer else 1)
        ]
        names = {name for s in sources for name in (s.name, s.times)}
        return names - {None}


# ---- rows of a layer; `prefixes` are from columns to names of the layer, or
# to pairs of the name and of what `Source` takes beside


def dense(layer, prefixes, path="", bias=True, vocabulary=None):
    """Returns the rows of a kernel and a bias.

    Args:
        layer: str, name of our layer.
        prefixes: dict from columns to what the layer is called there.
        path: str, place of the dense layer in ours, such as "query".
        bias: bool. Whether there is a bias.
        vocabulary: optional int, the axis of the kernel that is the
            vocabulary.
    """
    before = f"{path}/" if path else ""
    kernels, biases = {}, {}
    for column, prefix in prefixes.items():
        prefix, options = _pair(prefix)
        kernels[column.name] = Source(
            f"{prefix}{column.kernel}",
            **{
                "transposed": column.transposed,
                "leading": column.leading,
                **options,
            },
        )
        biases[column.name] = Source(f"{prefix}{column.bias}", **options)
    rows = [Row(layer, f"{before}kernel", kernels, vocabulary)]
    return [*rows, Row(layer, f"{before}bias", biases)] if bias else rows


def norm(layer, prefixes, parts=("beta", "gamma")):
    """Returns the rows of a normalization."""
    return [
        Row(
            layer,
            part,
            {
                c.name: Source(f"{p}{getattr(c, part)}")
                for c, p in prefixes.items()
            },
        )
        for part in parts
    ]


def embeddings(layer, prefixes, vocabulary=None):
    """Returns the row of a table."""
    suffixed = {}
    for column, prefix in prefixes.items():
        prefix, options = _pair(prefix)
        suffixed[column] = f"{prefix}{column.embeddings}", options
    return tensor(layer, suffixed, "embeddings", vocabulary)


def tensor(layer, names, path, vocabulary=None):
    """Returns the row of a weight whose names are whole."""
    sources = {}
    for column, name in names.items():
        name, options = _pair(name)
        sources[column.name] = Source(name, **options)
    return [Row(layer, path, sources, vocabulary)]


def _pair(name):
    """Returns a name and what `Source` takes beside."""
    return (name, {}) if isinstance(name, str) else name


# ---- forms of weights


def matrix_shape(shape, path):
    """Returns the shape of a weight with its heads merged: `(inputs, outputs)`.

    Kernels have two axes, biases one: those of attention, `(d, heads, dim)`,
    `(heads, dim, d)` and `(heads, dim)`, lose one.
    """
    kind = path.rpartition("/")[2]
    if kind == "bias":
        return (int(np.prod(shape)),)
    if kind != "kernel" or len(shape) != 3:
        return tuple(shape)
    a, b, c = shape
    output = path.startswith("attention_output/")
    return (a * b, c) if output else (a, b * c)


def turned(array, head_dim, halves):
    """Returns the features of heads in the other order.

    Args:
        array: floats `(..., heads * head_dim)`.
        head_dim: int > 0.
        halves: bool. Whether those that rotate together are to be half a head
            apart; if not, they were, and become adjacent.
    """
    if array.shape[-1] % head_dim or head_dim % 2:
        raise ValueError(
            "`head_dim` must be even and divide the features of all heads. "
            f"Received: head_dim={head_dim}, features={array.shape[-1]}"
        )
    heads = array.reshape(*array.shape[:-1], -1, head_dim)
    heads = _halved(heads) if halves else _adjacent(heads)
    return heads.reshape(array.shape)


def _adjacent(array):
    """Returns features that were half a head apart side by side."""
    half = array.shape[-1] // 2
    pairs = np.stack([array[..., :half], array[..., half:]], axis=-1)
    return pairs.reshape(array.shape)


def _halved(array):
    """Returns features that were side by side half a head apart."""
    return np.concatenate([array[..., 0::2], array[..., 1::2]], axis=-1)


# ---- weights of a model


def layers_of(model):
    """Yields the layers of a model, those of models within it too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        else:
            yield layer


def weights_of(model, prefix=""):
    """Returns `(layer, path, variable)` of all weights, without the prefix."""
    found = {}
    for layer in layers_of(model):
        name = layer.name.removeprefix(prefix)
        for variable in layer.weights:
            path = variable.path.rpartition(f"{layer.name}/")[2]
            found.setdefault(id(variable), (name, path, variable))
    return list(found.values())
