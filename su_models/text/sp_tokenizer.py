"""SentencePiece's tokenizer with the interface of the other tokenizers."""

import os

from su_models.text.base import TokenizerBase


class SpTokenizer(TokenizerBase):
    """Tokenizes by a SentencePiece model, with bert4keras' signatures.

    The class needs the extra `sentencepiece`. `token_unk` and `token_pad` are
    those of the model.

    Differs from bert4keras: start and end tokens that the model does not have
    are rejected (they would get the id of unknown pieces), and lists of
    tokens are not changed.

    Args:
        sp_model_path: str or `pathlib.Path`, a `.model` file.
        token_start, token_end: str, or None for no such token. T5 uses None
            and `"</s>"`.
        **kwargs: `pre_tokenize` and `token_translate`; see `TokenizerBase`.

    Raises:
        ImportError: if SentencePiece is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a model, or an argument is not as described.
    """

    def __init__(
        self,
        sp_model_path,
        token_start="[CLS]",
        token_end="[SEP]",
        **kwargs,
    ):
        super().__init__(token_start=token_start, token_end=token_end, **kwargs)
        self.sp_model = _load(os.fspath(sp_model_path))
        self.vocab_size = self.sp_model.get_piece_size()
        self.token_unk = self._piece(self.sp_model.unk_id())
        self.token_pad = self._piece(self.sp_model.pad_id())
        self.token_mask = "[MASK]"
        self._find_ids(self._find)

    def token_to_id(self, token):
        """Returns the id of a piece, or that of `token_unk`."""
        return self.sp_model.piece_to_id(token)

    def id_to_token(self, i):
        """Returns the piece of an id; empty beyond the vocabulary.

        Raises:
            ValueError: if the id is negative.
        """
        if i < 0:
            raise ValueError(f"`i` must not be negative. Received: i={i}")
        return self._piece(int(i)) if i < self.vocab_size else ""

    def decode(self, ids):
        """Returns the text of ids."""
        given = {v: k for k, v in self.token_translate.items()}
        tokens = self.ids_to_tokens(ids)
        return self.sp_model.decode_pieces([given.get(t) or t for t in tokens])

    def _piece(self, i):
        return self.sp_model.id_to_piece(i) if i >= 0 else None

    def _find(self, token):
        """Returns the id of a piece, or None if the model does not have it."""
        i = self.sp_model.piece_to_id(token)
        return i if self._piece(i) == token else None

    def _tokenize(self, text):
        if self.pre_tokenize is not None:
            text = " ".join(self.pre_tokenize(text))
        return self.sp_model.encode_as_pieces(text)


def _load(path):
    """Returns the model in a file."""
    try:
        import sentencepiece
    except ImportError as error:
        raise ImportError(
            '`SpTokenizer` needs `pip install "su_models[sentencepiece]"`'
        ) from error
    with open(path, "rb") as file:
        content = file.read()
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(content)
    except RuntimeError as error:
        raise ValueError(
            "`sp_model_path` must be a SentencePiece model. "
            f"Received: sp_model_path={path}"
        ) from error
    return model
