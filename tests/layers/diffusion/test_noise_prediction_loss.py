"""Article: https://kexue.fm/archives/9119"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import NoisePredictionLoss
from tests.contract import JIT, normal, to_numpy

NOISE, PREDICTED = normal(2, 3, 4, 5), normal(2, 3, 4, 5)[::-1] * 1.5


def loop(noise, predicted):
    """Eq. (15): summed over height, width and channels."""
    losses = []
    for e, p in zip(noise, predicted, strict=True):
        total = 0.0
        for index in np.ndindex(e.shape):
            total += (float(e[index]) - float(p[index])) ** 2
        losses.append(total)
    return losses


def test_matches_eq_15_image_by_image():
    y = to_numpy(NoisePredictionLoss()(NOISE, PREDICTED))
    np.testing.assert_allclose(y, loop(NOISE, PREDICTED), rtol=1e-5)
    assert y.shape == (2,)


def test_added_loss_is_the_mean_over_the_batch():
    layer = NoisePredictionLoss()
    layer(NOISE, PREDICTED)
    (added,) = layer.losses
    expected = np.mean(loop(NOISE, PREDICTED))
    np.testing.assert_allclose(to_numpy(added), expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_sum_is_done_in_float32(policy):
    big = 300 * NOISE  # its squares, summed, are beyond float16
    y = NoisePredictionLoss(dtype=policy)(big, 0 * big)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    expected = loop(big, 0 * big)
    assert min(expected) > 65504
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-2)


def test_fit_sees_the_loss_and_its_gradient():
    noise, x = keras.Input((3,)), keras.Input((3,))
    scale = keras.layers.Dense(3, kernel_initializer="zeros", use_bias=False)
    loss = NoisePredictionLoss()(noise, scale(x))
    net = keras.Model([noise, x], loss)
    net.compile(keras.optimizers.SGD(0.1), jit_compile=JIT)
    e, data = normal(4, 3), normal(8, 3)[4:]
    shown = net.fit([e, data], batch_size=4, verbose=0).history["loss"]
    np.testing.assert_allclose(shown, [np.square(e).sum() / 4], rtol=1e-5)
    gradient = data.T @ (-2 * e) / 4  # sum over features, mean over 4 images
    np.testing.assert_allclose(
        to_numpy(scale.kernel), -0.1 * gradient, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 3, 4), (2, 60)])
def test_shapes_that_would_broadcast_are_refused(shape):
    with pytest.raises(ValueError, match="Received: predicted_noise of shape"):
        NoisePredictionLoss()(NOISE, normal(*shape))
    inputs = keras.Input(shape[1:])
    with pytest.raises(ValueError, match="Received: predicted_noise of shape"):
        NoisePredictionLoss()(keras.Input((3, 4, 5)), inputs)


@pytest.mark.parametrize("n", [(1, 4), (4, 1), (2, 3)])
def test_other_batches_are_refused_also_once_it_is_built(n):
    layer = NoisePredictionLoss()
    layer(NOISE, PREDICTED)
    noise, predicted = (normal(k, 3, 4, 5) for k in n)
    with pytest.raises(ValueError, match="Received: predicted_noise of shape"):
        layer(noise, predicted)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="sizes are known elsewhere"
)
def test_a_batch_that_is_unknown_is_not_broadcast():
    import tensorflow as tf

    layer = NoisePredictionLoss()
    free = tf.TensorSpec((None, 3, 4, 5))
    loss = tf.function(lambda *x: layer(*x), input_signature=[free, free])
    np.testing.assert_allclose(loss(NOISE, PREDICTED), loop(NOISE, PREDICTED))
    for n, m in ((2, 1), (1, 2)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            loss(NOISE[:n], PREDICTED[:m])


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="JAX has float64 on request alone"
)
def test_float64_is_kept():
    one = np.ones((2, 3))
    y = NoisePredictionLoss(dtype="float64")(one, one + 1e-9)
    assert keras.backend.standardize_dtype(y.dtype) == "float64"
    np.testing.assert_allclose(ops.convert_to_numpy(y), 3e-18, rtol=1e-6)
