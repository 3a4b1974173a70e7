"""What a tokenizer has from its base, whatever its tokens are."""

import builtins
import itertools

import numpy as np
import pytest

from su_models.text.base import PATTERNS, TokenizerBase, check_texts


class Letters(TokenizerBase):
    """Every character is a token, and its code point the id."""

    def _tokenize(self, text):
        return list(text)

    def token_to_id(self, token):
        return ord(token[0])

    def id_to_token(self, i):
        return chr(i)


def letters(start="<", end=">", **options):
    return Letters(token_start=start, token_end=end, **options)


def text_of(ids):
    return "".join(map(chr, ids))


def truncated(sequences, maxlen, indices):
    """As bert4keras does: the longest loses one token after the other."""
    while sum(map(len, sequences)) > maxlen:
        longest = int(np.argmax([len(s) for s in sequences]))
        sequences[longest].pop(indices[longest])
    return sequences


def literal(tokenizer, first, second, maxlen, pattern, indices):
    """bert4keras' `encode`, step by step, on single characters."""
    start, end = tokenizer.token_start or "", tokenizer.token_end or ""
    sequences = [[*start, *first, *end]]
    if second is not None:
        sequences.append([*start, *second, *end])
    shared = second is not None and pattern == "S*E*E"
    if maxlen is not None:
        truncated(sequences, maxlen + bool(shared and start), indices)
    if shared and start:
        sequences[1].pop(0)
    return "".join(sum(sequences, [])), sum(
        ([i] * len(s) for i, s in enumerate(sequences)), []
    )


def test_start_and_end_surround_the_tokens():
    assert letters().tokenize("abc") == ["<", "a", "b", "c", ">"]
    assert letters(start=None).tokenize("") == [">"]
    assert letters(end=None).tokenize("a") == ["<", "a"]
    assert letters(None, None).tokenize("") == []


@pytest.mark.parametrize("maxlen", [2, 3, 4, 5, 9])
def test_tokenize_leaves_out_the_last_before_the_end(maxlen):
    short = letters().tokenize("abc", maxlen)
    assert "".join(short) == "<" + "abc"[: maxlen - 2] + ">"
    assert letters(None, None).tokenize("abcde", 2) == ["a", "b"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("ends", [("<", ">"), (None, ">"), (None, None)])
def test_encode_is_bert4keras_step_by_step(ends, pattern):
    tokenizer = letters(*ends)
    indices = {
        "right": -1 - (ends[1] is not None),
        "left": int(ends[0] is not None),
    }
    for i, j in itertools.product((0, 1, 2, 5, 9), (None, 0, 1, 2, 5, 9)):
        first, second = "abcdefghi"[:i], None if j is None else "ABCDEFGHI"[:j]
        for maxlen in (None, 5, 6, 9, 10, 30):
            for side, index in indices.items():
                ids, segments = tokenizer.encode(
                    first, second, maxlen, pattern, side
                )
                expected = literal(
                    tokenizer, first, second, maxlen, pattern, [index] * 2
                )
                assert (text_of(ids), segments) == expected


@pytest.mark.parametrize("truncate_from", [-4, -1, 0, 2, [-2, 1], (3, -3)])
def test_tokens_are_taken_out_at_any_place(truncate_from):
    tokenizer = letters()
    indices = truncate_from
    if isinstance(truncate_from, int):
        indices = [truncate_from] * 2
    for first, second in (("abcdefg", "ABCDEF"), ("abcdefg", None)):
        for maxlen in (8, 9, 11):
            ids, segments = tokenizer.encode(
                first, second, maxlen, truncate_from=truncate_from
            )
            expected = literal(
                tokenizer, first, second, maxlen, "S*E*E", indices
            )
            assert (text_of(ids), segments) == expected


def test_lists_of_tokens_are_taken_as_they_are_and_stay():
    first, second = ["<", "a", "b", "c", ">"], ["<", "d", "e", ">"]
    ids, segments = letters().encode(first, second, 6)
    assert text_of(ids) == "<a>de>" and segments == [0] * 3 + [1] * 3
    assert len(first) == 5 and len(second) == 4
    assert text_of(letters().encode(("a", "b"))[0]) == "ab"


def test_translated_tokens_keep_start_and_end():
    tokenizer = letters(token_translate={"a": "b", "<": "x", "c": ""})
    assert tokenizer.tokenize("<ac") == ["<", "x", "b", "c", ">"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("maxlen", [None, 6, 8])
@pytest.mark.parametrize("truncate_from", ["right", "left", [2, -3]])
def test_a_batch_is_its_rows(truncate_from, maxlen, pattern):
    tokenizer = letters()
    first = ["", "abc", "abcdefgh", "a", "ab"]
    second = ["ABCDEF", "", "ABCDEFGH", "A", "ABCDEFGHI"]
    if truncate_from == [2, -3]:
        first = [text + "..." for text in first]
        second = [text + "..." for text in second]
    for others in (None, second):
        ids, segments = tokenizer.encode_batch(
            first, others, maxlen, pattern, truncate_from
        )
        rows = [
            tokenizer.encode(a, b, maxlen, pattern, truncate_from)
            for a, b in zip(first, others or [None] * 5, strict=True)
        ]
        longest = max(len(row) for row, _ in rows)
        assert ids.shape == segments.shape == (5, longest)
        assert ids.dtype == segments.dtype == "int32"
        for i, s, (row, numbers) in zip(ids, segments, rows, strict=True):
            padding = [0] * (longest - len(row))
            assert i.tolist() == row + padding
            assert s.tolist() == numbers + padding


def test_a_batch_of_one_length():
    ids, _ = letters().encode_batch(["a", "bcd"], length=8)
    assert ids.shape == (2, 8) and not ids[:, 5:].any()
    ids, _ = letters().encode_batch(["a", "bcd"], maxlen=4, length=4)
    assert ids.shape == (2, 4)
    with pytest.raises(ValueError, match="Received: length=4, a row of 5"):
        letters().encode_batch(["a", "bcd"], length=4)


def test_an_empty_batch():
    for others in (None, []):
        ids, segments = letters().encode_batch([], others, maxlen=5)
        assert ids.shape == segments.shape == (0, 0)
    assert letters().encode_batch([], length=7)[0].shape == (0, 7)


def test_texts_may_stand_in_an_array():
    ids, _ = letters().encode_batch(np.array(["a", "bc"]))
    assert ids.shape == (2, 4)


def test_bert4keras_names_of_attributes():
    tokenizer = letters(pre_tokenize=str.split, token_translate={"a": "b"})
    assert tokenizer._token_start == "<" and tokenizer._token_end == ">"
    assert tokenizer._pre_tokenize is str.split
    assert tokenizer._token_translate == {"a": "b"}
    for name in ("_nothing", "nothing", "__nothing__"):
        with pytest.raises(AttributeError, match=f"`Letters` .* `{name}`"):
            getattr(tokenizer, name)


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({"token_start": 1}, "token_start=1"),
        ({"token_end": ["a"]}, r"token_end=\['a'\]"),
        ({"pre_tokenize": "words"}, "pre_tokenize='words'"),
        ({"pre_tokenize": 3}, "pre_tokenize=3"),
    ],
)
def test_bad_options_are_refused(options, received):
    with pytest.raises(ValueError, match=f"Received: {received}$"):
        Letters(**options)


