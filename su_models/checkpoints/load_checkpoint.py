"""Weights of a checkpoint into a model."""

import re

import keras
import numpy as np

from su_models.checkpoints.open_checkpoint import open_checkpoint
from su_models.checkpoints.plan import find_families, find_places
from su_models.checkpoints.resize import factor, resize
from su_models.checkpoints.table import layers_of, matrix_shape
from su_models.utils.checks import check_flag


def load_checkpoint(
    model,
    path,
    family=None,
    prefix="",
    rows=None,
    ignore_invalid_weights=False,
    autoresize_weights=False,
):
    """Sets the weights of a transformer to those of a checkpoint.

    Layers are found by bert4keras' names, tensors by the names that the
    program that wrote the checkpoint gives them. All tensors are read and
    checked, one after the other, before a weight is set; then they are read
    once more. So memory holds one of them at a time beside the model.

    Layers that no checkpoint of the family has, such as one for a task, keep
    their weights; so do the weights of conditional normalizations. Tensors
    that the model has no use for are left out.

    Args:
        model: a built `keras.Model`.
        path: str or `pathlib.Path`; see `open_checkpoint`.
        family: optional str, whose names to expect, such as "bert". Defaults
            to the family whose names are found.
        prefix: str in front of the names of the model's layers.
        rows: optional function from an array with a row for each token of the
            checkpoint to one with a row for each token of the model. Defaults
            to those being the same tokens.
        ignore_invalid_weights: bool. Whether weights that the checkpoint does
            not have keep theirs.
        autoresize_weights: bool. Whether a tensor of another shape, but of as
            many axes, is resized as bert4keras does it: its pairs repeated or
            its end cut off, with the same norm. `rows` come first.

    Returns:
        A list of the names of tensors that were not used, but for slots of
        optimizers and the like.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if an argument is not of its kind, or the checkpoint is
            damaged, lacks a weight of the model, or has it in another shape,
            in integers, or with an entry that is not finite. The model's
            weights are unchanged then.
    """
    families = find_families(family)
    check_flag("ignore_invalid_weights", ignore_invalid_weights)
    check_flag("autoresize_weights", autoresize_weights)
    if rows is not None and not callable(rows):
        raise ValueError(
            "`rows` must be None or a function of an array. "
            f"Received: rows={rows!r}"
        )
    with open_checkpoint(path) as checkpoint:
        column, places = _choose(
            model, checkpoint, families, prefix, ignore_invalid_weights
        )
        tensors = _Tensors(checkpoint, column)
        layers = None
        if autoresize_weights:
            layers = {layer.name: layer for layer in layers_of(model)}
            layers = {n.removeprefix(prefix): v for n, v in layers.items()}
        for place in places:
            _check(place, tensors, rows, layers)
        for place in places:
            _value(place, tensors, rows, layers)  # checked, and forgotten
        for place in places:
            place.variable.assign(_value(place, tensors, rows, layers))
    used = {place.source.name for place in places}
    used |= {place.source.times for place in places}
    return [
        name
        for canonical, name in tensors.names.items()
        if canonical not in used and not re.fullmatch(column.ignored, name)
    ]


class _Tensors:
    """Tensors of a checkpoint under the names of a table.

    The last one is kept: several weights may be parts of it.

    Args:
        checkpoint: `Checkpoint`.
        column: `Column`.

    Attributes:
        names: dict from names in the table to those in the file.
    """

    def __init__(self, checkpoint, column):
        self.checkpoint = checkpoint
        self.names = {column.canonical(name): name for name in checkpoint}
        self._last = None, None

    def shape(self, source):
        """Returns the shape of what `read` returns."""
        shape = self.checkpoint.shape(self.names[source.name])
        if source.times:
            other = self.checkpoint.shape(self.names[source.times])
            shape = shape[:1] + other[1:]
        return shape

    def read(self, source):
        """Returns the tensor of a source, or the product of its two."""
        key = source.name, source.times
        if self._last[0] != key:
            self._last = None, None  # frees it before the next is read
            array = self.checkpoint[self.names[source.name]]
            if source.times:
                array = array @ self.checkpoint[self.names[source.times]]
            self._last = key, array
        return self._last[1]


