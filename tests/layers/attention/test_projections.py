"""Projections to heads: how their kernels begin."""

import keras
import numpy as np

from su_models.layers.attention.projections import projection
from tests.contract import normal, to_numpy


def made(input_shape=(2, 7, 128), dims=(8, 16), kernel="glorot_uniform"):
    policy = keras.dtype_policies.get("float32")
    kernel = keras.initializers.get(kernel)
    return projection("q", input_shape, dims, True, kernel, "zeros", policy)


def test_heads_are_made_of_features_and_merged_again():
    x, context = normal(2, 7, 5), normal(2, 7, 3, 4)
    to, back = made(x.shape, (3, 4)), made(context.shape, (6,))
    for dense, given, equation in (
        (to, x, "bnd,dhe->bnhe"),
        (back, context, "bnhe,hed->bnd"),
    ):
        want = np.einsum(equation, given, to_numpy(dense.kernel))
        np.testing.assert_allclose(to_numpy(dense(given)), want, atol=1e-5)


def test_kernels_are_initialised_as_the_matrices_that_they_are():
    q, o = to_numpy(made().kernel), to_numpy(made((2, 7, 8, 16), (128,)).kernel)
    for kernel in (q, o):  # Glorot of 128 by 128
        assert abs(kernel.std() / (1 / 128**0.5) - 1) < 0.03


def test_an_initializer_without_a_seed_draws_anew():
    kernel = keras.initializers.GlorotUniform()
    first, second = (to_numpy(made(kernel=kernel).kernel) for _ in range(2))
    assert not np.allclose(first, second)


def test_same_seed_gives_same_kernels():
    first, second = (
        to_numpy(made(kernel=keras.initializers.HeNormal(seed=1)).kernel)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
