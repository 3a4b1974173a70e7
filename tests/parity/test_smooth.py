"""Article: https://kexue.fm/archives/6620

Article: https://kexue.fm/archives/8718

Peer: the activations and reductions of PyTorch.
"""

import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.losses import TaiLrCrossentropy
from su_models.ops import (
    grad_top_k,
    smooth_max,
    smooth_one_hot,
    smooth_relu,
    thre_top_k,
)
from tests.contract import integers, normal, to_numpy

pytestmark = pytest.mark.parity
X = 3 * normal(5, 8)


@pytest.fixture(scope="module")
def functional():
    pytest.importorskip("torch", reason="peer: PyTorch")
    from torch.nn import functional

    return functional


def compare(ours, theirs):
    """Values and gradients of a weighted sum, to 1e-5 of the largest."""
    import torch

    x = torch.tensor(X, requires_grad=True)
    y = theirs(x)
    w = torch.linspace(-1, 2, y.numel()).reshape(y.shape)
    (y * w).sum().backward()
    w = ops.convert_to_tensor(w.numpy())
    slope = gradient(lambda x: ops.sum(ours(x) * w), X)
    for a, b in ((ours(X), y.detach()), (slope, x.grad)):
        atol = 1e-5 * b.abs().max().item()
        np.testing.assert_allclose(to_numpy(a), b.numpy(), rtol=0, atol=atol)


def test_maximum_and_one_hot(functional):
    compare(smooth_max, lambda x: x.logsumexp(dim=-1))
    compare(smooth_one_hot, lambda x: functional.softmax(x, dim=-1))
    compare(lambda x: grad_top_k(x, 1), lambda x: x.softmax(dim=-1))
    compare(
        lambda x: thre_top_k(x, 1, form="exponential"),
        lambda x: x.softmax(dim=-1),
    )


@pytest.mark.parametrize("form", ["softplus", "gelu", "swish"])
def test_relu(functional, form):
    peers = {
        "softplus": lambda x: functional.softplus(x, beta=1.0),
        "gelu": functional.gelu,
        "swish": functional.silu,
    }
    compare(lambda x: smooth_relu(x, form=form), peers[form])


def test_tailr_at_gamma_0_with_label_smoothing(functional):
    import torch

    y = integers(8, 5)
    loss = TaiLrCrossentropy(0.0, label_smoothing=0.1, reduction=None)
    compare(
        lambda x: loss(y, x),
        lambda x: functional.cross_entropy(
            x,
            torch.tensor(y, dtype=torch.int64),
            label_smoothing=0.1,
            reduction="none",
        ),
    )
