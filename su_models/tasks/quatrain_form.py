"""The form of a quatrain (绝句): the lengths of its lines, and its rhyme."""

import dataclasses
import functools

import numpy as np
from keras import ops

from su_models.text.characters import is_cjk
from su_models.utils.checks import check_integers

LINE_LENGTHS = (5, 7)
LONGEST = 4 * (7 + 1) + 1  # tokens of the longest quatrain and its end
COMMA, STOP, END = "，", "。", "[SEP]"
_CHARACTER, _COMMA, _STOP, _END = range(4)


@dataclasses.dataclass(frozen=True)
class QuatrainForm:
    """Allows only quatrains; an `allowed_tokens` of `generate`.

    A quatrain has four lines of five, or of seven, Chinese characters. A comma
    follows the odd lines, a full stop the even ones. The last characters of
    the second and of the fourth line rhyme, and are not equal.

    Forms of equal arguments are equal, so that one compiled program serves
    them.

    Args:
        tokens: tuple of str, the vocabulary.
        line_length: 5 or 7, or None for either, as the first line turns out.
        rhymes: optional tuple of integers, the number of the rhyme of each
            token; 0 for none. If None, no rhyme is required.

    Call arguments:
        tokens: int32 `(n, 33)`, the generated tokens.
        step: int32 scalar, the number of columns that are known.

    Returns:
        Booleans `(n, vocabulary)`.

    Raises:
        ValueError: if an argument is not as described, the vocabulary lacks a
            mark, or no two of its characters rhyme.
    """

    tokens: tuple[str, ...]
    line_length: int | None = None
    rhymes: tuple[int, ...] | None = None

    def __post_init__(self):
        if self.line_length not in (None, *LINE_LENGTHS):
            raise ValueError(
                "`line_length` must be 5, 7 or None. "
                f"Received: line_length={self.line_length!r}"
            )
        missing = [x for x in (COMMA, STOP, END) if x not in self.tokens]
        if missing:
            raise ValueError(
                f"`tokens` must contain {COMMA}, {STOP} and {END}. "
                f"Received: tokens without {missing}"
            )
        if self.rhymes is not None:
            check_integers("rhymes", self.rhymes, 0, len(self.tokens))
            if not self._rhyming.any():
                raise ValueError(
                    "`rhymes` must have two characters that rhyme. "
                    f"Received: {len(self.rhymes)} tokens without a rhyme"
                )

    def __call__(self, tokens, step):
        if self.line_length is not None:
            return self._allowed(self.line_length, tokens, step)
        five, seven = (self._allowed(n, tokens, step) for n in LINE_LENGTHS)
        ended = tokens[:, 5:6] == self.tokens.index(COMMA)  # (n, 1)
        # until the first line ends, or does not end, both are possible
        return ops.where(step <= 5, five | seven, ops.where(ended, five, seven))

    def _allowed(self, length, tokens, step):
        """Returns the mask for lines of one length, `(n, v)` or `(1, v)`."""
        kind = ops.take(ops.convert_to_tensor(self._kinds(length)), step)
        allowed = ops.take(ops.convert_to_tensor(self._masks), kind, axis=0)
        allowed = allowed[None]  # (1, v)
        if self.rhymes is None:
            return allowed
        second, fourth = 2 * length, 4 * length + 2  # the ends of these lines
        numbers = ops.convert_to_tensor(np.array(self.rhymes, "int32"))
        before = tokens[:, second]  # (n,)
        other = ops.arange(len(self.tokens), dtype="int32") != before[:, None]
        same = (numbers == ops.take(numbers, before)[:, None]) & other
        some = ops.convert_to_tensor(self._rhyming)
        allowed = allowed & (some | (step != second))
        return allowed & (same | (step != fourth))

    @functools.cached_property
    def _characters(self):
        """Whether each token is a Chinese character, `(v,)`."""
        return np.array([len(t) == 1 and is_cjk(t) for t in self.tokens])

    @functools.cached_property
    def _masks(self):
        """Whether each token is of each kind, `(4, v)`."""
        tokens = np.array(self.tokens)
        marks = [tokens == mark for mark in (COMMA, STOP, END)]
        return np.stack([self._characters, *marks])

    @functools.cached_property
    def _rhyming(self):
        """Whether each token is a character that rhymes with another one."""
        numbers = np.where(self._characters, self.rhymes, 0)
        return (numbers > 0) & (np.bincount(numbers)[numbers] > 1)

    def _kinds(self, length):
        """Returns the kind of token at each step, int32 `(33,)`."""
        line = [_CHARACTER] * length
        kinds = 2 * [*line, _COMMA, *line, _STOP]
        return np.array(kinds + [_END] * (LONGEST - len(kinds)), "int32")


def lines_of(poem):
    """Returns the four lines of a quatrain, or None if it is none.

    Args:
        poem: str.

    Example:

    >>> from su_models.tasks.quatrain_form import lines_of
    >>> lines_of("床前明月光，疑是地上霜。举头望明月，低头思故乡。")
    ['床前明月光', '疑是地上霜', '举头望明月', '低头思故乡']
    """
    length = len(poem) // 4 - 1
    if length not in LINE_LENGTHS:
        return None
    starts = [i * (length + 1) for i in range(4)]
    lines = [poem[i : i + length] for i in starts]
    marks = "".join(poem[i + length] for i in starts)
    right = len(poem) == 4 * (length + 1) and marks == 2 * (COMMA + STOP)
    return lines if right and all(map(is_cjk, "".join(lines))) else None


def rhymes(poem, numbers):
    """Tells whether a text is a quatrain that rhymes.

    Args:
        poem: str.
        numbers: dict from characters to the numbers of their rhymes.
    """
    lines = lines_of(poem)
    if lines is None:
        return False
    second, fourth = lines[1][-1], lines[3][-1]
    number = numbers.get(second, 0)
    return number > 0 and second != fourth and numbers.get(fourth) == number
