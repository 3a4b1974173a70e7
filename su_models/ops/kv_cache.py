"""Keys and values of the tokens so far, in room for those to come."""

from keras import ops


def update_cache(cache, new, index):
    """Returns `cache` with `new` written from slot `index` on.

    The room does not grow, so one compiled step serves every position. For
    decoding only: TensorFlow has no gradient of the one-index form.

    Args:
        cache: `(batch, slots, ...)`.
        new: `(batch, n, ...)`, with `n` not more than the slots from `index`
            on; beyond the last slot the backends differ in what they do.
        index: a scalar, or integers `(batch,)`, one slot a sample.

    Raises:
        ValueError: if `new` does not fit, as far as this is known.
    """
    slots, n = cache.shape[1], new.shape[1]
    known = isinstance(index, int) and None not in (slots, n)
    if known and not 0 <= index <= slots - n:
        raise ValueError(
            f"{n} tokens from `cache_index` on do not fit in a cache of "
            f"{slots} slots. Received: cache_index={index}"
        )
    index = ops.cast(ops.convert_to_tensor(index), "int32")
    new = ops.cast(new, cache.dtype)
    if len(index.shape) == 0:
        start = [0] * len(cache.shape)
        start[1] = index
        return ops.slice_update(cache, start, new)
    b, n = ops.shape(new)[:2]
    row = ops.reshape(ops.arange(b), (-1, 1))  # (b, 1)
    slot = ops.expand_dims(index, 1) + ops.arange(n)  # (b, n)
    where = ops.stack([row + ops.zeros_like(slot), slot], axis=-1)
    return ops.scatter_update(
        cache,
        ops.reshape(where, (-1, 2)),
        ops.reshape(new, (-1, *cache.shape[2:])),
    )
