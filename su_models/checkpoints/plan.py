"""Which tensor of a checkpoint is which weight of a model."""

import dataclasses
import typing

from su_models.checkpoints.families.registry import FAMILIES
from su_models.checkpoints.table import Family, Source, weights_of
from su_models.utils.checks import check_choice


@dataclasses.dataclass(frozen=True)
class Place:
    """A weight, and where it stands in a checkpoint.

    Args:
        variable: the `keras.Variable`.
        layer: name of its layer, without the prefix.
        path: its place in its layer.
        source: `Source`, with the number of the block in its name; None if
            this kind of checkpoint does not have the weight.
        vocabulary: optional int, its axis that is the vocabulary.
    """

    variable: typing.Any
    layer: str
    path: str
    source: Source | None
    vocabulary: int | None


def find_families(family):
    """Returns a list of one family, or of all if None is given.

    Raises:
        ValueError: if there is no family of that name.
    """
    if family is None:
        return list(FAMILIES.values())
    if isinstance(family, Family):
        return [family]
    return [FAMILIES[check_choice("family", family, tuple(FAMILIES))]]


def find_places(model, family, column, prefix=""):
    """Returns where the weights of a model stand in one kind of checkpoint.

    Args:
        model: a `keras.Model`.
        family: `Family`.
        column: `Column` of the family.
        prefix: str in front of the names of the model's layers.

    Returns:
        `(places, others)`: a list of `Place`, and of the paths of those
        weights that the table does not have.
    """
    places, others = [], []
    for layer, path, variable in weights_of(model, prefix):
        if f"{layer}/{path}" in family.fixed:
            continue
        found = family.find(layer, path)
        if found is None:
            others.append(f"{layer}/{path}")
            continue
        row, block = found
        source = row.sources.get(column.name)
        source = source and source.numbered(block)
        places.append(Place(variable, layer, path, source, row.vocabulary))
    return places, others
