"""Summation of sparse embedding gradients before the optimizer's step."""

import keras

from su_models.backend.sparse_rows import map_values, sum_rows
from su_models.optimizers.adapted import adapted
from su_models.optimizers.base import OptimizerWrapper, SummedSteps


@keras.saving.register_keras_serializable(package="su_models")
class SummedGradients(OptimizerWrapper):
    """Sums the sparse gradients of embeddings before the optimizer's step.

    Article: https://kexue.fm/archives/6869
        《Keras实现两个优化器：Lookahead和LazyOptimizer》

    TensorFlow's gradient of a lookup lists a row once for each lookup: g_1,
    ..., g_c. The gradient of the row is Σ g_i. Keras' Adam, Adagrad, RMSprop
    and others square the listed gradients, Σ g_i² instead of (Σ g_i)², and so
    make steps that are up to √c times too large for a token that occurs c
    times in a batch; norms for clipping are also wrong. JAX and PyTorch sum
    the gradients, so the same script gives other weights there. With this
    wrapper the backends agree, and Keras' fixed `loss_scale_factor` accepts
    sparse gradients. The wrappers of `su_models.training` sum gradients
    themselves.

    The step remains that of the inner optimizer, even if it processes the
    whole table; `LazyOptimizer` sums as well, and updates only the rows of the
    batch. On JAX and PyTorch the wrapper has no effect. Under `tf.distribute`
    clipping uses one replica's gradients, as in Keras.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        name: optional name.

    Example:

    >>> adam = keras.optimizers.Adam(1e-3)
    >>> optimizer = su_models.optimizers.SummedGradients(adam)
    >>> model = keras.Sequential([keras.layers.Embedding(9, 4)])
    >>> model.compile(optimizer, "mse")
    """

    def apply(self, grads, trainable_variables=None):
        """Takes a step of the inner optimizer along summed gradients.

        Args:
            grads: list of gradients; None for a variable without a gradient.
            trainable_variables: list of variables. Defaults to those that the
                optimizer was built for.

        Raises:
            ValueError: if there is not one gradient for each variable.
        """
        variables = self._known(grads, trainable_variables)
        grads = [sum_rows(g) for g in grads]
        scale = self.loss_scale_factor
        if scale is not None:
            grads = [
                g if g is None or _is_overwriting(v) else _divided(g, scale)
                for g, v in zip(grads, variables, strict=True)
            ]
        super().apply(grads, variables)

    def _adapted_inner(self):
        return adapted(
            self.inner_optimizer, SummedSteps, loss_scale_factor=None
        )


def _is_overwriting(variable):
    return getattr(variable, "overwrite_with_gradient", False)


def _divided(gradient, scale):
    return map_values(lambda values: [v / scale for v in values], [gradient])[0]