def _choose(model, checkpoint, families, prefix, ignore):
    """Returns the column whose names the checkpoint has, and the places."""
    found = [
        (family, column, find_places(model, family, column, prefix)[0])
        for family in families
        for column in family.columns
        if column.format == checkpoint.format
    ]
    known = max((len(places) for *_, places in found), default=0)
    if not known:
        raise ValueError(
            "`model` must have layers with bert4keras' names, of a family "
            f"that comes in {checkpoint.format}. Received: layers "
            f"{[layer.name for layer in model.layers][:5]}"
        )
    layers = {layer.name.removeprefix(prefix) for layer in layers_of(model)}
    best, most = None, None
    for family, column, places in found:
        names = set(map(column.canonical, checkpoint))
        missing = [p for p in places if not _there(p.source, names)]
        there = len(places) - len(missing)
        # all weights that any family knows; else as many as possible of a
        # family that the layers do not speak against
        fit = family.fits(layers)
        score = there == known, fit >= 0, there, fit, len(places)
        if most is None or score > most:
            best, most = (family, column, places, missing), score
    family, column, places, missing = best
    if ignore and len(missing) < len(places):
        names = set(map(column.canonical, checkpoint))
        places, missing = [p for p in places if _there(p.source, names)], []
    if missing:
        shown = ", ".join(
            p.source.name if p.source else f"{p.layer}/{p.path}"
            for p in missing[:3]
        )
        raise ValueError(
            f"The checkpoint must have all {len(places)} weights that the "
            f"model has of the family {family.name!r}. Received: "
            f"path={checkpoint.path} without {len(missing)}: {shown} ..."
        )
    return column, places


def _there(source, names):
    """Tells whether a source is among the names of a checkpoint."""
    if source is None or source.name not in names:
        return False
    return source.times is None or source.times in names


def _check(place, tensors, rows, layers):
    """Rejects a tensor of another shape, or not of floats."""
    variable, source = place.variable, place.source
    name, path = tensors.names[source.name], tensors.checkpoint.path
    have, want = tensors.shape(source), _expected(place, tensors, rows)
    resized = layers is not None and len(have) == len(want)
    if have != want and not (resized and not source.halves):
        known = place.vocabulary is not None and len(have) == len(want)
        hint = (
            " (is it of another vocabulary?)"
            if known and _expected(place, tensors, True) == have
            else ""
        )
        raise ValueError(
            f"The tensor `{name}` must be of shape {want}, for "
            f"`{variable.path}`{hint}. Received: {have} in path={path}"
        )
    dtype = tensors.checkpoint.dtype(name)
    if "float" not in dtype:
        raise ValueError(
            f"The tensor `{name}` must be of floats, for `{variable.path}`. "
            f"Received: {dtype} in path={path}"
        )


def _expected(place, tensors, rows):
    """Returns the shape that a tensor must have; `rows` frees one axis."""
    shape = _whole(place, tensors) if rows else tuple(place.variable.shape)
    return tuple(place.source.shape(shape, place.path))


def _whole(place, tensors):
    """Returns the shape of a weight, with the vocabulary of the checkpoint."""
    shape, have = list(place.variable.shape), tensors.shape(place.source)
    if place.vocabulary is not None and len(have) == len(shape):
        axis = place.vocabulary
        shape[axis] = have[-1 - axis if place.source.transposed else axis]
    return tuple(shape)


def _chosen(place, array, rows, name):
    """Returns a weight with the rows of the model's vocabulary."""
    variable, axis = place.variable, place.vocabulary
    table = np.moveaxis(array, axis, 0)
    made = np.asarray(rows(table))
    size = variable.shape[axis]
    if made.shape != (size, *table.shape[1:]):
        raise ValueError(
            f"`rows` must return {size} rows for `{variable.path}`. "
            f"Received: {made.shape} of the tensor `{name}`"
        )
    return np.moveaxis(made, 0, axis)


def _resized(place, array, layer):
    """Returns a weight, of one with other sizes and its heads merged."""
    shape = tuple(place.variable.shape)
    want = matrix_shape(shape, place.path)
    made = resize(array, want)
    return (made * factor(layer, place.path, array.shape, want)).reshape(shape)


def _value(place, tensors, rows, layers):
    """Returns what a weight is set to."""
    variable, source = place.variable, place.source
    name, array = tensors.names[source.name], tensors.read(source)
    fits = tensors.shape(source) == _expected(place, tensors, rows)
    chosen = place.vocabulary is not None and rows is not None
    if fits and not chosen:
        array = source.read(array, tuple(variable.shape), place.path)
    else:
        array = source.matrix(array)
        if chosen:
            array = _chosen(place, array, rows, name)
        if not fits:
            try:
                array = _resized(place, array, layers[place.layer])
            except ValueError as error:
                raise ValueError(
                    f"The tensor `{name}` cannot be resized for "
                    f"`{variable.path}`: {error} in "
                    f"path={tensors.checkpoint.path}"
                ) from error
    dtype = keras.backend.standardize_dtype(variable.dtype)
    with np.errstate(over="ignore"):
        array = array.astype(dtype, copy=False)
    # not all entries one by one, which would be an array of flags
    if array.size and not np.isfinite([array.min(), array.max()]).all():
        raise ValueError(
            f"The tensor `{name}` must be finite, in {dtype} too, for "
            f"`{variable.path}`. Received: path={tensors.checkpoint.path}"
        )
    return array
