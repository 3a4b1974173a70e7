"""bert4keras' `tokenizers`: those of su_models.text, but less strict."""

from su_models.text.base import TokenizerBase
from su_models.text.characters import is_cjk, is_punctuation
from su_models.text.sp_tokenizer import SpTokenizer as OurSpTokenizer
from su_models.text.tokenizer import Tokenizer as OurTokenizer
from su_models.text.vocab import load_vocab, save_vocab

__all__ = [
    "SpTokenizer",
    "Tokenizer",
    "TokenizerBase",
    "load_vocab",
    "save_vocab",
]

_SPECIAL = ("unk", "pad", "mask", "start", "end")


class _Lenient:
    """Mixin: special tokens may be missing, and their ids may be set."""

    def _find_ids(self, find):
        for name in _SPECIAL:
            token = getattr(self, f"token_{name}")
            i = None if token is None else find(token)
            if i is not None:
                setattr(self, f"token_{name}_id", i)
        if not hasattr(self, "token_unk_id"):
            self.token_unk_id = None

    def __setattr__(self, name, value):
        # scripts set attributes under bert4keras' names, with an underscore
        if name.startswith("_token_"):
            name = name[1:]
        super().__setattr__(name, value)


class Tokenizer(_Lenient, OurTokenizer):
    """`su_models.text.Tokenizer`, which accepts any vocabulary.

    Differs from it, as in bert4keras: the vocabulary need not have the
    special tokens, whose ids may be set later: `tokenizer._token_unk_id = 0`.

    Args: see `su_models.text.Tokenizer`.
    """

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "_token_unk_id":
            self._prepare()

    _is_cjk_character = staticmethod(is_cjk)
    _is_punctuation = staticmethod(is_punctuation)


class SpTokenizer(_Lenient, OurSpTokenizer):
    """`su_models.text.SpTokenizer`, whose model need not have special tokens.

    Args: see `su_models.text.SpTokenizer`.
    """
