"""Article: https://kexue.fm/archives/6853
《为节约而生：从标准Attention到稀疏Attention》
"""

import pytest

from su_models.layers import LocalSelfAttention
from tests.layers.attention.patterns import MORE, check_equals_dense

SIZES = [{"window": 5}, {"window": 64}, {"window": 300}]


@pytest.mark.parametrize("more", MORE, ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
@pytest.mark.parametrize("init", SIZES, ids=str)
def test_equals_the_dense_layer_with_the_pattern_as_its_mask(
    init, causal, more
):
    # several blocks, and no multiple of any size
    check_equals_dense(LocalSelfAttention, init, 150, causal, more)


@pytest.mark.parametrize("bad", ({"window": -1}, {"window": 2.5}), ids=str)
def test_bad_sizes_are_refused(bad):
    ((name, value),) = bad.items()
    with pytest.raises(
        ValueError, match=f"`{name}` .*Received: {name}={value}"
    ):
        LocalSelfAttention(3, 4, **{**SIZES[0], **bad})
