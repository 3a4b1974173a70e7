"""What every layer promises, whatever its mathematics."""

import keras
import numpy as np

from tests.contract.base import (
    JIT,
    arguments,
    assert_equal,
    check_config,
    check_fit,
    dtype_of,
    flat,
    free_shape,
    global_policy,
    is_float,
    one_or_list,
    to_numpy,
)


def check_layer(cls, init, inputs, folder, shape=None, loss=None):
    """Checks a layer; the arguments are those of a `Case`."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    if shape is None:
        shape = tuple((None, *free_shape(x)) for x in inputs)
    elif len(inputs) == 1:
        shape = (shape,)
    _check_layer_config(cls, init, inputs)
    _check_symbolic_shape_and_saving(cls, init, inputs, shape, folder)
    _check_repeatability(cls, init, inputs)
    _check_empty_batch(cls, init, inputs)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        _check_low_precision(cls, init, inputs, policy)
    for policy in ("float32", "mixed_float16"):
        _check_training(cls, init, inputs, shape, policy, loss)


def _check_layer_config(cls, init, inputs):
    layer = cls(**arguments(init))
    config = layer.get_config()
    layer(*inputs)
    assert layer.get_config() == config, "building must not change the config"
    check_config(cls, init, config)


def _check_symbolic_shape_and_saving(cls, init, inputs, shape, folder):
    model = _around(cls(**arguments(init)), inputs, shape)
    path = folder / "layer.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    y, z = flat(model(one_or_list(inputs))), flat(again(one_or_list(inputs)))
    for tensor, symbolic in zip(y, model.outputs, strict=True):
        assert len(tensor.shape) == len(symbolic.shape)
        for n, promised in zip(tensor.shape, symbolic.shape, strict=True):
            assert promised in (None, n), "another shape than promised"
        assert dtype_of(tensor) == dtype_of(symbolic)
    for a, b in zip(y, z, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-6)


def _check_repeatability(cls, init, inputs):
    """Same seed, same result; a layer with a seed draws anew at each call."""

    def calls(**more):
        keras.utils.set_random_seed(7)
        layer = cls(**{**arguments(init), **more})
        calls = [flat(layer(*inputs, training=True)) for _ in range(2)]
        return [[to_numpy(y) for y in call] for call in calls]

    assert_equal(calls(), calls())
    if "seed" in cls(**arguments(init)).get_config():
        first, second = calls(seed=3)
        assert_equal(calls(seed=3), [first, second])
        moved = [(a != b).any() for a, b in zip(first, second, strict=True)]
        assert any(moved), "two calls in training drew the same numbers"


def _check_empty_batch(cls, init, inputs):
    """An empty batch gives an empty result, or a readable `ValueError`."""
    layer = cls(**arguments(init))
    full = flat(layer(*inputs))
    try:
        empty = flat(layer(*(x[:0] for x in inputs)))
    except ValueError as error:
        assert "Received" in str(error), error
        return
    for a, b in zip(full, empty, strict=True):
        if a.shape and a.shape[0] == len(inputs[0]):
            assert tuple(b.shape) == (0, *a.shape[1:])


def _check_low_precision(cls, init, inputs, policy):
    layer = cls(**arguments(init), dtype=policy)
    outputs = [y for y in flat(layer(*inputs)) if is_float(y)]
    for y in outputs:
        assert np.isfinite(to_numpy(y)).all(), f"not finite in {policy}"
    if outputs and layer.autocast and is_float(inputs[0]):
        assert dtype_of(outputs[0]) in (layer.compute_dtype, "float32")


def _check_training(cls, init, inputs, shape, policy, loss):
    """Compiled as users run it; gradients reach upstream and all weights."""
    with global_policy(policy):
        layer = cls(**arguments(init))
        free = [
            keras.Input(s[1:], dtype=dtype_of(x))
            for s, x in zip(shape, inputs, strict=True)
        ]
        stems = [
            keras.layers.Dense(x.shape[-1])(i)
            if is_float(x) and x.ndim > 1
            else i
            for i, x in zip(free, inputs, strict=True)
        ]
        every = flat(layer(*stems))
        # masks and positions are no floats, and nothing trains through them
        outputs = [y for y in every if is_float(y)] or every
        net = keras.Model(one_or_list(free), outputs)
    if not net.trainable_variables:
        net.compile(jit_compile=JIT)
        for y in flat(net.predict(one_or_list(inputs), verbose=0)):
            assert np.isfinite(y).all()
        return
    own = None if loss is None else (getattr(layer, loss[0]), loss[1])
    check_fit(net, inputs, len(outputs), own=own)


def recurrent(cell):
    """Returns a class: `keras.layers.RNN` around a cell, as if it were one."""

    @keras.saving.register_keras_serializable(package="tests")
    class Recurrent(keras.layers.RNN):
        def __init__(self, name=None, dtype=None, trainable=True, **kwargs):
            own = {"name": name, "dtype": dtype, "trainable": trainable}
            super().__init__(
                cell(**own, **kwargs), return_sequences=True, **own
            )

        def get_config(self):
            return {**self.cell.get_config(), "name": self.name}

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    return Recurrent


def merging(cls):
    """Returns a class: a layer of a list, called with its items."""

    @keras.saving.register_keras_serializable(package="tests")
    class Merging(cls):
        def __call__(self, *inputs, **kwargs):
            # a loaded model passes the list
            one = len(inputs) == 1 and isinstance(inputs[0], list)
            return super().__call__(inputs[0] if one else [*inputs], **kwargs)

    return Merging


def check_padding_is_ignored(layer, x, mask):
    """Alters and cuts padding: outputs at real positions must not move.

    `x` is `(batch, length, ...)`, `mask` `(batch, length)`, right-padded.
    The mask arrives as it does from an upstream layer with `mask_zero`.
    """
    masked = _Masked()
    keep = np.reshape(mask, mask.shape + (1,) * (x.ndim - 2))  # as x
    marks = np.broadcast_to(keep, (*x.shape[:-1], 1)).astype(x.dtype)

    def run(x, marks):
        outputs = layer(masked(np.concatenate([x, marks], axis=-1)))
        return to_numpy(flat(outputs)[0])

    clean = run(x, marks)
    moved = run(np.where(keep, x, x + 5).astype(x.dtype), marks)
    np.testing.assert_allclose(clean[mask], moved[mask], atol=1e-5)
    for i, n in enumerate(mask.sum(axis=1)):
        bare = run(x[i : i + 1, :n], marks[i : i + 1, :n])
        np.testing.assert_allclose(clean[i, :n], bare[0], atol=1e-5)


class _Masked(keras.layers.Layer):
    """Takes the last feature off as the mask, like `mask_zero` upstream."""

    def call(self, inputs):
        return inputs[..., :-1]

    def compute_mask(self, inputs, previous_mask=None):
        keep = inputs[..., -1] > 0
        while len(keep.shape) > 2:
            keep = keep[..., 0]
        return keep


def _around(layer, inputs, shape):
    """Returns a model of `layer` on symbolic inputs of the given shapes."""
    free = [
        keras.Input(s[1:], dtype=dtype_of(x))
        for s, x in zip(shape, inputs, strict=True)
    ]
    return keras.Model(one_or_list(free), flat(layer(*free)))
