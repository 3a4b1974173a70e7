"""Article: https://kexue.fm/archives/6760

Peer: `VectorQuantize` of vector-quantize-pytorch, rotation trick off.
"""

import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient, value_and_variable_gradient
from su_models.layers import VectorQuantizer, VectorQuantizerEMA
from tests.contract import normal, to_numpy

pytestmark = pytest.mark.parity
K, D = 7, 3
CODES = np.random.default_rng(7).normal(size=(K, D)).astype("float32")


@pytest.fixture
def peer():
    """A function that makes the peer, with our codebook."""
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    vq = pytest.importorskip(
        "vector_quantize_pytorch", reason="peer: vector-quantize-pytorch"
    )

    def make(**more):
        peer = vq.VectorQuantize(D, K, rotation_trick=False, **more)
        book = peer._codebook
        with torch.no_grad():
            book.embed.copy_(torch.from_numpy(CODES)[None])
            if hasattr(book, "embed_avg"):
                book.embed_avg.copy_(torch.from_numpy(CODES)[None])
        return peer, torch

    return make


def assert_close(ours, peers):
    """Float32 parity: 1e-5 of the peer's largest value."""
    atol = 1e-5 * np.abs(peers).max()
    np.testing.assert_allclose(ours, peers, rtol=0, atol=atol)


def padding(padded):
    return np.arange(9) < np.array([[9], [4 if padded else 9]])


@pytest.mark.parametrize("padded", [False, True])
def test_trained_by_gradients(peer, padded):
    z, weights = normal(2, 9, D), normal(2, 9, D)[::-1].copy()
    mask = padding(padded)
    peer, torch = peer(
        learnable_codebook=True, ema_update=False, commitment_weight=1.0
    )
    layer = VectorQuantizer(K, codebook_weight=1.0, commitment_weight=1.0)
    layer.build(z.shape)
    layer.trainable_weights[0].assign(CODES)

    x = torch.from_numpy(z).requires_grad_()
    quantized, indices, loss = peer(x, mask=torch.from_numpy(mask))
    follows = (quantized * torch.from_numpy(weights * mask[..., None])).sum()
    (follows + loss.sum()).backward()

    our_mask = ops.convert_to_tensor(mask)

    def total(x):
        y = ops.multiply(layer(x, mask=our_mask)[0], weights * mask[..., None])
        return ops.sum(y) + sum(layer.losses)

    ours, our_indices = layer(z, mask=our_mask)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(our_indices)[mask], indices.numpy()[mask]
    )
    assert_close(to_numpy(ours)[mask], quantized.detach().numpy()[mask])
    # the peer's one term gives its gradient to z and to the codebook; its
    # value is ours once, as ours are two terms
    ours = [float(to_numpy(term)) for term in layer.losses]
    np.testing.assert_allclose(ours, [loss.item()] * 2, rtol=1e-5)
    by_z = to_numpy(gradient(total, z))
    _, (by_codes,) = value_and_variable_gradient(
        lambda: total(z), layer.trainable_variables
    )
    assert_close(by_z, x.grad.numpy())
    assert_close(to_numpy(by_codes), peer._codebook.embed.grad.numpy()[0])


@pytest.mark.parametrize("padded", [False, True])
def test_trained_by_moving_averages(peer, padded):
    mask = padding(padded)
    peer, torch = peer(decay=0.8, eps=1e-5, commitment_weight=0.25)
    peer.train()
    layer = VectorQuantizerEMA(
        K, decay=0.8, epsilon=1e-5, commitment_weight=0.25
    )
    layer.build((2, 9, D))
    layer._sum.assign(CODES)
    for step in range(10):
        z = np.random.default_rng(step).normal(size=(2, 9, D)).astype("f4")
        quantized, indices, loss = peer(
            torch.from_numpy(z), mask=torch.from_numpy(mask)
        )
        ours, our_indices = layer(
            z, mask=ops.convert_to_tensor(mask), training=True
        )
        np.testing.assert_array_equal(
            ops.convert_to_numpy(our_indices)[mask], indices.numpy()[mask]
        )
        assert_close(to_numpy(ours)[mask], quantized.detach().numpy()[mask])
        (term,) = layer.losses
        np.testing.assert_allclose(to_numpy(term), loss.item(), rtol=1e-4)
        assert_close(to_numpy(layer.codebook), peer._codebook.embed.numpy()[0])
