"""Article: https://kexue.fm/archives/8265

The contract (config, saving, mask, precision, training) is a row in
tests/contract/.
"""

import keras
import numpy as np
import pytest

from su_models.layers import RotaryEmbedding
from tests.contract import normal, to_numpy


def rotate(x, positions, base=10000.0):
    """Eq. (9) read literally: complex numbers, and one loop per index."""
    y = np.empty(x.shape, "float64")
    d = x.shape[-1]
    for n, m in enumerate(positions):
        for i in range(d // 2):
            z = x[:, n, ..., 2 * i] + 1j * x[:, n, ..., 2 * i + 1]
            z = z * np.exp(1j * m * base ** (-2 * i / d))
            y[:, n, ..., 2 * i], y[:, n, ..., 2 * i + 1] = z.real, z.imag
    return y


@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 7, 3, 6), (1, 1, 2)])
def test_matches_eq_9(shape):
    x = normal(*shape)
    y = to_numpy(RotaryEmbedding()(x))
    np.testing.assert_allclose(y, rotate(x, range(shape[1])), atol=1e-5)


def test_base_sets_the_frequencies():
    x = normal(2, 7, 3, 6)
    y = to_numpy(RotaryEmbedding(base=50.0)(x))
    np.testing.assert_allclose(y, rotate(x, range(7), base=50.0), atol=1e-5)


def test_each_row_may_have_its_own_positions():
    x = normal(2, 4, 3, 6)
    p = np.array([[0, 5, 6, 1], [9, 8, 7, 2]])
    y = to_numpy(RotaryEmbedding()(x, positions=p))
    for row in range(2):
        one = rotate(x[row : row + 1], p[row])
        np.testing.assert_allclose(y[row : row + 1], one, atol=1e-5)


def test_positions_may_be_an_input_of_a_model():
    x, p = normal(2, 4, 6), np.array([[3, 2, 1, 0], [4, 4, 4, 4]])
    inputs = keras.Input((None, 6)), keras.Input((None,), dtype="int32")
    layer = RotaryEmbedding()
    net = keras.Model(inputs, layer(inputs[0], positions=inputs[1]))
    expected = to_numpy(layer(x, positions=p))
    given = net.predict((x, p), verbose=0)
    np.testing.assert_allclose(given, expected, atol=1e-6)


@pytest.mark.parametrize("shift", [1, 137])
def test_scores_depend_on_relative_position_only(shift):  # Eq. (12)
    q, k = np.split(normal(2, 1, 5, 8), 2)
    rope = RotaryEmbedding()

    def scores(shift):
        p = np.arange(5) + shift
        x, y = (to_numpy(rope(t[0], positions=p))[0] for t in (q, k))
        return x @ y.T

    np.testing.assert_allclose(scores(0), scores(shift), atol=1e-4)


def test_relative_rotation_is_by_the_key_minus_the_query():  # Eq. (12)
    q, k = normal(2, 1, 8)[:, None]
    rope = RotaryEmbedding()
    x = to_numpy(rope(q, positions=[9]))
    y = to_numpy(rope(k, positions=[12]))
    expected = (q * rotate(k, [12 - 9])).sum()
    np.testing.assert_allclose((x * y).sum(), expected, atol=1e-4)


def test_length_of_vectors_is_kept():
    x = normal(2, 7, 3, 6)
    y = to_numpy(RotaryEmbedding()(x))
    norms = [np.linalg.norm(t, axis=-1) for t in (x, y)]
    np.testing.assert_allclose(*norms, rtol=1e-5)


@pytest.mark.parametrize(
    ("policy", "atol"),
    # a rounding unit of each precision, for two products and their sum
    [("float32", 2e-3), ("mixed_float16", 3e-3), ("mixed_bfloat16", 2e-2)],
)
def test_every_position_to_8191_in_each_precision(policy, atol):
    x = np.ones((1, 8192, 4), "float32")
    y = to_numpy(RotaryEmbedding(dtype=policy)(x))
    np.testing.assert_allclose(y, rotate(x, range(8192)), atol=atol)


def test_mask_reaches_the_next_layer():
    ids = keras.layers.Embedding(9, 4, mask_zero=True)
    mean = keras.layers.GlobalAveragePooling1D()
    net = keras.Sequential([ids, RotaryEmbedding(), mean])
    padded, bare = (to_numpy(net(np.array([i]))) for i in ([3, 4, 0], [3, 4]))
    np.testing.assert_allclose(padded, bare, atol=1e-6)


def test_odd_dim_is_refused():
    with pytest.raises(ValueError, match=r"even. Received: .*\(2, 7, 5\)"):
        RotaryEmbedding()(normal(2, 7, 5))


def test_inputs_without_a_length_are_refused():
    with pytest.raises(ValueError, match=r"length.* Received: .*\(2, 6\)"):
        RotaryEmbedding()(normal(2, 6))


@pytest.mark.parametrize("base", [0, -1.0, float("nan")])
def test_base_that_is_not_positive_is_refused(base):
    with pytest.raises(ValueError, match=f"> 0. Received: base={base}"):
        RotaryEmbedding(base=base)


def test_positions_that_are_no_integers_are_refused():
    with pytest.raises(ValueError, match="integers. Received: .*float32"):
        RotaryEmbedding()(
            normal(2, 7, 6), positions=np.arange(7, dtype="float32")
        )


@pytest.mark.parametrize(
    "shape", [(1,), (6,), (2, 1), (1, 2, 7), (1, 7), (5, 7)]
)
@pytest.mark.parametrize("batch", [1, 2])
def test_positions_of_another_shape_are_refused(shape, batch):
    if shape == (batch, 7):
        return
    with pytest.raises(ValueError, match="7.* Received: positions of shape"):
        RotaryEmbedding()(
            normal(batch, 7, 6), positions=np.zeros(shape, "int32")
        )


@pytest.mark.parametrize("kind", ["uint8", "int32"])
def test_integer_inputs_are_not_rounded(kind):
    x = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    got = RotaryEmbedding()(x.astype(kind))
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    np.testing.assert_allclose(to_numpy(got), rotate(x, range(3)), rtol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="unless told to it has float32"
)
def test_angles_are_float64_under_that_policy():
    x, p = normal(1, 2, 6).astype("float64"), np.array([3, 12345])
    y = RotaryEmbedding(dtype="float64")(x, positions=p)
    y = keras.ops.convert_to_numpy(y)
    np.testing.assert_allclose(y, rotate(x, p), atol=1e-11)
