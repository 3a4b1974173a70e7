"""Article: https://kexue.fm/archives/8231
《Transformer升级之路：1、Sinusoidal位置编码追根溯源》
"""

import keras
import numpy as np
import pytest

from su_models.layers import SinusoidalPositionEmbedding
from tests.contract import normal, to_numpy


def vectors(positions, d, base=10000.0):
    """Eq. (1), index by index."""
    p = np.zeros((*np.shape(positions), d))
    for at in np.ndindex(np.shape(positions)):
        for i in range(d // 2):
            angle = positions[at] / base ** (2 * i / d)
            p[at][2 * i], p[at][2 * i + 1] = np.sin(angle), np.cos(angle)
    return p


@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_matches_eq_1(base):
    layer, x = SinusoidalPositionEmbedding(base=base), normal(2, 7, 6)
    want = x + vectors(np.arange(7), 6, base)
    np.testing.assert_allclose(to_numpy(layer(x)), want, atol=1e-5)
    positions = np.array([[3, 1, 4, 1, 5, 9, 2], [0, 0, 1, 2, 3, 4, 300]])
    got = to_numpy(layer(x, positions=positions))
    np.testing.assert_allclose(got, x + vectors(positions, 6, base), atol=1e-4)


def test_products_depend_on_the_distance_and_shrink():  # Eq. (11)
    layer = SinusoidalPositionEmbedding(128, merge_mode="zero")
    p = to_numpy(layer(np.zeros((1, 200, 1), "float32")))[0]
    products = p @ p.T
    for shift in (1, 50, 137):
        np.testing.assert_allclose(
            np.diag(products, 30)[0], np.diag(products, 30)[shift], atol=1e-3
        )
    near, far = products[0, 1:11].mean(), products[0, 100:110].mean()
    assert products[0, 0] > near > 1.5 * far


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_positions_beyond_the_range_of_low_precision(policy):
    layer = SinusoidalPositionEmbedding(8, merge_mode="zero", dtype=policy)
    p = np.array([4096, 4097, 8191])  # 4097 is no float16
    got = to_numpy(layer(np.zeros((1, 3, 8)), positions=p))[0]
    np.testing.assert_allclose(got, vectors(p, 8), atol=2e-2)


@pytest.mark.parametrize(
    ("init", "match"),
    [
        ({"output_dim": 0}, "Received: output_dim=0"),
        ({"merge_mode": None}, "Received: merge_mode=None"),
        ({"base": 0}, "Received: base=0"),
        ({"base": "a"}, "Received: base='a'"),
    ],
)
def test_bad_arguments_are_refused(init, match):
    with pytest.raises(ValueError, match=match):
        SinusoidalPositionEmbedding(**init)


@pytest.mark.parametrize("kind", ["uint8", "int32"])
@pytest.mark.parametrize("mode", ["add", "mul", "concat", "zero"])
def test_integer_inputs_do_not_round_the_vectors(kind, mode):
    layer = SinusoidalPositionEmbedding(merge_mode=mode)
    x = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    got, want = layer(x.astype(kind)), layer(x.astype("float32"))
    np.testing.assert_array_equal(to_numpy(got), to_numpy(want))


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="unless told to it has float32"
)
def test_angles_are_float64_under_that_policy():
    layer = SinusoidalPositionEmbedding(6, "zero", dtype="float64")
    p = np.array([3, 12345])
    got = keras.ops.convert_to_numpy(layer(np.zeros((1, 2, 1)), positions=p))
    np.testing.assert_allclose(got[0], vectors(p, 6), atol=1e-11)


def test_bad_inputs_are_refused():
    for batch in (1, 5):
        with pytest.raises(ValueError, match="Received: positions of shape"):
            SinusoidalPositionEmbedding()(
                normal(2, 7, 6), positions=np.zeros((batch, 7), int)
            )
    with pytest.raises(ValueError, match=r"even. Received: .*\(2, 7, 5\)"):
        SinusoidalPositionEmbedding()(normal(2, 7, 5))
    with pytest.raises(ValueError, match="even. Received: output_dim=3"):
        SinusoidalPositionEmbedding(3, merge_mode="concat")(normal(2, 7, 6))
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        SinusoidalPositionEmbedding()(normal(2, 6))
    with pytest.raises(ValueError, match="Received: output_dim=4"):
        SinusoidalPositionEmbedding(4)(normal(2, 7, 6))
    with pytest.raises(ValueError, match="Received: positions of"):
        SinusoidalPositionEmbedding()(normal(2, 7, 6), positions=np.zeros(7))
