"""Losses of the articles, as subclasses of `keras.losses.Loss`."""

from su_models.losses.multilabel_crossentropy import MultilabelCrossentropy
from su_models.losses.smooth_accuracy import SmoothAccuracy
from su_models.losses.smooth_f1 import SmoothF1
from su_models.losses.sparse_multilabel_crossentropy import (
    SparseMultilabelCrossentropy,
)
from su_models.losses.tailr_crossentropy import TaiLrCrossentropy

__all__ = [
    "MultilabelCrossentropy",
    "SmoothAccuracy",
    "SmoothF1",
    "SparseMultilabelCrossentropy",
    "TaiLrCrossentropy",
]
