"""Lookahead: k steps forward, 1 step back."""

import keras
from keras import ops

from su_models.backend.assign_if import assign_if
from su_models.optimizers.base import OptimizerWrapper
from su_models.utils.checks import check_number, check_size


@keras.saving.register_keras_serializable(package="su_models")
class Lookahead(OptimizerWrapper):
    """Moves the weights back towards earlier ones every few steps.

    Article: https://kexue.fm/archives/6869
        《Keras实现两个优化器：Lookahead和LazyOptimizer》
    Paper: https://arxiv.org/abs/1907.08610

    The optimizer repeats three steps:

        1. back up the weights: θ
        2. `sync_period` steps of the inner optimizer lead from θ to θ~
        3. θ ← θ + α (θ~ - θ),  α = `slow_step_size`

    The backup (the slow weights) is initialized with the weights before the
    first step, even if those are loaded after the optimizer was built.

    A second `fit` continues the cycle of the first. If the weights were set
    in between (a new fold, the best epoch, a file, moving averages), the first
    step of the second `fit` detects this and backs up the new weights, so they
    are not moved back to the earlier ones. A `fit` with moving averages ends
    with the averages, so the next `fit` always starts a new cycle. If weights
    are set at another time, such as in the middle of a `fit`, after an
    interrupted one, or in a loop over `train_on_batch`, call `reset()`.

    Differs: bert4keras starts slow weights at zero, so that its first
    synchronization multiplies all weights by α.

    All other arguments belong to the inner optimizer and are set there:
    learning rate, weight decay, clipping, accumulation of gradients
    (`sync_period` counts actual updates), and moving averages (of the weights
    before step 3). Constraints also hold after step 3.

    `Lookahead` can be wrapped by another `Lookahead`, by a
    `keras.optimizers.MultiOptimizer` or by a
    `keras.optimizers.LossScaleOptimizer`, which Keras itself adds under
    `mixed_float16`. It needs one more copy of the weights, and step 3 updates
    all of them, even if gradients are sparse.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        sync_period: integer >= 1. Steps of the inner optimizer in a cycle.
        slow_step_size: float in [0, 1], α. 1 gives the inner optimizer; with
            0 nothing is learned.
        name: optional name.

    Raises:
        ValueError: if an argument is out of its range or belongs to the inner
            optimizer.

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
        self.sync_period = check_size("sync_period", sync_period)
        self.slow_step_size = check_number(
            "slow_step_size", slow_step_size, least=0, most=1
        )

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._slow_weights = self.add_optimizer_variables(variables, "slow")
        # fingerprint of the weights at the end of a `fit`; 0 after a step
        self._final = self.add_variable((), dtype="int", name="final")

    def _check_inner(self):
        inner = self.inner_optimizer
        members = getattr(inner, "optimizers", [])
        if any(o.gradient_accumulation_steps for o in members):
            raise ValueError(
                "`optimizer` must not be a `MultiOptimizer` whose members "
                "accumulate gradients, since it does not count its updates. "
                "Put a `Lookahead` around each member. "
                f"Received: optimizer={inner!r}"
            )

    def apply(self, grads, trainable_variables=None):
        """Takes a step of the inner optimizer, and step 3 when it is due.

        Args:
            grads: list of gradients; None for a variable without a gradient.
            trainable_variables: list of variables. Defaults to those that the
                optimizer was built for.

        Raises:
            ValueError: if there is not one gradient for each variable.
        """
        trainable_variables = self._known(grads, trainable_variables)
        updates = self._updates_so_far()
        # Not in build(): inside `fit` TensorFlow would compute an initial
        # value in each step.
        assign_if(
            ops.equal(updates, 0),
            lambda: [(slow, _value(v)) for v, slow in self._pairs()],
        )
        before = ops.copy(self.inner_optimizer.iterations)
        self.inner_optimizer.apply(
            grads, trainable_variables=trainable_variables
        )
        new = ops.subtract(self.inner_optimizer.iterations, before)  # 0 or 1
        updates = ops.add(updates, new)
        sync = ops.logical_and(new > 0, updates % self.sync_period == 0)
        assign_if(sync, self._step_back)
        self.assign(self._iterations, updates)
        self.assign(self._final, ops.zeros_like(_value(self._final)))

    def reset(self):
        """Starts a new cycle from the current weights at the next step.

        Call it after weights were set in the middle of a `fit` or between
        calls of `train_on_batch`. It is not needed between two `fit`s.
        """
        self._iterations.assign(0)

    def finalize_variable_values(self, var_list):
        """Ends a `fit`: remembers the weights, then applies averages."""
        if self.built:
            # averages differ from the last weights: 2 never equals a hash
            self._final.assign(2 if self.use_ema else self._fingerprint())
        super().finalize_variable_values(var_list)

    def _updates_so_far(self):
        """Returns the updates since the first cycle; 0 if weights were set."""
        final = _value(self._final)
        now = ops.cond(
            ops.not_equal(final, 0), self._fingerprint, lambda: final
        )
        count = _value(self._iterations)
        return ops.where(ops.equal(now, final), count, ops.zeros_like(count))

    def _fingerprint(self):
        """Returns an odd number that depends on the weights."""
        total = ops.zeros((), "int32")
        for v, _ in self._pairs():
            total = total * 31 + _hash(ops.reshape(_value(v), (-1,)))
        return ops.cast(ops.bitwise_or(total, 1), self._final.dtype)

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
        """Returns the variables with slow weights, and these."""
        pairs = zip(self._trainable_variables, self._slow_weights, strict=True)
        return [(v, slow) for v, slow in pairs if slow is not None]

    def get_config(self):
        return {
            **super().get_config(),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
        }


def _value(variable):
    """Returns a variable's value; jnp rejects Keras variables in tracing."""
    return ops.convert_to_tensor(variable)


def _hash(x):
    """Returns an int32 hash of the bits of a vector and their positions.

    Integers wrap around, so that the order of a sum does not matter: unlike a
    sum of floats, it is the same inside and outside a compiled step.
    """
    size = keras.backend.standardize_dtype(x.dtype)[-2:]
    bits = ops.view(x, "int16" if size == "16" else "int32")
    bits = ops.cast(bits, "int32")  # (n,), or (2n,) for float64
    places = 2 * ops.arange(bits.shape[0], dtype="int32") + 1
    return ops.cast(ops.sum(bits * places), "int32")
