import pytest

from su_models.text import load_vocab, save_vocab
from su_models.text.vocab import check_vocab, stem

TOKENS = ["[PAD]", "[UNK]", "a", "##b", "中国", "##中", "中", "!", "?!", "##!"]


def written(folder, text, encoding="utf-8"):
    path = folder / "vocab.txt"
    path.write_bytes(text.encode(encoding))
    return path


def test_ids_are_line_numbers(tmp_path):
    path = written(tmp_path, "\n".join(TOKENS))
    expected = {token: i for i, token in enumerate(TOKENS)}
    assert load_vocab(path) == load_vocab(str(path)) == expected
    written(tmp_path, "\n".join(TOKENS) + "\n")
    assert load_vocab(path) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_token_ends_at_the_first_space(end, tmp_path):
    text = end.join(["a 12", "  b", "\u3000", "c\t7", "d\u2028e", ""])
    assert load_vocab(written(tmp_path, text)) == {
        "a": 0,
        "b": 1,
        "": 2,
        "c": 3,
        "d": 4,
    }


def test_a_byte_order_mark_is_no_part_of_the_first_token(tmp_path):
    path = written(tmp_path, "[PAD]\na", "utf-8-sig")
    assert load_vocab(path) == {"[PAD]": 0, "a": 1}


def test_another_encoding(tmp_path):
    path = written(tmp_path, "中\n国", "gb18030")
    assert load_vocab(path, "gb18030") == {"中": 0, "国": 1}
    with pytest.raises(ValueError, match="Not a text in utf-8 .*dict_path="):
        load_vocab(path)


def test_simplified_leaves_out_what_no_text_has(tmp_path):
    path = written(tmp_path, "\n".join(TOKENS))
    tokens, kept = load_vocab(path, simplified=True)
    assert tokens == {"a": 0, "##b": 1, "中": 2, "!": 3}
    assert kept == [2, 3, 6, 7]
    first = ["[UNK]", "中国", "a"]
    tokens, kept = load_vocab(path, simplified=True, startswith=first)
    assert list(tokens) == ["[UNK]", "中国", "a", "##b", "中", "!"]
    assert list(tokens.values()) == list(range(6))
    assert kept == [1, 4, 2, 3, 6, 7]
    # as in bert4keras, `startswith` is of no effect by itself
    assert load_vocab(path, startswith=first) == load_vocab(path)


@pytest.mark.parametrize("first", [["[CLS]"], ["a", "a"]])
def test_startswith_must_be_in_the_vocabulary(first, tmp_path):
    path = written(tmp_path, "\n".join(TOKENS))
    with pytest.raises(ValueError, match="`startswith` .*Received: startswit"):
        load_vocab(path, simplified=True, startswith=first)


@pytest.mark.parametrize("text", ["", "\n", "  \n"])
def test_an_empty_file_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="empty vocabulary.*dict_path="):
        load_vocab(written(tmp_path, text))


def test_a_repeated_token_is_refused(tmp_path):
    path = written(tmp_path, "a\nb\nc\nb x\n")
    with pytest.raises(ValueError, match="Received: 'b' in lines 2 and 4 of"):
        load_vocab(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        load_vocab(tmp_path / "nowhere.txt")


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "new.txt"
    vocabulary = {token: i for i, token in enumerate(TOKENS + [""])}
    shuffled = dict(sorted(vocabulary.items(), key=lambda item: item[0]))
    save_vocab(path, shuffled)
    assert path.read_text("utf-8").split("\n") == [*TOKENS, "", ""]
    assert load_vocab(path) == vocabulary
    save_vocab(str(path), {"中": 0}, encoding="gb18030")
    assert path.read_bytes() == "中\n".encode("gb18030")


@pytest.mark.parametrize(
    ("vocabulary", "received"),
    [
        ({"a": 0, "b": 2}, "2 tokens, with ids from 0 to 2"),
        ({"a b": 0}, "'a b'"),
        ({"\n": 0}, r"'\\n'"),
        ({" ": 0}, "' '"),
        ({"a\u3000": 0}, r"'a\\u3000'"),
    ],
)
def test_what_would_read_otherwise_is_not_saved(vocabulary, received, tmp_path):
    path = written(tmp_path, "old")
    with pytest.raises(ValueError, match=f"to be a file. Received: {received}"):
        save_vocab(path, vocabulary)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_failed_save_leaves_the_file(tmp_path):
    path = written(tmp_path, "old")
    with pytest.raises(UnicodeEncodeError):
        save_vocab(path, {"中": 0}, encoding="ascii")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("vocabulary", "received"),
    [
        ({}, r"token_dict=\{\}"),
        (["a"], r"token_dict=\['a'\]"),
        (None, "token_dict=None"),
        ({"a": 0.0}, "'a' with 0.0"),
        ({"a": True}, "'a' with True"),
        ({"a": -1}, "'a' with -1"),
        ({b"a": 0}, "b'a' with 0"),
        ({"a": 0, "b": 0}, "0 for 'a' and 'b'"),
    ],
)
def test_what_is_no_vocabulary_is_refused(vocabulary, received):
    with pytest.raises(ValueError, match=f"Received: {received}$"):
        check_vocab(vocabulary)


def test_stem():
    assert [stem(t) for t in ("##ing", "ing", "##", "a##b")] == [
        "ing",
        "ing",
        "",
        "a##b",
    ]
