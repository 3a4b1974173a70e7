"""Base of the wrappers that change the training loss."""

import contextlib
import copy
import inspect
import threading

import keras
from keras import ops

from su_models.backend.autodiff import unrecorded, value_and_gradient
from su_models.backend.random_replay import random_state, replayed
from su_models.backend.recording_scope import RecordingScope
from su_models.backend.summing import summing
from su_models.utils.checks import check_flag

_FLOAT16_SCALE = 2.0**10  # scale of a loss, so small gradients are not zero


class TrainingWrapper(keras.Model):
    """Base of wrappers that train a model with another loss.

    A wrapper has the layers, inputs and outputs of `model` and no weights of
    its own. It predicts and evaluates like `model`; only `fit` differs. Its
    weight files are those of `model`, with the optimizer's state. The
    optimizer receives the gradient of a table summed over repeated tokens,
    also on TensorFlow.

    A subclass defines `_training_loss`, and `get_config` if it has arguments.

    Args:
        model: a built `keras.Model`.
        name: optional name.
        trainable: bool. False freezes the layers of `model`.

    Raises:
        ValueError: if `model` is not built, not a `keras.Model`, a wrapper,
            or has a training or test step of its own.
    """

    def __init__(self, model, name=None, trainable=True):
        _check_model(model)
        # `model` converts the inputs
        super().__init__(name=name, dtype=model.dtype_policy, autocast=False)
        self.model = model
        self.supports_masking = True
        self.built = True
        if not check_flag("trainable", trainable):
            self.trainable = False
        self._here = _Here()

    def _training_loss(self, loss, step):
        """Returns the loss that `fit` minimizes.

        Args:
            loss: scalar, the loss that Keras would minimize.
            step: `_Step`, which repeats the pass at other values.

        Returns:
            A scalar.
        """
        raise NotImplementedError

    _again = True  # whether the technique repeats the pass

    def _weights(self, third):
        """Returns the sample weights, given the third part of a batch."""
        if third is None:
            return None
        # a copy, since Keras on PyTorch multiplies masks into it in place
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
        """Returns the loss of the technique; in evaluation the plain loss.

        Args:
            x: inputs.
            y: targets.
            y_pred: the outputs that the wrapper has just returned for `x`.
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
        if outputs is not y_pred:  # not the pass of this step
            start = self._start()
        step = _Step(self, x, y, third, start)
        return self._training_loss(loss, step)

    def train_step(self, *args):
        """Takes Keras' training step with summed gradients."""
        return keras.Model.train_step(summing(self), *args)

    @property
    def losses(self):
        """Losses that layers added, and penalties of the weights."""
        # on JAX Keras stores the losses of its own pass in the wrapper
        return self.model.losses if self._here.again else super().losses

    @property
    def layers(self):
        """The layers of `model`, which `get_layer` searches."""
        return self.model.layers

    @property
    def inputs(self):
        """The symbolic inputs of `model`, if it has them."""
        return self.model.inputs

    @property
    def outputs(self):
        """The symbolic outputs of `model`, if it has them."""
        return self.model.outputs

    @property
    def input(self):
        """The symbolic inputs of `model` in their structure."""
        return self.model.input

    @property
    def output(self):
        """The symbolic outputs of `model` in their structure."""
        return self.model.output

    @property
    def output_names(self):
        """Names of the outputs, if `model` has them."""
        return self.model.output_names

    def export(self, *args, **kwargs):
        """Exports `model`, since a wrapper changes only training."""
        return self.model.export(*args, **kwargs)

    def save_weights(self, *args, **kwargs):
        """Saves the weights of `model`, with the optimizer's state.

        The file equals the one that a compiled `model` would save.
        """
        with self._lent_optimizer():
            self.model.save_weights(*args, **kwargs)

    def load_weights(self, *args, **kwargs):
        """Loads a file that this wrapper, another one or `model` saved."""
        with self._lent_optimizer():
            self.model.load_weights(*args, **kwargs)

    @contextlib.contextmanager
    def _lent_optimizer(self):
        """Lends the optimizer to `model`, where Keras looks for it."""
        before = vars(self.model).copy()
        optimizer = getattr(self, "optimizer", None)
        if optimizer is not None:
            vars(self.model)["optimizer"] = optimizer
        try:
            yield
        finally:
            vars(self.model).pop("optimizer", None)
            if "optimizer" in before:
                vars(self.model)["optimizer"] = before["optimizer"]

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(
            copy.deepcopy(config["model"]),  # Keras changes it in place
            custom_objects=custom_objects,
        )
        return cls(**{**config, "model": model})


