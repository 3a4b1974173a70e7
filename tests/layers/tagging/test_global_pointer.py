"""Article: https://kexue.fm/archives/8373"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import GlobalPointer
from su_models.losses import (
    MultilabelCrossentropy,
    SparseMultilabelCrossentropy,
)
from tests.contract import JIT, normal, to_numpy
from tests.layers.tagging.spans import LOW, randomize, rotate


def reference(x, kernel, bias, heads, d, base, tril_mask, mask):
    """Eq. (1) and (2), one span and one type at a time."""
    b, n, _ = x.shape
    s = np.empty((b, heads, n, n))
    for k, a, i, j in np.ndindex(*s.shape):
        first = a * 2 * d
        q, e = (
            x[k, t] @ kernel[:, c : c + d] + bias[c : c + d]
            for t, c in ((i, first), (j, first + d))
        )
        if base is not None:
            q, e = rotate(q, i, base), rotate(e, j, base)
        s[k, a, i, j] = q @ e / np.sqrt(d)
        if (tril_mask and i > j) or not (mask[k, i] and mask[k, j]):
            s[k, a, i, j] = LOW
    return s


@pytest.mark.parametrize("base", [None, 10000.0, 50.0])
@pytest.mark.parametrize("tril_mask", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    "mask", [[[1] * 5, [1] * 5], [[1, 1, 1, 0, 0], [1, 0, 1, 1, 0]]]
)
def test_matches_eq_1_and_2(base, tril_mask, use_bias, mask):
    x, mask = normal(2, 5, 6), np.array(mask) > 0
    layer = GlobalPointer(3, 4, base, use_bias, tril_mask)
    layer.build(x.shape)
    randomize(layer)
    kernel, *bias = (to_numpy(w) for w in layer.weights)
    assert kernel.shape == (6, 24)
    bias = bias[0] if use_bias else np.zeros(24)
    expected = reference(x, kernel, bias, 3, 4, base, tril_mask, mask)
    got = to_numpy(layer(x, mask=ops.convert_to_tensor(mask)))
    assert ((got == np.float32(LOW)) == (expected == LOW)).all()
    spans = expected > LOW
    np.testing.assert_allclose(got[spans], expected[spans], atol=1e-5)
    if mask.all():
        np.testing.assert_array_equal(to_numpy(layer(x)), got)


def test_scores_depend_on_relative_position_only():  # Eq. (2)
    x = np.repeat(normal(1, 1, 6), 7, axis=1)
    layer = GlobalPointer(3, 4, tril_mask=False)
    s = to_numpy(layer(x))
    np.testing.assert_allclose(s[..., 1:, 1:], s[..., :-1, :-1], atol=1e-5)
    assert np.abs(s[..., 0, 1] - s[..., 0, 2]).max() > 1e-3


def test_padding_changes_no_span_and_the_mask_is_dropped():
    layer = GlobalPointer(3, 4)
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    net = keras.Model(ids, layer(x))
    padded = to_numpy(net(np.array([[3, 4, 5, 0, 0]])))
    bare = to_numpy(net(np.array([[3, 4, 5]])))
    np.testing.assert_allclose(padded[..., :3, :3], bare, atol=1e-6)
    assert (padded[..., 3:, :] == np.float32(LOW)).all()
    assert (padded[..., :, 3:] == np.float32(LOW)).all()
    assert layer.compute_mask(None, None) is None
    # a mask `(batch, length)` would be multiplied with losses `(batch, 3)`
    flat = keras.Model(ids, keras.layers.Reshape((3, -1))(net.output))
    flat.compile("sgd", MultilabelCrossentropy())
    losses = [
        flat.evaluate(i, np.zeros((1, 3, i.shape[1] ** 2)), verbose=0)
        for i in (np.array([[3, 4, 5, 0, 0]]), np.array([[3, 4, 5]]))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_is_finite(policy):
    mask = ops.convert_to_tensor(np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool))
    layer = GlobalPointer(3, 64, dtype=policy)
    x = 30 * normal(2, 4, 6)
    s = to_numpy(layer(x, mask=mask))
    assert np.isfinite(s).all()
    wide = GlobalPointer(3, 64)
    wide.build(x.shape)
    wide.set_weights(layer.get_weights())
    expected = to_numpy(wide(x, mask=mask))
    spans = expected > LOW
    assert (s[~spans] < -60000).all()
    scale = np.abs(expected[spans]).max()
    np.testing.assert_allclose(s[spans], expected[spans], atol=0.05 * scale)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_nested_spans_are_learned(sparse, policy):
    """Two types whose spans contain each other, as in the docstring."""
    n, spans = 5, [[(0, 4), (1, 2)], [(1, 3)]]
    ids = keras.Input((n,), dtype="int32")
    x = keras.layers.Embedding(9, 16, mask_zero=True)(ids)
    s = GlobalPointer(2, 8, dtype=policy)(x)
    net = keras.Model(ids, keras.layers.Reshape((2, -1))(s))
    lists = np.full((1, 2, 3), -1)
    for a, found in enumerate(spans):
        for k, (i, j) in enumerate(found):
            lists[0, a, k] = i * n + j
    hot = np.zeros((1, 2, n * n + 1))
    np.put_along_axis(hot, lists, 1, axis=-1)
    loss, y = MultilabelCrossentropy(), hot[..., :-1]
    if sparse:
        loss, y = SparseMultilabelCrossentropy(), lists
    net.compile(keras.optimizers.Adam(0.05), loss, jit_compile=JIT)
    tokens = np.array([[3, 4, 5, 6, 7]])
    history = net.fit(tokens, y, epochs=60, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    scores = net.predict(tokens, verbose=0).reshape(2, n, n)
    found = [[*map(tuple, np.argwhere(s > 0))] for s in scores]
    assert found == spans


def test_a_label_on_padding_leaves_the_gradients_finite():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    layer = GlobalPointer(1, 4)
    net = keras.Model(ids, keras.layers.Reshape((1, -1))(layer(x)))
    net.compile("adam", MultilabelCrossentropy())
    net.fit(np.array([[3, 4, 0]]), np.ones((1, 1, 9)), verbose=0)
    for w in net.weights:
        assert np.isfinite(to_numpy(w)).all()


def test_bad_arguments_are_refused():
    for bad in (0, 2.5, "3", True, None):
        with pytest.raises(ValueError, match="Received: num_heads="):
            GlobalPointer(bad, 4)
        with pytest.raises(ValueError, match="Received: head_dim="):
            GlobalPointer(3, bad)
    with pytest.raises(ValueError, match="even .*Received: head_dim=5"):
        GlobalPointer(3, 5)
    assert GlobalPointer(3, 5, rotary_base=None).head_dim == 5
    for bad in (0, -1.0, "1", True):
        with pytest.raises(ValueError, match="Received: rotary_base="):
            GlobalPointer(3, 4, rotary_base=bad)
    for name in ("use_bias", "tril_mask"):
        with pytest.raises(ValueError, match=f"Received: {name}='no'"):
            GlobalPointer(3, 4, **{name: "no"})
    for shape in ((2, 6), (2, 5, 6, 1)):
        with pytest.raises(ValueError, match="Received: inputs of shape"):
            GlobalPointer(3, 4)(normal(*shape))
    for mask in (np.ones((2, 4), bool), np.ones((2, 5), "float32")):
        with pytest.raises(ValueError, match="Received: mask of"):
            GlobalPointer(3, 4)(
                normal(2, 5, 6), mask=ops.convert_to_tensor(mask)
            )
