"""Weights of a model into a checkpoint."""

import pathlib

import keras
import numpy as np

from su_models.checkpoints.plan import find_families, find_places
from su_models.checkpoints.safetensors_file import write_safetensors
from su_models.checkpoints.table import layers_of
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
            to the one that the layers tell. It must be given where they do
            not: "roberta", whose layers are those of "bert",
            "albert_unshared", "mt5.1.1", and "electra" without its head.
        prefix: str in front of the names of the model's layers.
        format: optional str, "tf1" or "safetensors". Defaults to
            "safetensors" for a path that ends so, else "tf1".

    Raises:
        ValueError: if a weight has no name in the family, or no family has
            all of them.
        OSError: if the checkpoint cannot be written.
    """
    format = check_format(path, format)
    tensors = {}
    for places in _group(_choose(model, find_families(family), prefix, format)):
        name = places[0].source.name
        tensors[name] = _shape(places), _dtype(places), _reader(places)
    write_tensors(path, tensors, format)


def check_format(path, format):
    """Returns the format that a checkpoint is written in.

    Args:
        path: str or `pathlib.Path`, which tells it by its ending.
        format: optional str, one of `FORMATS`.
    """
    if format is None:
        ending = pathlib.Path(path).suffix == ".safetensors"
        format = "safetensors" if ending else "tf1"
    return check_choice("format", format, FORMATS)


def write_tensors(path, tensors, format):
    """Writes tensors in one of `FORMATS`.

    Args:
        path: str or `pathlib.Path`.
        tensors: dict from names to tuples of a shape, the name of a dtype,
            and a function that returns the array.
        format: str.
    """
    if format == "safetensors":
        write_safetensors(path, tensors)
    else:
        write_tf1(path, {n: read for n, (*_, read) in tensors.items()})


def _choose(model, families, prefix, format):
    """Returns the places of all weights, in the family that has them."""
    layers = {layer.name.removeprefix(prefix) for layer in layers_of(model)}
    best, most, lacking = None, -1, []
    for family in families:
        named = len(families) == 1
        if family.asked and not named:
            continue
        for column in [c for c in family.columns if c.format == format][:1]:
            places, others = find_places(model, family, column, prefix)
            others = others + [
                f"{p.layer}/{p.path}" for p in places if p.source is None
            ]
            if others or not places:
                lacking.append(others)
                continue
            score = 0 if named else family.fits(layers)
            if score > most:
                best, most = places, score
    if best is None:
        raise ValueError(
            f"A checkpoint of a family needs weights that it has in {format}. "
            f"Received: family={[f.name for f in families]}, weights without "
            f"a name there: {min(lacking, key=len, default=[])[:3]}"
        )
    return best


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
