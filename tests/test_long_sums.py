"""Sums over many numbers in 16 bits, wherever the library has one.

Each test has so many equal terms that a running sum in the dtype is far off:
bfloat16 stops growing at 256 terms, float16 at 2048, and ends at 65504.
Dense, local and sparse attention, losses and products are tested with the
error's bound beside their modules; here each result is near the exact one.
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models import layers, regularizers, training
from su_models.ops import hsic, normal_kl
from tests.contract import normal, to_numpy
from tests.long_sums import sum_in

HALF = ("bfloat16", "float16")
each_half = pytest.mark.parametrize("dtype", HALF)


@pytest.fixture(autouse=True)
def only_wide_sums(monkeypatch):
    """Rejects sums in 16 bits also where this processor has them exact.

    Eigen and XLA add packets of terms in trees or in float32 on some
    processors and for some shapes, so that a result alone proves nothing.
    """

    def guarded(function):
        def guard(x, *args, **kwargs):
            dtype = keras.backend.standardize_dtype(x.dtype)
            assert dtype not in HALF, f"ops.{function.__name__} of {dtype}"
            return function(x, *args, **kwargs)

        return guard

    for name in ("sum", "mean"):
        monkeypatch.setattr(ops, name, guarded(getattr(ops, name)))


def assert_near(actual, exact, terms, dtype, rtol):
    """Asserts equality that a sum of the terms in `dtype` would miss."""
    terms = np.asarray(terms, "float64")
    total = terms.sum(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = np.abs(sum_in(dtype, terms) - total) / np.abs(total)
    lost = np.nan_to_num(lost, nan=np.inf)
    assert np.max(lost) > 8 * rtol, "sums in 16 bits would pass as well"
    actual = np.asarray(to_numpy(actual), "float64")
    np.testing.assert_allclose(actual, exact, rtol=rtol)


@each_half
def test_gated_attention_unit(dtype):
    """n equal tokens read what two read: the weights' sum is 1."""
    n = 1500
    layer = layers.GatedAttentionUnit(
        8,
        4,
        kernel_initializer=keras.initializers.RandomUniform(0, 1, 0),
        normalization="softmax",
        dtype=dtype,
    )  # all numbers are positive: no sum cancels
    x = ops.cast(0.5 + np.abs(normal(1, 1, 6)), dtype)
    exact = to_numpy(layer(ops.tile(x, (1, 2, 1)))).astype("float64")[:, :1]
    exact = np.repeat(exact, n, axis=1)
    rtol = {"bfloat16": 0.03, "float16": 0.004}[dtype]
    terms = np.full(n, 1 / n)
    assert_near(layer(ops.tile(x, (1, n, 1))), exact, terms, dtype, rtol)


@each_half
@pytest.mark.parametrize("estimator", ["biased", "gretton", "unbiased"])
def test_hsic(dtype, estimator):
    n = 2100
    x = ops.cast(normal(n, 3), dtype)
    y = ops.cast(to_numpy(x) ** 2, dtype)
    wide = [ops.cast(t, "float32") for t in (x, y)]
    exact = to_numpy(hsic(*wide, 1.0, estimator))
    terms = np.full(n, 0.7 / n)
    assert_near(hsic(x, y, 1.0, estimator), exact, terms, dtype, 1e-3)


@each_half
@pytest.mark.parametrize("name", ["VectorQuantizer", "VectorQuantizerEMA"])
def test_quantizers(dtype, name):
    n, d = 3000, 4
    layer = getattr(layers, name)(
        2, restart_threshold=0.0, dtype=dtype, codebook_initializer="zeros"
    )
    x = ops.cast(np.full((1, n, d), 0.7), dtype)
    _, codes = layer(x, training=True)
    value = float(to_numpy(x)[0, 0, 0])
    terms = np.full(n * d, value**2 / (n * d))
    weights = {"VectorQuantizer": [1.0, 0.25], "VectorQuantizerEMA": [0.25]}
    exact = sum(weights[name]) * value**2
    loss = ops.sum(ops.stack([ops.cast(v, "float32") for v in layer.losses]))
    assert_near(loss, exact, terms, dtype, 0.02)
    # every vector is counted
    assert not to_numpy(codes).any()
    used = to_numpy(layer.usage).astype("float64")
    decay = layer.usage_decay
    np.testing.assert_allclose(
        used, [decay / 2 + 1 - decay, decay / 2], rtol=0.02
    )
    if name == "VectorQuantizerEMA":
        rows = [layer.decay + (1 - layer.decay) * n, layer.decay]
        np.testing.assert_allclose(to_numpy(layer._count), rows, rtol=0.02)
        total = (1 - layer.decay) * n * value
        assert_near(
            layer._sum[0], np.full(d, total), np.ones(n), dtype, rtol=0.02
        )


