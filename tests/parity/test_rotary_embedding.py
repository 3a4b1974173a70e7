"""Article: https://kexue.fm/archives/8265

Peer: the rotation of RoFormer in Hugging Face transformers (PyTorch).
"""

import numpy as np
import pytest
from keras import ops

from su_models.layers import RotaryEmbedding
from tests.contract import normal, to_numpy

pytestmark = pytest.mark.parity
HEADS, DIM = 3, 16


@pytest.fixture(scope="module")
def peer():
    """RoFormer's attention with random weights, and its table of angles."""
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    pytest.importorskip("transformers", reason="peer: transformers")
    from transformers.models.roformer import modeling_roformer as roformer

    torch.manual_seed(0)
    config = roformer.RoFormerConfig(
        hidden_size=HEADS * DIM,
        num_attention_heads=HEADS,
        attention_probs_dropout_prob=0.0,
    )
    attention = roformer.RoFormerSelfAttention(config).eval()
    positions = roformer.RoFormerSinusoidalPositionalEmbedding(1536, DIM)
    table = positions.create_weight()
    return torch, attention, table


def assert_close(ours, peers):
    """Float32 parity: 1e-5 of the peer's largest value."""
    atol = 1e-5 * np.abs(peers).max()
    np.testing.assert_allclose(ours, peers, rtol=0, atol=atol)


@pytest.mark.parametrize("length", [7, 128])
def test_rotation_of_queries_and_keys(peer, length):
    torch, attention, table = peer
    q, k = normal(2, 2, length, HEADS, DIM)
    peers = attention.apply_rotary_position_embeddings(
        table[None, None, :length],
        *(torch.from_numpy(t).transpose(1, 2) for t in (q, k)),
    )
    rope = RotaryEmbedding()
    for ours, theirs in zip((rope(q), rope(k)), peers, strict=True):
        assert_close(to_numpy(ours), theirs.transpose(1, 2).numpy())


@pytest.mark.parametrize("lengths", [(9, 9), (9, 4)], ids=["full", "padded"])
def test_attention_of_rotated_queries_and_keys(peer, lengths):
    torch, attention, table = peer
    x = normal(2, 9, HEADS * DIM)
    mask = np.arange(9) < np.array(lengths)[:, None]
    bias = np.where(mask, 0.0, -1e9).astype("float32")[:, None, None]
    with torch.no_grad():
        theirs, _ = attention(
            torch.from_numpy(x),
            torch.from_numpy(bias),
            sinusoidal_pos=table[None, None, :9],
        )
        weights = [
            (layer.weight.numpy().T, layer.bias.numpy())
            for layer in (attention.query, attention.key, attention.value)
        ]
    q, k, v = ((x @ w + b).reshape(2, 9, HEADS, DIM) for w, b in weights)
    rope = RotaryEmbedding()
    ours = ops.dot_product_attention(
        rope(q), rope(k), ops.convert_to_tensor(v), mask=mask[:, None, None]
    )
    ours = to_numpy(ours).reshape(x.shape)
    assert_close(ours[mask], theirs.numpy()[mask])
