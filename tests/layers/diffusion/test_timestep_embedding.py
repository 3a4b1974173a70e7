"""Article: https://kexue.fm/archives/9152"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled
from su_models.layers import TimestepEmbedding
from tests.contract import JIT, to_numpy


def sinusoids(t, dim):
    """The docstring's formula, feature by feature."""
    row = np.empty(dim)
    for i in range(dim // 2):
        angle = (t - 1) * 10000 ** (-2 * i / dim)
        row[2 * i], row[2 * i + 1] = np.sin(angle), np.cos(angle)
    return row


def test_sinusoids_match_their_formula_at_every_step():
    y = to_numpy(TimestepEmbedding(1000, 6, True)(np.arange(1, 1001)))
    expected = [sinusoids(t, 6) for t in range(1, 1001)]
    np.testing.assert_allclose(y, expected, atol=1e-7)


@pytest.mark.parametrize("sinusoidal", [True, False])
def test_step_t_is_row_t_minus_1(sinusoidal):
    layer = TimestepEmbedding(5, 4, sinusoidal)
    y = to_numpy(layer(np.array([1, 5, 3, 5])))
    table = to_numpy(layer.table)
    assert table.shape == (5, 4) and len(np.unique(table[:, 0])) == 5
    np.testing.assert_array_equal(y, table[[0, 4, 2, 4]])


def test_sinusoids_are_frozen_and_a_learned_table_is_not():
    frozen, learned = (TimestepEmbedding(7, 4, s) for s in (True, False))
    for layer in frozen, learned:
        layer.build((None,))
    assert frozen.trainable_variables == []
    assert [v.path for v in frozen.non_trainable_variables] == [
        frozen.table.path
    ]
    assert learned.trainable_variables == [learned.table]
    assert 0 < np.abs(to_numpy(learned.table)).max() <= 0.05


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_sinusoids_are_exact_before_they_are_rounded(policy):
    layer = TimestepEmbedding(1000, 6, True, dtype=policy)
    y = layer(np.array([1000, 999]))
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    expected = [sinusoids(1000, 6), sinusoids(999, 6)]
    np.testing.assert_allclose(to_numpy(y), expected, atol=4e-3)


@pytest.mark.parametrize("jit", [JIT, False])
def test_repeated_steps_are_one_gradient_for_adam(jit):
    """Keras' Adam on TensorFlow takes repeated rows for separate ones."""
    t = keras.Input((), dtype="int32")
    layer = TimestepEmbedding(5, 2)
    net = keras.Model(t, ops.sum(layer(t), axis=-1))
    before = to_numpy(layer.table)
    net.compile(keras.optimizers.Adam(0.1), _mean, jit_compile=jit)
    steps = np.array([2, 2, 2, 4])
    net.fit(steps, np.zeros(4), batch_size=4, verbose=0)
    moved = before - to_numpy(layer.table)
    # a first step of Adam is the learning rate, whatever the gradient
    expected = 0.1 * np.array([0, 1, 0, 1, 0])[:, None] * np.ones(2)
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def _mean(y_true, y_pred):
    return ops.mean(y_pred)


@pytest.mark.parametrize("num_steps", [0, -1, 2.5, "12", None])
def test_bad_numbers_of_steps_are_refused(num_steps):
    with pytest.raises(ValueError, match=f"Received: num_steps={num_steps!r}"):
        TimestepEmbedding(num_steps, 4)


@pytest.mark.parametrize(
    "dim, sinusoidal", [(0, False), (-2, True), (1.5, False), (5, True)]
)
def test_bad_dims_are_refused(dim, sinusoidal):
    with pytest.raises(ValueError, match=f"Received: dim={dim}"):
        TimestepEmbedding(10, dim, sinusoidal)


def test_odd_dim_is_fine_for_a_learned_table():
    assert TimestepEmbedding(3, 5)(np.array([1, 3])).shape == (2, 5)


@pytest.mark.parametrize("flag", ["False", 1, None])
def test_what_is_no_flag_is_refused(flag):
    with pytest.raises(ValueError, match=f"Received: sinusoidal={flag!r}"):
        TimestepEmbedding(10, 4, flag)


def test_numpy_numbers_are_numbers():
    layer = TimestepEmbedding(np.int64(10), np.int32(4), np.True_)
    config = layer.get_config()
    kinds = [type(config[k]) for k in ("num_steps", "dim", "sinusoidal")]
    assert kinds == [int, int, bool]


@pytest.mark.parametrize("step", [0, 11, -1, 1.5])
def test_steps_that_do_not_exist_are_refused(step):
    layer = TimestepEmbedding(10, 4)
    words = f"`steps` must be integers from 1 to 10. Received: .* {step}"
    with pytest.raises(ValueError, match=words):
        layer(np.array([1, step]))


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled: an error")
@pytest.mark.parametrize("sinusoidal", [False, True])
def test_steps_that_do_not_exist_are_nan_when_compiled(sinusoidal):
    layer = TimestepEmbedding(10, 4, sinusoidal)
    layer.build((None,))
    y = to_numpy(compiled(layer)(np.array([0, 1, 10, 11, -1], "int32")))
    assert np.isnan(y[[0, 3, 4]]).all()
    np.testing.assert_array_equal(y[1:3], to_numpy(layer.table)[[0, 9]])


def test_steps_in_floats_are_not_rounded():
    layer = TimestepEmbedding(3000, 2, dtype="mixed_float16")
    y = to_numpy(layer(np.array([2047.0, 2049.0, 2999.0])))
    table = to_numpy(ops.cast(layer.table, "float16"))
    np.testing.assert_array_equal(y, table[[2046, 2048, 2998]])
