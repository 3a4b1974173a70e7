"""Weights of a checkpoint into a model."""

import re

import keras
import numpy as np

from su_models.checkpoints.open_checkpoint import open_checkpoint
from su_models.checkpoints.plan import find_families, find_places


def load_checkpoint(model, path, family=None, prefix="", rows=None):
    """Sets the weights of a transformer to those of a checkpoint.

    Layers are found by bert4keras' names, tensors by the names that the
    program that wrote the checkpoint gives them. All tensors are read and
    checked before a weight is set: beside the model, memory holds them once,
    and one of them a second time.

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

    Returns:
        A list of the names of tensors that were not used, but for slots of
        optimizers and the like.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is damaged, lacks a weight of the model, or has it
            in another shape, in integers, or with an entry that is not
            finite. The model's weights are unchanged then.
    """
    families = find_families(family)
    with open_checkpoint(path) as checkpoint:
        column, places = _choose(model, checkpoint, families, prefix)
        actual = {column.canonical(name): name for name in checkpoint}
        for place in places:
            _check(place, checkpoint, actual[place.source.name], rows)
        values = [
            _value(place, checkpoint, actual[place.source.name], rows)
            for place in places
        ]
    for place, i in zip(places, range(len(values)), strict=True):
        place.variable.assign(values[i])
        values[i] = None  # memory falls as the model takes them
    used = {place.source.name for place in places}
    return [
        name
        for canonical, name in actual.items()
        if canonical not in used and not re.fullmatch(column.ignored, name)
    ]


def _choose(model, checkpoint, families, prefix):
    """Returns the column whose names the checkpoint has, and the places."""
    best, fewest = None, None
    for family in families:
        for column in family.columns:
            if column.format != checkpoint.format:
                continue
            places, _ = find_places(model, family, column, prefix)
            names = set(map(column.canonical, checkpoint))
            missing = [p for p in places if p.source.name not in names]
            score = len(missing) - len(places), len(missing)
            if places and (fewest is None or score < fewest):
                best, fewest = (family, column, places, missing), score
    if best is None:
        raise ValueError(
            "`model` must have layers with bert4keras' names, of a family "
            f"that comes in {checkpoint.format}. Received: layers "
            f"{[layer.name for layer in model.layers][:5]}"
        )
    family, column, places, missing = best
    if missing:
        shown = ", ".join(p.source.name for p in missing[:3])
        raise ValueError(
            f"The checkpoint must have all {len(places)} weights that the "
            f"model has of the family {family.name!r}. Received: "
            f"path={checkpoint.path} without {len(missing)}: {shown} ..."
        )
    return column, places


def _check(place, checkpoint, name, rows):
    """Rejects a tensor of another shape, or not of floats."""
    variable = place.variable
    have = checkpoint.shape(name)
    want = place.source.shape(variable.shape, place.path)
    # `rows` makes another number of them, which `_value` checks
    free = place.vocabulary and rows is not None
    if len(have) != len(want) or have[free:] != want[free:]:
        hint = (
            " (is it of another vocabulary?)"
            if place.vocabulary and have[1:] == want[1:]
            else ""
        )
        raise ValueError(
            f"The tensor `{name}` must be of shape {want}, for "
            f"`{variable.path}`{hint}. Received: {have} in "
            f"path={checkpoint.path}"
        )
    if "float" not in checkpoint.dtype(name):
        raise ValueError(
            f"The tensor `{name}` must be of floats, for `{variable.path}`. "
            f"Received: {checkpoint.dtype(name)} in path={checkpoint.path}"
        )


def _value(place, checkpoint, name, rows):
    """Returns what a weight is set to."""
    variable, array = place.variable, checkpoint[name]
    shape = tuple(variable.shape)
    if place.vocabulary and rows is not None:
        array = np.asarray(rows(array))
        if array.shape != shape:
            raise ValueError(
                f"`rows` must return {shape[0]} rows for `{variable.path}`. "
                f"Received: {array.shape} of the tensor `{name}`"
            )
    array = place.source.read(array, shape, place.path)
    dtype = keras.backend.standardize_dtype(variable.dtype)
    with np.errstate(over="ignore"):
        array = array.astype(dtype, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(
            f"The tensor `{name}` must be finite, in {dtype} too, for "
            f"`{variable.path}`. Received: path={checkpoint.path}"
        )
    return array
