import numpy as np
import pytest

from su_models.checkpoints.resize import factor, resize
from tests.models.transformer.tiny import tiny


def test_pairs_are_repeated_and_ends_cut_off():
    x = np.array([[1.0, 2, 3, 4]])
    expected = np.array([[1, 2, 1, 2, 3, 4, 3]])
    expected = expected * np.sqrt((x**2).sum() / (expected**2).sum())
    np.testing.assert_allclose(resize(x, (1, 7)), expected)
    np.testing.assert_allclose(resize(x, (1, 2)), x[:, :2] * np.sqrt(30 / 5))


@pytest.mark.parametrize("shape", [(4, 6), (2, 6), (9, 5), (4, 12), (8, 3)])
def test_the_norm_stays(shape):
    x = np.random.default_rng(0).normal(size=(4, 6))
    y = resize(x, shape)
    assert y.shape == shape
    np.testing.assert_allclose(np.linalg.norm(y), np.linalg.norm(x))
    if shape == x.shape:
        np.testing.assert_allclose(y, x)
    assert not resize(np.zeros((4, 6)), shape).any()


def test_an_odd_axis_cannot_become_longer():
    with pytest.raises(ValueError, match=r"even length.*Received: \(3, 2\)"):
        resize(np.ones((3, 2)), (5, 2))
    assert resize(np.ones((3, 2)), (2, 2)).shape == (2, 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_norm_may_be_larger_than_the_dtype_holds(dtype):
    import ml_dtypes  # noqa: F401, gives NumPy bfloat16

    x = np.full((30, 30), 30_000.0).astype(dtype)  # of norm 900 000
    expected = np.full((30, 60), np.float32(x[0, 0]) / 2**0.5)
    np.testing.assert_allclose(resize(x, (30, 60)), expected, rtol=1e-6)


def test_an_empty_axis_is_rejected():
    with pytest.raises(ValueError, match=r"entries.*Received: \(2, 0\)"):
        resize(np.ones((2, 0)), (2, 4))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("query/kernel", 2**0.25),
        ("key/bias", 2**0.25),
        ("value/kernel", 1),
        ("attention_output/kernel", 1),
    ],
)
def test_scores_keep_their_size(path, expected):
    layer = tiny("bert").get_layer("Transformer-0-MultiHeadSelfAttention")
    assert factor(layer, path, (12, 12), (12, 24)) == expected
    layer = tiny("t5.1.0").get_layer(
        "Encoder-Transformer-0-MultiHeadSelfAttention"
    )
    assert factor(layer, path, (12, 12), (12, 24)) == 1


@pytest.mark.parametrize(
    ("act", "path", "expected"),
    [
        ("gelu", "hidden_0/kernel", 2**0.5),
        ("relu", "hidden_0/kernel", 3**-0.5),
        ("gelu", "output/kernel", 3**-0.5),
    ],
)
def test_activations_keep_their_size(act, path, expected):
    layer = tiny("bert", hidden_act=act).get_layer("Transformer-0-FeedForward")
    found = factor(layer, path, (4, 20), (12, 40))
    np.testing.assert_allclose(found, expected)