@each_half
def test_diffusion_loss(dtype):
    layer = layers.NoisePredictionLoss(dtype=dtype)
    noise = ops.cast(np.full((2, 64, 64, 3), 3.0), dtype)
    loss = layer(noise, ops.zeros_like(noise))
    exact = np.full(2, 9.0 * 64 * 64 * 3)  # beyond what float16 holds
    assert_near(loss, exact, np.full(64 * 64 * 3, 9.0), dtype, 1e-5)
    np.testing.assert_allclose(to_numpy(layer.losses[0]), exact[0], rtol=1e-5)


@each_half
def test_loss_of_the_vae(dtype):
    layer = layers.VAELoss(dtype=dtype)
    x = ops.cast(np.full((2, 64, 64, 3), 3.0), dtype)
    code = ops.ones((2, 5), dtype)
    loss = layer(x, ops.zeros_like(x), code, ops.zeros_like(code))
    exact = np.full(2, 4.5 * 64 * 64 * 3 + 2.5)
    assert_near(loss, exact, np.full(64 * 64 * 3, 4.5), dtype, 1e-5)


@each_half
def test_divergence_of_a_long_code(dtype):
    mean = ops.cast(np.full((2, 3000), 6.0), dtype)
    loss = normal_kl(mean, ops.zeros_like(mean))
    terms = np.full(3000, 18.0)
    assert_near(loss, np.full(2, 54_000.0), terms, dtype, 1e-5)


@each_half
@pytest.mark.parametrize("name", ["MaskedOrthogonality", "SelfOrthogonality"])
def test_regularizers(dtype, name):
    n = 3000
    penalty = getattr(regularizers, name)()
    x = ops.cast(np.full((n, 2), 0.7), dtype)
    exact = to_numpy(penalty(ops.cast(x, "float32")))
    assert_near(penalty(x), exact, np.full(n, 0.49), dtype, 1e-5)


WIDTH = 4096


def summing_model(dtype):
    """y = Σ e / 64 of one embedding e: its gradient is 1/64 everywhere."""
    tokens = keras.Input((1,), dtype="int32")
    x = keras.layers.Embedding(
        1, WIDTH, embeddings_initializer="zeros", dtype=dtype
    )(tokens)
    x = keras.layers.Flatten(dtype=dtype)(x)
    y = keras.layers.Dense(
        1,
        kernel_initializer=keras.initializers.Constant(1 / 64),
        use_bias=False,
        dtype=dtype,
    )(x)
    return keras.Model(tokens, y)


@each_half
@pytest.mark.parametrize(
    ("name", "arguments", "exact"),
    [  # ‖gradient‖ is 1, and 0 with respect to the kernel, of zeros
        ("GradientPenalty", {"epsilon": 3.0}, 1.5),
        ("GradientPenalty", {"epsilon": 3.0, "perturb": "outputs"}, 1.5),
        ("ImplicitGradientRegularization", {"rate": 4.0}, 1.0),
        ("AdversarialTraining", {"epsilon": 3.0}, 3.0),
        ("AdversarialTraining", {"epsilon": 3.0, "perturb": "outputs"}, 3.0),
    ],
)
def test_training_wrappers(dtype, name, arguments, exact):
    net = getattr(training, name)(summing_model(dtype), **arguments)
    net.compile(
        keras.optimizers.SGD(0.0),
        loss=lambda y_true, y_pred: ops.cast(y_pred, "float32"),
        jit_compile=False,
    )
    loss = net.train_on_batch(np.zeros((1, 1), "int32"), np.zeros((1, 1)))
    terms = np.full(WIDTH, 1 / WIDTH)
    assert_near(loss, exact, terms, dtype, 0.01)
