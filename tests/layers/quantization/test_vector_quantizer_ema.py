"""Article: https://kexue.fm/archives/9826"""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import VectorQuantizerEMA
from tests.contract import JIT, normal, to_numpy


def quantizer(codes, **more):
    """A built layer with the given codebook."""
    codes = np.asarray(codes, "float32")
    layer = VectorQuantizerEMA(len(codes), **more)
    layer.build((None, codes.shape[1]))
    layer._sum.assign(codes)
    return layer


def codes(k=5, d=3):
    return np.random.default_rng(7).normal(size=(k, d)).astype("float32")


def nearest(z, codes):
    return np.array([np.linalg.norm(x - codes, axis=-1).argmin() for x in z])


def test_matches_the_averages_step_by_step():
    """Eq. (7) by count and sum, in loops; the loss is the commitment."""
    alpha, epsilon, e = 0.7, 1e-3, codes()
    layer = quantizer(e, decay=alpha, epsilon=epsilon, commitment_weight=0.5)
    count, total = np.ones(5), e.astype("float64")
    for step in range(6):
        z = np.random.default_rng(step).normal(size=(11, 3)).astype("float32")
        smooth = (count + epsilon) / (count.sum() + 5 * epsilon) * count.sum()
        assert smooth.sum() == pytest.approx(count.sum())
        e = total / smooth[:, None]
        np.testing.assert_allclose(to_numpy(layer.codebook), e, rtol=1e-4)
        k = nearest(z, e)
        quantized, indices = layer(z, training=True)
        np.testing.assert_array_equal(ops.convert_to_numpy(indices), k)
        np.testing.assert_allclose(to_numpy(quantized), e[k], rtol=1e-4)
        (loss,) = layer.losses
        expected = 0.5 * ((z - e[k]) ** 2).mean()
        assert float(to_numpy(loss)) == pytest.approx(expected, rel=1e-4)
        for j in range(5):
            mine = z[k == j]
            count[j] = alpha * count[j] + (1 - alpha) * len(mine)
            total[j] = alpha * total[j] + (1 - alpha) * mine.sum(axis=0)


def test_without_memory_a_batch_is_a_step_of_k_means():
    z, e = normal(40, 3), codes()
    layer = quantizer(e, decay=0.0, epsilon=0.0)
    layer(z, training=True)
    k = nearest(z, e)
    expected = [z[k == j].mean(0) if (k == j).any() else e[j] for j in range(5)]
    np.testing.assert_allclose(to_numpy(layer.codebook), expected, atol=1e-5)


def test_a_code_that_is_not_used_keeps_its_place():
    e = np.array([[0.0, 0.0], [50.0, -50.0]], "float32")
    layer = quantizer(e, decay=0.5)
    for _ in range(60):  # 2⁻⁶⁰ is far below epsilon
        layer(normal(8, 2), training=True)
    np.testing.assert_allclose(to_numpy(layer.codebook)[1], e[1], rtol=2e-3)


def test_averages_move_in_training_only():
    z, frozen = normal(20, 3), quantizer(codes())
    frozen.trainable = False
    for layer, training in ((quantizer(codes()), False), (frozen, True)):
        before = [to_numpy(w) for w in layer.weights]
        layer(z, training=training)
        for a, w in zip(before, layer.weights, strict=True):
            np.testing.assert_array_equal(a, to_numpy(w))
    assert not quantizer(codes()).trainable_weights


def test_dead_codes_move_to_vectors_of_the_batch():
    e = np.full((6, 2), 100.0, "float32")
    e[0] = 0
    layer = quantizer(e, restart_threshold=0.5, decay=0.4, seed=0)
    z = normal(20, 2)
    layer(z, training=True)
    moved = to_numpy(layer.codebook)[1:]
    near = [np.abs(z - row).max(-1).min() for row in moved]
    assert max(near) < 1e-3
    assert len(np.unique(moved.round(3), axis=0)) == 5
    assert len(set(ops.convert_to_numpy(layer(z)[1]))) == 6


def test_masked_vectors_do_not_count():
    z, e = normal(2, 7, 3), codes()
    mask = np.arange(7) < np.array([[7], [3]])
    masked, bare = (quantizer(e, decay=0.3) for _ in range(2))
    masked(z, mask=ops.convert_to_tensor(mask), training=True)
    bare(z[mask], training=True)
    for a, b in zip(masked.weights, bare.weights, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)


