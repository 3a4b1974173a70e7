import copy
import pickle

import numpy as np
import pytest

from su_models.text import Tokenizer, save_vocab, tokenizer

VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("token", "##izer", "##s", "Token", "e", "##e", "ab", "a", "b", "c"),
    *("中", "国", "中国", "##国", "，", ",", "!", "3", ".", "'", "s", "ας"),
]
IDS = {token: i for i, token in enumerate(VOCABULARY)}
TEXTS = [
    "",
    "\n",
    "中国 Tokenizers, tokens!",
    "TOKENIZER\ntoken\n\ncab",
    "é É e\u0301 a\u200bb ΑΣ\u0301",
    "a" * 300 + " 中国" * 50,
    "😀a b\ud800 c",
    " 3.3 , it's",
]


def cased(**options):
    return Tokenizer(IDS, **options)


def uncased(**options):
    return Tokenizer(IDS, do_lower_case=True, **options)


def inner(tokens):
    return tokens[1:-1]


def test_words_are_cut_by_kind_of_character_and_into_pieces():
    tokens = cased().tokenize("中国，Tokenizers tokens 中国")
    assert tokens == [
        *("[CLS]", "中", "国", "，", "Token", "##izer", "##s"),
        *("token", "##s", "中", "国", "[SEP]"),
    ]


def test_lower_case_is_without_accents():
    assert inner(uncased().tokenize("TOKENs É ΑΣ")) == [
        *("token", "##s", "e", "ας")
    ]
    assert inner(cased().tokenize("É")) == ["É"]


def test_an_unknown_word_is_one_token():
    tokens = cased().tokenize("tokenx 㐀")
    assert inner(tokens) == ["tokenx", "㐀"]
    assert cased().tokens_to_ids(tokens) == [2, 1, 1, 3]
    assert cased().token_to_id("tokenx") == 1 == cased().token_unk_id


def test_words_longer_than_word_maxlen_are_not_cut():
    assert inner(cased(word_maxlen=5).tokenize("tokens token")) == [
        "tokens",
        "token",
    ]


@pytest.mark.parametrize("make", [cased, uncased])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"token_start": None},
        {"token_end": None},
        {"token_start": None, "token_end": None},
        {"token_translate": {"中": "国", "##s": "##e", "龘": "a", "x": ""}},
        {"word_maxlen": 4},
        {"pre_tokenize": str.split},
    ],
    ids=str,
)
def test_a_batch_is_its_rows(make, options, monkeypatch):
    one = make(**options)
    texts = [*TEXTS, "龘 中 x", *TEXTS[::-1]]
    rows = [one.encode(text)[0] for text in texts]
    for chunk in (1, 40, 2**17):
        monkeypatch.setattr(tokenizer, "CHUNK", chunk)
        ids, segments = one.encode_batch(texts)
        assert ids.shape[1] == max(map(len, rows)) and not segments.any()
        for row, padded in zip(rows, ids.tolist(), strict=True):
            assert padded == row + [0] * (len(padded) - len(row))


def test_pairs_in_a_batch():
    one = uncased()
    for maxlen in (None, 6):
        ids, segments = one.encode_batch(TEXTS, TEXTS[::-1], maxlen)
        pairs = zip(TEXTS, TEXTS[::-1], strict=True)
        for i, s, pair in zip(ids, segments, pairs, strict=True):
            row, numbers = one.encode(*pair, maxlen)
            assert i.tolist()[: len(row)] == row and not i[len(row) :].any()
            assert s.tolist()[: len(row)] == numbers


def test_a_subclass_with_its_own_tokens_has_them_in_batches():
    class Letters(Tokenizer):
        def _tokenize(self, text):
            return list(text)

    class Doubled(Tokenizer):
        def tokenize(self, text, maxlen=None):
            return 2 * super().tokenize(text, maxlen)

    for cls in (Letters, Doubled):
        one = cls(IDS)
        ids, _ = one.encode_batch(["abc"])
        assert ids.tolist() == [one.encode("abc")[0]]
        assert ids.shape[1] == {Letters: 5, Doubled: 6}[cls]


def test_words_are_cut_first():
    seen = []

    def words(text):
        seen.append(text)
        return ["中国", "token", "É", "tokens"]

    one = uncased(pre_tokenize=words)
    tokens = one.tokenize("ÉA")
    assert seen == ["ea"]
    # a word of the vocabulary stays whole, also one that is Chinese
    assert inner(tokens) == ["中国", "token", "e", "token", "##s"]


def test_translated_tokens_have_other_ids():
    one = cased(token_translate={"中": "国", "##s": "nowhere"})
    assert inner(one.tokenize("中 tokens")) == ["国", "token", "nowhere"]
    ids = [2, IDS["国"], IDS["token"], 1, 3]
    assert one.encode("中 tokens")[0] == ids
    assert one.encode_batch(["中 tokens"])[0].tolist() == [ids]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["[CLS]", "token", "##izer", "##s", "a", "[SEP]"], "tokenizers a"),
        (["中", "国", "token", "中", "a", "b"], "中国token中a b"),
        (["a", ",", "b", "，", "c", "中"], "a, b，c中"),
        (["it", "'", "s", "a"], "it's a"),
        (["3", ".", "1", "4", ".", "x"], "3.1 4. x"),
        (["a", "(", "b", ")", "-", "c"], "a(b) -c"),
        (["##a", "b"], "a b"),
        (["[UNK]", "[unused1]", "a"], "a"),
        (["##", "a"], "a"),
        (["[", "a", "]"], "[a]"),
        ([], ""),
    ],
)
def test_decoded_text_reads_well(tokens, text):
    assert cased().decode([], tokens) == text or not tokens
    vocabulary = IDS | {
        t: 100 + i for i, t in enumerate(tokens) if t not in IDS
    }
    one = Tokenizer(vocabulary)
    assert one.decode([vocabulary[t] for t in tokens]) == text
    assert one.decode(np.array([vocabulary[t] for t in tokens], int)) == text


