"""Other libraries' names for what su_models has."""

from su_models.compat import bert4keras as bert4keras

__all__ = []
