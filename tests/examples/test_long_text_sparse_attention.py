"""Article: https://kexue.fm/archives/6853

The parts of the example: what is read, what is timed, what is drawn.
"""

import dataclasses

import keras
import numpy as np
import pytest

from tests.contract import integers, normal, to_numpy
from tests.examples.test_ddpm_digits import example
from tests.layers.attention.patterns import pattern

EXAMPLE = example("long_text_sparse_attention")
CONFIG = dataclasses.replace(EXAMPLE.SMOKE, layers=2, window=3, rate=5)
SEEN = {
    "dense": {"window": 99},
    "local": {"window": 3},
    "atrous": {"rate": 5},
    "sparse": {"window": 3, "rate": 5},
}


@pytest.mark.parametrize("kind", EXAMPLE.KINDS)
def test_maps_are_those_of_the_model(kind):
    """They have the kind's pattern, and give the layer's own output."""
    model = EXAMPLE.build(kind, 11, CONFIG)
    ids = integers(11, 1, 24)
    weights = EXAMPLE.maps(model, kind, ids, CONFIG)
    assert weights.shape == (2, 2, 24, 24)
    keep = pattern(24, **SEEN[kind], causal=True)
    assert ((weights > 0) == keep).all()
    layer = model.get_layer("attention_1")
    x = normal(1, 24, 16)
    between = keras.Model(model.input, model.get_layer("before_1").output)
    x = to_numpy(between(ids))
    v = to_numpy(layer.value_dense(x))[0]
    context = np.einsum("hqk,khd->qhd", weights[1], v)
    want = to_numpy(layer(x, use_causal_mask=True))
    got = to_numpy(layer.output_dense(context[None]))
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("kind", EXAMPLE.KINDS)
def test_no_character_sees_the_next(kind):
    model = EXAMPLE.build(kind, 11, CONFIG)
    ids = integers(11, 1, 24)
    changed = ids.copy()
    changed[:, 15:] = (changed[:, 15:] + 1) % 11
    a, b = to_numpy(model(ids)), to_numpy(model(changed))
    np.testing.assert_allclose(a[:, :15], b[:, :15], atol=1e-6)
    assert np.abs(a[:, 15:] - b[:, 15:]).max() > 1e-3


def test_a_step_reads_one_place_and_the_target_is_the_next_character():
    ids = np.arange(1000, dtype="int32")
    crops = EXAMPLE.Crops(ids, CONFIG)
    x, y = crops[3]
    assert x.shape == y.shape == (1, CONFIG.length)
    np.testing.assert_array_equal(x + 1, y)
    np.testing.assert_array_equal(crops[3][0], x)
    assert (crops[4][0] != x).all()


def test_the_clock_gives_each_step_its_own_loss_and_ends():
    clock = EXAMPLE.Clock(seconds=0.0)
    clock.set_model(keras.Sequential())
    losses = [5.0, 3.0, 4.0]
    for i in range(3):
        clock.on_train_batch_end(i, {"loss": np.mean(losses[: i + 1])})
    assert np.allclose([loss for _, loss in clock.curve], losses[1:])
    assert clock.model.stop_training
