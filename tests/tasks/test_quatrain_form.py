import numpy as np
import pytest
from keras import ops

from su_models.generation import RandomSampling
from su_models.tasks.quatrain_form import (
    LONGEST,
    QuatrainForm,
    lines_of,
    rhymes,
)
from su_models.tasks.quatrains import SPECIALS
from tests.contract import to_numpy
from tests.tasks.poems import LETTERS, numbers

TOKENS = (*SPECIALS, "a", *LETTERS)
RHYMES = tuple(numbers(TOKENS))
KNOWN = dict(zip(TOKENS, RHYMES, strict=True))
FIVE = "天地玄黄宇，宙洪荒日月。盈昃辰宿列，张寒来暑往。"


def text(ids):
    tokens = [TOKENS[i] for i in ids if i]
    assert tokens.pop() == "[SEP]"
    return "".join(tokens)


def drawn(form, n=60):
    """Poems of characters that are all equally probable."""
    search = RandomSampling(
        LONGEST, n, end_id=TOKENS.index("[SEP]"), allowed_tokens=form
    )

    def step(tokens, cache, index):
        return ops.zeros((1, n, len(TOKENS))), cache

    uniforms = np.random.default_rng(0).random((1, n, LONGEST))
    made = search(step, ops.array([1]), (), uniforms=uniforms)
    assert to_numpy(made.status).tolist() == [-1]
    return [text(ids) for ids in to_numpy(made.ids)[0].astype(int)]


@pytest.mark.parametrize("length", [None, 5, 7])
def test_every_poem_keeps_the_form(length):
    poems = drawn(QuatrainForm(TOKENS, length))
    lengths = {len(lines_of(poem)[0]) for poem in poems}
    assert lengths == ({5, 7} if length is None else {length})
    assert not all(rhymes(poem, KNOWN) for poem in poems)
    assert {*"".join(poems)} == {*LETTERS, "，", "。"}


@pytest.mark.parametrize("length", [None, 5, 7])
def test_every_poem_rhymes(length):
    poems = drawn(QuatrainForm(TOKENS, length, RHYMES))
    assert all(rhymes(poem, KNOWN) for poem in poems)
    lengths = {len(lines_of(poem)[0]) for poem in poems}
    assert lengths == ({5, 7} if length is None else {length})


def test_a_character_that_rhymes_with_no_other_does_not_end_the_second_line():
    alone = tuple(9 if t == "天" else n for t, n in KNOWN.items())
    for poem in drawn(QuatrainForm(TOKENS, 5, alone)):
        assert poem[10] != "天"


def test_the_lines_of_a_quatrain_are_found():
    assert lines_of(FIVE) == FIVE[:-1].replace("。", "，").split("，")
    seven = FIVE.replace("，", "天天，").replace("。", "天天。")
    assert len(lines_of(seven)[3]) == 7


@pytest.mark.parametrize(
    "poem",
    [
        "",
        FIVE[:-1],
        FIVE + "。",
        FIVE.replace("，", "。"),
        FIVE.replace("天", "a"),
        FIVE[1:],
        FIVE[:12],
        FIVE.replace("，", "天，").replace("。", "天。"),  # of six characters
        FIVE.replace("地", "，"),
    ],
)
def test_other_texts_are_no_quatrains(poem):
    assert lines_of(poem) is None
    assert not rhymes(poem, KNOWN)


def test_equal_characters_do_not_rhyme():
    table = {"月": 1, "往": 1, "列": 2}
    assert rhymes(FIVE, table)
    assert not rhymes(FIVE, {"月": 1, "往": 2})
    assert not rhymes(FIVE, {})
    assert not rhymes(FIVE.replace("往", "月"), table)


def test_equal_forms_share_a_program():
    forms = {QuatrainForm(TOKENS, 5, RHYMES) for _ in range(2)}
    assert len(forms | {QuatrainForm(TOKENS, 5)}) == 2


@pytest.mark.parametrize(
    "arguments, match",
    [
        ((TOKENS, 6), "Received: line_length=6"),
        ((TOKENS[:4],), "tokens without"),
        ((TOKENS, 5, RHYMES[1:]), "Received: rhymes="),
        ((TOKENS, 5, (0,) * len(TOKENS)), "without a rhyme"),
        ((TOKENS, 5, tuple(range(len(TOKENS)))), "without a rhyme"),
    ],
)
def test_bad_arguments_are_rejected(arguments, match):
    with pytest.raises(ValueError, match=match):
        QuatrainForm(*arguments)
