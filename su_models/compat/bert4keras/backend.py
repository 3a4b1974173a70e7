"""bert4keras' `backend`: `keras`, `K`, and functions of tensors."""

import keras
from keras import ops

import su_models.compat.bert4keras.keras_backend as K
from su_models.compat.bert4keras.keras_backend import (
    dtype,
    flatten,
    reshape,
)
from su_models.layers.attention.weights import attention_weights
from su_models.layers.position.sinusoids import sinusoids
from su_models.losses.multilabel_crossentropy import log_sum_of_both
from su_models.models.transformer.activations import gelu_tanh
from su_models.optimizers.piecewise_linear import PiecewiseLinear
from su_models.utils.checks import check_choice

__all__ = [
    "K",
    "Sinusoidal",
    "align",
    "apply_rotary_position_embeddings",
    "attention_normalize",
    "batch_gather",
    "divisible_temporal_padding",
    "dtype",
    "flatten",
    "gelu_erf",
    "gelu_tanh",
    "keras",
    "leaky_relu",
    "multilabel_categorical_crossentropy",
    "piecewise_linear",
    "pool1d",
    "recompute_grad",
    "reshape",
    "root_mean_square",
    "search_layer",
    "sequence_masking",
    "set_gelu",
    "sinusoidal_embeddings",
    "sparse_multilabel_categorical_crossentropy",
    "swish",
    "symbolic",
    "where",
]

_register = keras.saving.register_keras_serializable("su_models.bert4keras")

swish = keras.activations.silu
_FAR = 1e12  # a score that excludes a label; log-sum-exp needs it finite


# ---- activations


@_register
def gelu_erf(x):
    """Returns the exact GELU."""
    return keras.activations.gelu(x)


_GELU = {"erf": keras.activations.gelu, "tanh": gelu_tanh}
_chosen = ["erf"]  # changed by `set_gelu` only


def set_gelu(version):
    """Chooses what `hidden_act="gelu"` means in models that are built later.

    Differs: Keras' own `"gelu"` is not replaced.

    Args:
        version: "erf", the exact GELU, or "tanh", its approximation.
    """
    _chosen[0] = check_choice("version", str(version).lower(), tuple(_GELU))


def chosen_activation(act):
    """Returns an activation, or the chosen GELU for the name "gelu"."""
    return _GELU[_chosen[0]] if act == "gelu" else act


@_register
def leaky_relu(x, alpha=0.2):
    """Returns x where positive, else `alpha * x`."""
    return ops.leaky_relu(x, negative_slope=alpha)


# ---- shapes and masks


def align(tensor, axes, ndim=None):
    """Returns a tensor with axis i at axis `axes[i]`, and others of size 1.

    Args:
        tensor: a tensor.
        axes: list of int, ascending; may be negative if `ndim` is given.
        ndim: int. Number of axes of the result. Defaults to the least.
    """
    ndim = ndim or max(axes) + 1
    kept = {axis % ndim for axis in axes}
    return ops.expand_dims(tensor, tuple({*range(ndim)} - kept))


def where(cond, x, y):
    """Returns x where a condition is true or not 0, else y, broadcast."""
    return ops.where(ops.cast(cond, "bool"), x, y)


def sequence_masking(
    x, mask=None, value=0, axis=None, bias=None, return_mask=False
):
    """Returns x with a value at masked steps, and with a bias elsewhere.

    Args:
        x: `(batch, ...)`.
        mask: optional booleans or numbers `(batch, length)`; 0 is masked.
        value: number, or "-inf" or "inf".
        axis: int or list of int, the axes of `length`. Defaults to 1.
        bias: optional tensor that broadcasts against x: booleans, a further
            mask, or numbers, which are added.
        return_mask: bool. Whether to return the aligned mask as well.
    """
    ndim, value = len(x.shape), float(value)
    whole = None
    if mask is not None:
        axes = axis if isinstance(axis, (list, tuple)) else [axis or 1]
        for one in axes:
            aligned = align(ops.cast(mask, "bool"), [0, one % ndim], ndim)
            whole = aligned if whole is None else whole & aligned
    if bias is not None and dtype(bias) == "bool":
        bias = ops.convert_to_tensor(bias)
        whole = bias if whole is None else whole & bias
    elif bias is not None:
        x = ops.add(x, bias)
    if whole is not None:
        x = ops.where(whole, x, ops.cast(value, x.dtype))
    return (x, whole) if return_mask else x


def attention_normalize(a, mask=None, axis=-1, method="softmax", bias=None):
    """Returns attention weights of scores.

    Differs: a row in which every key is masked has weights of 0, not NaN.

    Args:
        a: scores `(batch, ..., queries, keys)`.
        mask: optional booleans `(batch, keys)`.
        axis: -1, the axis of the keys.
        method: "softmax", "squared_relu" or "softmax_plus".
        bias: optional tensor that broadcasts against `a`: booleans, a mask of
            pairs, or numbers, which are added.
    """
    check_choice("axis", axis, (-1, len(a.shape) - 1))
    if bias is not None and dtype(bias) != "bool":
        a, bias = ops.add(a, bias), None
    _, mask = sequence_masking(a, mask, 0, -1, bias, return_mask=True)
    return ops.cast(attention_weights(a, mask, method), a.dtype)


def batch_gather(params, indices):
    """Returns `params[..., indices, :]` with indices of each sample.

    Args:
        params: `(batch, ..., n, ...)`, with the same leading axes as
            `indices` but for the last.
        indices: numbers `(batch, ..., k)`, of any dtype.
    """
    indices = ops.cast(indices, "int32")
    axis = len(indices.shape) - 1
    for _ in range(len(params.shape) - 1 - axis):
        indices = ops.expand_dims(indices, -1)  # (b, ..., k, 1, ...)
    return ops.take_along_axis(params, indices, axis=axis)


