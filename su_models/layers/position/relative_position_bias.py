"""Bias of attention scores by relative position."""

import math

import keras
import numpy as np
from keras import ops

from su_models.backend.take_rows import take_rows
from su_models.layers.position.relative_positions import (
    relative_positions,
    relative_shape,
)
from su_models.utils.checks import check_flag, check_size


@keras.saving.register_keras_serializable(package="su_models")
class RelativePositionBias(keras.layers.Layer):
    """Biases attention scores by head and bucket of distances (T5).

    Article: https://kexue.fm/archives/8130
        《让研究人员绞尽脑汁的Transformer位置编码》
    Paper: https://arxiv.org/abs/1910.10683

        q_i·k_j + β_ij,   β_ij = table[f(i - j)]              Eq. (10)

    f gives each near distance its own bucket; farther distances share buckets
    of logarithmically growing width, and all distances from `max_distance` on
    share the last one. Pass the result to `MultiHeadAttention` as
    `attention_bias`; one layer serves all blocks. It needs no mask, since it
    reads only the length of its inputs.

    Args:
        num_heads: int > 0. Number of heads.
        num_buckets: int > 0. Number of buckets; even if bidirectional.
        max_distance: int. All distances from this one on share a bucket.
        bidirectional: bool. Whether keys after the query have their own half
            of the buckets (encoders). If False, they count as distance 0
            (decoders, which mask them).
        embeddings_initializer: initializer of the table.

    Call arguments:
        query: any tensor `(batch, n, ...)`; only its length is read.
        value: any tensor `(batch, m, ...)`; only its length is read. Defaults
            to `query`, unless `key_positions` are given.
        positions: integers, `(n,)` or `(batch, n)`, of the queries. Defaults
            to 0, ..., n - 1.
        key_positions: integers, `(m,)` or `(batch, m)`, of the keys, such as
            the slots of a cache. Defaults to 0, ..., m - 1.

    Returns:
        A tensor `(1, num_heads, n, m)`, or `(batch, num_heads, n, m)` for
        positions of each sample.

    Raises:
        ValueError: if there are too few buckets, `max_distance` does not
            exceed the near distances, or `positions` do not fit.

    Example:

    >>> bias = su_models.layers.RelativePositionBias(num_heads=4)
    >>> x = keras.random.normal((2, 7, 64))
    >>> tuple(bias(x).shape)
    (1, 4, 7, 7)
    >>> attention = su_models.layers.MultiHeadAttention(
    ...     4, 16, attention_scale=False
    ... )
    >>> tuple(attention(x, attention_bias=bias(x)).shape)
    (2, 7, 64)
    """

    def __init__(
        self,
        num_heads,
        num_buckets=32,
        max_distance=128,
        bidirectional=True,
        embeddings_initializer="uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = check_size("num_heads", num_heads)
        self.num_buckets = check_size("num_buckets", num_buckets)
        self.max_distance = check_size("max_distance", max_distance)
        self.bidirectional = check_flag("bidirectional", bidirectional)
        sides = 2 if bidirectional else 1
        if num_buckets % sides or num_buckets < 2 * sides:
            raise ValueError(
                "`num_buckets` must be at least 2, or even and at least 4 if "
                f"bidirectional. Received: num_buckets={num_buckets}, "
                f"bidirectional={bidirectional}"
            )
        if max_distance <= num_buckets // sides // 2:
            raise ValueError(
                "`max_distance` must exceed the number of near distances, "
                f"{num_buckets // sides // 2}. "
                f"Received: max_distance={max_distance}"
            )
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
        )
        self.supports_masking = True

    def build(
        self,
        query_shape,
        value_shape=None,
        positions_shape=None,
        key_positions_shape=None,
    ):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_buckets, self.num_heads),
            initializer=self.embeddings_initializer,
        )
        self.built = True

    def call(self, query, value=None, positions=None, key_positions=None):
        distance = relative_positions(
            query, value, positions, key_positions
        )  # (1|b, n, m)
        top = self.max_distance
        index = ops.clip(distance, -top, top) + top  # (1|b, n, m)
        buckets = ops.take(ops.convert_to_tensor(self._buckets()), index)
        bias = take_rows(
            self.embeddings, buckets, check=False
        )  # (1|b, n, m, h)
        return ops.transpose(bias, (0, 3, 1, 2))  # (1|b, h, n, m)

    def _buckets(self):
        """Returns the bucket of each distance j - i from -top to top."""
        size = self.num_buckets // 2 if self.bidirectional else self.num_buckets
        near, top = size // 2, self.max_distance
        d = np.arange(top + 1)
        # float32, as in the training of T5: rounding decides the bucket of a
        # distance on the border of two buckets
        far = np.log(np.maximum(d, 1).astype("float32") / np.float32(near))
        far = far / np.float32(math.log(top / near)) * (size - near)
        far = np.minimum(near + far.astype("int32"), size - 1)
        left = np.where(d < near, d, far)  # keys before the query
        right = size + left[1:] if self.bidirectional else np.zeros(top, int)
        return np.concatenate([left[::-1], right]).astype("int32")

    def compute_output_shape(
        self,
        query_shape,
        value_shape=None,
        positions_shape=None,
        key_positions_shape=None,
    ):
        batch, n, m = relative_shape(
            query_shape, value_shape, positions_shape, key_positions_shape
        )
        return batch, self.num_heads, n, m

    def compute_mask(self, *args, **kwargs):
        return None  # the result is not a sequence

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "bidirectional": self.bidirectional,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
