"""Article: https://kexue.fm/archives/6869

Peer: `torch.optim.SparseAdam`, whose rows have frozen moments and one counter
for all, on sparse gradients of `torch.nn.Embedding`.
"""

import numpy as np
import pytest
from keras.optimizers import Adam

from su_models.optimizers import LazyOptimizer
from tests.optimizers.sparse import IDS, JITS, START, TARGETS, fit, lookup

pytestmark = pytest.mark.parity
BETAS = 0.875, 0.96875  # which float32 holds exactly


def of_torch(rate, steps=7):
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    table = torch.nn.Embedding.from_pretrained(
        torch.tensor(START), freeze=False, sparse=True
    )
    optimizer = torch.optim.SparseAdam(table.parameters(), rate, BETAS, 1e-10)
    for i in range(0, 4 * steps, 4):
        ids, targets = map(
            torch.from_numpy, (IDS[i : i + 4], TARGETS[i : i + 4])
        )
        optimizer.zero_grad()
        ((table(ids).mean(dim=1) - targets) ** 2).mean().backward()
        optimizer.step()
    return table.weight.detach().numpy()


@pytest.mark.parametrize("jit", JITS)
def test_same_table_as_sparse_adam(jit):
    got = fit(lookup(LazyOptimizer(Adam(0.05, *BETAS, epsilon=1e-10)), jit))
    want = of_torch(0.05)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    assert np.abs(want - START).max() > 0.1


def test_plain_adam_is_another():
    """So that the test above is able to fail."""
    got = fit(lookup(Adam(0.05, *BETAS, epsilon=1e-10)))
    assert np.abs(got - of_torch(0.05)).max() > 0.01
