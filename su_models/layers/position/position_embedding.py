"""Learned absolute positions, extended hierarchically."""

import keras
from keras import ops

from su_models.backend.indices import check_indices, nan_outside
from su_models.backend.take_rows import take_rows
from su_models.layers.position.check_positions import check_positions
from su_models.layers.position.merge_positions import (
    check_merge_mode,
    merge_positions,
)
from su_models.utils.checks import check_size, is_real


@keras.saving.register_keras_serializable(package="su_models")
class PositionEmbedding(keras.layers.Layer):
    """A learned vector for each position, hierarchically extended on demand.

    Article: https://kexue.fm/archives/7947
        《层次分解位置编码，让BERT可以处理超长文本》

    A trained table p of n positions gives vectors for n² positions:

        q_((i-1)n + j) = α u_i + (1-α) u_j                    Eq. (1)
        u_i = (p_i - α p_1) / (1-α)                           Eq. (2)

    The layer computes this as p_j + α/(1-α) (p_i - p_1), so the first n
    vectors are exactly the trained ones. BERT's table of 512 rows extends to
    262144 positions. Masks pass through unchanged.

    Args:
        input_dim: int > 0. Number n of rows of the table.
        output_dim: int > 0. Size of a vector. Defaults to that of the inputs.
        merge_mode: "add", "mul" (by one plus the vector), "concat", or
            "zero" (the vectors without the inputs).
        hierarchical: α, in (0, 1) but not 0.5, which would give (i, j) and
            (j, i) the same vector. True: 0.4, the author's choice. None or
            False: only n positions.
        embeddings_initializer: initializer of the table.

    Call arguments:
        inputs: `(batch, length, features)`.
        positions: integers, `(length,)` or `(batch, length)`, at least 0 and
            below n, or n² if hierarchical. Defaults to 0, ..., length - 1.

    Returns:
        A tensor `(batch, length, features)`; the number of features depends
        on `merge_mode`.

    Raises:
        ValueError: if there is no vector for a position, or the inputs are
            not of rank 3 or do not fit `output_dim`. A compiled program
            cannot read positions and returns NaN vectors instead.

    Example:

    >>> embed = su_models.layers.PositionEmbedding(32, hierarchical=True)
    >>> tuple(embed(keras.ops.ones((2, 1000, 8))).shape)
    (2, 1000, 8)
    """

    def __init__(
        self,
        input_dim,
        output_dim=None,
        merge_mode="add",
        hierarchical=None,
        embeddings_initializer="uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.input_dim = check_size("input_dim", input_dim)
        self.output_dim = check_size("output_dim", output_dim, optional=True)
        off_or_default = hierarchical is None or isinstance(hierarchical, bool)
        if not off_or_default and not (
            is_real(hierarchical)
            and 0 < hierarchical < 1
            and hierarchical != 0.5
        ):
            raise ValueError(
                "`hierarchical` must be None, a bool, or a number in (0, 1) "
                f"other than 0.5. Received: hierarchical={hierarchical!r}"
            )
        self.merge_mode = check_merge_mode(merge_mode, output_dim, output_dim)
        self.hierarchical = hierarchical
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
        )
        self.supports_masking = True

    @property
    def max_length(self):
        """The number of positions that have vectors."""
        return self.input_dim ** (2 if self.hierarchical else 1)

    def build(self, input_shape):
        self._check(input_shape)
        features = input_shape[-1]
        dim = self.output_dim or features
        check_merge_mode(self.merge_mode, features, dim)
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.input_dim, dim),
            initializer=self.embeddings_initializer,
        )
        self.built = True

    def call(self, inputs, positions=None):
        self._check(inputs.shape)
        n = inputs.shape[1]
        if positions is not None:
            positions = check_positions(positions, n, inputs.shape[0])
            rows = self._rows(positions)
        elif n is not None and n <= self.input_dim:
            rows = self.embeddings[:n]
        else:
            rows = self._rows(ops.arange(ops.shape(inputs)[1]))
        return merge_positions(
            inputs, rows, self.merge_mode, self.compute_dtype
        )

    def _rows(self, positions):
        """Returns the vectors of positions, `(..., dim)`."""
        if not self.hierarchical:
            return take_rows(self.embeddings, positions, "positions")
        positions, inside = check_indices(
            "positions", positions, self.max_length
        )
        alpha = 0.4 if self.hierarchical is True else self.hierarchical
        first = self.embeddings[:1]
        high, low = (
            take_rows(self.embeddings, row, check=False)
            for row in (positions // self.input_dim, positions % self.input_dim)
        )
        rows = low + alpha / (1 - alpha) * (high - first)
        return nan_outside(rows, inside)

    def _check(self, shape):
        if len(shape) != 3 or shape[-1] is None:
            raise ValueError(
                "`inputs` must be `(batch, length, features)`, with a known "
                f"number of features. Received: inputs of shape {shape}"
            )
        if shape[1] is not None and shape[1] > self.max_length:
            raise ValueError(
                f"The inputs must have at most {self.max_length} positions. "
                f"Received: inputs of shape {tuple(shape)}"
            )

    def compute_output_shape(self, input_shape):
        features = self.output_dim or input_shape[-1]
        if self.merge_mode == "concat":
            features += input_shape[-1]
        return (*input_shape[:-1], features)

    def get_config(self):
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "merge_mode": self.merge_mode,
            "hierarchical": self.hierarchical,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
