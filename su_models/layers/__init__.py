"""Keras layers, one idea of an article a class."""

from su_models.layers.position.rotary_embedding import RotaryEmbedding

__all__ = [
    "RotaryEmbedding",
]
