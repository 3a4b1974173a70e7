"""What every regularizer promises."""

import keras
import numpy as np

from tests.contract.base import (
    JIT,
    arguments,
    check_config,
    normal,
    to_numpy,
)


def check_regularizer(cls, init, x, folder):
    """Checks a `keras.regularizers.Regularizer` on the kernel `x`."""
    check_config(cls, init, cls(**arguments(init)).get_config())
    value = to_numpy(cls(**arguments(init))(x))
    assert value.shape == () and np.isfinite(value)

    inputs = keras.Input(x.shape[:1])
    dense = keras.layers.Dense(
        x.shape[1], use_bias=False, kernel_regularizer=cls(**arguments(init))
    )
    net = keras.Model(inputs, dense(inputs))
    dense.kernel.assign(x)
    net.compile(keras.optimizers.Adam(1e-2), jit_compile=JIT)
    net.optimizer.build(net.trainable_variables)  # see check_fit
    history = net.fit(normal(4, len(x)), epochs=20, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    assert np.isfinite(to_numpy(dense.kernel)).all()
    net.save(folder / "regularizer.keras")
    again = keras.saving.load_model(folder / "regularizer.keras")
    assert type(again.layers[-1].kernel_regularizer) is cls
