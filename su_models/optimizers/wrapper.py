"""What all optimizers that wrap another have in common."""

import keras
from keras import ops

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


class _OptimizerWrapper(keras.optimizers.Optimizer):
    """Everything of the inner optimizer, for a subclass to add to.

    A subclass writes `_adapted_inner` or `apply`, and `get_config` if it has
    arguments. `apply` begins with `self._known(trainable_variables)` and
    assigns Keras variables alone: then Keras' `stateless_apply` for JAX,
    saving and loading need nothing more.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        name: optional name.
        kwargs: what else the subclass was given, to be refused.
    """

    def __init__(self, optimizer, name=None, **kwargs):
        _refuse(kwargs)
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "`optimizer` must be an instance of a Keras optimizer. "
                f"Received: optimizer={optimizer!r}"
            )
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "`LossScaleOptimizer` skips steps, of which those around it "
                "must not know: put it outside, "
                f"LossScaleOptimizer({type(self).__name__}(...)). "
                f"Received: optimizer={optimizer!r}"
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = optimizer

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
        self._check_inner()
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        """Takes a step of the inner optimizer.

        Args:
            grads: list of gradients, None where there is none.
            trainable_variables: list of variables, those of `build` if None.
        """
        variables = self._known(trainable_variables)
        self._adapted_inner().apply(grads, trainable_variables=variables)

    def _adapted_inner(self):
        """Returns the inner optimizer as it is to step."""
        return self.inner_optimizer

    def _check_inner(self):
        """Refuses a built inner optimizer that will not do."""

    def _known(self, trainable_variables):
        """Builds for the variables if need be and returns them as a list."""
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
            return trainable_variables
        if not self.built:
            raise ValueError(
                "The first call of `apply` needs the variables. "
                f"Received: trainable_variables={trainable_variables}"
            )
        return self._trainable_variables

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
