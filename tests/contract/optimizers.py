"""What every optimizer and every learning rate schedule promises."""

import keras
import numpy as np

from tests.contract.base import (
    JIT,
    arguments,
    as_json,
    assert_equal,
    check_config,
    dtype_of,
    global_policy,
    is_float,
    normal,
    to_numpy,
)


def check_optimizer(cls, init, folder):
    """Checks an optimizer where users put it: unbuilt, in a compiled `fit`."""

    def new():
        return cls(**arguments(init))

    config = new().get_config()
    assert cls.from_config(as_json(config)).get_config() == config

    optimizer = new()
    optimizer.learning_rate = 0.25
    assert float(to_numpy(optimizer.learning_rate)) == 0.25

    # an initial assignment traced into the train step would differ here
    net, built = _linear(new()), _linear(new())
    built.optimizer.build(built.trainable_variables)
    assert_equal([_fit_weights(net, 5)], [_fit_weights(built, 5)])

    # the state is saved whole: resumed equals uninterrupted
    net.save(folder / "optimizer.keras")
    again = keras.saving.load_model(folder / "optimizer.keras")
    assert_equal([_fit_weights(net, 4)], [_fit_weights(again, 4)])

    x, y = _line(16)
    _fit_weights(net, 300)
    error = to_numpy(net(x)) - y
    assert np.square(error).mean() < 0.01 * np.square(y).mean()

    for policy in ("mixed_bfloat16", "mixed_float16"):
        with global_policy(policy):
            net = _linear(new())
        net.optimizer.build(net.trainable_variables)  # see check_fit
        before = [to_numpy(w) for w in net.trainable_variables]
        after = _fit_weights(net, 20)
        for a, b in zip(after, before, strict=True):
            assert np.isfinite(a).all() and (a != b).any()
        for v in net.optimizer.variables:
            assert not is_float(v) or dtype_of(v) == "float32"


def check_schedule(cls, init, folder):
    """Checks a learning rate schedule, alone and in a compiled `fit`."""
    rate = cls(**arguments(init))
    check_config(cls, init, rate.get_config())
    steps = np.arange(30)
    values = [to_numpy(rate(int(t))) for t in steps]
    assert np.isfinite(values).all() and np.min(values) >= 0
    np.testing.assert_allclose(to_numpy(rate(steps)), values, rtol=1e-6)

    net = _linear(keras.optimizers.SGD(rate))
    _fit_weights(net, 5)
    got = to_numpy(net.optimizer.learning_rate)
    np.testing.assert_allclose(got, values[5], rtol=1e-6)
    net.save(folder / "schedule.keras")
    again = keras.saving.load_model(folder / "schedule.keras")
    assert_equal([_fit_weights(net, 4)], [_fit_weights(again, 4)])


def _linear(optimizer):
    """Returns a compiled linear model that has not been trained."""
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(2, kernel_initializer="zeros")
    net = keras.Model(inputs, dense(inputs))
    net.compile(optimizer, "mse", jit_compile=JIT)
    return net


def _line(n):
    x = normal(n, 3)
    return x, x @ np.array([[1.0, -0.5], [0.7, 0.2], [-0.3, 0.9]], "float32")


def _fit_weights(net, steps):
    x, y = _line(4 * steps)
    net.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    return [to_numpy(w) for w in net.trainable_variables]