@pytest.mark.parametrize(
    ("method", "arguments", "received"),
    [
        ("tokenize", (b"a",), "text=b'a'"),
        ("tokenize", (None,), "text=None"),
        ("tokenize", ("abc", 0), "maxlen=0"),
        ("tokenize", ("abc", 1), "maxlen=1"),
        ("tokenize", ("abc", 2.0), "maxlen=2.0"),
        ("encode", (5,), "first_text=5"),
        ("encode", ([1, 2],), "first_text=1"),
        ("encode", ("a", b"b"), "second_text=b'b'"),
        ("encode", ("a", "b", 2), "maxlen=2"),
        ("encode", ("a", None, 1), "maxlen=1"),
        ("encode", ("a", None, 3, "S*E"), r"pattern='S\*E'"),
        ("encode", ("abc", None, 3, "S*E*E", "middle"), "truncate_from='mi"),
        ("encode", ("abc", None, 3, "S*E*E", 1.0), "truncate_from=1.0"),
        ("encode", ("abc", None, 3, "S*E*E", -5), "maxlen=3"),
        ("encode", ("abc", None, 3, "S*E*E", 4), "maxlen=3"),
        ("encode", ("abc", "d", 3, "S*E*E", [1]), r"truncate_from=\[1\]"),
        ("encode_batch", ("abc",), "first_texts='abc'"),
        ("encode_batch", (["a", 1],), r"first_texts=\['a', 1\]"),
        ("encode_batch", (["a"], "b"), "second_texts='b'"),
        ("encode_batch", (["a", "b"], ["c"]), "1 and 2"),
        ("encode_batch", (["a", "bc"], None, 1), "maxlen=1"),
        ("encode_batch", (["a"], ["b"], 2), "maxlen=2"),
        ("encode_batch", (["a"], None, 0), "maxlen=0"),
        ("encode_batch", (["a"], None, None, "S"), "pattern='S'"),
        ("encode_batch", (["a"], None, None, "S*E*E", "right", -1), "length=-"),
    ],
)
def test_bad_calls_are_refused(method, arguments, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        getattr(letters(), method)(*arguments)


def test_what_fits_needs_no_room():
    # a cut that is not made takes nothing
    assert text_of(letters().encode(["a"], None, 1)[0]) == "a"
    assert text_of(letters().encode("abc", "d", 7)[0]) == "<abc>d>"
    assert letters().encode_batch(["abc"], ["d"], 7)[0].shape == (1, 7)


def test_check_texts_reads_a_list_once():
    texts = ["a", "b"]
    assert check_texts("texts", texts) is texts


def test_jieba_takes_words_of_its_dictionary():
    pytest.importorskip("jieba")
    words = letters(pre_tokenize="jieba").pre_tokenize("北京大学的学生")
    assert list(words) == ["北京大学", "的", "学生"]


def test_without_jieba_the_extra_is_named(monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments):
        if name == "jieba":
            raise ImportError(name)
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install .su_models\[jieba\]"):
        letters(pre_tokenize="jieba")
