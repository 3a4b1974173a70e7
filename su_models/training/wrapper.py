"""What all wrappers that change the training loss have in common."""

import copy
import inspect
import threading

import keras
from keras import ops

from su_models.backend.autodiff import value_and_gradient
from su_models.backend.random_replay import random_state, replayed
from su_models.backend.recording_scope import RecordingScope

_FLOAT16_SCALE = 2.0**10  # of a loss, whose gradient then is no zero


class _TrainingWrapper(keras.Model):
    """The model itself, trained with another loss.

    It has the layers of `model` and no weights of its own, and it predicts
    and evaluates as `model` does: only `fit` differs. A subclass writes
    `_training_loss`, and `get_config` if it has arguments.

    Args:
        model: a built `keras.Model`.
        name: optional name.
        trainable: bool. False freezes the layers of `model`.
    """

    def __init__(self, model, name=None, trainable=True):
        _check_model(model)
        # inputs are for `model` to convert
        super().__init__(name=name, dtype=model.dtype_policy, autocast=False)
        self.model = model
        self.supports_masking = True
        self.built = True
        if not trainable:
            self.trainable = False
        self._here = _Here()

    def _training_loss(self, loss, step):
        """Returns what `fit` is to minimize.

        Args:
            loss: scalar, what Keras would minimize.
            step: `_Step`, to make the pass again at other values.

        Returns:
            A scalar.
        """
        raise NotImplementedError

    _again = True  # whether the technique makes a pass again

    def _weights(self, third):
        """Returns the sample weights, given the third part of a batch."""
        if third is None:
            return None
        # copied, as Keras on PyTorch puts masks into them in place
        return keras.tree.map_structure(
            lambda w: ops.copy(ops.convert_to_tensor(w)), third
        )

    def _start(self):
        if self._again:
            return _Start(self.model, self._here.changed)
        return None

    def build(self, input_shape=None):
        self.built = True

    def call(self, inputs, training=None):
        if not training:
            return _run(self.model, inputs, training)
        start = self._start()
        outputs = _run(self.model, inputs, training)
        self._here.last = outputs, start
        return outputs

    def compute_mask(self, inputs, previous_mask=None):
        return self.model.compute_mask(inputs, previous_mask)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the loss of the technique, and evaluating, the plain one.

        Args:
            x: inputs.
            y: targets.
            y_pred: what the wrapper has just returned for `x`.
            sample_weight: optional weights.
            training: bool.

        Returns:
            A scalar.
        """
        third, sample_weight = sample_weight, self._weights(sample_weight)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        (outputs, start), self._here.last = self._here.last, (None, None)
        if outputs is not y_pred:  # another pass than that of this step
            start = self._start()
        step = _Step(self, x, y, third, start)
        return self._training_loss(loss, step)

    @property
    def losses(self):
        """Losses that layers added and penalties of the weights."""
        # on JAX Keras has in ours those of its own pass
        return self.model.losses if self._here.again else super().losses

    @property
    def output_names(self):
        """Names of the outputs, if `model` has them."""
        return self.model.output_names

    def export(self, *args, **kwargs):
        """Exports `model`: what a wrapper adds is for training alone."""
        return self.model.export(*args, **kwargs)

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(
            copy.deepcopy(config["model"]),  # Keras empties it
            custom_objects=custom_objects,
        )
        return cls(**{**config, "model": model})


class _Step:
    """The pass that Keras has just made, to be made again at other values.

    Each pass begins with the random states and the moving statistics with
    which Keras' own began: all have the same dropout masks, and XLA computes
    once what they have in common. None leaves anything behind.

    Attributes:
        x: inputs.
        y: targets.
        third: sample weights, or what else comes third in a batch; or None.
    """

    def __init__(self, wrapper, x, y, third, start):
        self.x, self.y, self.third = x, y, third
        self._wrapper, self._start = wrapper, start

    def loss(self, values=(), model=None, inputs=None):
        """Returns the plain training loss at other values of variables.

        Args:
            values: pairs of a `keras.Variable` and a tensor.
            model: one that shares the layers of the wrapped model; that one
                if None.
            inputs: of `model`; those of the step if None.
        """
        inputs = self.x if inputs is None else inputs
        here = self._wrapper._here
        with self._scope(values) as scope, replayed(self._start.random):
            y_pred = _run(model or self._wrapper.model, inputs, True)
            here.note(scope)
            here.again, before = True, here.again
            try:
                return keras.Model.compute_loss(
                    self._wrapper,
                    self.x,
                    self.y,
                    y_pred,
                    self._wrapper._weights(self.third),
                    training=True,
                )
            finally:
                here.again = before

    def value_and_gradient(self, fn, tensors):
        """Returns `fn(*tensors)` and its gradients, a list.

        As `ops.value_and_gradient`, where float16 would lose small ones.
        """
        scale = _FLOAT16_SCALE if _has_float16(self._wrapper.model) else 1.0

        def scaled(*tensors):
            return scale * fn(*tensors)

        value, gradients = value_and_gradient(scaled, *tensors)
        if len(tensors) == 1:
            gradients = [gradients]
        return value / scale, [g / scale for g in gradients]

    def predict(self, inputs, values=(), model=None):
        """Returns what the model, training, predicts at other values."""
        with self._scope(values) as scope, replayed(self._start.random):
            outputs = _run(model or self._wrapper.model, inputs, True)
            self._wrapper._here.note(scope)
            return outputs

    def _scope(self, values):
        trainable = self._wrapper.model.trainable_variables
        # Keras penalizes weights of a scope only if they are mapped in it
        known = [(v, v.value) for v in trainable]
        return RecordingScope([*self._start.states, *known, *values])


class _Start:
    """Where a pass begins: random states and moving statistics, copied.

    Args:
        model: the one that passes go through.
        changed: ids of the variables that a pass is known to change; None
            if no pass was seen yet. Frozen tables are not copied each time.
    """

    def __init__(self, model, changed=None):
        self.random = random_state()
        self.states = [
            (v, ops.copy(ops.convert_to_tensor(v)))
            for v in model.non_trainable_variables
            if changed is None or id(v) in changed
        ]


class _Here(threading.local):
    """What a thread knows of the pass it is in: replicas have one each."""

    def __init__(self):
        self.last = None, None  # outputs, and where their pass began
        self.again = False
        self.changed = None  # ids of the variables that passes change

    def note(self, scope):
        """Remembers what a pass changed."""
        ids = {id(v) for v, _ in scope.changes()}
        self.changed = ids | (self.changed or set())


def _run(model, inputs, training):
    if "training" in inspect.signature(model.call).parameters:
        return model(inputs, training=training)
    return model(inputs)


def _has_float16(model):
    return any(
        layer.compute_dtype == "float16" for layer in (model, *model.layers)
    )


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a `keras.Model`. Received: model={model!r}"
        )
    if isinstance(model, _TrainingWrapper):
        raise ValueError(
            "`model` must be a plain model: wrap `model.model` instead. "
            f"Received: model={model!r}"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on a batch first. "
            f"Received: model={model!r}"
        )
    own = ("train_step", "test_step", "predict_step")
    for name in (*own, "compute_loss", "compute_metrics"):
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise ValueError(
                f"`model` has a `{name}` of its own, which a wrapper would "
                f"not use. Received: model={model!r}"
            )
