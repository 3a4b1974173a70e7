"""Article: https://kexue.fm/archives/8130
    《让研究人员绞尽脑汁的Transformer位置编码》

Peer: the buckets of T5 in Hugging Face transformers (PyTorch).
"""

import numpy as np
import pytest

from su_models.layers import RelativePositionBias
from tests.contract import to_numpy

pytestmark = pytest.mark.parity
LENGTH = 700


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    ("size", "top"), [(32, 128), (32, 512), (64, 256), (12, 20), (4, 7)]
)
def test_buckets_of_every_distance(size, top, bidirectional):
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    pytest.importorskip("transformers", reason="peer: transformers")
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-LENGTH + 1, LENGTH)
    want = T5Attention._relative_position_bucket(
        distance, bidirectional, size, top
    )
    layer = RelativePositionBias(1, size, top, bidirectional)
    layer.build((1, LENGTH))
    layer.embeddings.assign(np.arange(size, dtype="float32")[:, None])
    got = to_numpy(layer(np.zeros((1, LENGTH))))[0, 0]
    left, right = got[:, 0][::-1], got[0, 1:]  # keys before and after
    np.testing.assert_array_equal(np.concatenate([left, right]), want.numpy())
