"""Base of the optimizers that wrap another optimizer."""

import keras
from keras import ops

from su_models.backend.sparse_rows import map_values, sum_rows


def _of_inner(name, default=None):
    """Returns a property that delegates to the inner optimizer.

    Args:
        name: name of the attribute.
        default: its value before there is an inner optimizer, and while Keras
            builds the wrapper, which would otherwise create its own averages
            and accumulators.
    """

    def inner(self):
        is_building = "_is_building" in vars(self)
        return None if is_building else vars(self).get("inner_optimizer")

    def get(self):
        found = inner(self)
        return default if found is None else getattr(found, name)

    def put(self, value):
        found = inner(self)
        if found is not None:
            setattr(found, name, value)

    return property(get, put, doc=f"The innermost optimizer's `{name}`.")


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Base of optimizers that delegate to an inner optimizer.

    A subclass defines `_adapted_inner` or `apply`, and `get_config` if it has
    arguments. `apply` must begin with `self._known(grads,
    trainable_variables)` and assign only Keras variables; then Keras'
    `stateless_apply` for JAX, saving and loading work without further code.

    Attributes that a wrapper does not have are read from the inner optimizer,
    at any depth: `use_ema`, `weight_decay`, `clipnorm`,
    `gradient_accumulation_steps`, `momentum` and so on. Setting one of
    Keras' common arguments sets it on the innermost optimizer.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        name: optional name.
        kwargs: unknown arguments of the subclass, which are rejected.

    Raises:
        ValueError: if `optimizer` is not an optimizer or is a
            `LossScaleOptimizer`, or an unknown argument is given.
    """

    def __init__(self, optimizer, name=None, **kwargs):
        _reject(kwargs)
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "`optimizer` must be an instance of a Keras optimizer. "
                f"Received: optimizer={optimizer!r}"
            )
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "`optimizer` must not be a `LossScaleOptimizer`, since its "
                "wrappers would count skipped steps: put it outside, "
                f"LossScaleOptimizer({type(self).__name__}(...)). "
                f"Received: optimizer={optimizer!r}"
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = optimizer

    weight_decay = _of_inner("weight_decay")
    clipnorm = _of_inner("clipnorm")
    clipvalue = _of_inner("clipvalue")
    global_clipnorm = _of_inner("global_clipnorm")
    use_ema = _of_inner("use_ema", False)
    ema_momentum = _of_inner("ema_momentum", 0.99)
    ema_overwrite_frequency = _of_inner("ema_overwrite_frequency")
    loss_scale_factor = _of_inner("loss_scale_factor")
    gradient_accumulation_steps = _of_inner("gradient_accumulation_steps")

    def __getattr__(self, name):
        inner = vars(self).get("inner_optimizer")
        if inner is None or name.startswith("_"):
            raise AttributeError(
                f"'{type(self).__name__}' object has no attribute '{name}'"
            )
        return getattr(inner, name)

    def build(self, variables):
        if self.built:
            return
        inner = self.inner_optimizer
        if not inner.built:
            inner.build(variables)
        elif {*map(id, inner._trainable_variables)} != {*map(id, variables)}:
            names = [v.name for v in inner._trainable_variables]
            raise ValueError(
                "`optimizer` must not be built for other variables: wrap a "
                f"new one. Received: an optimizer of {names}"
            )
        self._check_inner()
        vars(self)["_is_building"] = True
        try:
            super().build(variables)
        finally:
            del vars(self)["_is_building"]

    def apply(self, grads, trainable_variables=None):
        """Takes a step of the inner optimizer.

        Args:
            grads: list of gradients; None for a variable without a gradient.
            trainable_variables: list of variables. Defaults to those that the
                optimizer was built for.

        Raises:
            ValueError: if there is not one gradient for each variable.
        """
        variables = self._known(grads, trainable_variables)
        self._adapted_inner().apply(grads, trainable_variables=variables)

    def _adapted_inner(self):
        """Returns the adapted inner optimizer that takes the step."""
        return self.inner_optimizer

    def _check_inner(self):
        """Rejects a built inner optimizer that the wrapper cannot wrap."""

    def _known(self, grads, trainable_variables):
        """Builds the optimizer if necessary and returns the variables."""
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
        elif self.built:
            trainable_variables = self._trainable_variables
        else:
            raise ValueError(
                "`trainable_variables` must be given in the first call of "
                "`apply`. "
                f"Received: trainable_variables={trainable_variables}"
            )
        if len(grads) != len(trainable_variables):
            raise ValueError(
                "`grads` must hold one gradient for each of the "
                f"{len(trainable_variables)} variables. "
                f"Received: {len(grads)} gradients"
            )
        return trainable_variables

    @property
    def variables(self):
        """The wrapper's variables, then those of the inner optimizer."""
        return self._variables + self.inner_optimizer.variables

    @property
    def iterations(self):
        """The number of updates of the inner optimizer."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self):
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def _model_variables_moving_average(self):
        """The innermost optimizer's averages, in the wrapper's order.

        `keras.callbacks.SwapEMAWeights` reads them; an `AttributeError`
        means that there are no averages.
        """
        inner = self.inner_optimizer
        averages = inner._model_variables_moving_average
        return [
            averages[inner._get_variable_index(v)]
            for v in self._trainable_variables
        ]

    def scale_loss(self, loss):
        """Scales a loss by the inner optimizer's factor."""
        return self.inner_optimizer.scale_loss(loss)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Excludes variables from the inner optimizer's weight decay."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def finalize_variable_values(self, var_list):
        """Ends training like the inner optimizer, with moving averages."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def set_weights(self, weights):
        """Sets all `variables`, including the inner optimizer's.

        Args:
            weights: list of arrays in the order of `variables`.

        Raises:
            ValueError: if the optimizer is not built, or a shape differs.
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
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        optimizer = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "optimizer": optimizer})


class SummedSteps:
    """Makes an optimizer clip and apply the sums of repeated rows."""

    def _clip_gradients(self, grads):
        return map_values(super()._clip_gradients, grads)

    def update_step(self, gradient, variable, learning_rate):
        # the rows of several replicas are concatenated
        super().update_step(sum_rows(gradient), variable, learning_rate)


def _reject(kwargs):
    for name, value in kwargs.items():
        of_inner = isinstance(vars(OptimizerWrapper).get(name), property)
        if not of_inner:
            raise ValueError(f"Unknown argument. Received: {name}={value!r}")
        raise ValueError(
            f"`{name}` must be set on the inner optimizer. "
            f"Received: {name}={value!r}"
        )
