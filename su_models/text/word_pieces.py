"""Cached splitting of words into the pieces of a vocabulary."""

MOST_WORDS = 2**17


class WordPieces(dict):
    """Maps a word to the tuple of its pieces by WordPiece.

    From the left, the longest piece in the vocabulary is split off; pieces
    inside a word begin with `##`. A word that cannot be split, or is longer
    than `word_maxlen`, is its own only piece.

    A word is split when it is first looked up. The pieces of at most
    `MOST_WORDS` words are cached.

    Args:
        token_dict: dict whose keys are the vocabulary.
        word_maxlen: int. Longer words are not split.

    Example:

    >>> from su_models.text.word_pieces import WordPieces
    >>> WordPieces({"un": 0, "##known": 1}, word_maxlen=200)["unknown"]
    ('un', '##known')
    """

    def __init__(self, token_dict, word_maxlen):
        super().__init__()
        self.token_dict = token_dict
        self.word_maxlen = word_maxlen
        self.longest = max(map(len, token_dict), default=0)

    def __missing__(self, word):
        if len(word) > self.word_maxlen:
            return (word,)
        if len(self) >= MOST_WORDS:
            self.clear()
        pieces = self[word] = self._cut(word)
        return pieces

    def _cut(self, word):
        pieces, start, prefix = [], 0, ""
        while start < len(word):
            # no piece is longer than the longest token
            for stop in range(min(len(word), start + self.longest), start, -1):
                piece = prefix + word[start:stop]
                if piece in self.token_dict:
                    break
            else:
                return (word,)
            pieces.append(piece)
            start, prefix = stop, "##"
        return tuple(pieces)


class PieceIds(dict):
    """Maps a word to the tuple of the ids of its pieces.

    Args:
        pieces: `WordPieces`.
        ids: dict from tokens to ids.
        unknown: int, the id of all other tokens.
    """

    def __init__(self, pieces, ids, unknown):
        super().__init__()
        self.pieces = pieces
        self.ids = ids
        self.unknown = unknown

    def __missing__(self, word):
        get, unknown = self.ids.get, self.unknown
        ids = tuple(get(piece, unknown) for piece in self.pieces[word])
        if len(word) <= self.pieces.word_maxlen:
            if len(self) >= MOST_WORDS:
                self.clear()
            self[word] = ids
        return ids
