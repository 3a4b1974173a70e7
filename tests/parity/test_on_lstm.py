"""Article: https://kexue.fm/archives/6621

Peer: `ONLSTM` of keras-ordered-neurons, which has the paper's master input
gate and the same order of columns. It needs Keras 2: see `legacy.py`.
"""

import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from su_models.layers import ONLSTM
from tests.contract import normal, to_numpy
from tests.parity.legacy import run_legacy

pytestmark = pytest.mark.parity
UNITS, WIDTH = 12, 5


def assert_close(ours, peers):
    """Float32 parity: 1e-5 of the peer's largest value."""
    atol = 1e-5 * np.abs(peers).max()
    np.testing.assert_allclose(ours, peers, rtol=0, atol=atol)


@pytest.mark.parametrize("levels", [3, 12])
@pytest.mark.parametrize("lengths", [(9, 9), (9, 4)], ids=["full", "padded"])
def test_same_as_the_peer(lengths, levels, tmp_path):
    random = np.random.default_rng(0)
    columns = 4 * UNITS + 2 * levels
    weights = {
        "kernel": random.normal(size=(WIDTH, columns)),
        "recurrent_kernel": random.normal(size=(UNITS, columns)) / 2,
        "bias": random.normal(size=columns),
    }
    weights = {k: w.astype("float32") for k, w in weights.items()}
    x, mask = normal(2, 9, WIDTH), np.arange(9) < np.array(lengths)[:, None]
    direction = normal(2, 9, UNITS)[::-1].copy()
    peers = run_legacy(
        "legacy_on_lstm.py",
        tmp_path,
        x=x,
        mask=mask,
        direction=direction,
        levels=levels,
        **weights,
    )

    layer = ONLSTM(
        UNITS,
        levels,
        "paper",
        return_distances=True,
        return_sequences=True,
        return_state=True,
    )
    layer.build(x.shape)
    layer.cell.set_weights([*weights.values()])
    real = ops.convert_to_tensor(mask)
    outputs, distances, h, c = map(to_numpy, layer(x, mask=real))
    assert_close(outputs, peers["outputs"])
    assert_close(h, peers["h"])
    assert_close(c, peers["c"])
    assert_close(distances[mask], peers["distances"][mask])
    direction = ops.convert_to_tensor(direction)
    slope = gradient(lambda x: ops.sum(layer(x, mask=real)[0] * direction), x)
    assert_close(to_numpy(slope), peers["gradient"])
    assert np.abs(peers["gradient"]).max() > 0.1
