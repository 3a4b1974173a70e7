"""Article: https://kexue.fm/archives/9826

Peer: `FSQ` of vector-quantize-pytorch in its symmetric form. Its tanh(z) is
2σ(2z) - 1, and its codes go from -1 to 1.
"""

import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import FiniteScalarQuantizer
from tests.contract import normal, to_numpy

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("levels", [[5, 4, 2], [8, 5, 5, 5], [6, 6, 6, 6]])
def test_codes_numbers_and_gradients(levels):
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    vq = pytest.importorskip(
        "vector_quantize_pytorch", reason="peer: vector-quantize-pytorch"
    )
    peer = vq.FSQ(levels, preserve_symmetry=True)
    z = 2 * normal(3, 11, len(levels))
    weights = normal(3, 11, len(levels))[::-1].copy()
    x = torch.from_numpy(z).requires_grad_()
    codes, indices = peer(x / 2)
    (codes * torch.from_numpy(weights)).sum().backward()

    layer = FiniteScalarQuantizer(levels)
    ours, our_indices = layer(z)
    np.testing.assert_allclose(
        2 * to_numpy(ours) - 1, codes.detach().numpy(), atol=1e-6
    )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(our_indices), indices.numpy()
    )
    np.testing.assert_allclose(
        2 * to_numpy(layer.lookup(our_indices)) - 1,
        peer.indices_to_codes(indices).numpy(),
        atol=1e-6,
    )
    by_z = gradient(
        lambda z: ops.sum(ops.multiply(2 * layer(z)[0] - 1, weights)), z
    )
    np.testing.assert_allclose(to_numpy(by_z), x.grad.numpy(), atol=1e-5)