def test_rematch_gives_places_in_the_text():
    text = " É中  Tokenizers\u200b!"
    places = uncased().rematch(text, uncased().tokenize(text))
    assert places == [
        *([], [1], [2], [5, 6, 7, 8, 9], [10, 11, 12, 13], [14], [16], [])
    ]


@pytest.mark.parametrize("make", [cased, uncased])
def test_rematch_gives_every_letter_a_place(make):
    for text in TEXTS[:5] + TEXTS[6:]:
        tokens = make().tokenize(text)
        places = make().rematch(text, tokens)
        assert places[0] == places[-1] == []
        assert sum(places, []) == sorted(sum(places, []))
        for token, some in zip(inner(tokens), inner(places), strict=True):
            letters = "".join(text[i] for i in some)
            assert (
                make().tokenize(letters)[1].removeprefix("##")[:1]
                == Tokenizer.stem(token)[:1]
            )
            if make is cased:
                assert letters == Tokenizer.stem(token)


def test_rematch_counts_the_characters_of_the_text_as_it_is():
    # in lower case "İ" has two, of which one is dropped
    text = "İİ中"
    tokens = uncased().tokenize(text)
    assert uncased().rematch(text, tokens) == [[], [0, 1], [2], []]


def test_ids_and_tokens():
    one = cased()
    assert one.ids_to_tokens([5, 6]) == ["token", "##izer"]
    assert one.tokens_to_ids(["token", "##izer", "?"]) == [5, 6, 1]
    assert one.stem("##izer") == Tokenizer.stem("izer") == "izer"


def test_attributes():
    one = Tokenizer(IDS, do_lower_case=True, word_maxlen=7)
    assert (one.token_pad_id, one.token_unk_id, one.token_start_id) == (0, 1, 2)
    assert (one.token_end_id, one.token_mask_id) == (3, 4)
    assert one.vocab_size == len(IDS) and one.token_dict == IDS
    assert one.token_dict is not IDS
    assert (one.do_lower_case, one.word_maxlen) == (True, 7)
    assert (one._token_end_id, one._vocab_size) == (3, len(IDS))
    assert one._token_dict_inv[2] == "[CLS]"


def test_a_token_that_is_not_there_has_no_id():
    one = Tokenizer({"[UNK]": 0, "a": 1}, token_start=None, token_end=None)
    for name in ("token_pad_id", "token_mask_id", "_token_start_id"):
        with pytest.raises(AttributeError, match=name):
            getattr(one, name)
    assert one.encode("a b")[0] == [1, 0]


def test_a_path_is_read(tmp_path):
    path = tmp_path / "vocab.txt"
    save_vocab(path, IDS)
    for given in (path, str(path)):
        assert Tokenizer(given).token_dict == IDS
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Tokenizer(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy])
def test_copies_and_pickles_are_equal(copied):
    one = uncased(token_start=None)
    text = TEXTS[2]
    one.encode_batch([text])
    content = pickle.dumps(one)
    assert len(content) < 2000  # the vocabulary, not the tables
    for other in (pickle.loads(content), copied(one)):
        assert other.encode(text) == one.encode(text)
        assert other.encode_batch([text])[0].tolist() == [one.encode(text)[0]]


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({"token_dict": {}}, r"token_dict=\{\}"),
        ({"token_dict": 5}, "token_dict=5"),
        ({"token_dict": {"a": 1, "b": 1}}, "1 for 'a' and 'b'"),
        ({"token_dict": {"[UNK]": 0}}, r"token_start='\[CLS\]'"),
        ({"token_end": "</s>"}, "token_end='</s>'"),
        ({"token_unk": "<unk>"}, "token_unk='<unk>'"),
        ({"token_unk": None}, "token_unk=None"),
        ({"do_lower_case": 1}, "do_lower_case=1"),
        ({"word_maxlen": -1}, "word_maxlen=-1"),
        ({"word_maxlen": 2.5}, "word_maxlen=2.5"),
    ],
)
def test_bad_options_are_refused(options, received):
    with pytest.raises(ValueError, match=f"Received: {received}$"):
        Tokenizer(**{"token_dict": IDS, **options})


def test_an_id_that_no_token_has_is_refused():
    for i in (-1, len(IDS), 1.5):
        with pytest.raises(ValueError, match=f"Received: i={i}$"):
            cased().decode([0, i])


def test_tokens_of_another_text_are_refused():
    with pytest.raises(ValueError, match="Received: 'b', not found after"):
        cased().rematch("a c", ["[CLS]", "a", "b"])
    with pytest.raises(ValueError, match="Received: text=5"):
        cased().rematch(5, [])
