"""Article: https://kexue.fm/archives/6869

Peers: `optax.lookahead` (JAX) and `pytorch_optimizer.Lookahead` (PyTorch), on
the same network with the same batches.
"""

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, Adam

from su_models.optimizers import Lookahead
from tests.contract import normal

pytestmark = pytest.mark.parity
BACKEND = keras.config.backend()
JITS = [False] if BACKEND == "torch" else [False, True]
SHAPES = (3, 5), (5,), (5, 2), (2,)
STEPS, BATCH = 17, 4
INNER = ["momentum", "adam"]
# k, α; after 17 steps one is in the middle of its cycle
SETTINGS = [(5, 0.5), (3, 0.8)]
# of Adam: betas that float32 holds exactly, and so small an epsilon that it
# matters little whether the bias is corrected before or after it is added
ADAM = {"beta_1": 0.875, "beta_2": 0.96875, "epsilon": 1e-10}
BETAS = ADAM["beta_1"], ADAM["beta_2"]


def start():
    numbers = normal(sum(int(np.prod(s)) for s in SHAPES))
    ends = np.cumsum([int(np.prod(s)) for s in SHAPES])[:-1]
    parts = np.split(numbers, ends)
    return [p.reshape(s) for p, s in zip(parts, SHAPES, strict=True)]


def data():
    x = normal(STEPS * BATCH, 3)
    return x, np.sin(2 * x[:, :2] + x[:, 2:])


def batches():
    x, y = data()
    for i in range(0, len(x), BATCH):
        yield x[i : i + BATCH], y[i : i + BATCH]


def ours(inner, k, alpha, jit):
    """Trains by `fit` with an optimizer that was not built."""
    fast = {
        "momentum": lambda: SGD(0.1, momentum=0.9),
        "adam": lambda: Adam(0.02, **ADAM),
    }[inner]()
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(5, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.set_weights(start())
    model.compile(Lookahead(fast, k, alpha), "mse", jit_compile=jit)
    x, y = data()
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    return [ops.convert_to_numpy(w) for w in model.trainable_variables]


def of_optax(inner, k, alpha):
    jax = pytest.importorskip("jax", reason="peer: jax")
    optax = pytest.importorskip("optax", reason="peer: optax")

    def loss(weights, x, y):
        w1, b1, w2, b2 = weights
        h = jax.numpy.tanh(x @ w1 + b1)
        return ((h @ w2 + b2 - y) ** 2).mean()

    fast = {
        "momentum": lambda: optax.sgd(0.1, momentum=0.9),
        "adam": lambda: optax.adam(0.02, *BETAS, ADAM["epsilon"]),
    }[inner]()
    optimizer = optax.lookahead(fast, k, alpha)
    weights = [jax.numpy.asarray(w) for w in start()]
    params = optax.LookaheadParams.init_synced(weights)
    state = optimizer.init(params)
    slope = jax.jit(jax.grad(loss))
    for x, y in batches():
        gradients = slope(params.fast, x, y)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return [np.asarray(w) for w in params.fast]


def of_pytorch_optimizer(inner, k, alpha):
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    peer = pytest.importorskip(
        "pytorch_optimizer", reason="peer: pytorch_optimizer"
    )
    weights = [torch.tensor(w, requires_grad=True) for w in start()]
    fast = {
        "momentum": lambda: torch.optim.SGD(weights, 0.1, momentum=0.9),
        "adam": lambda: torch.optim.Adam(weights, 0.02, BETAS, ADAM["epsilon"]),
    }[inner]()
    optimizer = peer.Lookahead(fast, k=k, alpha=alpha)
    w1, b1, w2, b2 = weights
    for x, y in batches():
        optimizer.zero_grad()
        h = torch.tanh(torch.from_numpy(x) @ w1 + b1)
        ((h @ w2 + b2 - torch.from_numpy(y)) ** 2).mean().backward()
        optimizer.step()
    return [w.detach().numpy() for w in weights]


@pytest.mark.parametrize("jit", JITS)
@pytest.mark.parametrize("k, alpha", SETTINGS)
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("peer", [of_optax, of_pytorch_optimizer])
def test_same_weights_as_the_peer(peer, inner, k, alpha, jit):
    theirs = peer(inner, k, alpha)
    for a, b in zip(ours(inner, k, alpha, jit), theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    moved = [np.abs(a - b).max() for a, b in zip(theirs, start(), strict=True)]
    assert min(moved) > 1e-2
