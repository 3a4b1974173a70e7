"""Vocabularies with selected tokens of a checkpoint, and compound tokens."""

import numpy as np

from su_models.utils.checks import is_integer


def reduced_size(vocab_size, keep_tokens, compound_tokens):
    """Returns the number of rows of a reduced vocabulary.

    Args:
        vocab_size: int > 0. Rows of the whole vocabulary.
        keep_tokens: optional list of ids to keep.
        compound_tokens: optional list of lists of ids, each of which adds one
            row; or of pairs `(ids, weights)`.

    Raises:
        ValueError: if an id is not an integer from 0 to `vocab_size` - 1, or
            an id of `compound_tokens` is not a row of the kept vocabulary.
    """
    size = vocab_size
    if keep_tokens is not None:
        _check_ids("keep_tokens", keep_tokens, size)
        size = len(keep_tokens)
    for item in compound_tokens or []:
        _check_ids("compound_tokens", _ids_and_weights(item)[0], size)
    return size + len(compound_tokens or [])


def reduced_rows(rows, keep_tokens, compound_tokens):
    """Returns the rows of a table for a reduced vocabulary.

    Args:
        rows: array `(vocab_size, ...)`.
        keep_tokens, compound_tokens: see `reduced_size`.
    """
    if keep_tokens is not None:
        rows = rows[np.asarray(keep_tokens)]
    made = [
        np.average(rows[np.asarray(ids)], axis=0, weights=weights)
        for ids, weights in map(_ids_and_weights, compound_tokens or [])
    ]
    return np.concatenate([rows, made]).astype(rows.dtype) if made else rows


def row_chooser(vocab_size, keep_tokens, compound_tokens):
    """Returns a function from a checkpoint's table to the model's, or None.

    Args:
        vocab_size: int > 0. Rows that the table must have.
        keep_tokens, compound_tokens: see `reduced_size`.

    Returns:
        A function from an array `(vocab_size, ...)` to the array of the
        reduced vocabulary, which raises a `ValueError` for another number of
        rows; None if the vocabulary is not reduced.
    """
    if keep_tokens is None and compound_tokens is None:
        return None

    def rows(table):
        if len(table) != vocab_size:
            raise ValueError(
                "The checkpoint must have as many tokens as `vocab_size` "
                f"says. Received: vocab_size={vocab_size}, {len(table)} tokens "
                "in the checkpoint"
            )
        return reduced_rows(table, keep_tokens, compound_tokens)

    return rows


def _ids_and_weights(item):
    """Returns `(ids, weights)`; None as weights means a mean."""
    if isinstance(item, tuple):
        return item
    return item, None


def _check_ids(name, ids, size):
    wrong = [i for i in ids if not is_integer(i) or not 0 <= i < size]
    if wrong or not len(ids):
        raise ValueError(
            f"`{name}` must be ids from 0 to {size - 1}. "
            f"Received: {name} with {wrong[:5] if wrong else ids!r}"
        )
