"""What every loss promises."""

import keras
import numpy as np
from keras import ops

from tests.contract.base import (
    JIT,
    arguments,
    check_config,
    to_numpy,
)


def check_loss(cls, init, y_true, y_pred, folder, by_sample=True):
    """Checks a `keras.losses.Loss` on one batch of targets and predictions."""
    loss = cls(**arguments(init))
    check_config(cls, init, loss.get_config())
    value = to_numpy(loss(y_true, y_pred))
    assert value.shape == () and np.isfinite(value)
    if by_sample:
        _check_reduction(cls, init, y_true, y_pred)
    for dtype in ("bfloat16", "float16"):
        low = to_numpy(loss(y_true, ops.cast(y_pred, dtype)))
        np.testing.assert_allclose(low, value, rtol=0.05, atol=0.05)

    inputs = keras.Input(y_pred.shape[1:])
    net = keras.Model(inputs, keras.layers.Dense(y_pred.shape[-1])(inputs))
    net.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=JIT)
    net.optimizer.build(net.trainable_variables)  # see check_fit
    before = [to_numpy(w) for w in net.trainable_variables]
    history = net.fit(y_pred, y_true, epochs=20, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    for w, b in zip(net.trainable_variables, before, strict=True):
        assert np.isfinite(to_numpy(w)).all() and (to_numpy(w) != b).any()
    net.save(folder / "loss.keras")
    again = keras.saving.load_model(folder / "loss.keras")
    assert type(again.loss) is cls
    assert again.loss.get_config() == loss.get_config()


def _check_reduction(cls, init, y_true, y_pred):
    """One number a sample, and Keras' reductions and weights of them."""

    def value(reduction, **more):
        loss = cls(**arguments(init), reduction=reduction)
        return to_numpy(loss(y_true, y_pred, **more))

    each = value(None)
    assert each.shape == y_pred.shape[:1], "not one number a sample"
    weight = np.arange(len(each), dtype="float32")
    np.testing.assert_allclose(value("sum"), each.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        value("sum_over_batch_size"), each.mean(), rtol=1e-5
    )
    np.testing.assert_allclose(
        value(None, sample_weight=weight), each * weight, rtol=1e-5
    )
