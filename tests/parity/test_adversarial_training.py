"""Article: https://kexue.fm/archives/7234

Peer: `FGM` and `PGD` of bert4torch (PyTorch), whose steps add the gradients of
the plain and of the adversarial loss.
"""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest

from su_models.training import AdversarialTraining
from tests.training.text_classifier import (
    BATCH,
    CLASSES,
    DIM,
    VOCABULARY,
    classifier,
    data,
    fit,
    start,
)

pytestmark = pytest.mark.parity
RATE = 0.5
STEPS = 4


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="peer: PyTorch")


@pytest.fixture(scope="module")
def peers(torch):
    """The peer's module alone: the package imports all of its models."""
    package = importlib.util.find_spec("bert4torch")
    if package is None:
        pytest.skip("peer: bert4torch")
    path = pathlib.Path(package.origin).with_name("callbacks.py")
    spec = importlib.util.spec_from_file_location("bert4torch_callbacks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network(torch):
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.word_embeddings = torch.nn.Embedding(VOCABULARY, DIM)
            self.classes = torch.nn.Linear(DIM, CLASSES)

        def forward(self, x):
            return self.classes(self.word_embeddings(x).mean(dim=1))

    net = Network()
    table, w, b = map(torch.tensor, start())
    net.word_embeddings.weight.data = table
    net.classes.weight.data, net.classes.bias.data = w.T.contiguous(), b
    return net


def train(torch, attack):
    """Trains the peer; `attack(net, backward)` adds to its gradients."""
    net = network(torch)
    optimizer = torch.optim.SGD(net.parameters(), RATE)
    x, y = (torch.tensor(a).long() for a in data())

    def backward():
        torch.nn.functional.cross_entropy(net(x), y).backward()

    for _ in range(STEPS):
        optimizer.zero_grad()
        backward()
        attack(net, backward)
        optimizer.step()
    weights = net.word_embeddings.weight, net.classes.weight.T, net.classes.bias
    return [w.detach().numpy() for w in weights]


def compare(torch, attack, **kwargs):
    model = classifier()
    wrapper = AdversarialTraining(model, "tokens", include_clean=True, **kwargs)
    x, _ = data()
    assert len(x) == BATCH
    fit(wrapper, STEPS, RATE)
    theirs = train(torch, attack)
    for v, w, s in zip(model.get_weights(), theirs, start(), strict=True):
        atol = 1e-5 * np.abs(w).max()
        np.testing.assert_allclose(v, w, rtol=0, atol=atol)
        assert np.abs(v - s).max() > 1e-2
    keras.utils.clear_session()


def test_fgm(torch, peers):
    def attack(net, backward):
        peer = peers.FGM(net)
        peer.attack(epsilon=0.3)
        backward()
        peer.restore("word_embeddings")

    compare(torch, attack, epsilon=0.3)


def test_pgd(torch, peers):
    def attack(net, backward):
        peer = peers.PGD(net)
        peer.backup_grad()
        for t in range(3):
            peer.attack(0.4, 0.25, is_first_attack=t == 0)
            if t < 2:
                net.zero_grad()
            else:
                peer.restore_grad()
            backward()
        peer.restore("word_embeddings")

    compare(torch, attack, epsilon=0.4, steps=3, step_size=0.25)
