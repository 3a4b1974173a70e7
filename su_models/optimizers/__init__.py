"""Optimizers that wrap any Keras optimizer."""

from su_models.optimizers.lookahead import Lookahead

__all__ = ["Lookahead"]
