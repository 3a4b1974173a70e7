"""The initializer of RoFormerV2 and GAU-α."""

import keras

from su_models.utils.checks import check_positive, check_seed, check_size

# a normal distribution truncated at ±2σ has the deviation 0.87962566 σ
_CORRECTION = 1 / 0.87962566


@keras.saving.register_keras_serializable(package="su_models")
class ScaledTruncatedNormal(keras.initializers.Initializer):
    """Scales the deviation 1/√h down with depth, to avoid a warm-up.

    Article: https://kexue.fm/archives/8978
        《训练1000层的Transformer究竟有什么困难？》

        σ = gain · L^(-1/order) / √h,   of a normal truncated at ±2 deviations

    h is the number of rows of a kernel. For embedding tables, recognized by
    more than 10 000 rows or fewer than 10, h is the number of columns, as in
    the author's code; for other tables, pass `h`.

    Args:
        num_layers: int > 0. L, the number of blocks of the model.
        order: int > 0. 2 for blocks of attention and feed-forward network,
            3 for GAU-α.
        gain: float > 0. Factor of the deviation.
        h: optional int > 0. h, if it is not read from the shape.
        seed: optional int. Seed of the initializer.
    """

    def __init__(self, num_layers, order=2, gain=1.0, h=None, seed=None):
        self.num_layers = check_size("num_layers", num_layers)
        self.order = check_size("order", order)
        self.gain = check_positive("gain", gain)
        self.h = check_size("h", h, optional=True)
        self.seed = check_seed(seed)

    def __call__(self, shape, dtype=None):
        h = self.h
        if h is None:
            table = shape[0] > 10000 or shape[0] < 10
            h = shape[-1] if table else shape[0]
        deviation = self.gain * self.num_layers ** (-1 / self.order) / h**0.5
        return keras.random.truncated_normal(
            shape,
            stddev=_CORRECTION * deviation,
            dtype=dtype,
            seed=self.seed,
        )

    def get_config(self):
        return {
            "num_layers": self.num_layers,
            "order": self.order,
            "gain": self.gain,
            "h": self.h,
            "seed": self.seed,
        }
