"""Prompts of any form as arrays of a few shapes."""

import numpy as np

from su_models.utils.checks import MAX_SEED, check_seed

SHORTEST = 16  # least length of an array of prompts


class Prompts:
    """Checked prompts.

    Args:
        token_ids: integers `(batch, n)`, right-padded, or a list of lists.
        segment_ids: optional integers of the same shape.
        lengths: optional integers `(batch,)`. By default, zeros at the end of
            a prompt are padding.
        vocab_size: int, the number of tokens.

    Attributes:
        tokens, segments: int32 arrays `(batch, n)`, 0 at padding; `segments`
            may be None.
        lengths: int32 array `(batch,)`.

    Raises:
        ValueError: if an argument is not as described, a prompt is empty, or
            an id is not in the vocabulary.
    """

    def __init__(self, token_ids, segment_ids, lengths, vocab_size):
        tokens = _array("token_ids", token_ids)
        if tokens.min() < 0 or tokens.max() >= vocab_size:
            wrong = tokens[(tokens < 0) | (tokens >= vocab_size)]
            raise ValueError(
                f"`token_ids` must be from 0 to {vocab_size - 1}. "
                f"Received: token_ids with {wrong[0]}"
            )
        self.lengths = _lengths(tokens, lengths)
        real = np.arange(tokens.shape[1]) < self.lengths[:, None]
        self.tokens = np.where(real, tokens, 0).astype("int32")
        self.segments = None
        if segment_ids is not None:
            _check_rows(token_ids, segment_ids)
            segments = _array("segment_ids", segment_ids)
            if segments.shape != tokens.shape:
                raise ValueError(
                    "`segment_ids` must be of the shape of `token_ids`, "
                    f"{tokens.shape}. Received: segment_ids of shape "
                    f"{segments.shape}"
                )
            if segments.min() < 0:
                raise ValueError(
                    "`segment_ids` must not be negative. Received: "
                    f"segment_ids with {segments.min()}"
                )
            self.segments = np.where(real, segments, 0).astype("int32")

    def __len__(self):
        return len(self.tokens)

    def padded(self, rows, most=None):
        """Returns tokens, segments and lengths of some prompts.

        The length is that of the longest, rounded up to a power of two, so
        that prompts of many lengths have few shapes.

        Args:
            rows: indices of the prompts.
            most: optional int, the greatest length of the arrays.
        """
        lengths = self.lengths[rows]
        length = bucket(lengths.max(), most)
        segments = self.segments
        return (
            _resized(self.tokens[rows], length),
            None if segments is None else _resized(segments[rows], length),
            lengths,
        )


def bucket(length, most=None):
    """Returns a power of two, at least 16 and `length`, at most `most`."""
    size = max(SHORTEST, 2 ** int(np.ceil(np.log2(max(length, 1)))))
    return size if most is None else min(size, max(most, length))


def uniforms(seed, count, shape):
    """Returns uniform numbers of each prompt, `(count, *shape)`, float32.

    They depend on the seed and on the position of the prompt, or only on the
    seed of the prompt.

    Args:
        seed: None, an int, or an int for each prompt.
        count: int, the number of prompts.
        shape: shape of the numbers of a prompt.

    Raises:
        ValueError: if `seed` is none of these.
    """
    if isinstance(seed, (list, tuple, np.ndarray)) and np.ndim(seed) == 1:
        if any(s is None for s in seed):
            raise ValueError(
                f"`seed` must be integers. Received: seed={seed!r}"
            )
        if len(seed) != count:
            raise ValueError(
                f"`seed` must be an integer, or one for each of the {count} "
                f"prompts. Received: seed={seed!r}"
            )
        keys = [(check_seed(s), 0) for s in seed]
    else:
        seed = check_seed(seed)
        if seed is None:
            seed = int(np.random.default_rng().integers(MAX_SEED))
        keys = [(seed, i) for i in range(count)]
    drawn = [
        np.random.Generator(np.random.Philox(key=key)).random(shape, "float32")
        for key in keys
    ]
    return np.stack(drawn)


def _array(name, ids):
    """Returns integers `(batch, n)`; lists are padded with zeros."""
    if not hasattr(ids, "shape"):
        rows = [np.asarray(row) for row in ids] if _is_list(ids) else [None]
        if any(row is None or row.ndim != 1 for row in rows):
            raise ValueError(
                f"`{name}` must be (batch, length), or a list of lists. "
                f"Received: {name}={ids!r}"
            )
        length = max((len(row) for row in rows), default=0)
        ids = np.zeros((len(rows), length), "int64")
        for row, values in zip(ids, rows, strict=True):
            if len(values) and values.dtype.kind not in "iu":
                raise ValueError(
                    f"`{name}` must be integers. Received: {name} with {values}"
                )
            row[: len(values)] = values
    ids = np.asarray(ids)
    if ids.ndim != 2 or not ids.size or ids.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` must be integers (batch, length), not empty. "
            f"Received: {name} of shape {ids.shape} and dtype {ids.dtype}"
        )
    return ids


def _check_rows(token_ids, segment_ids):
    """Rejects lists of segments that are longer or shorter than the ids."""
    if _is_list(token_ids) and _is_list(segment_ids):
        pairs = zip(token_ids, segment_ids, strict=False)
        for row, (ids, segments) in enumerate(pairs):
            if len(ids) != len(segments):
                raise ValueError(
                    "`segment_ids` must be as long as `token_ids`. Received: "
                    f"{len(ids)} ids and {len(segments)} segments in prompt "
                    f"{row}"
                )


def _is_list(x):
    return isinstance(x, (list, tuple))


def _lengths(tokens, lengths):
    batch, n = tokens.shape
    if lengths is None:
        ends = np.where(tokens != 0, np.arange(1, n + 1), 0)
        lengths = ends.max(axis=1)
        if not lengths.all():
            raise ValueError(
                "A prompt must hold a token other than 0, which is padding; "
                "otherwise pass `prompt_lengths`. Received: token_ids with an "
                f"empty prompt, {int(lengths.argmin())}"
            )
        return lengths.astype("int32")
    lengths = np.asarray(lengths)
    if (
        lengths.shape != (batch,)
        or lengths.dtype.kind not in "iu"
        or lengths.min() < 1
        or lengths.max() > n
    ):
        raise ValueError(
            f"`prompt_lengths` must be {batch} integers from 1 to {n}. "
            f"Received: prompt_lengths={lengths}"
        )
    return lengths.astype("int32")


def _resized(ids, length):
    """Returns ids `(batch, length)`, cut or padded with zeros."""
    ids = ids[:, :length]
    return np.pad(ids, [[0, 0], [0, length - ids.shape[1]]])
