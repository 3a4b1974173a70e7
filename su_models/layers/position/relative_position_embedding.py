"""Embeddings of relative positions."""

import keras
import numpy as np
from keras import ops

from su_models.backend.take_rows import take_rows
from su_models.layers.position.relative_positions import (
    relative_positions,
    relative_shape,
)
from su_models.layers.position.sinusoids import sinusoids
from su_models.utils.checks import check_flag, check_size


@keras.saving.register_keras_serializable(package="su_models")
class RelativePositionEmbedding(keras.layers.Layer):
    """Embeds the distance between a query and a key (Shaw, NEZHA).

    Article: https://kexue.fm/archives/8130
        《让研究人员绞尽脑汁的Transformer位置编码》
    Paper: https://arxiv.org/abs/1803.02155

        R_ij = p[clip(j - i, -c, c)],   c = (input_dim - 1)/2    Eq. (6)

    Distances beyond c are clipped to c, so the length is not limited. Pass
    the result to `RelativeMultiHeadAttention` as `relative_embeddings`; one
    layer serves all blocks. With `sinusoidal` the vectors are fixed, as in
    NEZHA. The layer needs no mask, since it reads only the length of its
    inputs.

    Differs: rows run from the farthest key on the left to the farthest on
    the right, j - i, as in NEZHA and bert4keras; the article counts i - j,
    which is the same table in reverse order.

    Args:
        input_dim: int > 0, odd. Number of rows, 2c + 1.
        output_dim: int > 0. Size of a vector: `key_dim` of the attention.
            Must be even if `sinusoidal`.
        sinusoidal: bool. Whether to use frozen sinusoids instead of a learned
            table.
        embeddings_initializer: initializer of a learned table.

    Call arguments:
        query: any tensor `(batch, n, ...)`; only its length is read.
        value: any tensor `(batch, m, ...)`; only its length is read. Defaults
            to `query`, unless `key_positions` are given.
        positions: integers, `(n,)` or `(batch, n)`, of the queries. Defaults
            to 0, ..., n - 1.
        key_positions: integers, `(m,)` or `(batch, m)`, of the keys, such as
            the slots of a cache. Defaults to 0, ..., m - 1.

    Returns:
        A tensor `(1, n, m, output_dim)`, or `(batch, n, m, output_dim)` for
        positions of each sample.

    Raises:
        ValueError: if `input_dim` is even, or `positions` do not fit.

    Example:

    >>> embed = su_models.layers.RelativePositionEmbedding(
    ...     129, 16, sinusoidal=True
    ... )
    >>> x = keras.random.normal((2, 7, 64))
    >>> r = embed(x)
    >>> tuple(r.shape)
    (1, 7, 7, 16)
    >>> attention = su_models.layers.RelativeMultiHeadAttention(4, 16)
    >>> tuple(attention(x, relative_embeddings=r).shape)
    (2, 7, 64)
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        sinusoidal=False,
        embeddings_initializer="uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.input_dim = check_size("input_dim", input_dim)
        self.output_dim = check_size("output_dim", output_dim)
        if self.input_dim % 2 == 0:
            raise ValueError(
                "`input_dim` must be odd, with as many rows on each side of "
                "distance 0. "
                f"Received: input_dim={input_dim}"
            )
        if sinusoidal and self.output_dim % 2:
            raise ValueError(
                "`output_dim` must be even for sinusoids. "
                f"Received: output_dim={output_dim}"
            )
        self.sinusoidal = check_flag("sinusoidal", sinusoidal)
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
        initializer = self.embeddings_initializer
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.input_dim, self.output_dim),
            initializer=self._sinusoids if self.sinusoidal else initializer,
            trainable=not self.sinusoidal,
        )
        self.built = True

    def _sinusoids(self, shape, dtype=None):
        rows = sinusoids(np.arange(shape[0]), shape[1])
        return ops.cast(rows, dtype)

    def call(self, query, value=None, positions=None, key_positions=None):
        distance = relative_positions(
            query, value, positions, key_positions
        )  # (1|b, n, m)
        c = (self.input_dim - 1) // 2
        rows = ops.clip(distance, -c, c) + c
        # (1|b, n, m, dim)
        return take_rows(self.embeddings, rows, check=False)

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
        return batch, n, m, self.output_dim

    def compute_mask(self, *args, **kwargs):
        return None  # the result is not a sequence

    def get_config(self):
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "sinusoidal": self.sinusoidal,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
