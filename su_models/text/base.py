"""Base of the tokenizers: start and end tokens, pairs, truncation."""

import warnings

import numpy as np

from su_models.text.batches import cut_rows, join_rows
from su_models.text.truncation import kept_ends, truncated_lengths
from su_models.utils.checks import check_choice, check_integer, check_size

PATTERNS = ("S*E*E", "S*ES*E")
_SIDES = ("right", "left")


class TokenizerBase:
    """Base of tokenizers with bert4keras' signatures.

    A subclass defines `_tokenize(text)`, `token_to_id(token)`,
    `id_to_token(i)` and `decode(ids)`.

    bert4keras stores the arguments of a tokenizer under names that begin with
    an underscore, and scripts read e.g. `_token_end_id`. Each attribute is
    therefore also available under such a name.

    Args:
        token_start, token_end: str, or None for no such token.
        pre_tokenize: optional function from a text to a list of words, which
            are then split further. `"jieba"` uses the words of jieba's
            dictionary, without guessing new ones (`HMM=False`), as in the
            training of RoFormer and WoBERT; it needs the extra `jieba`.
        token_translate: optional dict from tokens to their replacements.

    Raises:
        ValueError: if an argument is not as described.
        ImportError: if jieba is requested but not installed.
    """

    def __init__(
        self,
        token_start="[CLS]",
        token_end="[SEP]",
        pre_tokenize=None,
        token_translate=None,
    ):
        for name, token in ("start", token_start), ("end", token_end):
            if token is not None:
                check_text(f"token_{name}", token)
        if pre_tokenize is not None and not callable(pre_tokenize):
            check_choice("pre_tokenize", pre_tokenize, (None, "jieba"))
            pre_tokenize = _jieba_words()
        self.token_start = token_start
        self.token_end = token_end
        self.pre_tokenize = pre_tokenize
        self.token_translate = dict(token_translate or {})

    def __getattr__(self, name):
        # called only for missing attributes: bert4keras' names
        attributes = self.__dict__
        if name.startswith("_") and name[1:] in attributes:
            return attributes[name[1:]]
        raise AttributeError(
            f"`{type(self).__name__}` has no attribute `{name}`"
        )

    def tokenize(self, text, maxlen=None):
        """Returns the tokens of a text, with `token_start` and `token_end`.

        Args:
            text: str.
            maxlen: optional int. Largest number of tokens; the last tokens
                before `token_end` are dropped.

        Raises:
            ValueError: if `text` is not a string, or `maxlen` leaves no room
                for `token_start` and `token_end`.
        """
        tokens = self._tokenize(check_text("text", text))
        if self.token_translate:
            get = self.token_translate.get
            tokens = [get(token) or token for token in tokens]
        if self.token_start is not None:
            tokens.insert(0, self.token_start)
        if self.token_end is not None:
            tokens.append(self.token_end)
        if maxlen is not None:
            self._truncate([tokens], check_size("maxlen", maxlen), "right", 0)
        return tokens

    def encode(
        self,
        first_text,
        second_text=None,
        maxlen=None,
        pattern="S*E*E",
        truncate_from="right",
    ):
        """Returns the ids and segment ids of one or two texts.

        Args:
            first_text: str, or a list of tokens, which are not changed.
            second_text: optional, like `first_text`.
            maxlen: optional int. Largest number of ids. While there are more,
                the longer of the two texts loses a token (the first text, if
                both are equally long).
            pattern: `"S*E*E"`: start, first text, end, second text, end; or
                `"S*ES*E"`, where the second text also has a start token.
            truncate_from: where tokens are dropped: `"right"`, before the end
                token; `"left"`, after the start token; an int, the index in
                the list of tokens; or two of these, one for each text.

        Returns:
            `(token_ids, segment_ids)`, lists of int of equal length; segment
            ids are 0 for the first text and 1 for the second.

        Raises:
            ValueError: if an argument is not as described, or `maxlen` leaves
                no room for the start and end tokens.
        """
        check_choice("pattern", pattern, PATTERNS)
        sequences = [self._tokens("first_text", first_text)]
        if second_text is not None:
            sequences.append(self._tokens("second_text", second_text))
        shared = self._shares_start(sequences, pattern)
        if maxlen is not None:
            maxlen = check_size("maxlen", maxlen)
            self._truncate(sequences, maxlen, truncate_from, shared)
        if shared:
            del sequences[1][:1]
        token_ids, segment_ids = [], []
        for segment, tokens in enumerate(sequences):
            token_ids += self.tokens_to_ids(tokens)
            segment_ids += [segment] * len(tokens)
        return token_ids, segment_ids

    def encode_batch(
        self,
        first_texts,
        second_texts=None,
        maxlen=None,
        pattern="S*E*E",
        truncate_from="right",
        length=None,
    ):
        """Encodes many texts like `encode`, and pads the results with 0.

        Args:
            first_texts: list of str.
            second_texts: optional list of str of the same length.
            maxlen, pattern, truncate_from: see `encode`.
            length: optional int, the number of columns of the result.
                Defaults to the length of the longest row.

        Returns:
            `(token_ids, segment_ids)`, int32 arrays `(batch, length)`.

        Raises:
            ValueError: if an argument is not as described, `maxlen` leaves no
                room for the start and end tokens, or `length` is less than
                the length of a row.
        """
        check_choice("pattern", pattern, PATTERNS)
        length = check_integer("length", length, least=0, optional=True)
        parts = [self._batch_ids(check_texts("first_texts", first_texts))]
        if second_texts is not None:
            check_texts("second_texts", second_texts)
            if len(second_texts) != len(first_texts):
                raise ValueError(
                    "`second_texts` must be as long as `first_texts`. "
                    f"Received: {len(second_texts)} and {len(first_texts)}"
                )
            parts.append(self._batch_ids(second_texts))
        shared = self._shares_start(parts, pattern)
        if maxlen is not None:
            cuts = self._cuts(
                [counts for _, counts in parts],
                check_size("maxlen", maxlen),
                truncate_from,
                shared,
            )
            parts = [
                cut_rows(*part, *cut)
                for part, cut in zip(parts, cuts, strict=True)
            ]
        if shared:
            ids, counts = parts[1]
            parts[1] = cut_rows(ids, counts, counts - 1, 0)
        return join_rows(parts, length)

    def tokens_to_ids(self, tokens):
        """Returns the ids of tokens, in a list."""
        return [self.token_to_id(token) for token in tokens]

    def ids_to_tokens(self, ids):
        """Returns the tokens of ids, in a list."""
        return [self.id_to_token(i) for i in ids]

    def token_to_id(self, token):
        """Returns the id of a token."""
        raise NotImplementedError

    def id_to_token(self, i):
        """Returns the token of an id."""
        raise NotImplementedError

    def decode(self, ids):
        """Returns the text of ids."""
        raise NotImplementedError

    def _tokenize(self, text):
        """Returns the tokens of a text, without start and end."""
        raise NotImplementedError

    def _batch_ids(self, texts):
        """Returns `(ids, counts)`: ids of all texts, and the number of each."""
        rows = [self.tokens_to_ids(self.tokenize(text)) for text in texts]
        counts = np.fromiter(map(len, rows), "int64", len(rows))
        ids = [np.array(row, "int32") for row in rows]
        return np.concatenate([np.zeros(0, "int32"), *ids]), counts

    def _find_ids(self, find):
        """Sets `token_start_id` and the ids of the other special tokens.

        Args:
            find: function from a token to its id, or None if it has no id.
        """
        for name in ("unk", "pad", "mask", "start", "end"):
            token = getattr(self, f"token_{name}")
            if token is None:
                continue
            i = find(token)
            if i is not None:
                setattr(self, f"token_{name}_id", i)
            elif name not in ("pad", "mask"):
                raise ValueError(
                    f"`token_{name}` must be in the vocabulary"
                    f"{'' if name == 'unk' else ', or None'}. "
                    f"Received: token_{name}={token!r}"
                )

    def _tokens(self, name, text):
        """Returns the tokens of a text, or a copy of a list of tokens."""
        if isinstance(text, str):
            return self.tokenize(text)
        if isinstance(text, (list, tuple)):
            return [check_text(name, token) for token in text]
        raise ValueError(
            f"`{name}` must be a string, or a list of tokens. "
            f"Received: {name}={text!r}"
        )

    def _shares_start(self, sequences, pattern):
        """Tells whether the start token of the second text is omitted."""
        return (
            len(sequences) > 1
            and pattern == "S*E*E"
            and self.token_start is not None
        )

    def _truncate(self, sequences, maxlen, truncate_from, shared):
        """Shortens lists of tokens in place."""
        lengths = [len(tokens) for tokens in sequences]
        if sum(lengths) <= maxlen + shared:
            return
        cuts = self._cuts(lengths, maxlen, truncate_from, shared)
        for tokens, (kept, index) in zip(sequences, cuts, strict=True):
            front, end = kept_ends(len(tokens), kept, index)
            del tokens[int(front) : len(tokens) - int(end)]

    def _cuts(self, lengths, maxlen, truncate_from, shared):
        """Returns the number of kept tokens of each sequence, and the index.

        Args:
            lengths: list of integers, or of integer arrays.
            shared: bool. Whether a start token is omitted afterwards.

        Raises:
            ValueError: if the start or the end token would be dropped.
        """
        indices = self._indices(truncate_from, len(lengths))
        kept = truncated_lengths(maxlen + shared, *lengths)
        specials = (self.token_start is not None) + (self.token_end is not None)
        for length, fewer, index in zip(lengths, kept, indices, strict=True):
            before = max(index, -index - 1)  # these tokens are kept
            least = max(specials, before)
            if np.any((fewer < length) & (fewer < least)):
                raise ValueError(
                    "`maxlen` must leave room for the start and end tokens, "
                    "and for the tokens that `truncate_from` keeps. "
                    f"Received: maxlen={maxlen}"
                )
        return list(zip(kept, indices, strict=True))

    def _indices(self, truncate_from, number):
        """Returns the index at which each sequence loses tokens."""
        if isinstance(truncate_from, (list, tuple)):
            wanted = list(truncate_from)
        else:
            wanted = [truncate_from] * number
        if len(wanted) < number:
            raise ValueError(
                "`truncate_from` must have one entry for each text. "
                f"Received: truncate_from={truncate_from!r}"
            )
        sides = {
            "right": -1 - (self.token_end is not None),
            "left": int(self.token_start is not None),
        }
        return [
            sides[check_choice("truncate_from", side, _SIDES)]
            if isinstance(side, str)
            else check_integer("truncate_from", side)
            for side in wanted[:number]
        ]


def check_text(name, text):
    """Returns `text`, or raises if it is not a string."""
    if not isinstance(text, str):
        raise ValueError(
            f"`{name}` must be a string. Received: {name}={text!r}"
        )
    return text


def check_texts(name, texts):
    """Returns `texts`, or raises if it is not a list of strings."""
    if isinstance(texts, str) or not all(isinstance(t, str) for t in texts):
        raise ValueError(
            f"`{name}` must be a list of strings. Received: {name}={texts!r}"
        )
    return texts


def _jieba_words():
    """Returns jieba's function from a text to its words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba imports deprecated modules
            import jieba
    except ImportError as error:
        raise ImportError(
            '`pre_tokenize="jieba"` needs `pip install "su_models[jieba]"`'
        ) from error
    return lambda text: jieba.lcut(text, HMM=False)
