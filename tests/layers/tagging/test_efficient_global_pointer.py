"""Article: https://kexue.fm/archives/8877"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import EfficientGlobalPointer, GlobalPointer
from tests.contract import normal, to_numpy
from tests.layers.tagging.spans import LOW, randomize, rotate


def reference(x, weights, heads, d, base, tril_mask, mask):
    """Eq. (3), one span and one type at a time."""
    (p_kernel, p_bias), (q_kernel, q_bias) = weights
    b, n, _ = x.shape
    s = np.empty((b, heads, n, n))
    for k, a, i, j in np.ndindex(*s.shape):
        p = [x[k, t] @ p_kernel + p_bias for t in (i, j)]  # [q; k], in turn
        q, e = p[0][::2], p[1][1::2]
        if base is not None:
            q, e = rotate(q, i, base), rotate(e, j, base)
        end = p[1] @ q_kernel[:, 2 * a] + q_bias[2 * a]
        start = p[0] @ q_kernel[:, 2 * a + 1] + q_bias[2 * a + 1]
        s[k, a, i, j] = q @ e / np.sqrt(d) + (start + end) / 2
        if (tril_mask and i > j) or not (mask[k, i] and mask[k, j]):
            s[k, a, i, j] = LOW
    return s


@pytest.mark.parametrize("base", [None, 50.0])
@pytest.mark.parametrize("tril_mask", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    "mask", [[[1] * 5, [1] * 5], [[1, 1, 1, 0, 0], [1, 0, 1, 1, 0]]]
)
def test_matches_eq_3(base, tril_mask, use_bias, mask):
    x, mask = normal(2, 5, 6), np.array(mask) > 0
    layer = EfficientGlobalPointer(3, 4, base, use_bias, tril_mask)
    layer.build(x.shape)
    randomize(layer)
    shapes = [(6, 8), (8,), (8, 6), (6,)]
    weights = [to_numpy(w) for w in layer.weights]
    assert [w.shape for w in weights] == shapes[:: 1 if use_bias else 2]
    if not use_bias:
        weights = [weights[0], np.zeros(8), weights[1], np.zeros(6)]
    weights = weights[:2], weights[2:]
    expected = reference(x, weights, 3, 4, base, tril_mask, mask)
    got = to_numpy(layer(x, mask=ops.convert_to_tensor(mask)))
    assert ((got == np.float32(LOW)) == (expected == LOW)).all()
    spans = expected > LOW
    np.testing.assert_allclose(got[spans], expected[spans], atol=1e-5)


def test_a_further_type_takes_four_times_head_dim_parameters():
    def parameters(cls, heads):
        layer = cls(heads, 4, use_bias=False)
        layer.build((None, None, 50))
        return layer.count_params()

    more = (
        parameters(cls, 4) - parameters(cls, 3)
        for cls in (EfficientGlobalPointer, GlobalPointer)
    )
    assert [*more] == [4 * 4, 2 * 4 * 50]


def test_padding_changes_no_span():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    net = keras.Model(ids, EfficientGlobalPointer(3, 4)(x))
    padded = to_numpy(net(np.array([[3, 4, 5, 0, 0]])))
    bare = to_numpy(net(np.array([[3, 4, 5]])))
    np.testing.assert_allclose(padded[..., :3, :3], bare, atol=1e-6)
    assert (padded[..., 3:, :] == np.float32(LOW)).all()
    assert (padded[..., :, 3:] == np.float32(LOW)).all()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="even .*Received: head_dim=5"):
        EfficientGlobalPointer(3, 5)
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        EfficientGlobalPointer(3, 4)(normal(2, 6))
