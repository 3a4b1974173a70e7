import pytest

from su_models.compat.bert4keras import tokenizers
from su_models.compat.bert4keras.tokenizers import Tokenizer
from su_models.text import Tokenizer as OurTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "快", "a", "##b"]
VOCAB = {word: i for i, word in enumerate(WORDS)}


def test_every_name_is_there():
    for name in tokenizers.__all__:
        assert hasattr(tokenizers, name), name


def test_results_are_ours():
    ours, theirs = OurTokenizer(VOCAB), Tokenizer(VOCAB)
    for text in ("快ab!", "a b"):
        assert theirs.encode(text, "快", maxlen=6) == ours.encode(
            text, "快", maxlen=6
        )
    assert theirs._token_mask_id == 4 and theirs._vocab_size == 8
    assert theirs._token_dict == VOCAB and theirs._word_maxlen == 200
    assert Tokenizer._is_cjk_character("快")
    assert Tokenizer._is_punctuation("，")


def test_special_tokens_may_be_missing_and_set_later():
    # as in the example of Chinese chess
    tokenizer = Tokenizer({"[PAD]": 0, "1": 1, "a": 2})
    tokenizer._token_unk_id = 0
    assert tokenizer.encode("a 1 x") == ([0, 2, 1, 0, 0], [0] * 5)
    assert tokenizer._token_unk_id == tokenizer.token_unk_id == 0
    with pytest.raises(ValueError, match="must be in the vocabulary"):
        OurTokenizer({"[PAD]": 0, "a": 1})
