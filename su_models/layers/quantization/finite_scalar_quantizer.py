"""Finite scalar quantization: rounding instead of a codebook."""

import math

import keras
import numpy as np
from keras import ops

from su_models.backend.indices import check_indices, nan_outside
from su_models.backend.precision import sum_dtype
from su_models.utils.checks import check_integers
from su_models.utils.several_shapes import SeveralShapes


@keras.saving.register_keras_serializable(package="su_models")
class FiniteScalarQuantizer(keras.layers.Layer):
    """Rounds each feature to one of a few levels (FSQ).

    Article: https://kexue.fm/archives/9826
        《简单得令人尴尬的FSQ：“四舍五入”超越了VQ-VAE》
    Paper: https://arxiv.org/abs/2309.15505

        FSQ(t) = Round[(L-1) σ(t)]                                    Eq. (8)
        y = (L-1) σ(z),   y + sg[Round[y] - y]                       Eq. (10)

    A vector of d features becomes one of L_1 L_2 ... L_d codes. There is no
    codebook that must be learned or could collapse, and no additional loss.
    Differs from Eq. (10): features are divided by L-1, as in the author's
    code, so that they lie between 0 and 1 for any L. (The paper uses tanh
    instead of σ, and an offset for even L.)

    The author finds FSQ as good as a learned codebook at about 1000 codes,
    better with more and worse with fewer; the paper recommends L >= 5.

    Masks pass through unchanged. The layer has no weights and no randomness.

    Args:
        levels: list of ints >= 2, the number of levels L of each feature.

    Call arguments:
        inputs: z, floats `(batch, ..., len(levels))`.

    Returns:
        `(quantized, indices)`: features in 0, 1/(L-1), ..., 1 of the shape
        and dtype of `inputs`, and the number of the code, int32
        `(batch, ...)`, in which the first feature is the lowest digit; -1 if
        a feature is NaN.

    Raises:
        ValueError: for a level below 2, more than 2³¹ codes, or inputs with
            another number of features.

    Example:

    >>> quantize = su_models.layers.FiniteScalarQuantizer([3, 2])
    >>> z, k = quantize(keras.ops.array([[0.1, 9.0], [-9.0, -9.0]]))
    >>> print(keras.ops.convert_to_numpy(z), keras.ops.convert_to_numpy(k))
    [[0.5 1. ]
     [0.  0. ]] [4 0]
    """

    def __init__(self, levels, **kwargs):
        super().__init__(**kwargs)
        self.levels = check_integers("levels", levels, least=2)
        self.codebook_size = math.prod(self.levels)
        if self.codebook_size > 2**31:
            raise ValueError(
                "`levels` must not give more than 2**31 codes. "
                f"Received: levels={levels!r}"
            )
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 2 or input_shape[-1] != len(self.levels):
            raise ValueError(
                "The inputs must be (batch, ..., d) with a feature for each "
                f"of the {len(self.levels)} levels. "
                f"Received: input_shape={input_shape}"
            )
        self.built = True

    def call(self, inputs):
        wide = sum_dtype(self.compute_dtype)
        steps = ops.convert_to_tensor(np.array(self.levels) - 1, wide)
        y = ops.sigmoid(ops.cast(inputs, wide)) * steps  # (b, ..., d)
        level = ops.stop_gradient(ops.round(y))
        # y - sg[y] is exactly 0, so the value is exactly `level`
        quantized = (level + (y - ops.stop_gradient(y))) / steps
        place = np.cumprod([1, *self.levels[:-1]])
        place = ops.convert_to_tensor(place, "int32")
        indices = ops.sum(ops.cast(level, "int32") * place, axis=-1)
        # torch sums int32 as int64
        indices = ops.cast(indices, "int32")  # (b, ...)
        indices = ops.where(ops.any(ops.isnan(y), axis=-1), -1, indices)
        return ops.cast(quantized, self.compute_dtype), indices

    def lookup(self, indices):
        """Returns the codes of integer `indices`, e.g. of generated ones.

        Args:
            indices: integers of any shape in 0, ..., codebook_size - 1.

        Returns:
            A float32 tensor `(*indices.shape, len(levels))`. Compiled
            programs, which cannot raise an error, return NaN for a code that
            does not exist.

        Raises:
            ValueError: if a known index is not in 0, ..., codebook_size - 1.
        """
        rest, inside = check_indices("indices", indices, self.codebook_size)
        digits = []
        for n in self.levels:
            digits.append(ops.cast(rest % n, "float32") / (n - 1))
            rest = rest // n
        return nan_outside(ops.stack(digits, axis=-1), inside)

    def compute_output_shape(self, input_shape):
        return SeveralShapes([input_shape, input_shape[:-1]])

    def compute_output_spec(self, inputs):
        shapes = self.compute_output_shape(inputs.shape)
        dtypes = self.compute_dtype, "int32"
        return tuple(map(keras.KerasTensor, shapes, dtypes))

    def compute_mask(self, inputs, previous_mask):
        return previous_mask, previous_mask

    def get_config(self):
        return {**super().get_config(), "levels": self.levels}
