"""Classes of characters in BERT's tokenizer, and tables of them."""

import bisect
import functools
import re
import unicodedata

import numpy as np

# Kinds of characters. Words are runs of KEPT characters; an ALONE character is
# a word of its own; DROPPED characters do not end a word.
DROPPED, SPACE, ALONE, KEPT = range(4)
_UNKNOWN = 255

# pairs of the first code point of a range of Chinese ideographs and its end
_CJK = (
    *(0x3400, 0x4DC0, 0x4E00, 0xA000, 0xF900, 0xFB00),
    *(0x20000, 0x2A6E0, 0x2A700, 0x2CEB0, 0x2F800, 0x2FA20),
)
_BMP = 0x10000  # from here on, a character class of `re` is a slow list
_ALL = 0x110000


def is_cjk(character):
    """Tells whether a character is a Chinese ideograph."""
    return bisect.bisect_right(_CJK, ord(character)) % 2 == 1


def is_punctuation(character):
    """Tells whether a character is punctuation.

    Punctuation means Unicode's punctuation, and all other characters of ASCII
    except letters, digits and spaces.
    """
    if character.isascii():
        return character.isprintable() and not (
            character.isalnum() or character == " "
        )
    return unicodedata.category(character).startswith("P")


def character_kind(character):
    """Returns `DROPPED`, `SPACE`, `ALONE` or `KEPT`.

    Control and format characters and U+FFFD are dropped; spaces are tab, line
    feed, carriage return and all separators of Unicode.
    """
    if is_punctuation(character) or is_cjk(character):
        return ALONE
    category = unicodedata.category(character)
    if character in "\t\n\r" or category.startswith("Z"):
        return SPACE
    if character == "\ufffd" or category in ("Cc", "Cf"):
        return DROPPED
    return KEPT


class CharacterTable:
    """Splits text into words by the kinds of its characters.

    The tables are filled when characters occur.

    Args:
        drop_marks: bool. Whether nonspacing marks (accents, after canonical
            decomposition) are also dropped.
    """

    def __init__(self, drop_marks):
        self.drop_marks = drop_marks
        self._kinds = np.full(_ALL, _UNKNOWN, "uint8")
        self._spaced = _Spaced(self.kind)
        common = self.kinds(np.arange(_BMP))
        alone, kept = (_ranges(common == kind) for kind in (ALONE, KEPT))
        self._words = re.compile(f"[{alone}]|[{kept}]+")
        self._rare = re.compile(
            f"[{_ranges(common == DROPPED)}{chr(_BMP)}-{chr(_ALL - 1)}]"
        )

    def kind(self, character):
        """Returns the kind of one character."""
        if self.drop_marks and unicodedata.category(character) == "Mn":
            return DROPPED
        return character_kind(character)

    def kinds(self, codes):
        """Returns the kinds of an array of code points, as uint8."""
        kinds = self._kinds[codes]
        new = kinds == _UNKNOWN
        if new.any():
            met = np.unique(codes[new])
            found = map(self.kind, map(chr, met.tolist()))
            self._kinds[met] = np.fromiter(found, "uint8", len(met))
            kinds = self._kinds[codes]
        return kinds

    def split(self, text):
        """Returns the words of a text, in a list."""
        if self._rare.search(text):
            return text.translate(self._spaced).split()
        return self._words.findall(text)

    def strip(self, text):
        """Returns a text without its dropped characters."""
        if not self._rare.search(text):
            return text
        return "".join(c for c in text if self.kind(c) != DROPPED)


class _Spaced(dict):
    """Maps code points to their replacements for `str.translate`."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def __missing__(self, code):
        character = chr(code)
        self[code] = {
            DROPPED: "",
            SPACE: " ",
            ALONE: f" {character} ",
            KEPT: character,
        }[self.kind(character)]
        return self[code]


@functools.cache
def character_table(drop_marks):
    """Returns the cached `CharacterTable` of that kind."""
    return CharacterTable(drop_marks)


def lower_and_decompose(text):
    """Returns a text in lower case and canonical decomposition (NFD)."""
    return unicodedata.normalize("NFD", text.lower())


def strip_marks(text):
    """Returns a text without its nonspacing marks."""
    if text.isascii():
        return text
    return "".join(c for c in text if unicodedata.category(c) != "Mn")


def _ranges(chosen):
    """Returns chosen code points as the inside of a character class."""
    edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False))
    pairs = edges.reshape(-1, 2).tolist()
    return "".join(rf"\u{a:04x}-\u{b - 1:04x}" for a, b in pairs)
