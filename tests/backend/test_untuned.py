import keras
import numpy as np
import pytest

from su_models.backend.untuned import untuned
from su_models.runs.minibatches import Minibatches


def test_fit_gets_the_batches_of_each_epoch():
    y = np.arange(50, dtype="float32")
    batches = Minibatches((np.ones((50, 1)), y), 10, 4, seed=0)
    x = keras.Input((1,))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Model(x, dense(x))
    model.compile(keras.optimizers.SGD(0.25), "mse")
    history = model.fit(
        untuned(batches),
        initial_epoch=2,
        epochs=5,
        shuffle=False,
        callbacks=[batches.follow],
        verbose=0,
    )
    assert history.params["steps"] == 4
    w = 0.0  # moves half way to the mean of each batch
    for number in (2, 3, 4):
        batches.begin(number)
        for i in range(4):
            w = (w + batches[i][1].mean()) / 2
    np.testing.assert_allclose(model.get_weights()[0], [[w]], rtol=1e-5)


def test_inputs_may_be_nested():
    x, scale = keras.Input((2,), name="x"), keras.Input((1,), name="scale")
    total = keras.ops.sum(x, axis=1, keepdims=True) * scale
    dense = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)
    total = dense(total)  # right from the start
    rows = np.arange(12.0).reshape(6, 2), np.arange(6.0)[:, None]
    names = {"x": rows[0], "scale": rows[1]}
    target = rows[0].sum(axis=1, keepdims=True) * rows[1]
    for inputs, given in (
        ([x, scale], [*rows]),
        ((x, scale), rows),
        ({"x": x, "scale": scale}, names),
    ):
        model = keras.Model(inputs, total)
        model.compile("sgd", "mse")
        batches = Minibatches((given, target), 4, 3, seed=0)
        history = model.fit(untuned(batches), shuffle=False, verbose=0)
        assert history.history["loss"][0] < 1e-5


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="tf.data tunes itself"
)
def test_the_pipeline_is_not_tuned():
    # the time that tuning takes to stop differs, so the option is asked
    batches = Minibatches((np.ones((50, 1)), np.ones(50)), 10, 4, seed=0)
    assert untuned(batches).options().autotune.enabled is False


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="others read it themselves"
)
def test_other_backends_read_it_themselves():
    batches = Minibatches((np.ones((50, 1)), np.ones(50)), 10, 4, seed=0)
    assert untuned(batches) is batches