def test_training_resumes_where_it_was_saved(tmp_path):
    def new():
        keras.utils.set_random_seed(2)
        inputs = keras.Input((2,))
        layer = VectorQuantizerEMA(7, decay=0.5, restart_threshold=0.6, seed=0)
        net = keras.Model(inputs, layer(keras.layers.Dense(2)(inputs)))
        net.compile(keras.optimizers.Adam(1e-2))
        return net

    def fit(net, epochs):
        net.fit(
            normal(24, 2), batch_size=8, epochs=epochs, shuffle=False, verbose=0
        )
        return net

    whole, half = fit(new(), 4), fit(new(), 2)
    half.save(tmp_path / "net.keras")
    resumed = fit(keras.saving.load_model(tmp_path / "net.keras"), 2)
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)


def test_it_clusters_in_a_compiled_fit():
    """Four clouds, twelve codes: each is a code, none is between two."""
    centres = np.array([[4, 4], [4, -4], [-4, 4], [-4, -4]], "float32")
    x = np.tile(centres, (64, 1)) + 0.1 * normal(256, 2)
    inputs = keras.Input((2,))
    layer = VectorQuantizerEMA(12, decay=0.5, restart_threshold=0.1, seed=3)
    net = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)[0]))
    net.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=JIT)
    net.fit(x, x[:, :1], batch_size=64, epochs=12, verbose=0)
    quantized, indices = layer(x)
    assert np.abs(to_numpy(quantized) - x).max() < 0.6
    used = to_numpy(layer.codebook)[np.unique(ops.convert_to_numpy(indices))]
    away = np.linalg.norm(used[:, None] - centres, axis=-1)
    assert (away.min(axis=1) < 0.6).all()


REPLICAS = """
import numpy as np, tensorflow as tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    device, [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from su_models.layers import VectorQuantizerEMA

def train(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        inputs = keras.Input((2,))
        layer = VectorQuantizerEMA(5, decay=0.5, seed=0)
        net = keras.Model(inputs, layer(inputs))
        net.compile("sgd")
    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    net.fit(x, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return layer.codebook.numpy().tolist()

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
for strategy in (two, tf.distribute.get_strategy()):
    print(train(strategy))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="only TensorFlow runs replicas of a layer",
)
def test_averages_are_the_same_on_all_replicas():
    run = subprocess.run(
        [sys.executable, "-c", REPLICAS], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    two, one = (np.array(json.loads(x)) for x in run.stdout.splitlines())
    np.testing.assert_allclose(two, one, atol=1e-5)


@pytest.mark.parametrize("name", ["decay", "epsilon"])
@pytest.mark.parametrize("value", [1.0, -0.1, "0.9", None, float("nan")])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .*Received: {name}="):
        VectorQuantizerEMA(4, **{name: value})


def test_a_codebook_without_codes_is_refused():
    with pytest.raises(ValueError, match="Received: codebook_size=0"):
        VectorQuantizerEMA(0)


def test_config_is_that_of_its_arguments():
    config = VectorQuantizerEMA(4, decay=0.9).get_config()
    assert "usage_decay" not in config and "codebook_weight" not in config
    again = VectorQuantizerEMA.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "mixed_float16", "float64"]
)
def test_every_dtype(dtype):
    if dtype == "float64" and keras.config.backend() == "jax":
        pytest.skip("JAX has float64 where it is switched on alone")
    z = normal(20, 3)
    wide, layer = (
        VectorQuantizerEMA(4, decay=0.99, codebook_initializer="ones", dtype=d)
        for d in ("float32", dtype)
    )
    for _ in range(3):
        wide(z, training=True)
        quantized, _ = layer(z, training=True)
    assert (
        keras.backend.standardize_dtype(quantized.dtype) == layer.compute_dtype
    )
    # a step of 1/100 would be lost in bfloat16
    np.testing.assert_allclose(
        to_numpy(layer.codebook), to_numpy(wide.codebook), rtol=1e-2
    )
    assert (to_numpy(layer.codebook)[0] != 1).all()


def test_a_vector_that_is_not_finite_moves_no_code():
    z = normal(6, 3)
    ours, theirs = (
        VectorQuantizerEMA(
            2, decay=0.5, codebook_initializer=keras.initializers.Zeros()
        )
        for _ in range(2)
    )
    bad = np.concatenate([z, np.full((1, 3), np.nan, "float32")])
    ours(bad, training=True)
    theirs(z, training=True)
    np.testing.assert_allclose(
        to_numpy(ours.codebook), to_numpy(theirs.codebook), rtol=1e-6
    )


def test_numpy_numbers_are_numbers():
    layer = VectorQuantizerEMA(np.int64(4), np.float32(0.5), np.float64(0.125))
    config = json.loads(json.dumps(layer.get_config()))
    assert VectorQuantizerEMA.from_config(config).get_config() == config
