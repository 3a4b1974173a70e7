"""Article: https://kexue.fm/archives/6705

Peer: `torch.nn.functional.gumbel_softmax`, given the same noise.
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import GumbelSoftmax
from tests.contract import normal, to_numpy

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("axis", [-1, 1])
def test_samples_and_gradients(hard, temperature, axis, monkeypatch):
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    u = np.random.default_rng(1).uniform(size=(3, 5, 7)).astype("float32")
    exponential = torch.from_numpy(-np.log(u))
    monkeypatch.setattr(
        torch.Tensor, "exponential_", lambda x, *_: x.copy_(exponential)
    )
    monkeypatch.setattr(
        keras.random, "uniform", lambda *_, **__: ops.convert_to_tensor(u)
    )
    logits, weights = 2 * normal(3, 5, 7), normal(3, 5, 7)[::-1].copy()

    x = torch.from_numpy(logits).requires_grad_()
    theirs = torch.nn.functional.gumbel_softmax(
        x, tau=temperature, hard=hard, dim=axis
    )
    (theirs * torch.from_numpy(weights)).sum().backward()

    layer = GumbelSoftmax(temperature, hard=hard, axis=axis)
    np.testing.assert_allclose(
        to_numpy(layer(logits)), theirs.detach().numpy(), atol=1e-5
    )
    by_logits = gradient(
        lambda x: ops.sum(ops.multiply(layer(x), weights)), logits
    )
    peers = x.grad.numpy()
    np.testing.assert_allclose(
        to_numpy(by_logits), peers, rtol=0, atol=2e-5 * np.abs(peers).max()
    )
