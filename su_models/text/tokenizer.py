"""BERT's tokenizer: single characters and pieces of words."""

import itertools
import os
import re

import numpy as np

from su_models.text.base import TokenizerBase, check_text
from su_models.text.characters import (
    ALONE,
    DROPPED,
    KEPT,
    character_table,
    is_cjk,
    is_punctuation,
    lower_and_decompose,
    strip_marks,
)
from su_models.text.vocab import check_vocab, load_vocab, stem
from su_models.text.word_pieces import PieceIds, WordPieces
from su_models.utils.checks import check_flag, check_integer

CHUNK = 2**17  # characters at a time, so that the arrays fit into the cache

# decoding writes no space after full-width and Chinese punctuation, and these
_TIGHT = re.compile(
    r"([+\-/={(<\[\xb7\u2013\u2014\u2018\u2019\u201b-\u201f\u2026\u2027"
    r"\u3000-\u3003\u3008-\u3011\u3014-\u301f\u3030\u303e\u303f\ufe4f\ufe51"
    r"\ufe54\uff01-\uff0d\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff64]) "
)


class Tokenizer(TokenizerBase):
    """BERT's WordPiece tokenizer, with bert4keras' signatures and results.

    Spaces end words, control characters are removed, each Chinese character
    and each punctuation mark is a word of its own, and other words are split
    into the longest pieces in the vocabulary. A word that cannot be split is
    one token with the id of `token_unk`.

    Results are equal to those of bert4keras 0.11.5. Differs: invalid arguments
    are rejected; lists of tokens passed to `encode` are not changed; a pair
    without a start token does not exceed `maxlen` (in bert4keras by one);
    `rematch` counts the characters of the original text (in bert4keras those
    in lower case, where "İ" has two).

    Args:
        token_dict: dict from tokens to ids, or the path of a file for
            `load_vocab`.
        do_lower_case: bool. Whether text is first converted to lower case and
            stripped of accents. Defaults to False.
        word_maxlen: int. Longer words are not split. Defaults to 200.
        token_unk, token_pad, token_mask: str. `token_unk` must be in the
            vocabulary; the others have an id only if they are in it.
        **kwargs: `token_start`, `token_end`, `pre_tokenize`,
            `token_translate`; see `TokenizerBase`.

    Raises:
        ValueError: if an argument is not as described, or `token_start`,
            `token_end` or `token_unk` is not in the vocabulary.
        FileNotFoundError: if there is no such file.

    Example:

    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "token", "##izer", "快"]
    >>> tokenizer = su_models.text.Tokenizer(
    ...     {word: i for i, word in enumerate(words)}, do_lower_case=True
    ... )
    >>> tokenizer.tokenize("快 Tokenizer!")
    ['[CLS]', '快', 'token', '##izer', '!', '[SEP]']
    >>> tokenizer.encode("快 Tokenizer!")
    ([2, 6, 4, 5, 1, 3], [0, 0, 0, 0, 0, 0])
    >>> tokenizer.encode_batch(["快 Tokenizer!", "快"])[0].tolist()
    [[2, 6, 4, 5, 1, 3], [2, 6, 3, 0, 0, 0]]
    """

    def __init__(
        self,
        token_dict,
        do_lower_case=False,
        word_maxlen=200,
        token_unk="[UNK]",
        token_pad="[PAD]",
        token_mask="[MASK]",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(token_dict, (str, os.PathLike)):
            token_dict = load_vocab(token_dict)
        self.token_dict = dict(check_vocab(token_dict))
        self.token_dict_inv = {i: token for token, i in token_dict.items()}
        self.vocab_size = len(token_dict)
        self.do_lower_case = check_flag("do_lower_case", do_lower_case)
        self.word_maxlen = check_integer("word_maxlen", word_maxlen, least=0)
        self.token_unk = check_text("token_unk", token_unk)
        self.token_pad = check_text("token_pad", token_pad)
        self.token_mask = check_text("token_mask", token_mask)
        self._find_ids(token_dict.get)
        self._prepare()

    def token_to_id(self, token):
        """Returns the id of a token, or that of `token_unk`."""
        return self.token_dict.get(token, self.token_unk_id)

    def tokens_to_ids(self, tokens):
        """Returns the ids of tokens, in a list."""
        get, unknown = self.token_dict.get, self.token_unk_id
        return [get(token, unknown) for token in tokens]

    def id_to_token(self, i):
        """Returns the token of an id.

        Raises:
            ValueError: if no token has this id.
        """
        if i not in self.token_dict_inv:
            raise ValueError(
                "`i` must be an id of the vocabulary, of "
                f"{self.vocab_size} tokens. Received: i={i!r}"
            )
        return self.token_dict_inv[i]

    def decode(self, ids, tokens=None):
        """Returns the text of ids, with natural spacing.

        Tokens in brackets, like `[CLS]`, are omitted, and so are spaces
        before and after Chinese characters.

        Args:
            ids: int, one for each token.
            tokens: optional list of str to use instead of `ids`.

        Raises:
            ValueError: if no token has one of the ids.
        """
        text, last = [], ""
        for token in tokens or self.ids_to_tokens(ids):
            if _is_special(token):
                continue
            if token.startswith("##"):
                token = token[2:]
            elif len(token) == 1 and is_cjk(token):
                pass
            elif len(token) == 1 and is_punctuation(token):
                token += " "
            elif not last or not is_cjk(last):
                token = " " + token
            text.append(token)
            last = token[-1:] or last
        text = re.sub(" +", " ", "".join(text))
        text = re.sub("' (re|m|s|t|ve|d|ll) ", r"'\1 ", text)
        text = _TIGHT.sub(r"\1", text)
        text = re.sub(r"(\d\.) (\d)", r"\1\2", text)
        return text.strip()

    def rematch(self, text, tokens):
        """Returns the characters of a text that each token consists of.

        Args:
            text: str.
            tokens: list of str, as `tokenize` returns them for it.

        Returns:
            A list with one list of indices into `text` for each token; the
            list of a token in brackets is empty.

        Raises:
            ValueError: if a token is not found after the previous one.
        """
        letters, places = self._letters(check_text("text", text))
        found, offset = [], 0
        for token in tokens:
            if _is_special(token):
                found.append([])
                continue
            piece = stem(token)
            start = letters.find(piece, offset)
            if start < 0:
                raise ValueError(
                    "`tokens` must be those of `text`, in their order. "
                    f"Received: {token!r}, not found after {found[-1:]} in "
                    f"text={text!r}"
                )
            offset = start + len(piece)
            found.append(places[start:offset])
        return found

    stem = staticmethod(stem)

    def _prepare(self):
        """Builds the tables that are derived from the attributes."""
        ids = dict(self.token_dict)
        for token, other in self.token_translate.items():
            ids[token] = self.token_to_id(other or token)
        self._characters = character_table(self.do_lower_case)
        self._pieces = WordPieces(self.token_dict, self.word_maxlen)
        self._ids = PieceIds(self._pieces, ids, self.token_unk_id)
        self._alone = None

    def __getstate__(self):
        derived = ("_characters", "_pieces", "_ids", "_alone")
        return {k: v for k, v in self.__dict__.items() if k not in derived}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._prepare()

    def _tokenize(self, text):
        if self.do_lower_case:
            text = lower_and_decompose(text)
        if self.pre_tokenize is None:
            return self._cut(text)
        if self.do_lower_case:
            text = strip_marks(text)
        tokens = []
        for word in self.pre_tokenize(text):
            if word in self.token_dict:
                tokens.append(word)
                continue
            if self.do_lower_case:
                word = lower_and_decompose(word)
            tokens += self._cut(word)
        return tokens

    def _cut(self, text):
        """Returns the tokens of a text in its normal form."""
        words = self._characters.split(text)
        pieces = map(self._pieces.__getitem__, words)
        return list(itertools.chain.from_iterable(pieces))

    def _letters(self, text):
        """Returns the normalized characters and their indices in `text`."""
        lower = text.lower() if self.do_lower_case else text
        owners = range(len(text))
        if len(lower) != len(text):  # only "İ" becomes two characters
            owners = [i for i, c in enumerate(text) for _ in c.lower()]
        letters, places, seen = [], [], {}
        for i, c in zip(owners, lower, strict=True):
            if c not in seen:
                normal = lower_and_decompose(c) if self.do_lower_case else c
                seen[c] = self._characters.strip(normal)
            letters.append(seen[c])
            places += [i] * len(seen[c])
        return "".join(letters), places

    # ---- many texts

    def _batch_ids(self, texts):
        whole = type(self)._tokenize is Tokenizer._tokenize
        whole &= type(self).tokenize is Tokenizer.tokenize
        if self.pre_tokenize is not None or not whole:
            return super()._batch_ids(texts)
        ids, counts = [np.zeros(0, "int32")], [np.zeros(0, "int64")]
        for chunk in _chunks(texts):
            some, count = self._chunk_ids(chunk)
            ids.append(some)
            counts.append(count)
        return np.concatenate(ids), np.concatenate(counts)

    def _chunk_ids(self, texts):
        """Returns `(ids, counts)`.

        The texts are joined to one string, each between two line feeds, which
        become the start and the end token.
        """
        joined = "\n" + "\n\n".join(texts) + "\n"
        if joined.count("\n") > 2 * len(texts):
            joined = "\n\n".join(text.replace("\n", " ") for text in texts)
            joined = f"\n{joined}\n"
        if self.do_lower_case:
            joined = lower_and_decompose(joined)
        codes = np.frombuffer(
            joined.encode("utf-32-le", "surrogatepass"), "<u4"
        )
        kinds = self._characters.kinds(codes)
        kept = kinds != DROPPED
        if not kept.all():
            codes, kinds = codes[kept], kinds[kept]
            joined = codes.tobytes().decode("utf-32-le", "surrogatepass")
        first, last = np.flatnonzero(codes == ord("\n")).reshape(-1, 2).T
        if self.token_start is not None:
            kinds[first] = ALONE
        if self.token_end is not None:
            kinds[last] = ALONE

        # the number of ids at each character: one for a single character, and
        # all ids of a word at its first character
        alone = kinds == ALONE
        number = alone.astype("int64")
        begin, word_ids = self._word_ids(joined, kinds == KEPT)
        number[begin] = np.fromiter(map(len, word_ids), "int64", len(word_ids))
        stop = np.cumsum(number)
        ids = np.empty(stop[-1], "int32")
        of_words = np.ones(len(ids), "bool")
        place = stop[alone] - 1
        ids[place] = self._alone_ids()[codes[alone]]
        of_words[place] = False
        flat = itertools.chain.from_iterable(word_ids)
        ids[of_words] = np.fromiter(flat, "int32")
        if self.token_start is not None:
            ids[stop[first] - 1] = self.token_start_id
        if self.token_end is not None:
            ids[stop[last] - 1] = self.token_end_id
        return ids, stop[last] - stop[first] + number[first]

    def _word_ids(self, text, inside):
        """Returns the start of each word, and the tuple of its ids."""
        edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
        begin, end = edges.reshape(-1, 2).T  # line feeds surround the text
        words = map(slice, begin.tolist(), end.tolist())
        return begin, [self._ids[text[word]] for word in words]

    def _alone_ids(self):
        """Returns a table from code points to ids, for single characters."""
        if self._alone is None:
            self._alone = np.full(0x110000, self.token_unk_id, "int32")
            for token, i in self._ids.ids.items():
                if len(token) == 1:
                    self._alone[ord(token)] = i
        return self._alone


def _is_special(token):
    """Tells whether a token is in brackets."""
    return token.startswith("[") and token.endswith("]")


def _chunks(texts):
    """Yields parts of a list with about `CHUNK` characters each."""
    start = total = 0
    for stop, text in enumerate(texts, start=1):
        total += len(text)
        if total >= CHUNK or stop == len(texts):
            yield texts[start:stop]
            start, total = stop, 0
