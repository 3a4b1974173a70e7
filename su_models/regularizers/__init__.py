"""Regularizers of the articles, as `keras.regularizers.Regularizer`."""

from su_models.regularizers.masked_orthogonality import MaskedOrthogonality
from su_models.regularizers.self_orthogonality import SelfOrthogonality

__all__ = ["MaskedOrthogonality", "SelfOrthogonality"]
