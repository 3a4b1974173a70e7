"""Weights of a model into a checkpoint."""

import pathlib

import keras
import numpy as np

from su_models.checkpoints.plan import find_families, find_places
from su_models.checkpoints.safetensors_file import write_safetensors
from su_models.checkpoints.tf1 import write_tf1
from su_models.utils.checks import check_choice

FORMATS = ("tf1", "safetensors")


def save_checkpoint(model, path, family=None, prefix="", format=None):
    """Writes the weights of a transformer as a checkpoint of others.

    bert4keras reads "tf1", with the names of Google; transformers reads
    "safetensors". What is read back by `load_checkpoint` is equal to the bit.

    Args:
        model: a built `keras.Model` whose layers have bert4keras' names.
        path: str or `pathlib.Path`: of "safetensors" the file, of "tf1" the
            prefix. A checkpoint that is there is replaced once the new one is
            whole.
        family: optional str, whose names to write, such as "bert". Defaults
            to the one family that has all the weights.
        prefix: str in front of the names of the model's layers.
        format: optional str, "tf1" or "safetensors". Defaults to
            "safetensors" for a path that ends so, else "tf1".

    Raises:
        ValueError: if a weight has no name in the family, or no family or
            several have all of them.
        OSError: if the checkpoint cannot be written.
    """
    if format is None:
        ending = pathlib.Path(path).suffix == ".safetensors"
        format = "safetensors" if ending else "tf1"
    check_choice("format", format, FORMATS)
    tensors = {}
    for places in _group(_choose(model, find_families(family), prefix, format)):
        name = places[0].source.name
        tensors[name] = _shape(places), _dtype(places), _reader(places)
    if format == "safetensors":
        write_safetensors(path, tensors)
    else:
        write_tf1(path, {n: read for n, (*_, read) in tensors.items()})


def _choose(model, families, prefix, format):
    """Returns the places of all weights, in the family that has them."""
    found, lacking = {}, {}
    for family in families:
        columns = [c for c in family.columns if c.format == format]
        for column in columns[:1]:
            places, others = find_places(model, family, column, prefix)
            if places and not others:
                found[family.name] = places
            lacking[family.name] = others
    if len(found) != 1:
        reason = (
            f"one of {sorted(found)} as `family`"
            if found
            else f"weights that it has in {format}"
        )
        others = min(lacking.values(), key=len, default=[])
        raise ValueError(
            f"A checkpoint of a family needs {reason}. Received: "
            f"family={[f.name for f in families]}, weights without a name "
            f"there: {others[:3]}"
        )
    return next(iter(found.values()))


def _group(places):
    """Returns lists of the places that share a tensor, as its parts."""
    groups = {}
    for place in places:
        groups.setdefault(place.source.name, []).append(place)
    for name, group in groups.items():
        group.sort(key=lambda place: place.source.part)
        parts = [place.source.part for place in group]
        if parts != [(k, len(group)) for k in range(len(group))]:
            raise ValueError(
                f"The tensor `{name}` must have each of its parts once. "
                f"Received: {[p.variable.path for p in group]}"
            )
    return list(groups.values())


def _shape(places):
    variable, path = places[0].variable, places[0].path
    return tuple(places[0].source.shape(variable.shape, path))


def _dtype(places):
    return keras.backend.standardize_dtype(places[0].variable.dtype)


def _reader(places):
    """Returns a function that returns the tensor."""
    dtype = _dtype(places)

    def read():
        arrays = [
            # PyTorch's bfloat16 comes as float32
            np.asarray(keras.ops.convert_to_numpy(p.variable)).astype(dtype)
            for p in places
        ]
        return places[0].source.write(arrays, places[0].path)

    return read
