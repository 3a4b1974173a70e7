import random

import pytest

from su_models.text import word_pieces
from su_models.text.word_pieces import PieceIds, WordPieces

VOCABULARY = ["a", "ab", "##b", "##bc", "##c", "abcd", "##dd", "##ddd", "x"]


def literal(word, vocabulary, word_maxlen):
    """Longest piece first, from the left; all or nothing."""
    if len(word) > word_maxlen:
        return [word]
    pieces, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start:
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
            end -= 1
        if end == start:
            return [word]
        pieces.append(piece)
        start = end
    return pieces


@pytest.mark.parametrize("word_maxlen", [0, 1, 4, 200])
def test_same_as_the_rule(word_maxlen):
    draw = random.Random(0)
    pieces = WordPieces(dict.fromkeys(VOCABULARY), word_maxlen)
    cut = 0
    for _ in range(3000):
        word = "".join(draw.choices("abcdx", k=draw.randrange(9)))
        expected = literal(word, VOCABULARY, word_maxlen)
        for _ in range(2):  # the second time as it was remembered
            assert [*pieces[word]] == expected
        cut += len(expected) > 1
    assert cut > 50 or word_maxlen < 2


def test_a_word_is_cut_once():
    class Counting(dict):
        looked_up = 0

        def __contains__(self, token):
            self.looked_up += 1
            return super().__contains__(token)

    vocabulary = Counting.fromkeys(VOCABULARY)
    pieces = WordPieces(vocabulary, 200)
    assert pieces["abc"] == ("ab", "##c")
    number = vocabulary.looked_up
    assert pieces["abc"] == ("ab", "##c") and vocabulary.looked_up == number


def test_a_long_word_takes_time_by_the_longest_token(monkeypatch):
    class Counting(dict):
        looked_up = 0

        def __contains__(self, token):
            self.looked_up += 1
            return super().__contains__(token)

    vocabulary = Counting.fromkeys(["a", "##aaaa", "##a"])
    WordPieces(vocabulary, 10**6)["a" * 1001]
    assert vocabulary.looked_up < 1000  # not 1001² / 2


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(word_pieces, "MOST_WORDS", 10)
    pieces = WordPieces({"a": 0, "##a": 1}, 50)
    ids = PieceIds(pieces, pieces.token_dict, 7)
    for n in range(1, 100):
        assert ids["a" * n] == ((0,) + (1,) * (n - 1) if n <= 50 else (7,))
        assert len(pieces) <= 10 and len(ids) <= 10


def test_ids_are_those_of_the_pieces():
    pieces = WordPieces({"a": 0, "##b": 1}, 200)
    ids = PieceIds(pieces, {"a": 5, "##b": 6}, unknown=9)
    assert ids["ab"] == (5, 6) and ids["abc"] == (9,)
