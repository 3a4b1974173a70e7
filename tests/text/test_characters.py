"""Classes of characters: the rules read literally, one character at a time."""

import unicodedata

import numpy as np
import pytest

from su_models.text.characters import (
    ALONE,
    DROPPED,
    KEPT,
    SPACE,
    CharacterTable,
    character_kind,
    character_table,
    is_cjk,
    is_punctuation,
    lower_and_decompose,
    strip_marks,
)

SAMPLE = [
    *range(0x3100),
    *range(0x3300, 0x11000, 37),
    *range(0x1F300, 0x1F700),
    *(0x33FF, 0x3400, 0x4DBF, 0x4DC0, 0x4DFF, 0x4E00, 0x9FFF, 0xA000),
    *(0xF8FF, 0xF900, 0xFAFF, 0xFB00, 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFF),
    *(0x20000, 0x2A6DF, 0x2A6E0, 0x2A6FF, 0x2A700, 0x2B73F, 0x2B740, 0x2B81F),
    *(0x2B820, 0x2CEAF, 0x2CEB0, 0x2F7FF, 0x2F800, 0x2FA1F, 0x2FA20),
    *(0xD800, 0xDFFF, 0xE0001, 0xE0100, 0xF0000, 0x10FFFF),
]


def literal(character):
    """The kinds as Google's BERT and bert4keras define them."""
    code, category = ord(character), unicodedata.category(character)
    ascii_marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    if character in ascii_marks or category[0] == "P":
        return ALONE
    for first, last in (
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0x2B820, 0x2CEAF),
        (0xF900, 0xFAFF),
        (0x2F800, 0x2FA1F),
    ):
        if first <= code <= last:
            return ALONE
    if character in " \n\r\t" or category == "Zs":
        return SPACE
    if code in (0, 0xFFFD) or category in ("Cc", "Cf"):
        return DROPPED
    return SPACE if character.isspace() else KEPT  # as `str.split` does


def test_kinds_are_those_of_the_rules():
    for character in map(chr, SAMPLE):
        assert character_kind(character) == literal(character), ascii(character)


def test_marks_are_dropped_from_text_in_lower_case_only():
    codes = np.array(SAMPLE)
    cased, uncased = character_table(False), character_table(True)
    marks = np.array([unicodedata.category(chr(c)) == "Mn" for c in SAMPLE])
    assert 100 < marks.sum() < 2000
    literally = np.array([literal(chr(c)) for c in SAMPLE])
    for _ in range(2):  # the second time from the tables
        np.testing.assert_array_equal(cased.kinds(codes), literally)
        expected = np.where(marks, DROPPED, literally)
        np.testing.assert_array_equal(uncased.kinds(codes), expected)


@pytest.mark.parametrize("drop_marks", [False, True])
def test_splitting_is_by_kind(drop_marks):
    table = CharacterTable(drop_marks)
    draw = np.random.default_rng(0)
    for size in (0, 1, 5, 50, 500):
        for codes in (draw.choice(SAMPLE, size), draw.choice(0x3100, size)):
            text = "".join(map(chr, codes.tolist()))
            spaced = ""
            for c in text:
                mark = drop_marks and unicodedata.category(c) == "Mn"
                kind = DROPPED if mark else literal(c)
                shown = {DROPPED: "", SPACE: " ", ALONE: f" {c} ", KEPT: c}
                spaced += shown[kind]
            assert table.split(text) == spaced.split()
            kept = [c for c in text if table.kind(c) != DROPPED]
            assert table.strip(text) == "".join(kept)


def test_what_is_dropped_does_not_end_a_word():
    table = character_table(False)
    assert table.split("a\u200bb\x00c d\ufffd") == ["abc", "d"]
    assert table.split("\x00\u200b") == []


def test_tables_are_shared():
    assert character_table(True) is character_table(True)
    assert character_table(True) is not character_table(False)


def test_lower_case_is_that_of_the_whole_text():
    assert lower_and_decompose("ΑΣ ΑΣΑ") == "ας ασα"  # a final sigma
    assert strip_marks(lower_and_decompose("İÉが")) == "ieか"
    assert lower_and_decompose("가") == "\u1100\u1161"


def test_an_ideograph_is_no_punctuation():
    assert is_cjk("中") and not is_punctuation("中")
    assert is_punctuation("。") and not is_cjk("。")
    assert not is_punctuation(" ") and not is_punctuation("\x7f")
