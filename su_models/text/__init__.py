"""Text in and out, without tensors."""

from su_models.text.induce_tree import induce_tree
from su_models.text.viterbi_decoder import ViterbiDecoder

__all__ = ["ViterbiDecoder", "induce_tree"]