def pool1d(
    x, pool_size, strides=1, padding="valid", data_format=None, pool_mode="max"
):
    """Returns the pooled steps of `(batch, length, features)`."""
    check_choice("pool_mode", pool_mode, ("max", "avg"))
    pool = ops.max_pool if pool_mode == "max" else ops.average_pool
    return pool(x, pool_size, strides, padding, data_format)


def divisible_temporal_padding(x, n):
    """Returns `(batch, length, features)` with zeros up to a multiple of n."""
    batch, length, features = ops.shape(x)
    zeros = ops.zeros((batch, -length % n, features), x.dtype)
    return ops.concatenate([x, zeros], axis=1)


def root_mean_square(x, axis=None, keepdims=False):
    """Returns the root of the mean square."""
    return ops.sqrt(ops.mean(ops.square(x), axis=axis, keepdims=keepdims))


# ---- positions


def sinusoidal_embeddings(pos, dim, base=10000):
    """Returns sines and cosines of positions, in adjacent pairs."""
    return sinusoids(pos, dim, float(base), K.floatx())


@_register
class Sinusoidal(keras.initializers.Initializer):
    """Initializes a table with `sinusoidal_embeddings`."""

    def __call__(self, shape, dtype=None):
        rows = sinusoidal_embeddings(ops.arange(shape[0]), shape[1])
        return ops.cast(rows, dtype or K.floatx())


def apply_rotary_position_embeddings(sinusoidal, *tensors):
    """Returns tensors whose pairs of features are rotated, one or a list.

    Args:
        sinusoidal: `(1|batch, length, dim)` from `sinusoidal_embeddings`.
        *tensors: `(batch, length, ..., dim)`.
    """
    if not tensors:
        raise ValueError("At least one tensor is needed. Received: none")
    rotated = []
    for x in tensors:
        angles = align(sinusoidal, [0, 1, -1], len(x.shape))
        angles = ops.cast(angles, x.dtype)
        sin, cos = angles[..., ::2], angles[..., 1::2]
        a, b = x[..., ::2], x[..., 1::2]
        pairs = ops.stack([a * cos - b * sin, b * cos + a * sin], axis=-1)
        rotated.append(ops.reshape(pairs, ops.shape(x)))
    return rotated[0] if len(rotated) == 1 else rotated


# ---- losses


@_register
def multilabel_categorical_crossentropy(y_true, y_pred):
    """Returns the multi-label cross-entropy, `(...)`.

    Args:
        y_true: numbers from 0 to 1, `(..., labels)`.
        y_pred: scores `(..., labels)`; -inf excludes a label.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    # a label of score -inf adds nothing to either sum
    y_true = ops.where(ops.equal(y_pred, float("-inf")), 0.0, y_true)
    return log_sum_of_both(y_true, y_pred)


@_register
def sparse_multilabel_categorical_crossentropy(y_true, y_pred, mask_zero=False):
    """Returns the multi-label cross-entropy for lists of labels, `(...)`.

    Args:
        y_true: indices `(..., most_labels)`, of any dtype.
        y_pred: scores `(..., labels)`.
        mask_zero: bool. Whether index 0 is padding, in the lists and in the
            scores.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    zero = ops.zeros_like(y_pred[..., :1])
    first = y_pred[..., :1]
    high, low = (zero + _FAR, zero - _FAR) if mask_zero else (first, first)
    rest = [y_pred[..., 1:], zero]
    of_targets = ops.concatenate([high, *rest], axis=-1)
    of_all = ops.concatenate([low, *rest], axis=-1)
    targets = batch_gather(of_targets, y_true)
    positive = ops.logsumexp(-ops.concatenate([targets, zero], -1), axis=-1)
    total = ops.logsumexp(of_all, axis=-1)
    part = ops.logsumexp(batch_gather(of_all, y_true), axis=-1)
    others = ops.clip(1 - ops.exp(part - total), K.epsilon(), 1.0)
    return positive + total + ops.log(others)


# ---- models and training


def piecewise_linear(t, schedule, from_zero=True):
    """Returns the value at step t of a schedule such as `{1000: 1, 2000: 0}`.

    Args:
        t: number of the step, a tensor or a number.
        schedule: dict from steps to values.
        from_zero: bool. Whether the value rises from 0 before the first step
            of the schedule; if False, it is the first value.
    """
    if not from_zero:
        schedule = {0: schedule[min(schedule)], **schedule}
    return PiecewiseLinear(schedule)(t)


def search_layer(inputs, name, exclude_from=None):
    """Returns the layer of a name that a tensor or layer depends on, or None.

    Args:
        inputs: a symbolic tensor, a layer or a model.
        name: str.
        exclude_from: optional set of layers to leave out.
    """
    if isinstance(inputs, keras.Model):
        layers = [inputs]
    else:
        if isinstance(inputs, keras.layers.Layer):
            inputs = inputs.output
        tensor = keras.tree.flatten(inputs)[0]
        if not keras.backend.is_keras_tensor(tensor):
            raise ValueError(
                "`inputs` must be a symbolic tensor, a layer or a model; "
                "Keras 3 passes losses other tensors, which do not know their "
                f"layers. Received: inputs={inputs!r}"
            )
        sources = keras.utils.get_source_inputs(tensor)
        layers = keras.Model(sources, tensor).layers
    while layers:
        layer = layers.pop()
        if layer.name == name and layer not in (exclude_from or ()):
            return layer
        if isinstance(layer, keras.Model):
            layers += layer.layers
    return None


def symbolic(f):
    """Returns the function unchanged."""
    return f


def recompute_grad(call):
    """Returns the method unchanged; `keras.RematScope` saves memory instead."""
    return call
