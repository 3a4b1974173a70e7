"""Named real data sets, verified by checksums.

To add a data set, define a `Dataset` in a module of this folder and add its
name to `registry.py`.
"""

from su_models.data.registry import describe, load, names

__all__ = ["describe", "load", "names"]
