"""Article: https://kexue.fm/archives/6853
《为节约而生：从标准Attention到稀疏Attention》
"""

import pytest

from su_models.layers import AtrousSelfAttention
from tests.layers.attention.patterns import MORE, check_equals_dense

SIZES = [{"rate": 7}, {"rate": 1}, {"rate": 300}]


@pytest.mark.parametrize("more", MORE, ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("init", SIZES, ids=str)
def test_equals_the_dense_layer_with_the_pattern_as_its_mask(
    init, causal, more
):
    # several blocks, and no multiple of any size
    check_equals_dense(AtrousSelfAttention, init, 150, causal, more)


@pytest.mark.parametrize("bad", ({"rate": 0}, {"rate": None}), ids=str)
def test_bad_sizes_are_refused(bad):
    ((name, value),) = bad.items()
    with pytest.raises(
        ValueError, match=f"`{name}` .*Received: {name}={value}"
    ):
        AtrousSelfAttention(3, 4, **{**SIZES[0], **bad})
