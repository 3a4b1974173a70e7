import numpy as np
import pytest

from su_models.tasks.character_endpoints import (
    decode_endpoint,
    encode_endpoint,
)
from su_models.tasks.quatrains import SPECIALS
from su_models.tasks.text import tokenizer_of
from tests.contract import to_numpy

TOKENIZER = tokenizer_of([*SPECIALS, "天", "地", "玄", "〇"])


def points(*texts):
    width = max(map(len, texts))
    rows = [[*map(ord, text), *[0] * (width - len(text))] for text in texts]
    return np.array(rows, "int32")


@pytest.mark.parametrize(
    "texts",
    [
        ["天地玄", "玄", "天犬"],
        ["天，\U0002a6a5"],
        ["天 地", "abc 12 天", "\t玄\u3000地\u00a0", "a天b9\u200d7c地", "x"],
        ["〇", "天〇〇地", "\u200b〇\u200b", "é\u0301天"],
    ],
)
def test_titles_become_the_ids_of_the_tokenizer(texts):
    encode, (signature,) = encode_endpoint(TOKENIZER, 12)
    assert signature.dtype == "int32" and signature.shape == (None, None)
    ids = to_numpy(encode(points(*texts))).astype(int)
    expected = TOKENIZER.encode_batch(texts, length=ids.shape[1])[0]
    assert ids.tolist() == expected.tolist()


def test_long_titles_are_cut():
    encode, _ = encode_endpoint(TOKENIZER, 2)
    ids = to_numpy(encode(points("天地玄", "地"))).astype(int)
    assert ids.tolist() == TOKENIZER.encode_batch(["天地", "地"])[0].tolist()


def test_ids_become_characters():
    decode, _ = decode_endpoint(TOKENIZER)
    ids = TOKENIZER.encode_batch(["天，地。"])[0]
    codes = to_numpy(decode(ids)).astype(int)
    assert codes.tolist() == [[0, *map(ord, "天，地。"), 0]]
    codes = to_numpy(decode(np.array([[-1, 99]], "int32"))).astype(int)
    assert codes.shape == (1, 2)
