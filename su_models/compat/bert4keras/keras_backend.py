"""Functions of Keras 2's `keras.backend`, bert4keras' `K`, over `keras.ops`.

Functions with the same name, arguments and defaults in `keras.ops` are those
of `keras.ops`, see `SAME`. The others are defined here. Every other name
raises an `AttributeError`.
"""

import keras
import numpy as np
from keras import ops

# functions that `keras.ops` has with the same meaning
SAME = (
    "abs all any arange cast clip cos cumsum dot elu equal exp eye greater "
    "greater_equal less less_equal log logsumexp max maximum mean min minimum "
    "not_equal ones ones_like relu round shape sigmoid sign sin "
    "softmax softplus softsign sqrt square stack std stop_gradient sum tanh "
    "tile transpose var where zeros zeros_like"
).split()
_LATER = {
    "gradients": "the wrappers of `su_models.training` (AdversarialTraining, "
    "GradientPenalty, VirtualAdversarialTraining), or `su_models.backend."
    "gradient` for a function of tensors",
    "function": "`keras.Model(inputs, outputs)` and its `predict_on_batch`",
}


def __getattr__(name):
    if name in SAME:
        return getattr(ops, name)
    raise AttributeError(
        f"`K.{name}` of Keras 2 is not here; `keras.ops` may have it under "
        "another name (docs/from_bert4keras.md)."
    )


def __dir__():
    return sorted({*globals(), *SAME})


# ---- settings


def floatx():
    """Returns the default floating-point dtype, a str."""
    return keras.config.floatx()


def epsilon():
    """Returns Keras' small number, 1e-7 by default."""
    return keras.config.epsilon()


# ---- variables and shapes


def constant(value, dtype=None, shape=None, name=None):
    """Returns a tensor of a value, optionally repeated to a shape."""
    x = ops.convert_to_tensor(value, dtype or floatx())
    return x if shape is None else ops.broadcast_to(x, shape)


def variable(value, dtype=None, name=None):
    """Returns a variable with an initial value."""
    return keras.Variable(np.asarray(value), dtype=dtype or floatx(), name=name)


def eval(x):
    """Returns the value of a tensor or variable, a NumPy array."""
    return ops.convert_to_numpy(x)


get_value = eval


def set_value(x, value):
    """Sets the value of a variable."""
    x.assign(value)


def batch_get_value(variables):
    """Returns the values of variables, a list of NumPy arrays."""
    return [eval(v) for v in variables]


def batch_set_value(pairs):
    """Sets the values of variables, given pairs of a variable and a value."""
    for x, value in pairs:
        x.assign(value)


def update(x, new_x):
    """Sets a variable to a tensor, and returns its value."""
    x.assign(new_x)
    return x.value


def update_add(x, increment):
    """Adds to a variable, and returns its value."""
    return update(x, x.value + increment)


def dtype(x):
    """Returns the dtype of a tensor or variable, a str."""
    return keras.backend.standardize_dtype(x.dtype)


def ndim(x):
    """Returns the number of axes."""
    return len(x.shape)


def int_shape(x):
    """Returns the static shape, a tuple with None for unknown sizes."""
    return tuple(x.shape)


# ---- other defaults, or other names


def argmax(x, axis=-1):
    """Returns the indices of the largest entries along an axis."""
    return ops.argmax(x, axis=axis)


def argmin(x, axis=-1):
    """Returns the indices of the smallest entries along an axis."""
    return ops.argmin(x, axis=axis)


def concatenate(tensors, axis=-1):
    """Returns tensors joined along an axis."""
    return ops.concatenate(tensors, axis=axis)


def expand_dims(x, axis=-1):
    """Returns x with a new axis of size 1."""
    return ops.expand_dims(x, axis)


def gather(reference, indices):
    """Returns the rows of a tensor at the given indices."""
    return ops.take(reference, _indices(indices), axis=0)


def l2_normalize(x, axis=None):
    """Returns x divided by its Euclidean norm along an axis, or overall."""
    x = ops.convert_to_tensor(x)
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(square, 1e-12))


def one_hot(indices, num_classes):
    """Returns one-hot vectors of the default floating-point dtype."""
    return ops.one_hot(_indices(indices), num_classes, dtype=floatx())


def permute_dimensions(x, pattern):
    """Returns x with its axes in another order."""
    return ops.transpose(x, pattern)


def pow(x, a):
    """Returns x to the power a, elementwise."""
    return ops.power(x, a)


