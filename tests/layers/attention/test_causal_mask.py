"""Article: https://kexue.fm/archives/6933"""

import keras
import numpy as np
import pytest

from su_models.layers import CausalMask, MultiHeadAttention
from tests.contract import normal, to_numpy


@pytest.mark.parametrize("shape", [(2, 5), (3, 5, 4)])
def test_a_token_sees_itself_and_those_before(shape):
    mask = CausalMask()(np.zeros(shape, "float32"))
    np.testing.assert_array_equal(to_numpy(mask), np.tri(5)[None])


def test_attention_with_it_is_causal_attention():
    x, layer = normal(2, 7, 8), MultiHeadAttention(2, 4)
    y = layer(x, attention_mask=CausalMask()(x))
    z = layer(x, use_causal_mask=True)
    np.testing.assert_allclose(to_numpy(y), to_numpy(z), atol=1e-6)


def test_the_length_may_be_unknown():
    ids = keras.Input((None,), dtype="int32")
    mask = CausalMask()(ids)
    assert mask.shape == (1, None, None) and mask.dtype == "bool"
    result = keras.Model(ids, mask)(np.zeros((2, 3), "int32"))
    np.testing.assert_array_equal(to_numpy(result), np.tri(3)[None])


def test_inputs_without_a_length_are_rejected():
    with pytest.raises(ValueError, match=r"Received: inputs of shape \(3,\)"):
        CausalMask()(np.zeros(3, "float32"))
