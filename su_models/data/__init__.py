"""Named real data sets: where they are, whether they are whole, `load`.

A new set is one `Dataset` in a module of this folder and one name in
`registry.py`.
"""

from su_models.data.registry import describe, load, names

__all__ = ["describe", "load", "names"]