class _Step:
    """Repeats the pass that Keras has just made at other values.

    Each pass begins with the random states and the moving statistics of
    Keras' own pass: all passes have the same dropout masks, and XLA computes
    their common parts once. No pass changes the model's state.

    Attributes:
        x: inputs.
        y: targets.
        third: sample weights, or another third part of a batch; or None.
    """

    def __init__(self, wrapper, x, y, third, start):
        self.x, self.y, self.third = x, y, third
        self._wrapper, self._start = wrapper, start

    def loss(self, values=(), model=None, inputs=None):
        """Returns the plain training loss at other values of variables.

        Args:
            values: pairs of a `keras.Variable` and a tensor.
            model: a model that shares the layers of the wrapped model.
                Defaults to the wrapped model itself.
            inputs: inputs of `model`. Defaults to those of the step.
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

        Unlike `backend.value_and_gradient`, it does not lose small gradients
        in float16.
        """
        scale = _FLOAT16_SCALE if _has_float16(self._wrapper.model) else 1.0

        def scaled(*tensors):
            return scale * fn(*tensors)

        value, gradients = value_and_gradient(scaled, *tensors)
        if len(tensors) == 1:
            gradients = [gradients]
        return value / scale, [g / scale for g in gradients]

    def ascent(self, fn, tensors):
        """Returns the gradients of `fn(*tensors)` as constants, a list."""
        with unrecorded():
            _, gradients = self.value_and_gradient(fn, tensors)
        return [ops.stop_gradient(g) for g in gradients]

    def predict(self, inputs, values=(), model=None):
        """Returns the outputs in training mode at other variable values."""
        with self._scope(values) as scope, replayed(self._start.random):
            outputs = _run(model or self._wrapper.model, inputs, True)
            self._wrapper._here.note(scope)
            return outputs

    def _scope(self, values):
        trainable = self._wrapper.model.trainable_variables
        # Keras computes penalties only for weights that the scope maps
        known = [(v, v.value) for v in trainable]
        return RecordingScope([*self._start.states, *known, *values])


class _Start:
    """A copy of random states and moving statistics before a pass.

    Args:
        model: the model of the passes.
        changed: ids of the variables that a pass is known to change, or None
            before the first pass. Other variables, such as frozen tables, are
            not copied.
    """

    def __init__(self, model, changed=None):
        self.random = random_state()
        self.states = [
            (v, ops.copy(ops.convert_to_tensor(v)))
            for v in model.non_trainable_variables
            if changed is None or id(v) in changed
        ]


class _Here(threading.local):
    """State of the current pass of a thread, since replicas are threads."""

    def __init__(self):
        self.last = None, None  # outputs, and the `_Start` of their pass
        self.again = False
        self.changed = None  # ids of the variables that passes change

    def note(self, scope):
        """Remembers the variables that a pass changed."""
        ids = {id(v) for v, _ in scope.changes()}
        self.changed = ids | (self.changed or set())


def _run(model, inputs, training):
    if "training" in inspect.signature(model.call).parameters:
        return model(inputs, training=training)
    return model(inputs)


def _has_float16(model):
    return any(x.compute_dtype == "float16" for x in model._flatten_layers())


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a `keras.Model`. Received: model={model!r}"
        )
    if isinstance(model, TrainingWrapper):
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
                f"`model` must not have a `{name}` of its own, which a "
                f"wrapper would not use. Received: model={model!r}"
            )
