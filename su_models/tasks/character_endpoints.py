"""Characters to ids and back, as functions of tensors for the export."""

import functools
import sys

import keras
import numpy as np
from keras import ops

from su_models.text.characters import ALONE, DROPPED, KEPT, character_table


def encode_endpoint(tokenizer, max_length):
    """Returns the endpoint from text to ids, for `export_saved_model`.

    The artifact's function takes int32 code points `(batch, n)`, 0 at the end
    of a row, as of `tf.strings.unicode_decode`, and returns int32 ids `(batch,
    m + 2)`, with the start and the end token and 0 after it. m is n, at most
    `max_length`; further characters are left out. The ids are those of the
    tokenizer: spaces have none, and a word of several letters or digits is one
    unknown token.

    Args:
        tokenizer: a `Tokenizer` whose ordinary tokens are characters.
        max_length: int > 0.
    """
    codes = _codes(tokenizer)
    # the last entry is for greater code points
    table = np.full(max(codes) + 2, tokenizer.token_unk_id, "int32")
    table[codes] = np.arange(len(codes))
    start, end = tokenizer.token_start_id, tokenizer.token_end_id

    def encode(code_points):
        x = ops.clip(code_points[:, :max_length], 0, len(_kinds()) - 1)
        kinds = ops.take(ops.convert_to_tensor(_kinds()), x)
        # 0 is a control character, so padding is dropped too
        x, kinds = _compact(kinds != DROPPED, x, kinds)
        kept = kinds == KEPT
        before = ops.pad(kept, [[0, 0], [1, 0]])[:, :-1]
        after = ops.pad(kept, [[0, 0], [0, 1]])[:, 1:]
        ids = ops.take(
            ops.convert_to_tensor(table), ops.minimum(x, len(table) - 1)
        )
        # a word of several characters has no token
        word = kept & (before | after)
        ids = ops.where(word, tokenizer.token_unk_id, ids)
        some = (kinds == ALONE) | (kept & ops.logical_not(before))
        lengths = ops.sum(ops.cast(some, "int32"), axis=1)[:, None]
        (ids,) = _compact(some, ids)
        ids = ops.pad(ids, [[0, 0], [1, 1]])  # (b, m + 2)
        place = ops.arange(ops.shape(ids)[1], dtype="int32")
        ids = ops.where(place > lengths, 0, ids)
        ids = ops.where(place == lengths + 1, end, ids)
        return ops.where(place == 0, start, ids)

    return encode, [_matrix("code_points")]


def decode_endpoint(tokenizer):
    """Returns the endpoint from ids to text, for `export_saved_model`.

    The artifact's function takes int32 ids `(batch, n)` and returns int32 code
    points of the same shape, 0 for tokens that are no characters.

    Args:
        tokenizer: a `Tokenizer` whose ordinary tokens are characters.
    """
    codes = np.array(_codes(tokenizer), "int32")

    def decode(ids):
        known = ops.clip(ids, 0, len(codes) - 1)
        return ops.take(ops.convert_to_tensor(codes), known)

    return decode, [_matrix("ids")]


@functools.cache
def _kinds():
    """Returns the kind of each code point, int32."""
    every = np.arange(sys.maxunicode + 1)
    return character_table(drop_marks=False).kinds(every).astype("int32")


def _compact(chosen, *tensors):
    """Returns tensors `(b, m)`, the chosen entries first, the others 0."""
    m = ops.shape(chosen)[1]
    place = ops.arange(m, dtype="int32") + 0 * ops.cast(chosen, "int32")
    order = ops.argsort(ops.where(chosen, place, place + m), axis=1)
    return [
        ops.take_along_axis(ops.where(chosen, x, 0), order, axis=1)
        for x in tensors
    ]


def _codes(tokenizer):
    """Returns the code point of each token, 0 for special ones."""
    tokens = tokenizer.ids_to_tokens(range(tokenizer.vocab_size))
    return [ord(token) if len(token) == 1 else 0 for token in tokens]


def _matrix(name):
    return keras.InputSpec(shape=(None, None), dtype="int32", name=name)
