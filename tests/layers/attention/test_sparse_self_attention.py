"""Article: https://kexue.fm/archives/6853
《为节约而生：从标准Attention到稀疏Attention》
"""

import keras
import numpy as np
import pytest

from su_models.layers import SparseSelfAttention
from tests.contract import normal
from tests.layers.attention.patterns import MORE, check_equals_dense

SIZES = [
    {"rate": 7, "window": 5},
    {"rate": 12, "window": 40},
    {"rate": 300, "window": 0},
]


@pytest.mark.parametrize("more", MORE, ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("init", SIZES, ids=str)
def test_equals_the_dense_layer_with_the_pattern_as_its_mask(
    init, causal, more
):
    # several blocks, and no multiple of any size
    check_equals_dense(SparseSelfAttention, init, 150, causal, more)


def test_lengths_that_are_not_known_train():
    """One graph for all lengths, not one compiled for each (see contract)."""
    inputs = keras.Input((None, 6))
    attention = SparseSelfAttention(3, 4, **SIZES[0], rotary_base=100.0)
    net = keras.Model(inputs, attention(inputs))
    net.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
    for n in (7, 141):
        x = normal(2, n, 6)
        history = net.fit(x, x, epochs=5, verbose=0).history["loss"]
        assert np.isfinite(history).all() and history[-1] < history[0]


@pytest.mark.parametrize(
    "bad",
    ({"rate": 0}, {"rate": None}, {"window": -1}, {"window": 2.5}),
    ids=str,
)
def test_bad_sizes_are_refused(bad):
    ((name, value),) = bad.items()
    with pytest.raises(
        ValueError, match=f"`{name}` .*Received: {name}={value}"
    ):
        SparseSelfAttention(3, 4, **{**SIZES[0], **bad})
