"""Article: https://kexue.fm/archives/9826"""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient
from su_models.layers import FiniteScalarQuantizer
from tests.contract import JIT, normal, to_numpy


def test_matches_eq_8():
    levels, z = [5, 4, 2], 3 * normal(2, 7, 3)
    quantized, indices = FiniteScalarQuantizer(levels)(z)
    for place in np.ndindex(2, 7):
        number, digit = 0, 1
        for i, n in enumerate(levels):
            level = round((n - 1) / (1 + np.exp(-float(z[place][i]))))
            expected = np.float32(level) / np.float32(n - 1)
            assert to_numpy(quantized)[place][i] == expected
            number, digit = number + level * digit, digit * n
        assert ops.convert_to_numpy(indices)[place] == number


@pytest.mark.parametrize("levels", [[2], [3], [6, 6], [8, 5, 5, 5], [7, 2]])
def test_codes_and_numbers_are_one_to_one(levels):
    """Each code is reached, has a number of its own, and stays itself."""
    layer = FiniteScalarQuantizer(levels)
    grids = [np.linspace(0, 1, n) for n in levels]
    codes = np.array(list(itertools.product(*grids)), "float32")
    with np.errstate(divide="ignore"):
        z = np.log(codes / (1 - codes)).clip(-50, 50)  # σ(z) = code
    quantized, indices = layer(z)
    np.testing.assert_allclose(to_numpy(quantized), codes, atol=1e-6)
    indices = ops.convert_to_numpy(indices)
    assert sorted(indices) == list(range(layer.codebook_size))
    np.testing.assert_array_equal(
        to_numpy(layer.lookup(indices)), to_numpy(quantized)
    )


@pytest.mark.parametrize("n", [2, 3, 6, 7])
def test_all_levels_are_reached_from_below_to_above(n):
    z = np.linspace(-9, 9, 2001, dtype="float32")[:, None]
    quantized, indices = FiniteScalarQuantizer([n])(z)
    indices = ops.convert_to_numpy(indices)
    assert indices[0] == 0 and indices[-1] == n - 1
    assert set(np.diff(indices)) == {0, 1}
    np.testing.assert_allclose(
        to_numpy(quantized)[:, 0], indices / (n - 1), atol=1e-7
    )


def test_gradient_is_that_of_the_sigmoid():
    """Eq. (10), over L - 1."""
    z, weights = normal(2, 7, 3), normal(2, 7, 3)[::-1].copy()
    layer = FiniteScalarQuantizer([5, 4, 2])
    g = to_numpy(
        gradient(lambda x: ops.sum(ops.multiply(layer(x)[0], weights)), z)
    )
    s = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(g, weights * s * (1 - s), atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_many_levels_are_told_apart_in_low_precision(policy):
    layer = FiniteScalarQuantizer([4096, 4096], dtype=policy)
    _, indices = layer(np.full((1, 2), 9.0, "float32"))
    level = round(4095 / (1 + np.exp(-9.0)))
    assert int(indices[0]) == level * 4097  # float16 ends at 65504


def test_the_largest_codebook_has_numbers_in_int32():
    layer = FiniteScalarQuantizer([2**16, 2**15])
    _, indices = layer(np.full((1, 2), 50.0, "float32"))
    assert int(indices[0]) == 2**31 - 1
    np.testing.assert_array_equal(to_numpy(layer.lookup(indices)), [[1, 1]])


@pytest.mark.parametrize(
    "levels", [[], 5, "55", [1, 4], [0], [-3], [2.5], [True, 3], None]
)
def test_levels_below_2_are_refused(levels):
    with pytest.raises(ValueError, match="Received: levels="):
        FiniteScalarQuantizer(levels)


def test_too_many_codes_are_refused():
    with pytest.raises(ValueError, match=r"2\*\*31 codes. Received: levels="):
        FiniteScalarQuantizer([2**16, 2**16])


@pytest.mark.parametrize("shape", [(2,), (2, 7, 3), (3, 1)])
def test_another_number_of_features_is_refused(shape):
    with pytest.raises(ValueError, match="Received: input_shape="):
        FiniteScalarQuantizer([5, 5])(normal(*shape))
    with pytest.raises(ValueError, match="Received: input_shape="):
        FiniteScalarQuantizer([5, 5])(keras.Input((None,)))


def test_numpy_levels_are_integers():
    for levels in ([np.int64(5), 3], np.array([5, 3])):
        config = FiniteScalarQuantizer(levels).get_config()
        assert config["levels"] == [5, 3]
        assert [type(n) for n in config["levels"]] == [int, int]


def test_a_vector_with_nan_has_no_code():
    z = normal(4, 2)
    z[1, 0] = z[2, 1] = np.nan
    quantized, indices = map(to_numpy, FiniteScalarQuantizer([5, 3])(z))
    np.testing.assert_array_equal(np.isnan(quantized), np.isnan(z))
    assert (indices[[1, 2]] == -1).all() and (indices[[0, 3]] >= 0).all()


@pytest.mark.parametrize("index", [-1, 15, 2**32, 1.5])
def test_codes_that_do_not_exist_are_an_error(index):
    words = "`indices` must be integers from 0 to 14. Received: indices with"
    with pytest.raises(ValueError, match=words):
        FiniteScalarQuantizer([5, 3]).lookup(np.array([0, index]))


@pytest.mark.skipif(not JIT, reason="PyTorch is not compiled: an error")
def test_codes_that_do_not_exist_are_nan_when_compiled():
    lookup = compiled(FiniteScalarQuantizer([5, 3]).lookup)
    codes = to_numpy(lookup(np.array([0, -1, 14, 15], "int32")))
    np.testing.assert_array_equal(codes[[0, 2]], [[0, 0], [1, 1]])
    assert np.isnan(codes[[1, 3]]).all()


def test_the_largest_codebook_has_all_its_codes():
    layer = FiniteScalarQuantizer([2] * 31)
    last = np.array([2**31 - 1], "int64")
    np.testing.assert_array_equal(
        to_numpy(layer.lookup(last)), np.ones((1, 31))
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_dtype(dtype):
    if dtype == "float64" and keras.config.backend() == "jax":
        pytest.skip("JAX has float64 where it is switched on alone")
    z = normal(4, 2)
    quantized, indices = FiniteScalarQuantizer([5, 3], dtype=dtype)(z)
    assert keras.backend.standardize_dtype(quantized.dtype) == dtype
    expected = to_numpy(FiniteScalarQuantizer([5, 3])(z)[1])
    np.testing.assert_array_equal(to_numpy(indices), expected)


def test_shapes_of_both_outputs_are_told():
    shapes = FiniteScalarQuantizer([5, 3]).compute_output_shape((None, 7, 2))
    assert shapes == ((None, 7, 2), (None, 7))