def prod(x, axis=None, keepdims=False):
    """Returns the product of the entries; x may be a part of `K.shape(...)`."""
    if isinstance(x, (list, tuple)):
        if all(isinstance(i, (int, np.integer)) for i in x):
            return int(np.prod(x))
        x = ops.stack([ops.cast(i, "int32") for i in x])
    return ops.prod(x, axis=axis, keepdims=keepdims)


def repeat_elements(x, rep, axis):
    """Returns x with each entry along an axis repeated beside itself."""
    return ops.repeat(x, rep, axis=axis)


def reverse(x, axes):
    """Returns x with the entries along some axes in reverse order."""
    return ops.flip(x, axis=axes)


def squeeze(x, axis):
    """Returns x without an axis of size 1."""
    return ops.squeeze(x, axis)


def reshape(tensor, *args):
    """Returns a tensor of another shape, as bert4keras extends it.

    Args:
        tensor: a tensor.
        *args: the new shape; or pairs of a shape and an axis, which replace
            each of these axes by several: `reshape(x, (h, d), -1)`.
    """
    if len(args) == 1:
        return ops.reshape(tensor, args[0])
    if len(args) % 2:
        raise ValueError(
            "`reshape` takes a shape, or pairs of a shape and an axis. "
            f"Received: {len(args)} arguments after the tensor"
        )
    axes = [[size] for size in ops.shape(tensor)]
    for shape, axis in zip(args[::2], args[1::2], strict=True):
        shape, (old,) = list(shape), axes[axis]
        if -1 in shape:
            known = [s for s in shape if s != -1]
            shape[shape.index(-1)] = old // prod(known)
        axes[axis] = shape
    return ops.reshape(tensor, [size for sizes in axes for size in sizes])


def flatten(tensor, start=None, end=None):
    """Returns a tensor whose axes from `start` to before `end` are one."""
    shape = list(ops.shape(tensor))
    start, end = start or 0, end or len(shape)
    joined = prod(shape[start:end])
    return ops.reshape(tensor, [*shape[:start], joined, *shape[end:]])


# ---- losses; Keras 2 has the targets first, as `keras.ops`


def binary_crossentropy(target, output, from_logits=False):
    """Returns the binary cross-entropy of each entry."""
    return ops.binary_crossentropy(target, output, from_logits=from_logits)


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Returns the cross-entropy of one-hot targets."""
    return ops.categorical_crossentropy(
        target, output, from_logits=from_logits, axis=axis
    )


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Returns the cross-entropy of class indices of any dtype."""
    return ops.sparse_categorical_crossentropy(
        _indices(target), output, from_logits=from_logits, axis=axis
    )


# ---- training


def random_binomial(shape, p=0.0, dtype=None, seed=None):
    """Returns 1 with probability p, else 0.

    Without a seed the numbers are from Keras' global generator, which JAX
    cannot use in a compiled step.
    """
    uniform = keras.random.uniform(shape, seed=seed)
    return ops.cast(uniform < p, dtype or floatx())


class _InTrainPhase(keras.layers.Layer):
    """Returns the first of two inputs in training, else the second."""

    def call(self, inputs, training=None):
        return inputs[0 if training else 1]


def in_train_phase(x, alt, training=None):
    """Returns x in training, else alt; in a layer, the phase of its call.

    Args:
        x, alt: tensors, or functions without arguments that return them.
            Both are computed.
        training: optional bool. Defaults to that of the surrounding layer.
    """
    inputs = [f() if callable(f) else f for f in (x, alt)]
    # TensorFlow rejects Keras' name for it, which begins with "_"
    name = f"in_train_phase_{keras.backend.get_uid('in_train_phase')}"
    layer = _InTrainPhase(name=name, autocast=False)
    # inside a layer, Keras passes the phase on unless one is given, even None
    return layer(inputs, **({} if training is None else {"training": training}))


def gradients(*args, **kwargs):
    """Raises an error: Keras 3 has no symbolic gradients."""
    raise NotImplementedError(_replacement("gradients"))


def function(*args, **kwargs):
    """Raises an error: Keras 3 has no functions of symbolic tensors."""
    raise NotImplementedError(_replacement("function"))


def _replacement(name):
    return f"`K.{name}` does not exist in Keras 3; use {_LATER[name]}."


def _indices(x):
    """Returns integers of numbers of any dtype."""
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    return x if "int" in dtype(x) else ops.cast(x, "int32")
