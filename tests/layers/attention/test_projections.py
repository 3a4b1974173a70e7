"""What dense and sparse attention share: sizes, variables, their order."""

import keras
import numpy as np
import pytest

from su_models.layers.attention.projections import _ProjectedAttention
from tests.contract import normal, to_numpy


def built(*shapes, **more):
    layer = _ProjectedAttention(3, 4, **more)
    layer.build(*(shapes or [(2, 7, 5)]))
    return layer


@pytest.mark.parametrize("use_bias", [True, False])
def test_variables_are_those_of_keras(use_bias):
    ours = built(key_dim=6, output_dim=8, use_bias=use_bias)
    peer = keras.layers.MultiHeadAttention(
        3, 6, value_dim=4, output_shape=8, use_bias=use_bias
    )
    peer.build((2, 7, 5), (2, 7, 5))
    assert [w.shape for w in ours.weights] == [w.shape for w in peer.weights]
    ours.set_weights(peer.get_weights())
    x = normal(2, 7, 5)
    peers = peer.query_dense(x), peer.key_dense(x), peer.value_dense(x)
    for a, b in zip(ours._project(x, x, x), peers, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)
    v = peers[-1]
    np.testing.assert_allclose(
        to_numpy(ours._merge(v)), to_numpy(peer.output_dense(v)), atol=1e-6
    )


def test_cross_attention_has_three_sizes_of_features():
    layer = built((2, 7, 5), (2, 9, 3), (2, 9, 2))
    shapes = [w.shape[0] for w in layer.weights[::2]]
    assert shapes == [5, 2, 3, 3]  # q, k, v, and the heads of o
    assert layer.weights[-1].shape == (5,)


def test_kernels_are_initialised_as_the_matrices_that_they_are():
    layer = _ProjectedAttention(8, 16)
    layer.build((None, None, 128))
    q, k, v, o = (to_numpy(w) for w in layer.weights[::2])
    for kernel in (q, k, v, o):  # Glorot of 128 by 128
        assert abs(kernel.std() / (1 / 128**0.5) - 1) < 0.03
    assert not np.allclose(q, k)


def test_same_seed_gives_same_kernels():
    first, second = (
        built(kernel_initializer=keras.initializers.HeNormal(seed=1))
        for _ in range(2)
    )
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 4), "`num_heads` .*Received: num_heads=0"),
        ((3, 4.5), "`head_dim` .*Received: head_dim=4.5"),
        ((3, True), "`head_dim` .*Received: head_dim=True"),
        ((3, 4, -1), "`key_dim` .*Received: key_dim=-1"),
        ((3, 4, None, "8"), "`output_dim` .*Received: output_dim='8'"),
        ((3, 4, 5, None, True, 1e4), "even .*Received: key_dim=5"),
        ((3, 4, 6, None, True, 0), "positive. Received: base=0"),
        ((3, 4, 6, None, True, None, 1.0), "Received: dropout=1.0"),
        ((3, 4, 6, None, True, None, "a"), "Received: dropout='a'"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        _ProjectedAttention(*arguments)


@pytest.mark.parametrize("shape", [(2, 5), (2, 7, 3, 5), (2, 7, None)])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="`query` .*Received: query of shape"):
        built(shape)
