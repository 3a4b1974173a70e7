"""Text in and out, without tensors."""

from su_models.text.induce_tree import induce_tree

__all__ = ["induce_tree"]
