"""Lookahead: k steps forward, 1 step back."""

import keras
from keras import ops

from su_models.backend.assign_if import assign_if
from su_models.optimizers.wrapper import _OptimizerWrapper


@keras.saving.register_keras_serializable(package="su_models")
class Lookahead(_OptimizerWrapper):
    """Pulls any optimizer back, every few steps, to where it came from.

    Article: https://kexue.fm/archives/6869
        《Keras实现两个优化器：Lookahead和LazyOptimizer》
    Paper: https://arxiv.org/abs/1907.08610

    Three steps, over and over:

        1. back up the weights: θ
        2. `sync_period` steps of the inner optimizer from θ lead to θ~
        3. θ ← θ + α (θ~ - θ),  α = `slow_step_size`

    The backup (the slow weights) starts as the weights before the first step,
    also if those are loaded after the optimizer was built.

    Differs: bert4keras starts slow weights at zero, so that its first
    synchronization multiplies all weights by α.

    Everything else is the inner optimizer's and is set there: learning rate,
    weight decay, clipping, accumulation of gradients (`sync_period` counts
    real updates), moving average (of the weights as the inner optimizer
    leaves them, before step 3). A constraint holds after step 3 too.

    It nests: in another `Lookahead`, inside `keras.optimizers.MultiOptimizer`
    and inside `keras.optimizers.LossScaleOptimizer`, which Keras itself puts
    around it under `mixed_float16`. It costs one more copy of the weights,
    and step 3 goes over all of them, also where gradients are sparse.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        sync_period: integer >= 1. Steps of the inner optimizer in a cycle.
        slow_step_size: float from 0 to 1, α. With 1 this is the inner
            optimizer, with 0 nothing is learned.
        name: optional name.

    Example:

    >>> adam = keras.optimizers.Adam(1e-3)
    >>> optimizer = su_models.optimizers.Lookahead(adam, sync_period=5)
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(optimizer, "mse")
    """

    def __init__(
        self,
        optimizer,
        sync_period=5,
        slow_step_size=0.5,
        name=None,
        **kwargs,
    ):
        super().__init__(optimizer, name, **kwargs)
        whole = isinstance(sync_period, int) and sync_period is not True
        if not whole or sync_period < 1:
            raise ValueError(
                "`sync_period` must be an integer >= 1. "
                f"Received: sync_period={sync_period!r}"
            )
        number = isinstance(slow_step_size, (int, float))
        if not number or not 0 <= slow_step_size <= 1:
            raise ValueError(
                "`slow_step_size` must be a number from 0 to 1. "
                f"Received: slow_step_size={slow_step_size!r}"
            )
        self.sync_period = sync_period
        self.slow_step_size = slow_step_size

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._slow_weights = self.add_optimizer_variables(variables, "slow")

    def _check_inner(self):
        inner = self.inner_optimizer
        members = getattr(inner, "optimizers", [])
        if any(_accumulates(optimizer) for optimizer in members):
            raise ValueError(
                "A `MultiOptimizer` whose members accumulate gradients does "
                "not tell its updates: put a `Lookahead` around each member. "
                f"Received: optimizer={inner!r}"
            )

    def apply(self, grads, trainable_variables=None):
        """Takes a step of the inner optimizer; every so often, step 3.

        Args:
            grads: list of gradients, None where there is none.
            trainable_variables: list of variables, those of `build` if None.
        """
        trainable_variables = self._known(trainable_variables)
        # Not in build(): inside `fit` TensorFlow would make an initial value
        # a part of each step.
        first = ops.equal(self._iterations, 0)
        assign_if(
            first, lambda: [(slow, _value(v)) for v, slow in self._pairs()]
        )
        before = ops.copy(self.inner_optimizer.iterations)
        self.inner_optimizer.apply(
            grads, trainable_variables=trainable_variables
        )
        updates = ops.subtract(self.inner_optimizer.iterations, before)
        count = ops.add(self._iterations, updates)  # of real updates
        sync = ops.logical_and(updates > 0, count % self.sync_period == 0)
        assign_if(sync, self._step_back)
        self.assign(self._iterations, count)

    def _step_back(self):
        """Returns pairs of variables and θ + α (θ~ - θ)."""
        pairs = []
        for v, slow in self._pairs():
            start = _value(slow)
            step = ops.subtract(_value(v), start)
            end = ops.add(start, ops.multiply(self.slow_step_size, step))
            if v.constraint is not None:
                end = v.constraint(end)
            pairs += [(v, end), (slow, end)]
        return pairs

    def _pairs(self):
        """Returns variables and their slow weights, where they have any."""
        pairs = zip(self._trainable_variables, self._slow_weights, strict=True)
        return [(v, slow) for v, slow in pairs if slow is not None]

    def get_config(self):
        return {
            **super().get_config(),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
        }


def _accumulates(optimizer):
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return _accumulates(inner)
    return bool(optimizer.gradient_accumulation_steps)


def _value(variable):
    """Unwraps: jnp takes no Keras variable while JAX traces."""
    return ops.convert_to_tensor(variable)
