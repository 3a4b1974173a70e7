"""Train steps that sum the sparse gradients of tables."""

import keras

from su_models.backend.num_replicas import num_replicas
from su_models.backend.sparse_rows import densify, sum_rows


def summing(model):
    """Returns a proxy of a model whose train step sums gradients.

    `keras.Model.train_step(summing(model), data)` is the train step of the
    model, except that its optimizer, and a `LossScaleOptimizer` around it,
    receives each row of a table once. TensorFlow lists a row once for each
    lookup; Keras' Adam squares these slices separately, and Keras' loss
    scaling overlooks infinities among them.

    JAX and PyTorch sum gradients themselves; there the result is the model
    itself.

    Args:
        model: compiled `keras.Model`.
    """
    if keras.backend.backend() != "tensorflow":
        return model
    return _Model(model)


class _Delegate:
    """Delegates attributes to another object."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        return getattr(self._target, name)


class _Model(_Delegate):
    def __call__(self, *args, **kwargs):
        return self._target(*args, **kwargs)

    @property
    def optimizer(self):
        return _Optimizer(self._target.optimizer)


class _Optimizer(_Delegate):
    def apply_gradients(self, grads_and_vars):
        # Keras concatenates the rows of several replicas
        one = sum_rows if num_replicas() == 1 else densify
        return self._target.apply_gradients(
            [(one(gradient), variable) for gradient, variable in grads_and_vars]
        )
