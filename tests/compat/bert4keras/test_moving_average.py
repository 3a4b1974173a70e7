import keras
import numpy as np
import pytest

from su_models.compat.bert4keras.moving_average import MovingAverage
from tests.contract import normal, to_numpy


def test_averages_of_a_loop():
    optimizer = MovingAverage(keras.optimizers.SGD(0.05), 0.7)
    w = keras.Variable(normal(3, 2))
    expected, average = to_numpy(w), np.zeros((3, 2))
    for t in range(4):
        slope = normal(3, 2) * (t + 1)
        optimizer.apply([keras.ops.convert_to_tensor(slope)], [w])
        expected = expected - 0.05 * slope
        average = 0.7 * average + 0.3 * expected
    np.testing.assert_allclose(to_numpy(w), expected, rtol=1e-5)
    optimizer.apply_ema_weights()
    np.testing.assert_allclose(to_numpy(w), average / (1 - 0.7**4), rtol=1e-5)
    optimizer.reset_old_weights()
    np.testing.assert_allclose(to_numpy(w), expected, rtol=1e-5)
    optimizer.apply_ema_weights(bias_correction=False)
    np.testing.assert_allclose(to_numpy(w), average, rtol=1e-5)


def test_fit_ends_with_the_weights_and_callbacks_swap(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = MovingAverage(keras.optimizers.SGD(0.1), 0.5)
    model.compile(optimizer, "mse")
    seen = []

    class Swap(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            before = [to_numpy(w) for w in model.weights]
            optimizer.apply_ema_weights()
            seen.append([to_numpy(w) for w in model.weights])
            model.predict(normal(3, 2), verbose=0)
            optimizer.reset_old_weights()
            after = [to_numpy(w) for w in model.weights]
            np.testing.assert_array_equal(before[0], after[0])

    x, y = normal(8, 2), normal(8, 1)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[Swap()])
    assert np.abs(seen[-1][0] - to_numpy(model.weights[0])).max() > 1e-6
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.optimizer.ema_momentum == 0.5
    averages = [to_numpy(v) for v in optimizer._averages]
    for a, b in zip(averages, again.optimizer._averages, strict=True):
        np.testing.assert_array_equal(a, to_numpy(b))


def test_momentum_is_checked():
    with pytest.raises(ValueError, match="Received: ema_momentum=1.5"):
        MovingAverage(keras.optimizers.SGD(0.1), 1.5)
