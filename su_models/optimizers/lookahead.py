"""Lookahead: k steps forward, 1 step back."""

import keras
from keras import ops

from su_models.ops.assign_if import assign_if

# what every Keras optimizer takes, and what has its place on the inner one
_INNER_ARGUMENTS = (
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


@keras.saving.register_keras_serializable(package="su_models")
class Lookahead(keras.optimizers.Optimizer):
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
        _refuse(kwargs)
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "`optimizer` must be an instance of a Keras optimizer. "
                f"Received: optimizer={optimizer!r}"
            )
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "`LossScaleOptimizer` skips steps that would be counted: put "
                "it outside, LossScaleOptimizer(Lookahead(...)). "
                f"Received: optimizer={optimizer!r}"
            )
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
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = optimizer
        self.sync_period = sync_period
        self.slow_step_size = slow_step_size

    def build(self, variables):
        if self.built:
            return
        inner = self.inner_optimizer
        if not inner.built:
            inner.build(variables)
        elif {*map(id, inner._trainable_variables)} != {*map(id, variables)}:
            names = [v.name for v in inner._trainable_variables]
            raise ValueError(
                "The inner optimizer was built for other variables: wrap a "
                f"new one. Received: an optimizer of {names}"
            )
        members = getattr(inner, "optimizers", [])
        if any(_accumulates(optimizer) for optimizer in members):
            raise ValueError(
                "A `MultiOptimizer` whose members accumulate gradients does "
                "not tell its updates: put a `Lookahead` around each member. "
                f"Received: optimizer={inner!r}"
            )
        super().build(variables)
        self._slow_weights = self.add_optimizer_variables(variables, "slow")

    def apply(self, grads, trainable_variables=None):
        """Takes a step of the inner optimizer; every so often, step 3.

        Args:
            grads: list of gradients, None where there is none.
            trainable_variables: list of variables, those of `build` if None.
        """
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
        elif not self.built:
            raise ValueError(
                "The first call of `apply` needs the variables. "
                f"Received: trainable_variables={trainable_variables}"
            )
        else:
            trainable_variables = self._trainable_variables
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

    @property
    def variables(self):
        """Own variables, then those of the inner optimizer."""
        return self._variables + self.inner_optimizer.variables

    @property
    def iterations(self):
        """Updates of the inner optimizer."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self):
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def loss_scale_factor(self):
        """The inner optimizer's; wrappers around us set it."""
        inner = getattr(self, "inner_optimizer", None)
        return None if inner is None else inner.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value):
        if hasattr(self, "inner_optimizer"):  # not during super().__init__()
            self.inner_optimizer.loss_scale_factor = value

    def scale_loss(self, loss):
        """Scales a loss as the inner optimizer wants it."""
        return self.inner_optimizer.scale_loss(loss)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Excludes variables from the inner optimizer's weight decay."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def finalize_variable_values(self, var_list):
        """Ends training as the inner optimizer does: moving averages."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def set_weights(self, weights):
        """Sets all `variables`, the inner optimizer's too.

        Args:
            weights: list of arrays in the order of `variables`.
        """
        shapes = [tuple(v.shape) for v in self.variables]
        given = [tuple(ops.shape(w)) for w in weights]
        if not self.built or given != shapes:
            raise ValueError(
                "`weights` must be those of a built optimizer, of shapes "
                f"{shapes}. Received: shapes {given}, built={self.built}"
            )
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    def get_config(self):
        return {
            "name": self.name,
            "optimizer": keras.saving.serialize_keras_object(
                self.inner_optimizer
            ),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        optimizer = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "optimizer": optimizer})


def _refuse(kwargs):
    for name, value in kwargs.items():
        if name not in _INNER_ARGUMENTS:
            raise ValueError(f"Unknown argument. Received: {name}={value!r}")
        raise ValueError(
            f"`{name}` belongs to the inner optimizer: set it there. "
            f"Received: {name}={value!r}"
        )


def _accumulates(optimizer):
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return _accumulates(inner)
    return bool(optimizer.gradient_accumulation_steps)


def _value(variable):
    """Unwraps: jnp takes no Keras variable while JAX traces."""
    return ops.convert_to_tensor(variable)
