"""Text processing without tensors: tokenizers, vocabularies, decoding."""

from su_models.text.induce_tree import induce_tree
from su_models.text.pad_sequences import pad_sequences
from su_models.text.sp_tokenizer import SpTokenizer
from su_models.text.tokenizer import Tokenizer
from su_models.text.viterbi_decoder import ViterbiDecoder
from su_models.text.vocab import load_vocab, save_vocab

__all__ = [
    "SpTokenizer",
    "Tokenizer",
    "ViterbiDecoder",
    "induce_tree",
    "load_vocab",
    "pad_sequences",
    "save_vocab",
]
