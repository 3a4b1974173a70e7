"""Article: https://kexue.fm/archives/7359

Article: https://kexue.fm/archives/8888

Peer: the losses of bert4torch (PyTorch), which follow bert4keras.
"""

import importlib.util
import pathlib

import numpy as np
import pytest

from su_models.backend import gradient
from su_models.losses import (
    MultilabelCrossentropy,
    SparseMultilabelCrossentropy,
)
from tests.contract import integers, normal, to_numpy

pytestmark = pytest.mark.parity
S = 2 * normal(6, 9)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="peer: PyTorch")


@pytest.fixture(scope="module")
def losses(torch):
    """The peer's module alone: the package imports all of its models."""
    package = importlib.util.find_spec("bert4torch")
    if package is None:
        pytest.skip("peer: bert4torch")
    path = pathlib.Path(package.origin).with_name("losses.py")
    spec = importlib.util.spec_from_file_location("bert4torch_losses", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(torch, ours, theirs, targets, types=None):
    """Mean loss and its gradient, to 1e-5 of the peer's largest value."""
    s = torch.tensor(S, requires_grad=True)
    value = theirs(s, torch.tensor(targets, dtype=types)).mean()
    value.backward()
    np.testing.assert_allclose(
        to_numpy(ours(targets, S)), value.item(), rtol=1e-5
    )
    slope = to_numpy(gradient(lambda s: ours(targets, s), S))
    atol = 1e-5 * s.grad.abs().max().item()
    np.testing.assert_allclose(slope, s.grad.numpy(), rtol=0, atol=atol)


def test_dense_targets(torch, losses):
    peer = losses.MultilabelCategoricalCrossentropy()
    compare(
        torch, MultilabelCrossentropy(), peer, integers(2, 6, 9), torch.float32
    )


@pytest.mark.parametrize("mask_zero", [True, False])
def test_lists_of_labels(torch, losses, mask_zero):
    peer = losses.SparseMultilabelCategoricalCrossentropy(mask_zero)
    lists = np.array([[1, 5, 8], [2, 3, 4], [8, 7, 6]] * 2)
    if mask_zero:
        lists[1:4, 1:] = 0
    ours = SparseMultilabelCrossentropy(mask_zero)
    compare(torch, ours, peer, lists)
