"""Article: https://kexue.fm/archives/6853

Peers: the package `local-attention`; PyTorch's attention with the pattern as
its mask, with gradients; Keras' `sliding_window=`.
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import LocalSelfAttention
from su_models.ops import atrous_attention, local_attention, sparse_attention
from tests.contract import normal, to_numpy
from tests.layers.attention.patterns import pattern

pytestmark = pytest.mark.parity
N, WINDOW, RATE = 200, 40, 14
OURS = {
    "local": (local_attention, {"window": WINDOW}),
    "atrous": (atrous_attention, {"rate": RATE}),
    "sparse": (sparse_attention, {"rate": RATE, "window": WINDOW}),
}
padded = pytest.mark.parametrize(
    "lengths", [(N, N), (N, 130)], ids=["full", "padded"]
)
causal = pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="peer: PyTorch")


def assert_close(ours, peers):
    """Float32 parity: 1e-5 of the peer's largest value."""
    atol = 1e-5 * np.abs(peers).max()
    np.testing.assert_allclose(ours, peers, rtol=0, atol=atol)


def tensors():
    return normal(3, 2, N, 3, 16)


def key_mask(lengths):
    return np.arange(N) < np.array(lengths)[:, None]


@padded
@causal
def test_local_attention_is_that_of_the_package(torch, causal, lengths):
    reason = "peer: local-attention"
    package = pytest.importorskip("local_attention", reason=reason)
    peer = package.LocalAttention(
        window_size=WINDOW,
        causal=causal,
        look_backward=1,
        look_forward=0 if causal else 1,
        exact_windowsize=True,
        autopad=True,
        use_rotary_pos_emb=False,
    )
    x, mask = tensors(), key_mask(lengths)
    with torch.no_grad():
        theirs = peer(
            *(torch.from_numpy(t).transpose(1, 2) for t in x),
            mask=torch.from_numpy(mask),
        )
    theirs = theirs.transpose(1, 2).numpy()
    ours = local_attention(*x, WINDOW, causal=causal, key_mask=mask)
    # beyond the padding some queries of the peer have no key, and give a mean
    assert_close(to_numpy(ours)[mask], theirs[mask])


@padded
@causal
@pytest.mark.parametrize("kind", OURS)
def test_values_and_gradients_are_those_of_pytorch(
    torch, kind, causal, lengths
):
    function, sizes = OURS[kind]
    mask = key_mask(lengths)
    keep = pattern(N, **sizes, causal=causal) & mask[:, None]
    keep |= ~mask[..., None]  # PyTorch gives NaN where there is no key
    x, weight = tensors(), normal(2, N, 3, 16) * mask[..., None, None]
    leaves = [torch.from_numpy(t).requires_grad_() for t in x]
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *(t.transpose(1, 2) for t in leaves),
        attn_mask=torch.from_numpy(keep[:, None]),
    ).transpose(1, 2)
    slopes = torch.autograd.grad(
        (theirs * torch.from_numpy(weight)).sum(), leaves
    )

    def loss(*qkv):
        got = function(*qkv, **sizes, causal=causal, key_mask=mask)
        return ops.sum(got * ops.convert_to_tensor(weight))

    ours = function(*x, **sizes, causal=causal, key_mask=mask)
    assert_close(to_numpy(ours)[mask], theirs.detach().numpy()[mask])
    for a, b in zip(gradient(loss, *x), slopes, strict=True):
        assert_close(to_numpy(a), b.numpy())


@padded
@causal
def test_the_layer_is_that_of_keras_with_a_sliding_window(causal, lengths):
    x, mask = normal(2, N, 24), key_mask(lengths)
    peer = keras.layers.MultiHeadAttention(3, 8, sliding_window=WINDOW + 1)
    layer = LocalSelfAttention(3, 8, WINDOW)
    theirs = peer(x, x, attention_mask=mask[:, None], use_causal_mask=causal)
    layer.build(x.shape)
    layer.set_weights(peer.get_weights())
    ours = layer(x, attention_mask=mask, use_causal_mask=causal)
    assert_close(to_numpy(ours)[mask], to_numpy(theirs)[mask])
