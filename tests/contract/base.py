"""Numbers, and what the checks of all rooms share."""

import contextlib
import json

import keras
import numpy as np
from keras import ops

# XLA wherever the backend has it: Keras' "auto" is no jit on a CPU
JIT = keras.config.backend() != "torch"
STEPS = 5  # where layers begin at zero, gradients arrive late


def normal(*shape):
    """Returns float32 normal numbers, the same at every call."""
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def integers(high, *shape):
    """Returns int32 numbers in 0, ..., high - 1, the same at every call."""
    return np.random.default_rng(0).integers(high, size=shape).astype("int32")


def to_numpy(x):
    """Returns the NumPy array of a tensor of any backend and precision."""
    return ops.convert_to_numpy(ops.cast(x, "float32"))


class Signs(keras.optimizers.Optimizer):
    """Moves weights by the sign of their gradient, however small that is.

    Each step is twice as long as the one before, so that no steps cancel. It
    has few operations, which is what tracing and compiling a step cost.
    """

    def update_step(self, gradient, variable, learning_rate):
        size = ops.add(ops.abs(gradient), 1e-30)  # NaN and ∞ give NaN
        step = ops.divide(gradient, size)
        times = ops.power(2.0, ops.cast(self.iterations, "float32"))
        learning_rate = ops.multiply(learning_rate, times)
        self.assign_sub(variable, ops.multiply(step, learning_rate))


def check_fit(net, inputs, num_targets, eager=False, own=None):
    """Fits `net`, jitted: finite, and every trainable weight has moved.

    `own` is a loss and its targets, in the place of those of this check.
    """
    optimizer = Signs(2e-3)
    if net.dtype_policy.name == "mixed_float16":
        # the default scale, 2^15, overflows on purpose for some steps
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 2.0**4)
    data = one_or_list(inputs)
    known = [keras.KerasTensor(x.shape, dtype_of(x)) for x in inputs]
    targets = [
        np.random.default_rng(i).normal(size=y.shape).astype("float32")
        for i, y in enumerate(
            flat(net.compute_output_spec(one_or_list(known)))[:num_targets]
        )
    ]
    loss = [_distance] * num_targets if num_targets else None
    if own is not None:
        loss, targets = own
    net.compile(
        optimizer, loss, jit_compile=JIT and not eager, run_eagerly=eager
    )
    # or TensorFlow traces the step twice, the first time to make variables
    net.optimizer.build(net.trainable_variables)
    before = [to_numpy(w) for w in net.trainable_variables]
    # steps of one epoch: each epoch makes an iterator, which takes its time
    data, targets = keras.tree.map_structure(
        lambda x: np.concatenate([x] * STEPS), (data, targets)
    )
    fit = net.fit(
        data,
        targets if num_targets else None,
        batch_size=len(inputs[0]),
        shuffle=False,
        verbose=0,
    )
    assert np.isfinite(fit.history["loss"]).all()
    for w, b in zip(net.trainable_variables, before, strict=True):
        assert np.isfinite(to_numpy(w)).all(), w.path
        assert (to_numpy(w) != b).any(), f"no gradient reached {w.path}"


def check_config(cls, init, config):
    """The config is JSON, holds the arguments, and gives an equal copy."""
    assert cls.from_config(as_json(config)).get_config() == config
    for key, value in arguments(init).items():
        assert key in config
        if isinstance(value, (bool, int, float, str, list, tuple, type(None))):
            assert as_json(config[key]) == as_json(value), key


def arguments(init):
    """Returns new constructor arguments of a `Case`."""
    return dict(init() if callable(init) else init)


def free_shape(x):
    return (*(None,) * (x.ndim - 2), *x.shape[1:][-1:])


def one_or_list(inputs):
    """Returns what a model takes: the one input itself, or a list."""
    return list(inputs) if len(inputs) > 1 else inputs[0]


def flat(structure):
    return keras.tree.flatten(structure)


def as_json(config):
    return json.loads(json.dumps(config))


def dtype_of(x):
    return keras.backend.standardize_dtype(x.dtype)


def is_float(x):
    return keras.backend.is_float_dtype(dtype_of(x))


def _distance(y_true, y_pred):
    """Mean of √(1 + Δ²): its slope is at most 1, so float16 holds it."""
    y_true, y_pred = (
        ops.reshape(ops.cast(y, "float32"), (-1,)) for y in (y_true, y_pred)
    )
    return ops.mean(ops.sqrt(1.0 + ops.square(y_true - y_pred)))


def assert_equal(a, b):
    for xs, ys in zip(a, b, strict=True):
        for x, y in zip(xs, ys, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@contextlib.contextmanager
def global_policy(name):
    """Sets the global dtype policy, which models take, and takes it back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
