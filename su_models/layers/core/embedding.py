"""Token embeddings, tied to the output of a language model."""

import keras
from keras import ops

from su_models.backend.precision import (
    accumulated_matmul,
    unrounded,
)
from su_models.backend.take_rows import take_rows
from su_models.utils.checks import check_flag, check_shape, check_size


@keras.saving.register_keras_serializable(package="su_models")
class Embedding(keras.layers.ReversibleEmbedding):
    """Looks up the vectors of ids, or computes logits of ids from vectors.

    Article: https://kexue.fm/archives/7867
        《那个屠榜的T5模型，现在可以在中文上玩玩了》
    Paper: https://arxiv.org/abs/1608.05859

    With the table E, `(input_dim, output_dim)`:

        layer(ids) = E[ids],   layer(x, reverse=True) = x Eᵀ

    The second form ties the output of a language model to its input, as in
    BERT, GPT-2 and T5.1.0.

    The layer differs from `keras.layers.ReversibleEmbedding` in three points:

    - With `mask_zero=True` the first token of a sequence is never masked:
      the decoder of T5 starts with id 0, and a sequence without any token
      to attend to would have no context. Ids of one axis have no mask.
    - The gradient of the table holds one sum for each row. In Keras on
      TensorFlow, the gradient lists a row once for each lookup, and Adam
      squares these parts before it adds them.
    - In reverse, the layer computes and returns its compute dtype, and the
      mask of x passes through.

    Args:
        input_dim: int > 0. Number of ids.
        output_dim: int > 0. Size of a vector.
        mask_zero: bool. Whether id 0 is padding that downstream layers
            ignore, except at the first position.
        **kwargs: the other arguments of `keras.layers.ReversibleEmbedding`:
            `tie_weights`, `embeddings_initializer`,
            `embeddings_regularizer`, `embeddings_constraint`, `weights`,
            `reverse_dtype`, `logit_soft_cap`, `lora_rank`, `lora_alpha`,
            `quantization_config`, `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: ids `(batch, length)`, integers in 0, ..., `input_dim` - 1.
            In reverse: x, `(..., output_dim)`.
        reverse: bool. Whether to score the ids.

    Returns:
        Vectors `(batch, length, output_dim)`. In reverse: one logit for each
        id, `(..., input_dim)`.

    Raises:
        ValueError: if a size is not a positive integer, `mask_zero` is not a
            bool, or x does not have `output_dim` features.

    Example:

    >>> embedding = su_models.layers.Embedding(100, 8, mask_zero=True)
    >>> x = embedding(keras.ops.array([[0, 7, 2, 0]]))
    >>> tuple(x.shape)
    (1, 4, 8)
    >>> tuple(embedding(x, reverse=True).shape)
    (1, 4, 100)
    """

    def __init__(self, input_dim, output_dim, mask_zero=False, **kwargs):
        super().__init__(
            check_size("input_dim", input_dim),
            check_size("output_dim", output_dim),
            mask_zero=check_flag("mask_zero", mask_zero),
            **kwargs,
        )
        self.supports_masking = True
        self._reverses = False  # whether the current call is in reverse

    def __call__(self, inputs, reverse=False, **kwargs):
        # Keras does not pass `reverse` to `compute_mask`
        self._reverses = check_flag("reverse", reverse)
        try:
            return super().__call__(inputs, reverse=reverse, **kwargs)
        finally:
            self._reverses = False

    def call(self, inputs, reverse=False):
        if reverse:
            return self.logits(inputs, self.step_weights())
        rows = take_rows(self.embeddings, inputs, "inputs")  # (b, n, dim)
        return ops.cast(rows, self.compute_dtype)

    def step_weights(self):
        """Returns the kernel of the reverse form, `(output_dim, input_dim)`.

        A loop computes it once, which is faster than a product with a
        transposed table in each step, and passes it to `logits`.
        """
        if self.tie_weights:
            kernel = ops.transpose(self.embeddings)  # (dim, ids)
        else:
            kernel = ops.convert_to_tensor(self.reverse_embeddings)
        return ops.cast(kernel, self.reverse_dtype or self.compute_dtype)

    def logits(self, x, kernel):
        """Returns `layer(x, reverse=True)` for the result of `step_weights`."""
        check_shape("inputs", x, (*x.shape[:-1], kernel.shape[0]))
        dtype = self.reverse_dtype or self.compute_dtype
        logits = accumulated_matmul(
            ops.cast(x, dtype), ops.cast(kernel, dtype), dtype
        )
        cap = self.logit_soft_cap
        return logits if cap is None else cap * unrounded("tanh", logits / cap)

    def compute_mask(self, inputs, previous_mask=None):
        if self._reverses:
            return previous_mask
        if not self.mask_zero or len(inputs.shape) < 2:
            return None
        real = ops.not_equal(inputs, 0)  # (b, n)
        first = ops.ones_like(real[..., :1])
        return ops.concatenate([first, real[..., 1:]], axis=-1)

    def compute_output_spec(self, inputs, reverse=False):
        shape = self.compute_output_shape(inputs.shape, reverse)
        dtype = self.reverse_dtype if reverse else None
        return keras.KerasTensor(shape, dtype=dtype or self.compute_dtype)

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras supports int8 and int4 here, but its type check rejects
        # subclasses
        super().quantize(mode, type_check=False, config=config)
