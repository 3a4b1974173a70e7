"""Regularizers of the articles, for kernels and activities."""

from su_models.regularizers.masked_orthogonality import MaskedOrthogonality
from su_models.regularizers.self_orthogonality import SelfOrthogonality

__all__ = ["MaskedOrthogonality", "SelfOrthogonality"]
