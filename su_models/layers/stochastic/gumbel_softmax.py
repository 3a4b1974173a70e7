"""Samples of a categorical distribution, with gradients."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.utils.checks import (
    check_flag,
    check_integer,
    check_positive,
    check_seed,
)


@keras.saving.register_keras_serializable(package="su_models")
class GumbelSoftmax(keras.layers.Layer):
    """Samples nearly one-hot vectors with probabilities softmax(logits).

    Article: https://kexue.fm/archives/6705
        《漫谈重参数：从正态分布到Gumbel Softmax》
    Paper: https://arxiv.org/abs/1611.01144

    With Gumbel noise g, the index of the largest o_i + g_i is an exact sample
    of softmax(o); the softmax of o + g at a temperature τ is a smooth one:

        argmax_i (o_i + g_i),   g_i = -log(-log ε_i),  ε_i ~ U[0, 1]  Eq. (8)
        y = softmax((o + g) / τ)                                     Eq. (10)

    τ -> 0 gives one-hot vectors and vanishing gradients, so τ is usually
    annealed from about 1 to about 0.01. `layer.temperature` is a variable that
    is saved with the weights. `layer.temperature = 0.5` assigns to it, also
    in a callback during a compiled `fit`. (In a callback, access the layer
    through `self.model`: on JAX this passes the change to the running
    program.)

    With `hard=True` the output is exactly one-hot, and its gradient is that of
    y (straight-through). ε is clipped to [2⁻²⁵, 1 - 2⁻²⁴], so that g lies
    between -2.9 and 16.7.

    The layer samples at every call, in training and in inference; for the
    most likely class use the argmax of the logits. Masks pass through
    unchanged.

    Args:
        temperature: number > 0. Initial value of τ.
        hard: bool. Whether outputs are exactly one-hot.
        axis: int. The axis of the classes.
        seed: optional int from 0 to 2³¹ - 1. Seed of the noise.

    Call arguments:
        logits: o, floats `(batch, ..., classes, ...)`, which may be log
            probabilities.

    Returns:
        y, of the shape and dtype of `logits`, with sum 1 over `axis`.

    Raises:
        ValueError: if an argument is invalid, or the logits have no axis
            besides the batch.

    Example:

    >>> sample = su_models.layers.GumbelSoftmax(0.5, hard=True, seed=0)
    >>> y = sample(keras.ops.array([[0.0, 50.0, 0.0]]))
    >>> print(keras.ops.convert_to_numpy(y))
    [[0. 1. 0.]]
    """

    def __init__(
        self, temperature=1.0, hard=False, axis=-1, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.initial_temperature = check_positive("temperature", temperature)
        self.hard = check_flag("hard", hard)
        self.axis = check_integer("axis", axis)
        self.seed = check_seed(seed)
        self.generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True
        self._temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            trainable=False,
            dtype="float32",
            autocast=False,
        )

    @property
    def temperature(self):
        """The variable τ. An assigned number must be > 0."""
        return self._temperature

    @temperature.setter
    def temperature(self, value):
        self._temperature.assign(check_positive("temperature", value))

    def build(self, input_shape):
        rank = len(input_shape)
        if rank < 2 or not -rank <= self.axis < rank or not self.axis % rank:
            raise ValueError(
                "`axis` must be an axis of the logits other than the batch. "
                f"Received: input_shape={input_shape}, axis={self.axis}"
            )
        if input_shape[self.axis] is None:
            raise ValueError(
                "The number of classes must be known. "
                f"Received: input_shape={input_shape}, axis={self.axis}"
            )
        self.built = True

    def call(self, logits):
        uniform = keras.random.uniform(
            ops.shape(logits), dtype="float32", seed=self.generator
        )
        # float16 would round the noise, and overflow in the division by τ
        wide = sum_dtype(self.compute_dtype)
        noisy = ops.cast(logits, wide) + ops.cast(_gumbel(uniform), wide)
        temperature = ops.cast(self._temperature, wide)
        y = ops.softmax(noisy / temperature, axis=self.axis)
        if self.hard:
            one = ops.one_hot(
                ops.argmax(noisy, axis=self.axis),
                logits.shape[self.axis],
                axis=self.axis,
                dtype=wide,
            )
            # exactly one-hot: y - sg[y] is 0, while one - y + y would round
            y = one + (y - ops.stop_gradient(y))
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.initial_temperature,
            "hard": self.hard,
            "axis": self.axis,
            "seed": self.seed,
        }


def _gumbel(uniform):
    """Returns -log(-log ε), finite even if rounding has made ε 0 or 1."""
    return -ops.log(-ops.log(ops.clip(uniform, 2.0**-25, 1 - 2.0**-24)))
