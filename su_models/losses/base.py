"""What the losses share: sums that do not depend on the dtype asked for."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype


class Loss(keras.losses.Loss):
    """A loss that is computed and reduced in float32 or wider.

    Sums over classes and over a batch overflow in float16, which also rounds
    class numbers above 2048. So `y_true` and `y_pred` are cast to float32, or
    to float64 if that is asked for, and only the result has the dtype asked
    for.

    Args:
        name: optional name.
        reduction: as in every Keras loss.
        dtype: of the result, string or `keras.DTypePolicy`; float32 if None.
    """

    def __init__(self, name, reduction, dtype=None):
        policy = keras.dtype_policies.get(dtype or "float32")
        super().__init__(name, reduction, sum_dtype(policy.compute_dtype))
        self._result_dtype = policy.compute_dtype

    def __call__(self, y_true, y_pred, sample_weight=None):
        loss = super().__call__(y_true, y_pred, sample_weight)
        return ops.cast(loss, self._result_dtype)
