"""A SentencePiece model of a few pieces, made here."""

import builtins
import io

import pytest

from su_models.text import SpTokenizer

SENTENCES = [f"the {a} {b} 中国{a}" for a in "abcdefgh" for b in "ijklmno"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    train = pytest.importorskip("sentencepiece").SentencePieceTrainer.train
    model = io.BytesIO()
    train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=40,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=2,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("sp") / "sp.model"
    path.write_bytes(model.getvalue())
    return path


def test_pieces_are_the_models(path):
    one = SpTokenizer(path, token_start=None, token_end="</s>")
    tokens = one.tokenize("the a 中国")
    assert tokens == [*"▁the▁a", "▁中国", "</s>"]
    ids, segments = one.encode("the a 中国")
    assert ids[-1] == 2 and segments == [0] * len(ids)
    assert one.ids_to_tokens(ids) == tokens
    assert one.decode(ids) == "the a 中国"
    assert one.encode("the a 中国", maxlen=3)[0] == ids[:2] + [2]


def test_a_batch_is_its_rows(path):
    one = SpTokenizer(str(path), token_start=None, token_end="</s>")
    texts = ["the a", "", "中国 b i 龘"]
    ids, _ = one.encode_batch(texts)
    for row, text in zip(ids.tolist(), texts, strict=True):
        expected = one.encode(text)[0]
        assert row == expected + [0] * (len(row) - len(expected))


def test_attributes(path):
    one = SpTokenizer(path, token_start=None, token_end="</s>")
    assert (one.token_pad, one.token_unk) == ("<pad>", "<unk>")
    assert (one.token_pad_id, one.token_unk_id, one._token_end_id) == (0, 1, 2)
    assert one.vocab_size == one.sp_model.get_piece_size()
    assert one.id_to_token(one.vocab_size) == ""
    assert one.token_to_id("nowhere") == 1
    assert not hasattr(one, "token_mask_id")


def test_words_and_translations(path):
    one = SpTokenizer(
        path,
        token_start=None,
        token_end=None,
        pre_tokenize=lambda text: [text[:1], text[1:]],
        token_translate={"a": "b"},
    )
    tokens = one.tokenize("abi")
    assert tokens == [*"▁b▁bi"]
    assert one.decode(one.tokens_to_ids(tokens)) == "a ai"


@pytest.mark.parametrize("name", ["token_start", "token_end"])
def test_tokens_must_be_the_models(name, path):
    options = {"token_start": None, "token_end": None, name: "[CLS]"}
    with pytest.raises(ValueError, match=rf"Received: {name}='\[CLS\]'"):
        SpTokenizer(path, **options)


def test_what_is_no_model_is_refused(path, tmp_path):
    for content in (b"", b"no model", path.read_bytes()[:-100]):
        other = tmp_path / "other.model"
        other.write_bytes(content)
        with pytest.raises(ValueError, match="Received: sp_model_path=.*other"):
            SpTokenizer(other, token_start=None, token_end=None)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SpTokenizer(tmp_path / "nowhere")
    one = SpTokenizer(path, token_start=None, token_end=None)
    with pytest.raises(ValueError, match="Received: i=-1"):
        one.id_to_token(-1)


def test_without_sentencepiece_the_extra_is_named(monkeypatch, tmp_path):
    imported = builtins.__import__

    def without(name, *arguments):
        if name == "sentencepiece":
            raise ImportError(name)
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"su_models\[sentencepiece\]"):
        SpTokenizer(tmp_path / "nowhere")
